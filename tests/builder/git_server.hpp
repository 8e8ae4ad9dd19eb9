// Serves a folder of repositories over smart HTTP on loopback, by git's own http-backend.
#pragma once

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <mutex>
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
  // After so many requests that were let in another Authorization is wanted: a token has ended.
  void change_after(int requests, std::string authorization);
  // How often somebody came with one that is not wanted.
  [[nodiscard]] int wrong_logins() const { return wrong_logins_.load(); }

 private:
  void serve(const std::stop_token& stop);
  void answer(int peer);
  [[nodiscard]] bool lets_in(const std::string& authorization);

  std::filesystem::path root_;
  std::mutex mutex_;  // guards the three below
  std::optional<std::string> authorization_;
  std::string next_authorization_;
  int requests_until_then_ = -1;  // -1: it stays
  std::atomic<int> wrong_logins_{0};
  FileDescriptor listener_;
  std::uint16_t port_ = 0;
  std::jthread thread_;
};

}  // namespace atlasflow::builder
