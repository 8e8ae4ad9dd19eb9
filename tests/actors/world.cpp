#include "tests/actors/world.hpp"

#include <gtest/gtest.h>

#include "events/settings.hpp"
#include "storage/catalog.hpp"

namespace atlasflow::actors {
namespace {
constexpr TimestampUs k_start = 1'700'000'000'000'000;
}

std::string Outside::upstream_of(const std::string& host) const {
  if (tables.empty()) return "";
  for (const auto& claim : tables.back().second) {
    if (claim.host == host) return claim.vm_id;
  }
  return "";
}

int Outside::running_vms() const {
  int running = 0;
  for (const auto& [id, vm] : vms) running += vm.running ? 1 : 0;
  return running;
}

// Lets nothing through once the process is "dead".
class Life::KillableLog final : public storage::EventLog {
 public:
  explicit KillableLog(std::unique_ptr<storage::EventLog> log) : log_(std::move(log)) {}
  bool dead = false;

  Result<std::vector<storage::AppendOutcome>> append(
      const std::vector<storage::AppendRequest>& requests, TimestampUs now) override {
    if (dead) return fail(ErrorCode::unavailable, "killed");
    return log_->append(requests, now);
  }
  Result<Epoch> begin_epoch() override { return log_->begin_epoch(); }
  Result<void> read_all(Position first,
                        const std::function<bool(const storage::Record&)>& visit) const override {
    return log_->read_all(first, visit);
  }
  Result<void> read_stream(
      const StreamId& stream, StreamVersion first,
      const std::function<bool(const storage::Record&)>& visit) const override {
    return log_->read_stream(stream, first, visit);
  }
  Result<std::optional<storage::Record>> read_at(Position position) const override {
    return log_->read_at(position);
  }
  Result<StreamVersion> version_of(const StreamId& stream) const override {
    return log_->version_of(stream);
  }
  Position last_position() const override { return log_->last_position(); }

 private:
  std::unique_ptr<storage::EventLog> log_;
};

struct Life::VirtualClock final : Clock {
  caf::scheduler::test_coordinator* scheduler = nullptr;
  TimestampUs now() const override {
    const auto since = scheduler->clock().now().time_since_epoch();
    return k_start + std::chrono::duration_cast<std::chrono::microseconds>(since).count();
  }
};

class Life::Engine final : public BuildEngine, public VmEngine, public EdgeEngine {
 public:
  explicit Engine(Outside& outside) : outside_(outside) {}
  bool dead = false;

  Result<ResolvedRef> resolve(const std::string&, const std::string& branch) override {
    return ResolvedRef{"refs/heads/" + branch, std::string(40, 'a')};
  }
  Result<pb::Cloned> clone(const SourceJob& job, std::stop_token) override {
    if (dead) return fail(ErrorCode::cancelled, "killed");
    ++outside_.clones[job.effect.str()];
    if (outside_.clone_error) {
      if (auto error = outside_.clone_error(job)) return tl::unexpected(*error);
    }
    pb::Cloned cloned;
    cloned.set_sha(job.sha);
    return cloned;
  }
  Result<pb::Built> build(const SourceJob& job, std::stop_token) override {
    if (dead) return fail(ErrorCode::cancelled, "killed");
    ++outside_.builds[job.effect.str()];
    if (outside_.build_error) {
      if (auto error = outside_.build_error(job)) return tl::unexpected(*error);
    }
    pb::Built built;
    built.set_image_id("sha256:" + job.sha);
    built.set_stack("dockerfile");
    return built;
  }
  Result<pb::ImagePushed> push(const std::string& image_id, const std::string& repository,
                               std::stop_token) override {
    if (dead) return fail(ErrorCode::cancelled, "killed");
    pb::ImagePushed pushed;
    pushed.set_reference("registry/" + repository + "@" + image_id);
    return pushed;
  }
  std::vector<std::string> reap(const std::vector<DeploymentId>&) override { return {}; }
  void forget(const DeploymentId&) override {}

  Result<VmLocation> start(const VmJob& job, std::stop_token) override {
    if (dead) return fail(ErrorCode::cancelled, "killed");
    const auto [found, fresh] = outside_.vms.try_emplace(job.vm_id);
    if (fresh || !found->second.running) ++found->second.starts;
    found->second.running = true;
    found->second.image = job.image;
    for (const auto& [name, entry] : job.env) found->second.env_refs[name] = entry.sealed_ref;
    return VmLocation{"127.0.0.1", 40000};
  }
  VmObservation observe(const std::string& vm_id) override {
    const auto found = outside_.vms.find(vm_id);
    VmObservation observation;
    observation.running = found != outside_.vms.end() && found->second.running;
    observation.exit.set_reason("the app exited with code 1");
    return observation;
  }
  ProbeObservation probe(const std::string& vm_id, const std::string&,
                         const std::string&) override {
    if (outside_.probe) return outside_.probe(vm_id);
    return {200, ""};
  }
  Result<std::int32_t> stop(const std::string& vm_id) override {
    if (dead) return fail(ErrorCode::cancelled, "killed");
    outside_.vms.erase(vm_id);
    return 0;
  }
  std::vector<std::string> list() override {
    std::vector<std::string> ids;
    for (const auto& [id, vm] : outside_.vms) ids.push_back(id);
    return ids;
  }
  std::int64_t memory_mib() const override { return outside_.memory_mib; }

  Result<void> publish(std::uint64_t generation, const std::vector<RouteClaim>& table) override {
    if (dead) return fail(ErrorCode::cancelled, "killed");
    if (outside_.publish_failures > 0) {
      --outside_.publish_failures;
      return fail(ErrorCode::unavailable, "the edge does not answer");
    }
    EXPECT_TRUE(outside_.tables.empty() || outside_.tables.back().first < generation);
    outside_.tables.emplace_back(generation, table);
    return {};
  }
  std::uint64_t drain(const std::string& vm_id, std::chrono::microseconds) override {
    if (!dead) outside_.drained.insert(vm_id);
    return 0;
  }
  std::uint64_t generation() const override {
    return outside_.tables.empty() ? 0 : outside_.tables.back().first;
  }
  std::string describe() const override { return "simulated"; }

 private:
  Outside& outside_;
};

Life::Life(std::shared_ptr<storage::MemoryStore> store, Outside& outside, std::uint64_t seed)
    : outside_(outside), random_(seed * 0x9E3779B97F4A7C15ULL | 1U) {
  log_ = std::make_unique<KillableLog>(storage::open_memory_event_log(std::move(store), "test"));
  EXPECT_TRUE(log_->begin_epoch());
  engine_ = std::make_unique<Engine>(outside_);
  clock_ = std::make_unique<VirtualClock>();
  EXPECT_TRUE(log_->read_all(Position{1}, [this](const storage::Record& record) {
    catalog_.apply(record);
    return true;
  }));
  config_.set("scheduler.policy", caf::atom("testing"));
  system_ = std::make_unique<caf::actor_system>(config_);
  scheduler_ = dynamic_cast<caf::scheduler::test_coordinator*>(&system_->scheduler());
  clock_->scheduler = scheduler_;
  PartsConfig parts;
  parts.log = log_.get();
  parts.catalog = &catalog_;
  parts.engines = {clock_.get(), engine_.get(), engine_.get(), engine_.get()};
  parts.domain = "example.test";
  parts.spawn.detach_blocking = false;
  parts.fatal = [this](const Error& error) {
    if (!log_->dead) fatal.push_back(error);
  };
  parts_ = spawn_parts(*system_, parts);
  resume(parts_, catalog_);
}

Life::~Life() {
  kill();
  // Every actor must be gone before the system is: it would wait for them for ever.
  for (const auto& part : parts_.in_stop_order()) {
    // Not kill: that would pass over the handlers which end the children.
    caf::anon_send_exit(part, caf::exit_reason::user_shutdown);
  }
  parts_ = Parts{};
  for (int round = 0; round < 100'000; ++round) {
    if (!scheduler_->try_run_once() && !scheduler_->trigger_timeout()) break;
  }
}

storage::EventLog& Life::log() { return *log_; }

void Life::kill() {
  log_->dead = true;
  engine_->dead = true;
}

bool Life::step() {
  auto& jobs = scheduler_->jobs;
  if (jobs.empty()) return scheduler_->trigger_timeout();
  random_ ^= random_ << 13;
  random_ ^= random_ >> 7;
  random_ ^= random_ << 17;
  std::swap(jobs.front(), jobs[random_ % jobs.size()]);
  return scheduler_->try_run_once();
}

bool Life::run_steps(int steps) {
  for (int i = 0; i < steps; ++i) {
    if (!step()) return false;
  }
  return true;
}

void Life::run_all_jobs() {
  while (!scheduler_->jobs.empty()) step();
}

bool Life::run_until(const std::function<bool()>& done, std::chrono::seconds virtual_limit) {
  const auto limit = clock_->now() + std::chrono::microseconds(virtual_limit).count();
  while (!done()) {
    if (clock_->now() > limit || !step()) return done();
  }
  return true;
}

namespace {

// Asks on behalf of a thread outside, which the deterministic scheduler has not got.
template <typename Reply, typename Handle, typename Message>
void ask(caf::actor_system& system, const Handle& handle, Message message,
         std::function<void(const Reply&)> on_reply, std::function<void(const Error&)> on_error) {
  system.spawn([=](caf::event_based_actor* self) {
    self->request(handle, std::chrono::seconds(60), message)
        .then([=](const Reply& reply) { on_reply(reply); },
              [=](const caf::error& error) { on_error(from_caf(error)); });
  });
}

}  // namespace

ProjectId Life::create_project(const std::string& name) {
  std::optional<ProjectReply> answer;
  CreateProject create{name, "/srv/" + name + ".git", "main", "", default_settings()};
  ask<ProjectReply>(
      *system_, parts_.projects, CreateProjectNow{create},
      [&](const ProjectReply& reply) { answer = reply; },
      [this](const Error& error) { errors.push_back(error); });
  run_until([&] { return answer && catalog_.position() >= answer->position; });
  return answer ? answer->id : ProjectId{};
}

void Life::send_push(const std::string& delivery, char sha_digit, const std::string& ref) {
  Push push;
  push.repository_urls = {"file:///srv/web.git"};
  push.default_branch = "main";
  push.ref = ref;
  push.after = std::string(40, sha_digit);
  push.delivery_id = delivery;
  ask<PushReply>(
      *system_, parts_.projects, ReceivePushNow{push},
      [this](const PushReply& reply) { push_replies.push_back(reply); },
      [this](const Error& error) { errors.push_back(error); });
}

void Life::delete_project(const std::string& name) {
  ask<ProjectReply>(
      *system_, parts_.projects, CommandProject{name, DeleteProject{}}, [](const ProjectReply&) {},
      [this](const Error& error) { errors.push_back(error); });
}

std::vector<std::string> event_names(const storage::EventLog& log, const DeploymentId& id,
                                     bool only_seven) {
  std::vector<std::string> names;
  EXPECT_TRUE(
      log.read_stream(deployment_stream(id), StreamVersion{1}, [&](const storage::Record& record) {
        if (!only_seven || static_cast<int>(record.event.kind_case()) <= 7) {
          names.push_back(storage::event_name(record.event));
        }
        return true;
      }));
  return names;
}

}  // namespace atlasflow::actors
