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

constexpr int k_salts_max = 8;
constexpr TimestampUs k_tell_again_us = 30'000'000;
constexpr auto k_after_full_disk = std::chrono::seconds(5);

}  // namespace

std::string ProjectActorState::dedupe_key(pb::Trigger trigger, const std::string& id) const {
  const auto* source = trigger == pb::TRIGGER_WEBHOOK ? "github/" : "command/";
  return source + history.project.id.str() + "/" + id;
}

// The ids of one host say nothing of another's.
std::string ProjectActorState::dedupe_key(const Push& push) const {
  for (const char* host : {"git", "push"}) {
    if (push.by != Principal::webhook(host)) continue;
    return std::string(host) + "/" + history.project.id.str() + "/" + push.delivery_id;
  }
  return dedupe_key(push.trigger, push.delivery_id);
}

// One after the other: whether a push is late depends on those that are being recorded.
void ProjectActorState::intake(project_actor::pointer self, const Push& push,
                               const IntakeAnswer& answer) {
  writer.in_turn([this, self, push, answer] { intake_now(self, push, answer); });
}

void ProjectActorState::intake_now(project_actor::pointer self, const Push& push,
                                   const IntakeAnswer& answer) {
  if (!history.project.exists()) {
    answer->fail(Error{ErrorCode::not_found, "there is no such project", ""});
    return;
  }
  if (push.pull_request) return intake_pull_request(self, push, answer);
  const auto target = target_of(history.project, push);
  if (target.ends_preview) {
    return record(self, push, RecordBranchDeletion{branch_deleted(push)},
                  "the branch was deleted; its preview ends", answer);
  }
  if (target.environment.empty()) return ignore(self, push, target.reason, answer);
  auto received = push_received(push, history.project, target.environment);
  if (push.trigger == pb::TRIGGER_WEBHOOK) {
    const auto& pushes = history.environments[target.environment].pushes;
    std::string reason;
    if (push.only_news) reason = reason_if_known(pushes, received);
    if (reason.empty()) reason = reason_if_late(pushes, received);
    if (reason.empty() && is_preview(target.environment)) {
      reason = reason_against_preview(history, target.environment);
    }
    ATLAS_PROBE(!reason.empty(), "a push was ignored, being late or one preview too many");
    if (!reason.empty()) return ignore(self, push, reason, answer);
  }
  begin(self, {.command = ReceivePush{std::move(received), push.by},
               .dedupe_key = dedupe_key(push),
               .correlation_id = push.delivery_id,
               .answer = answer});
}

void ProjectActorState::intake_pull_request(project_actor::pointer self, const Push& push,
                                            const IntakeAnswer& answer) {
  using Kind = PullRequestVerdict::Kind;
  const auto verdict = judge(history, push);
  switch (verdict.kind) {
    case Kind::unwanted:
      // Nothing follows from it later either, so it is no event.
      answer->deliver(
          {{PushReceipt::Verdict::ignored, history.project.name, {}, verdict.reason}, newest});
      return;
    case Kind::ignored:
      return ignore(self, push, verdict.reason, answer);
    case Kind::closes:
      return record(self, push, RecordPullRequestClosed{pull_request_closed(push)},
                    "the pull request was closed; its preview ends", answer);
    case Kind::held:
      return record(self, push, HoldPullRequest{pull_request_held(push)},
                    "the pull request comes from a fork: atlasflow approve " +
                        history.project.name + " " +
                        std::to_string(push.pull_request->head.number()) + " --sha " + push.after +
                        " deploys this commit",
                    answer);
    case Kind::deploys:
      break;
  }
  auto received = push_received(push, history.project,
                                pull_request_environment(push.pull_request->head.number()));
  received.mutable_pull_request()->set_approved_by(verdict.approved_by);
  begin(self, {.command = ReceivePush{std::move(received), push.by},
               .dedupe_key = dedupe_key(push),
               .correlation_id = push.delivery_id,
               .answer = answer});
}

void ProjectActorState::approve(project_actor::pointer self, const ApproveNow& message,
                                const IntakeAnswer& answer) {
  writer.in_turn([this, self, message, answer] {
    auto received = approved(history, message.approval, message.by);
    if (!received) return answer->fail(received.error());
    const auto& id = message.approval.command_id;
    begin(self, {.command = ReceivePush{*std::move(received), message.by},
                 .dedupe_key = dedupe_key(pb::TRIGGER_COMMAND, id),
                 .correlation_id = id,
                 .answer = answer});
  });
}

void ProjectActorState::ignore(project_actor::pointer self, const Push& push,
                               const std::string& reason, const IntakeAnswer& answer) {
  if (push.inferred_at_s != 0) {
    // Whoever compares looks again in a few minutes, and each of those would be an event.
    answer->deliver({{PushReceipt::Verdict::ignored, history.project.name, {}, reason}, newest});
    return;
  }
  record(self, push, IgnorePush{push_ignored(push, reason)}, reason, answer);
}

void ProjectActorState::record(project_actor::pointer self, const Push& push,
                               const ProjectCommand& what, const std::string& reason,
                               const IntakeAnswer& answer) {
  command(self, what, push.by, dedupe_key(push),
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

void ProjectActorState::reuse(project_actor::pointer self, const ReuseNow& message,
                              const IntakeAnswer& answer) {
  writer.in_turn([this, self, message, answer] { reuse_now(self, message, answer); });
}

void ProjectActorState::reuse_now(project_actor::pointer self, const ReuseNow& message,
                                  const IntakeAnswer& answer) {
  auto command_for = decide(history, message.reuse, message.by, wiring.rollbacks);
  if (!command_for) return answer->fail(command_for.error());
  begin(self, {.command = *std::move(command_for),
               .dedupe_key = dedupe_key(pb::TRIGGER_COMMAND, message.reuse.command_id),
               .correlation_id = message.reuse.command_id,
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
  writer.in_turn([this, self, beginning = std::move(beginning)] { begin_now(self, beginning); });
}

void ProjectActorState::begin_now(project_actor::pointer self, const Beginning& beginning) {
  const auto& key = beginning.dedupe_key;
  DeploymentState fresh;
  fresh.id = DeploymentId{
      short_id(beginning.salt == 0 ? key : key + "#" + std::to_string(beginning.salt))};
  auto events = decide(fresh, beginning.command, Moment{wiring.clock->now(), 0, ""});
  if (!events) {
    if (beginning.answer) beginning.answer->fail(events.error());
    return;
  }
  Append append;
  append.request.stream = deployment_stream(fresh.id);
  append.request.events = std::move(*events);
  append.request.dedupe_key = key;
  append.request.correlation_id = beginning.correlation_id;
  append.request.causation_position = beginning.cause;
  append.request.actor = asked_by(beginning.command);
  append.patient = false;
  append.basis = beginning.decide_again ? basis() : Basis{};
  writer.append(
      self, k_new_stream, append,
      [this, self, beginning, id = fresh.id, based_on = append.basis](const WriteOutcome& outcome) {
        begun(self, beginning, id, based_on, outcome);
      });
}

void ProjectActorState::begun(project_actor::pointer self, const Beginning& beginning,
                              const DeploymentId& id, const Basis& based_on,
                              const WriteOutcome& outcome) {
  IntakeReply done;
  done.receipt.project = history.project.name;
  if (const auto* appended = std::get_if<storage::Appended>(&outcome)) {
    done.receipt.deployment = id;
    done.receipt.verdict = PushReceipt::Verdict::deployed;
    done.position = appended->first_position;
    if (beginning.answer) beginning.answer->deliver(std::move(done));
    return reconcile(self);
  }
  if (const auto* known = std::get_if<storage::Duplicate>(&outcome)) {
    ATLAS_PROBE(true, "a deployment was asked for twice under one key");
    done.receipt.verdict = PushReceipt::Verdict::duplicate;
    done.receipt.deployment = deployment_of(known->stream);
    done.position = known->position;
    if (beginning.answer) beginning.answer->deliver(std::move(done));
    return;
  }
  if (std::holds_alternative<BasisMoved>(outcome)) {
    if (basis() != based_on) return beginning.decide_again();
    undecided.push_back(beginning.decide_again);
    return;
  }
  if (std::holds_alternative<Outrun>(outcome)) {
    if (beginning.salt < k_salts_max) {
      ATLAS_PROBE(true, "another deployment had the short id");
      auto salted = beginning;
      ++salted.salt;
      return begin(self, std::move(salted));
    }
    if (!beginning.answer) return;
    return beginning.answer->fail(Error{ErrorCode::internal, "the push could not be recorded", ""});
  }
  if (const auto* refused = std::get_if<NotWritten>(&outcome)) {
    ATLAS_PROBE(true, "a deployment could not begin, the disk being full");
    if (beginning.answer) return beginning.answer->fail(refused->error);
    self->delayed_send(self, k_after_full_disk, LookAgain{});
    return;
  }
  ATLAS_PROBE(true, "a project does not know whether a deployment was recorded");
  if (beginning.answer) beginning.answer->fail(std::get<FateUnknown>(outcome).error);
}

void ProjectActorState::command(project_actor::pointer self,
                                const ProjectCommand& command_to_decide, const Principal& by,
                                const std::string& key,
                                const std::function<void(Result<Recorded>)>& done) {
  writer.in_turn([this, self, command_to_decide, by, key, done] {
    command_now(self, command_to_decide, by, key, done);
  });
}

void ProjectActorState::command_now(project_actor::pointer self,
                                    const ProjectCommand& command_to_decide, const Principal& by,
                                    const std::string& key,
                                    const std::function<void(Result<Recorded>)>& done) {
  auto events = decide(history.project, command_to_decide);
  if (!events) return done(tl::unexpected(events.error()));
  if (events->empty()) return done(Recorded{});
  Append append;
  append.request.stream = project_stream(history.project.id);
  append.request.expected_version = history.project.version;
  append.request.events = std::move(*events);
  append.request.dedupe_key = key;
  append.request.actor = by;
  append.patient = false;
  auto policy = k_own_stream;
  policy.timeout = caf::duration{k_request_timeout};  // a person waits
  writer.append(self, policy, std::move(append), [this, self, done](const WriteOutcome& outcome) {
    if (const auto* appended = std::get_if<storage::Appended>(&outcome)) {
      done(Recorded{appended->records.back().position, {}});
      return reconcile(self);
    }
    if (const auto* duplicate = std::get_if<storage::Duplicate>(&outcome)) {
      ATLAS_PROBE(true, "a command of a project was recorded before");
      return done(Recorded{duplicate->position, deployment_of(duplicate->stream)});
    }
    if (const auto* refused = std::get_if<NotWritten>(&outcome)) {
      return done(tl::unexpected(refused->error));
    }
    if (const auto* unknown = std::get_if<FateUnknown>(&outcome)) {
      return done(tl::unexpected(unknown->error));
    }
    ATLAS_PROBE(true, "a project's append was not taken");
    done(fail(ErrorCode::unavailable, "the project's state was out of date; try again"));
  });
}

void ProjectActorState::learn(const storage::Record& record) {
  if (apply(history, record)) newest = record.position;
}

void ProjectActorState::hear(const storage::Record& record) {
  if (push_of(record.event) != nullptr && record.position > told) {
    // It was refused on a full disk and is in the log all the same, before what the answer to a
    // later append has told already. Whoever goes on reads both in the log, in their order.
    if (record.position <= history.newest_made &&
        !history.environment_by_id.contains(deployment_of(record.stream))) {
      ATLAS_PROBE(true, "a project was told of a deployment that lies before its newest one");
      throw std::runtime_error("a deployment is in the log that was said not to be");
    }
    told = record.position;
  }
  learn(record);
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
      starting[history.environment_by_id.at(id)] = id;
    }
    self->send(wiring.deployments, DeliverTo{id, std::move(command_for), newest});
  }
  // An actor that dies takes along what it was told and had not come to; what is still wanted then
  // is told again. Who has heard it before refuses it, or has nothing to do.
  if (!wanted.tell.empty()) {
    wanted.look_again =
        std::min(wanted.look_again.value_or(now + k_tell_again_us), now + k_tell_again_us);
  }
  for (const auto& [from, to] : wanted.roll_back) {
    const auto* target = history.find(to);
    auto command_for = rollback_of(
        *target, Principal::system("project"),
        "the automatic rollback: deployment " + from.str() + " crashed soon after it went live");
    if (!command_for) continue;
    const auto key = "auto-rollback/" + from.str();
    command_for->request.mutable_push()->set_delivery_id(key);
    begin(self, {.command = *std::move(command_for),
                 .dedupe_key = key,
                 .correlation_id = key,
                 .decide_again = [this, self] { reconcile(self); },
                 .cause = newest});
  }
  if (wanted.look_again && (!wake_at || *wanted.look_again < *wake_at)) {
    wake_at = wanted.look_again;
    self->delayed_send(self, std::chrono::microseconds(*wake_at - now), LookAgain{*wake_at});
  }
}

project_actor::behavior_type project(project_actor::stateful_pointer<ProjectActorState> self,
                                     ProjectWiring wiring, ProjectHistory history) {
  end_of_exceptions(self);
  self->state.wiring = std::move(wiring);
  self->state.history = std::move(history);
  self->state.told = self->state.history.newest_made;
  self->state.writer =
      StreamWriter(self->state.wiring.log_writer,
                   [self](const storage::Record& record) { self->state.learn(record); });
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
          [self](const ApproveNow& message) -> caf::result<IntakeReply> {
            auto promise = self->make_response_promise<IntakeReply>();
            self->state.approve(
                self, message,
                std::make_shared<PromiseGuard<IntakeReply>>(PromiseGuard<IntakeReply>(promise)));
            return promise;
          },
          [self](const DecideProject& message) -> caf::result<ProjectReply> {
            auto promise = self->make_response_promise<ProjectReply>();
            auto reply =
                std::make_shared<PromiseGuard<ProjectReply>>(PromiseGuard<ProjectReply>(promise));
            self->state.command(
                self, message.command, message.by, "",
                [self, reply](const Result<ProjectActorState::Recorded>& done) {
                  if (!done) return reply->fail(done.error());
                  reply->deliver(ProjectReply{self->state.history.project.id, done->position});
                });
            return promise;
          },
          [self](const RecordBatch& batch) {
            for (const auto& record : *batch.records) {
              // Its own stream's records came with the answers to its appends.
              if (project_of(record.stream).empty()) self->state.hear(record);
            }
            for (const auto& decide_again : std::exchange(self->state.undecided, {})) {
              decide_again();
            }
            self->state.reconcile(self);
            if (ATLAS_BUGGIFY("a project says its wishes twice")) self->state.reconcile(self);
          },
          [self](const LookAgain& message) {
            // An earlier one than was asked for last leaves that on its way.
            if (message.due && self->state.wake_at == message.due) self->state.wake_at.reset();
            self->state.reconcile(self);
          }};
}

}  // namespace atlasflow::actors
