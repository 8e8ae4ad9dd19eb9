// One microVM on one host: starts it, watches it, probes it, stops it. Blocks in the engine, so it
// has a thread of its own in production. Its host restarts it and repeats what was asked of it.
#pragma once

#include <optional>

#include "actors/runtime/outcome_sink.hpp"
#include "actors/runtime/support.hpp"

namespace atlasflow::actors {

using vm_actor = caf::typed_actor<
    // Starts the VM, or finds that it runs; the outcome is VMStarted or a failure.
    caf::reacts_to<StartVm, outcome_sink>,
    // Starts the VM for its command and waits for its end; the outcome is ReleaseSucceeded or a
    // failure. The VM is still to be stopped then.
    caf::reacts_to<RunRelease, outcome_sink>,
    // Watches the VM from now on: its end goes to the sink, once; and, once it has been healthy,
    // every change of its health.
    caf::reacts_to<KeepVm, outcome_sink>,
    // Probes until a 2xx or the deadline, at least once; with the health path "none" it is healthy
    // when it has run for 10 s.
    caf::reacts_to<ProbeVm, outcome_sink>,
    // Stops the VM and ends this actor; the outcome is VMStopped.
    caf::reacts_to<StopVm, outcome_sink>,
    // To itself.
    caf::reacts_to<Tick>>;

struct VmActorState {
  struct Probing {
    ProbeVm request;
    outcome_sink sink;
    TimestampUs began = 0;
    std::int32_t probes = 0;
    std::int32_t told_status = 0;  // the newest bad one that was told
    std::int32_t told = 0;         // how many were, and reasons of no answer
    std::string told_reason;       // the newest of these
    std::string reason;            // of no answer, as known now
    TimestampUs reason_since = 0;
    ProbeObservation last;
  };
  struct Keeping {
    KeepVm request;
    outcome_sink sink;
    std::int32_t failures = 0;  // in a row
    TimestampUs next_probe = 0;
  };
  struct Release {
    RunRelease request;
    outcome_sink sink;
    TimestampUs began = 0;
  };
  VmEngine* engine = nullptr;
  Clock* clock = nullptr;
  VmId vm_id;
  std::optional<Keeping> keeping;
  std::optional<Probing> probing;
  std::optional<Release> release;
  bool ticking = false;
  const char* name = "vm";

  void start(vm_actor::pointer self, const StartVm& message, const outcome_sink& sink);
  void run_release(vm_actor::pointer self, const RunRelease& message, const outcome_sink& sink);
  void stop(vm_actor::pointer self, const StopVm& message, const outcome_sink& sink);
  void tick(vm_actor::pointer self);
  void schedule_tick(vm_actor::pointer self);
  void probe_once(vm_actor::pointer self);
  void became_healthy(vm_actor::pointer self, std::int32_t status);
  void tell_problem(vm_actor::pointer self);
  void watch_health(vm_actor::pointer self);
  void look_at_release(vm_actor::pointer self, const VmObservation& observation);
};

[[nodiscard]] vm_actor::behavior_type vm(vm_actor::stateful_pointer<VmActorState> self,
                                         VmEngine* engine, Clock* clock, VmId vm_id);

}  // namespace atlasflow::actors
