// The builder pool: a bounded queue and the builders that take from it. A builder gets work only
// when it is idle; each task has a lease, and a builder that outlives its lease is replaced.
#pragma once

#include <deque>
#include <map>
#include <vector>

#include "actors/runtime/outcome_sink.hpp"
#include "actors/runtime/supervisor.hpp"

namespace atlasflow::actors {

using builder_actor = caf::typed_actor<
    // Runs one step of one deployment; blocks. Answers the pool with TaskDone.
    caf::reacts_to<RunTask>>;

using builder_pool_actor = caf::typed_actor<
    // Queues a step; its outcome goes to the sink. A step that is queued or running already is not
    // begun again: the sink replaces the earlier one.
    caf::reacts_to<SourceTask, outcome_sink>,
    // From a builder, which is idle from then on.
    caf::reacts_to<TaskDone>,
    // To itself.
    caf::reacts_to<LeaseExpired>, caf::reacts_to<ReplaceBuilder>,
    // Ends a queued or running step; its outcome still comes.
    caf::reacts_to<AbortTask>>;

struct BuilderPoolConfig {
  BuildEngine* engine = nullptr;
  Clock* clock = nullptr;
  int builders = 1;
  SpawnMode spawn;
};

// Builders are alike: what kills one may kill each, and must not keep the machine busy.
inline constexpr RestartPolicy k_builder_restarts{.counted = RestartPolicy::Counted::together,
                                                  .beyond = RestartPolicy::Beyond::pause};

struct BuilderPoolState {
  using BuilderNumber = std::uint64_t;
  struct Queued {
    SourceTask task;
    outcome_sink sink;
    bool aborted = false;
  };
  struct Leased {
    Queued work;
    BuilderNumber builder = 0;
    StopScope stop;
  };
  BuilderPoolConfig config;
  std::deque<Queued> queue;
  std::map<std::uint64_t, Leased> leases;
  std::vector<BuilderNumber> idle;
  Supervisor<BuilderNumber, builder_actor> builders{k_builder_restarts};
  BuilderNumber next_builder = 1;
  std::uint64_t next_lease = 1;
  const char* name = "builder_pool";

  void enqueue(builder_pool_actor::pointer self, SourceTask task, const outcome_sink& sink);
  void hand_out(builder_pool_actor::pointer self);
  void done(builder_pool_actor::pointer self, TaskDone message);
  void abort(builder_pool_actor::pointer self, const EffectId& effect);
  void on_down(builder_pool_actor::pointer self, const caf::down_msg& down);
  void lease_expired(builder_pool_actor::pointer self, std::uint64_t lease);
  // The builder is gone or hangs: its task, if any, fails as retryable, and another takes its
  // place.
  void lose(builder_pool_actor::pointer self, const ChildEnd<BuilderNumber>& end,
            const std::string& why);
  void fail_task(builder_pool_actor::pointer self, std::uint64_t lease, const std::string& why);
  void add_builder(builder_pool_actor::pointer self);
};

[[nodiscard]] builder_pool_actor::behavior_type builder_pool(
    builder_pool_actor::stateful_pointer<BuilderPoolState> self, BuilderPoolConfig config);

}  // namespace atlasflow::actors
