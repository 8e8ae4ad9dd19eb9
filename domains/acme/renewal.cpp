// When a certificate is to be renewed, as its CA sees it (RFC 9773).
#include <algorithm>

#include "domains/acme/issuer.hpp"
#include "domains/certificates/chain.hpp"
#include "events/domain.hpp"

namespace atlasflow::domains {
namespace {

using std::chrono::microseconds;

constexpr std::chrono::milliseconds k_renewal_timeout{20'000};  // of each of two requests

}  // namespace

bool Issuer::gives_renewal_advice() const {
  const std::lock_guard lock(identities_mutex_);
  return !config_.directory.empty() && knows_renewal_information_.value_or(true);
}

RenewalNews Issuer::renewal_news(const std::string& fingerprint, const std::stop_token& stop) {
  RenewalNews news;
  news.ask_again_in = microseconds(k_advice_apart_us);
  const auto stored = store_.certificate(fingerprint);
  const auto chain = stored ? parse_certificates(stored->chain_pem)
                            : Result<std::vector<X509Ptr>>(tl::unexpected(stored.error()));
  if (!chain) {
    news.trouble = to_string(chain.error());
    return news;
  }
  const auto id = renewal_id_of(chain->front().get());
  if (id.empty()) return news;  // Its issuer can't be named to the CA.
  AcmeConfig config = config_;
  config.request_timeout = std::min(config.request_timeout, k_renewal_timeout);
  AcmeClient client(config, nullptr, "", stop);  // nothing is signed
  const auto failed = [&](const AcmeError& error) {
    news.trouble = error.reason;
    if (error.retry_at_us) news.ask_again_in = microseconds(*error.retry_at_us - now_us());
    return news;
  };
  if (const auto opened = client.open(); !opened) return failed(opened.error());
  keep_identities(client);
  if (!client.knows_renewal_information()) return news;
  auto renewal = client.renewal(id);
  if (!renewal) return failed(renewal.error());
  renewal->advised.set_fingerprint(fingerprint);
  news.advised = std::move(renewal->advised);
  if (renewal->ask_again_at_us) {
    news.ask_again_in = microseconds(*renewal->ask_again_at_us - now_us());
  }
  return news;
}

}  // namespace atlasflow::domains
