// What detection sees of a repository: names, and the few files that it reads. Detection is a pure
// function of this, so that a test hands it a map and the builder a checkout. Any thread.
#pragma once

#include <cstddef>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/error.hpp"

namespace atlasflow::builder {

class SourceTree {
 public:
  virtual ~SourceTree() = default;

  // nullopt: there is no such regular file. too_large: it has more than `limit_bytes`.
  [[nodiscard]] virtual Result<std::optional<std::string>> read(const std::string& name,
                                                                std::size_t limit_bytes) const = 0;
  [[nodiscard]] virtual bool has_file(const std::string& name) const = 0;
  // The names in a folder, "" for the root, sorted; at most 10 000. Nothing when there is none.
  [[nodiscard]] virtual std::vector<std::string> list(const std::string& folder) const = 0;
};

// A folder of the disk, which links never lead out of.
class FolderTree final : public SourceTree {
 public:
  explicit FolderTree(std::filesystem::path folder) : folder_(std::move(folder)) {}
  [[nodiscard]] Result<std::optional<std::string>> read(const std::string& name,
                                                        std::size_t limit_bytes) const override;
  [[nodiscard]] bool has_file(const std::string& name) const override;
  [[nodiscard]] std::vector<std::string> list(const std::string& folder) const override;

 private:
  std::filesystem::path folder_;
};

// Path to content.
class MemoryTree final : public SourceTree {
 public:
  explicit MemoryTree(std::map<std::string, std::string> files) : files_(std::move(files)) {}
  [[nodiscard]] Result<std::optional<std::string>> read(const std::string& name,
                                                        std::size_t limit_bytes) const override;
  [[nodiscard]] bool has_file(const std::string& name) const override;
  [[nodiscard]] std::vector<std::string> list(const std::string& folder) const override;

 private:
  std::map<std::string, std::string> files_;
};

// A folder of another tree, as a tree of its own.
class SubTree final : public SourceTree {
 public:
  SubTree(const SourceTree& tree, std::string folder) : tree_(tree), prefix_(folder + "/") {}
  [[nodiscard]] Result<std::optional<std::string>> read(const std::string& name,
                                                        std::size_t limit_bytes) const override;
  [[nodiscard]] bool has_file(const std::string& name) const override;
  [[nodiscard]] std::vector<std::string> list(const std::string& folder) const override;

 private:
  const SourceTree& tree_;
  std::string prefix_;
};

// Another tree, each of whose folders is listed once: most of what is looked for is not there, and
// the list knows that without asking the disk. One thread.
class ListedTree final : public SourceTree {
 public:
  explicit ListedTree(const SourceTree& tree) : tree_(tree) {}
  [[nodiscard]] Result<std::optional<std::string>> read(const std::string& name,
                                                        std::size_t limit_bytes) const override;
  [[nodiscard]] bool has_file(const std::string& name) const override;
  [[nodiscard]] std::vector<std::string> list(const std::string& folder) const override;

 private:
  [[nodiscard]] const std::vector<std::string>& names_in(const std::string& folder) const;
  [[nodiscard]] bool may_have(const std::string& name) const;

  const SourceTree& tree_;
  mutable std::map<std::string, std::vector<std::string>> listed_;
};

}  // namespace atlasflow::builder
