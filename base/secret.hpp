// A text that nobody may read by accident: a private key, a webhook's secret, a token. It can't be
// streamed, formatted, compared or turned into a string; whoever needs the bytes says reveal(),
// which can be searched for. Wiped when it goes. A value; one object belongs to one thread at a
// time.
#pragma once

#include <string>
#include <string_view>
#include <utility>

#include <openssl/crypto.h>

namespace atlasflow {

class Secret {
 public:
  Secret() = default;
  explicit Secret(std::string text) : text_(std::move(text)) {}
  Secret(const Secret&) = default;
  Secret(Secret&& other) noexcept : text_(std::move(other.text_)) { other.wipe(); }
  Secret& operator=(const Secret& other) {
    if (this == &other) return *this;
    wipe();
    text_ = other.text_;
    return *this;
  }
  Secret& operator=(Secret&& other) noexcept {
    if (this == &other) return *this;
    wipe();
    text_ = std::move(other.text_);
    other.wipe();
    return *this;
  }
  ~Secret() { wipe(); }

  [[nodiscard]] const std::string& reveal() const { return text_; }
  [[nodiscard]] bool empty() const { return text_.empty(); }
  // In constant time for texts of the same length.
  [[nodiscard]] bool is(std::string_view text) const {
    return text.size() == text_.size() &&
           CRYPTO_memcmp(text.data(), text_.data(), text.size()) == 0;
  }

 private:
  // All of what it has room for: a string that was moved from keeps a short text behind its end.
  void wipe() {
    text_.resize(text_.capacity());
    OPENSSL_cleanse(text_.data(), text_.size());
    text_.clear();
  }

  std::string text_;
};

// A stream would take it through any conversion that somebody adds later.
template <typename Stream>
Stream& operator<<(Stream&, const Secret&) = delete;

}  // namespace atlasflow
