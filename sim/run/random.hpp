// The simulator's only source of chance: xoshiro256++ (Blackman and Vigna, 2019) seeded by
// SplitMix64. Ours, and with integers only, because the standard's distributions differ between
// libraries and a seed must mean the same run everywhere. One owner, one thread.
#pragma once

#include <array>
#include <cstdint>

namespace atlasflow::sim {

class Random {
 public:
  explicit Random(std::uint64_t seed) {
    for (auto& word : state_) {
      seed += 0x9E3779B97F4A7C15ULL;
      std::uint64_t mixed = seed;
      mixed = (mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9ULL;
      mixed = (mixed ^ (mixed >> 27)) * 0x94D049BB133111EBULL;
      word = mixed ^ (mixed >> 31);
    }
  }

  [[nodiscard]] std::uint64_t next() {
    const std::uint64_t result = rotate(state_[0] + state_[3], 23) + state_[0];
    const std::uint64_t shifted = state_[1] << 17;
    state_[2] ^= state_[0];
    state_[3] ^= state_[1];
    state_[1] ^= state_[2];
    state_[0] ^= state_[3];
    state_[2] ^= shifted;
    state_[3] = rotate(state_[3], 45);
    return result;
  }

  // 0 … n-1; n > 0. The bias for small n is below 2^-32 and the same everywhere.
  [[nodiscard]] std::uint64_t below(std::uint64_t n) { return next() % n; }
  // True in `numerator` of `denominator` cases.
  [[nodiscard]] bool chance(std::uint64_t numerator, std::uint64_t denominator) {
    return below(denominator) < numerator;
  }

 private:
  static std::uint64_t rotate(std::uint64_t x, int k) { return (x << k) | (x >> (64 - k)); }
  std::array<std::uint64_t, 4> state_{};
};

}  // namespace atlasflow::sim
