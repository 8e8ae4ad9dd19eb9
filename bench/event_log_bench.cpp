// The event log against bare RocksDB: what versions, dedupe keys, the hash chain and Protobuf cost
// on top of the same synced writes of the same size, and how fast history is read back.
#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include <benchmark/benchmark.h>
#include <stdlib.h>

#include "base/assert.hpp"
#include "bench/log_parts.hpp"
#include "bench/work_folder.hpp"
#include "storage/log/log_keys.hpp"
#include "storage/log/rocksdb_options.hpp"

namespace {

using namespace atlasflow;
using namespace atlasflow::storage;
namespace fs = std::filesystem;

constexpr std::size_t k_streams = 64;
constexpr std::uint64_t k_replayed_events = 200'000;
constexpr std::size_t k_batches[] = {1, 8, 64, 256};

std::size_t bytes_per_record =
    0;  // stored size of one benchmark event, measured before the first run

class LogUnderTest {
 public:
  explicit LogUnderTest(const fs::path& folder) : log_(bench::open_log(folder)) {
    ATLAS_ASSERT(log_->begin_epoch().has_value(), "no epoch");
  }

  // One request of one event each, as the log writer finds them in its mailbox.
  void append(std::size_t batch) {
    requests_.resize(batch);
    for (AppendRequest& request : requests_) {
      const std::size_t stream = next_stream_++ % k_streams;
      request.stream = StreamId("deployment/bench" + std::to_string(100 + stream));
      request.expected_version = StreamVersion(versions_[stream]++);
      request.events.assign(1, event_);
      request.correlation_id = "72d3162e-cc78-11e3-81ab-4c9367dc0958";
      request.actor = Principal::system("deployment");
    }
    now_ += 1000;
    const auto outcomes = log_->append(requests_, now_);
    ATLAS_ASSERT(outcomes.has_value() && std::holds_alternative<Appended>(outcomes->back()),
                 "an append was refused");
  }

  [[nodiscard]] const EventLog& log() const { return *log_; }

 private:
  std::unique_ptr<EventLog> log_;
  const pb::Event event_ = bench::sample_event();
  std::vector<AppendRequest> requests_;
  std::vector<std::uint64_t> versions_ = std::vector<std::uint64_t>(k_streams);
  std::size_t next_stream_ = 0;
  TimestampUs now_ = 1'700'000'000'000'000;
};

// The writes that LogUnderTest ends in, with nothing thought about.
class RawAppends {
 public:
  explicit RawAppends(const fs::path& folder) : database_(folder) {}

  void append(std::size_t batch_size) {
    rocksdb::WriteBatch batch(batch_size * (bytes_per_record + 256), 0, k_protection_bytes_per_key,
                              0);
    for (std::size_t i = 0; i < batch_size; ++i) {
      const StreamId stream("deployment/bench" + std::to_string(100 + position_ % k_streams));
      const std::string key = u64_bytes(++position_);
      database_.put(batch, Family::events, key, value_);
      database_.put(batch, Family::streams, stream_key(stream, StreamVersion(position_)), key);
      if (i < k_streams) database_.put(batch, Family::heads, stream.str(), key + key);
    }
    database_.write(batch);
  }

 private:
  bench::RawDatabase database_;
  const std::string value_ = std::string(bytes_per_record, 'v');
  std::uint64_t position_ = 0;
};

// Prints the usual table and keeps every repetition's rate for the bars.
class Rates final : public benchmark::ConsoleReporter {
 public:
  Rates() : ConsoleReporter(OO_Tabular) {}  // colours would stick to the BAR lines

  void ReportRuns(const std::vector<Run>& runs) override {
    for (const Run& run : runs) {
      const auto rate = run.counters.find("items_per_second");
      if (run.run_type == Run::RT_Iteration && rate != run.counters.end()) {
        rates_[run.run_name.function_name].push_back(rate->second);
      }
    }
    ConsoleReporter::ReportRuns(runs);
  }

  // Events per second, the median of the repetitions; nothing when it did not run.
  std::optional<double> median(const std::string& name) {
    auto& rates = rates_[name];
    if (rates.empty()) return std::nullopt;
    std::sort(rates.begin(), rates.end());
    return rates[rates.size() / 2];
  }

 private:
  std::map<std::string, std::vector<double>> rates_;
};

template <typename Database>
void append_benchmark(benchmark::State& state, Database& database, std::size_t batch) {
  for (auto _ : state) database.append(batch);
  state.SetItemsProcessed(static_cast<std::int64_t>(batch) * state.iterations());
}

void replay_benchmark(benchmark::State& state, const EventLog& log) {
  std::int64_t events = 0;
  for (auto _ : state) {
    const auto read = log.read_all(Position(1), [&](const Record& record) {
      benchmark::DoNotOptimize(record.event.kind_case());
      ++events;
      return true;
    });
    ATLAS_ASSERT(read.has_value(), read ? "" : to_string(read.error()));
  }
  state.SetItemsProcessed(events);
}

// Median time of one append in seconds, of each kind that the bars compare.
struct AppendTimes {
  double log_1 = 0;
  double raw_1 = 0;
  double log_64 = 0;
  double raw_64 = 0;
};

// In turns of random order, so that whatever else the machine and its disk do meets all four alike.
AppendTimes measure_in_turns(LogUnderTest& log, RawAppends& raw) {
  constexpr std::size_t k_rounds = 300;
  std::array<std::vector<double>, 4> times;
  const std::array<std::function<void()>, 4> appends = {
      [&] { log.append(1); }, [&] { raw.append(1); }, [&] { log.append(64); },
      [&] { raw.append(64); }};
  // Shuffled, because what an append costs depends on which one the disk has just served.
  std::array<std::size_t, 4> order = {0, 1, 2, 3};
  std::minstd_rand random(1);
  for (std::size_t round = 0; round < k_rounds; ++round) {
    std::shuffle(order.begin(), order.end(), random);
    for (const std::size_t which : order) {
      const auto start = std::chrono::steady_clock::now();
      appends[which]();
      const auto taken = std::chrono::steady_clock::now() - start;
      times[which].push_back(std::chrono::duration<double>(taken).count());
    }
  }
  for (auto& kind : times) std::nth_element(kind.begin(), kind.begin() + k_rounds / 2, kind.end());
  constexpr std::size_t k_middle = k_rounds / 2;
  return {times[0][k_middle], times[1][k_middle], times[2][k_middle], times[3][k_middle]};
}

void bar(const char* name, double value, const char* comparison, double bar_value) {
  std::printf("BAR %s %.6g %s %.6g\n", name, value, comparison, bar_value);
}

}  // namespace

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  const bench::WorkFolder folder("event-log-bench");

  LogUnderTest history(folder.path() / "history");
  for (std::uint64_t i = 0; i < k_replayed_events; i += 1000) history.append(1000);
  {
    RecordCodec codec;
    Record record = **history.log().read_at(Position(k_replayed_events));
    bytes_per_record = codec.encode(record, ChainHash{}).size();
  }
  LogUnderTest log(folder.path() / "log");
  RawAppends raw(folder.path() / "raw");

  const auto configure = [](benchmark::internal::Benchmark* made) {
    made->UseRealTime()->MinTime(0.3);
  };
  for (const std::size_t batch : k_batches) {
    const std::string suffix = std::to_string(batch);
    configure(benchmark::RegisterBenchmark(("append_" + suffix).c_str(), [&, batch](auto& state) {
      append_benchmark(state, log, batch);
    }));
    configure(benchmark::RegisterBenchmark(("raw_" + suffix).c_str(), [&, batch](auto& state) {
      append_benchmark(state, raw, batch);
    }));
  }
  // By processor time: a replay computes, and other programs on the machine are not its fault.
  benchmark::RegisterBenchmark("replay",
                               [&](auto& state) { replay_benchmark(state, history.log()); })
      ->MinTime(0.3)
      ->Repetitions(5);
  Rates rates;
  benchmark::RunSpecifiedBenchmarks(&rates);

  const AppendTimes times = measure_in_turns(log, raw);
  // Rates, so higher is better. What the log adds must not be felt beside the disk.
  bar("eventlog.append_1_vs_raw", times.raw_1 / times.log_1, ">=", 0.8);
  bar("eventlog.append_64_vs_raw", times.raw_64 / times.log_64, ">=", 0.5);
  // The reason for one writer that takes all that is queued.
  bar("eventlog.append_64_vs_1", 64 * times.log_1 / times.log_64, ">=", 10);
  // Cold start and time travel: a year of history in seconds. Decoded, the chain checked.
  if (const auto rate = rates.median("replay")) {
    bar("eventlog.replay_events_per_s", *rate, ">=", 1e6);
  }
  return 0;
}
