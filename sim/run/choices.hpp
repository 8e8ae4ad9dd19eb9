// Everything that a simulated run leaves to chance, asked of one place: drawn from a seed, and
// recorded, so that the run can be repeated from the list alone and the list be made smaller. Of
// every choice, 0 is what happens on a quiet day: the first job, no fault, the shortest delay. One
// owner, one thread.
#pragma once

#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "sim/run/random.hpp"

namespace atlasflow::sim {

class Choices {
 public:
  explicit Choices(std::uint64_t seed) : random_(seed) {}
  // Repeats these; 0 once they are used up.
  explicit Choices(std::vector<std::uint32_t> made) : random_(0), given_(std::move(made)) {}

  // 0 … n-1; n is from 1 to 2^32.
  [[nodiscard]] std::uint64_t below(std::uint64_t n) {
    if (n <= 1) {
      note(n);
      return 0;
    }
    return take([&] { return random_.below(n); }, n);
  }
  // True in `numerator` of `denominator` cases.
  [[nodiscard]] bool chance(std::uint64_t numerator, std::uint64_t denominator) {
    if (numerator == 0) return false;
    return take([&] { return random_.chance(numerator, denominator) ? 1U : 0U; }, 2) == 1;
  }

  [[nodiscard]] const std::vector<std::uint32_t>& made() const { return made_; }

  // A fingerprint of the run so far: of every choice, out of how many, and of what was noted. Two
  // runs of one seed that differ anywhere differ here.
  [[nodiscard]] std::uint64_t trace() const { return trace_; }
  void note(std::uint64_t value) {
    trace_ = (trace_ ^ value) * 0x9E3779B97F4A7C15ULL;
    trace_ ^= trace_ >> 29U;
  }

 private:
  template <typename Draw>
  std::uint64_t take(Draw draw, std::uint64_t n) {
    std::uint64_t choice = 0;
    if (!given_) {
      choice = draw();
    } else if (made_.size() < given_->size()) {
      choice = (*given_)[made_.size()] % n;
    }
    made_.push_back(static_cast<std::uint32_t>(choice));
    note(n << 32U | choice);
    return choice;
  }

  Random random_;
  std::optional<std::vector<std::uint32_t>> given_;
  std::vector<std::uint32_t> made_;
  std::uint64_t trace_ = 1;
};

}  // namespace atlasflow::sim
