// What a connection or a stream waits for, and until when. Plain values; its worker's thread.
#pragma once

#include <cstdint>

namespace atlasflow::edge {

// Decides for how long (EdgeTimeouts). A connection that has a stream waits for nothing itself.
enum class Wait : std::uint8_t {
  none,
  // A connection.
  handshake,
  idle,
  head,
  linger,
  farewell,  // for an HTTP/2 client's word that it knows of the end
  // A stream.
  request_body,
  held,  // for the next connect attempt
  connect,
  response_head,
  response_body,
  tunnel,
  // Either.
  client_write,
};

class Deadline {
 public:
  [[nodiscard]] Wait wait() const { return wait_; }
  [[nodiscard]] bool passed(std::int64_t now_ms) const { return at_ms_ <= now_ms; }

  // Takes what is waited for now, and whether bytes have moved. True when a wait begins by that, or
  // begins again: set() is due then.
  [[nodiscard]] bool begins(Wait wait, bool progress) {
    if (at_ms_ != k_renewed && wait == wait_ && !(progress && extends(wait))) return false;
    wait_ = wait;
    return true;
  }
  void set(std::int64_t at_ms) { at_ms_ = at_ms; }
  void set_never() { at_ms_ = INT64_MAX; }

  // Another wait begins, even if it is of the same kind.
  void renew() { at_ms_ = k_renewed; }

 private:
  static constexpr std::int64_t k_renewed = 0;

  // Whether moving bytes extends the deadline, or only a change of what is waited for.
  [[nodiscard]] static bool extends(Wait wait) {
    switch (wait) {
      case Wait::request_body:
      case Wait::response_head:
      case Wait::response_body:
      case Wait::client_write:
      case Wait::tunnel:
        return true;
      default:
        return false;
    }
  }

  Wait wait_ = Wait::none;
  std::int64_t at_ms_ = k_renewed;
};

}  // namespace atlasflow::edge
