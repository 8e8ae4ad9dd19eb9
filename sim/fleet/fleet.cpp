#include "sim/fleet/fleet.hpp"

#include <algorithm>
#include <array>
#include <csignal>
#include <cstdio>
#include <memory>

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/assert.hpp"
#include "base/buggify.hpp"
#include "base/file.hpp"
#include "base/probe.hpp"
#include "sim/fleet/child.hpp"
#include "sim/fleet/fleet_worker.hpp"

namespace atlasflow::sim {
namespace {

constexpr std::int64_t k_progress_period = 1'000'000;
constexpr int k_poll_ms = 100;

// The board, in memory that a process shares with those that it forks.
class SharedBoard {
 public:
  static Result<SharedBoard> make() {
    void* memory = ::mmap(nullptr, sizeof(FleetBoard), PROT_READ | PROT_WRITE,
                          MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
      return tl::unexpected(errno_error("no memory to share with the fleet's processes"));
    }
    return SharedBoard(std::construct_at(static_cast<FleetBoard*>(memory)));
  }
  ~SharedBoard() {
    if (board_ != nullptr) ::munmap(board_, sizeof(FleetBoard));
  }
  SharedBoard(SharedBoard&& other) noexcept : board_(std::exchange(other.board_, nullptr)) {}
  SharedBoard& operator=(SharedBoard&&) = delete;

  FleetBoard* operator->() const { return board_; }
  FleetBoard& operator*() const { return *board_; }

 private:
  explicit SharedBoard(FleetBoard* board) : board_(board) {}

  FleetBoard* board_;
};

// One place of the board and the process that has it, if any.
struct Job {
  FleetBoard::Place* place = nullptr;
  FileDescriptor results;
  FileDescriptor output;
  std::string received;
  pid_t pid = -1;
  bool hung = false;
};

class Fleet {
 public:
  Fleet(const FleetConfig& config, SharedBoard board)
      : config_(config), board_(std::move(board)), jobs_(static_cast<std::size_t>(config.jobs)) {
    for (std::size_t i = 0; i < jobs_.size(); ++i) jobs_[i].place = &board_->places.at(i);
  }
  ~Fleet() {
    for (auto& job : jobs_) end(job);
  }
  Fleet(const Fleet&) = delete;
  Fleet& operator=(const Fleet&) = delete;

  Result<FleetReport> run() {
    const auto begun_at = steady_now();
    for (auto& job : jobs_) {
      ATLAS_TRYV(start(job));
    }
    while (std::ranges::any_of(jobs_, [](const Job& job) { return job.pid > 0; })) {
      ATLAS_TRYV(listen());
      look_at_clock(begun_at);
    }
    return report(steady_now() - begun_at);
  }

 private:
  [[nodiscard]] bool more() const { return !board_->stop && board_->next < config_.runs; }

  Result<void> start(Job& job) {
    if (!more()) return {};
    std::array<int, 2> pipe{};
    if (::pipe2(pipe.data(), O_CLOEXEC) != 0) {
      return tl::unexpected(errno_error("a pipe cannot be made"));
    }
    job.results = FileDescriptor(pipe[0]);
    const FileDescriptor results(pipe[1]);
    job.output = FileDescriptor(make_output_file());
    if (!job.output.valid()) {
      return tl::unexpected(errno_error("a file for a run's output cannot be made"));
    }
    job.received.clear();
    job.hung = false;
    job.place->begun_at = 0;
    // What is buffered here must not be printed there as well.
    std::fflush(nullptr);
    job.pid = ::fork();
    if (job.pid < 0) return tl::unexpected(errno_error("a process cannot be started"));
    if (job.pid == 0) {
      work({config_, *board_, *job.place, results.get(), job.output.get()});
    }
    return {};
  }

  Result<void> listen() {
    std::vector<pollfd> waits;
    std::vector<Job*> waiting;
    for (auto& job : jobs_) {
      if (job.pid <= 0) continue;
      waits.push_back({job.results.get(), POLLIN, 0});
      waiting.push_back(&job);
    }
    const int ready = ::poll(waits.data(), waits.size(), k_poll_ms);
    if (ready < 0 && errno != EINTR) return tl::unexpected(errno_error("poll failed"));
    for (std::size_t i = 0; ready > 0 && i < waits.size(); ++i) {
      if (waits[i].revents == 0) continue;
      if (auto taken = receive(*waiting[i]); !taken) return taken;
    }
    return {};
  }

  Result<void> receive(Job& job) {
    std::array<char, 65536> bytes{};
    const auto count = ::read(job.results.get(), bytes.data(), bytes.size());
    if (count < 0 && errno == EINTR) return {};
    if (count <= 0) {
      bury(job);
      return start(job);
    }
    job.received.append(bytes.data(), static_cast<std::size_t>(count));
    while (auto failure = take_frame(job.received)) fail_with(*std::move(failure));
    return {};
  }

  // The process has ended; when that was in the middle of a run, the run failed.
  void bury(Job& job) {
    int status = 0;
    while (::waitpid(job.pid, &status, 0) < 0 && errno == EINTR) {
    }
    job.pid = -1;
    const bool in_a_run = job.place->begun_at != 0;
    if (!in_a_run && (job.hung || (WIFEXITED(status) && WEXITSTATUS(status) == 0))) return;
    FleetFailure failure;
    failure.seed = job.place->seed;
    failure.output = last_output(job.output.get());
    failure.violation = job.hung ? Violation{"hangs", hang_sentence()}
                                 : Violation{"aborts", "the run's process ended with " +
                                                           how_it_ended(status, failure.output)};
    ++board_->runs;
    fail_with(std::move(failure));
  }

  [[nodiscard]] std::string hang_sentence() const {
    return fmt::format("the run had not come to an end after {:g} s of real time",
                       static_cast<double>(config_.hang_after_real_us) / 1e6);
  }

  void fail_with(FleetFailure failure) {
    failures_.push_back(std::move(failure));
    if (failures_.size() >= config_.failures_max) board_->stop = true;
  }

  void look_at_clock(std::int64_t begun_at) {
    const auto now = steady_now();
    if (config_.stop_after_real_us && now - begun_at >= *config_.stop_after_real_us) {
      board_->stop = true;
    }
    for (auto& job : jobs_) {
      const auto since = job.place->begun_at.load();
      if (job.pid <= 0 || job.hung || since == 0) continue;
      if (now - since < config_.hang_after_real_us) continue;
      job.hung = true;
      ::kill(job.pid, SIGKILL);
    }
    if (config_.progress && now - told_at_ >= k_progress_period) {
      told_at_ = now;
      config_.progress(board_->runs, failures_.size());
    }
  }

  static void end(Job& job) {
    if (job.pid <= 0) return;
    ::kill(job.pid, SIGKILL);
    while (::waitpid(job.pid, nullptr, 0) < 0 && errno == EINTR) {
    }
    job.pid = -1;
  }

  // The marks' numbers on the board are those of their places in the lists.
  std::vector<Reached> reached(const std::vector<ProbeCount>& marks, std::size_t first) const {
    std::vector<Reached> all;
    for (std::size_t i = 0; i < marks.size(); ++i) {
      const auto& mark = marks[i];
      all.push_back({mark.file, mark.line, mark.text, board_->marks.at(first + i)});
    }
    return all;
  }

  FleetReport report(std::int64_t real_time) {
    FleetReport report;
    report.runs = board_->runs;
    report.steps = board_->steps;
    report.lives = board_->lives;
    report.deployments = board_->deployments;
    report.routed = board_->routed;
    report.virtual_time = board_->virtual_time;
    report.real_time = real_time;
    report.memory_max_kib = board_->memory_max_kib;
    std::ranges::sort(failures_, {}, &FleetFailure::seed);
    report.failures = std::move(failures_);
    const auto all_probes = probes();
    report.probes = reached(all_probes, 0);
    report.sites = reached(buggify_sites(), all_probes.size());
    return report;
  }

  const FleetConfig& config_;
  SharedBoard board_;
  std::vector<Job> jobs_;
  std::vector<FleetFailure> failures_;
  std::int64_t told_at_ = steady_now();
};

}  // namespace

Result<FleetReport> run_fleet(const FleetConfig& config) {
  if (config.jobs < 1 || static_cast<std::size_t>(config.jobs) > k_jobs_max) {
    return fail(ErrorCode::invalid_argument,
                fmt::format("{} jobs are not possible: 1 to {} are", config.jobs, k_jobs_max));
  }
  ATLAS_ASSERT(probes().size() + buggify_sites().size() <= k_marks_max,
               "more marks than the fleet's board has room for");
  ATLAS_TRY(auto board, SharedBoard::make());
  Fleet fleet(config, std::move(board));
  return fleet.run();
}

}  // namespace atlasflow::sim
