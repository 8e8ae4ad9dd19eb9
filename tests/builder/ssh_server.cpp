#include "tests/builder/ssh_server.hpp"

#include <chrono>
#include <thread>

#include <arpa/inet.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <pwd.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/file_descriptor.hpp"
#include "tests/builder/scratch.hpp"

namespace atlasflow::builder {
namespace {

using std::chrono::milliseconds;

sockaddr_in loopback(std::uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(port);
  return address;
}

std::uint16_t free_port() {
  const FileDescriptor socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  auto address = loopback(0);
  socklen_t size = sizeof address;
  EXPECT_EQ(::bind(socket.get(), reinterpret_cast<sockaddr*>(&address), size), 0);
  EXPECT_EQ(::getsockname(socket.get(), reinterpret_cast<sockaddr*>(&address), &size), 0);
  return ntohs(address.sin_port);
}

bool answers(std::uint16_t port) {
  const FileDescriptor socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const auto address = loopback(port);
  return ::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
}

}  // namespace

std::string output_of(const std::vector<std::string>& argv) {
  SpawnRequest request;
  request.argv = argv;
  request.program = find_program(argv.front());
  request.environment = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/nonexistent"};
  std::string output;
  const auto ran = run_process(std::move(request), std::chrono::minutes(1), {},
                               [&output](std::string_view more) { output += more; });
  EXPECT_TRUE(ran && ran->exit_code == 0) << argv.front() << ": " << output;
  return output;
}

SshServer::SshServer(std::filesystem::path root, std::filesystem::path folder)
    : root_(std::move(root)), folder_(std::move(folder)), port_(free_port()) {
  std::filesystem::create_directories(folder_);
  // sshd gives up its rights in there.
  std::filesystem::create_directories("/run/sshd");
  make_host_key();
  write(folder_ / "authorized_keys", "");
  // What a host's shell does: the repository that is asked for, below the root and no other.
  write(folder_ / "shell",
        "#!/bin/sh\n"
        "set -- $SSH_ORIGINAL_COMMAND\n"
        "[ \"$1\" = git-upload-pack ] || exit 1\n"
        "path=${2#\\'}; path=${path%\\'}; path=${path#/}\n"
        "case $path in *..*) exit 1;; esac\n"
        "cd '" +
            root_.string() +
            "' || exit 1\n"
            "export SSH_ORIGINAL_COMMAND=\n"
            "exec git -c safe.directory='*' upload-pack \"./$path\"\n");
  std::filesystem::permissions(folder_ / "shell", std::filesystem::perms(0755));
  write(folder_ / "config", "Port " + std::to_string(port_) +
                                "\nListenAddress 127.0.0.1\nHostKey " +
                                (folder_ / "host_key").string() + "\nAuthorizedKeysFile " +
                                (folder_ / "authorized_keys").string() +
                                "\nPidFile none\nPasswordAuthentication no\n"
                                "KbdInteractiveAuthentication no\nUsePAM no\nStrictModes no\n"
                                "PermitRootLogin forced-commands-only\nForceCommand " +
                                (folder_ / "shell").string() + "\n");
  start();
}

SshServer::~SshServer() { stop(); }

void SshServer::make_host_key() {
  std::filesystem::remove(folder_ / "host_key");
  std::filesystem::remove(folder_ / "host_key.pub");
  static_cast<void>(output_of(
      {"ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", (folder_ / "host_key").string()}));
}

void SshServer::let_in(const std::string& public_key) {
  write(folder_ / "authorized_keys",
        "command=\"" + (folder_ / "shell").string() + "\" " + public_key + "\n");
}

void SshServer::change_host_key() {
  stop();
  make_host_key();
  start();
}

void SshServer::start() {
  const FileDescriptor log(
      ::open((folder_ / "log").c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
  SpawnRequest request;
  request.argv = {"/usr/sbin/sshd", "-D", "-e", "-f", (folder_ / "config").string()};
  request.environment = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin"};
  request.output = log.get();
  auto process = spawn_process(request);
  ASSERT_TRUE(process) << to_string(process.error());
  process_ = *std::move(process);
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (!answers(port_) && std::chrono::steady_clock::now() < until) {
    std::this_thread::sleep_for(milliseconds(20));
  }
  ASSERT_TRUE(answers(port_)) << read(folder_ / "log");
}

void SshServer::stop() {
  if (process_.running()) process_.kill();
}

std::string SshServer::fingerprint() const {
  const auto line = output_of({"ssh-keygen", "-l", "-f", (folder_ / "host_key.pub").string()});
  const auto start = line.find("SHA256:");
  return start == std::string::npos ? line : line.substr(start, line.find(' ', start) - start);
}

std::string SshServer::user() {
  const auto* entry = ::getpwuid(::geteuid());
  return entry == nullptr ? "root" : entry->pw_name;
}

std::string SshServer::url(const std::string& path) const {
  return "ssh://" + user() + "@127.0.0.1:" + std::to_string(port_) + path;
}

}  // namespace atlasflow::builder
