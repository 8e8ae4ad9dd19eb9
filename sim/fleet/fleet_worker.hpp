// A fleet's process that runs seeds, and the memory that it shares with the process that started
// it: totals, and which seed is under way, which outlive it when it aborts. Failures go through a
// pipe. The parent owns the board; a worker has one thread.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <string>
#include <string_view>

#include "sim/fleet/fleet.hpp"

namespace atlasflow::sim {

inline constexpr std::size_t k_jobs_max = 256;
inline constexpr std::size_t k_marks_max = 4096;  // probes and sites

// Lies in memory that both processes see. Every field is a number of its own: nothing is read that
// depends on the order of two.
struct FleetBoard {
  struct Place {
    std::atomic<std::uint64_t> seed{0};
    std::atomic<std::int64_t> begun_at{0};  // steady clock; 0: between two seeds
  };

  std::atomic<std::uint64_t> next{0};  // how many seeds were taken
  std::atomic<bool> stop{false};
  std::atomic<std::uint64_t> runs{0};
  std::atomic<std::uint64_t> steps{0};
  std::atomic<std::uint64_t> lives{0};
  std::atomic<std::uint64_t> deployments{0};
  std::atomic<std::uint64_t> routed{0};
  std::atomic<std::int64_t> virtual_time{0};
  std::atomic<std::uint64_t> memory_max_kib{0};
  std::array<Place, k_jobs_max> places;
  std::array<std::atomic<std::uint64_t>, k_marks_max> marks;  // probes, then sites
};
static_assert(std::atomic<std::uint64_t>::is_always_lock_free);

struct FleetWorker {
  const FleetConfig& config;
  FleetBoard& board;
  FleetBoard::Place& place;
  int results = -1;  // a pipe
  int output = -1;   // a file for what is printed, made empty before each seed
};

// Runs seeds until there are no more, in a process made for that.
[[noreturn]] void work(const FleetWorker& worker) noexcept;

// A failure's way through the pipe: its length in 8 bytes, then the rest.
[[nodiscard]] std::string frame_of(const FleetFailure& failure);
// The first failure of the bytes, which it is removed from; nothing when it is not there as a
// whole.
[[nodiscard]] std::optional<FleetFailure> take_frame(std::string& bytes);

// Microseconds on a clock that all processes share.
[[nodiscard]] std::int64_t steady_now();

}  // namespace atlasflow::sim
