#include "builder/source/remote_head.hpp"

#include <array>

#include <git2.h>

#include "builder/source/git_handles.hpp"

namespace atlasflow::builder {
namespace {

std::string sha_of(const git_oid& id) {
  std::array<char, GIT_OID_HEXSZ + 1> text{};
  git_oid_tostr(text.data(), text.size(), &id);
  return text.data();
}

// Error of a connection that did not come about.
Error connect_error(const std::string& url, int code) {
  const auto said = git::last_message();
  if (code == GIT_ENOTFOUND || said.find("404") != std::string::npos) {
    return {ErrorCode::not_found,
            "no repository at " + url + "; check the URL that the project was created with", said};
  }
  if (code == GIT_EAUTH || said.find("401") != std::string::npos ||
      said.find("403") != std::string::npos) {
    return {ErrorCode::user_error,
            "access to " + url + " was denied; only public repositories can be read for now", said};
  }
  return {ErrorCode::unavailable, url + " does not answer; try again in a moment", said};
}

std::string default_branch(git_remote* remote) {
  git_buf name = GIT_BUF_INIT;
  std::string branch;
  if (git_remote_default_branch(&name, remote) == 0) branch.assign(name.ptr, name.size);
  git_buf_dispose(&name);
  return branch;
}

}  // namespace

Result<RemoteHead> remote_head(const std::string& url, const std::string& branch) {
  git::start_library();
  git_remote* raw = nullptr;
  if (const int code = git_remote_create_detached(&raw, url.c_str()); code != 0) {
    return tl::unexpected(connect_error(url, code));
  }
  const git::Remote remote(raw);
  if (const int code =
          git_remote_connect(remote.get(), GIT_DIRECTION_FETCH, nullptr, nullptr, nullptr);
      code != 0) {
    return tl::unexpected(connect_error(url, code));
  }
  const auto ref = branch.empty() ? default_branch(remote.get()) : "refs/heads/" + branch;
  const git_remote_head** heads = nullptr;
  std::size_t count = 0;
  if (const int code = git_remote_ls(&heads, &count, remote.get()); code != 0) {
    return tl::unexpected(connect_error(url, code));
  }
  for (std::size_t i = 0; i < count; ++i) {
    if (ref == heads[i]->name) return RemoteHead{ref, sha_of(heads[i]->oid)};
  }
  if (branch.empty()) {
    return fail(ErrorCode::not_found, url +
                                          " has no default branch; push a commit to it first, or "
                                          "create the project with --branch");
  }
  return fail(ErrorCode::not_found,
              "the repository at " + url + " has no branch '" + branch + "'; push it first");
}

}  // namespace atlasflow::builder
