// The VM hosts: vm_hosts places VMs by free memory and knows which host has which; a vm_host has
// one actor per VM, restarts it when it dies and repeats what the VM's deployment asked for.
#pragma once

#include <map>
#include <optional>
#include <string>

#include "actors/vm_actor.hpp"

namespace atlasflow::actors {

using vm_host_actor = caf::typed_actor<
    // As in vm_actor.hpp, for the VM that the message names.
    caf::reacts_to<StartVm, outcome_sink>, caf::reacts_to<KeepVm, outcome_sink>,
    caf::reacts_to<ProbeVm, outcome_sink>, caf::reacts_to<StopVm, outcome_sink>,
    // Ends a start that is under way; its outcome still comes.
    caf::reacts_to<AbortVm>>;

using vm_hosts_actor = caf::typed_actor<
    // Chooses a host with enough free memory; the outcome is VMPlaced or a retryable failure.
    caf::reacts_to<PlaceVm, outcome_sink>,
    // As in vm_actor.hpp, on the host that the message names.
    caf::reacts_to<StartVm, outcome_sink>, caf::reacts_to<KeepVm, outcome_sink>,
    caf::reacts_to<ProbeVm, outcome_sink>, caf::reacts_to<StopVm, outcome_sink>,
    caf::reacts_to<AbortVm>>;

struct VmHostConfig {
  VmEngine* engine = nullptr;
  Clock* clock = nullptr;
  SpawnMode spawn;
};

struct VmHostState {
  template <typename Message>
  struct Asked {
    Message message;
    outcome_sink sink;
  };
  struct Entry {
    vm_actor handle;
    std::stop_source stop_start;
    std::optional<Asked<StartVm>> start;
    std::optional<Asked<KeepVm>> keep;
    std::optional<Asked<ProbeVm>> probe;
    std::optional<Asked<StopVm>> stop;
    RestartLimit restarts;
  };
  VmHostConfig config;
  std::map<std::string, Entry> vms;
  const char* name = "vm_host";

  Entry& entry(vm_host_actor::pointer self, const std::string& vm_id);
  void on_down(vm_host_actor::pointer self, const caf::down_msg& down);
};

struct VmHostsState {
  struct Host {
    vm_host_actor handle;
    std::int64_t memory_mib = 0;
    std::map<std::string, std::int64_t> reserved;  // vm_id -> MiB
  };
  Clock* clock = nullptr;
  std::map<std::string, Host> hosts;
  const char* name = "vm_hosts";

  void place(vm_hosts_actor::pointer self, const PlaceVm& message, const outcome_sink& sink);
};

[[nodiscard]] vm_host_actor::behavior_type vm_host(
    vm_host_actor::stateful_pointer<VmHostState> self, VmHostConfig config);
// With one host, "local", over the engine.
[[nodiscard]] vm_hosts_actor::behavior_type vm_hosts(
    vm_hosts_actor::stateful_pointer<VmHostsState> self, VmHostConfig config);

}  // namespace atlasflow::actors
