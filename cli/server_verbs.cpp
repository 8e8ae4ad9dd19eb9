// The verbs that are processes (server, edge) or read the log itself (log verify).
#include "cli/server_verbs.hpp"

#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <mutex>
#include <optional>

#include <sys/prctl.h>
#include <unistd.h>

#include "base/digest.hpp"
#include "cli/client.hpp"
#include "cli/format.hpp"
#include "edge/control/edge_process.hpp"
#include "edge/control/lone_edge.hpp"
#include "edge/control/route_file.hpp"
#include "server/config.hpp"
#include "server/process_setup.hpp"
#include "server/restart.hpp"
#include "server/server.hpp"
#include "server/state_dir.hpp"
#include "server/stop_signal.hpp"
#include "storage/log/rocksdb_event_log.hpp"

namespace atlasflow::cli {
namespace {

constexpr int k_exit_died = 70;  // EX_SOFTWARE of sysexits.h

// A part's death, from the actor's thread that tells of it to main's, which waits for a signal.
class PartDeath {
 public:
  explicit PartDeath(const server::StopSignal& stop) : stop_(stop) {}
  void tell(const Error& why) {
    const std::lock_guard guard(mutex_);
    if (why_) return;  // a second wake would look like a signal to stop
    why_ = why;
    stop_.wake();
  }
  [[nodiscard]] std::optional<Error> why() const {
    const std::lock_guard guard(mutex_);
    return why_;
  }

 private:
  const server::StopSignal& stop_;
  mutable std::mutex mutex_;
  std::optional<Error> why_;
};

// The parts are not destroyed: what is broken among them may never let itself be stopped.
[[noreturn]] void start_anew(const server::StateDir& state, const Error& why,
                             const server::StopSignal& stop, const Terminal& terminal) {
  const auto stopped = server::restart_process(state.root(), why, stop);
  if (!stopped) report(terminal, stopped.error());
  terminal.out << std::flush;
  std::_Exit(stopped ? k_exit_ok : k_exit_died);
}

// SIGHUP's handler reaches nothing but this.
std::atomic<bool> g_reload{false};

constexpr std::chrono::milliseconds k_reload_poll{200};
constexpr std::chrono::seconds k_retire_max{30};

Result<edge::LoneConfig> lone_config(const EdgeCommand& command, const Connection& connection) {
  edge::LoneConfig config;
  ATLAS_TRY(const auto http, edge::parse_host_and_port(command.http, true));
  ATLAS_TRY(const auto https, edge::parse_host_and_port(command.https, true));
  config.edge.http_address = http.address;
  config.edge.http_port = http.port;
  config.edge.https_address = https.address;
  config.edge.https_port = https.port;
  config.edge.domain = command.domain;
  config.edge.workers = command.workers;
  config.edge.ca_dir = named_state_dir(connection).value_or(server::k_default_state_dir) / "ca";
  config.routes = command.routes;
  config.certificates = command.certificates;
  return config;
}

int run_alone(const EdgeCommand& command, const Connection& connection, const Terminal& terminal) {
  const server::StopSignal stop;
  server::set_up_process("info");
  auto config = lone_config(command, connection);
  if (!config) return report(terminal, config.error());
  const auto lone = edge::LoneEdge::start(std::move(*config));
  if (!lone) return report(terminal, lone.error());
  std::signal(SIGHUP, [](int) { g_reload = true; });
  terminal.out << "The edge listens: " << (*lone)->edge().describe() << "\n" << std::flush;
  while (!stop.wait_for(k_reload_poll)) {
    if (!g_reload.exchange(false)) continue;
    const auto reloaded = (*lone)->reload();
    if (reloaded) {
      terminal.out << "Read again: " << (*lone)->edge().describe() << "\n" << std::flush;
    } else {
      (void)report(terminal, reloaded.error());
    }
  }
  std::signal(SIGHUP, SIG_IGN);
  (*lone)->retire(k_retire_max);
  return k_exit_ok;
}

}  // namespace

Result<server::ServerConfig> config_of(const ServerCommand& command, const Connection& connection) {
  server::ServerConfig config;
  if (!command.config_file.empty()) {
    ATLAS_TRY(config, server::load_config(command.config_file));
  }
  if (const auto named = named_state_dir(connection)) config.state_dir = *named;
  config.accept_loss = command.accept_loss;
  config.accept_new_fold = command.accept_new_fold;
  return config;
}

int run(const ServerCommand& command, const Connection& connection, const Terminal& terminal) {
  if (command.print_config) {
    terminal.out << server::example_config() << std::flush;
    return k_exit_ok;
  }
  const auto config = config_of(command, connection);
  if (!config) return report(terminal, config.error());
  const server::StopSignal stop;
  server::set_up_process(config->log_level);
  const auto state = server::StateDir::open(config->state_dir);
  if (!state) return report(terminal, state.error());

  PartDeath death(stop);
  const auto server =
      server::Server::start(*config, *state, [&death](const Error& why) { death.tell(why); });
  if (server) {
    terminal.out << (*server)->summary() << std::flush;
    stop.wait();
  }
  if (const auto why = death.why()) start_anew(*state, *why, stop, terminal);
  if (!server) return report(terminal, server.error());
  terminal.out << "Stopping; the edge and the microVMs run on (atlasflow halt ends them). "
                  "A second signal ends the server at once\n"
               << std::flush;
  return k_exit_ok;
}

int run(const EdgeCommand& command, const Connection& connection, const Terminal& terminal) {
  if (!command.routes.empty()) return run_alone(command, connection, terminal);
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
  storage::VerifyProgress progress;
  const bool watched = ::isatty(STDERR_FILENO) == 1;
  if (watched) {
    progress = [&](std::uint64_t done, std::uint64_t total) {
      terminal.err << "\r\033[K" << progress_bar(done, total) << std::flush;
    };
  }
  const auto verified = storage::verify_folder(state_dir / "events", progress);
  if (watched) terminal.err << "\r\033[K" << std::flush;
  if (!verified) return report(terminal, verified.error());
  const std::string_view chain(reinterpret_cast<const char*>(verified->chain.data()),
                               verified->chain.size());
  terminal.out << "The log is whole: " << verified->last_position << " events, chain "
               << to_hex(chain) << "\n";
  return k_exit_ok;
}

}  // namespace atlasflow::cli
