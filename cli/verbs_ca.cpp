// The server's own certificate authority: its certificate printed, and known to this machine.
#include "cli/verbs_ca.hpp"

#include <system_error>

#include <nlohmann/json.hpp>

#include "base/file.hpp"
#include "cli/format.hpp"

namespace atlasflow::cli {
namespace {

constexpr std::uint64_t k_file_bytes_max = 1U << 20U;

// Of the server; while none runs, of the folder that its socket would be in.
Result<Authority> authority_of(const Connection& connection) {
  const auto socket = socket_path(connection);
  ApiClient api(socket);
  const auto answer = api.get("/v1/certificate-authority");
  if (answer) return parse_authority(text_of(*answer, "certificate"));
  if (answer.error().code != ErrorCode::unavailable) return tl::unexpected(answer.error());
  const auto text = read_file(socket.parent_path() / "ca/ca.pem", k_file_bytes_max);
  return text ? parse_authority(*text) : tl::unexpected(answer.error());
}

// What root runs in place of this; its environment is another one.
std::string as_root(const CaTrustCommand& command, const Connection& connection) {
  return "sudo atlasflow ca trust --socket " +
         std::filesystem::absolute(socket_path(connection)).string() +
         (command.remove    ? " --remove"
          : command.replace ? " --replace"
                            : "");
}

}  // namespace

int run(const CaExportCommand& command, const Connection& connection, const Terminal& terminal) {
  const auto authority = authority_of(connection);
  if (!authority) return report(terminal, authority.error());
  if (command.file.empty() || command.file == "-") {
    terminal.out << authority->pem << std::flush;
    return k_exit_ok;
  }
  // A file is replaced by a rename, which would take a device or a folder away.
  std::error_code code;
  const auto status = std::filesystem::status(command.file, code);
  if (std::filesystem::exists(status) && !std::filesystem::is_regular_file(status)) {
    return report(terminal, {ErrorCode::invalid_argument,
                             command.file + " is no file; name one, or - for standard output", ""});
  }
  if (const auto written = replace_file(command.file, authority->pem, 0644); !written) {
    return report(terminal, {ErrorCode::invalid_argument,
                             "can't write " + command.file +
                                 "; name a file in a folder that is "
                                 "there and may be written",
                             to_string(written.error())});
  }
  terminal.out << "Wrote " << command.file << ": the authority for " << authority->domain
               << ", SHA-256 " << authority->fingerprint << "\n";
  return k_exit_ok;
}

int run(const CaTrustCommand& command, const Connection& connection, const Terminal& terminal,
        const TrustStore& store) {
  if (!store.may_change) {
    return report(terminal, {ErrorCode::invalid_argument,
                             "only root may change what this machine trusts; run '" +
                                 as_root(command, connection) + "'",
                             ""});
  }
  const auto authority = authority_of(connection);
  if (!authority) return report(terminal, authority.error());
  const auto change =
      command.remove ? remove_from(store, *authority) : add_to(store, *authority, command.replace);
  if (!change) return report(terminal, change.error());
  const auto file = store.file_of(*authority).string();
  const auto names = authority->domain + " and all names below it";
  if (command.remove) {
    terminal.out << (*change == TrustChange::none ? "There was no " : "Removed ") << file
                 << ", and ran " << store.update.front() << ": the programs of this machine do not "
                 << "trust this server's certificates for " << names << "\n"
                 << "Firefox and Chromium, where it was added to their own stores: certutil -d "
                    "sql:$HOME/.pki/nssdb -D -n atlasflow-"
                 << authority->domain << " (Firefox: sql: and its profile's folder)\n";
    return k_exit_ok;
  }
  terminal.out << (*change == TrustChange::none       ? "There was already "
                   : *change == TrustChange::replaced ? "Replaced "
                                                      : "Added ")
               << file << " (SHA-256 " << authority->fingerprint << "), and ran "
               << store.update.front() << ": the programs of this machine trust this server's "
               << "certificates for " << names << "\n"
               << "Firefox and Chromium have stores of their own: certutil -d "
                  "sql:$HOME/.pki/nssdb -A -t C,, -n atlasflow-"
               << authority->domain << " -i " << file
               << " (package libnss3-tools; Firefox: sql: and its profile's folder)\n";
  return k_exit_ok;
}

}  // namespace atlasflow::cli
