// One conversation of libgit2 with a remote, and how it ends: libgit2 1.5 waits for ever for a host
// that is silent, whatever the protocol, so the sockets are ours. Internal to builder/; made and
// destroyed by the thread that calls libgit2, which opens its connections in between.
#pragma once

#include <atomic>
#include <cstdint>
#include <stop_token>
#include <string>

#include "base/error.hpp"

namespace atlasflow::builder {

// Of what a remote says before it sends objects: a line per branch, tag and pull request. A million
// of them is more than the largest known repositories have.
inline constexpr std::uint64_t k_refs_bytes_max = 64U << 20U;

// While it lives, each connection that this thread opens by libgit2 is shut down when stop is
// requested, and when more than refs_bytes_max came before begin_objects(). Whoever waits for it
// gets an error at once.
class RemoteCall {
 public:
  RemoteCall(const std::string& url, std::stop_token stop,
             std::uint64_t refs_bytes_max = k_refs_bytes_max);
  ~RemoteCall();
  RemoteCall(const RemoteCall&) = delete;
  RemoteCall& operator=(const RemoteCall&) = delete;

  // What comes now has a limit of its own. Any thread.
  void begin_objects() { has_limit_ = false; }
  [[nodiscard]] bool sent_too_many_refs() const { return too_many_; }

  // For the connections.
  [[nodiscard]] static RemoteCall* of_this_thread();
  [[nodiscard]] const std::stop_token& stop() const { return stop_; }
  [[nodiscard]] bool is_ssh() const { return is_ssh_; }
  // Counts what came; false: it is more than there may be. Of one connection at a time.
  [[nodiscard]] bool takes(std::uint64_t bytes);

 private:
  RemoteCall* outer_;
  std::stop_token stop_;
  bool is_ssh_;
  std::uint64_t left_;
  std::atomic<bool> has_limit_{true};
  std::atomic<bool> too_many_{false};
};

[[nodiscard]] Error too_many_refs(const std::string& url);

// Once for the process, before the first connection.
void use_own_sockets();

}  // namespace atlasflow::builder
