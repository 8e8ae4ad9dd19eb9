#include "receive/answer_relay.hpp"

#include <array>
#include <charconv>
#include <optional>

namespace atlasflow::receive {
namespace {

constexpr std::size_t k_head_bytes_max = 8U << 10U;
constexpr std::size_t k_line_bytes_max = 900;  // the oldest sideband takes 995
constexpr std::size_t k_length_digits = 4;

std::string packet(char band, std::string_view text) {
  constexpr std::string_view k_hex = "0123456789abcdef";
  const auto size = k_length_digits + 1 + text.size();
  std::string line;
  for (int shift = 12; shift >= 0; shift -= 4) line += k_hex[(size >> shift) & 0xFU];
  line += band;
  return line.append(text);
}

std::string printable(std::string_view text) {
  std::string clean(text.substr(0, k_line_bytes_max));
  for (auto& c : clean) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = '?';
  }
  return clean + "\n";
}

// Of the four digits that a pkt-line begins with.
std::optional<std::size_t> length_in(std::string_view digits) {
  std::size_t length = 0;
  const auto* end = digits.data() + k_length_digits;
  const auto parsed = std::from_chars(digits.data(), end, length, 16);
  if (parsed.ec != std::errc{} || parsed.ptr != end) return std::nullopt;
  return length;
}

}  // namespace

std::string remote_line(std::string_view text) { return packet('\2', printable(text)); }

std::string refused_answer(std::string_view text) {
  return packet('\3', printable(text)) + std::string(k_flush);
}

std::string still_here() { return packet('\2', ""); }

void AnswerRelay::take(std::string_view bytes) {
  unread_ += bytes;
  if (!has_head_) take_head();
  if (has_head_) take_packets();
}

void AnswerRelay::take_head() {
  const auto end = unread_.find("\r\n\r\n");
  if (end == std::string::npos) {
    if (unread_.size() > k_head_bytes_max) unread_.clear();
    return;
  }
  constexpr std::string_view k_status = "Status: ";
  const auto head = "\r\n" + unread_.substr(0, end);
  if (const auto at = head.find("\r\n" + std::string(k_status)); at != std::string::npos) {
    const auto* digits = head.data() + at + 2 + k_status.size();
    std::from_chars(digits, head.data() + head.size(), status_);
  }
  unread_.erase(0, end + 4);
  has_head_ = true;
}

void AnswerRelay::take_packets() {
  while (!is_plain_ && unread_.size() >= k_length_digits) {
    const auto length = length_in(unread_);
    if (!length || (*length != 0 && *length < k_length_digits)) {
      is_plain_ = true;
      break;
    }
    const auto size = std::max(*length, k_length_digits);
    if (unread_.size() < size) return;
    // What was taken for the end was none.
    if (holds_flush_) send_(k_flush);
    holds_flush_ = *length == 0;
    if (!holds_flush_) {
      const bool is_banded = size > k_length_digits && unread_[k_length_digits] >= '\1' &&
                             unread_[k_length_digits] <= '\3';
      has_sideband_ = has_sideband_ || is_banded;
      send_(std::string_view(unread_).substr(0, size));
    }
    unread_.erase(0, size);
  }
  if (!is_plain_) return;
  if (holds_flush_) send_(k_flush);
  holds_flush_ = false;
  send_(unread_);
  unread_.clear();
}

void AnswerRelay::finish() {
  if (holds_flush_) send_(k_flush);
  holds_flush_ = false;
}

}  // namespace atlasflow::receive
