#include "server/engines_domains.hpp"

#include <algorithm>
#include <chrono>
#include <utility>

#include <openssl/crypto.h>

#include "base/log.hpp"
#include "domains/certificates/upload.hpp"
#include "domains/domain_name.hpp"
#include "edge/tls/shown_certificate.hpp"

namespace atlasflow::server {
namespace {

constexpr auto k_handshake_timeout = std::chrono::seconds(5);
// Of one call, whose caller waits a minute for it.
constexpr auto k_handshakes_in_all = std::chrono::seconds(30);
// Of one message to the edge, so that none is longer than it takes.
constexpr std::size_t k_given_at_once = 100;

// A host that is shown what was given for this one: a wildcard is seen at any name below it.
std::string visited_host(const std::string& host) {
  return host.starts_with("*.") ? "certificate-check" + host.substr(1) : host;
}

}  // namespace

Result<void> EdgeChallenges::put(edge::Challenge challenge) {
  const std::lock_guard lock(mutex_);
  std::erase_if(challenges_, [&](const auto& each) {
    return each.host == challenge.host && each.token == challenge.token;
  });
  challenges_.push_back(std::move(challenge));
  auto set = edge_.set_challenges(challenges_);
  if (!set) challenges_.pop_back();
  return set;
}

void EdgeChallenges::remove(const std::string& host, const std::string& token) {
  const std::lock_guard lock(mutex_);
  std::erase_if(challenges_,
                [&](const auto& each) { return each.host == host && each.token == token; });
  if (const auto set = edge_.set_challenges(challenges_); !set) {
    // It is of no harm there: its order is over. The next change takes it away.
    log_event(LogLevel::warn, "domains", "challenge_not_removed",
              {{"domain", host}, {"error", to_string(set.error())}});
  }
}

LocalDomainEngine::LocalDomainEngine(Config config,
                                     std::unique_ptr<domains::CertificateStore> store,
                                     edge::Edge& edge, std::unique_ptr<domains::TxtBoard> dns)
    : config_(std::move(config)),
      store_(std::move(store)),
      edge_(edge),
      challenges_(edge),
      dns_(std::move(dns)),
      issuer_(
          config_.acme, *store_, challenges_, dns_.get(),
          config_.fallback ? std::vector{*config_.fallback} : std::vector<domains::AcmeConfig>()) {}

Result<actors::DomainName> LocalDomainEngine::name_of(const std::string& typed) const {
  ATLAS_TRY(auto name, domains::parse_domain_name(typed));
  return actors::DomainName{std::move(name.name), std::move(name.display_name), name.is_apex,
                            std::move(name.registered)};
}

// The resolvers anew each time: /etc/resolv.conf changes while a server runs. The CAA records that
// are looked up are judged by the CA's names, so they are asked for with them, in the same time.
Result<pb::DnsObservation> LocalDomainEngine::look_up(const std::string& domain,
                                                      const std::string& ownership_name,
                                                      std::stop_token stop) {
  domains::LookupConfig looking{.resolvers = config_.resolvers};
  if (!config_.acme.directory.empty()) {
    const auto since = std::chrono::steady_clock::now();
    issuer_.ask_caa_identities(stop);
    looking.in_all -= std::chrono::duration_cast<std::chrono::milliseconds>(
        std::chrono::steady_clock::now() - since);
  }
  ATLAS_TRY(const auto lookup, domains::DomainLookup::make(std::move(looking)));
  return lookup.look_up(domain, ownership_name, stop);
}

actors::IssueResult LocalDomainEngine::order(const actors::CertificateJob& job,
                                             std::stop_token stop) {
  struct UnderWay {
    UnderWay(LocalDomainEngine& in, const EffectId& effect) : engine(in) {
      const std::lock_guard lock(engine.orders_mutex_);
      place = engine.orders_.insert(effect);
    }
    ~UnderWay() {
      const std::lock_guard lock(engine.orders_mutex_);
      engine.orders_.erase(place);
    }
    UnderWay(const UnderWay&) = delete;
    UnderWay& operator=(const UnderWay&) = delete;
    LocalDomainEngine& engine;
    std::multiset<EffectId>::iterator place;
  };
  const UnderWay under_way(*this, job.effect);
  return issuer_.order({.effect = job.effect,
                        .names = job.names,
                        .directory = job.directory,
                        .renews = job.renews,
                        .remaining = job.remaining,
                        .unreached_by = job.unreached_by},
                       stop);
}

actors::RenewalNews LocalDomainEngine::renewal_news(const std::string& fingerprint,
                                                    const std::string& directory,
                                                    std::stop_token stop) {
  auto news = issuer_.renewal_news(fingerprint, directory, stop);
  return {std::move(news.advised), news.ask_again_in, std::move(news.trouble)};
}

bool LocalDomainEngine::gives_renewal_advice(const std::string& directory) const {
  return issuer_.gives_renewal_advice(directory);
}

Result<std::string> LocalDomainEngine::change_account_key(const std::string& directory,
                                                          std::stop_token stop) {
  auto changed = issuer_.change_account_key(directory, stop);
  if (changed) return std::move(*changed);
  const auto& error = changed.error();
  const auto code = error.kind == pb::CERTIFICATE_PROBLEM_UNAVAILABLE ? ErrorCode::unavailable
                    : error.kind == pb::CERTIFICATE_PROBLEM_LOCAL     ? ErrorCode::internal
                                                                      : ErrorCode::conflict;
  return fail(code, error.reason);
}

Result<pb::CertificateIssued> LocalDomainEngine::keep_upload(
    const std::string& domain, const actors::CertificateUpload& upload) {
  const auto now = std::chrono::duration_cast<std::chrono::microseconds>(
      std::chrono::system_clock::now().time_since_epoch());
  ATLAS_TRY(auto checked, domains::check_upload({.chain_pem = upload.chain,
                                                 .key_pem = upload.key,
                                                 .host = domain,
                                                 .now_us = now.count(),
                                                 .roots_file = config_.roots_file}));
  auto kept = store_->put_uploaded(checked);
  OPENSSL_cleanse(checked.key_pem.data(), checked.key_pem.size());
  ATLAS_TRYV(std::move(kept));
  log_event("domains", "certificate_uploaded",
            {{"domain", domain},
             {"fingerprint", checked.facts.fingerprint()},
             {"issuer", checked.facts.issuer()}});
  return std::move(checked.facts);
}

// ---- what the edge shows ------------------------------------------------------------------------

Result<void> LocalDomainEngine::give(const Given& given, const std::vector<std::string>& removed,
                                     Publishing& publishing) {
  if (given.certificates.empty() && removed.empty()) return {};
  auto changed = edge_.change_certificates(given.certificates, removed);
  if (!changed && changed.error().code == ErrorCode::invalid_argument &&
      given.certificates.size() > 1) {
    // One of them is wrong: which one, the edge says of each by itself.
    for (std::size_t i = 0; i < given.certificates.size(); ++i) {
      ATLAS_TRYV(give({{given.choices[i]}, {given.certificates[i]}},
                      i == 0 ? removed : std::vector<std::string>{}, publishing));
    }
    return {};
  }
  if (!changed && changed.error().code == ErrorCode::invalid_argument &&
      given.certificates.size() == 1) {
    publishing.done.lost.emplace_back(given.choices.front(), changed.error().message);
    return give({}, removed, publishing);
  }
  if (!changed) return changed;
  for (const auto& choice : given.choices) {
    proved_.erase(choice.domain);
    publishing.in_place.push_back(choice);
  }
  return {};
}

// Also what an earlier call gave and could not prove: that the edge has it proves nothing. One that
// fails keeps no other from being proved, and those are not asked again with the next call.
void LocalDomainEngine::prove(Publishing& publishing) {
  const auto until = std::chrono::steady_clock::now() + k_handshakes_in_all;
  const auto failed = [&](const std::string& domain, const std::string& why) {
    if (publishing.failed) return;
    publishing.failed =
        Error{ErrorCode::unavailable, "the edge does not show the certificate for " + domain, why};
  };
  std::map<std::string, std::string> proved;
  for (const auto& choice : publishing.in_place) {
    const auto before = proved_.find(choice.domain);
    if (before == proved_.end() || before->second != choice.fingerprint) {
      if (std::chrono::steady_clock::now() > until) {
        failed(choice.domain, "there was no time to ask it");
        continue;
      }
      const auto shown = edge::shown_fingerprint(config_.https_address, edge_.https_port(),
                                                 visited_host(choice.domain), k_handshake_timeout);
      if (!shown || *shown != choice.fingerprint) {
        failed(choice.domain, shown ? "it shows another one" : to_string(shown.error()));
        continue;
      }
    }
    proved.emplace(choice.domain, choice.fingerprint);
    publishing.done.shown.push_back(choice);
  }
  proved_ = std::move(proved);
}

Result<actors::PublishedCertificates> LocalDomainEngine::publish(
    const std::vector<actors::CertificateChoice>& table) {
  const auto number = ++publishes_begun_;
  const std::lock_guard lock(publish_mutex_);
  if (number < published_) {
    return fail(ErrorCode::unavailable, "the edge has been given a newer table meanwhile");
  }
  published_ = number;
  const auto in_force = edge_.certificates();
  std::set<std::string> wanted;
  Publishing publishing;
  std::vector<Given> batches(1);
  for (const auto& choice : table) {
    wanted.insert(choice.domain);
    const auto here = in_force.find(choice.domain);
    if (here != in_force.end() && here->second == choice.fingerprint) {
      publishing.in_place.push_back(choice);
      continue;
    }
    auto stored = store_->certificate(choice.fingerprint);
    if (!stored) {
      const auto code = stored.error().code;
      if (code == ErrorCode::not_found || code == ErrorCode::corrupt) {
        publishing.done.lost.emplace_back(choice, stored.error().message);
      } else if (!publishing.failed) {
        publishing.failed = stored.error();
      }
      continue;
    }
    if (batches.back().choices.size() == k_given_at_once) batches.emplace_back();
    batches.back().choices.push_back(choice);
    batches.back().certificates.push_back({choice.domain, choice.fingerprint,
                                           std::move(stored->chain_pem),
                                           std::move(stored->key_pem)});
  }
  std::vector<std::string> removed;
  for (const auto& [host, fingerprint] : in_force) {
    if (!wanted.contains(host)) removed.push_back(host);
  }
  for (const auto& batch : batches) {
    ATLAS_TRYV(give(batch, std::exchange(removed, {}), publishing));
  }
  prove(publishing);
  if (publishing.failed) return tl::unexpected(std::move(*publishing.failed));
  return std::move(publishing.done);
}

// ---- the store ----------------------------------------------------------------------------------

// The lists may be older than an order that is under way, whose records they would take from it. No
// order begins while the store is swept.
Result<void> LocalDomainEngine::keep_only(const std::set<std::string>& fingerprints,
                                          const std::set<EffectId>& unfinished) {
  const std::lock_guard lock(orders_mutex_);
  auto effects = unfinished;
  effects.insert(orders_.begin(), orders_.end());
  return store_->keep_only(fingerprints, effects);
}

std::vector<std::string> LocalDomainEngine::caa_identities(const std::string& directory) const {
  if (config_.acme.directory.empty() || directory.empty()) return {};
  return issuer_.caa_identities(directory);
}

std::string LocalDomainEngine::describe() const {
  return std::to_string(edge_.certificates().size()) + " shown, " +
         (config_.acme.directory.empty()
              ? "none ordered"
              : "ordered from " + config_.acme.directory +
                    (config_.fallback ? ", or " + config_.fallback->directory : std::string()));
}

}  // namespace atlasflow::server
