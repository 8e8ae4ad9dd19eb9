#include "builder/source/remote_head.hpp"

#include <array>

#include <git2.h>

#include "builder/source/git_handles.hpp"
#include "events/ssh_address.hpp"

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

int on_host_key(git_cert* certificate, int /*valid*/, const char* /*host*/, void* payload) {
  return static_cast<CredentialCallback*>(payload)->check_host(certificate);
}

// Error of a connection that did not come about.
Error connect_error(const std::string& url, int code, const CredentialCallback& credential,
                    const RemoteCall& call) {
  const auto said = git::last_message();
  if (call.stop().stop_requested()) {
    return {ErrorCode::cancelled, "the look at " + url + " was given up", said};
  }
  if (call.sent_too_many_refs()) return too_many_refs(url);
  if (auto refusal = credential.refusal(code, said)) return *std::move(refusal);
  if (code == GIT_ENOTFOUND || said.find("404") != std::string::npos) {
    return {ErrorCode::not_found,
            "no repository at " + url + "; check the URL that the project was created with", said};
  }
  if (code == GIT_ECERTIFICATE) {
    return {ErrorCode::user_error, "the TLS certificate of " + url + " is not valid", said};
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
int connect(git_remote* remote, CredentialCallback& credential, bool is_ssh) {
  git_remote_callbacks callbacks = GIT_REMOTE_CALLBACKS_INIT;
  callbacks.credentials = on_credential;
  if (is_ssh) callbacks.certificate_check = on_host_key;
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
                               const CredentialSource& source, const HostKeyCheck& host_key,
                               const std::stop_token& stop, std::uint64_t refs_bytes_max) {
  git::start_library();
  CredentialCallback credential(source, host_key, url);
  RemoteCall call(url, stop, refs_bytes_max);  // outlives the remote's connection
  const auto failed = [&](int code) {
    return tl::unexpected(connect_error(url, code, credential, call));
  };
  git_remote* raw = nullptr;
  if (const int code = git_remote_create_detached(&raw, url.c_str()); code != 0) {
    return failed(code);
  }
  const git::Remote remote(raw);
  if (const int code = connect(remote.get(), credential, is_ssh_url(url)); code != 0)
    return failed(code);
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
