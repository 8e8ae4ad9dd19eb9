// A control plane over real threads, in a world in which everything works at once.
#pragma once

#include <atomic>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <thread>

#include <gtest/gtest.h>

#include "actors/runtime/control_plane.hpp"
#include "storage/log/forwarding_event_log.hpp"
#include "storage/log/memory_event_log.hpp"

namespace atlasflow::actors_test {

using namespace atlasflow::actors;

struct SteadyClock final : Clock {
  TimestampUs now() const override {
    return std::chrono::duration_cast<std::chrono::microseconds>(
               std::chrono::system_clock::now().time_since_epoch())
        .count();
  }
};

// A world in which everything works at once.
struct Easy final : BuildEngine, VmEngine, EdgeEngine {
  std::atomic<int> vms{0};
  std::atomic<std::uint64_t> published{0};
  std::mutex mutex;
  std::deque<bool> built_without_cache;  // of each build, in order
  SealedEntries build_secrets;           // of the newest build
  SealedEntries hidden;                  // likewise
  std::vector<std::string> env_names;    // of the newest VM
  std::map<std::string, char> heads;     // by branch; of every other one 'c'
  std::function<void()> on_resolve;      // before it answers, what it has seen
  std::atomic<int> resolved{0};
  std::atomic<std::chrono::milliseconds> resolved_within{};  // the newest one's limit
  Result<ResolvedRef> resolve(const ProjectState& project, const std::string& branch,
                              std::chrono::milliseconds at_most) override {
    ++resolved;
    resolved_within = at_most;
    if (project.repository_url == "/srv/missing")
      return fail(ErrorCode::not_found, "no such repository");
    char head = 'c';
    {
      const std::lock_guard guard(mutex);
      const auto found = heads.find(branch.empty() ? "main" : branch);
      if (found != heads.end()) head = found->second;
    }
    if (on_resolve) on_resolve();
    return ResolvedRef{"refs/heads/" + (branch.empty() ? "main" : branch), std::string(40, head)};
  }
  Result<pb::Cloned> clone(const SourceJob&, std::stop_token) override { return pb::Cloned{}; }
  Result<pb::Built> build(const SourceJob& job, std::stop_token) override {
    const std::lock_guard guard(mutex);
    built_without_cache.push_back(job.no_cache);
    build_secrets = job.secrets;
    hidden = job.env;
    pb::Built built;
    built.set_image_id("sha256:1");
    return built;
  }
  Result<pb::ImagePushed> push(const std::string&, const std::string&, std::stop_token) override {
    pb::ImagePushed pushed;
    pushed.set_reference("registry/web@sha256:1");
    return pushed;
  }
  std::vector<SourceRemains> inventory() override { return {}; }
  void reap(const SourceRemains&) override {}
  void forget(const DeploymentId&) override {}
  Result<std::vector<std::string>> collect_images(const KeepSource&, std::stop_token) override {
    return std::vector<std::string>{};
  }
  Result<std::vector<std::string>> collect_disks(const KeepSource&, std::stop_token) override {
    return std::vector<std::string>{};
  }
  Result<StartedVm> start(const VmJob& job, std::stop_token) override {
    ++vms;
    const std::lock_guard guard(mutex);
    env_names.clear();
    for (const auto& [name, entry] : job.env) env_names.push_back(name);
    return StartedVm{{"127.0.0.1", 4000}};
  }
  VmObservation observe(const VmId&) override { return {true, {}, {}}; }
  ProbeObservation probe(const VmId&, const std::string&, const std::string&) override {
    return {200, ""};
  }
  Result<std::int32_t> stop(const VmId&) override {
    --vms;
    return 0;
  }
  std::vector<VmId> list() override { return {}; }
  bool ping() override { return true; }
  std::int64_t memory_mib() const override { return 1 << 20; }
  Result<void> publish(std::uint64_t generation, const std::vector<RouteClaim>&) override {
    published = generation;
    return {};
  }
  std::uint64_t drain(const VmId&, std::chrono::microseconds) override { return 0; }
  std::uint64_t generation() const override { return published; }
  std::string describe() const override { return "easy"; }
};

// Keeps values in memory; sealing itself is tested in tests/storage.
struct PlainSecrets final : storage::SecretStore {
  std::map<std::string, std::string> values;
  Result<storage::SealedRef> seal(std::string_view context, std::string_view value) override {
    const auto ref = std::string(context) + "#" + std::to_string(values.size());
    values[ref] = std::string(value);
    return storage::SealedRef{ref, "digest"};
  }
  Result<std::string> open(std::string_view, const std::string& ref) override {
    const auto found = values.find(ref);
    if (found == values.end()) return fail(ErrorCode::not_found, "no such secret");
    return found->second;
  }
  Result<std::vector<std::string>> refs() override {
    std::vector<std::string> refs;
    for (const auto& [ref, value] : values) refs.push_back(ref);
    return refs;
  }
  Result<void> remove(const std::vector<std::string>& refs) override {
    for (const auto& ref : refs) values.erase(ref);
    return {};
  }
};

// Notes which threads read it.
class WatchedLog final : public storage::ForwardingEventLog {
 public:
  WatchedLog() : ForwardingEventLog(storage::open_memory_event_log()) {}

  Result<void> read_all(Position first,
                        const std::function<bool(const storage::Record&)>& visit) const override {
    note();
    return log().read_all(first, visit);
  }
  Result<void> read_stream(
      const StreamId& stream, StreamVersion first,
      const std::function<bool(const storage::Record&)>& visit) const override {
    note();
    return log().read_stream(stream, first, visit);
  }
  Result<StreamVersion> version_of(const StreamId& stream) const override {
    note();
    return log().version_of(stream);
  }
  [[nodiscard]] std::map<std::thread::id, int> readers() const {
    const std::lock_guard guard(mutex_);
    return readers_;
  }

 private:
  void note() const {
    const std::lock_guard guard(mutex_);
    ++readers_[std::this_thread::get_id()];
  }
  mutable std::mutex mutex_;
  mutable std::map<std::thread::id, int> readers_;
};

class Facade : public testing::Test {
 protected:
  Facade() {
    auto started = start_control_plane({}, *log, secrets,
                                       {&clock, &world, {{HostId{"local"}, &world}}, &world});
    EXPECT_TRUE(started);
    plane = std::move(*started);
  }
  template <typename Command>
  auto as_user(Command command) {
    return plane->execute(Principal::user(), std::move(command));
  }
  bool wait_for_live(const DeploymentId& id) {
    for (int i = 0; i < 1000; ++i) {
      const auto view = plane->catalog().deployment(id);
      if (view && view->state.status == DeploymentStatus::live) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
    return false;
  }

  SteadyClock clock;
  Easy world;
  PlainSecrets secrets;
  std::unique_ptr<WatchedLog> log = std::make_unique<WatchedLog>();
  std::unique_ptr<ControlPlane> plane;
};

}  // namespace atlasflow::actors_test
