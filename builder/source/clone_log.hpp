// Tells a clone's log how it goes on, so that a long one is seen to live: a heading, a line for
// each tenth or each ten seconds but at most one a second, and what came of it. The file is named
// like a build's, by the clone's effect, and shown before the build's. Owned by one clone, on its
// thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>

#include "builder/image/build_log.hpp"
#include "builder/source/checkout.hpp"

namespace atlasflow::builder {

class CloneLog {
 public:
  using Clock = std::chrono::steady_clock;

  // what: "refs/heads/main of https://…". With an empty folder or effect, and when the file cannot
  // be opened, nothing is written: no clone fails for its log's sake.
  CloneLog(const std::filesystem::path& folder, const std::string& effect, const std::string& what,
           std::function<Clock::time_point()> now = Clock::now);

  void tell(const FetchProgress& progress);
  void done(const Checkout& checkout);
  void failed(const Error& error);

 private:
  [[nodiscard]] bool is_due(std::uint64_t tenth) const;
  void write(const std::string& line);
  [[nodiscard]] std::string duration() const;

  std::function<Clock::time_point()> now_;
  Clock::time_point started_;
  Clock::time_point told_at_;
  std::uint64_t told_tenth_ = 0;
  bool told_of_deltas_ = false;
  std::optional<BuildLog> log_;
};

}  // namespace atlasflow::builder
