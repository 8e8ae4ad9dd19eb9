#include "sim/run/life.hpp"

#include <optional>
#include <stdexcept>
#include <utility>

#include "base/assert.hpp"
#include "events/settings.hpp"
#include "sim/checkers/fold_difference.hpp"
#include "sim/disk/lossy_log.hpp"
#include "sim/world/outside_domains.hpp"
#include "storage/log/forwarding_event_log.hpp"

namespace atlasflow::sim {
// Lets nothing through once the process is "dead".
class Life::KillableLog final : public storage::ForwardingEventLog {
 public:
  using OnAppend =
      std::function<void(const std::vector<storage::AppendOutcome>&, const storage::EventLog&)>;
  KillableLog(std::unique_ptr<storage::EventLog> log, OnAppend on_append)
      : ForwardingEventLog(std::move(log)), on_append_(std::move(on_append)) {}
  bool dead = false;

  Result<std::vector<storage::AppendOutcome>> append(
      const std::vector<storage::AppendRequest>& requests, TimestampUs now) override {
    if (dead) return fail(ErrorCode::unavailable, "the control plane was killed");
    auto outcomes = log().append(requests, now);
    if (outcomes && on_append_) on_append_(*outcomes, log());
    return outcomes;
  }
  Result<void> note_end(TimestampUs now) override {
    return dead ? Result<void>{} : log().note_end(now);
  }

 private:
  OnAppend on_append_;
};

struct Life::VirtualClock final : actors::Clock {
  explicit VirtualClock(const World& world) : world_(world) {}
  TimestampUs now() const override { return world_.agenda.now() + world_.clock_skew; }

 private:
  const World& world_;
};

Life::Life(LifeConfig config)
    : config_(std::move(config)),
      world_(*config_.world),
      choices_(*config_.choices),
      fibers_(*config_.fibers),
      waits_(world_.agenda, fibers_) {
  start();
}

Life::Life(std::shared_ptr<storage::MemoryStore> store, World& world, std::uint64_t seed,
           std::size_t rollbacks)
    : own_choices_(std::make_unique<Choices>(seed)),
      own_fibers_(std::make_unique<Fibers>()),
      world_(world),
      choices_(*own_choices_),
      fibers_(*own_fibers_),
      waits_(world_.agenda, fibers_) {
  config_.log = storage::open_memory_event_log(std::move(store), "sim");
  config_.rollbacks = rollbacks;
  config_.as_server = false;
  config_.engines = [&world](Waits&) { return std::make_unique<WorldEngines>(world); };
  start();
}

void Life::start() {
  log_ = std::make_unique<KillableLog>(std::move(config_.log), config_.on_append);
  engines_ = config_.engines(waits_);
  secrets_ = std::make_unique<WorldSecrets>(world_);
  clock_ = std::make_unique<VirtualClock>(world_);
  run_job_ = [this] { scheduler_->try_run_once(); };
  const auto epoch = log_->begin_epoch();
  auto folds = fold();
  if (!epoch || !folds) fatal.push_back(epoch ? folds.error() : epoch.error());
  if (folds) folds_ = *std::move(folds);
  epoch_ = epoch.value_or(Epoch{});
  actor_config_.set("scheduler.policy", caf::atom("testing"));
  system_ = std::make_unique<caf::actor_system>(actor_config_);
  scheduler_ = dynamic_cast<caf::scheduler::test_coordinator*>(&system_->scheduler());
  for (int i = 0; i < config_.idle_actors; ++i) {
    idle_actors_.push_back(
        system_->spawn<caf::lazy_init>([] { return caf::behavior{[](int) {}}; }));
  }
  actors::PartsConfig parts;
  parts.log = log_.get();
  parts.catalog = &catalog_;
  parts.secrets = secrets_.get();
  parts.engines = engines_->engines();
  parts.engines.clock = clock_.get();
  parts.domain = config_.domain;
  parts.builders = config_.builders;
  parts.rollbacks = config_.rollbacks;
  parts.domains.rules.directory = k_first_authority;
  if (config_.authorities > 1) parts.domains.rules.fallback_directory = k_second_authority;
  parts.domains.rules.certificates_per_week = 0;  // they live for minutes
  parts.spawn.detach_blocking = false;
  parts.fatal = [this](const Error& error) {
    if (!log_->dead) fatal.push_back(error);
  };
  parts.faults = &faults;
  parts.part_died = [this](const Error& error) {
    if (!log_->dead) part_deaths.push_back(error);
  };
  parts_ = actors::spawn_parts(*system_, parts);
  if (config_.as_server) {
    announce();
  } else {
    take_up();
  }
}

// From the log alone, and where it is not too long for that from a snapshot as well: both must be
// the same. A run of a year has thousands of lives, which are not compared.
Result<actors::StartFolds> Life::fold() {
  constexpr std::uint64_t k_compared_max = 5'000;
  const auto* snapshots = config_.snapshots;
  if (snapshots == nullptr || log_->last_position().value() > k_compared_max) {
    return actors::fold_log(*log_, config_.domain, catalog_, snapshots);
  }
  storage::Catalog whole;
  ATLAS_TRY(const auto whole_folds, actors::fold_log(*log_, config_.domain, whole));
  const UnnoticedReading unnoticed;
  ATLAS_TRY(auto folds, actors::fold_log(*log_, config_.domain, catalog_, snapshots));
  snapshot_difference = fold_difference(catalog_.fold(), whole.fold());
  if (snapshot_difference.empty()) snapshot_difference = fold_difference(folds, whole_folds);
  return folds;
}

void Life::take_up() {
  started_ = true;
  actors::resume(parts_, config_.domain, catalog_, std::exchange(folds_, {}));
}

void Life::append_to_node(std::vector<pb::Event> events, std::function<void()> then) {
  actors::Append append;
  append.request.stream = node_stream();
  append.request.expected_version = log_->version_of(node_stream()).value_or(StreamVersion{});
  append.request.events = std::move(events);
  append.request.actor = Principal::system("root");
  append.patient = false;
  ask<actors::AppendReply>(
      parts_.log_writer, std::move(append),
      [this, then = std::move(then)](const Result<actors::AppendReply>& answer) {
        if (!answer && started_ && answer.error().code == ErrorCode::disk_full) {
          then();  // a stop that finds no room for its record is one all the same
        } else if (!answer) {
          fatal.push_back(answer.error());
        } else if (!std::holds_alternative<storage::Appended>(answer->outcome)) {
          fatal.push_back(Error{ErrorCode::conflict, "another control plane writes here", ""});
        } else {
          then();
        }
      });
}

// The same steps as LocalControlPlane::start's, which waits in between.
void Life::announce() {
  std::vector<pb::Event> events(1);
  events[0].mutable_node_started()->set_epoch(epoch_.value());
  events[0].mutable_node_started()->set_build_id("sim");
  append_to_node(std::move(events), [this] {
    std::vector<pb::Event> reaped;
    auto engines = engines_->engines();
    for (const auto& thing : actors::unexplained(engines, catalog_, false)) {
      if (auto event = actors::reap(engines, thing)) reaped.push_back(*std::move(event));
    }
    if (reaped.empty()) return take_up();
    append_to_node(std::move(reaped), [this] { take_up(); });
  });
}

Life::~Life() {
  kill();
  // Every actor must be gone before the system is, which would wait for it for ever. The exit
  // reason is not kill: that would pass over the handlers which end the children.
  for (const auto& part : parts_.in_stop_order()) {
    caf::anon_send_exit(part, caf::exit_reason::user_shutdown);
  }
  for (const auto& actor : idle_actors_) {
    caf::anon_send_exit(actor, caf::exit_reason::user_shutdown);
  }
  idle_actors_.clear();
  parts_ = actors::Parts{};
  constexpr int k_steps_max = 10'000'000;  // far more than any life's end takes
  for (int steps = 0;; ++steps) {
    ATLAS_ASSERT(steps < k_steps_max, "an actor outlives the parts of the control plane");
    if (!scheduler_->jobs.empty() || !waits_.ready().empty()) {
      run_one(0);
    } else if (!scheduler_->trigger_timeout()) {
      break;
    }
  }
}

const storage::EventLog& Life::log() const { return *log_; }

void Life::kill() {
  log_->dead = true;
  engines_->kill();
  secrets_->kill();
  waits_.kill();
}

void Life::begin_stop() {
  std::vector<pb::Event> events(1);
  events[0].mutable_node_stopped()->set_epoch(epoch_.value());
  append_to_node(std::move(events), [this] { stopped_ = true; });
}

void Life::doom(caf::resumable* job) {
  auto* actor = dynamic_cast<caf::scheduled_actor*>(job);
  if (actor == nullptr || actor->name() != doomed_ || outsiders_.contains(actor->id())) return;
  if (!actor->getf(caf::abstract_actor::is_initialized_flag)) return;  // It has no handlers yet.
  if (!dying_.insert(actor->id()).second) return;
  injected_deaths.push_back(std::exchange(doomed_, {}));
  // A real throw out of a handler, between two of the actor's own messages.
  actor->set_exit_handler([](caf::scheduled_actor*, caf::exit_msg&) {
    throw std::runtime_error("injected: a handler throws");
  });
  caf::anon_send_exit(actor->address(), caf::exit_reason::user_shutdown);
}

void Life::run_one(std::size_t pick) {
  auto& jobs = scheduler_->jobs;
  if (pick < jobs.size()) {
    if (!doomed_.empty()) doom(jobs[pick]);
    // The scheduler would drain one mailbox after the other; a chosen job in front explores the
    // orders.
    std::swap(jobs.front(), jobs[pick]);
    fibers_.run(run_job_);
    return;
  }
  auto& ready = waits_.ready();
  const auto chosen = ready.begin() + static_cast<std::ptrdiff_t>(pick - jobs.size());
  auto* fiber = *chosen;
  ready.erase(chosen);
  fibers_.resume(fiber);
}

bool Life::let_time_pass() {
  auto& clock = scheduler_->clock();
  auto next = world_.agenda.next_due();
  if (!clock.schedule().empty()) {
    const auto wait = std::chrono::duration_cast<std::chrono::microseconds>(
        clock.schedule().begin()->first - clock.now());
    // Rounded up: CAF counts in ns.
    const auto due = world_.agenda.now() + std::max<TimestampUs>(wait.count() + 1, 1);
    next = next ? std::min(*next, due) : due;
  }
  if (!next) return false;
  const auto passed = std::chrono::microseconds(*next - world_.agenda.now());
  world_.agenda.advance_to(*next);
  choices_.note(static_cast<std::uint64_t>(*next));
  scheduler_->advance_time(passed);
  world_.agenda.run_due();
  return true;
}

bool Life::step() {
  const auto candidates = scheduler_->jobs.size() + waits_.ready().size();
  if (candidates == 0) return let_time_pass();
  run_one(choices_.below(candidates));
  return true;
}

bool Life::run_steps(int steps) {
  for (int i = 0; i < steps; ++i) {
    if (!step()) return false;
  }
  return true;
}

bool Life::run_until(const std::function<bool()>& done, std::chrono::seconds virtual_limit) {
  const auto limit = world_.agenda.now() + std::chrono::microseconds(virtual_limit).count();
  while (!done()) {
    if (world_.agenda.now() > limit || !step()) return done();
  }
  return true;
}

// Asks on behalf of a thread outside, which the deterministic scheduler has not got.
template <typename Reply, typename Handle, typename Message>
void Life::ask(const Handle& handle, Message message,
               std::function<void(const Result<Reply>&)> on_answer) {
  ++unanswered_;
  // What it needs is given as arguments: CAF 0.17.6 reads through a null pointer for a function
  // that takes the actor alone.
  const caf::actor outsider = system_->spawn(
      [this](caf::event_based_actor* self, const Handle& asked, const Message& question,
             const std::function<void(const Result<Reply>&)>& answered) {
        self->request(asked, std::chrono::seconds(60), question)
            .then(
                [this, answered](const Reply& reply) {
                  --unanswered_;
                  answered(reply);
                },
                [this, answered](const caf::error& error) {
                  --unanswered_;
                  errors.push_back(actors::from_caf(error));
                  answered(tl::unexpected(errors.back()));
                });
      },
      handle, std::move(message), std::move(on_answer));
  outsiders_.insert(outsider.id());
}

ProjectId Life::create_project(const std::string& name,
                               const std::function<void(pb::Settings&)>& change) {
  auto settings = default_settings();
  if (change) change(settings);
  auto answer = std::make_shared<std::optional<actors::ProjectReply>>();
  ask<actors::ProjectReply>(
      parts_.projects,
      actors::CreateProjectNow{{name, "/srv/" + name + ".git", "main", "", settings},
                               Principal::user()},
      [answer](const Result<actors::ProjectReply>& reply) {
        if (reply) *answer = *reply;
      });
  run_until([&] { return *answer && catalog_.position() >= (*answer)->position; });
  return *answer ? (*answer)->id : ProjectId{};
}

void Life::begin_project(CreateProject project) {
  ask<actors::ProjectReply>(parts_.projects,
                            actors::CreateProjectNow{std::move(project), Principal::user()},
                            [](const Result<actors::ProjectReply>&) {});
}

void Life::send_push(const std::string& delivery, char sha_digit, const std::string& ref) {
  Push push;
  push.ref = ref;
  push.after = std::string(40, sha_digit);
  push.delivery_id = delivery;
  push.default_branch = "main";
  push.repository_urls = {"file:///srv/web.git"};
  send_push(std::move(push));
}

void Life::send_push(Push push,
                     const std::function<void(const Result<actors::PushReply>&)>& answered) {
  if (push.repository_urls.empty()) push.repository_urls = {"file:///srv/web.git"};
  if (push.default_branch.empty()) push.default_branch = "main";
  push.by =
      push.inferred_at_s == 0 ? Principal::webhook("github") : Principal::system("head-watch");
  ask<actors::PushReply>(parts_.projects, actors::ReceivePushNow{std::move(push)},
                         [this, answered](const Result<actors::PushReply>& reply) {
                           if (reply) push_replies.push_back(*reply);
                           if (answered) answered(reply);
                         });
}

void Life::deploy(actors::DeployNow message) {
  ask<actors::PushReply>(parts_.projects, std::move(message),
                         [this](const Result<actors::PushReply>& reply) {
                           if (reply) push_replies.push_back(*reply);
                         });
}

void Life::delete_project(const std::string& name) {
  command_project(name, DeleteProject{Principal::user()});
}

void Life::command_project(const std::string& name, ProjectCommand command_for) {
  ask<actors::ProjectReply>(parts_.projects,
                            actors::CommandProject{name, std::move(command_for), Principal::user()},
                            [](const Result<actors::ProjectReply>&) {});
}

void Life::command_domain(const std::string& domain, DomainCommand command_for) {
  ask<actors::DomainReply>(
      parts_.root, actors::CommandDomain{domain, std::move(command_for), Principal::user(), {}},
      [](const Result<actors::DomainReply>&) {});
}

void Life::upload_certificate(const std::string& domain) {
  const auto kept = engines_->engines().domains->keep_upload(domain, {});
  if (kept) command_domain(domain, TakeUploaded{*kept, Principal::user()});
}

void Life::check_domain(const std::string& domain) {
  ask<actors::DomainReply>(parts_.root, actors::CheckDomainNow{domain, Principal::user()},
                           [](const Result<actors::DomainReply>&) {});
}

void Life::reuse(const std::string& project, ReuseKind kind, const std::string& command_id,
                 std::optional<DeploymentId> of) {
  if (const auto view = catalog_.project_named(project);
      !of && view && kind == ReuseKind::redeploy) {
    of = catalog_.redeployed_by_default(view->state.id);
  }
  actors::ReuseNow message{project, {.kind = kind, .command_id = command_id}, Principal::user()};
  if (of) {
    if (auto view = catalog_.deployment(*of)) {
      message.reuse.of = std::make_shared<DeploymentState>(std::move(view->state));
    }
  }
  ask<actors::IntakeReply>(parts_.projects, std::move(message),
                           [this](const Result<actors::IntakeReply>& reply) {
                             if (reply) {
                               push_replies.push_back({{reply->receipt}, reply->position});
                             }
                           });
}

void Life::approve(const std::string& project, Approval approval) {
  ask<actors::IntakeReply>(parts_.projects,
                           actors::ApproveNow{project, std::move(approval), Principal::user()},
                           [this](const Result<actors::IntakeReply>& reply) {
                             if (reply) push_replies.push_back({{reply->receipt}, reply->position});
                           });
}

void Life::command(const DeploymentId& deployment, DeploymentCommand command_for) {
  ask<actors::DeploymentReply>(parts_.deployments,
                               actors::CommandDeployment{deployment, std::move(command_for)},
                               [](const Result<actors::DeploymentReply>&) {});
}

void Life::collect_now() { caf::anon_send(parts_.root, actors::CollectNow{}); }

}  // namespace atlasflow::sim
