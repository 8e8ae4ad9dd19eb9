// The repositories that this server keeps for projects, each in a folder of its own below one of
// the state folder: <project id>/repository.git, which is git's, and beside it what is pending.
// Owned by the composition root; any thread.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <filesystem>
#include <map>
#include <mutex>
#include <set>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

#include "base/error.hpp"
#include "receive/git_call.hpp"

namespace atlasflow::receive {

// Where the repository of that project is, whether there is one or not. `id` must be of letters and
// digits.
[[nodiscard]] std::filesystem::path repository_path(const std::filesystem::path& root,
                                                    const std::string& id);

class Repositories {
 public:
  // free_bytes_min: what stays free on the disk, whatever is pushed.
  Repositories(std::filesystem::path root, std::uint64_t free_bytes_min, GitBounds bounds = {});

  // Whoever reads or changes a repository has it to itself, until this is destroyed.
  class Turn {
   public:
    Turn(Repositories& repositories, std::string id)
        : repositories_(&repositories), id_(std::move(id)) {}
    ~Turn();
    Turn(Turn&& other) noexcept
        : repositories_(std::exchange(other.repositories_, nullptr)), id_(std::move(other.id_)) {}
    Turn& operator=(Turn&&) = delete;

   private:
    Repositories* repositories_;
    std::string id_;
  };
  // unavailable: somebody else has it for longer than that.
  [[nodiscard]] Result<Turn> take(const std::string& id, std::chrono::milliseconds patience);

  // ---- for whoever has the turn ----
  // Makes it, empty and with that branch as its own, when it is not there; clears what a call that
  // was ended left in it. Where it is too large, what no branch or tag reaches goes first, which
  // may take as long as a call of git may. too_large: it takes no more even so.
  [[nodiscard]] Result<std::filesystem::path> open(const std::string& id, const std::string& branch,
                                                   const std::stop_token& stop = {});
  // Has git pack what has come in many pieces, and drop what no branch or tag has reached for long:
  // where it finds that worth it, and for 5 minutes at most.
  void tidy(const std::string& id, const std::stop_token& stop) const;
  [[nodiscard]] std::filesystem::path pending_file(const std::string& id) const;
  [[nodiscard]] Result<void> remove(const std::string& id);

  // Of projects that have a folder here.
  [[nodiscard]] std::vector<std::string> ids() const;
  [[nodiscard]] const std::filesystem::path& root() const { return root_; }
  [[nodiscard]] std::uint64_t free_bytes_min() const { return free_bytes_min_; }
  [[nodiscard]] const GitBounds& bounds() const { return bounds_; }

 private:
  [[nodiscard]] Result<void> make(const std::string& id, const std::string& branch) const;
  // Its size when all is gone that no branch or tag reaches.
  [[nodiscard]] Result<std::uint64_t> shrink(const std::string& id,
                                             const std::filesystem::path& place,
                                             std::uint64_t bytes, const std::stop_token& stop);

  const std::filesystem::path root_;
  const std::uint64_t free_bytes_min_;
  const GitBounds bounds_;
  std::mutex mutex_;  // guards what follows
  std::condition_variable given_back_;
  std::set<std::string> taken_;
  // What was left of repositories that are too large, when all had gone that could.
  std::map<std::string, std::uint64_t> needed_;
};

}  // namespace atlasflow::receive
