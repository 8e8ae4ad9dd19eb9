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

struct AcmeConfig {
  std::string directory;              // its URL, https
  std::filesystem::path ca_bundle;    // whom its TLS is trusted by (PEM); empty: the system's
  std::string contact = {};           // an e-mail address; empty: none
  bool terms_agreed = false;          // the server's owner agrees to the CA's terms
  std::string external_key_id = {};   // of an account that the CA gave; empty: none (section 7.3.4)
  std::string external_mac_key = {};  // base64url; secret
  std::chrono::milliseconds request_timeout{30'000};
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

struct AcmeAuthorization {
  std::string name;
  AcmeStatus status = AcmeStatus::pending;
  bool wildcard = false;  // it is for "*." below the name
  // The challenge that was asked about; an empty URL: the CA offers none of that type.
  std::string challenge;
  AcmeStatus challenge_status = AcmeStatus::pending;
  std::string token;
  std::string error;  // of the challenge, a problem document as JSON
  std::optional<std::int64_t> ask_again_at_us;
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

  // replaces: RFC 9773 section 5; empty, or the CA knows no such thing: left out.
  [[nodiscard]] AcmeResult<AcmeOrder> new_order(const std::vector<std::string>& names,
                                                const std::string& replaces);
  [[nodiscard]] AcmeResult<AcmeOrder> order(const std::string& url);
  // Of the account's orders, as far as the CA tells of them (section 7.1.2.1): one for exactly
  // these names that can be gone on with. Nothing: there is none, or it does not tell.
  [[nodiscard]] AcmeResult<std::optional<AcmeOrder>> unfinished_order(
      const std::vector<std::string>& names);
  [[nodiscard]] AcmeResult<AcmeAuthorization> authorization(const std::string& url,
                                                            std::string_view challenge_type);
  // The token is in its place: the CA may look (section 7.5.1).
  [[nodiscard]] AcmeResult<void> accept(const std::string& challenge);
  // name: the one that a failure is told for.
  [[nodiscard]] AcmeResult<AcmeOrder> finalize(const AcmeOrder& order, std::string_view csr_der,
                                               const std::string& name);
  [[nodiscard]] AcmeResult<std::string> download(const AcmeOrder& order);

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
  std::string renewal_information_;
  std::vector<std::string> caa_identities_;
  bool external_account_required_ = false;
  std::string terms_;  // where they are; empty: there are none
};

[[nodiscard]] std::int64_t now_us();

}  // namespace atlasflow::domains
