// A repository to check out from, made by libgit2 without a work tree.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include <git2.h>
#include <gtest/gtest.h>

#include "builder/source/git_handles.hpp"

namespace atlasflow::builder {

struct Entry {
  std::string path;
  std::string content;
  git_filemode_t mode = GIT_FILEMODE_BLOB;
};

// A bare repository whose commits are made without a work tree.
class Origin {
 public:
  explicit Origin(const std::filesystem::path& path, bool bare = true) : path_(path) {
    git::start_library();
    git_repository* raw = nullptr;
    EXPECT_EQ(git_repository_init(&raw, path.c_str(), bare ? 1U : 0U), 0);
    repository_.reset(raw);
  }

  // Returns the commit's SHA; `ref` then names it.
  std::string commit(const std::string& ref, const std::vector<Entry>& entries,
                     const std::string& message = "A change",
                     const std::vector<std::string>& parents = {}) {
    git_index* index = nullptr;
    EXPECT_EQ(git_index_new(&index), 0);
    for (const Entry& entry : entries) {
      git_index_entry item{};
      item.mode = entry.mode;
      item.path = entry.path.c_str();
      if (entry.mode == GIT_FILEMODE_COMMIT) {
        git_oid_fromstr(&item.id, entry.content.c_str());
      } else {
        EXPECT_EQ(git_blob_create_from_buffer(&item.id, repository_.get(), entry.content.data(),
                                              entry.content.size()),
                  0);
      }
      EXPECT_EQ(git_index_add(index, &item), 0);
    }
    git_oid tree_id;
    EXPECT_EQ(git_index_write_tree_to(&tree_id, index, repository_.get()), 0)
        << git::last_message();
    git_index_free(index);
    return commit_tree(ref, tree_id, message, parents);
  }

  std::string commit_tree(const std::string& ref, const git_oid& tree_id,
                          const std::string& message,
                          const std::vector<std::string>& parents = {}) {
    git_tree* raw_tree = nullptr;
    EXPECT_EQ(git_tree_lookup(&raw_tree, repository_.get(), &tree_id), 0);
    const git::Tree tree(raw_tree);
    git_signature* author = nullptr;
    EXPECT_EQ(git_signature_new(&author, "Mona Lisa", "mona@example.com", 1'700'000'000, 0), 0);
    std::vector<git::Commit> commits;
    std::vector<const git_commit*> raw_commits;
    for (const std::string& parent : parents) {
      git_oid parent_id;
      git_commit* commit = nullptr;
      EXPECT_EQ(git_oid_fromstr(&parent_id, parent.c_str()), 0);
      EXPECT_EQ(git_commit_lookup(&commit, repository_.get(), &parent_id), 0);
      commits.emplace_back(commit);
      raw_commits.push_back(commit);
    }
    git_oid id;
    EXPECT_EQ(
        git_commit_create(&id, repository_.get(), nullptr, author, author, nullptr, message.c_str(),
                          tree.get(), raw_commits.size(), raw_commits.data()),
        0)
        << git::last_message();
    git_signature_free(author);
    git_reference* reference = nullptr;
    EXPECT_EQ(git_reference_create(&reference, repository_.get(), ref.c_str(), &id, 1, nullptr), 0);
    git_reference_free(reference);
    return git_oid_tostr_s(&id);
  }

  git_repository* get() { return repository_.get(); }
  [[nodiscard]] std::string url() const { return "file://" + path_.string(); }
  [[nodiscard]] std::string path() const { return path_.string(); }

 private:
  std::filesystem::path path_;
  git::Repository repository_;
};

}  // namespace atlasflow::builder
