// What benchmarks of a start need: a machine on which nothing happens. For one thread, but for
// QuietWorld, which the actors use.
#pragma once

#include <atomic>
#include <chrono>
#include <string>
#include <vector>

#include "actors/runtime/control_plane.hpp"
#include "storage/secrets/secrets.hpp"

namespace atlasflow::bench {

// A machine on which all that should run does, and nothing changes.
struct QuietWorld final : actors::BuildEngine, actors::VmEngine, actors::EdgeEngine {
  Result<actors::ResolvedRef> resolve(const ProjectState&, const std::string&,
                                      std::chrono::milliseconds) override {
    return fail(ErrorCode::unavailable, "this is a benchmark");
  }
  Result<pb::Cloned> clone(const actors::SourceJob&, std::stop_token) override {
    return fail(ErrorCode::unavailable, "this is a benchmark");
  }
  Result<pb::Built> build(const actors::SourceJob&, std::stop_token) override {
    return fail(ErrorCode::unavailable, "this is a benchmark");
  }
  Result<pb::ImagePushed> push(const std::string&, const std::string&, std::stop_token) override {
    return fail(ErrorCode::unavailable, "this is a benchmark");
  }
  std::vector<actors::SourceRemains> inventory() override { return {}; }
  void reap(const actors::SourceRemains&) override {}
  void forget(const DeploymentId&) override {}
  Result<std::vector<std::string>> collect_images(const actors::KeepSource&,
                                                  std::stop_token) override {
    return std::vector<std::string>{};
  }
  Result<std::vector<std::string>> collect_disks(const actors::KeepSource&,
                                                 std::stop_token) override {
    return std::vector<std::string>{};
  }
  Result<actors::StartedVm> start(const actors::VmJob&, std::stop_token) override {
    return actors::StartedVm{{"127.0.0.1", 4000}};
  }
  actors::VmObservation observe(const VmId&) override { return {true, {}, {}}; }
  actors::ProbeObservation probe(const VmId&, const std::string&, const std::string&) override {
    return {200, ""};
  }
  Result<std::int32_t> stop(const VmId&) override { return 0; }
  std::vector<VmId> list() override { return {}; }
  bool ping() override { return true; }
  std::int64_t memory_mib() const override { return 1 << 20; }
  Result<void> publish(std::uint64_t generation, const std::vector<actors::RouteClaim>&) override {
    published = generation;
    return {};
  }
  std::uint64_t drain(const VmId&, std::chrono::microseconds) override { return 0; }
  std::uint64_t generation() const override { return published; }
  std::string describe() const override { return "quiet"; }

  std::atomic<std::uint64_t> published{0};
};

struct WallClock final : actors::Clock {
  TimestampUs now() const override {
    return std::chrono::duration_cast<std::chrono::microseconds>(
               std::chrono::system_clock::now().time_since_epoch())
        .count();
  }
};

struct NoSecrets final : storage::SecretStore {
  Result<storage::SealedRef> seal(std::string_view, std::string_view) override {
    return fail(ErrorCode::unavailable, "this is a benchmark");
  }
  Result<std::string> open(std::string_view, const std::string&) override {
    return fail(ErrorCode::unavailable, "this is a benchmark");
  }
  Result<std::vector<std::string>> refs() override { return std::vector<std::string>{}; }
  Result<void> remove(const std::vector<std::string>&) override { return {}; }
};

}  // namespace atlasflow::bench
