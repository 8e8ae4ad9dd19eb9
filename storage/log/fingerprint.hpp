// A set as 128 bits, whatever order its entries come in: the sum of a hash of each. Two sets that
// differ by damage have the same one by a chance of 2^-128, so an index of any size is compared
// with the records in no memory. It is no cryptography: whoever can write the one can write the
// other. Values, one thread each.
#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace atlasflow::storage {

class Fingerprint {
 public:
  // Each entry is one text and two numbers.
  void add(std::string_view text, std::uint64_t first, std::uint64_t second) {
    Hash hash;
    hash.take(text);
    hash.take(first);
    hash.take(second);
    ++entries_;
    low_ += finished(hash.low);
    high_ += finished(hash.high);
  }

  // 64 bits of a text behind others, of which the seed is what this said.
  [[nodiscard]] static std::uint64_t hash(std::string_view text, std::uint64_t seed) {
    Hash hash;
    hash.take(text);
    hash.take(seed);
    return finished(hash.low);
  }

  // How many entries, and the two halves. They stand in files, so what add() makes of an entry must
  // stay as it is.
  [[nodiscard]] std::array<std::uint64_t, 3> words() const { return {entries_, low_, high_}; }

  friend bool operator==(const Fingerprint&, const Fingerprint&) = default;

 private:
  struct Hash {
    std::uint64_t low = 0x9E3779B97F4A7C15ULL;
    std::uint64_t high = 0xC2B2AE3D27D4EB4FULL;

    // As in MurmurHash3, with odd constants of its own for each half.
    void take(std::uint64_t word) {
      low = std::rotl(low ^ word * 0x87C37B91114253D5ULL, 31) * 0x4CF5AD432745937FULL;
      high = std::rotl(high ^ word * 0xFF51AFD7ED558CCDULL, 29) * 0x9FB21C651E98DF25ULL;
    }
    void take(std::string_view text) {
      take(text.size());
      while (text.size() > sizeof(std::uint64_t)) {
        take(word_of(text.substr(0, sizeof(std::uint64_t))));
        text.remove_prefix(sizeof(std::uint64_t));
      }
      take(word_of(text));
    }
  };

  // Up to eight bytes.
  static std::uint64_t word_of(std::string_view bytes) {
    std::uint64_t word = 0;
    if (!bytes.empty()) std::memcpy(&word, bytes.data(), bytes.size());
    return word;
  }
  // Each bit of the input moves half of the output's.
  static std::uint64_t finished(std::uint64_t value) {
    value = (value ^ (value >> 33U)) * 0xFF51AFD7ED558CCDULL;
    value = (value ^ (value >> 33U)) * 0xC4CEB9FE1A85EC53ULL;
    return value ^ (value >> 33U);
  }

  std::uint64_t entries_ = 0;
  std::uint64_t low_ = 0;
  std::uint64_t high_ = 0;
};

}  // namespace atlasflow::storage
