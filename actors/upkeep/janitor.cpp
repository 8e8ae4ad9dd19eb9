#include "actors/upkeep/janitor.hpp"

#include <algorithm>

#include "base/buggify.hpp"
#include "base/log.hpp"
#include "base/probe.hpp"
#include "events/deployment_events.hpp"
#include "storage/readmodel/retention.hpp"

namespace atlasflow::actors {
namespace {

using std::chrono::seconds;

constexpr seconds k_after_start{60};
constexpr seconds k_regularly{600};
constexpr seconds k_after_an_end{20};     // a project that is deleted ends several at once
constexpr seconds k_after_a_failure{1};   // before the step is tried again
constexpr auto k_catch_up = seconds(10);  // for the read model to reach the log's end

// Returns when the read model shows all that the log holds now.
Result<void> catch_up(const JanitorConfig& config) {
  const auto end = config.log->last_position();
  // Nobody else could bring the read model forward while we wait where all run on one thread.
  const auto patience = config.spawn.detach_blocking ? k_catch_up : seconds(0);
  if (config.catalog->wait_for(end, patience)) return {};
  ATLAS_PROBE(true, "the janitor gave up, the read model being behind the log");
  return fail(ErrorCode::unavailable, "the read model is behind the log");
}

// Taken while the engine is at rest: what it has made by now has an intent in the log, and the read
// model shows that. A deployment that is not in there yet cannot have made anything.
Result<Keep> keep_now(const JanitorConfig& config) {
  ATLAS_TRYV(catch_up(config));
  ATLAS_TRY(auto kept, storage::retention_of(*config.catalog, config.rollbacks));
  return Keep{std::move(kept.image_references), std::move(kept.image_ids),
              std::move(kept.unfinished), std::move(kept.projects)};
}

// A value is sealed before the event that names it is recorded, which may take as long as the disk
// is full. So only what the log names can have become needless, or what an earlier process left: no
// event of that can still come.
Result<std::vector<std::string>> collect_values(const JanitorConfig& config) {
  ATLAS_TRYV(catch_up(config));
  auto refs = config.secrets->refs();
  if (!refs) return refs;
  ATLAS_TRY(const auto values, storage::sealed_values_of(*config.catalog, config.rollbacks));
  const auto& before = config.sealed_before;
  std::erase_if(*refs, [&](const std::string& ref) {
    const bool known = values.named.contains(ref) || std::ranges::binary_search(before, ref);
    return !known || values.needed.contains(ref);
  });
  // Also with nothing to remove: an earlier call's sync may have failed.
  ATLAS_TRYV(config.secrets->remove(*refs));
  return refs;
}

void report(const char* what, const HostId& host, const Result<std::vector<std::string>>& removed) {
  if (!removed) {
    // A build that runs for long or an engine that stops: the next look comes anyway.
    const bool is_busy = removed.error().code == ErrorCode::unavailable;
    log_event(is_busy ? LogLevel::info : LogLevel::warn, "janitor", "not_collected",
              {{"what", what}, {"host", host}, {"error", to_string(removed.error())}});
    return;
  }
  for (const auto& name : *removed) {
    log_event("janitor", "collected", {{"what", what}, {"host", host}, {"name", name}});
  }
}

collector_actor::behavior_type collector(collector_actor::pointer self,
                                         const JanitorConfig& config) {
  end_of_exceptions(self);
  return {[self, config](const RunCollect& message) {
    const KeepSource keep = [&config] { return keep_now(config); };
    report("images", HostId{}, config.build->collect_images(keep, message.stop));
    for (const auto& [host, engine] : config.hosts) {
      if (message.stop.stop_requested()) break;
      report("disks", host, engine->collect_disks(keep, message.stop));
    }
    report("sealed values", HostId{}, collect_values(config));
    self->quit();
  }};
}

// A value that was set took the place of another.
bool leaves_something(const pb::Event& event) {
  return ends_deployment(event) || event.has_project_deleted() || event.has_env_set() ||
         event.has_env_unset() || event.has_build_secret_set() || event.has_build_secret_unset() ||
         event.has_notify_secret_set() || event.has_webhook_secret_set() ||
         event.has_deploy_key_set() || event.has_deploy_key_removed() ||
         event.has_repository_login_set() || event.has_repository_login_removed();
}

bool is_failure_of_the_machine(const pb::Event& event) {
  return (event.has_clone_failed() && event.clone_failed().fault() == pb::FAULT_SYSTEM) ||
         (event.has_build_failed() && event.build_failed().fault() == pb::FAULT_SYSTEM) ||
         (event.has_image_push_failed() && event.image_push_failed().fault() == pb::FAULT_SYSTEM) ||
         (event.has_release_failed() && event.release_failed().fault() == pb::FAULT_SYSTEM) ||
         (event.has_vm_start_failed() && event.vm_start_failed().fault() == pb::FAULT_SYSTEM);
}

}  // namespace

void JanitorState::arm(janitor_actor::pointer self, seconds delay) {
  self->delayed_send(self, delay, CollectDue{++armed});
}

void JanitorState::ask(janitor_actor::pointer self, seconds delay) {
  ATLAS_PROBE(collector, "the janitor was asked while it looked");
  if (collector) {
    again = true;
    return;
  }
  // Not put off by what comes after: a busy server would never look.
  if (soon) return;
  soon = true;
  arm(self, ATLAS_BUGGIFY("the janitor looks at once") ? seconds(0) : delay);
}

void JanitorState::look(janitor_actor::pointer self) {
  if (collector) {
    again = true;
    return;
  }
  ++armed;  // what is under way as a message is of before
  soon = false;
  again = false;
  stop = StopScope{};
  collector = spawn_blocking(self, config.spawn, actors::collector, config);
  self->monitor(*collector);
  self->send(*collector, RunCollect{stop.get_token()});
}

void JanitorState::done(janitor_actor::pointer self) {
  collector = {};
  if (again) {
    again = false;
    ask(self, k_after_an_end);
  } else {
    arm(self, k_regularly);
  }
}

janitor_actor::behavior_type janitor(janitor_actor::stateful_pointer<JanitorState> self,
                                     const JanitorConfig& config) {
  end_of_exceptions(self);
  self->state.config = config;
  self->set_down_handler([self](const caf::down_msg& down) {
    if (self->state.collector.address() != down.source) return;
    if (down.reason != caf::exit_reason::normal) {
      ATLAS_PROBE(true, "the janitor's collector died");
      log_event(LogLevel::error, "janitor", "collector_died",
                {{"reason", to_string(from_caf(down.reason))}});
    }
    self->state.done(self);
  });
  self->state.arm(self, k_after_start);
  return {[self](const CollectSoon&) { self->state.ask(self, k_after_an_end); },
          [self](const CollectDue& message) {
            if (message.number == self->state.armed) self->state.look(self);
          },
          [self](const CollectNow&) { self->state.look(self); },
          [self](const RecordBatch& batch) {
            for (const auto& record : *batch.records) {
              if (is_failure_of_the_machine(record.event)) {
                self->state.ask(self, k_after_a_failure);
              } else if (leaves_something(record.event)) {
                self->state.ask(self, k_after_an_end);
              }
            }
          }};
}

}  // namespace atlasflow::actors
