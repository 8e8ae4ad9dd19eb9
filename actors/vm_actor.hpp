// One microVM on one host: starts it, watches it, probes it, stops it. Blocks in the engine, so it
// has a thread of its own in production. Its host restarts it and repeats what was asked of it.
#pragma once

#include <optional>

#include "actors/outcome_sink.hpp"
#include "actors/support.hpp"

namespace atlasflow::actors {

using vm_actor = caf::typed_actor<
    // Starts the VM, or finds that it runs; the outcome is VMStarted or a failure.
    caf::reacts_to<StartVm, outcome_sink>,
    // Watches the VM from now on; its end goes to the sink, once.
    caf::reacts_to<KeepVm, outcome_sink>,
    // Probes until a 2xx or the deadline, at least once.
    caf::reacts_to<ProbeVm, outcome_sink>,
    // Stops the VM and ends this actor; the outcome is VMStopped.
    caf::reacts_to<StopVm, outcome_sink>,
    // To itself.
    caf::reacts_to<Tick>>;

struct VmActorState {
  VmEngine* engine = nullptr;
  Clock* clock = nullptr;
  std::string vm_id;
  struct Probing {
    ProbeVm request;
    outcome_sink sink;
    TimestampUs began = 0;
    std::int32_t probes = 0;
    ProbeObservation last;
  };
  std::optional<outcome_sink> keeper;
  std::optional<Probing> probing;
  bool ticking = false;
  const char* name = "vm";

  void start(vm_actor::pointer self, const StartVm& message, const outcome_sink& sink);
  void stop(vm_actor::pointer self, const StopVm& message, const outcome_sink& sink);
  void tick(vm_actor::pointer self);
  void schedule_tick(vm_actor::pointer self);
  void probe_once(vm_actor::pointer self);
};

[[nodiscard]] vm_actor::behavior_type vm(vm_actor::stateful_pointer<VmActorState> self,
                                         VmEngine* engine, Clock* clock, std::string vm_id);

}  // namespace atlasflow::actors
