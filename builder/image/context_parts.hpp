// Names parts of a build's context by what is in them, for steps that mount them. Internal to
// builder/; belongs to one build, on its thread.
#pragma once

#include <chrono>
#include <filesystem>
#include <map>
#include <optional>
#include <stop_token>
#include <string>

#include "base/error.hpp"
#include "base/running_digest.hpp"
#include "builder/copy_parents/pattern.hpp"

namespace atlasflow::builder {

class ContextParts {
 public:
  using Clock = std::chrono::steady_clock;

  // ignore: one pattern a line, as plain_ignore_file makes it.
  ContextParts(std::filesystem::path context, const std::string& ignore, Clock::time_point until,
               std::stop_token stop);

  // SHA-256 in hex of the paths, kinds, modes, link texts and bytes in that file or folder of the
  // context; "" is all of it. Files' times are not in it, nor what the ignore file names, which no
  // step sees. nullopt: there is no such part, a link or ".." is on the way to it, or it holds
  // something else than files, folders and links. cancelled, timed_out: looked at as it goes on.
  [[nodiscard]] Result<std::optional<std::string>> digest_of(const std::string& source);

 private:
  using Matches = copy_parents::PatternList::Matches;

  Result<bool> add(const std::filesystem::path& path, const std::filesystem::path& name,
                   bool is_ignored, const Matches& matches, RunningDigest& digest) const;
  Result<bool> add_folder(const std::filesystem::path& path, const std::filesystem::path& name,
                          const Matches& above, RunningDigest& digest) const;
  Result<void> add_file(const std::filesystem::path& path, RunningDigest& digest) const;
  [[nodiscard]] Result<void> go_on() const;

  std::filesystem::path context_;
  Clock::time_point until_;
  std::stop_token stop_;
  bool is_bad_ = false;  // the ignore file; who hides what it names says why
  copy_parents::PatternList patterns_;
  bool takes_back_ = false;
  std::map<std::string, std::optional<std::string>> known_;
};

}  // namespace atlasflow::builder
