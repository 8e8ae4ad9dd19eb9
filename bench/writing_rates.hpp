// The log writer's actor beside threads that write to a bare RocksDB, in turns. For one thread.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <caf/all.hpp>

#include "actors/runtime/log_writer.hpp"
#include "base/assert.hpp"
#include "bench/log_parts.hpp"
#include "bench/quiet_plane.hpp"
#include "storage/log/log_indexes.hpp"
#include "storage/log/log_keys.hpp"

namespace atlasflow::bench {

struct Writers {
  int threads;
  std::size_t events;  // of each append
  double goal;
};
inline constexpr std::array<Writers, 4> k_writers = {
    {{64, 1, 0.95}, {64, 4, 0.9}, {1, 64, 0.8}, {1, 1, 0.77}}};
inline constexpr auto k_writing = std::chrono::milliseconds(700);

// Events per second of threads that each write again and again until the time is over.
inline double rate_of(const Writers& writers,
                      const std::function<std::function<void()>(int)>& writer_of) {
  std::vector<std::function<void()>> writes;
  for (int i = 0; i < writers.threads; ++i) writes.push_back(writer_of(i));
  std::atomic<std::uint64_t> done{0};
  const auto begin = std::chrono::steady_clock::now();
  std::vector<std::jthread> threads;
  threads.reserve(writes.size());
  for (auto& write : writes) {
    threads.emplace_back([&] {
      while (std::chrono::steady_clock::now() - begin < k_writing) {
        write();
        done += writers.events;
      }
    });
  }
  threads.clear();
  return static_cast<double>(done.load()) /
         std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

class ThroughTheActor {
 public:
  explicit ThroughTheActor(const std::filesystem::path& folder)
      : log_(open_log(folder)), system_(config_) {
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
  WallClock clock_;
  const pb::Event event_ = sample_event();
  caf::actor_system_config config_;
  caf::actor_system system_;
  actors::log_actor writer_;
  int round_ = 0;
};

// The writes that the log's appends end in, each thread's own and synced by itself: RocksDB's own
// group commit.
class RawThreads {
 public:
  RawThreads(const std::filesystem::path& folder, std::size_t value_bytes)
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
  RawDatabase database_;
  const std::string value_;
  std::atomic<std::uint64_t> position_{0};
};

struct WritingRates {
  std::array<double, k_writers.size()> actor{};
  std::array<double, k_writers.size()> raw{};
};

// In turns, so that whatever else the disk does meets both; the median of the rounds.
inline WritingRates writing_rates(const std::filesystem::path& folder) {
  constexpr std::size_t k_rounds = 5;
  ThroughTheActor actor(folder / "log");
  (void)actor.rate({1, 1, 0});
  RawThreads raw(folder / "raw", actor.bytes_of_newest());
  WritingRates rates;
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

}  // namespace atlasflow::bench
