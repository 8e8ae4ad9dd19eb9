#include "sim/life.hpp"

#include <optional>

#include "events/assert.hpp"
#include "events/settings.hpp"

namespace atlasflow::sim {
namespace {

constexpr TimestampUs k_start = 1'700'000'000'000'000;  // of every life's virtual clock

}  // namespace

// Lets nothing through once the process is "dead".
class Life::KillableLog final : public storage::EventLog {
 public:
  explicit KillableLog(std::unique_ptr<storage::EventLog> log) : log_(std::move(log)) {}
  bool dead = false;

  Result<std::vector<storage::AppendOutcome>> append(
      const std::vector<storage::AppendRequest>& requests, TimestampUs now) override {
    if (dead) return fail(ErrorCode::unavailable, "the control plane was killed");
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

struct Life::VirtualClock final : actors::Clock {
  caf::scheduler::test_coordinator* scheduler = nullptr;
  TimestampUs now() const override {
    const auto since = scheduler->clock().now().time_since_epoch();
    return k_start + std::chrono::duration_cast<std::chrono::microseconds>(since).count();
  }
};

Life::Life(std::shared_ptr<storage::MemoryStore> store, World& world, std::uint64_t seed,
           std::size_t rollbacks)
    : random_(seed) {
  log_ = std::make_unique<KillableLog>(storage::open_memory_event_log(std::move(store), "sim"));
  engines_ = std::make_unique<WorldEngines>(world);
  clock_ = std::make_unique<VirtualClock>();
  const auto epoch = log_->begin_epoch();
  ATLAS_ASSERT(epoch.has_value(), "a log in memory refused an epoch");
  const auto read = log_->read_all(Position{1}, [this](const storage::Record& record) {
    catalog_.apply(record);
    return true;
  });
  ATLAS_ASSERT(read.has_value(), "a log in memory could not be read");
  config_.set("scheduler.policy", caf::atom("testing"));
  system_ = std::make_unique<caf::actor_system>(config_);
  scheduler_ = dynamic_cast<caf::scheduler::test_coordinator*>(&system_->scheduler());
  clock_->scheduler = scheduler_;
  actors::PartsConfig parts;
  parts.log = log_.get();
  parts.catalog = &catalog_;
  parts.engines = {
      clock_.get(), engines_.get(), {{"local", engines_.get()}}, engines_.get(), engines_.get()};
  parts.domain = "example.test";
  parts.rollbacks = rollbacks;
  parts.spawn.detach_blocking = false;
  parts.fatal = [this](const Error& error) {
    if (!log_->dead) fatal.push_back(error);
  };
  parts_ = actors::spawn_parts(*system_, parts);
  actors::resume(parts_, catalog_);
}

Life::~Life() {
  kill();
  // Every actor must be gone before the system is, which would wait for it for ever. The exit
  // reason is not kill: that would pass over the handlers which end the children.
  for (const auto& part : parts_.in_stop_order()) {
    caf::anon_send_exit(part, caf::exit_reason::user_shutdown);
  }
  parts_ = actors::Parts{};
  while (scheduler_->try_run_once() || scheduler_->trigger_timeout()) {
  }
}

const storage::EventLog& Life::log() const { return *log_; }

void Life::kill() {
  log_->dead = true;
  engines_->dead = true;
}

bool Life::step() {
  auto& jobs = scheduler_->jobs;
  if (jobs.empty()) return scheduler_->trigger_timeout();
  // The scheduler would drain one mailbox after the other; a chosen job in front explores the
  // orders.
  std::swap(jobs.front(), jobs[random_.below(jobs.size())]);
  return scheduler_->try_run_once();
}

bool Life::run_steps(int steps) {
  for (int i = 0; i < steps; ++i) {
    if (!step()) return false;
  }
  return true;
}

bool Life::run_until(const std::function<bool()>& done, std::chrono::seconds virtual_limit) {
  const auto limit = clock_->now() + std::chrono::microseconds(virtual_limit).count();
  while (!done()) {
    if (clock_->now() > limit || !step()) return done();
  }
  return true;
}

// Asks on behalf of a thread outside, which the deterministic scheduler has not got.
template <typename Reply, typename Handle, typename Message>
void Life::ask(const Handle& handle, Message message, std::function<void(const Reply&)> on_reply) {
  // What it needs is given as arguments: CAF 0.17.6 reads through a null pointer for a function
  // that takes the actor alone.
  system_->spawn(
      [this](caf::event_based_actor* self, const Handle& asked, const Message& question,
             const std::function<void(const Reply&)>& answered) {
        self->request(asked, std::chrono::seconds(60), question)
            .then([answered](const Reply& reply) { answered(reply); },
                  [this](const caf::error& error) { errors.push_back(actors::from_caf(error)); });
      },
      handle, std::move(message), std::move(on_reply));
}

ProjectId Life::create_project(const std::string& name,
                               const std::function<void(pb::Settings&)>& change) {
  auto settings = default_settings();
  if (change) change(settings);
  auto answer = std::make_shared<std::optional<actors::ProjectReply>>();
  ask<actors::ProjectReply>(
      parts_.projects,
      actors::CreateProjectNow{{name, "/srv/" + name + ".git", "main", "", settings}},
      [answer](const actors::ProjectReply& reply) { *answer = reply; });
  run_until([&] { return *answer && catalog_.position() >= (*answer)->position; });
  return *answer ? (*answer)->id : ProjectId{};
}

void Life::send_push(const std::string& delivery, char sha_digit, const std::string& ref) {
  actors::Push push;
  push.ref = ref;
  push.after = std::string(40, sha_digit);
  push.delivery_id = delivery;
  send_push(std::move(push));
}

void Life::send_push(actors::Push push) {
  if (push.repository_urls.empty()) push.repository_urls = {"file:///srv/web.git"};
  push.default_branch = "main";
  ask<actors::PushReply>(parts_.projects, actors::ReceivePushNow{std::move(push)},
                         [this](const actors::PushReply& reply) { push_replies.push_back(reply); });
}

void Life::delete_project(const std::string& name) { command_project(name, DeleteProject{}); }

void Life::command_project(const std::string& name, ProjectCommand command_for) {
  ask<actors::ProjectReply>(parts_.projects, actors::CommandProject{name, std::move(command_for)},
                            [](const actors::ProjectReply&) {});
}

void Life::reuse(const std::string& project, actors::ReuseKind kind, const std::string& command_id,
                 const std::optional<DeploymentId>& of) {
  actors::ReuseNow message{project, kind, nullptr, "user", command_id};
  if (of) {
    if (auto view = catalog_.deployment(*of)) {
      message.of = std::make_shared<DeploymentState>(std::move(view->state));
    }
  }
  ask<actors::IntakeReply>(parts_.projects, std::move(message),
                           [this](const actors::IntakeReply& reply) {
                             push_replies.push_back({{reply.receipt}, reply.position});
                           });
}

void Life::command(const DeploymentId& deployment, DeploymentCommand command_for) {
  ask<actors::DeploymentReply>(parts_.deployments,
                               actors::CommandDeployment{deployment, std::move(command_for)},
                               [](const actors::DeploymentReply&) {});
}

void Life::collect_now() { caf::anon_send(parts_.janitor, actors::CollectNow{}); }

}  // namespace atlasflow::sim
