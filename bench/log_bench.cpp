// The event log at a size: a start over it, verify(), readings, what `status` and a webhook ask of
// the read model, and the log writer's actor beside threads that write to a bare RocksDB. Each is
// measured in a process of its own, so that its memory is its own.
#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <cstdio>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <caf/all.hpp>
#include <spdlog/spdlog.h>
#include <sys/resource.h>

#include "actors/runtime/log_writer.hpp"
#include "base/assert.hpp"
#include "bench/apart.hpp"
#include "bench/log_parts.hpp"
#include "bench/made_log.hpp"
#include "bench/quiet_plane.hpp"
#include "bench/work_folder.hpp"
#include "storage/log/log_indexes.hpp"
#include "storage/log/log_keys.hpp"
#include "storage/log/rocksdb_event_log.hpp"
#include "storage/log/rocksdb_options.hpp"
#include "storage/readmodel/catalog.hpp"

namespace {

using namespace atlasflow;
using Seconds = std::chrono::duration<double>;
using SteadyClock = std::chrono::steady_clock;
namespace fs = std::filesystem;

constexpr int k_projects = 100;
constexpr std::uint64_t k_events_of_a_deployment = 16;
constexpr int k_repetitions = 3;  // the best one counts: others use the machine too

double seconds_since(SteadyClock::time_point begin) {
  return Seconds(SteadyClock::now() - begin).count();
}

double cpu_seconds() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  const auto of = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
  };
  return of(usage.ru_utime) + of(usage.ru_stime);
}

std::uint64_t make_log(const fs::path& folder, std::uint64_t events) {
  return bench::apart<std::uint64_t>([&] {
    const auto log = bench::open_log(folder);
    bench::fill(*log, k_projects,
                std::max(1, static_cast<int>(events / k_events_of_a_deployment / k_projects)));
    return log->last_position().value();
  });
}

// ---- the read side ----

struct Verified {
  double wall_s = 1e9;
  double cpu_s = 1e9;
  double peak_mib = 0;
};

Verified verify_once(const fs::path& folder) {
  const auto begin = SteadyClock::now();
  const auto cpu = cpu_seconds();
  const auto verified = storage::verify_folder(folder);
  ATLAS_ASSERT(verified.has_value(), verified ? "" : to_string(verified.error()));
  return {seconds_since(begin), cpu_seconds() - cpu, bench::peak_mib()};
}

struct Read {
  double decoded_s = 1e9;  // of CPU: read, decoded, the chain checked
  double folded_s = 1e9;   // and applied to the read model
  double active_ms = 0;    // what `status` asks of it
  double secrets_us = 0;   // what a webhook asks of it
  double projects_us = 0;  // what a webhook asked of it before: whole copies
};

template <typename Look>
double median_seconds(Look look) {
  std::vector<double> times(21);
  for (double& time : times) {
    const auto begin = SteadyClock::now();
    look();
    time = seconds_since(begin);
  }
  std::nth_element(times.begin(), times.begin() + 10, times.end());
  return times[10];
}

Read read_once(const fs::path& folder) {
  const auto log = storage::open_event_log_for_reading(folder).value();
  Read read;
  const auto cpu_of_reading = [&](const std::function<void(const storage::Record&)>& take) {
    const auto cpu = cpu_seconds();
    const auto whole = log->read_all(Position{1}, [&](const storage::Record& record) {
      take(record);
      return true;
    });
    ATLAS_ASSERT(whole.has_value(), whole ? "" : to_string(whole.error()));
    return cpu_seconds() - cpu;
  };
  std::uint64_t kinds = 0;
  read.decoded_s = cpu_of_reading([&](const storage::Record& record) {
    kinds += static_cast<std::uint64_t>(record.event.kind_case());
  });
  ATLAS_ASSERT(kinds > 0, "nothing was read");
  storage::Catalog catalog;
  catalog.read_finished_from(*log);
  read.folded_s = cpu_of_reading([&](const storage::Record& record) { catalog.apply(record); });
  std::size_t seen = 0;
  read.active_ms = 1e3 * median_seconds([&] { seen += catalog.active_deployments().size(); });
  read.secrets_us = 1e6 * median_seconds([&] { seen += catalog.webhook_secret_refs().size(); });
  read.projects_us = 1e6 * median_seconds([&] { seen += catalog.projects().size(); });
  ATLAS_ASSERT(seen > 0, "the read model is empty");
  return read;
}

struct Started {
  double serving_s = 1e9;  // from the opening of the log to a started control plane
  double pushed_s = 1e9;   // and from then until a push is recorded
  double peak_mib = 0;
};

Started start_once(const fs::path& folder, int repetition) {
  bench::QuietWorld world;
  bench::WallClock clock;
  bench::NoSecrets secrets;
  Started started;
  auto begin = SteadyClock::now();
  const auto log = bench::open_log(folder);
  const auto plane = actors::start_control_plane(
      {}, *log, secrets, {&clock, &world, {{HostId("local"), &world}}, &world});
  ATLAS_ASSERT(plane.has_value(), plane ? "" : to_string(plane.error()));
  started.serving_s = seconds_since(begin);
  begin = SteadyClock::now();
  Push push;
  push.repository_urls = {"/srv/app-0.git"};
  push.default_branch = "main";
  push.ref = "refs/heads/main";
  push.after = std::string(40, static_cast<char>('b' + repetition));
  push.delivery_id = "first-push-" + std::to_string(clock.now());
  const auto receipts = (*plane)->execute(Principal::webhook("github"), commands::TakePush{push});
  ATLAS_ASSERT(receipts.has_value(), receipts ? "" : to_string(receipts.error()));
  ATLAS_ASSERT(
      receipts->size() == 1 && receipts->front().verdict == actors::PushReceipt::Verdict::deployed,
      "the push was not taken");
  started.pushed_s = seconds_since(begin);
  started.peak_mib = bench::peak_mib();
  std::fflush(stdout);
  return started;
}

// ---- the writer ----

struct Writers {
  int threads;
  std::size_t events;  // of each append
  double goal;
};
constexpr std::array<Writers, 4> k_writers = {
    {{64, 1, 0.95}, {64, 4, 0.9}, {1, 64, 0.8}, {1, 1, 0.77}}};
constexpr auto k_writing = std::chrono::milliseconds(700);

// Events per second of threads that each write again and again until the time is over.
double rate_of(const Writers& writers, const std::function<std::function<void()>(int)>& writer_of) {
  std::vector<std::function<void()>> writes;
  for (int i = 0; i < writers.threads; ++i) writes.push_back(writer_of(i));
  std::atomic<std::uint64_t> done{0};
  const auto begin = SteadyClock::now();
  std::vector<std::jthread> threads;
  threads.reserve(writes.size());
  for (auto& write : writes) {
    threads.emplace_back([&] {
      while (SteadyClock::now() - begin < k_writing) {
        write();
        done += writers.events;
      }
    });
  }
  threads.clear();
  return static_cast<double>(done.load()) / seconds_since(begin);
}

class ThroughTheActor {
 public:
  explicit ThroughTheActor(const fs::path& folder)
      : log_(bench::open_log(folder)), system_(config_) {
    ATLAS_ASSERT(log_->begin_epoch().has_value(), "no epoch");
    writer_ = system_.spawn<caf::detached>(
        actors::log_writer,
        actors::LogWriterConfig{log_.get(), &clock_,
                                [](const Error&) { ATLAS_ASSERT(false, "the log failed"); }, ""});
  }
  ~ThroughTheActor() {
    caf::anon_send_exit(writer_, caf::exit_reason::user_shutdown);
    writer_ = nullptr;
  }
  ThroughTheActor(const ThroughTheActor&) = delete;
  ThroughTheActor& operator=(const ThroughTheActor&) = delete;

  double rate(const Writers& writers) {
    ++round_;
    return rate_of(writers, [&](int i) {
      actors::Append append;
      append.request.stream =
          StreamId("deployment/w" + std::to_string(round_) + "-" + std::to_string(i));
      append.request.events.assign(writers.events, event_);
      append.request.correlation_id = "72d3162e-cc78-11e3-81ab-4c9367dc0958";
      append.request.actor = Principal::system("deployment");
      const auto self = std::make_shared<caf::scoped_actor>(system_);
      return [this, self, append, version = std::uint64_t{0}]() mutable {
        append.request.expected_version = StreamVersion(version);
        version += append.request.events.size();
        (*self)
            ->request(writer_, caf::infinite, append)
            .receive(
                [](const actors::AppendReply& reply) {
                  ATLAS_ASSERT(std::holds_alternative<storage::Appended>(reply.outcome),
                               "an append was refused");
                },
                [](const caf::error&) { ATLAS_ASSERT(false, "an append failed"); });
      };
    });
  }

  [[nodiscard]] std::size_t bytes_of_newest() const {
    const auto* indexes = dynamic_cast<const storage::LogIndexes*>(log_.get());
    return indexes->stored_at(log_->last_position()).value().size();
  }

 private:
  std::unique_ptr<storage::EventLog> log_;
  bench::WallClock clock_;
  const pb::Event event_ = bench::sample_event();
  caf::actor_system_config config_;
  caf::actor_system system_;
  actors::log_actor writer_;
  int round_ = 0;
};

// The writes that the log's appends end in, each thread's own and synced by itself: RocksDB's own
// group commit.
class RawThreads {
 public:
  RawThreads(const fs::path& folder, std::size_t value_bytes)
      : database_(folder), value_(value_bytes, 'v') {}

  double rate(const Writers& writers) {
    return rate_of(writers, [&](int i) {
      const StreamId stream("deployment/w" + std::to_string(i));
      return [this, stream, events = writers.events] {
        rocksdb::WriteBatch batch(0, 0, storage::k_protection_bytes_per_key, 0);
        for (std::size_t e = 0; e < events; ++e) {
          const auto key = storage::u64_bytes(++position_);
          database_.put(batch, storage::Family::events, key, value_);
          database_.put(batch, storage::Family::streams,
                        storage::stream_key(stream, StreamVersion(position_)), key);
        }
        database_.put(batch, storage::Family::heads, stream.str(), std::string(16, 'h'));
        database_.write(batch);
      };
    });
  }

 private:
  bench::RawDatabase database_;
  const std::string value_;
  std::atomic<std::uint64_t> position_{0};
};

struct Rates {
  std::array<double, k_writers.size()> actor{};
  std::array<double, k_writers.size()> raw{};
};

// In turns, so that whatever else the disk does meets both; the median of the rounds.
Rates writing_rates(const fs::path& folder) {
  constexpr std::size_t k_rounds = 5;
  ThroughTheActor actor(folder / "log");
  (void)actor.rate({1, 1, 0});
  RawThreads raw(folder / "raw", actor.bytes_of_newest());
  Rates rates;
  for (std::size_t i = 0; i < k_writers.size(); ++i) {
    std::array<double, k_rounds> of_actor{};
    std::array<double, k_rounds> of_raw{};
    for (std::size_t round = 0; round < k_rounds; ++round) {
      of_actor[round] = actor.rate(k_writers[i]);
      of_raw[round] = raw.rate(k_writers[i]);
    }
    std::sort(of_actor.begin(), of_actor.end());
    std::sort(of_raw.begin(), of_raw.end());
    rates.actor[i] = of_actor[k_rounds / 2];
    rates.raw[i] = of_raw[k_rounds / 2];
  }
  return rates;
}

// ---- the table ----

void row(const char* what, const std::string& name, double value, const char* unit,
         const char* comparison, double goal) {
  std::printf("%-58s %10.4g %-12s %s %.4g\n", what, value, unit, comparison, goal);
  std::printf("BAR log.%s %.6g %s %.6g\n", name.c_str(), value, comparison, goal);
}

// Goals of the size that is nearest: a million, or ten.
void print_reads(const fs::path& folder, double events) {
  Verified verified;
  Read read;
  Started started;
  for (int i = 0; i < k_repetitions; ++i) {
    const auto one = bench::apart<Verified>([&] { return verify_once(folder); });
    verified = {std::min(verified.wall_s, one.wall_s), std::min(verified.cpu_s, one.cpu_s),
                std::max(verified.peak_mib, one.peak_mib)};
    const auto reading = bench::apart<Read>([&] { return read_once(folder); });
    read = {std::min(read.decoded_s, reading.decoded_s), std::min(read.folded_s, reading.folded_s),
            reading.active_ms, reading.secrets_us, reading.projects_us};
    const auto start = bench::apart<Started>([&] { return start_once(folder, i); });
    started = {std::min(started.serving_s, start.serving_s),
               std::min(started.pushed_s, start.pushed_s),
               std::max(started.peak_mib, start.peak_mib)};
  }
  const bool is_large = events > 3e6;
  row("start: until it serves", "start_serving_s", started.serving_s, "s",
      "<=", is_large ? 2 : 0.5);
  row("start: then until a first push is recorded", "first_push_s", started.pushed_s, "s",
      "<=", 0.5);
  row("start: peak memory", "start_peak_mib", started.peak_mib, "MiB", "<=", 300);
  row("verify", "verify_events_per_cpu_s", events / verified.cpu_s, "events/CPU s", ">=", 1e6);
  std::printf("  (%.2f s by the clock)\n", verified.wall_s);
  row("verify: peak memory", "verify_peak_mib", verified.peak_mib, "MiB", "<=", 200);
  row("read, decode, chain", "read_events_per_cpu_s", events / read.decoded_s, "events/CPU s",
      ">=", 2e6);
  row("read, decode, chain, evolve (the read model)", "evolve_events_per_cpu_s",
      events / read.folded_s, "events/CPU s", ">=", 1e6);
  row("status: the active deployments (100)", "active_ms", read.active_ms, "ms", "<=", 1);
  row("webhook: the projects' secrets (100)", "webhook_secrets_us", read.secrets_us, "us",
      "<=", 1000);
  std::printf("  (%.0f us by copies of the projects)\n", read.projects_us);
}

void print_writes(const Rates& rates) {
  for (std::size_t i = 0; i < k_writers.size(); ++i) {
    const auto& writers = k_writers[i];
    const auto shape = std::to_string(writers.threads) + "x" + std::to_string(writers.events);
    row(("log writer " + shape + " : raw synced threads").c_str(), "writer_" + shape + "_vs_raw",
        rates.actor[i] / rates.raw[i], "", ">=", writers.goal);
    std::printf("  (%.0f : %.0f events/s)\n", rates.actor[i], rates.raw[i]);
  }
}

}  // namespace

int main(int argc, char** argv) {
  std::uint64_t events = 1'000'000;
  const std::string count = argc == 3 ? argv[2] : "";
  const auto end = count.data() + count.size();
  if (argc != 1 && (argc != 3 || std::string(argv[1]) != "--events" || count.size() > 9 ||
                    std::from_chars(count.data(), end, events).ptr != end || events < 100'000)) {
    std::fprintf(stderr, "usage: log_bench [--events N], N from 100000 to 999999999\n");
    return 2;
  }
  spdlog::set_level(spdlog::level::off);
  const bench::WorkFolder folder("log-bench");
  const auto log = folder.path() / "events";
  const auto begin = SteadyClock::now();
  const auto made = make_log(log, events);
  std::printf("a log of %llu events, %d projects; made in %.0f s\n\n",
              static_cast<unsigned long long>(made), k_projects, seconds_since(begin));
  std::printf("%-58s %10s %-12s %s\n", "what", "measured", "", "goal");
  print_reads(log, static_cast<double>(made));
  print_writes(bench::apart<Rates>([&] { return writing_rates(folder.path()); }));
  return 0;
}
