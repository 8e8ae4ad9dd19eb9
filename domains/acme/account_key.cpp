// Another key for an account (RFC 8555 section 7.3.5). The next key is sealed on disk before the CA
// hears of it, and stays there beside the old one until the CA has taken or refused it: so neither
// a process that is killed nor an answer that is lost or late loses the account.
#include <algorithm>
#include <optional>
#include <thread>
#include <utility>

#include "base/log.hpp"
#include "domains/acme/issuer.hpp"
#include "domains/acme/jose.hpp"

namespace atlasflow::domains {
namespace {

using nlohmann::ordered_json;

// Who asks for it waits a minute.
constexpr std::chrono::milliseconds k_key_request_timeout{8'000};
constexpr std::chrono::seconds k_orders_waited_for{10};
constexpr std::chrono::milliseconds k_settle_again{500};

AcmeError refused(std::string reason) {
  AcmeError error;
  error.kind = pb::CERTIFICATE_PROBLEM_REFUSED;
  error.reason = std::move(reason);
  return error;
}

// A thumbprint is a digest of the public half.
std::string changed_to(const AcmeConfig& config, const StoredAccount& account) {
  auto thumbprint = thumbprint_of(account.key.get());
  log_event("domains", "account_key_changed",
            {{"directory", config.directory}, {"thumbprint", thumbprint}});
  return thumbprint;
}

}  // namespace

// ---- what the CA is asked -----------------------------------------------------------------------

AcmeResult<bool> AcmeClient::find_account() {
  // Nothing else: what an account is made with may be spent or gone (RFC 8555 section 7.3.1).
  const ordered_json payload = {{"onlyReturnExisting", true}};
  const auto response = post(new_account_, payload.dump(), "its account", Speaker::key);
  if (!response && response.error().type == "accountDoesNotExist") return false;
  if (!response) return tl::unexpected(response.error());
  ATLAS_TRYV(take_account(*response));
  return true;
}

// The old key says that it is the account's wish, the new one that it is whoever has that key's.
AcmeResult<void> AcmeClient::change_key(EVP_PKEY* next) {
  ordered_json header;
  header["alg"] = "ES256";
  header["jwk"] = jwk_of(next);
  header["url"] = key_change_;
  ordered_json change;
  change["account"] = account_;
  change["oldKey"] = jwk_of(key_);
  ATLAS_TRYV(
      post(key_change_, sign_es256(next, header, change.dump()), "another key for its account"));
  key_ = next;
  return {};
}

// ---- which key it is ----------------------------------------------------------------------------

AcmeResult<bool> Issuer::is_key_of(EVP_PKEY* key, const std::string& account,
                                   const AcmeConfig& config, const std::stop_token& stop) {
  AcmeClient client(config, key, "", stop);
  ATLAS_TRYV(client.open());
  ATLAS_TRY(const bool found, client.find_account());
  return found && client.account() == account;
}

AcmeResult<void> Issuer::settle_key_change(const AcmeConfig& config, StoredAccount& account,
                                           const std::stop_token& stop) {
  ATLAS_TRY(const bool is_next, is_key_of(account.next_key.get(), account.url, config, stop));
  return is_next ? end_key_change(config, account, true) : AcmeResult<void>();
}

AcmeResult<void> Issuer::end_key_change(const AcmeConfig& config, StoredAccount& account,
                                        bool take_next) {
  const auto ended = store_.end_key_change(config.directory, config.external_key_id, take_next);
  if (!ended) return tl::unexpected(local_failure(ended.error()));
  if (take_next) account.key = std::move(account.next_key);
  account.next_key.reset();
  return {};
}

AcmeResult<void> Issuer::settle_before(const OrderRequest& request, bool is_made,
                                       const AcmeConfig& config, StoredAccount& account,
                                       const std::stop_token& stop) {
  const auto until = std::chrono::steady_clock::now() + request.remaining;
  while (true) {
    auto settled = settle_key_change(config, account, stop);
    const bool may_pass = !settled && settled.error().kind == pb::CERTIFICATE_PROBLEM_UNAVAILABLE;
    if (!may_pass || !is_made || stop.stop_requested() ||
        std::chrono::steady_clock::now() + k_settle_again > until) {
      return settled;
    }
    std::this_thread::sleep_for(k_settle_again);
  }
}

// ---- the change ---------------------------------------------------------------------------------

AcmeResult<std::string> Issuer::change_account_key(const std::string& directory,
                                                   const std::stop_token& stop) {
  // An order that is under way signs with the old key.
  const std::unique_lock alone(account_mutex_, k_orders_waited_for);
  if (!alone) {
    return tl::unexpected(refused(
        "A certificate is being ordered with the account's key; try again in some minutes"));
  }
  AcmeConfig config = config_of(directory);
  config.request_timeout = std::min(config.request_timeout, k_key_request_timeout);
  auto account = store_.account(config.directory, config.external_key_id);
  if (!account) return tl::unexpected(local_failure(account.error()));
  if (account->url.empty()) {
    return tl::unexpected(refused("This server has no account at " + config.directory +
                                  " yet; it makes one with its first order there"));
  }
  const auto before = thumbprint_of(account->key.get());
  if (account->next_key) {
    // One that was begun and interrupted, which the CA may have taken.
    ATLAS_TRYV(settle_key_change(config, *account, stop));
    if (thumbprint_of(account->key.get()) != before) return changed_to(config, *account);
  }
  std::optional<AcmeClient> client(std::in_place, config, account->key.get(), account->url, stop);
  ATLAS_TRYV(client->open());
  if (!client->changes_keys()) {
    return tl::unexpected(
        refused("The certificate authority changes no account's key: its "
                "directory has no keyChange"));
  }
  // The client goes on with the key that is in `account`.
  auto begun = store_.begin_key_change(config.directory, config.external_key_id);
  if (!begun) return tl::unexpected(local_failure(begun.error()));
  const auto changed = client->change_key(begun->next_key.get());
  client.reset();  // with its connection: what follows has one of its own
  if (changed) {
    ATLAS_TRYV(end_key_change(config, *begun, true));
    return changed_to(config, *begun);
  }
  auto why = changed.error();
  // Without its word it is asked which of both it knows now. That it knows the old one is no proof:
  // it may take the new one a moment later.
  if (auto settled = settle_key_change(config, *begun, stop); !settled) {
    settled.error().reason += "; the next order finds out which of both keys is the account's";
    return tl::unexpected(std::move(settled.error()));
  }
  if (thumbprint_of(begun->key.get()) != before) return changed_to(config, *begun);
  constexpr int k_refusals_begin = 400;
  constexpr int k_refusals_end = 500;
  if (why.status < k_refusals_begin || why.status >= k_refusals_end) {
    why.reason += "; each order asks which of both keys is the account's until that is known";
    return tl::unexpected(std::move(why));
  }
  ATLAS_TRYV(end_key_change(config, *begun, false));
  if (why.status == 409) {
    return tl::unexpected(
        refused("The certificate authority knows another account by the new key, so this one "
                "keeps its own; try again, with another new key"));
  }
  return tl::unexpected(std::move(why));
}

}  // namespace atlasflow::domains
