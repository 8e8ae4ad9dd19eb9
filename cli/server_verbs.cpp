// The verbs that are processes (server, edge) or read the log itself (log verify).
#include "cli/server_verbs.hpp"

#include <csignal>
#include <filesystem>

#include <sys/prctl.h>
#include <unistd.h>

#include "base/digest.hpp"
#include "cli/client.hpp"
#include "edge/control/edge_process.hpp"
#include "server/config.hpp"
#include "server/process_setup.hpp"
#include "server/server.hpp"
#include "server/state_dir.hpp"
#include "server/stop_signal.hpp"
#include "storage/log/rocksdb_event_log.hpp"

namespace atlasflow::cli {

int run(const ServerCommand& command, const Connection& connection, const Terminal& terminal) {
  if (command.print_config) {
    terminal.out << server::example_config() << std::flush;
    return k_exit_ok;
  }
  auto config = command.config_file.empty() ? Result<server::ServerConfig>(server::ServerConfig{})
                                            : server::load_config(command.config_file);
  if (!config) return report(terminal, config.error());
  if (const auto named = named_state_dir(connection)) config->state_dir = *named;
  config->accept_loss = command.accept_loss;

  const server::StopSignal stop;
  server::set_up_process(config->log_level);
  const auto state = server::StateDir::open(config->state_dir);
  if (!state) return report(terminal, state.error());

  const auto server = server::Server::start(*config, *state);
  if (!server) return report(terminal, server.error());
  terminal.out << (*server)->summary() << std::flush;
  stop.wait();
  terminal.out << "Stopping; the edge and the microVMs run on (atlasflow halt ends them). "
                  "A second signal ends the server at once\n"
               << std::flush;
  return k_exit_ok;
}

int run(const EdgeCommand& command, const Connection& connection, const Terminal& terminal) {
  const server::StopSignal stop;
  server::set_up_process("info");
  ::prctl(PR_SET_NAME, "atlasflow-edge");
  const auto state_dir = named_state_dir(connection).value_or(server::k_default_state_dir);
  // A signal is how a process is told to end; the control socket says it the same way.
  const auto edge = edge::EdgeProcess::start(
      std::filesystem::absolute(state_dir), command.launch_fd, [] { ::kill(::getpid(), SIGTERM); });
  if (!edge) return report(terminal, edge.error());
  stop.wait();
  return k_exit_ok;
}

int run(const LogVerifyCommand& /*command*/, const Connection& connection,
        const Terminal& terminal) {
  const auto state_dir = named_state_dir(connection).value_or(server::k_default_state_dir);
  const auto verified = storage::verify_folder(state_dir / "events");
  if (!verified) return report(terminal, verified.error());
  const std::string_view chain(reinterpret_cast<const char*>(verified->chain.data()),
                               verified->chain.size());
  terminal.out << "The log is whole: " << verified->last_position << " events, chain "
               << to_hex(chain) << "\n";
  return k_exit_ok;
}

}  // namespace atlasflow::cli
