#include "actors/builders/builder_pool.hpp"

#include <algorithm>

#include "base/buggify.hpp"
#include "base/log.hpp"
#include "base/probe.hpp"

namespace atlasflow::actors {

Failed failure_of(const EffectId& effect, pb::Step step, const Error& error) {
  Failed failed;
  failed.effect = effect;
  failed.step = step;
  failed.reason = to_string(error);
  failed.exit_code = error.exit_code;
  failed.fault = pb::FAULT_SYSTEM;
  switch (error.code) {
    case ErrorCode::invalid_argument:
    case ErrorCode::unauthorized:
    case ErrorCode::not_found:
    case ErrorCode::too_large:
    case ErrorCode::user_error:
      failed.fault = pb::FAULT_USER;
      break;
    case ErrorCode::timed_out:
      // A build that takes too long is the user's; anything else that does may go better next time.
      failed.timed_out = true;
      failed.fault = step == pb::STEP_BUILD ? pb::FAULT_USER : pb::FAULT_SYSTEM;
      failed.retryable = step != pb::STEP_BUILD;
      break;
    case ErrorCode::no_capacity:
      failed.no_capacity = true;
      failed.retryable = true;
      break;
    default:  // cancelled too: nobody but us cancels, and without a CancelRequested it is done
              // again
      failed.retryable = true;
      break;
  }
  return failed;
}

namespace {

constexpr std::size_t k_queue_max = 1000;
// How much longer than its deadline a task may take before its builder counts as hung.
constexpr auto k_lease_grace = std::chrono::seconds(60);
// Steps without a deadline of their own: an image push.
constexpr auto k_default_lease = std::chrono::minutes(15);

pb::Step step_of(SourceStep step) {
  switch (step) {
    case SourceStep::clone:
      return pb::STEP_CLONE;
    case SourceStep::build:
      return pb::STEP_BUILD;
    case SourceStep::push_image:
      return pb::STEP_PUSH_IMAGE;
    case SourceStep::forget_checkout:
      break;
  }
  return pb::STEP_UNSPECIFIED;
}

// Runs the step on the engine: blocks.
DeploymentCommand run_step(BuildEngine& engine, const SourceTask& task,
                           const std::stop_token& stop) {
  Succeeded succeeded;
  succeeded.effect = task.job.effect;
  Error error;
  const auto keep = [&](auto result, auto* destination) {
    if (!result) {
      error = result.error();
      return false;
    }
    *destination = std::move(*result);
    return true;
  };
  bool ok = false;
  switch (task.step) {
    case SourceStep::clone:
      ok = keep(engine.clone(task.job, stop), succeeded.outcome.mutable_cloned());
      break;
    case SourceStep::build:
      ok = keep(engine.build(task.job, stop), succeeded.outcome.mutable_built());
      break;
    case SourceStep::push_image:
      ok = keep(engine.push(task.image_id, task.job.store, stop),
                succeeded.outcome.mutable_image_pushed());
      break;
    case SourceStep::forget_checkout:
      engine.forget(task.job.deployment);
      ok = true;
      break;
  }
  if (!ok) return failure_of(task.job.effect, step_of(task.step), error);
  return succeeded;
}

builder_actor::behavior_type builder(builder_actor::pointer self, const builder_pool_actor& pool,
                                     BuildEngine* engine) {
  end_of_exceptions(self);
  return {[self, pool, engine](const RunTask& message) {
    self->send(pool, TaskDone{message.lease, run_step(*engine, message.task, message.stop)});
  }};
}

Failed cancelled_failure(const SourceTask& task) {
  return failure_of(task.job.effect, step_of(task.step),
                    Error{ErrorCode::cancelled, "cancelled", ""});
}

}  // namespace

void BuilderPoolState::enqueue(builder_pool_actor::pointer self, SourceTask task,
                               const outcome_sink& sink) {
  for (auto& queued : queue) {
    if (queued.task.job.effect == task.job.effect && queued.task.step == task.step) {
      ATLAS_PROBE(true, "a step was asked for again while it was queued");
      queued.sink = sink;
      return;
    }
  }
  for (auto& [lease, leased] : leases) {
    if (leased.work.task.job.effect == task.job.effect && leased.work.task.step == task.step) {
      ATLAS_PROBE(true, "a step was asked for again while it ran");
      leased.work.sink = sink;
      return;
    }
  }
  if (queue.size() >= k_queue_max) {
    ATLAS_PROBE(true, "the builders' queue was full");
    const Error full{ErrorCode::unavailable, "the builders' queue is full; it is tried again", ""};
    self->send(sink, Deliver{failure_of(task.job.effect, step_of(task.step), full)});
    return;
  }
  queue.push_back({std::move(task), sink, false});
  hand_out(self);
}

void BuilderPoolState::hand_out(builder_pool_actor::pointer self) {
  while (!queue.empty() && !idle.empty()) {
    if (ATLAS_BUGGIFY("the builder that was idle for the longest gets the work")) {
      std::rotate(idle.begin(), idle.begin() + 1, idle.end());
    }
    if (ATLAS_BUGGIFY("the step that was asked for last is the next to be built")) {
      std::rotate(queue.begin(), queue.end() - 1, queue.end());
    }
    const auto number = idle.back();
    idle.pop_back();
    const auto lease = next_lease++;
    auto& leased = leases[lease];
    leased.work = std::move(queue.front());
    queue.pop_front();
    leased.builder = number;
    const auto remaining = leased.work.task.job.remaining;
    const auto limit = remaining.count() > 0
                           ? std::chrono::duration_cast<std::chrono::seconds>(remaining)
                           : std::chrono::duration_cast<std::chrono::seconds>(k_default_lease);
    self->send(*builders.find(number), RunTask{leased.work.task, leased.stop.get_token(), lease});
    self->delayed_send(self, limit + k_lease_grace, LeaseExpired{lease});
  }
}

void BuilderPoolState::done(builder_pool_actor::pointer self, TaskDone message) {
  const auto found = leases.find(message.lease);
  ATLAS_PROBE(found == leases.end(), "a builder came back after it was given up");
  if (found == leases.end()) return;  // A builder that came back after it was given up.
  const auto& leased = found->second;
  if (leased.work.task.step != SourceStep::forget_checkout) {
    self->send(leased.work.sink, Deliver{std::move(message.outcome)});
  }
  idle.push_back(leased.builder);
  leases.erase(found);
  hand_out(self);
}

void BuilderPoolState::abort(builder_pool_actor::pointer self, const EffectId& effect) {
  for (auto it = queue.begin(); it != queue.end(); ++it) {
    if (it->task.job.effect == effect) {
      ATLAS_PROBE(true, "a step was aborted before a builder had it");
      self->send(it->sink, Deliver{cancelled_failure(it->task)});
      queue.erase(it);
      return;
    }
  }
  for (auto& [lease, leased] : leases) {
    if (leased.work.task.job.effect != effect) continue;
    ATLAS_PROBE(true, "a step was aborted while a builder ran it");
    leased.stop.request_stop();
  }
}

void BuilderPoolState::on_down(builder_pool_actor::pointer self, const caf::down_msg& down) {
  const auto end = builders.on_down(down, config.clock->now());
  if (end) lose(self, *end, "it died");
}

void BuilderPoolState::lease_expired(builder_pool_actor::pointer self, std::uint64_t lease) {
  const auto found = leases.find(lease);
  ATLAS_PROBE(found != leases.end(), "a lease ended before its builder answered");
  if (found == leases.end()) return;
  const std::string why = "it did not answer within its lease";
  lose(self, builders.give_up(found->second.builder, why, config.clock->now()), why);
}

void BuilderPoolState::fail_task(builder_pool_actor::pointer self, std::uint64_t lease,
                                 const std::string& why) {
  const auto leased = std::move(leases.extract(lease).mapped());
  log_event(LogLevel::warn, "builder_pool", "builder_lost",
            {{"effect", leased.work.task.job.effect.str()}, {"reason", why}});
  if (leased.work.task.step != SourceStep::forget_checkout) {
    const Error lost{ErrorCode::unavailable, "the builder was lost: " + why, ""};
    auto failed = failure_of(leased.work.task.job.effect, step_of(leased.work.task.step), lost);
    failed.lost_builder = "lease-" + std::to_string(lease);
    self->send(leased.work.sink, Deliver{std::move(failed)});
  }
}

void BuilderPoolState::lose(builder_pool_actor::pointer self, const ChildEnd<BuilderNumber>& end,
                            const std::string& why) {
  ATLAS_PROBE(true, "a builder was lost");
  std::erase(idle, end.key);
  const auto found = std::find_if(leases.begin(), leases.end(),
                                  [&](const auto& item) { return item.second.builder == end.key; });
  if (found != leases.end()) fail_task(self, found->first, why);
  if (!end.at_once()) {
    ATLAS_PROBE(true, "builders died again and again, and the next one waits");
    log_event(LogLevel::error, "builder_pool", "builders_die_too_often",
              {{"again_in_s", end.again_in_s()}});
    self->delayed_send(self, *end.again_in, ReplaceBuilder{});
    return;
  }
  add_builder(self);
  hand_out(self);
}

void BuilderPoolState::add_builder(builder_pool_actor::pointer self) {
  idle.push_back(next_builder);
  builders.hold(
      self, next_builder++,
      spawn_blocking(self, config.spawn, builder, builder_pool_actor{self}, config.engine));
}

builder_pool_actor::behavior_type builder_pool(
    builder_pool_actor::stateful_pointer<BuilderPoolState> self, BuilderPoolConfig config) {
  end_of_exceptions(self);
  self->state.config = config;
  self->set_down_handler([self](const caf::down_msg& down) { self->state.on_down(self, down); });
  for (int i = 0; i < config.builders; ++i) self->state.add_builder(self);
  return {[self](SourceTask& task, const outcome_sink& sink) {
            self->state.enqueue(self, std::move(task), sink);
          },
          [self](TaskDone& message) { self->state.done(self, std::move(message)); },
          [self](const LeaseExpired& message) { self->state.lease_expired(self, message.lease); },
          [self](const ReplaceBuilder&) {
            self->state.add_builder(self);
            self->state.hand_out(self);
          },
          [self](const AbortTask& message) { self->state.abort(self, message.effect); }};
}

}  // namespace atlasflow::actors
