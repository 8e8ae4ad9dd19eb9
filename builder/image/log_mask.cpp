#include "builder/image/log_mask.hpp"

#include <algorithm>
#include <array>
#include <cstdint>
#include <deque>

namespace atlasflow::builder {
namespace {

constexpr std::string_view k_mask = "***";
// A longer value is hidden by its pieces, so that little of a log has to be kept back.
constexpr std::size_t k_piece_bytes_max = 64;
constexpr std::size_t k_base64_line = 76;  // where base64(1) and MIME break lines

using Alphabet = std::array<char, 64>;

constexpr Alphabet alphabet_with(char sixty_two, char sixty_three) {
  Alphabet letters{};
  for (int i = 0; i < 26; ++i) {
    letters[static_cast<std::size_t>(i)] = static_cast<char>('A' + i);
    letters[static_cast<std::size_t>(26 + i)] = static_cast<char>('a' + i);
  }
  for (int i = 0; i < 10; ++i)
    letters[static_cast<std::size_t>(52 + i)] = static_cast<char>('0' + i);
  letters[62] = sixty_two;
  letters[63] = sixty_three;
  return letters;
}
constexpr Alphabet k_plain = alphabet_with('+', '/');
constexpr Alphabet k_for_urls = alphabet_with('-', '_');

// Without padding; the last letter as if zeros came after it.
std::string base64(std::string_view bytes, const Alphabet& alphabet) {
  std::string text;
  std::uint32_t bits = 0;
  int count = 0;
  for (const char byte : bytes) {
    bits = (bits << 8U) | static_cast<unsigned char>(byte);
    for (count += 8; count >= 6; count -= 6) {
      text += alphabet[(bits >> static_cast<unsigned>(count - 6)) & 63U];
    }
  }
  if (count > 0) text += alphabet[(bits << static_cast<unsigned>(6 - count)) & 63U];
  return text;
}

}  // namespace

class HiddenWords {
 public:
  explicit HiddenWords(const std::vector<std::string_view>& values) {
    for (const auto value : values) add_value(value);
    link();
  }

  [[nodiscard]] bool empty() const { return nodes_.size() == 1; }
  [[nodiscard]] std::size_t next(std::size_t node, unsigned char byte) const {
    while (true) {
      if (const auto child = child_of(node, byte); child != 0) return child;
      if (node == 0) return 0;
      node = nodes_[node].fallback;
    }
  }
  // How many of the last bytes may be the beginning of a word.
  [[nodiscard]] std::size_t depth(std::size_t node) const { return nodes_[node].depth; }
  // How many of the last bytes are a word; 0: none ends here.
  [[nodiscard]] std::size_t hidden(std::size_t node) const { return nodes_[node].hidden; }

 private:
  // The root is 0, which is nobody's child.
  struct Node {
    std::uint32_t first_child = 0;
    std::uint32_t sibling = 0;
    std::uint32_t fallback = 0;  // of the longest end of what leads here that begins a word
    unsigned char byte = 0;
    std::uint8_t depth = 0;
    std::uint8_t hidden = 0;
  };

  [[nodiscard]] std::uint32_t child_of(std::size_t node, unsigned char byte) const {
    if (node == 0) return roots_[byte];
    auto child = nodes_[node].first_child;
    while (child != 0 && nodes_[child].byte != byte) child = nodes_[child].sibling;
    return child;
  }

  void add_value(std::string_view value) {
    add_encodings(value);
    if (value.find('\n') == std::string_view::npos) return;
    while (!value.empty()) {
      const auto end = std::min(value.find('\n'), value.size());
      auto line = value.substr(0, end);
      value.remove_prefix(std::min(end + 1, value.size()));
      if (line.ends_with('\r')) line.remove_suffix(1);
      add_encodings(line);
    }
  }

  void add_encodings(std::string_view value) {
    if (value.size() < k_hidden_bytes_min) return;
    add(value);
    for (const Alphabet* alphabet : {&k_plain, &k_for_urls}) {
      // In a longer text, "user:token", a value begins at any of three places of a letter's bits.
      for (std::size_t shift = 0; shift < 3; ++shift) {
        const auto text = base64(std::string(shift, '\0') + std::string(value), *alphabet);
        const auto whole = (shift + value.size()) * 8 / 6;
        const auto first = (shift * 8 + 5) / 6;
        add(std::string_view(text).substr(first, whole - first));
        add(std::string_view(text).substr(first));
      }
      const auto text = base64(value, *alphabet);
      for (std::size_t at = 0; at < text.size(); at += k_base64_line) {
        add(std::string_view(text).substr(at, k_base64_line));
      }
    }
  }

  void add(std::string_view word) {
    if (word.size() < k_hidden_bytes_min) return;
    for (std::size_t at = 0; at < word.size(); at += k_piece_bytes_max) {
      const auto size = std::min(word.size(), k_piece_bytes_max);
      add_piece(word.substr(std::min(at, word.size() - size), size));
    }
  }

  void add_piece(std::string_view piece) {
    std::size_t node = 0;
    for (const char c : piece) {
      const auto byte = static_cast<unsigned char>(c);
      auto child = child_of(node, byte);
      if (child == 0) {
        child = static_cast<std::uint32_t>(nodes_.size());
        Node made;
        made.byte = byte;
        made.depth = static_cast<std::uint8_t>(nodes_[node].depth + 1);
        made.sibling = nodes_[node].first_child;
        nodes_.push_back(made);
        nodes_[node].first_child = child;
        if (node == 0) roots_[byte] = child;
      }
      node = child;
    }
    nodes_[node].hidden = nodes_[node].depth;
  }

  // Breadth first, so that what a node falls back to is complete.
  void link() {
    std::deque<std::uint32_t> waiting{0};
    while (!waiting.empty()) {
      const auto node = waiting.front();
      waiting.pop_front();
      for (auto child = nodes_[node].first_child; child != 0; child = nodes_[child].sibling) {
        auto& made = nodes_[child];
        made.fallback =
            node == 0 ? 0 : static_cast<std::uint32_t>(next(nodes_[node].fallback, made.byte));
        made.hidden = std::max(made.hidden, nodes_[made.fallback].hidden);
        waiting.push_back(child);
      }
    }
  }

  std::vector<Node> nodes_ = std::vector<Node>(1);
  std::array<std::uint32_t, 256> roots_{};
};

LogMask::LogMask() = default;

LogMask::LogMask(const std::vector<std::string_view>& values) {
  auto words = std::make_shared<const HiddenWords>(values);
  if (!words->empty()) words_ = std::move(words);
}

std::string LogMask::take(std::string_view text) {
  if (words_ == nullptr) return std::string(text);
  kept_ += text;
  is_hidden_.resize(kept_.size(), false);
  for (std::size_t i = kept_.size() - text.size(); i < kept_.size(); ++i) {
    at_ = words_->next(at_, static_cast<unsigned char>(kept_[i]));
    for (std::size_t back = 0; back < words_->hidden(at_); ++back) is_hidden_[i - back] = true;
  }
  return give_out(kept_.size() - words_->depth(at_));
}

std::string LogMask::rest() {
  at_ = 0;
  auto shown = give_out(kept_.size());
  in_mask_ = false;
  return shown;
}

std::string LogMask::masked(std::string_view text) const {
  LogMask alone;
  alone.words_ = words_;
  auto shown = alone.take(text);
  return shown + alone.rest();
}

std::string LogMask::give_out(std::size_t size) {
  std::string shown;
  for (std::size_t i = 0; i < size; ++i) {
    if (!is_hidden_[i]) shown += kept_[i];
    if (is_hidden_[i] && !in_mask_) shown += k_mask;
    in_mask_ = is_hidden_[i];
  }
  kept_.erase(0, size);
  is_hidden_.erase(is_hidden_.begin(), is_hidden_.begin() + static_cast<std::ptrdiff_t>(size));
  return shown;
}

}  // namespace atlasflow::builder
