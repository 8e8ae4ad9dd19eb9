#include "actors/hosts/vm_hosts.hpp"

#include <numeric>

#include "base/buggify.hpp"
#include "base/log.hpp"
#include "base/probe.hpp"

namespace atlasflow::actors {
namespace {

constexpr auto k_ping_period = std::chrono::seconds(5);
constexpr int k_silences_until_lost = 3;
// Of a stop beyond the grace of its app: the longest that a start takes to hear that it is
// cancelled, and QEMU to die. What has not ended by then may never.
constexpr auto k_stop_patience = std::chrono::minutes(2);

struct HostWatchState {
  int silences = 0;
  bool up = true;
  const char* name = "host_watch";
};

host_watch_actor::behavior_type host_watch(host_watch_actor::stateful_pointer<HostWatchState> self,
                                           const vm_hosts_actor& hosts, const HostId& host,
                                           VmEngine* engine, bool was_up) {
  self->state.up = was_up;
  end_of_exceptions(self);
  self->delayed_send(self, k_ping_period, Tick{});
  return {[self, hosts, host, engine](const Tick&) {
    auto& state = self->state;
    state.silences = engine->ping() ? 0 : state.silences + 1;
    const bool up = state.silences < k_silences_until_lost;
    if (up != state.up && (!up || state.silences == 0)) {
      state.up = up;
      self->send(hosts, HostSeen{host, up});
    }
    self->delayed_send(self, k_ping_period, Tick{});
  }};
}

}  // namespace

VmHostState::Entry& VmHostState::entry(vm_host_actor::pointer self, const VmId& vm_id) {
  const auto [found, fresh] = vms.try_emplace(vm_id);
  if (fresh) start_actor(self, vm_id);
  return found->second;
}

void VmHostState::start_actor(vm_host_actor::pointer self, const VmId& vm_id) {
  actors.hold(self, vm_id,
              spawn_blocking(self, config.spawn, vm, config.engine, config.clock, vm_id));
}

template <typename Message>
void VmHostState::tell(vm_host_actor::pointer self, const VmId& vm_id, Message message,
                       const outcome_sink& sink) {
  if (const auto* handle = actors.find(vm_id)) self->send(*handle, std::move(message), sink);
}

void VmHostState::on_down(vm_host_actor::pointer self, const caf::down_msg& down) {
  const auto end = actors.on_down(down, config.clock->now());
  if (!end) return;
  const auto& vm_id = end->key;
  // It ends with the first stop that it has done. A second one that was on its way, from a
  // deployment's next actor, is still to be answered.
  const bool unanswered = end->orderly && vms.at(vm_id).stops > 1;
  ATLAS_PROBE(unanswered, "a VM was to be stopped again while its actor ended");
  if (end->orderly && !unanswered) return forget(self, vm_id);
  log_event(LogLevel::warn, "vm_host", "vm_actor_died",
            {{"vm", vm_id.str()}, {"again_in_s", end->again_in_s()}, {"reason", end->why}});
  if (end->at_once()) return go_on(self, vm_id);
  ATLAS_PROBE(true, "a VM's actor died again and again, and the next one waits");
  self->delayed_send(self, *end->again_in, GoOnWithVm{vm_id});
}

void VmHostState::go_on(vm_host_actor::pointer self, const VmId& vm_id) {
  const auto found = vms.find(vm_id);
  if (found == vms.end()) return;
  auto& entry = found->second;
  if (actors.find(vm_id) != nullptr) return;
  ATLAS_PROBE(true, "a VM's actor died and another went on");
  start_actor(self, vm_id);
  if (entry.stop) {
    entry.stops = 1;
    return tell(self, vm_id, entry.stop->message, entry.stop->sink);
  }
  if (entry.start) tell(self, vm_id, entry.start->message, entry.start->sink);
  if (entry.release) tell(self, vm_id, entry.release->message, entry.release->sink);
  if (entry.keep) tell(self, vm_id, entry.keep->message, entry.keep->sink);
  if (entry.probe) tell(self, vm_id, entry.probe->message, entry.probe->sink);
}

void VmHostState::forget(vm_host_actor::pointer self, const VmId& vm_id) {
  self->send(config.hosts, VmLeft{config.host, vm_id});
  actors.let_go(vm_id);
  vms.erase(VmId(vm_id));  // a copy: it may be the key
}

// The engine fails to end it again and again, or does not come back at all. Its deployment has no
// more to say in it: who compares what runs with the log tries on.
void VmHostState::give_up_stop(vm_host_actor::pointer self, const StopOverdue& message) {
  const auto found = vms.find(message.vm_id);
  if (found == vms.end() || !found->second.stop) return;
  const auto& asked = *found->second.stop;
  if (asked.message.effect != message.effect) return;
  ATLAS_PROBE(true, "a VM's stop was given up");
  log_event(LogLevel::error, "vm_host", "stop_overdue",
            {{"host", config.host.str()},
             {"vm", message.vm_id.str()},
             {"hint", "it is ended as an orphan once that is possible; look at its process"}});
  Succeeded succeeded;
  succeeded.effect = message.effect;
  auto* stopped = succeeded.outcome.mutable_vm_stopped();
  stopped->set_vm_id(message.vm_id.str());
  stopped->set_exit_code(-1);
  stopped->set_overdue("the microVM " + message.vm_id.str() + " on host " + config.host.str() +
                       " did not end in time and may still run; it is tried again");
  self->send(asked.sink, Deliver{std::move(succeeded)});
  forget(self, message.vm_id);
}

vm_host_actor::behavior_type vm_host(vm_host_actor::stateful_pointer<VmHostState> self,
                                     VmHostConfig config) {
  end_of_exceptions(self);
  self->state.config = std::move(config);
  self->set_down_handler([self](const caf::down_msg& down) { self->state.on_down(self, down); });
  return {[self](StartVm& message, const outcome_sink& sink) {
            auto& entry = self->state.entry(self, message.job.vm_id);
            message.stop = entry.stop_start.get_token();
            entry.start = {message, sink};
            self->state.tell(self, entry.start->message.job.vm_id, std::move(message), sink);
          },
          [self](RunRelease& message, const outcome_sink& sink) {
            auto& entry = self->state.entry(self, message.job.vm_id);
            message.stop = entry.stop_start.get_token();
            entry.release = {message, sink};
            self->state.tell(self, entry.release->message.job.vm_id, std::move(message), sink);
          },
          [self](const KeepVm& message, const outcome_sink& sink) {
            auto& entry = self->state.entry(self, message.vm_id);
            entry.start.reset();  // Its outcome has arrived, or KeepVm would not be owed.
            entry.keep = {message, sink};
            self->state.tell(self, message.vm_id, message, sink);
          },
          [self](const ProbeVm& message, const outcome_sink& sink) {
            auto& entry = self->state.entry(self, message.vm_id);
            entry.probe = {message, sink};
            self->state.tell(self, message.vm_id, message, sink);
          },
          [self](const StopVm& message, const outcome_sink& sink) {
            auto& entry = self->state.entry(self, message.vm_id);
            entry.stop_start.request_stop();
            entry.stop = {message, sink};
            ++entry.stops;
            self->state.tell(self, message.vm_id, message, sink);
            self->delayed_send(self, std::chrono::microseconds(message.grace_us) + k_stop_patience,
                               StopOverdue{message.effect, message.vm_id});
          },
          [self](const GoOnWithVm& message) { self->state.go_on(self, message.vm_id); },
          [self](const AbortVm& message) {
            const auto found = self->state.vms.find(vm_of(message.effect));
            if (found != self->state.vms.end()) found->second.stop_start.request_stop();
          },
          [self](const StopOverdue& message) { self->state.give_up_stop(self, message); }};
}

std::int64_t VmHostsState::Host::free_mib() const {
  return std::accumulate(
      tenants.begin(), tenants.end(), memory_mib,
      [](std::int64_t left, const auto& item) { return left - item.second.memory_mib; });
}

VmHostsState::Host& VmHostsState::named(const HostId& host) {
  const auto found = hosts.find(host);
  return found == hosts.end() ? hosts.begin()->second : found->second;
}

VmHostsState::Host& VmHostsState::holding(const VmId& vm_id, const HostId& host) {
  for (auto& [host_name, candidate] : hosts) {
    if (candidate.tenants.contains(vm_id)) return candidate;
  }
  return named(host);
}

void VmHostsState::place(vm_hosts_actor::pointer self, const PlaceVm& message,
                         const outcome_sink& sink) {
  const bool first = ATLAS_BUGGIFY("a VM is placed on the first host that has room for it");
  const HostId* best = nullptr;
  std::int64_t largest_mib = 0;
  for (const auto& [host_name, host] : hosts) {
    largest_mib = std::max(largest_mib, host.memory_mib);
    if (!host.up || host.free_mib() < message.memory_mib) continue;
    if (best != nullptr && (first || hosts.at(*best).free_mib() >= host.free_mib())) continue;
    best = &host_name;
  }
  if (best != nullptr) {
    Succeeded succeeded;
    succeeded.effect = message.effect;
    succeeded.outcome.mutable_vm_placed()->set_host(best->str());
    self->send(sink, Deliver{std::move(succeeded)});
    return;
  }
  const auto wanted = std::to_string(message.memory_mib) + " MiB of memory";
  if (largest_mib < message.memory_mib) {
    ATLAS_PROBE(true, "a VM was to have more memory than any host has");
    const Error never{ErrorCode::user_error,
                      "no VM host has " + wanted + ", the largest has " +
                          std::to_string(largest_mib) + " MiB: lower memory_mib",
                      ""};
    self->send(sink, Deliver{failure_of(message.effect, pb::STEP_START_VM, never)});
    return;
  }
  ATLAS_PROBE(true, "no host had memory for a VM");
  const Error full{ErrorCode::no_capacity, "no VM host has " + wanted + " free", ""};
  self->send(sink, Deliver{failure_of(message.effect, pb::STEP_START_VM, full)});
}

void VmHostsState::watch(vm_hosts_actor::pointer self, const HostId& host_name) {
  auto& host = hosts.at(host_name);
  host.watch = spawn_blocking(self, config.spawn, host_watch, vm_hosts_actor{self}, host_name,
                              config.engines.at(host_name), host.up);
  self->monitor(*host.watch);
}

// A watch holds nothing but what it saw last, and begins with a pause. A host's directory holds
// what was asked of its VMs, so all begins anew.
void VmHostsState::on_down(vm_hosts_actor::pointer self, const caf::down_msg& down) {
  const auto watched = std::find_if(hosts.begin(), hosts.end(), [&](const auto& item) {
    return item.second.watch.address() == down.source;
  });
  if (watched == hosts.end()) {
    return self->quit(down.reason);
  }
  ATLAS_PROBE(true, "who asks whether a host is there died, and another asks");
  log_event(LogLevel::error, "vm_hosts", "watch_died",
            {{"host", watched->first.str()}, {"reason", to_string(from_caf(down.reason))}});
  watch(self, watched->first);
}

void VmHostsState::start(vm_hosts_actor::pointer self, const StartVm& message,
                         const outcome_sink& sink) {
  auto& host = named(message.host);
  const auto memory_mib = message.job.settings.memory_mib();
  // Others may have been placed on the same memory meanwhile.
  if (!host.tenants.contains(message.job.vm_id) && host.free_mib() < memory_mib) {
    ATLAS_PROBE(true, "the memory that a VM was placed on was taken meanwhile");
    const Error full{ErrorCode::no_capacity,
                     "host " + message.host.str() + " has no longer " + std::to_string(memory_mib) +
                         " MiB of memory free",
                     ""};
    self->send(sink, Deliver{failure_of(effect_of(message.job.vm_id), pb::STEP_START_VM, full)});
    return;
  }
  host.tenants[message.job.vm_id] = {memory_mib, sink};
  self->send(*host.handle, message, sink);
}

void VmHostsState::run_release(vm_hosts_actor::pointer self, const RunRelease& message,
                               const outcome_sink& sink) {
  const auto memory_mib = message.job.settings.memory_mib();
  Host* best = nullptr;
  for (auto& [host_name, host] : hosts) {
    // It may run already: a deployment's next actor asks again.
    if (host.tenants.contains(message.job.vm_id)) {
      best = &host;
      break;
    }
    if (host.up && (best == nullptr || best->free_mib() < host.free_mib())) best = &host;
  }
  ATLAS_PROBE(best == nullptr, "a release command was asked for while no host answered");
  if (best == nullptr) best = &hosts.begin()->second;
  if (!best->tenants.contains(message.job.vm_id) && best->free_mib() < memory_mib) {
    ATLAS_PROBE(true, "no host had memory for a release command");
    const Error full{ErrorCode::no_capacity,
                     "no VM host has " + std::to_string(memory_mib) +
                         " MiB of memory free for the release command",
                     ""};
    self->send(sink, Deliver{failure_of(effect_of(message.job.vm_id), pb::STEP_RELEASE, full)});
    return;
  }
  best->tenants[message.job.vm_id] = {memory_mib, sink};
  self->send(*best->handle, message, sink);
}

void VmHostsState::stop(vm_hosts_actor::pointer self, const StopVm& message,
                        const outcome_sink& sink) {
  auto& host = holding(message.vm_id, message.host);
  host.tenants[message.vm_id] = {message.memory_mib, sink, true};
  self->send(*host.handle, message, sink);
}

void VmHostsState::seen(vm_hosts_actor::pointer self, const HostSeen& message) {
  auto& host = named(message.host);
  host.up = message.up;
  log_event(LogLevel::warn, "vm_hosts", message.up ? "host_back" : "host_lost",
            {{"host", message.host}, {"vms", host.tenants.size()}});
  ATLAS_PROBE(message.up, "a lost host was back");
  ATLAS_PROBE(!message.up && host.tenants.empty(), "a host was lost that had no VM");
  ATLAS_PROBE(!message.up && host.tenants.size() > 1, "a host was lost with several VMs");
  if (message.up) return;
  std::map<caf::actor_addr, outcome_sink> sinks;
  for (const auto& [vm_id, tenant] : host.tenants) {
    if (!tenant.leaving) sinks[tenant.sink.address()] = tenant.sink;
  }
  host.tenants.clear();
  for (const auto& [address, sink] : sinks) self->send(sink, Deliver{VmHostGone{message.host}});
}

vm_hosts_actor::behavior_type vm_hosts(vm_hosts_actor::stateful_pointer<VmHostsState> self,
                                       VmHostsConfig config) {
  end_of_exceptions(self);
  for (const auto& [name, engine] : config.engines) {
    auto& host = self->state.hosts[name];
    host.memory_mib = engine->memory_mib();
    host.handle = self->spawn(
        vm_host, VmHostConfig{vm_hosts_actor{self}, name, engine, config.clock, config.spawn});
    self->monitor(*host.handle);
  }
  self->state.config = std::move(config);
  for (const auto& [name, host] : self->state.hosts) self->state.watch(self, name);
  self->set_down_handler([self](const caf::down_msg& down) { self->state.on_down(self, down); });
  return {[self](const PlaceVm& message, const outcome_sink& sink) {
            self->state.place(self, message, sink);
          },
          [self](const StartVm& message, const outcome_sink& sink) {
            self->state.start(self, message, sink);
          },
          [self](const KeepVm& message, const outcome_sink& sink) {
            auto& host = self->state.named(message.host);
            host.tenants[message.vm_id] = {message.memory_mib, sink};
            self->send(*host.handle, message, sink);
          },
          [self](const ProbeVm& message, const outcome_sink& sink) {
            self->send(*self->state.named(message.host).handle, message, sink);
          },
          [self](const StopVm& message, const outcome_sink& sink) {
            self->state.stop(self, message, sink);
          },
          [self](const AbortVm& message) {
            for (auto& [name, host] : self->state.hosts) self->send(*host.handle, message);
          },
          [self](const RunRelease& message, const outcome_sink& sink) {
            self->state.run_release(self, message, sink);
          },
          [self](const VmLeft& message) {
            auto& tenants = self->state.named(message.host).tenants;
            const auto found = tenants.find(message.vm_id);
            if (found != tenants.end() && found->second.leaving) tenants.erase(found);
          },
          [self](const HostSeen& message) { self->state.seen(self, message); }};
}

}  // namespace atlasflow::actors
