// The client of one ACME certificate authority (RFC 8555): what it asks and what it is answered,
// one request at a time; what is done with the answers is domains/acme/issuer.hpp's. Calls block.
// Owned by whoever makes an order; one thread at a time.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "base/http_client.hpp"
#include "base/x509.hpp"
#include "domains/acme/problem.hpp"

namespace atlasflow::domains {

// How a name without a wildcard is proved. Automatic: by HTTP-01, and by TLS-ALPN-01 where the CA
// offers no other or could not connect by the former.
enum class ChallengeChoice : std::uint8_t { automatic, http, tls_alpn };
// "auto", "http-01", "tls-alpn-01"; nothing: none of these.
[[nodiscard]] std::optional<ChallengeChoice> challenge_choice(std::string_view text);

struct AcmeConfig {
  std::string directory;              // its URL, https
  std::filesystem::path ca_bundle;    // whom its TLS is trusted by (PEM); empty: the system's
  std::string contact = {};           // an e-mail address; empty: none
  bool terms_agreed = false;          // the server's owner agrees to the CA's terms
  std::string external_key_id = {};   // of an account that the CA gave; empty: none (section 7.3.4)
  std::string external_mac_key = {};  // base64url; secret
  std::chrono::milliseconds request_timeout{30'000};
  ChallengeChoice challenge = ChallengeChoice::automatic;
  std::string profile = {};          // of its certificates; empty: its usual one
  std::string preferred_chain = {};  // the name that the chain's last issuer is to have; empty: any
  // While the CA names no time (RFC 8555 section 7.5.1): so long first, then doubled.
  std::chrono::milliseconds poll_first{500};
};

// RFC 8555 section 7.1.6.
enum class AcmeStatus : std::uint8_t {
  pending,
  ready,
  processing,
  valid,
  invalid,
  gone,  // deactivated, expired or revoked
};

struct AcmeOrder {
  std::string url;
  AcmeStatus status = AcmeStatus::pending;
  std::vector<std::string> names;
  std::vector<std::string> authorizations;  // URLs
  std::string finalize;                     // URL
  std::string certificate;                  // URL; once it is valid
  std::string error;                        // a problem document as JSON; empty: none
  std::optional<std::int64_t> ask_again_at_us;
};

// The types of challenges that this server answers (section 8).
inline constexpr std::string_view k_http_challenge = "http-01";
inline constexpr std::string_view k_dns_challenge = "dns-01";
inline constexpr std::string_view k_tls_challenge = "tls-alpn-01";  // RFC 8737

struct AcmeAuthorization {
  std::string name;
  AcmeStatus status = AcmeStatus::pending;
  bool wildcard = false;  // it is for "*." below the name
  // One of those that were asked about; an empty URL: the CA offers none of these types.
  std::string challenge;
  std::string_view challenge_type;
  AcmeStatus challenge_status = AcmeStatus::pending;
  std::string token;
  std::string error;  // of the challenge, a problem document as JSON
  std::optional<std::int64_t> ask_again_at_us;
};

struct AcmeChain {
  std::string pem;
  std::vector<std::string> alternates;  // URLs of other chains of the same certificate
};

struct AcmeRenewal {
  pb::RenewalAdvised advised;
  std::optional<std::int64_t> ask_again_at_us;  // Retry-After
};

class AcmeClient {
 public:
  // The key is the account's and outlives the client. account: its URL, where that is known.
  AcmeClient(AcmeConfig config, EVP_PKEY* account_key, std::string account, std::stop_token stop);

  // Reads the directory. Before anything else.
  [[nodiscard]] AcmeResult<void> open();
  // Finds the key's account, or makes one (section 7.3); afterwards account() is its URL.
  [[nodiscard]] AcmeResult<void> find_or_make_account();
  [[nodiscard]] const std::string& account() const { return account_; }

  // Finds the key's account and makes none (section 7.3.1); false: it has none there.
  [[nodiscard]] AcmeResult<bool> find_account();
  // Has the account spoken for by another key, which outlives the client (section 7.3.5). After a
  // failure only the CA knows which of both it is.
  [[nodiscard]] AcmeResult<void> change_key(EVP_PKEY* next);
  [[nodiscard]] bool changes_keys() const { return !key_change_.empty(); }

  // replaces: RFC 9773 section 5; empty, or the CA knows no such thing: left out.
  [[nodiscard]] AcmeResult<AcmeOrder> new_order(const std::vector<std::string>& names,
                                                const std::string& replaces);
  [[nodiscard]] AcmeResult<AcmeOrder> order(const std::string& url);
  // Of the account's orders, as far as the CA tells of them (section 7.1.2.1): one for exactly
  // these names that can be gone on with. Nothing: there is none, or it does not tell.
  [[nodiscard]] AcmeResult<std::optional<AcmeOrder>> unfinished_order(
      const std::vector<std::string>& names);
  // With the first of these types of challenges that it has, but for one that was accepted before:
  // only that may lead to its end.
  [[nodiscard]] AcmeResult<AcmeAuthorization> authorization(
      const std::string& url, const std::vector<std::string_view>& challenge_types);
  // The token is in its place: the CA may look (section 7.5.1).
  [[nodiscard]] AcmeResult<void> accept(const std::string& challenge);
  // name: the one that a failure is told for.
  [[nodiscard]] AcmeResult<AcmeOrder> finalize(const AcmeOrder& order, std::string_view csr_der,
                                               const std::string& name);
  // Of an order's certificate, or one of its alternates (section 7.4.2).
  [[nodiscard]] AcmeResult<AcmeChain> download(const std::string& url);

  // Names of the CA in CAA records (section 9.7.6); after open().
  [[nodiscard]] const std::vector<std::string>& caa_identities() const { return caa_identities_; }
  [[nodiscard]] bool knows_renewal_information() const { return !renewal_information_.empty(); }
  // RFC 9773 section 4.2: what the CA says of the certificate with that identifier (section 4.1);
  // its fingerprint is left to the caller. Nothing is signed.
  [[nodiscard]] AcmeResult<AcmeRenewal> renewal(const std::string& id);

 private:
  enum class Speaker : std::uint8_t { account, key };

  [[nodiscard]] AcmeResult<std::string> nonce();
  void keep_nonce(const HttpResponse& response);
  [[nodiscard]] AcmeResult<HttpResponse> send(const HttpRequest& request, const std::string& doing);
  [[nodiscard]] AcmeResult<HttpResponse> get(const std::string& url, const std::string& doing);
  // payload: JSON; empty: a POST-as-GET (section 6.3). Any success is handed on.
  [[nodiscard]] AcmeResult<HttpResponse> post(const std::string& url, const std::string& payload,
                                              const std::string& doing,
                                              Speaker speaker = Speaker::account);
  [[nodiscard]] AcmeResult<nlohmann::json> read(const HttpResponse& response,
                                                const std::string& doing) const;
  [[nodiscard]] AcmeResult<AcmeOrder> read_order(const HttpResponse& response, std::string url,
                                                 const std::string& doing) const;
  [[nodiscard]] AcmeResult<std::string> account_payload() const;
  [[nodiscard]] AcmeResult<void> take_account(const HttpResponse& response);
  [[nodiscard]] AcmeResult<void> check_profile() const;
  // A URL that the CA gave and that may be asked: https, as the directory is. It is stored and
  // signed as JSON, so it has to be text: printable ASCII, as a URL is (RFC 3986).
  [[nodiscard]] bool may_ask(const std::string& url) const;

  const AcmeConfig config_;
  EVP_PKEY* key_;
  std::string account_;
  const std::stop_token stop_;
  HttpClient http_;
  std::vector<std::string> nonces_;

  std::string new_nonce_;
  std::string new_account_;
  std::string new_order_;
  std::string key_change_;  // empty: it changes none
  std::string renewal_information_;
  std::vector<std::string> caa_identities_;
  bool external_account_required_ = false;
  std::string terms_;  // where they are; empty: there are none
  std::vector<std::string> profiles_;
};

[[nodiscard]] std::int64_t now_us();

}  // namespace atlasflow::domains
