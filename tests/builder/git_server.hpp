// Serves a folder of repositories over smart HTTP on loopback, by git's own http-backend.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <thread>

#include "base/file_descriptor.hpp"

namespace atlasflow::builder {

class GitServer {
 public:
  // authorization: the value of the Authorization header that is wanted; nullopt: none.
  GitServer(std::filesystem::path root, std::optional<std::string> authorization);
  ~GitServer();
  GitServer(const GitServer&) = delete;
  GitServer& operator=(const GitServer&) = delete;
  [[nodiscard]] std::uint16_t port() const { return port_; }

 private:
  void serve(const std::stop_token& stop);
  void answer(int peer) const;

  std::filesystem::path root_;
  std::optional<std::string> authorization_;
  FileDescriptor listener_;
  std::uint16_t port_ = 0;
  std::jthread thread_;
};

}  // namespace atlasflow::builder
