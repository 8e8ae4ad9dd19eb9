// A local repository that a test commits to. Owned by the test's thread.
#pragma once

#include <filesystem>
#include <string>

namespace atlasflow::end_to_end {

class GitRepository {
 public:
  // Makes an empty one with the branch "main".
  explicit GitRepository(std::filesystem::path folder);

  [[nodiscard]] const std::filesystem::path& folder() const { return folder_; }
  // The commit of everything in the folder; its SHA.
  std::string commit_all(const std::string& subject);
  // Of any ref, "refs/pull/7/head".
  void set_ref(const std::string& name, const std::string& sha) const;

 private:
  std::filesystem::path folder_;
};

}  // namespace atlasflow::end_to_end
