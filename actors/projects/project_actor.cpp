// Long because: one actor, whose handlers share its queue of what waits for an append.
#include "actors/projects/project_actor.hpp"

#include <algorithm>
#include <stdexcept>
#include <utility>

#include <spdlog/spdlog.h>

#include "base/buggify.hpp"
#include "base/digest.hpp"
#include "base/probe.hpp"
#include "events/environment.hpp"

namespace atlasflow::actors {
namespace {

constexpr std::size_t k_stash_max = 1000;
constexpr int k_salts_max = 8;
constexpr auto k_after_full_disk = std::chrono::seconds(5);

// The deployment that a violated invariant has stopped.
DeploymentId quarantined_by(const pb::Event& event) {
  if (!event.has_invariant_violated()) return {};
  return deployment_of(StreamId{event.invariant_violated().stream()});
}

std::string list_of(const std::vector<const DeploymentState*>& targets) {
  if (targets.empty()) return "there is none yet";
  std::string list;
  for (const auto* target : targets) list += (list.empty() ? "" : ", ") + target->id.str();
  return "it is one of " + list;
}

}  // namespace

bool apply(ProjectHistory& history, const storage::Record& record) {
  if (record.stream == node_stream()) {
    // A new control plane tries the quarantined ones again.
    if (record.event.has_node_started()) history.quarantined.clear();
    if (auto id = quarantined_by(record.event); history.environment_of.contains(id)) {
      history.quarantined.insert(std::move(id));
    }
    return false;
  }
  const auto id = deployment_of(record.stream);
  if (id.empty()) {
    if (record.stream_version <= history.project.version) return false;
    evolve(history, record.event);
    return true;
  }
  const bool known = history.environment_of.contains(id);
  const bool begins = push_of(record.event) != nullptr;
  if (known == begins) return false;
  if (const auto* state = history.find(id);
      state != nullptr && record.stream_version <= state->version) {
    ATLAS_PROBE(true, "a project was told what it had read from the log already");
    return false;
  }
  evolve(history, id, record.event, record.recorded_at);
  return true;
}

Result<std::map<ProjectId, ProjectHistory>> read_histories(const storage::EventLog& log,
                                                           const ProjectId* only) {
  std::map<ProjectId, ProjectHistory> histories;
  std::map<DeploymentId, ProjectId> owners;
  const auto read = log.read_all(Position{1}, [&](const storage::Record& record) {
    if (record.stream == node_stream()) {
      for (auto& [id, history] : histories) apply(history, record);
      return true;
    }
    auto owner = project_of(record.stream);
    if (const auto id = deployment_of(record.stream); !id.empty()) {
      if (const auto* push = push_of(record.event)) owners[id] = ProjectId{push->project_id()};
      owner = owners[id];
    }
    if (owner.empty() || (only != nullptr && owner != *only)) return true;
    auto& history = histories[owner];
    history.project.id = owner;
    apply(history, record);
    return true;
  });
  if (!read) return tl::unexpected(read.error());
  return histories;
}

std::string ProjectActorState::dedupe_key(pb::Trigger trigger, const std::string& id) const {
  const auto* source = trigger == pb::TRIGGER_WEBHOOK ? "github/" : "command/";
  return source + history.project.id.str() + "/" + id;
}

void ProjectActorState::intake(project_actor::pointer self, const Push& push,
                               const IntakeAnswer& answer) {
  // One after the other: whether a push is late depends on those that are being recorded.
  if (wait_for_turn([this, self, push, answer] { intake(self, push, answer); })) return;
  if (!history.project.exists()) {
    answer->fail(Error{ErrorCode::not_found, "there is no such project", ""});
    return;
  }
  const auto target = target_of(history.project, push);
  const auto key = dedupe_key(push.trigger, push.delivery_id);
  if (target.ends_preview) {
    command(self, RecordBranchDeletion{branch_deleted(push)}, key,
            [this, answer](const Result<Recorded>& done) {
              if (!done) return answer->fail(done.error());
              answer->deliver({{PushReceipt::Verdict::ignored,
                                history.project.name,
                                {},
                                "the branch was deleted; its preview ends"},
                               done->position});
            });
    return;
  }
  if (target.environment.empty()) return ignore(self, push, target.reason, answer);
  auto received = push_received(push, history.project, target.environment);
  if (push.trigger == pb::TRIGGER_WEBHOOK) {
    const auto& pushes = history.environments[target.environment].pushes;
    auto reason = reason_if_late(pushes, received);
    if (reason.empty() && is_preview(target.environment)) {
      reason = reason_against_preview(history, target.environment);
    }
    ATLAS_PROBE(!reason.empty(), "a push was ignored, being late or one preview too many");
    if (!reason.empty()) return ignore(self, push, reason, answer);
  }
  begin(self, {.command = ReceivePush{std::move(received)},
               .dedupe_key = key,
               .correlation_id = push.delivery_id,
               .answer = answer});
}

void ProjectActorState::ignore(project_actor::pointer self, const Push& push,
                               const std::string& reason, const IntakeAnswer& answer) {
  command(self, IgnorePush{push_ignored(push, reason)}, dedupe_key(push.trigger, push.delivery_id),
          [this, answer, reason](const Result<Recorded>& done) {
            if (!done) return answer->fail(done.error());
            IntakeReply reply;
            reply.position = done->position;
            reply.receipt.project = history.project.name;
            reply.receipt.deployment = done->earlier;
            if (done->earlier.empty()) {
              reply.receipt.reason = reason;
            } else {
              ATLAS_PROBE(true, "a push that made a deployment came again when it would make none");
              reply.receipt.verdict = PushReceipt::Verdict::duplicate;
            }
            answer->deliver(std::move(reply));
          });
}

// Whether the janitor leaves it: that of a deployment that goes on, and those to roll back to.
bool ProjectActorState::keeps_image_of(const DeploymentState& state) const {
  for (const auto& [label, environment] : history.environments) {
    for (const auto& [id, going_on] : environment.deployments) {
      if (id == state.id || going_on.image == state.image) return true;
    }
  }
  const auto targets = rollback_targets(history, wiring.rollbacks);
  return std::any_of(targets.begin(), targets.end(),
                     [&](const auto* target) { return target->image == state.image; });
}

namespace {

// It was live, and its image is kept: that of what serves, or of one to roll back to.
bool can_go_back_to(const DeploymentState& of, const DeploymentState* live,
                    const std::vector<const DeploymentState*>& targets) {
  if (!of.routed || of.image.empty()) return false;
  return (live != nullptr && live->image == of.image) ||
         std::ranges::any_of(targets,
                             [&](const auto* target) { return target->image == of.image; });
}

}  // namespace

Result<DeploymentCommand> ProjectActorState::reuse_command(const ReuseNow& message) const {
  const auto found = history.environments.find(k_production);
  const auto* live = found == history.environments.end() ? nullptr : serving(found->second);
  const auto* of = message.of.get();
  switch (message.kind) {
    case ReuseKind::rollback: {
      const auto targets = rollback_targets(history, wiring.rollbacks);
      if (of != nullptr && live != nullptr &&
          (of->id == live->id || runs_the_same(history, *of, *live))) {
        return fail(ErrorCode::conflict,
                    "what deployment " + of->id.str() +
                        " runs is live already; roll back to another one: " + list_of(targets));
      }
      // Its image may be there again, built anew; the values of its variables are not.
      const auto kept = of != nullptr && can_go_back_to(*of, live, targets) &&
                        is_within_reach(history, of->id, wiring.rollbacks);
      if (of == nullptr ? targets.empty() : !kept) {
        ATLAS_PROBE(of != nullptr, "a rollback was refused, its image being gone");
        return fail(ErrorCode::conflict,
                    (of == nullptr ? "there is no earlier deployment to roll back to; "
                                   : "deployment " + of->id.str() +
                                         " can't be rolled back to: of those that were live, the "
                                         "newest " +
                                         std::to_string(wiring.rollbacks) + " images are kept; ") +
                        list_of(targets));
      }
      auto request = rollback_of(of == nullptr ? *targets.front() : *of, message.by);
      if (!request) return tl::unexpected(request.error());
      request->mutable_push()->set_delivery_id(message.command_id);
      return RequestRollback{*std::move(request)};
    }
    case ReuseKind::restart:
      if (live == nullptr) {
        return fail(ErrorCode::conflict, "project '" + history.project.name +
                                             "' has nothing live to restart; atlasflow deploy "
                                             "deploys it");
      }
      of = live;
      break;
    case ReuseKind::redeploy:
      if (of == nullptr) of = live;
      if (of == nullptr && found != history.environments.end() && !found->second.past.empty()) {
        of = &found->second.past.back();
      }
      if (of == nullptr) {
        return fail(ErrorCode::conflict, "project '" + history.project.name +
                                             "' has had nothing live to redeploy; name a "
                                             "deployment, or deploy the branch's head with "
                                             "atlasflow deploy");
      }
      break;
    case ReuseKind::promote:
      if (of == nullptr) return fail(ErrorCode::invalid_argument, "name a deployment to promote");
      if (live != nullptr && live->id == of->id) {
        return fail(ErrorCode::conflict, "deployment " + of->id.str() + " is in production");
      }
      if (!keeps_image_of(*of)) {
        ATLAS_PROBE(true, "a promotion was refused, its image being gone");
        return fail(ErrorCode::conflict, "deployment " + of->id.str() +
                                             " has ended, so its image is not kept; deploy its "
                                             "commit with atlasflow deploy " +
                                             history.project.name + " --sha " + of->push.after());
      }
      break;
  }
  constexpr std::array k_kinds{pb::REDEPLOYMENT_UNSPECIFIED, pb::REDEPLOYMENT_REDEPLOY,
                               pb::REDEPLOYMENT_PROMOTE, pb::REDEPLOYMENT_RESTART};
  auto request = redeployment_of(*of, history.project,
                                 k_kinds.at(static_cast<std::size_t>(message.kind)), message.by);
  if (!request) return tl::unexpected(request.error());
  request->mutable_push()->set_delivery_id(message.command_id);
  return RequestRedeploy{*std::move(request)};
}

void ProjectActorState::reuse(project_actor::pointer self, const ReuseNow& message,
                              const IntakeAnswer& answer) {
  if (wait_for_turn([this, self, message, answer] { reuse(self, message, answer); })) return;
  auto command_for = history.project.exists()
                         ? reuse_command(message)
                         : fail(ErrorCode::not_found, "there is no such project");
  if (!command_for) return answer->fail(command_for.error());
  begin(self, {.command = *std::move(command_for),
               .dedupe_key = dedupe_key(pb::TRIGGER_COMMAND, message.command_id),
               .correlation_id = message.command_id,
               .answer = answer,
               .decide_again = [this, self, message, answer] { reuse(self, message, answer); }});
}

Basis ProjectActorState::basis() const {
  Basis basis;
  for (const auto& [label, environment] : history.environments) {
    for (const auto& [id, state] : environment.deployments) {
      basis.emplace_back(deployment_stream(id), state.version);
    }
  }
  return basis;
}

void ProjectActorState::begin(project_actor::pointer self, Beginning beginning) {
  if (wait_for_turn([this, self, beginning] { begin(self, beginning); })) return;
  const auto& key = beginning.dedupe_key;
  DeploymentState fresh;
  fresh.id = DeploymentId{
      short_id(beginning.salt == 0 ? key : key + "#" + std::to_string(beginning.salt))};
  auto events = decide(fresh, beginning.command, Moment{wiring.clock->now(), 0, ""});
  if (!events) {
    if (beginning.answer) beginning.answer->fail(events.error());
    return;
  }
  appending = true;
  Append append;
  append.request.stream = deployment_stream(fresh.id);
  append.request.events = std::move(*events);
  append.request.dedupe_key = key;
  append.request.correlation_id = beginning.correlation_id;
  append.request.causation_position = beginning.cause;
  append.request.actor = "project";
  append.patient = false;
  const auto based_on = beginning.decide_again ? basis() : Basis{};
  append.basis = based_on;
  self->request(wiring.log_writer, k_request_timeout, std::move(append))
      .then(
          [this, self, beginning, id = fresh.id, based_on](const AppendReply& answer) mutable {
            appending = false;
            if (answer.basis_moved) {
              if (basis() != based_on) {
                beginning.decide_again();
              } else {
                undecided.push_back(beginning.decide_again);
              }
              return next();
            }
            IntakeReply done;
            done.receipt.project = history.project.name;
            done.receipt.deployment = id;
            if (const auto* appended = std::get_if<storage::Appended>(&answer.outcome)) {
              for (const auto& record : appended->records) learn(record);
              done.receipt.verdict = PushReceipt::Verdict::deployed;
              done.position = appended->first_position;
              if (beginning.answer) beginning.answer->deliver(std::move(done));
              reconcile(self);
            } else if (const auto* known = std::get_if<storage::Duplicate>(&answer.outcome)) {
              ATLAS_PROBE(true, "a deployment was asked for twice under one key");
              done.receipt.verdict = PushReceipt::Verdict::duplicate;
              done.receipt.deployment = deployment_of(known->stream);
              done.position = known->position;
              if (beginning.answer) beginning.answer->deliver(std::move(done));
            } else if (std::holds_alternative<storage::WrongVersion>(answer.outcome) &&
                       beginning.salt < k_salts_max) {
              ATLAS_PROBE(true, "another deployment had the short id");
              // Another deployment has this short id: take the next.
              ++beginning.salt;
              return begin(self, std::move(beginning));
            } else if (beginning.answer) {
              beginning.answer->fail(
                  Error{ErrorCode::internal, "the push could not be recorded", ""});
            }
            next();
          },
          [this, self, answer = beginning.answer](const caf::error& error) {
            const auto why = from_caf(error);
            if (answer) answer->fail(why);
            if (why.code == ErrorCode::disk_full) {
              ATLAS_PROBE(true, "a deployment could not begin, the disk being full");
              appending = false;
              if (!answer) self->delayed_send(self, k_after_full_disk, Tick{});
              return next();
            }
            ATLAS_PROBE(true, "a project does not know whether a deployment was recorded");
            // Whether it was recorded is not known: replaying tells.
            self->quit(caf::exit_reason::unhandled_exception);
          });
}

bool ProjectActorState::wait_for_turn(std::function<void()> again) {
  if (!appending) return false;
  if (stash.size() >= k_stash_max) throw std::runtime_error("too many commands wait");
  ATLAS_PROBE(true, "a project's work waits for its append");
  stash.push_back(std::move(again));
  return true;
}

void ProjectActorState::command(project_actor::pointer self,
                                const ProjectCommand& command_to_decide, std::string key,
                                const std::function<void(Result<Recorded>)>& done) {
  if (wait_for_turn([this, self, command_to_decide, key, done] {
        command(self, command_to_decide, key, done);
      })) {
    return;
  }
  auto events = decide(history.project, command_to_decide);
  if (!events) return done(tl::unexpected(events.error()));
  if (events->empty()) return done(Recorded{});
  appending = true;
  Append append;
  append.request.stream = project_stream(history.project.id);
  append.request.expected_version = history.project.version;
  append.request.events = std::move(*events);
  append.request.dedupe_key = std::move(key);
  append.request.actor = "project";
  append.patient = false;
  self->request(wiring.log_writer, k_request_timeout, std::move(append))
      .then(
          [this, self, done](const AppendReply& answer) {
            appending = false;
            if (const auto* appended = std::get_if<storage::Appended>(&answer.outcome)) {
              for (const auto& record : appended->records) learn(record);
              done(Recorded{appended->records.back().position, {}});
              reconcile(self);
            } else if (const auto* duplicate = std::get_if<storage::Duplicate>(&answer.outcome)) {
              ATLAS_PROBE(true, "a command of a project was recorded before");
              done(Recorded{duplicate->position, deployment_of(duplicate->stream)});
            } else {
              ATLAS_PROBE(true, "a project's append was not taken");
              // Another writer of this stream, or a fence: replaying is the only safe answer.
              done(fail(ErrorCode::unavailable, "the project's state was out of date; try again"));
              self->quit(caf::exit_reason::unhandled_exception);
              return;
            }
            next();
          },
          [this, self, done](const caf::error& error) {
            const auto why = from_caf(error);
            done(tl::unexpected(why));
            if (why.code == ErrorCode::disk_full) {
              appending = false;
              return next();
            }
            self->quit(caf::exit_reason::unhandled_exception);
          });
}

void ProjectActorState::next() {
  while (!appending && !stash.empty()) {
    const auto run = std::move(stash.front());
    stash.pop_front();
    run();
  }
}

void ProjectActorState::learn(const storage::Record& record) {
  if (apply(history, record)) newest = record.position;
}

void ProjectActorState::reconcile(project_actor::pointer self) {
  const auto now = wiring.clock->now();
  std::erase_if(starting, [this](const auto& item) {
    const auto* state = history.find(item.second);
    return state == nullptr || state->status != DeploymentStatus::queued;
  });
  auto wanted = wishes(history, starting, now);
  // There is no image to go back to.
  ATLAS_PROBE(wiring.rollbacks == 0 && !wanted.roll_back.empty(),
              "an automatic rollback was not made, no image being kept");
  if (wiring.rollbacks == 0) wanted.roll_back.clear();
  // Of what is out of reach neither the image nor the variables' values need be there any more.
  std::erase_if(wanted.roll_back, [this](const auto& item) {
    const bool gone = !is_within_reach(history, item.to, wiring.rollbacks);
    ATLAS_PROBE(gone, "an automatic rollback was not made, its target being out of reach");
    return gone;
  });
  for (auto& [id, command_for] : wanted.tell) {
    if (std::holds_alternative<Start>(command_for)) {
      starting[history.environment_of.at(id)] = id;
    }
    self->send(wiring.deployments, DeliverTo{id, std::move(command_for), newest});
  }
  for (const auto& [from, to] : wanted.roll_back) {
    const auto* target = history.find(to);
    auto request = rollback_of(*target, "the automatic rollback: deployment " + from.str() +
                                            " crashed soon after it went live");
    if (!request) continue;
    const auto key = "auto-rollback/" + from.str();
    request->mutable_push()->set_delivery_id(key);
    begin(self, {.command = RequestRollback{*std::move(request)},
                 .dedupe_key = key,
                 .correlation_id = key,
                 .decide_again = [this, self] { reconcile(self); },
                 .cause = newest});
  }
  if (wanted.look_again && (!wake_at || *wanted.look_again < *wake_at)) {
    wake_at = wanted.look_again;
    self->delayed_send(self, std::chrono::microseconds(*wake_at - now), Tick{});
  }
}

project_actor::behavior_type project(project_actor::stateful_pointer<ProjectActorState> self,
                                     ProjectWiring wiring, ProjectHistory history) {
  end_of_exceptions(self);
  self->state.wiring = std::move(wiring);
  self->state.history = std::move(history);
  self->state.reconcile(self);
  return {[self](const Intake& message) -> caf::result<IntakeReply> {
            auto promise = self->make_response_promise<IntakeReply>();
            self->state.intake(
                self, message.push,
                std::make_shared<PromiseGuard<IntakeReply>>(PromiseGuard<IntakeReply>(promise)));
            return promise;
          },
          [self](const ReuseNow& message) -> caf::result<IntakeReply> {
            auto promise = self->make_response_promise<IntakeReply>();
            self->state.reuse(
                self, message,
                std::make_shared<PromiseGuard<IntakeReply>>(PromiseGuard<IntakeReply>(promise)));
            return promise;
          },
          [self](DecideProject& message) -> caf::result<ProjectReply> {
            auto promise = self->make_response_promise<ProjectReply>();
            auto reply =
                std::make_shared<PromiseGuard<ProjectReply>>(PromiseGuard<ProjectReply>(promise));
            self->state.command(
                self, std::move(message.command), "",
                [self, reply](const Result<ProjectActorState::Recorded>& done) {
                  if (!done) return reply->fail(done.error());
                  reply->deliver(ProjectReply{self->state.history.project.id, done->position});
                });
            return promise;
          },
          [self](const RecordBatch& batch) {
            for (const auto& record : *batch.records) {
              // Its own stream's records came with the answers to its appends.
              if (project_of(record.stream).empty()) self->state.learn(record);
            }
            for (const auto& decide_again : std::exchange(self->state.undecided, {})) {
              decide_again();
            }
            self->state.reconcile(self);
            if (ATLAS_BUGGIFY("a project says its wishes twice")) self->state.reconcile(self);
          },
          [self](const Tick&) {
            self->state.wake_at.reset();
            self->state.reconcile(self);
          }};
}

}  // namespace atlasflow::actors
