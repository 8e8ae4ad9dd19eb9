// What was fetched of a project's repository, kept as a bare repository of its own, so that the
// next clone fetches only what is new. Each project has one: what one project's login may read is
// not to be had from another's. Blocking, any thread; a mirror has one holder at a time.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <set>
#include <stop_token>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "base/file_descriptor.hpp"
#include "builder/source/git_handles.hpp"

namespace atlasflow::builder {

struct MirrorLimits {
  std::uint64_t bytes_max = 4ULL << 30;  // twice what one fetch may receive
  std::size_t packs_max = 200;           // each fetch that brings anything makes one
  std::size_t refs_max = 1000;           // one for each branch or pull request that was fetched
};

// Internal to builder/.
class Mirror {
 public:
  // Waits while somebody else has it. What lies in the folder goes first when it was fetched for
  // another owner or from another URL, cannot be opened, or has outgrown a limit; so does what a
  // killed process left half-made. cancelled: stop was requested.
  [[nodiscard]] static Result<Mirror> open(const std::filesystem::path& folder,
                                           const std::string& owner, const std::string& url,
                                           const std::stop_token& stop,
                                           const MirrorLimits& limits = {});

  [[nodiscard]] git_repository* repository() const { return repository_.get(); }
  // Nothing of an earlier clone is in it.
  [[nodiscard]] bool is_new() const { return is_new_; }
  // Throws away what it has. repository() is another one then.
  [[nodiscard]] Result<void> renew();

 private:
  Mirror(std::filesystem::path folder, std::string mark, FileDescriptor lock)
      : folder_(std::move(folder)), mark_(std::move(mark)), lock_(std::move(lock)) {}
  [[nodiscard]] std::filesystem::path objects() const { return folder_ / "git"; }
  [[nodiscard]] bool is_usable(const MirrorLimits& limits) const;

  std::filesystem::path folder_;
  std::string mark_;  // of the owner and the URL
  bool is_new_ = false;
  FileDescriptor lock_;
  git::Repository repository_;  // closed before the lock is let go
};

// Removes the mirrors in the folder `root` whose names are not among `projects`, and then, while
// all together are larger than bytes_max, those used longest ago. One in use stays. `projects` is
// asked once it is known which mirrors there are. Returns what it removed.
[[nodiscard]] Result<std::vector<std::string>> collect_mirrors(
    const std::filesystem::path& root,
    const std::function<Result<std::set<std::string>>()>& projects, std::uint64_t bytes_max,
    const std::stop_token& stop);

}  // namespace atlasflow::builder
