// A folder for a benchmark's files. In the current folder, so that whoever starts it chooses the
// disk; it goes with its owner.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <string>
#include <system_error>

#include "base/assert.hpp"

namespace atlasflow::bench {

class WorkFolder {
 public:
  // name: of the benchmark.
  explicit WorkFolder(const std::string& name) {
    std::string made = (std::filesystem::current_path() / (name + "-XXXXXX")).string();
    ATLAS_ASSERT(::mkdtemp(made.data()) != nullptr, "cannot make a folder here");
    path_ = made;
  }
  ~WorkFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  WorkFolder(const WorkFolder&) = delete;
  WorkFolder& operator=(const WorkFolder&) = delete;
  [[nodiscard]] const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

}  // namespace atlasflow::bench
