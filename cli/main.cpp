// The one executable: reads the command line and hands over to the server or to a verb.

#include <exception>
#include <iostream>
#include <type_traits>

#include "cli/client.hpp"
#include "cli/command_line.hpp"
#include "cli/server_verbs.hpp"
#include "cli/verbs.hpp"
#include "cli/verbs_backup.hpp"
#include "cli/verbs_ca.hpp"
#include "cli/verbs_inspect.hpp"

namespace atlasflow::cli {
namespace {

int execute(const CommandLine& line) {
  const Terminal terminal{std::cin, std::cout, std::cerr};
  return std::visit(
      [&](const auto& command) {
        using T = std::decay_t<decltype(command)>;
        if constexpr (std::is_same_v<T, ServerCommand> || std::is_same_v<T, EdgeCommand> ||
                      std::is_same_v<T, HaltCommand> || std::is_same_v<T, LogVerifyCommand> ||
                      std::is_same_v<T, SimulateCommand> || std::is_same_v<T, DetectCommand> ||
                      std::is_same_v<T, BackupCommand> || std::is_same_v<T, RestoreCommand> ||
                      std::is_same_v<T, LogImportCommand> || std::is_same_v<T, LogRebuildCommand> ||
                      std::is_same_v<T, CaExportCommand> || std::is_same_v<T, CaTrustCommand> ||
                      requires { command.log; }) {
          return run(command, line.connection, terminal);
        } else {
          ApiClient api(socket_path(line.connection));
          return run(command, api, terminal);
        }
      },
      line.command);
}

}  // namespace
}  // namespace atlasflow::cli

int main(int argc, char** argv) {
  using namespace atlasflow::cli;
  try {
    const auto line = parse_command_line(argc, argv);
    if (!line) {
      std::cout << line.error().out << std::flush;
      std::cerr << line.error().err << std::flush;
      return line.error().code;
    }
    return execute(*line);
  } catch (const std::exception& error) {
    std::cerr << "atlasflow: an unexpected failure; please report it (" << error.what() << ")\n";
    return k_exit_failed;
  }
}
