// A folder that goes with its owner. One thread.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <string>

#include "base/assert.hpp"

namespace atlasflow::receive {

class Scratch {
 public:
  Scratch() {
    std::string name = "/tmp/atlasflow-receive-XXXXXX";
    ATLAS_ASSERT(::mkdtemp(name.data()) != nullptr, "no temporary folder");
    path_ = name;
  }
  ~Scratch() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  [[nodiscard]] const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

}  // namespace atlasflow::receive
