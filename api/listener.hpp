// Listening sockets: a unix socket that only its owner may open, and TCP. Owned by one HttpServer;
// the descriptor is closed, and the socket's file removed, with it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>

#include <sys/types.h>

#include "base/error.hpp"
#include "base/file.hpp"

namespace atlasflow::api {

class Listener {
 public:
  // Mode 0600 from its first moment. A file that a dead server left is replaced; conflict when a
  // server answers there, or when the file is no socket.
  [[nodiscard]] static Result<Listener> on_unix_socket(const std::filesystem::path& path);
  // `address` is numeric; port 0 lets the kernel choose.
  [[nodiscard]] static Result<Listener> on_tcp(const std::string& address, std::uint16_t port);

  Listener(Listener&& other) noexcept = default;
  Listener& operator=(Listener&& other) noexcept = delete;
  ~Listener();

  [[nodiscard]] int fd() const { return fd_.get(); }
  [[nodiscard]] std::uint16_t port() const { return port_; }       // 0 for a unix socket
  [[nodiscard]] const std::string& name() const { return name_; }  // for log lines

 private:
  Listener() = default;

  FileDescriptor fd_;
  std::uint16_t port_ = 0;
  std::string name_;
  std::filesystem::path path_;  // of the unix socket; empty for TCP
  dev_t device_ = 0;            // of the socket's file, so that another's is never removed
  ino_t inode_ = 0;
};

}  // namespace atlasflow::api
