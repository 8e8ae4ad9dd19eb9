// What git answers to a push, on its way to the pusher: a CGI head (RFC 3875 section 6), and behind
// it pkt-lines (gitprotocol-common, gitprotocol-pack). The last of these, which ends the answer, is
// held back, so that there can be lines behind git's own. One thread at a time.
#pragma once

#include <functional>
#include <string>
#include <string_view>

namespace atlasflow::receive {

inline constexpr std::string_view k_flush = "0000";

// One pkt-line of sideband 2, which git shows behind "remote: ". Control characters become '?'; at
// most 900 bytes of it.
[[nodiscard]] std::string remote_line(std::string_view text);
// An answer for a push that git never saw: the pusher's git prints the text and fails.
[[nodiscard]] std::string refused_answer(std::string_view text);
// Nothing that anybody sees: says that there is somebody still.
[[nodiscard]] std::string still_here();

class AnswerRelay {
 public:
  using Send = std::function<void(std::string_view)>;
  explicit AnswerRelay(Send send) : send_(std::move(send)) {}

  void take(std::string_view bytes);

  // Of the CGI head: 200 unless it says another one.
  [[nodiscard]] int status() const { return status_; }
  [[nodiscard]] bool has_head() const { return has_head_; }
  // The pusher takes lines beside git's: it asked for the sideband, and git answers in it.
  [[nodiscard]] bool has_sideband() const { return has_sideband_; }
  // Sends what was held back, which is the end.
  void finish();

 private:
  void take_head();
  void take_packets();

  Send send_;
  std::string unread_;
  int status_ = 200;
  bool has_head_ = false;
  bool has_sideband_ = false;
  bool is_plain_ = false;  // no pkt-lines: all goes on as it is
  bool holds_flush_ = false;
};

}  // namespace atlasflow::receive
