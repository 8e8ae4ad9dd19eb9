#include "actors/project_actor.hpp"

#include <algorithm>
#include <stdexcept>

#include <spdlog/spdlog.h>

#include "storage/digest.hpp"

namespace atlasflow::actors {
namespace {

constexpr std::size_t k_stash_max = 1000;
constexpr int k_salts_max = 8;

bool under_way(DeploymentStatus status) {
  switch (status) {
    case DeploymentStatus::cloning:
    case DeploymentStatus::building:
    case DeploymentStatus::pushing:
    case DeploymentStatus::starting:
    case DeploymentStatus::checking:
    case DeploymentStatus::routing:
    case DeploymentStatus::failing:
    case DeploymentStatus::cancelling:
      return true;
    default:
      return false;
  }
}

bool serving(DeploymentStatus status) {
  return status == DeploymentStatus::live || status == DeploymentStatus::restarting;
}

}  // namespace

void apply(ProjectHistory& history, const storage::Record& record) {
  history.as_of = record.position;
  const auto id = deployment_of(record.stream);
  if (id.empty()) {
    evolve(history.project, record.event);
    return;
  }
  const auto [found, fresh] = history.deployments.try_emplace(id);
  if (fresh) {
    found->second.id = id;
    history.order.push_back(id);
  }
  evolve(found->second, record.event);
  if (is_terminal(found->second.status)) {
    history.deployments.erase(found);
    std::erase(history.order, id);
  }
}

Result<std::map<ProjectId, ProjectHistory>> read_histories(const storage::EventLog& log,
                                                           const ProjectId* only) {
  std::map<ProjectId, ProjectHistory> histories;
  std::map<DeploymentId, ProjectId> owners;
  const auto read = log.read_all(Position{1}, [&](const storage::Record& record) {
    auto owner = project_of(record.stream);
    if (const auto id = deployment_of(record.stream); !id.empty()) {
      if (record.event.has_push_received()) {
        owners[id] = ProjectId{record.event.push_received().project_id()};
      }
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

std::string ProjectActorState::dedupe_key(const Intake& message) const {
  const auto* source = message.trigger == pb::TRIGGER_WEBHOOK ? "github/" : "command/";
  return source + history.project.id.str() + "/" + message.delivery_id;
}

void ProjectActorState::intake(project_actor::pointer self, Intake message,
                               PromiseGuard<IntakeReply> reply) {
  if (!history.project.exists()) {
    reply.fail(Error{ErrorCode::not_found, "there is no such project", ""});
    return;
  }
  auto shared_reply = std::make_shared<PromiseGuard<IntakeReply>>(std::move(reply));
  const std::string reason =
      message.trigger == pb::TRIGGER_WEBHOOK
          ? reason_to_ignore(history.project,
                             {message.ref, message.default_branch, message.deleted})
          : "";
  if (reason.empty()) return append_push(self, message, 0, shared_reply);
  IgnorePush ignore;
  ignore.push.set_ref(message.ref);
  ignore.push.set_after(message.after);
  ignore.push.set_delivery_id(message.delivery_id);
  ignore.push.set_reason(reason);
  command(self, std::move(ignore), dedupe_key(message),
          [this, shared_reply, reason](const Result<Position>& done) {
            if (!done) return shared_reply->fail(done.error());
            IntakeReply answer;
            answer.receipt = {PushReceipt::Verdict::ignored, history.project.name, {}, reason};
            answer.position = *done;
            shared_reply->deliver(std::move(answer));
          });
}

void ProjectActorState::append_push(project_actor::pointer self, const Intake& message, int salt,
                                    const std::shared_ptr<PromiseGuard<IntakeReply>>& reply) {
  const auto& project = history.project;
  const auto key = dedupe_key(message);
  DeploymentState fresh;
  fresh.id = DeploymentId{storage::short_id(salt == 0 ? key : key + "#" + std::to_string(salt))};
  ReceivePush receive;
  receive.push.set_project_id(project.id.str());
  receive.push.set_project_name(project.name);
  receive.push.set_environment("production");
  receive.push.set_repository_url(project.repository_url);
  receive.push.set_ref(message.ref);
  receive.push.set_before(message.before);
  receive.push.set_after(message.after);
  receive.push.set_delivery_id(message.delivery_id);
  receive.push.set_pusher(message.pusher);
  receive.push.set_trigger(message.trigger);
  receive.push.set_settings_version(project.version.value());
  *receive.push.mutable_settings() = project.settings;
  auto events = decide(fresh, receive);
  if (!events) return reply->fail(events.error());

  Append append;
  append.request.stream = deployment_stream(fresh.id);
  append.request.events = std::move(*events);
  append.request.dedupe_key = key;
  append.request.correlation_id = message.delivery_id;
  append.request.actor = "project";
  self->request(wiring.log_writer, k_request_timeout, std::move(append))
      .then(
          [this, self, message, salt, reply, id = fresh.id](const AppendReply& answer) {
            IntakeReply done;
            done.receipt.project = history.project.name;
            done.receipt.deployment = id;
            if (const auto* appended = std::get_if<storage::Appended>(&answer.outcome)) {
              done.receipt.verdict = PushReceipt::Verdict::deployed;
              done.position = appended->first_position;
              return reply->deliver(std::move(done));
            }
            if (const auto* duplicate = std::get_if<storage::Duplicate>(&answer.outcome)) {
              done.receipt.verdict = PushReceipt::Verdict::duplicate;
              done.receipt.deployment = deployment_of(duplicate->stream);
              done.position = duplicate->position;
              return reply->deliver(std::move(done));
            }
            if (std::holds_alternative<storage::WrongVersion>(answer.outcome) &&
                salt < k_salts_max) {
              // Another deployment has this short id: take the next.
              return append_push(self, message, salt + 1, reply);
            }
            reply->fail(Error{ErrorCode::internal, "the push could not be recorded", ""});
          },
          [reply](const caf::error& error) { reply->fail(from_caf(error)); });
}

void ProjectActorState::command(project_actor::pointer self, ProjectCommand command_to_decide,
                                std::string key, std::function<void(Result<Position>)> done) {
  if (appending) {
    if (stash.size() >= k_stash_max) {
      return done(fail(ErrorCode::unavailable, "too many commands wait; try again"));
    }
    stash.emplace_back([this, self, c = std::move(command_to_decide), k = std::move(key),
                        d = std::move(done)] { command(self, c, k, d); });
    return;
  }
  auto events = decide(history.project, command_to_decide);
  if (!events) return done(tl::unexpected(events.error()));
  if (events->empty()) return done(Position{});
  appending = true;
  Append append;
  append.request.stream = project_stream(history.project.id);
  append.request.expected_version = history.project.version;
  append.request.events = std::move(*events);
  append.request.dedupe_key = std::move(key);
  append.request.actor = "project";
  self->request(wiring.log_writer, k_request_timeout, std::move(append))
      .then(
          [this, self, done](const AppendReply& answer) {
            appending = false;
            if (const auto* appended = std::get_if<storage::Appended>(&answer.outcome)) {
              for (const auto& record : appended->records) evolve(history.project, record.event);
              done(appended->records.back().position);
              reconcile(self);
            } else if (const auto* duplicate = std::get_if<storage::Duplicate>(&answer.outcome)) {
              done(duplicate->position);
            } else {
              // Another writer of this stream, or a fence: replaying is the only safe answer.
              done(fail(ErrorCode::unavailable, "the project's state was out of date; try again"));
              self->quit(caf::exit_reason::unhandled_exception);
              return;
            }
            next();
          },
          [self, done](const caf::error& error) {
            done(tl::unexpected(from_caf(error)));
            self->quit(caf::exit_reason::unhandled_exception);
          });
}

void ProjectActorState::next() {
  if (appending || stash.empty()) return;
  const auto run = std::move(stash.front());
  stash.pop_front();
  run();
  next();
}

void ProjectActorState::reconcile(project_actor::pointer self) {
  const auto now = wiring.clock->now();
  const auto tell = [&](const DeploymentId& id, DeploymentCommand command_for) {
    self->send(wiring.deployments, DeliverTo{id, std::move(command_for)});
  };
  const DeploymentState* newest_serving = nullptr;
  bool busy = false;
  std::vector<DeploymentId> queued;
  for (const auto& id : history.order) {
    const auto& state = history.deployments.at(id);
    if (history.project.deleted) {
      if (serving(state.status)) {
        tell(id, Retire{"user", "the project was deleted", now});
      } else if (state.status == DeploymentStatus::queued || under_way(state.status)) {
        if (state.status != DeploymentStatus::failing &&
            state.status != DeploymentStatus::cancelling) {
          tell(id, Cancel{"deletion of the project"});
        }
      }
      continue;
    }
    busy = busy || under_way(state.status);
    if (state.status == DeploymentStatus::queued) queued.push_back(id);
    if (serving(state.status) &&
        (newest_serving == nullptr || newest_serving->generation < state.generation)) {
      newest_serving = &state;
    }
  }
  if (history.project.deleted) return;
  for (const auto& id : history.order) {
    const auto& state = history.deployments.at(id);
    if (serving(state.status) && &state != newest_serving) {
      tell(id, Retire{newest_serving->id.str(), "a newer deployment took over", now});
    }
  }
  if (starting) {
    const auto found = history.deployments.find(*starting);
    if (found == history.deployments.end() || found->second.status != DeploymentStatus::queued) {
      starting.reset();
    } else {
      // Said again, in case its actor died before it could: a second Start is refused.
      return tell(*starting, Start{now});
    }
  }
  if (busy || queued.empty()) return;
  for (const auto& id : queued) {
    if (id != queued.back()) tell(id, Supersede{queued.back()});
  }
  starting = queued.back();
  tell(*starting, Start{now});
}

project_actor::behavior_type project(project_actor::stateful_pointer<ProjectActorState> self,
                                     ProjectWiring wiring, ProjectHistory history) {
  self->state.wiring = std::move(wiring);
  self->state.history = std::move(history);
  self->state.reconcile(self);
  return {[self](Intake& message) -> caf::result<IntakeReply> {
            auto promise = self->make_response_promise<IntakeReply>();
            self->state.intake(self, std::move(message), PromiseGuard<IntakeReply>(promise));
            return promise;
          },
          [self](DecideProject& message) -> caf::result<ProjectReply> {
            auto promise = self->make_response_promise<ProjectReply>();
            auto reply =
                std::make_shared<PromiseGuard<ProjectReply>>(PromiseGuard<ProjectReply>(promise));
            self->state.command(
                self, std::move(message.command), "", [self, reply](const Result<Position>& done) {
                  if (!done) return reply->fail(done.error());
                  reply->deliver(ProjectReply{self->state.history.project.id, *done});
                });
            return promise;
          },
          [self](const RecordBatch& batch) {
            bool news = false;
            for (const auto& record : *batch.records) {
              // Its own stream's records came with the answers to its appends.
              if (record.position <= self->state.history.as_of ||
                  deployment_of(record.stream).empty()) {
                continue;
              }
              apply(self->state.history, record);
              news = true;
            }
            if (news) self->state.reconcile(self);
          }};
}

}  // namespace atlasflow::actors
