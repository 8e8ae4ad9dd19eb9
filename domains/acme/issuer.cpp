#include "domains/acme/issuer.hpp"

#include <algorithm>
#include <utility>

namespace atlasflow::domains {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;

constexpr microseconds k_second{1'000'000};
constexpr std::chrono::minutes k_identities_pause{10};

AcmeError failure(pb::CertificateProblem kind, std::string reason) {
  AcmeError error;
  error.kind = kind;
  error.reason = std::move(reason);
  return error;
}

bool is_wildcard(const std::string& name) { return name.starts_with("*."); }

}  // namespace

// One key has one account (RFC 8555 section 7.3.1): two first orders at once find the same.
AcmeResult<void> Issuer::enter_account(AcmeClient& client, const AcmeConfig& config) {
  ATLAS_TRYV(client.find_or_make_account());
  auto kept = store_.set_account_url(config.directory, config.external_key_id, client.account());
  if (!kept) return tl::unexpected(local_failure(kept.error()));
  return {};
}

IssueResult Issuer::order(const OrderRequest& request, const std::stop_token& stop) {
  const auto failed = [](const AcmeError& error) { return tl::unexpected(to_event(error)); };
  auto stored = store_.order(request.effect);
  if (!stored) return failed(local_failure(stored.error()));
  if (!stored->fingerprint.empty()) {
    auto issued = store_.certificate(stored->fingerprint);
    if (!issued) return failed(local_failure(issued.error()));
    return issued->facts;
  }
  const auto wildcard = std::ranges::find_if(request.names, is_wildcard);
  const bool by_dns = wildcard != request.names.end();
  if (by_dns && dns_ == nullptr) {
    return failed(failure(pb::CERTIFICATE_PROBLEM_REFUSED,
                          *wildcard + " can't be ordered: a wildcard is proved by DNS; set "
                                      "domains.dns01_hook or domains.dns01_server in the server's "
                                      "configuration"));
  }
  AcmeConfig config = config_of(request.directory);
  config.request_timeout =
      std::min(config.request_timeout, std::chrono::duration_cast<milliseconds>(request.remaining));
  if (request.remaining <= k_second) {
    return failed(failure(pb::CERTIFICATE_PROBLEM_UNAVAILABLE,
                          "There is no time left for the order; another one follows"));
  }

  const std::shared_lock in_use(account_mutex_);
  auto account = store_.account(config.directory, config.external_key_id);
  if (!account) return failed(local_failure(account.error()));
  if (account->next_key) {
    const bool is_made = stored->announced || !stored->url.empty();
    const auto settled = settle_before(request, is_made, config, *account, stop);
    if (!settled) return failed(settled.error());
  }
  AcmeClient client(config, account->key.get(), account->url, stop);
  OrderProgress progress(request, config, store_, board_, by_dns ? dns_ : nullptr, client,
                         account->key.get(), stop);
  if (auto opened = progress.open(*stored); !opened) return failed(opened.error());
  keep_identities(config.directory, client);
  if (account->url.empty()) {
    if (auto entered = enter_account(client, config); !entered) return failed(entered.error());
  }
  auto issued = progress.run(std::move(*stored));
  if (!issued && issued.error().type == "accountDoesNotExist") {
    // A CA that has forgotten it, as one does that was set up anew.
    if (auto entered = enter_account(client, config); !entered) return failed(entered.error());
    stored = store_.order(request.effect);
    if (!stored) return failed(local_failure(stored.error()));
    issued = progress.run(std::move(*stored));
  }
  if (!issued) return failed(issued.error());
  return std::move(*issued);
}

AcmeConfig Issuer::config_of(const std::string& directory) const {
  const auto other = std::ranges::find(others_, directory, &AcmeConfig::directory);
  AcmeConfig config = other == others_.end() ? config_ : *other;
  if (!directory.empty()) config.directory = directory;
  return config;
}

const Issuer::Known* Issuer::known_of(const std::string& directory) const {
  const auto known = known_.find(directory.empty() ? config_.directory : directory);
  return known == known_.end() ? nullptr : &known->second;
}

std::vector<std::string> Issuer::caa_identities(const std::string& directory) const {
  const std::lock_guard lock(known_mutex_);
  const auto* known = known_of(directory);
  return known == nullptr ? std::vector<std::string>() : known->caa_identities;
}

void Issuer::ask_caa_identities(const std::stop_token& stop) {
  ask_caa_identities(config_, stop);
  for (const auto& other : others_) ask_caa_identities(other, stop);
}

void Issuer::ask_caa_identities(const AcmeConfig& authority, const std::stop_token& stop) {
  {
    const std::lock_guard lock(known_mutex_);
    auto& ask_at = known_[authority.directory].ask_at;
    const auto now = Clock::now();
    if (!ask_at || now < *ask_at) return;
    ask_at = now + k_identities_pause;
  }
  AcmeConfig config = authority;
  config.request_timeout = std::min(config.request_timeout, k_identities_timeout);
  AcmeClient client(config, nullptr, "", stop);  // nothing is signed
  if (client.open()) keep_identities(config.directory, client);
}

void Issuer::keep_identities(const std::string& directory, const AcmeClient& client) {
  const std::lock_guard lock(known_mutex_);
  known_[directory] = {client.knows_renewal_information(), client.caa_identities(), std::nullopt};
}

}  // namespace atlasflow::domains
