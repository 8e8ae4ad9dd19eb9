#include "builder/source/credential.hpp"

#include <exception>
#include <utility>

#include "base/ssh_key.hpp"
#include "builder/source/repository_url.hpp"
#include "events/ssh_address.hpp"

namespace atlasflow::builder {
namespace {

bool contains(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

// How servers say that there is none, or none for whoever asks.
bool is_no_repository(const std::string& said) {
  for (const char* words :
       {"does not appear to be a git repository", "epository not found", "does not exist",
        "ould not be found", "not allowed to", "o such project"}) {
    if (contains(said, words)) return true;
  }
  return false;
}

}  // namespace

int CredentialCallback::ask() {
  Result<std::optional<Credential>> credential;
  try {
    credential = source_(earlier_ ? &*earlier_ : nullptr);
  } catch (const std::exception&) {
    return GIT_EAUTH;  // libgit2 is C: nothing may be thrown through it.
  }
  if (!credential) {
    error_ = std::move(credential.error());
    return GIT_EAUTH;
  }
  if (!*credential) return GIT_PASSTHROUGH;
  given_ = **std::move(credential);
  return 0;
}

// A key is for SSH alone, and a password never is: it could be of another use.
int CredentialCallback::give_key(git_credential** out) {
  const auto address = parsed_ssh_url(url_);
  if (!address || !source_) return GIT_EAUTH;
  if (const int code = ask(); code != 0) return GIT_EAUTH;
  if (given_->private_key.empty()) return GIT_EAUTH;
  return git_credential_ssh_key_memory_new(out, address->user.c_str(), nullptr,
                                           given_->private_key.reveal().c_str(), nullptr);
}

int CredentialCallback::answer(git_credential** out, unsigned int allowed) {
  if (is_ssh_url(url_)) {
    if ((allowed & GIT_CREDENTIAL_USERNAME) != 0) {
      const auto address = parsed_ssh_url(url_);
      return address ? git_credential_username_new(out, address->user.c_str()) : GIT_EAUTH;
    }
    if (given_) refused_ = true;
    if (given_ || (allowed & GIT_CREDENTIAL_SSH_MEMORY) == 0) return GIT_EAUTH;
    return give_key(out);
  }
  if ((allowed & GIT_CREDENTIAL_USERPASS_PLAINTEXT) == 0) return GIT_PASSTHROUGH;
  if (given_) {
    refused_ = true;
    return GIT_EAUTH;
  }
  if (!source_) return GIT_PASSTHROUGH;
  if (url_.starts_with("http://") && !is_loopback(authority_of(url_))) {
    would_leak_ = true;
    return GIT_EAUTH;
  }
  if (const int code = ask(); code != 0) return code;
  return git_credential_userpass_plaintext_new(out, given_->username.c_str(),
                                               given_->password.reveal().c_str());
}

int CredentialCallback::check_host(const git_cert* certificate) {
  const auto refused = [this](const char* why) {
    error_ = Error{ErrorCode::user_error, why, {}};
    return static_cast<int>(GIT_ECERTIFICATE);
  };
  const auto address = parsed_ssh_url(url_);
  if (!address || certificate->cert_type != GIT_CERT_HOSTKEY_LIBSSH2) {
    return refused("the SSH host shows no key that can be looked at");
  }
  const auto* key = reinterpret_cast<const git_cert_hostkey*>(certificate);
  if ((key->type & GIT_CERT_SSH_RAW) == 0 || key->hostkey == nullptr) {
    return refused("the SSH host shows no key that can be looked at");
  }
  if (!host_key_) return refused("nobody says which SSH hosts are to be trusted");
  Result<void> checked;
  try {
    checked = host_key_(host_name_of(*address), ssh_fingerprint({key->hostkey, key->hostkey_len}));
  } catch (const std::exception&) {
    return refused("the SSH host's key could not be compared");
  }
  if (checked) return 0;
  error_ = std::move(checked.error());
  return GIT_ECERTIFICATE;
}

std::optional<Error> CredentialCallback::refusal(int code, const std::string& said) const {
  if (error_) return error_;
  if (would_leak_) {
    return Error{ErrorCode::user_error,
                 url_ + " wants a password, which is not sent over http://; use https://",
                 {}};
  }
  if (is_ssh_url(url_)) {
    if (is_no_repository(said)) {
      return Error{ErrorCode::not_found,
                   "there is no repository at " + url_ +
                       " for the project's deploy key: check the URL, and add the key to it there "
                       "('atlasflow project deploy-key' prints it)",
                   said};
    }
    if (refused_ || code == GIT_EAUTH) {
      return Error{ErrorCode::user_error,
                   "access to " + url_ +
                       " was denied; add the project's deploy key to the repository there "
                       "('atlasflow project deploy-key' prints it)",
                   said};
    }
    return std::nullopt;
  }
  if (!refused_ && code != GIT_EAUTH && !contains(said, "status code: 401") &&
      !contains(said, "status code: 403")) {
    return std::nullopt;
  }
  const bool has_login = was_given();
  return Error{ErrorCode::user_error,
               "access to " + url_ +
                   (has_login ? " was denied; renew the credential that the project uses for it"
                              : " was denied; if it is private, install a GitHub App on it "
                                "(atlasflow github connect), or give the project a login "
                                "(atlasflow project login)"),
               said};
}

bool CredentialCallback::ask_again() {
  // A token may have run out; a key that was refused is refused again.
  if (!given_ || asked_again_ || error_ || is_ssh_url(url_)) return false;
  asked_again_ = true;
  earlier_ = std::exchange(given_, std::nullopt);
  refused_ = false;
  return true;
}

}  // namespace atlasflow::builder
