// When a certificate is to be renewed, as its CA sees it (RFC 9773).
#include <algorithm>

#include "base/log.hpp"
#include "base/rfc3339.hpp"
#include "domains/acme/issuer.hpp"
#include "domains/certificates/chain.hpp"
#include "domains/json_object.hpp"
#include "events/domain.hpp"

namespace atlasflow::domains {
namespace {

using std::chrono::microseconds;

constexpr std::chrono::milliseconds k_renewal_timeout{20'000};  // of each of two requests
constexpr std::size_t k_explanation_bytes_max = 512;

}  // namespace

AcmeResult<AcmeRenewal> AcmeClient::renewal(const std::string& id) {
  const std::string doing = "the time of a renewal";
  const auto url = renewal_information_ + "/" + id;
  if (!may_ask(url)) return tl::unexpected(not_understood(doing, "it names no https address"));
  ATLAS_TRY(const auto response, get(url, doing));
  if (response.status != 200) return tl::unexpected(problem_of(response, doing, now_us()));
  ATLAS_TRY(const auto object, read(response, doing));
  const auto window = object.find("suggestedWindow");
  const bool has_window = window != object.end() && window->is_object();
  const auto start = has_window ? parse_rfc3339_us(text_of(*window, "start")) : std::nullopt;
  const auto end = has_window ? parse_rfc3339_us(text_of(*window, "end")) : std::nullopt;
  if (!start || !end || *end <= *start) {
    return tl::unexpected(
        not_understood(doing, "its window has no start, or no end that is later than that"));
  }
  AcmeRenewal renewal;
  renewal.advised.set_start_us(*start);
  renewal.advised.set_end_us(*end);
  // People are shown it; what is none of the usual URLs is not.
  const auto explanation = text_of(object, "explanationURL");
  const bool is_url =
      explanation.starts_with("https://") && explanation.size() <= k_explanation_bytes_max;
  if (is_url && may_ask(explanation)) renewal.advised.set_explanation_url(explanation);
  renewal.ask_again_at_us = retry_after_us(response.field("Retry-After"), now_us());
  return renewal;
}

bool Issuer::gives_renewal_advice(const std::string& directory) const {
  if (config_.directory.empty()) return false;
  const std::lock_guard lock(known_mutex_);
  const auto* known = known_of(directory);
  return known == nullptr || known->gives_renewal_advice.value_or(true);
}

// What it says is kept beside the certificate, with the time before which it is not asked again: a
// server that is started again and again asks no oftener than it was told to, and the advice is
// there though the one who asked died before anybody heard of it.
RenewalNews Issuer::renewal_news(const std::string& fingerprint, const std::string& directory,
                                 const std::stop_token& stop) {
  RenewalNews news;
  news.ask_again_in = microseconds(k_advice_apart_us);
  if (const auto known = store_.advice(fingerprint)) {
    const auto left = known->ask_again_at_us - now_us();
    // More than it may ever say is a clock that was set back.
    if (left > 0 && left <= k_advice_apart_max_us) {
      news.advised = known->advised;
      news.ask_again_in = microseconds(left);
      return news;
    }
  }
  ask_for_renewal(fingerprint, directory, stop, news);
  return news;
}

void Issuer::ask_for_renewal(const std::string& fingerprint, const std::string& directory,
                             const std::stop_token& stop, RenewalNews& news) {
  const auto stored = store_.certificate(fingerprint);
  const auto chain = stored ? parse_certificates(stored->chain_pem)
                            : Result<std::vector<X509Ptr>>(tl::unexpected(stored.error()));
  if (!chain) {
    news.trouble = to_string(chain.error());
    return;
  }
  const auto id = renewal_id_of(chain->front().get());
  if (id.empty()) return;  // Its issuer can't be named to the CA.
  AcmeConfig config = config_of(directory);
  config.request_timeout = std::min(config.request_timeout, k_renewal_timeout);
  AcmeClient client(config, nullptr, "", stop);  // nothing is signed
  // A failure is asked about again as soon as the server is started anew, unless the CA named a
  // time.
  const auto keep = [&](std::optional<std::int64_t> at_us) {
    if (at_us) news.ask_again_in = microseconds(*at_us - now_us());
    if (!at_us && !news.advised) return;
    const auto apart = std::clamp<std::int64_t>(news.ask_again_in.count(), k_advice_apart_min_us,
                                                k_advice_apart_max_us);
    if (const auto kept = store_.set_advice(fingerprint, {news.advised, now_us() + apart}); !kept) {
      log_event(LogLevel::warn, "domains", "renewal_advice_not_kept",
                {{"fingerprint", fingerprint}, {"error", to_string(kept.error())}});
    }
  };
  const auto failed = [&](const AcmeError& error) {
    news.trouble = error.reason;
    keep(error.retry_at_us);
  };
  if (const auto opened = client.open(); !opened) return failed(opened.error());
  keep_identities(config.directory, client);
  if (!client.knows_renewal_information()) return;
  auto renewal = client.renewal(id);
  if (!renewal) return failed(renewal.error());
  renewal->advised.set_fingerprint(fingerprint);
  news.advised = std::move(renewal->advised);
  keep(renewal->ask_again_at_us);
}

}  // namespace atlasflow::domains
