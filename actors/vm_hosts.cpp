#include "actors/vm_hosts.hpp"

#include <numeric>

#include <spdlog/spdlog.h>

namespace atlasflow::actors {

VmHostState::Entry& VmHostState::entry(vm_host_actor::pointer self, const std::string& vm_id) {
  const auto [found, fresh] = vms.try_emplace(vm_id);
  if (fresh) {
    found->second.handle =
        spawn_blocking(self, config.spawn, vm, config.engine, config.clock, vm_id);
    self->monitor(found->second.handle);
  }
  return found->second;
}

void VmHostState::on_down(vm_host_actor::pointer self, const caf::down_msg& down) {
  const auto found = std::find_if(vms.begin(), vms.end(), [&](const auto& item) {
    return item.second.handle.address() == down.source;
  });
  if (found == vms.end()) return;
  auto& [vm_id, entry] = *found;
  if (down.reason == caf::exit_reason::normal || !entry.restarts.allow(config.clock->now())) {
    if (down.reason != caf::exit_reason::normal) {
      spdlog::critical("part=vm_host event=escalate vm={} reason=\"its actor dies too often\"",
                       vm_id);
      self->quit(caf::exit_reason::unhandled_exception);
    }
    vms.erase(found);
    return;
  }
  spdlog::warn("part=vm_host event=vm_actor_restarted vm={}", vm_id);
  entry.handle = spawn_blocking(self, config.spawn, vm, config.engine, config.clock, vm_id);
  self->monitor(entry.handle);
  if (entry.stop) {
    self->send(entry.handle, entry.stop->message, entry.stop->sink);
    return;
  }
  if (entry.start) self->send(entry.handle, entry.start->message, entry.start->sink);
  if (entry.keep) self->send(entry.handle, entry.keep->message, entry.keep->sink);
  if (entry.probe) self->send(entry.handle, entry.probe->message, entry.probe->sink);
}

vm_host_actor::behavior_type vm_host(vm_host_actor::stateful_pointer<VmHostState> self,
                                     VmHostConfig config) {
  self->state.config = config;
  self->set_down_handler([self](const caf::down_msg& down) { self->state.on_down(self, down); });
  self->set_exit_handler([self](const caf::exit_msg& exit) {
    for (auto& [vm_id, entry] : self->state.vms) {
      entry.stop_start.request_stop();
      self->send_exit(entry.handle, exit.reason);
    }
    self->quit(exit.reason);
  });
  return {[self](StartVm& message, const outcome_sink& sink) {
            auto& entry = self->state.entry(self, message.job.vm_id);
            message.stop = entry.stop_start.get_token();
            entry.start = {message, sink};
            self->send(entry.handle, std::move(message), sink);
          },
          [self](const KeepVm& message, const outcome_sink& sink) {
            auto& entry = self->state.entry(self, message.vm_id);
            entry.start.reset();  // Its outcome has arrived, or KeepVm would not be owed.
            entry.keep = {message, sink};
            self->send(entry.handle, message, sink);
          },
          [self](const ProbeVm& message, const outcome_sink& sink) {
            auto& entry = self->state.entry(self, message.vm_id);
            entry.probe = {message, sink};
            self->send(entry.handle, message, sink);
          },
          [self](const StopVm& message, const outcome_sink& sink) {
            auto& entry = self->state.entry(self, message.vm_id);
            entry.stop_start.request_stop();
            entry.stop = {message, sink};
            self->send(entry.handle, message, sink);
          },
          [self](const AbortVm& message) {
            const auto found = self->state.vms.find(message.effect.str());
            if (found != self->state.vms.end()) found->second.stop_start.request_stop();
          }};
}

void VmHostsState::place(vm_hosts_actor::pointer self, const PlaceVm& message,
                         const outcome_sink& sink) {
  for (const auto& [host_name, host] : hosts) {
    const auto used =
        std::accumulate(host.reserved.begin(), host.reserved.end(), std::int64_t{0},
                        [](std::int64_t sum, const auto& item) { return sum + item.second; });
    if (used + message.memory_mib > host.memory_mib) continue;
    Succeeded succeeded;
    succeeded.effect = message.effect;
    succeeded.now = clock->now();
    succeeded.outcome.mutable_vm_placed()->set_host(host_name);
    self->send(sink, Deliver{std::move(succeeded)});
    return;
  }
  const Error full{ErrorCode::unavailable,
                   "no VM host has " + std::to_string(message.memory_mib) + " MiB of memory free",
                   ""};
  self->send(sink, Deliver{failure_of(message.effect, pb::STEP_START_VM, full, clock->now())});
}

vm_hosts_actor::behavior_type vm_hosts(vm_hosts_actor::stateful_pointer<VmHostsState> self,
                                       VmHostConfig config) {
  self->state.clock = config.clock;
  auto& local = self->state.hosts["local"];
  local.handle = self->spawn(vm_host, config);
  self->monitor(local.handle);
  self->set_down_handler([self](const caf::down_msg& down) { self->quit(down.reason); });
  self->set_exit_handler([self](const caf::exit_msg& exit) {
    for (auto& [host_name, host] : self->state.hosts) self->send_exit(host.handle, exit.reason);
    self->quit(exit.reason);
  });
  local.memory_mib = config.engine->memory_mib();
  const auto host_of = [self](const std::string& host) -> VmHostsState::Host& {
    const auto found = self->state.hosts.find(host);
    // A host that has left the configuration: its VMs are the local one's to clear.
    return found == self->state.hosts.end() ? self->state.hosts.begin()->second : found->second;
  };
  return {[self](const PlaceVm& message, const outcome_sink& sink) {
            self->state.place(self, message, sink);
          },
          [self, host_of](const StartVm& message, const outcome_sink& sink) {
            auto& host = host_of(message.host);
            host.reserved[message.job.vm_id] = message.job.settings.memory_mib();
            self->send(host.handle, message, sink);
          },
          [self, host_of](const KeepVm& message, const outcome_sink& sink) {
            auto& host = host_of(message.host);
            host.reserved[message.vm_id] = message.memory_mib;
            self->send(host.handle, message, sink);
          },
          [self, host_of](const ProbeVm& message, const outcome_sink& sink) {
            self->send(host_of(message.host).handle, message, sink);
          },
          [self, host_of](const StopVm& message, const outcome_sink& sink) {
            auto& host = host_of(message.host);
            host.reserved.erase(message.vm_id);
            self->send(host.handle, message, sink);
          },
          [self](const AbortVm& message) {
            for (auto& [host_name, host] : self->state.hosts) {
              self->send(host.handle, message);
            }
          }};
}

}  // namespace atlasflow::actors
