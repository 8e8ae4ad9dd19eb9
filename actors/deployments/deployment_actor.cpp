#include "actors/deployments/deployment_actor.hpp"

#include <algorithm>
#include <stdexcept>

#include "base/buggify.hpp"
#include "base/log.hpp"
#include "base/probe.hpp"
#include "events/settings.hpp"
#include "storage/readmodel/catalog.hpp"

namespace atlasflow::actors {

namespace {

// Behind a project's name, which has no dot; then the pull request's number.
constexpr const char* k_forks_store = ".forks.";
constexpr TimestampUs k_deadline_patience_us = 15 * k_second_us;

}  // namespace

Moment DeploymentActorState::moment() const {
  return {wiring.clock->now(), wiring.log_end().value(), wiring.domain};
}

namespace {

// The effect or the VM that an outcome is about: its name tells the intent's version.
struct NamedBy {
  std::string operator()(const Succeeded& command) const { return command.effect.str(); }
  std::string operator()(const Failed& command) const { return command.effect.str(); }
  std::string operator()(const DeadlinePassed& command) const { return command.effect.str(); }
  std::string operator()(const HealthTimedOut& command) const { return command.vm_id.str(); }
  std::string operator()(const HealthChanged& command) const { return command.vm_id.str(); }
  std::string operator()(const VmEnded& command) const { return command.exit.vm_id(); }
  template <typename Other>
  std::string operator()(const Other& /*command*/) const {
    return {};
  }
};

}  // namespace

Position DeploymentActorState::cause_of(const DeploymentCommand& command) const {
  const auto named = std::visit(NamedBy{}, command);
  const auto intent = intent_version_of(fold.id, EffectId{named});
  if (intent == StreamVersion{} || intent.value() > positions.size()) {
    // What fell due, was lost or went on after a restart follows from where the deployment stood.
    const bool by_itself = std::holds_alternative<TimerDue>(command) ||
                           std::holds_alternative<Recover>(command) ||
                           std::holds_alternative<VmHostGone>(command);
    return by_itself && !positions.empty() ? positions.back() : Position{};
  }
  return positions[intent.value() - 1];
}

void DeploymentActorState::handle(deployment_actor::pointer self, DeploymentCommand command,
                                  const Answer& answer, Position cause) {
  writer.in_turn([this, self, command = std::move(command), answer, cause] {
    decide_now(self, command, answer, cause);
  });
}

void DeploymentActorState::decide_now(deployment_actor::pointer self,
                                      const DeploymentCommand& command, const Answer& answer,
                                      Position cause) {
  auto events = decide(fold, command, moment());
  if (!events) {
    log_event(LogLevel::debug, "deployment", "refused",
              {{"deployment", fold.id.str()}, {"reason", to_string(events.error())}});
    if (answer) answer->fail(events.error());
    return end_if_over(self);
  }
  if (events->empty()) {
    // Nothing to tell the fold after a restart: what it owes can be handed out as it stands.
    ATLAS_PROBE(std::holds_alternative<Recover>(command),
                "a deployment went on after a restart where it stood");
    if (std::holds_alternative<Recover>(command)) carry_out_outstanding(self);
    if (answer) answer->deliver(DeploymentReply{});
    return end_if_over(self);
  }
  append(self, std::move(*events), asked_by(command), answer,
         cause == Position{} ? cause_of(command) : cause);
}

void DeploymentActorState::append(deployment_actor::pointer self, std::vector<pb::Event> events,
                                  const Principal& by, const Answer& answer, Position cause) {
  Append message;
  message.request.stream = deployment_stream(fold.id);
  message.request.expected_version = fold.version;
  message.request.events = std::move(events);
  message.request.correlation_id = fold.push.delivery_id();
  message.request.causation_position = cause;
  message.request.actor = by;
  message.patient = answer == nullptr;
  writer.append(
      self, k_own_stream, std::move(message), [this, self, answer](const WriteOutcome& outcome) {
        if (const auto* done = std::get_if<storage::Appended>(&outcome)) {
          if (answer) answer->deliver(DeploymentReply{done->records.back().position});
          return appended(self, *done);
        }
        const auto* refused = std::get_if<NotWritten>(&outcome);
        if (refused != nullptr && answer) {
          ATLAS_PROBE(true, "a command to a deployment was refused, the disk being full");
          answer->fail(refused->error);
          return end_if_over(self);
        }
        ATLAS_PROBE(std::holds_alternative<Outrun>(outcome), "a deployment's append was not taken");
        ATLAS_PROBE(std::holds_alternative<FateUnknown>(outcome),
                    "a deployment does not know what became of its append");
        ATLAS_ASSERT(refused == nullptr, "an append that is patient waits for room");
      });
}

void DeploymentActorState::appended(deployment_actor::pointer self,
                                    const storage::Appended& appended) {
  for (const auto& record : appended.records) {
    log_event("deployment", storage::event_name(record.event),
              {{"project", fold.push.project_name()},
               {"deployment", fold.id},
               {"position", record.position.value()}});
  }
  if (ATLAS_BUGGIFY("a deployment folds its stream anew and asks again for what is outstanding")) {
    return replay(self, [this, self] {
      in_flight.clear();
      carry_out_outstanding(self);
      end_if_over(self);
    });
  }
  carry_out_outstanding(self);
  end_if_over(self);
}

void DeploymentActorState::replay(deployment_actor::pointer self, std::function<void()> then) {
  const auto id = fold.id;
  fold = DeploymentState{};
  fold.id = id;
  positions.clear();
  writer.read(
      self, wiring.log_reader, {deployment_stream(id)},
      [this](const storage::Record& record) { learn(record); }, std::move(then));
}

void DeploymentActorState::read_env(deployment_actor::pointer self, std::function<void()> then) {
  const ProjectId id{fold.push.project_id()};
  const StreamVersion made_with{fold.push.settings_version()};
  if (is_terminal(fold.status) || id.empty() || made_with == StreamVersion{}) return then();
  // Anybody can write what a fork's commit does with a value.
  if (fold.push.pull_request().from_fork()) return then();
  auto project = std::make_shared<ProjectState>();
  writer.read(
      self, wiring.log_reader, {project_stream(id), StreamVersion{1}, made_with},
      [project](const storage::Record& record) { evolve(*project, record.event); },
      [this, project, then = std::move(then)] {
        env = std::move(project->env);
        build_secrets = std::move(project->build_secrets);
        then();
      });
}

void DeploymentActorState::learn(const storage::Record& record) {
  evolve(fold, record.event);
  positions.push_back(record.position);
}

void DeploymentActorState::end_if_over(deployment_actor::pointer self) const {
  if (is_terminal(fold.status) && writer.at_rest()) self->quit();
}

void DeploymentActorState::carry_out_outstanding(deployment_actor::pointer self) {
  const auto effects = outstanding(fold);
  std::set<std::string> owed;
  bool claim = false;
  for (const auto& effect : effects) {
    owed.insert(key_of(effect));
    claim = claim || std::holds_alternative<ClaimRouteEffect>(effect);
  }
  // The claim goes before what else is owed: a VM must leave the route table before it is drained.
  if (claimed && !claim) self->send(wiring.edge, DropClaim{fold.id});
  claimed = claim;
  for (const auto& effect : effects) {
    if (!in_flight.contains(key_of(effect))) carry_out(self, effect);
  }
  in_flight = std::move(owed);
  // Once there is an image, or never will be one, the checkout is of no use.
  if (has_checkout && (is_terminal(fold.status) || !fold.image.empty())) {
    has_checkout = false;
    SourceTask forget;
    forget.step = SourceStep::forget_checkout;
    forget.job.effect = EffectId{"forget-" + fold.id.str()};
    forget.job.deployment = fold.id;
    self->send(wiring.builders, std::move(forget), outcome_sink{deployment_actor{self}});
  }
}

SourceTask DeploymentActorState::source_task(SourceStep step, const EffectId& effect,
                                             TimestampUs deadline) const {
  SourceTask task;
  task.step = step;
  task.image_id = fold.image_id;
  task.job.effect = effect;
  task.job.deployment = fold.id;
  task.job.project = fold.push.project_name();
  task.job.store = task.job.project;
  // What a fork's steps leave in layers and caches is never taken by another's build, nor by that
  // of another fork.
  if (const auto& of = fold.push.pull_request(); of.from_fork()) {
    task.job.from_fork = true;
    task.job.store += k_forks_store + std::to_string(of.number());
  }
  task.job.project_id = fold.push.project_id();
  task.job.repository_url = fold.push.repository_url();
  task.job.ref = fold.push.ref();
  task.job.sha = fold.push.after();
  task.job.base_sha = fold.base_sha;
  task.job.is_pushed = fold.push.trigger() == pb::TRIGGER_WEBHOOK;
  task.job.settings = fold.push.settings();
  task.job.no_cache = fold.push.no_cache();
  if (step == SourceStep::build) {
    task.job.earlier = fold.earlier;
    task.job.secrets.assign(build_secrets.begin(), build_secrets.end());
    task.job.env.assign(env.begin(), env.end());
  }
  if (deadline != 0) task.job.remaining = until(deadline);
  return task;
}

// At least a second: what is handed out again after a restart gets a chance to find itself done.
std::chrono::microseconds DeploymentActorState::until(TimestampUs deadline) const {
  ATLAS_PROBE(deadline <= wiring.clock->now(), "a step was handed out after its deadline");
  return std::chrono::microseconds(
      std::max<TimestampUs>(deadline - wiring.clock->now(), k_second_us));
}

VmJob DeploymentActorState::vm_job(const VmId& vm_id) const {
  VmJob job;
  job.vm_id = vm_id;
  job.project = fold.push.project_name();
  job.project_id = fold.push.project_id();
  job.deployment = fold.id.str();
  job.image = fold.image;
  job.settings = fold.push.settings();
  job.env.assign(env.begin(), env.end());
  return job;
}

namespace {

// Sends each effect to the actor that performs it.
struct EffectDispatcher {
  DeploymentActorState& state;
  deployment_actor::pointer self;
  outcome_sink sink{deployment_actor{self}};

  // What the app is asked for when it is probed.
  [[nodiscard]] std::string hostname() const {
    return hostnames_of(state.fold, state.wiring.domain).front();
  }

  void operator()(const CloneEffect& effect) const {
    self->send(state.wiring.builders,
               state.source_task(SourceStep::clone, effect.effect, effect.deadline), sink);
  }
  void operator()(const BuildEffect& effect) const {
    self->send(state.wiring.builders,
               state.source_task(SourceStep::build, effect.effect, effect.deadline), sink);
  }
  void operator()(const PushImageEffect& effect) const {
    self->send(state.wiring.builders,
               state.source_task(SourceStep::push_image, effect.effect, effect.deadline), sink);
  }
  void operator()(const RunReleaseEffect& effect) const {
    RunRelease run;
    run.job = state.vm_job(vm_of(effect.effect));
    run.job.command = state.fold.push.settings().release_command();
    run.job.remaining = state.until(effect.deadline);
    run.deadline = effect.deadline;
    self->send(state.wiring.hosts, std::move(run), sink);
  }
  void operator()(const PlaceVmEffect& effect) const {
    self->send(state.wiring.hosts, PlaceVm{effect.effect, state.fold.push.settings().memory_mib()},
               sink);
  }
  void operator()(const StartVmEffect& effect) const {
    StartVm start;
    start.job = state.vm_job(vm_of(effect.effect));
    start.job.remaining = state.until(effect.deadline);
    start.host = effect.host;
    start.health_limit_us = state.fold.push.settings().health_deadline_us();
    self->send(state.wiring.hosts, std::move(start), sink);
  }
  void operator()(const ProbeEffect& effect) const {
    self->send(state.wiring.hosts,
               ProbeVm{effect.vm_id, effect.host, state.fold.push.settings().health_path(),
                       hostname(), effect.deadline},
               sink);
  }
  void operator()(const KeepVmEffect& effect) const {
    const auto& settings = state.fold.push.settings();
    self->send(state.wiring.hosts,
               KeepVm{effect.vm_id, effect.host, settings.memory_mib(), settings.health_path(),
                      hostname(), effect.was_healthy, effect.healthy},
               sink);
  }
  void operator()(const ClaimRouteEffect& effect) const {
    ClaimRoute claim;
    claim.deployment = state.fold.id;
    claim.project = state.fold.push.project_name();
    claim.effect = effect.effect;
    claim.generation = effect.generation;
    claim.hostnames = state.fold.hostnames;
    claim.unavailable_reason = effect.unavailable_reason;
    claim.terms = terms_of(state.fold.push.settings());
    for (const auto& upstream : effect.upstreams) {
      claim.upstreams.push_back({upstream.vm_id, {upstream.address, upstream.port}});
    }
    self->send(state.wiring.edge, std::move(claim), sink);
  }
  void operator()(const DrainEffect& effect) const {
    self->send(state.wiring.edge, DrainVm{effect.vm_id, effect.deadline}, sink);
  }
  void operator()(const StopVmEffect& effect) const {
    const auto& settings = state.fold.push.settings();
    self->send(state.wiring.hosts,
               StopVm{effect.effect, effect.vm_id, effect.host, settings.memory_mib(),
                      settings.stop_grace_us()},
               sink);
  }
  void operator()(const TimerEffect& effect) const {
    self->send(state.wiring.timers,
               WakeAt{effect.due, TimerDue{effect.step, effect.attempt, effect.slot}}, sink);
  }
  void operator()(const DeadlineEffect& effect) const {
    // After a start the first table waits for every claim: what was due meanwhile gets its chance.
    const auto due = std::max(effect.due, state.wiring.clock->now() + k_deadline_patience_us);
    self->send(state.wiring.timers, WakeAt{due, DeadlinePassed{effect.effect}}, sink);
  }
  void operator()(const AbortEffect& effect) const {
    self->send(state.wiring.builders, AbortTask{effect.effect});
    self->send(state.wiring.hosts, AbortVm{effect.effect});
  }
};

}  // namespace

void DeploymentActorState::carry_out(deployment_actor::pointer self, const Effect& effect) {
  std::visit(EffectDispatcher{*this, self}, effect);
}

void DeploymentActorState::begin(deployment_actor::pointer self, Birth birth) {
  // An actor before this one may have left its claim at the edge.
  claimed = fold.generation != 0;
  if (birth == Birth::recovery) {
    return handle(self, Recover{}, nullptr, Position{});
  }
  carry_out_outstanding(self);
  if (birth == Birth::after_one) end_if_over(self);
}

void DeploymentActorState::read_and_begin(deployment_actor::pointer self, Birth birth) {
  replay(self,
         [this, self, birth] { read_env(self, [this, self, birth] { begin(self, birth); }); });
}

deployment_actor::behavior_type deployment(
    deployment_actor::stateful_pointer<DeploymentActorState> self, DeploymentId id,
    DeploymentWiring wiring, Birth birth) {
  end_of_exceptions(self);
  auto& state = self->state;
  state.wiring = std::move(wiring);
  state.fold.id = std::move(id);
  state.writer = StreamWriter(state.wiring.log_writer,
                              [self](const storage::Record& record) { self->state.learn(record); });
  if (birth == Birth::after_one) {
    state.writer.settle(self, [self, birth] { self->state.read_and_begin(self, birth); });
  } else {
    state.read_and_begin(self, birth);
  }
  return {[self](Deliver& message) {
            self->state.handle(self, std::move(message.command), nullptr, message.cause);
          },
          [self](DecideDeployment& message) -> caf::result<DeploymentReply> {
            auto promise = self->make_response_promise<DeploymentReply>();
            auto answer = std::make_shared<PromiseGuard<DeploymentReply>>(
                PromiseGuard<DeploymentReply>(promise));
            self->state.handle(self, std::move(message.command), answer, Position{});
            return promise;
          }};
}

}  // namespace atlasflow::actors
