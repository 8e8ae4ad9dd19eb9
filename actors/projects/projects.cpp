#include "actors/projects/projects.hpp"

#include <algorithm>
#include <stdexcept>

#include "base/digest.hpp"
#include "base/log.hpp"
#include "base/probe.hpp"
#include "events/deployment_events.hpp"
#include "events/environment.hpp"

namespace atlasflow::actors {

void ProjectsState::begin(projects_actor::pointer self, const BeginProjects& message) {
  begun = true;
  for (const auto& batch : std::exchange(early, {})) {
    for (const auto& record : *batch.records) {
      if (record.position > message.position) message.histories->apply(record);
    }
  }
  for (auto& [id, history] : std::move(*message.histories).take()) {
    bool unfinished = false;
    for (const auto& [environment_name, environment] : history.environments) {
      for (const auto& made : environment.deployments) owners[made.first] = id;
      unfinished = unfinished || !environment.deployments.empty();
    }
    ATLAS_PROBE(!history.project.exists() && unfinished,
                "a start found a deleted project whose deployments had not ended");
    // A deleted project needs its actor until its deployments have reached their ends.
    if (history.project.exists() || unfinished) add(self, std::move(history));
  }
}

void ProjectsState::add(projects_actor::pointer self, ProjectHistory history) {
  const auto& project = history.project;
  auto& entry = projects[project.id];
  entry.name = project.name;
  entry.repository = normalized_repository(project.repository_url);
  entry.repository_id = project.repository_id;
  entry.own_secret = !project.webhook_secret_ref.empty();
  if (project.exists()) by_name[project.name] = project.id;
  const auto id = project.id;
  spawn_project(self, id, std::move(history));
}

void ProjectsState::spawn_project(projects_actor::pointer self, const ProjectId& id,
                                  ProjectHistory history) {
  children.hold(self, id, self->spawn(project, wiring, std::move(history)));
}

Result<project_actor> ProjectsState::actor_of(const ProjectId& id) const {
  if (const auto* child = children.find(id)) return *child;
  return fail(ErrorCode::unavailable,
              "project " + projects.at(id).name + " is being read from the log; try again shortly");
}

Result<project_actor> ProjectsState::named(const std::string& project) const {
  const auto found = by_name.find(project);
  if (found == by_name.end()) {
    return fail(ErrorCode::not_found, "there is no project '" + project.substr(0, 60) +
                                          "'; atlasflow project list shows those that are");
  }
  return actor_of(found->second);
}

void ProjectsState::create(projects_actor::pointer self, CreateProjectNow message,
                           PromiseGuard<ProjectReply> reply) {
  const auto wanted = message.command.name;
  ATLAS_PROBE(creating.contains(wanted), "two projects of one name were made at once");
  if (by_name.contains(wanted) || creating.contains(wanted)) {
    reply.fail(Error{ErrorCode::already_exists,
                     "project '" + wanted.substr(0, 60) + "' exists already; choose another name",
                     ""});
    return;
  }
  ProjectState fresh;
  fresh.id =
      ProjectId{short_id("project/" + wanted + "/" + std::to_string(wiring.log_end().value()))};
  auto events = decide(fresh, std::move(message.command));
  if (!events) return reply.fail(events.error());
  creating.insert(wanted);
  Append append;
  append.request.stream = project_stream(fresh.id);
  append.request.events = std::move(*events);
  append.request.actor = message.by;
  append.patient = false;
  auto shared_reply = std::make_shared<PromiseGuard<ProjectReply>>(std::move(reply));
  write(self, wiring.log_writer, k_asked_stream, std::move(append),
        [this, self, fresh, wanted, shared_reply](const WriteOutcome& outcome) {
          creating.erase(wanted);
          if (const auto* refused = std::get_if<NotWritten>(&outcome)) {
            return shared_reply->fail(refused->error);
          }
          if (const auto* unknown = std::get_if<FateUnknown>(&outcome)) {
            return shared_reply->fail(unknown->error);
          }
          const auto* appended = std::get_if<storage::Appended>(&outcome);
          if (appended == nullptr) {
            return shared_reply->fail(Error{
                ErrorCode::conflict, "another project was made at the same time; try again", ""});
          }
          ProjectHistory history;
          history.project = fresh;
          for (const auto& record : appended->records) apply(history, record);
          add(self, std::move(history));
          shared_reply->deliver(ProjectReply{fresh.id, appended->records.back().position});
        });
}

// By its id where both sides know one: a name may be another repository's by now, and one that was
// renamed tells so by pushes, too.
bool ProjectsState::is_of(const Push& push, const std::set<std::string>& repositories,
                          const Entry& entry) {
  if (push.repository_id != 0 && entry.repository_id != 0) {
    return push.repository_id == entry.repository_id;
  }
  return repositories.contains(entry.repository);
}

// A log of an older build may have a project that is named like another one's pull request.
bool ProjectsState::takes_a_hostname(const PullRequestNews& news,
                                     const std::string& project) const {
  const auto environment = pull_request_environment(news.head.number());
  return by_name.contains(preview_label(environment, project));
}

void ProjectsState::receive_push(projects_actor::pointer self, const Push& push,
                                 PromiseGuard<PushReply> reply) {
  std::set<std::string> repositories;
  for (const auto& url : push.repository_urls) {
    if (!url.empty()) repositories.insert(normalized_repository(url));
  }
  std::vector<project_actor> receivers;
  std::optional<Error> absent;  // by a project whose next actor has not begun
  for (const auto& [project, id] : by_name) {
    const auto& entry = projects.at(id);
    const bool named =
        std::find(push.signed_for.begin(), push.signed_for.end(), project) != push.signed_for.end();
    const bool spoken_for = push.signed_for.empty() ? !entry.own_secret : named;
    if (!spoken_for || !is_of(push, repositories, entry)) continue;
    if (push.pull_request && takes_a_hostname(*push.pull_request, project)) continue;
    if (const auto receiver = actor_of(id)) {
      receivers.push_back(*receiver);
    } else {
      absent = receiver.error();
    }
  }
  if (receivers.empty()) return absent ? reply.fail(*absent) : reply.deliver(PushReply{});

  ATLAS_PROBE(receivers.size() > 1, "one push was for several projects");
  // All answers are awaited; one failure fails the delivery as a whole. The sender may deliver it
  // again: the projects that recorded it answer with a duplicate then.
  struct Gathering {
    PromiseGuard<PushReply> reply;
    PushReply answer;
    std::size_t missing;
    std::optional<Error> error;
  };
  auto gathering = std::make_shared<Gathering>(
      Gathering{std::move(reply), PushReply{}, receivers.size(), std::move(absent)});
  const auto arrived = [gathering] {
    if (--gathering->missing > 0) return;
    if (gathering->error) return gathering->reply.fail(*gathering->error);
    gathering->reply.deliver(std::move(gathering->answer));
  };
  for (const auto& receiver : receivers) {
    self->request(receiver, k_request_timeout, Intake{push})
        .then(
            [gathering, arrived](const IntakeReply& answer) {
              gathering->answer.receipts.push_back(answer.receipt);
              gathering->answer.position = std::max(gathering->answer.position, answer.position);
              arrived();
            },
            [gathering, arrived](const caf::error& error) {
              ATLAS_PROBE(true, "a push was not recorded, and its sender is told so");
              gathering->error = from_caf(error);
              arrived();
            });
  }
}

void ProjectsState::note_repository(Entry& entry, const pb::Event& event) {
  if (event.has_repository_identified()) {
    entry.repository_id = event.repository_identified().repository_id();
  } else if (event.has_repository_deleted()) {
    entry.repository_id = event.repository_deleted().repository_id();
  } else if (event.has_repository_moved()) {
    entry.repository_id = event.repository_moved().repository_id();
    entry.repository = normalized_repository(event.repository_moved().url());
  } else if (event.has_webhook_secret_set()) {
    entry.own_secret = !event.webhook_secret_set().sealed_ref().empty();
  }
}

void ProjectsState::on_records(projects_actor::pointer self, const RecordBatch& batch) {
  if (!begun) return early.push_back(batch);
  std::map<ProjectId, std::shared_ptr<std::vector<storage::Record>>> shares;
  for (const auto& record : *batch.records) {
    auto owner = project_of(record.stream);
    auto id = deployment_of(record.stream);
    if (record.event.has_invariant_violated()) {
      id = deployment_of(StreamId{record.event.invariant_violated().stream()});
    }
    if (!id.empty()) {
      if (const auto* push = push_of(record.event)) {
        owners[id] = ProjectId{push->project_id()};
      }
      const auto found = owners.find(id);
      if (found == owners.end()) continue;
      owner = found->second;
      if (ends_deployment(record.event)) owners.erase(found);
    }
    if (!projects.contains(owner)) continue;
    if (record.event.has_project_deleted()) by_name.erase(projects.at(owner).name);
    note_repository(projects.at(owner), record.event);
    auto& share = shares[owner];
    if (!share) share = std::make_shared<std::vector<storage::Record>>();
    share->push_back(record);
  }
#ifdef ATLAS_CANARY_UNORDERED_ITERATION
  // A canary (cmake/Canary.cmake): who is told first depends on where its share is in memory.
  std::map<std::uintptr_t, ProjectId> order;
  for (const auto& [id, share] : shares) {
    order[reinterpret_cast<std::uintptr_t>(share.get()) * 0x9E3779B97F4A7C15U] = id;
  }
  for (const auto& [hash, id] : order) {
    hand_on(self, id, std::move(shares.at(id)));
  }
#else
  for (auto& [id, share] : shares) {
    hand_on(self, id, std::move(share));
  }
#endif
}

void ProjectsState::hand_on(projects_actor::pointer self, const ProjectId& id,
                            std::shared_ptr<const std::vector<storage::Record>> records) {
  if (const auto* child = children.find(id)) {
    self->send(*child, RecordBatch{std::move(records)});
    return;
  }
  missed[id] = records->back().position;  // Its next actor reads them in the log.
}

void ProjectsState::on_down(projects_actor::pointer self, const caf::down_msg& down) {
  const auto end = children.on_down(down, wiring.clock->now());
  if (!end || end->orderly) return;
  log_event(LogLevel::error, "projects", "died",
            {{"project", projects.at(end->key).name},
             {"again_in_s", end->again_in_s()},
             {"reason", end->why}});
  if (end->at_once()) return go_on(self, end->key);
  ATLAS_PROBE(true, "a project's actor died again and again, and the next one waits");
  self->delayed_send(self, *end->again_in, GoOnWithProject{end->key});
}

void ProjectsState::go_on(projects_actor::pointer self, const ProjectId& id) {
  self->request(wiring.log_writer, caf::infinite, Settle{})
      .then(
          [this, self, id](const Settled&) {
            missed.erase(id);
            replay(self, id, std::make_shared<ProjectHistories>(), records_of(id), Position{1});
          },
          [this, self, id](const caf::error& error) {
            self->quit(to_caf(Error{ErrorCode::internal,
                                    "project " + projects.at(id).name + " cannot be read",
                                    to_string(from_caf(error))}));
          });
}

void ProjectsState::replay(projects_actor::pointer self, const ProjectId& id,
                           const std::shared_ptr<ProjectHistories>& histories, const IsWanted& only,
                           Position from) {
  read_log(
      self, wiring.log_reader, ReadLog{from, only},
      [histories](const storage::Record& record) { histories->apply(record); },
      [this, self, id, histories, only](Position next) {
        if (const auto newest = missed.find(id); newest != missed.end()) {
          const bool unread = newest->second >= next;
          missed.erase(newest);
          ATLAS_PROBE(unread, "a project's records came while its next actor was made of the log");
          if (unread) return replay(self, id, histories, only, next);
        }
        auto read = std::move(*histories).take();
        if (!read.contains(id))
          throw std::runtime_error("the log does not know project " + id.str());
        ATLAS_PROBE(true, "a project's actor died and another went on");
        log_event(LogLevel::warn, "projects", "restarted", {{"project", projects.at(id).name}});
        spawn_project(self, id, std::move(read.at(id)));
      });
}

projects_actor::behavior_type projects(projects_actor::stateful_pointer<ProjectsState> self,
                                       ProjectWiring wiring) {
  end_of_exceptions(self);
  self->state.wiring = std::move(wiring);
  self->set_down_handler([self](const caf::down_msg& down) { self->state.on_down(self, down); });
  return {[self](const BeginProjects& message) { self->state.begin(self, message); },
          [self](CreateProjectNow& message) -> caf::result<ProjectReply> {
            auto promise = self->make_response_promise<ProjectReply>();
            self->state.create(self, std::move(message), PromiseGuard<ProjectReply>(promise));
            return promise;
          },
          [self](CommandProject& message) -> caf::result<ProjectReply> {
            const auto receiver = self->state.named(message.name);
            if (!receiver) return to_caf(receiver.error());
            return self->delegate(*receiver, DecideProject{std::move(message.command), message.by});
          },
          [self](ReceivePushNow& message) -> caf::result<PushReply> {
            auto promise = self->make_response_promise<PushReply>();
            self->state.receive_push(self, message.push, PromiseGuard<PushReply>(promise));
            return promise;
          },
          [self](DeployNow& message) -> caf::result<PushReply> {
            auto promise = self->make_response_promise<PushReply>();
            auto reply =
                std::make_shared<PromiseGuard<PushReply>>(PromiseGuard<PushReply>(promise));
            const auto receiver = self->state.named(message.project);
            if (!receiver) {
              reply->fail(receiver.error());
              return promise;
            }
            self->request(*receiver, k_request_timeout, Intake{std::move(message.push)})
                .then(
                    [reply](const IntakeReply& answer) {
                      reply->deliver(PushReply{{answer.receipt}, answer.position});
                    },
                    [reply](const caf::error& error) { reply->fail(from_caf(error)); });
            return promise;
          },
          [self](ReuseNow& message) -> caf::result<IntakeReply> {
            const auto receiver = self->state.named(message.project);
            if (!receiver) return to_caf(receiver.error());
            return self->delegate(*receiver, std::move(message));
          },
          [self](ApproveNow& message) -> caf::result<IntakeReply> {
            const auto receiver = self->state.named(message.project);
            if (!receiver) return to_caf(receiver.error());
            return self->delegate(*receiver, std::move(message));
          },
          [self](const RecordBatch& batch) { self->state.on_records(self, batch); },
          [self](const GoOnWithProject& message) { self->state.go_on(self, message.id); }};
}

}  // namespace atlasflow::actors
