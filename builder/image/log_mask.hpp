// Hides values that nobody shall read in a build's log, as they are and in Base64 (RFC 4648), also
// where they come in pieces. It is the second line behind what keeps a value out of a build; what a
// step has encoded otherwise, reversed or cut it does not know. Internal to builder/; one thread
// per object.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace atlasflow::builder {

// A shorter value is a word of everyday logs: hiding it would hide the log.
inline constexpr std::size_t k_hidden_bytes_min = 8;

// The values and their encodings as one automaton (Aho and Corasick, 1975): time and memory are in
// proportion to what is read, whatever a step prints.
class HiddenWords;

class LogMask {
 public:
  LogMask();  // hides nothing
  // Of a value of several lines each line is hidden as well, since tools print line by line.
  explicit LogMask(const std::vector<std::string_view>& values);

  // What may be shown of the text so far, "***" in place of each value. Keeps back the end, at most
  // 63 bytes, while that may be the beginning of a value.
  [[nodiscard]] std::string take(std::string_view text);
  // What was kept back, when nothing comes after it.
  [[nodiscard]] std::string rest();
  // A text of its own.
  [[nodiscard]] std::string masked(std::string_view text) const;

 private:
  std::string give_out(std::size_t size);

  std::shared_ptr<const HiddenWords> words_;  // null: none
  std::size_t at_ = 0;                        // in the automaton
  std::string kept_;
  std::vector<bool> is_hidden_;  // of each byte that is kept
  bool in_mask_ = false;         // the last byte that was given out was hidden
};

}  // namespace atlasflow::builder
