// The VM hosts: vm_hosts places VMs by free memory, knows which host has which, and gives up the
// VMs of a host that is lost; a vm_host has one actor per VM, restarts it when it dies and repeats
// what the VM's deployment asked for.
#pragma once

#include <map>
#include <optional>
#include <string>

#include "actors/hosts/vm_actor.hpp"
#include "actors/runtime/supervisor.hpp"

namespace atlasflow::actors {

using vm_host_actor = caf::typed_actor<
    // As in vm_actor.hpp, for the VM that the message names.
    caf::reacts_to<StartVm, outcome_sink>, caf::reacts_to<RunRelease, outcome_sink>,
    caf::reacts_to<KeepVm, outcome_sink>, caf::reacts_to<ProbeVm, outcome_sink>,
    caf::reacts_to<StopVm, outcome_sink>,
    // Ends a start or a release command that is under way; its outcome still comes.
    caf::reacts_to<AbortVm>,
    // To itself.
    caf::reacts_to<GoOnWithVm>, caf::reacts_to<StopOverdue>>;

using vm_hosts_actor = caf::typed_actor<
    // Chooses the host with the most free memory; the outcome is VMPlaced or a retryable failure.
    caf::reacts_to<PlaceVm, outcome_sink>,
    // As in vm_actor.hpp, on the host that the message names.
    caf::reacts_to<StartVm, outcome_sink>, caf::reacts_to<KeepVm, outcome_sink>,
    caf::reacts_to<ProbeVm, outcome_sink>, caf::reacts_to<StopVm, outcome_sink>,
    caf::reacts_to<AbortVm>,
    // On the host that is up and has the most free memory.
    caf::reacts_to<RunRelease, outcome_sink>,
    // From a host, of a VM that was to stop.
    caf::reacts_to<VmLeft>,
    // From a host's watch: whoever has a VM on a lost one is told with VmHostGone.
    caf::reacts_to<HostSeen>>;

// Asks a host whether it is there, every 5 s; blocks in the engine.
using host_watch_actor = caf::typed_actor<caf::reacts_to<Tick>>;

struct VmHostConfig {
  vm_hosts_actor hosts;  // told of each VM that has left
  HostId host;
  VmEngine* engine = nullptr;
  Clock* clock = nullptr;
  SpawnMode spawn;
};

struct VmHostsConfig {
  std::map<HostId, VmEngine*> engines;  // at least one
  Clock* clock = nullptr;
  SpawnMode spawn;
};

// What a VM's actor does may fail again and again: one VM's trouble is nobody else's.
inline constexpr RestartPolicy k_vm_restarts{.beyond = RestartPolicy::Beyond::pause};

struct VmHostState {
  template <typename Message>
  struct Asked {
    Message message;
    outcome_sink sink;
  };
  struct Entry {
    StopScope stop_start;
    std::optional<Asked<StartVm>> start;
    std::optional<Asked<RunRelease>> release;
    std::optional<Asked<KeepVm>> keep;
    std::optional<Asked<ProbeVm>> probe;
    std::optional<Asked<StopVm>> stop;
    int stops = 0;  // asked of this actor
  };
  VmHostConfig config;
  std::map<VmId, Entry> vms;
  Supervisor<VmId, vm_actor> actors{k_vm_restarts};
  const char* name = "vm_host";

  Entry& entry(vm_host_actor::pointer self, const VmId& vm_id);
  void start_actor(vm_host_actor::pointer self, const VmId& vm_id);
  // To the VM's actor; one that waits to be started again is told by go_on() then.
  template <typename Message>
  void tell(vm_host_actor::pointer self, const VmId& vm_id, Message message,
            const outcome_sink& sink);
  void on_down(vm_host_actor::pointer self, const caf::down_msg& down);
  // Starts the VM's next actor and repeats what was asked of the one before.
  void go_on(vm_host_actor::pointer self, const VmId& vm_id);
  void give_up_stop(vm_host_actor::pointer self, const StopOverdue& message);
  void forget(vm_host_actor::pointer self, const VmId& vm_id);
};

struct VmHostsState {
  struct Tenant {
    std::int64_t memory_mib = 0;
    outcome_sink sink;
    bool leaving = false;  // it is being stopped, and has its memory until it is gone
  };
  struct Host {
    Child<vm_host_actor> handle;
    Child<host_watch_actor> watch;
    std::int64_t memory_mib = 0;
    bool up = true;
    std::map<VmId, Tenant> tenants;
    [[nodiscard]] std::int64_t free_mib() const;
  };
  VmHostsConfig config;
  std::map<HostId, Host> hosts;
  const char* name = "vm_hosts";

  void place(vm_hosts_actor::pointer self, const PlaceVm& message, const outcome_sink& sink);
  void start(vm_hosts_actor::pointer self, const StartVm& message, const outcome_sink& sink);
  void run_release(vm_hosts_actor::pointer self, const RunRelease& message,
                   const outcome_sink& sink);
  void stop(vm_hosts_actor::pointer self, const StopVm& message, const outcome_sink& sink);
  void seen(vm_hosts_actor::pointer self, const HostSeen& message);
  void watch(vm_hosts_actor::pointer self, const HostId& host_name);
  void on_down(vm_hosts_actor::pointer self, const caf::down_msg& down);
  // The host of that name; one that has left the configuration had VMs that are the first one's to
  // clear.
  [[nodiscard]] Host& named(const HostId& host);
  [[nodiscard]] Host& holding(const VmId& vm_id, const HostId& host);
};

[[nodiscard]] vm_host_actor::behavior_type vm_host(
    vm_host_actor::stateful_pointer<VmHostState> self, VmHostConfig config);
[[nodiscard]] vm_hosts_actor::behavior_type vm_hosts(
    vm_hosts_actor::stateful_pointer<VmHostsState> self, VmHostsConfig config);

}  // namespace atlasflow::actors
