#include "tests/end_to_end/git_repository.hpp"

#include <array>
#include <memory>
#include <stdexcept>
#include <vector>

#include <git2.h>

namespace atlasflow::end_to_end {
namespace {

template <auto Free>
struct Deleter {
  template <typename T>
  void operator()(T* handle) const {
    Free(handle);
  }
};
using Repository = std::unique_ptr<git_repository, Deleter<git_repository_free>>;
using Index = std::unique_ptr<git_index, Deleter<git_index_free>>;
using Tree = std::unique_ptr<git_tree, Deleter<git_tree_free>>;
using Commit = std::unique_ptr<git_commit, Deleter<git_commit_free>>;
using Signature = std::unique_ptr<git_signature, Deleter<git_signature_free>>;

void check(int code) {
  if (code < 0) throw std::runtime_error(git_error_last()->message);
}

Repository open(const std::filesystem::path& folder) {
  git_repository* raw = nullptr;
  check(git_repository_open(&raw, folder.c_str()));
  return Repository(raw);
}

}  // namespace

GitRepository::GitRepository(std::filesystem::path folder) : folder_(std::move(folder)) {
  git_libgit2_init();
  git_repository_init_options options;
  check(git_repository_init_options_init(&options, GIT_REPOSITORY_INIT_OPTIONS_VERSION));
  options.flags = GIT_REPOSITORY_INIT_MKPATH;
  options.initial_head = "main";
  git_repository* raw = nullptr;
  check(git_repository_init_ext(&raw, folder_.c_str(), &options));
  git_repository_free(raw);
}

std::string GitRepository::commit_all(const std::string& subject) {
  const auto repository = open(folder_);
  git_index* raw_index = nullptr;
  check(git_repository_index(&raw_index, repository.get()));
  const Index index(raw_index);
  check(git_index_add_all(index.get(), nullptr, GIT_INDEX_ADD_DEFAULT, nullptr, nullptr));
  check(git_index_write(index.get()));
  git_oid tree_id;
  check(git_index_write_tree(&tree_id, index.get()));
  git_tree* raw_tree = nullptr;
  check(git_tree_lookup(&raw_tree, repository.get(), &tree_id));
  const Tree tree(raw_tree);
  git_signature* raw_signature = nullptr;
  check(git_signature_now(&raw_signature, "Mona Lisa", "mona@example.com"));
  const Signature signature(raw_signature);

  Commit parent;
  git_oid parent_id;
  if (git_reference_name_to_id(&parent_id, repository.get(), "HEAD") == 0) {
    git_commit* raw_parent = nullptr;
    check(git_commit_lookup(&raw_parent, repository.get(), &parent_id));
    parent.reset(raw_parent);
  }
  const git_commit* parents[] = {parent.get()};
  git_oid commit_id;
  check(git_commit_create(&commit_id, repository.get(), "HEAD", signature.get(), signature.get(),
                          nullptr, subject.c_str(), tree.get(), parent ? 1 : 0, parents));
  std::array<char, GIT_OID_HEXSZ + 1> text{};
  git_oid_tostr(text.data(), text.size(), &commit_id);
  return text.data();
}

void GitRepository::set_ref(const std::string& name, const std::string& sha) const {
  const auto repository = open(folder_);
  git_oid commit_id;
  check(git_oid_fromstr(&commit_id, sha.c_str()));
  git_reference* reference = nullptr;
  check(git_reference_create(&reference, repository.get(), name.c_str(), &commit_id, 1, nullptr));
  git_reference_free(reference);
}

}  // namespace atlasflow::end_to_end
