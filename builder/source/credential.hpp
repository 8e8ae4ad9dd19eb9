// What a remote repository is opened with, and libgit2's questions for it. Internal to builder/ but
// for the types before the class; blocking, one CredentialCallback for one connection's thread.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include <git2.h>

#include "base/error.hpp"
#include "base/secret.hpp"

namespace atlasflow::builder {

struct Credential {
  std::string username;
  Secret password;          // or a token
  Secret private_key = {};  // of an SSH remote, in its place: PEM as OpenSSH writes it
};

// Asked when a remote wants a login; nothing: there is none for it. refused: what it returned
// before and the remote took no more, a token that ended in the middle of a fetch for instance;
// null at first. Its error becomes that of the fetch.
using CredentialSource =
    std::function<Result<std::optional<Credential>>(const Credential* refused)>;

// What an SSH host shows before anybody logs in. host: host_name_of(); fingerprint: "SHA256:…". Its
// error becomes that of the fetch.
using HostKeyCheck =
    std::function<Result<void>(const std::string& host, const std::string& fingerprint)>;

// Answers libgit2, and remembers what came of it: once with what the source has, and after
// ask_again() once with what it has instead.
class CredentialCallback {
 public:
  // All must outlive it. url: as the remote was made with. Without a check no SSH host is let in.
  CredentialCallback(const CredentialSource& source, const HostKeyCheck& host_key,
                     const std::string& url)
      : source_(source), host_key_(host_key), url_(url) {}

  // For git_remote_callbacks::credentials.
  int answer(git_credential** out, unsigned int allowed);
  // For git_remote_callbacks::certificate_check of an SSH remote.
  int check_host(const git_cert* certificate);

  [[nodiscard]] bool was_given() const { return given_ || earlier_; }
  // The remote asked again for what it had been given.
  [[nodiscard]] bool was_refused() const { return refused_; }
  // A password that would have gone over http:// to another machine.
  [[nodiscard]] bool would_leak() const { return would_leak_; }
  [[nodiscard]] const std::optional<Error>& error() const { return error_; }

  // What stands in the way of a login, when something does. said: by libgit2.
  [[nodiscard]] std::optional<Error> refusal(int code, const std::string& said) const;

  // Whether another try may help: something was given, and nothing was asked for anew so far.
  [[nodiscard]] bool ask_again();

 private:
  int give_key(git_credential** out);
  // Sets given_; 0, or what libgit2 is to be told.
  int ask();

  const CredentialSource& source_;
  const HostKeyCheck& host_key_;
  const std::string& url_;
  std::optional<Credential> given_;    // in this connection
  std::optional<Credential> earlier_;  // that was refused in the one before
  bool asked_again_ = false;
  bool refused_ = false;
  bool would_leak_ = false;
  std::optional<Error> error_;
};

}  // namespace atlasflow::builder
