// A real OpenSSH server on loopback that serves a folder of repositories by git-upload-pack, as Git
// hosts do: one user, one authorised key, a forced command. Owned by the test's thread; no file of
// it is outside its folder.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "base/process.hpp"

namespace atlasflow::builder {

class SshServer {
 public:
  // root: of the repositories; folder: for its own files. It is up when this returns.
  SshServer(std::filesystem::path root, std::filesystem::path folder);
  ~SshServer();
  SshServer(const SshServer&) = delete;
  SshServer& operator=(const SshServer&) = delete;

  // Whose public key is let in from now on, as authorized_keys writes it.
  void let_in(const std::string& public_key);
  // It comes back under the same port with another host key.
  void change_host_key();
  void stop();
  void start();

  [[nodiscard]] std::uint16_t port() const { return port_; }
  // "SHA256:…", by ssh-keygen.
  [[nodiscard]] std::string fingerprint() const;
  // "ssh://root@127.0.0.1:2222/repo.git"
  [[nodiscard]] std::string url(const std::string& path) const;
  // Who the connections are let in as.
  [[nodiscard]] static std::string user();

 private:
  void make_host_key();

  std::filesystem::path root_;
  std::filesystem::path folder_;
  std::uint16_t port_ = 0;
  Process process_;
};

// Runs it to its end; what it printed. Fails the test when it does not exit with 0.
std::string output_of(const std::vector<std::string>& argv);

}  // namespace atlasflow::builder
