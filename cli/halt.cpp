// The verb halt: what a server leaves running on purpose, and what a killed one left by accident.
#include <signal.h>

#include "builder/registry/registry.hpp"
#include "cli/client.hpp"
#include "cli/server_verbs.hpp"
#include "edge/control/edge_folder.hpp"
#include "server/config.hpp"
#include "server/state_dir.hpp"
#include "vmm/hypervisor/running_machines.hpp"

namespace atlasflow::cli {

int run(const HaltCommand& /*command*/, const Connection& connection, const Terminal& terminal) {
  const auto named = named_state_dir(connection).value_or(server::k_default_state_dir);
  // Held to the end: no server starts on the folder while its processes are being ended.
  const auto state = server::StateDir::open_existing(named);
  if (!state) {
    report(terminal, state.error());
    const bool usage =
        state.error().code == ErrorCode::conflict || state.error().code == ErrorCode::not_found;
    return usage ? k_exit_usage : k_exit_failed;
  }
  // The edge first: nobody is to be sent to a machine that stops. What fails does not keep the rest
  // from being ended.
  int code = k_exit_ok;
  const auto edge = edge::end_edge(state->root());
  if (!edge) code = report(terminal, edge.error());
  const auto machines = vmm::end_machines(state->vms());
  if (!machines) code = report(terminal, machines.error());
  const auto registry = builder::end_registry(state->registry());
  if (!registry) code = report(terminal, registry.error());

  if (edge && *edge != 0) terminal.out << "Ended the edge, process " << *edge << "\n";
  if (machines) {
    for (const auto& vm_id : *machines) terminal.out << "Ended the microVM " << vm_id << "\n";
  }
  if (registry && *registry != 0) {
    terminal.out << "Ended the registry, process " << *registry << "\n";
  }
  if (code == k_exit_ok) {
    terminal.out << "Nothing of " << state->root().string() << " runs any more\n" << std::flush;
  }
  return code;
}

}  // namespace atlasflow::cli
