#include "domains/acme/issuer.hpp"

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
using Clock = std::chrono::steady_clock;

// While the CA names no time (RFC 8555 section 7.5.1): a half second first, then doubled.
constexpr milliseconds k_poll_first{500};
constexpr milliseconds k_poll_longest{30'000};
constexpr microseconds k_second{1'000'000};
constexpr std::chrono::minutes k_identities_pause{10};
// A certificate that was issued counts against the CA's limits: it is not thrown away because this
// machine's clock is not the CA's.
constexpr microseconds k_clock_behind{3'600'000'000};

// Answers are taken back when the order ends, whatever its end is. An order that was only stopped
// leaves them: the CA may look while nobody is there to put them back.
class PostedAnswers {
 public:
  // dns: answers are TXT records; null: they are tokens on the board.
  PostedAnswers(ChallengeBoard& board, TxtBoard* dns, const std::stop_token& stop)
      : board_(board), dns_(dns), stop_(stop) {}
  ~PostedAnswers() {
    if (!stop_.stop_requested()) take_back();
  }
  PostedAnswers(const PostedAnswers&) = delete;
  PostedAnswers& operator=(const PostedAnswers&) = delete;

  [[nodiscard]] Result<void> put(const std::string& host, const std::string& token,
                                 const std::string& answer) {
    note(host, token, answer);
    if (dns_ == nullptr) return board_.put(host, token, answer);
    waited_for_.push_back(posted_.back().record);
    return dns_->put(posted_.back().record, stop_);
  }
  // Also one that an earlier run of the order has left.
  void note(const std::string& host, const std::string& token, const std::string& answer) {
    posted_.push_back({host, token, dns_ == nullptr ? TxtProof{} : txt_proof(host, answer)});
  }
  [[nodiscard]] Result<void> wait_until_seen(milliseconds at_most) const {
    return dns_->wait_until_seen(waited_for_, at_most, stop_);
  }
  void take_back() {
    for (const auto& each : posted_) {
      if (dns_ == nullptr) {
        board_.remove(each.host, each.token);
      } else {
        dns_->remove(each.record);
      }
    }
    posted_.clear();
  }

 private:
  struct Posted {
    std::string host;
    std::string token;
    TxtProof record;
  };
  ChallengeBoard& board_;
  TxtBoard* const dns_;
  const std::stop_token& stop_;
  std::vector<Posted> posted_;
  std::vector<TxtProof> waited_for_;  // those of this run
};

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
  return made;
}

bool is_wildcard(const std::string& name) { return name.starts_with("*."); }

// Which of the order's names an authorization is about.
std::string name_of(const AcmeAuthorization& authorization) {
  return (authorization.wildcard ? "*." : "") + authorization.name;
}

bool is_passing(const AcmeError& error) {
  return error.kind != pb::CERTIFICATE_PROBLEM_ABANDONED &&
         (error.status == 0 || error.status >= 500 || error.status == 429);
}

// One order from its beginning or wherever it was left, to its chain.
class Progress {
 public:
  // dns: null where the names are proved by HTTP-01.
  Progress(const OrderRequest& request, CertificateStore& store, ChallengeBoard& board,
           TxtBoard* dns, AcmeClient& client, EVP_PKEY* account_key, const std::stop_token& stop)
      : request_(request),
        store_(store),
        client_(client),
        account_key_(account_key),
        stop_(stop),
        until_(Clock::now() + request.remaining),
        by_dns_(dns != nullptr),
        posted_(board, dns, stop) {}

  AcmeResult<pb::CertificateIssued> run(StoredOrder stored) {
    ATLAS_TRY(order_, begin(stored));
    ATLAS_TRYV(authorize());
    ATLAS_TRYV(finalize(stored.key.get()));
    return fetch(stored.key.get());
  }

 private:
  AcmeResult<AcmeOrder> begin(const StoredOrder& stored);
  AcmeResult<void> authorize();
  struct Asked {
    std::string url;
    AcmeAuthorization authorization;
  };
  AcmeResult<AcmeAuthorization> authorization(const std::string& url) {
    return client_.authorization(url, by_dns_ ? k_dns_challenge : k_http_challenge);
  }
  AcmeResult<void> put(const AcmeAuthorization& authorization);
  AcmeResult<void> wait_for_dns();
  AcmeResult<void> accept(const std::string& url, AcmeAuthorization authorization);
  void note(const AcmeAuthorization& authorization);
  AcmeResult<void> wait_for_authorization(const std::string& url);
  AcmeResult<void> finalize(EVP_PKEY* key);
  AcmeResult<pb::CertificateIssued> fetch(EVP_PKEY* key);
  AcmeResult<void> pause(std::optional<std::int64_t> ask_again_at_us);
  AcmeResult<void> outwait(const AcmeError& error);
  template <typename Ask>
  auto ask_patiently(Ask ask) -> decltype(ask());
  [[nodiscard]] std::string replaced_id();

  const OrderRequest& request_;
  CertificateStore& store_;
  AcmeClient& client_;
  EVP_PKEY* account_key_;
  const std::stop_token& stop_;
  const Clock::time_point until_;
  const bool by_dns_;
  PostedAnswers posted_;
  bool resumed_ = false;  // an earlier run of the same order may have left answers
  AcmeOrder order_;
  milliseconds poll_ = k_poll_first;
};

AcmeResult<void> Progress::pause(std::optional<std::int64_t> ask_again_at_us) {
  const auto stopped = failure(pb::CERTIFICATE_PROBLEM_ABANDONED, "The order was stopped");
  // Before the time is looked at: who stops an order at its last moment does not fail it.
  if (stop_.stop_requested()) return tl::unexpected(stopped);
  Clock::duration wait = std::exchange(poll_, std::min(poll_ * 2, k_poll_longest));
  if (ask_again_at_us) {
    // A time in the past is a CA that has nothing against being asked at once.
    wait = std::max<Clock::duration>(microseconds(*ask_again_at_us - now_us()), k_poll_first);
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
AcmeResult<void> Progress::outwait(const AcmeError& error) {
  if (!is_passing(error)) return tl::unexpected(error);
  auto waited = pause(error.retry_at_us);
  if (waited || waited.error().kind == pb::CERTIFICATE_PROBLEM_ABANDONED) return waited;
  return tl::unexpected(error);
}

// For questions that may be asked again without any harm.
template <typename Ask>
auto Progress::ask_patiently(Ask ask) -> decltype(ask()) {
  while (true) {
    auto answer = ask();
    if (answer) return answer;
    ATLAS_TRYV(outwait(answer.error()));
  }
}

std::string Progress::replaced_id() {
  if (request_.renews.empty() || !client_.knows_renewal_information()) return {};
  const auto before = store_.certificate(request_.renews);
  if (!before) return {};
  const auto chain = parse_certificates(before->chain_pem);
  return chain ? renewal_id_of(chain->front().get()) : std::string();
}

// Between the CA's answer and its record a crash leaves an order that has no URL here. The
// account's list tells of it, with the CAs that have one; the others give the same order again, as
// long as it is pending (Boulder), or let the other one expire.
AcmeResult<AcmeOrder> Progress::begin(const StoredOrder& stored) {
  resumed_ = stored.announced || !stored.url.empty();
  if (!stored.url.empty()) {
    return ask_patiently([&] { return client_.order(stored.url); });
  }
  std::optional<AcmeOrder> order;
  if (stored.announced) {
    ATLAS_TRY(order, client_.unfinished_order(request_.names));
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

AcmeResult<void> Progress::put(const AcmeAuthorization& authorization) {
  if (authorization.challenge.empty() || authorization.token.empty()) {
    return tl::unexpected(
        failure(pb::CERTIFICATE_PROBLEM_REFUSED, "The certificate authority offers no " +
                                                     std::string(by_dns_ ? "DNS-01" : "HTTP-01") +
                                                     " challenge for " + name_of(authorization) +
                                                     ", the only one that this server answers"));
  }
  if (std::ranges::find(request_.names, name_of(authorization)) == request_.names.end()) {
    return tl::unexpected(not_understood("an order for " + request_.names.front(),
                                         "it is to be proved for another name"));
  }
  const auto put = posted_.put(authorization.name, authorization.token,
                               key_authorization(authorization.token, account_key_));
  if (!put) return tl::unexpected(by_dns_ ? dns_failure(put.error()) : local_failure(put.error()));
  return {};
}

void Progress::note(const AcmeAuthorization& authorization) {
  if (authorization.token.empty() || (by_dns_ && !resumed_)) return;
  posted_.note(authorization.name, authorization.token,
               key_authorization(authorization.token, account_key_));
}

// So that the CA is not told to look before there is anything to be seen: it counts that.
AcmeResult<void> Progress::wait_for_dns() {
  // What is left is for the CA itself.
  const auto left = std::chrono::duration_cast<milliseconds>(until_ - Clock::now()) / 2;
  const auto seen = posted_.wait_until_seen(std::clamp(left, milliseconds::zero(), k_dns_wait_max));
  if (!seen) return tl::unexpected(dns_failure(seen.error()));
  return {};
}

// One that is processing was accepted before a crash, or with an answer that was lost: it may not
// be accepted twice.
AcmeResult<void> Progress::accept(const std::string& url, AcmeAuthorization now) {
  poll_ = k_poll_first;
  while (now.status == AcmeStatus::pending && now.challenge_status == AcmeStatus::pending) {
    const auto accepted = client_.accept(now.challenge);
    if (accepted) break;
    ATLAS_TRYV(outwait(accepted.error()));
    ATLAS_TRY(now, ask_patiently([&] { return authorization(url); }));
  }
  return {};
}

AcmeResult<void> Progress::wait_for_authorization(const std::string& url) {
  poll_ = k_poll_first;
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
AcmeResult<void> Progress::authorize() {
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

AcmeResult<void> Progress::finalize(EVP_PKEY* key) {
  poll_ = k_poll_first;
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

AcmeResult<pb::CertificateIssued> Progress::fetch(EVP_PKEY* key) {
  poll_ = k_poll_first;
  ATLAS_TRY(const auto pem, ask_patiently([&] { return client_.download(order_); }));
  ChainQuestion question;
  question.chain_pem = pem;
  question.key = key;
  question.hosts = request_.names;
  question.now_us = now_us();
  question.clock_behind_us = k_clock_behind.count();
  auto checked = check_chain(question);
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
  AcmeConfig config = config_;
  if (!request.directory.empty()) config.directory = request.directory;
  config.request_timeout =
      std::min(config.request_timeout, std::chrono::duration_cast<milliseconds>(request.remaining));
  if (request.remaining <= k_second) {
    return failed(failure(pb::CERTIFICATE_PROBLEM_UNAVAILABLE,
                          "There is no time left for the order; another one follows"));
  }

  const auto account = store_.account(config.directory, config.external_key_id);
  if (!account) return failed(local_failure(account.error()));
  AcmeClient client(config, account->key.get(), account->url, stop);
  if (auto opened = client.open(); !opened) return failed(opened.error());
  keep_identities(client);
  if (account->url.empty()) {
    if (auto entered = enter_account(client, config); !entered) return failed(entered.error());
  }

  const auto run = [&] {
    Progress progress(request, store_, board_, by_dns ? dns_ : nullptr, client, account->key.get(),
                      stop);
    return progress.run(std::move(*stored));
  };
  auto issued = run();
  if (!issued && issued.error().type == "accountDoesNotExist") {
    // A CA that has forgotten it, as one does that was set up anew.
    if (auto entered = enter_account(client, config); !entered) return failed(entered.error());
    stored = store_.order(request.effect);
    if (!stored) return failed(local_failure(stored.error()));
    issued = run();
  }
  if (!issued) return failed(issued.error());
  return std::move(*issued);
}

std::vector<std::string> Issuer::caa_identities() const {
  const std::lock_guard lock(identities_mutex_);
  return caa_identities_;
}

void Issuer::ask_caa_identities(const std::stop_token& stop) {
  {
    const std::lock_guard lock(identities_mutex_);
    const auto now = Clock::now();
    if (!ask_identities_at_ || now < *ask_identities_at_) return;
    ask_identities_at_ = now + k_identities_pause;
  }
  AcmeConfig config = config_;
  config.request_timeout = std::min(config.request_timeout, k_identities_timeout);
  AcmeClient client(config, nullptr, "", stop);  // nothing is signed
  if (client.open()) keep_identities(client);
}

void Issuer::keep_identities(const AcmeClient& client) {
  const std::lock_guard lock(identities_mutex_);
  caa_identities_ = client.caa_identities();
  knows_renewal_information_ = client.knows_renewal_information();
  ask_identities_at_.reset();
}

}  // namespace atlasflow::domains
