#include "domains/acme/order.hpp"

#include <algorithm>
#include <condition_variable>
#include <utility>

#include "base/log.hpp"
#include "domains/acme/jose.hpp"
#include "domains/certificates/chain.hpp"

namespace atlasflow::domains {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;

constexpr milliseconds k_poll_longest{30'000};
// A certificate that was issued counts against the CA's limits: it is not thrown away because this
// machine's clock is not the CA's.
constexpr microseconds k_clock_behind{3'600'000'000};

AcmeError failure(pb::CertificateProblem kind, std::string reason) {
  AcmeError error;
  error.kind = kind;
  error.reason = std::move(reason);
  return error;
}

// A name server's failure is waited for like the CA's own.
AcmeError dns_failure(const Error& error) {
  auto made = local_failure(error);
  const bool is_theirs = error.code == ErrorCode::unavailable || error.code == ErrorCode::timed_out;
  if (is_theirs) made.kind = pb::CERTIFICATE_PROBLEM_UNAVAILABLE;
  made.by_own_dns = is_theirs;
  return made;
}

// Which of the order's names an authorization is about.
std::string name_of(const AcmeAuthorization& authorization) {
  return (authorization.wildcard ? "*." : "") + authorization.name;
}

std::string list_of(const std::vector<std::string_view>& words) {
  std::string text;
  for (const auto& word : words) text += (text.empty() ? "" : ", ") + std::string(word);
  return text;
}

// Whether the last of the chain was issued by who has that name.
bool ends_at(const std::string& pem, const std::string& name) {
  const auto chain = parse_certificates(pem);
  return chain && issuer_of(chain->back().get()) == name;
}

bool is_passing(const AcmeError& error) {
  return error.kind != pb::CERTIFICATE_PROBLEM_ABANDONED &&
         (error.status == 0 || error.status >= 500 || error.status == 429);
}

}  // namespace

// ---- the answers --------------------------------------------------------------------------------

void PostedAnswers::add(Posted posted) {
  const bool known = std::ranges::any_of(posted_, [&](const Posted& each) {
    return dns_ == nullptr ? each.host == posted.host && each.token == posted.token
                           : each.record == posted.record;
  });
  if (!known) posted_.push_back(std::move(posted));
}

Result<void> PostedAnswers::put(const AcmeAuthorization& authorization, const std::string& answer) {
  const auto& host = authorization.name;
  note(host, authorization.token, answer);
  if (dns_ == nullptr) {
    return authorization.challenge_type == k_tls_challenge
               ? board_.put_in_tls(host, authorization.token, answer)
               : board_.put(host, authorization.token, answer);
  }
  const auto record = txt_proof(host, answer);
  waited_for_.push_back(record);
  std::vector<TxtProof> records;
  for (const auto& each : posted_) records.push_back(each.record);
  ATLAS_TRYV(store_.set_order_records(request_.effect, records));
  return dns_->put(record, stop_);
}

void PostedAnswers::note(const std::vector<TxtProof>& left) {
  if (dns_ == nullptr) return;
  for (const auto& record : left) add({"", "", record});
}

void PostedAnswers::take_back() {
  for (const auto& each : posted_) {
    if (dns_ == nullptr) {
      board_.remove(each.host, each.token);
    } else {
      dns_->remove(each.record);
    }
  }
  posted_.clear();
}

// ---- its steps ----------------------------------------------------------------------------------

std::vector<std::string_view> challenges_for(const OrderRequest& request, const AcmeConfig& config,
                                             bool by_dns) {
  if (by_dns) return {k_dns_challenge};
  if (config.challenge == ChallengeChoice::http) return {k_http_challenge};
  if (config.challenge == ChallengeChoice::tls_alpn) return {k_tls_challenge};
  if (request.unreached_by == k_http_challenge) return {k_tls_challenge, k_http_challenge};
  return {k_http_challenge, k_tls_challenge};
}

// By which port it did not come through, and whether the next order tries the other one.
void OrderProgress::tell_of_connection(AcmeError& error, std::string_view challenge) const {
  error.unreached_by = challenge;
  constexpr std::string_view k_usual = "port 80";
  if (challenge == k_tls_challenge) {
    const auto at = error.reason.find(k_usual);
    if (at != error.reason.npos) error.reason.replace(at, k_usual.size(), "port 443");
  }
  if (config_.challenge != ChallengeChoice::automatic) return;
  error.reason += std::string(". The next order is proved over port ") +
                  (challenge == k_http_challenge ? "443 (TLS-ALPN-01)" : "80 (HTTP-01)") +
                  " where the authority offers that";
}

AcmeResult<void> OrderProgress::open(const StoredOrder& stored) {
  // Before anything is asked, so that whatever ends the order takes them back.
  posted_.note(stored.records);
  if (!stored.announced && stored.url.empty()) return client_.open();
  poll_ = config_.poll_first;
  return ask_patiently([&] { return client_.open(); });
}

AcmeResult<pb::CertificateIssued> OrderProgress::run(StoredOrder stored) {
  ATLAS_TRY(order_, begin(stored));
  ATLAS_TRYV(authorize());
  ATLAS_TRYV(finalize(stored.key.get()));
  return fetch(stored.key.get());
}

AcmeResult<void> OrderProgress::pause(std::optional<std::int64_t> ask_again_at_us) {
  const auto stopped = failure(pb::CERTIFICATE_PROBLEM_ABANDONED, "The order was stopped");
  // Before the time is looked at: who stops an order at its last moment does not fail it.
  if (stop_.stop_requested()) return tl::unexpected(stopped);
  Clock::duration wait = std::exchange(poll_, std::min(poll_ * 2, k_poll_longest));
  if (ask_again_at_us) {
    // A time in the past is a CA that has nothing against being asked at once.
    wait = std::max<Clock::duration>(microseconds(*ask_again_at_us - now_us()), config_.poll_first);
  }
  const auto now = Clock::now();
  if (now + wait >= until_) {
    return tl::unexpected(
        failure(pb::CERTIFICATE_PROBLEM_UNAVAILABLE,
                "The certificate authority did not come to an end in time; another order follows"));
  }
  std::mutex mutex;
  std::condition_variable_any waiting;
  std::unique_lock lock(mutex);
  waiting.wait_until(lock, stop_, now + wait, [] { return false; });
  if (stop_.stop_requested()) return tl::unexpected(stopped);
  return {};
}

// An error that passes is waited for; when no time is left for that, it is how the order ends.
AcmeResult<void> OrderProgress::outwait(const AcmeError& error) {
  if (!is_passing(error)) return tl::unexpected(error);
  auto waited = pause(error.retry_at_us);
  if (waited || waited.error().kind == pb::CERTIFICATE_PROBLEM_ABANDONED) return waited;
  return tl::unexpected(error);
}

// For questions that may be asked again without any harm.
template <typename Ask>
auto OrderProgress::ask_patiently(Ask ask) -> decltype(ask()) {
  while (true) {
    auto answer = ask();
    if (answer) return answer;
    ATLAS_TRYV(outwait(answer.error()));
  }
}

std::string OrderProgress::replaced_id() {
  if (request_.renews.empty() || !client_.knows_renewal_information()) return {};
  const auto before = store_.certificate(request_.renews);
  if (!before) return {};
  const auto chain = parse_certificates(before->chain_pem);
  return chain ? renewal_id_of(chain->front().get()) : std::string();
}

// Between the CA's answer and its record a crash leaves an order that has no URL here. The
// account's list tells of it, with the CAs that have one; the others give the same order again, as
// long as it is pending (Boulder), or let the other one expire.
AcmeResult<AcmeOrder> OrderProgress::begin(const StoredOrder& stored) {
  resumed_ = stored.announced || !stored.url.empty();
  if (!stored.url.empty()) {
    return ask_patiently([&] { return client_.order(stored.url); });
  }
  std::optional<AcmeOrder> order;
  if (stored.announced) {
    ATLAS_TRY(order, ask_patiently([&] { return client_.unfinished_order(request_.names); }));
  } else if (auto announced = store_.announce_order(request_.effect); !announced) {
    return tl::unexpected(local_failure(announced.error()));
  }
  if (!order) {
    ATLAS_TRY(order, client_.new_order(request_.names, replaced_id()));
  }
  if (auto kept = store_.set_order_url(request_.effect, order->url); !kept) {
    return tl::unexpected(local_failure(kept.error()));
  }
  log_event("domains", "order_made",
            {{"effect", request_.effect}, {"name", request_.names.front()}, {"order", order->url}});
  return std::move(*order);
}

AcmeResult<void> OrderProgress::put(const AcmeAuthorization& authorization) {
  if (authorization.challenge.empty() || authorization.token.empty()) {
    return tl::unexpected(failure(
        pb::CERTIFICATE_PROBLEM_REFUSED,
        "The certificate authority offers no challenge for " + name_of(authorization) +
            " that this server answers for it; expected is one of " + list_of(challenges_)));
  }
  if (std::ranges::find(request_.names, name_of(authorization)) == request_.names.end()) {
    return tl::unexpected(not_understood("an order for " + request_.names.front(),
                                         "it is to be proved for another name"));
  }
  const auto put = posted_.put(authorization, key_authorization(authorization.token, account_key_));
  if (!put) return tl::unexpected(by_dns_ ? dns_failure(put.error()) : local_failure(put.error()));
  return {};
}

void OrderProgress::note(const AcmeAuthorization& authorization) {
  if (authorization.token.empty() || (by_dns_ && !resumed_)) return;
  posted_.note(authorization.name, authorization.token,
               key_authorization(authorization.token, account_key_));
}

// So that the CA is not told to look before there is anything to be seen: it counts that.
AcmeResult<void> OrderProgress::wait_for_dns() {
  // What is left is for the CA itself.
  const auto left = std::chrono::duration_cast<milliseconds>(until_ - Clock::now()) / 2;
  const auto seen = posted_.wait_until_seen(std::clamp(left, milliseconds::zero(), k_dns_wait_max));
  if (!seen) return tl::unexpected(dns_failure(seen.error()));
  return {};
}

// One that is processing was accepted before a crash, or with an answer that was lost: it may not
// be accepted twice.
AcmeResult<void> OrderProgress::accept(const std::string& url, AcmeAuthorization now) {
  poll_ = config_.poll_first;
  while (now.status == AcmeStatus::pending && now.challenge_status == AcmeStatus::pending) {
    const auto accepted = client_.accept(now.challenge);
    if (accepted) break;
    ATLAS_TRYV(outwait(accepted.error()));
    ATLAS_TRY(now, ask_patiently([&] { return authorization(url); }));
  }
  return {};
}

AcmeResult<void> OrderProgress::wait_for_authorization(const std::string& url) {
  poll_ = config_.poll_first;
  while (true) {
    ATLAS_TRY(const auto now, ask_patiently([&] { return authorization(url); }));
    if (now.status == AcmeStatus::valid) return {};
    if (now.status != AcmeStatus::pending) {
      auto error = problem_in(now.error, "the proof for " + name_of(now));
      if (error.type.empty()) {
        error = failure(pb::CERTIFICATE_PROBLEM_VALIDATION,
                        "The certificate authority ended the authorization of " + name_of(now) +
                            "; another order follows");
      }
      // What stands in front of port 443 may end TLS itself: it is reached, and proves nothing.
      const bool in_tls = now.challenge_type == k_tls_challenge;
      if (!by_dns_ && (error.type == "connection" || in_tls)) {
        tell_of_connection(error, now.challenge_type);
      }
      if (error.kind == pb::CERTIFICATE_PROBLEM_REFUSED) {
        error.kind = pb::CERTIFICATE_PROBLEM_VALIDATION;
      }
      return tl::unexpected(std::move(error));
    }
    ATLAS_TRYV(pause(now.ask_again_at_us));
  }
}

// All answers are put before the CA looks for any: a wildcard and its parent have their records at
// one name, where both are to be seen.
AcmeResult<void> OrderProgress::authorize() {
  const bool over = order_.status != AcmeStatus::pending && order_.status != AcmeStatus::invalid;
  // Records of an earlier run may be left in a zone; tokens went with the process that showed them.
  if (over && !(by_dns_ && resumed_)) return {};
  std::vector<std::string> asked;
  std::vector<Asked> undecided;
  for (const auto& url : order_.authorizations) {
    ATLAS_TRY(auto found, ask_patiently([&] { return authorization(url); }));
    if (over || found.status == AcmeStatus::valid) {
      note(found);
      continue;
    }
    // Of an order that has failed only the reason is wanted.
    const bool is_undecided = found.status == AcmeStatus::pending;
    if (!is_undecided || order_.status == AcmeStatus::invalid) note(found);
    if (is_undecided && order_.status == AcmeStatus::invalid) continue;
    asked.push_back(url);
    if (is_undecided) undecided.push_back({url, std::move(found)});
  }
  for (const auto& each : undecided) ATLAS_TRYV(put(each.authorization));
  if (by_dns_ && !undecided.empty()) ATLAS_TRYV(wait_for_dns());
  for (auto& each : undecided) ATLAS_TRYV(accept(each.url, std::move(each.authorization)));
  for (const auto& url : asked) ATLAS_TRYV(wait_for_authorization(url));
  posted_.take_back();
  return {};
}

AcmeResult<void> OrderProgress::finalize(EVP_PKEY* key) {
  poll_ = config_.poll_first;
  bool requested = false;
  bool fresh = false;
  while (true) {
    if (!fresh) {
      ATLAS_TRY(order_, ask_patiently([&] { return client_.order(order_.url); }));
    }
    fresh = false;
    if (order_.status == AcmeStatus::valid) return {};
    if (order_.status == AcmeStatus::ready && !requested) {
      const auto csr = make_csr(key, request_.names);
      if (!csr) return tl::unexpected(local_failure(csr.error()));
      auto finalized = client_.finalize(order_, *csr, request_.names.front());
      if (finalized) {
        requested = fresh = true;
        order_ = std::move(*finalized);
        continue;
      }
      // An answer that was lost, or an order that moved on meanwhile: its state tells.
      if (finalized.error().type != "orderNotReady") {
        ATLAS_TRYV(outwait(finalized.error()));
        continue;
      }
    }
    if (order_.status == AcmeStatus::invalid || order_.status == AcmeStatus::gone) {
      auto error = problem_in(order_.error, "the order for " + request_.names.front());
      if (error.type.empty()) {
        error = failure(pb::CERTIFICATE_PROBLEM_UNAVAILABLE,
                        "The certificate authority ended the order for " + request_.names.front() +
                            "; another order follows");
      }
      return tl::unexpected(std::move(error));
    }
    ATLAS_TRYV(pause(order_.ask_again_at_us));
  }
}

// Another chain of the same certificate, where the configuration wants one. What is not to be had
// is no reason to go without a certificate.
std::string OrderProgress::preferred(AcmeChain chain) {
  const auto& wanted = config_.preferred_chain;
  if (wanted.empty() || ends_at(chain.pem, wanted)) return std::move(chain.pem);
  for (const auto& url : chain.alternates) {
    auto other = client_.download(url);
    if (other && ends_at(other->pem, wanted)) return std::move(other->pem);
  }
  log_event(LogLevel::warn, "domains", "no_such_chain",
            {{"name", request_.names.front()},
             {"wanted", wanted},
             {"result", "the authority's usual one is taken"}});
  return std::move(chain.pem);
}

AcmeResult<pb::CertificateIssued> OrderProgress::fetch(EVP_PKEY* key) {
  poll_ = config_.poll_first;
  ATLAS_TRY(auto chain, ask_patiently([&] { return client_.download(order_.certificate); }));
  const std::string usual = chain.pem;
  ChainQuestion question;
  question.chain_pem = preferred(std::move(chain));
  question.key = key;
  question.hosts = request_.names;
  question.now_us = now_us();
  question.clock_behind_us = k_clock_behind.count();
  auto checked = check_chain(question);
  if (!checked && question.chain_pem != usual) {
    log_event(LogLevel::warn, "domains", "chain_refused",
              {{"name", request_.names.front()},
               {"wanted", config_.preferred_chain},
               {"reason", to_string(checked.error())},
               {"result", "the authority's usual one is taken"}});
    question.chain_pem = usual;
    checked = check_chain(question);
  }
  if (!checked) {
    return tl::unexpected(not_understood("the certificate's chain", checked.error().message));
  }
  const auto put = store_.put(request_.effect, {checked->chain_pem, to_pem(key), checked->facts});
  if (!put) return tl::unexpected(local_failure(put.error()));
  log_event("domains", "certificate_stored",
            {{"effect", request_.effect},
             {"name", request_.names.front()},
             {"fingerprint", checked->facts.fingerprint()},
             {"issuer", checked->facts.issuer()}});
  return checked->facts;
}

}  // namespace atlasflow::domains
