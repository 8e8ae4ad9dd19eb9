#include "builder/source/credential.hpp"

#include <exception>
#include <utility>

#include "builder/source/repository_url.hpp"

namespace atlasflow::builder {

int CredentialCallback::answer(git_credential** out, unsigned int allowed) {
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
  return git_credential_userpass_plaintext_new(out, given_->username.c_str(),
                                               given_->password.reveal().c_str());
}

bool CredentialCallback::ask_again() {
  if (!given_ || asked_again_ || error_) return false;
  asked_again_ = true;
  earlier_ = std::exchange(given_, std::nullopt);
  refused_ = false;
  return true;
}

}  // namespace atlasflow::builder
