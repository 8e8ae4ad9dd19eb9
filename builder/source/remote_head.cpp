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

int on_credential(git_credential** out, const char* /*url*/, const char* /*user*/,
                  unsigned int allowed, void* payload) {
  return static_cast<CredentialCallback*>(payload)->answer(out, allowed);
}

// Error of a connection that did not come about.
Error connect_error(const std::string& url, int code, const CredentialCallback& credential) {
  const auto said = git::last_message();
  if (credential.error()) return *credential.error();
  if (code == GIT_ENOTFOUND || said.find("404") != std::string::npos) {
    return {ErrorCode::not_found,
            "no repository at " + url + "; check the URL that the project was created with", said};
  }
  if (code == GIT_EAUTH || said.find("401") != std::string::npos ||
      said.find("403") != std::string::npos) {
    return {
        ErrorCode::user_error,
        "access to " + url +
            (credential.was_given()
                 ? " was denied; renew the credential that the project uses for it"
                 : " was denied; if it is private, install a GitHub App on it: atlasflow github "
                   "connect"),
        said};
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

// Connects by what the source has, and once more by what it has instead when that is refused.
int connect(git_remote* remote, CredentialCallback& credential) {
  git_remote_callbacks callbacks = GIT_REMOTE_CALLBACKS_INIT;
  callbacks.credentials = on_credential;
  callbacks.payload = &credential;
  const auto once = [&] {
    git_error_clear();
    return git_remote_connect(remote, GIT_DIRECTION_FETCH, &callbacks, nullptr, nullptr);
  };
  const int code = once();
  return code != 0 && credential.was_refused() && credential.ask_again() ? once() : code;
}

}  // namespace

Result<RemoteHead> remote_head(const std::string& url, const std::string& branch,
                               const CredentialSource& source) {
  git::start_library();
  CredentialCallback credential(source, url);
  const auto failed = [&](int code) {
    return tl::unexpected(connect_error(url, code, credential));
  };
  git_remote* raw = nullptr;
  if (const int code = git_remote_create_detached(&raw, url.c_str()); code != 0) {
    return failed(code);
  }
  const git::Remote remote(raw);
  if (const int code = connect(remote.get(), credential); code != 0) return failed(code);
  const auto ref = branch.empty() ? default_branch(remote.get()) : "refs/heads/" + branch;
  const git_remote_head** heads = nullptr;
  std::size_t count = 0;
  if (const int code = git_remote_ls(&heads, &count, remote.get()); code != 0) {
    return failed(code);
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
