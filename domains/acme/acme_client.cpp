#include "domains/acme/acme_client.hpp"

#include <algorithm>
#include <utility>

#include <strings.h>

#include "base/base64.hpp"
#include "domains/acme/jose.hpp"
#include "domains/json_object.hpp"

namespace atlasflow::domains {
namespace {

using nlohmann::json;
using nlohmann::ordered_json;

// Each refusal brings a fresh nonce, so one of them is usual after a pause, and many in a row are
// the CA's own disorder (RFC 8555 section 6.5).
constexpr int k_nonce_tries = 16;
constexpr std::size_t k_nonces_max = 16;
constexpr std::size_t k_nonce_bytes_max = 1'024;
constexpr std::size_t k_url_bytes_max = 2'048;
constexpr std::uint64_t k_answer_bytes_max = 256U << 10U;
constexpr std::size_t k_authorizations_max = 100;
constexpr std::size_t k_orders_looked_at = 20;
constexpr std::size_t k_profiles_max = 16;
constexpr std::size_t k_alternates_max = 4;

std::vector<std::string> texts_of(const json& object, const char* name, std::size_t at_most) {
  std::vector<std::string> texts;
  const auto found = object.find(name);
  if (found == object.end() || !found->is_array()) return texts;
  for (const json& each : *found) {
    if (each.is_string() && texts.size() < at_most) texts.push_back(each.get<std::string>());
  }
  return texts;
}

std::vector<std::string> members_of(const json& object, const char* name) {
  std::vector<std::string> members;
  const auto found = object.find(name);
  if (found == object.end() || !found->is_object()) return members;
  for (const auto& [member, value] : found->items()) {
    if (members.size() < k_profiles_max) members.push_back(member);
  }
  return members;
}

// RFC 8288 section 3: <URL>;rel="alternate", several in one field or in several.
void add_alternates(std::string_view field, std::vector<std::string>& urls) {
  while (!field.empty() && urls.size() < k_alternates_max) {
    const auto begin = field.find('<');
    const auto end = field.find('>', std::min(begin, field.size()));
    if (end == field.npos) return;
    const auto next = std::min(field.find('<', end), field.size());
    const auto parameters = field.substr(end, next - end);
    if (parameters.find("rel=\"alternate\"") != parameters.npos ||
        parameters.find("rel=alternate") != parameters.npos) {
      urls.emplace_back(field.substr(begin + 1, end - begin - 1));
    }
    field.remove_prefix(next);
  }
}

std::optional<AcmeStatus> status_of(const json& object) {
  const auto text = text_of(object, "status");
  if (text == "pending") return AcmeStatus::pending;
  if (text == "ready") return AcmeStatus::ready;
  if (text == "processing") return AcmeStatus::processing;
  if (text == "valid") return AcmeStatus::valid;
  if (text == "invalid") return AcmeStatus::invalid;
  if (text == "deactivated" || text == "expired" || text == "revoked") return AcmeStatus::gone;
  return std::nullopt;
}

std::string error_of(const json& object) {
  const auto found = object.find("error");
  return found != object.end() && found->is_object() ? found->dump() : std::string();
}

// A stranger's word for people to read.
std::string printable_name(const std::string& name) {
  constexpr std::size_t k_bytes_max = 64;
  std::string text;
  for (const char c : name.substr(0, k_bytes_max)) text += c > 0x20 && c < 0x7F ? c : '?';
  return text;
}

// RFC 8555 section 6.5.1: what is none is to be ignored.
bool is_nonce(std::string_view text) {
  return !text.empty() && text.size() <= k_nonce_bytes_max &&
         std::ranges::all_of(text, [](unsigned char c) {
           return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                  c == '-' || c == '_';
         });
}

// Boulder's word for a certificate that is none of its own is "malformed".
bool is_about_what_it_replaces(const AcmeError& error) {
  return error.type == "alreadyReplaced" || error.type == "malformed" || error.status == 409 ||
         error.status == 404;
}

bool has_names(const AcmeOrder& order, std::vector<std::string> names) {
  auto own = order.names;
  std::ranges::sort(own);
  std::ranges::sort(names);
  return own == names;
}

}  // namespace

std::optional<ChallengeChoice> challenge_choice(std::string_view text) {
  if (text == "auto") return ChallengeChoice::automatic;
  if (text == k_http_challenge) return ChallengeChoice::http;
  if (text == k_tls_challenge) return ChallengeChoice::tls_alpn;
  return std::nullopt;
}

std::int64_t now_us() {
  return std::chrono::duration_cast<std::chrono::microseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

AcmeClient::AcmeClient(AcmeConfig config, EVP_PKEY* account_key, std::string account,
                       std::stop_token stop)
    : config_(std::move(config)),
      key_(account_key),
      account_(std::move(account)),
      stop_(std::move(stop)) {}

bool AcmeClient::may_ask(const std::string& url) const {
  const bool is_text =
      url.size() <= k_url_bytes_max &&
      std::ranges::all_of(url, [](unsigned char c) { return c > 0x20 && c < 0x7F; });
  return is_text && (url.starts_with("https://") ||
                     (config_.directory.starts_with("http://") && url.starts_with("http://")));
}

AcmeResult<HttpResponse> AcmeClient::send(const HttpRequest& request, const std::string& doing) {
  auto response = http_.send(request);
  if (!response) return tl::unexpected(no_answer(doing, response.error()));
  keep_nonce(*response);
  return std::move(*response);
}

AcmeResult<json> AcmeClient::read(const HttpResponse& response, const std::string& doing) const {
  auto document = parse_object(response.body);
  if (!document.is_object()) return tl::unexpected(not_understood(doing, "it is no JSON object"));
  return document;
}

// What is told to everybody: nothing of it is signed.
AcmeResult<HttpResponse> AcmeClient::get(const std::string& url, const std::string& doing) {
  HttpRequest request;
  request.url = url;
  request.ca_file = config_.ca_bundle;
  request.body_bytes_max = k_answer_bytes_max;
  request.timeout = config_.request_timeout;
  request.stop = stop_;
  request.redirects_max = 3;
  return send(request, doing);
}

AcmeResult<void> AcmeClient::open() {
  const std::string doing = "its directory";
  ATLAS_TRY(const auto response, get(config_.directory, doing));
  if (response.status != 200) return tl::unexpected(problem_of(response, doing, now_us()));
  ATLAS_TRY(const auto directory, read(response, doing));
  new_nonce_ = text_of(directory, "newNonce");
  new_account_ = text_of(directory, "newAccount");
  new_order_ = text_of(directory, "newOrder");
  key_change_ = text_of(directory, "keyChange");
  renewal_information_ = text_of(directory, "renewalInfo");
  if (!may_ask(new_nonce_) || !may_ask(new_account_) || !may_ask(new_order_)) {
    return tl::unexpected(not_understood(
        doing, config_.directory + " is no ACME directory; is acme_directory right?"));
  }
  if (const auto meta = directory.find("meta"); meta != directory.end() && meta->is_object()) {
    caa_identities_ = texts_of(*meta, "caaIdentities", k_authorizations_max);
    terms_ = text_of(*meta, "termsOfService");
    profiles_ = members_of(*meta, "profiles");
    const auto required = meta->find("externalAccountRequired");
    external_account_required_ =
        required != meta->end() && required->is_boolean() && required->get<bool>();
  }
  return {};
}

// ---- signed requests ----------------------------------------------------------------------------

void AcmeClient::keep_nonce(const HttpResponse& response) {
  const auto nonce = response.field("Replay-Nonce");
  if (!is_nonce(nonce)) return;
  if (nonces_.size() >= k_nonces_max) nonces_.erase(nonces_.begin());
  nonces_.emplace_back(nonce);
}

AcmeResult<std::string> AcmeClient::nonce() {
  if (nonces_.empty()) {
    HttpRequest request;
    request.method = "HEAD";
    request.url = new_nonce_;
    request.ca_file = config_.ca_bundle;
    request.timeout = config_.request_timeout;
    request.stop = stop_;
    const std::string doing = "a nonce";
    ATLAS_TRY(const auto response, send(request, doing));
    if (nonces_.empty() && response.status >= 200 && response.status < 300) {
      return tl::unexpected(not_understood(doing, "it has none, or one that is no base64url"));
    }
    if (nonces_.empty()) return tl::unexpected(problem_of(response, doing, now_us()));
  }
  // The newest: a CA forgets the oldest first.
  auto nonce = std::move(nonces_.back());
  nonces_.pop_back();
  return nonce;
}

AcmeResult<HttpResponse> AcmeClient::post(const std::string& url, const std::string& payload,
                                          const std::string& doing, Speaker speaker) {
  if (!may_ask(url)) return tl::unexpected(not_understood(doing, "it names no https address"));
  HttpRequest request;
  request.method = "POST";
  request.url = url;
  request.fields = {{"Content-Type", "application/jose+json"}};
  request.ca_file = config_.ca_bundle;
  request.body_bytes_max = k_answer_bytes_max;
  request.timeout = config_.request_timeout;
  request.stop = stop_;
  for (int tries = 1;; ++tries) {
    ordered_json header;
    header["alg"] = "ES256";
    if (speaker == Speaker::key) {
      header["jwk"] = jwk_of(key_);
    } else {
      header["kid"] = account_;
    }
    ATLAS_TRY(header["nonce"], nonce());
    header["url"] = url;
    request.body = sign_es256(key_, header, payload);
    ATLAS_TRY(auto response, send(request, doing));
    if (response.status >= 200 && response.status < 300) return response;
    auto problem = problem_of(response, doing, now_us());
    if (problem.type != "badNonce" || tries >= k_nonce_tries) return tl::unexpected(problem);
  }
}

// ---- the account --------------------------------------------------------------------------------

AcmeResult<std::string> AcmeClient::account_payload() const {
  const auto account_error = [](const char* reason) {
    AcmeError error;
    error.kind = pb::CERTIFICATE_PROBLEM_ACCOUNT;
    error.reason = reason;
    return tl::unexpected(std::move(error));
  };
  if (!terms_.empty() && !config_.terms_agreed) {
    return account_error(
        "The certificate authority has terms, and nobody has agreed to them: read those that its "
        "directory names, then set domains.acme_terms_agreed in the server's configuration");
  }
  ordered_json account;
  account["termsOfServiceAgreed"] = config_.terms_agreed;
  if (!config_.contact.empty()) {
    const bool is_url = config_.contact.find(':') != std::string::npos;
    account["contact"] = {is_url ? config_.contact : "mailto:" + config_.contact};
  }
  if (!config_.external_key_id.empty()) {
    const auto mac_key = from_base64url(config_.external_mac_key);
    if (!mac_key || mac_key->empty()) {
      return account_error(
          "The external account's MAC key is no base64url; give it as the certificate authority "
          "shows it");
    }
    ordered_json header;
    header["alg"] = "HS256";
    header["kid"] = config_.external_key_id;
    header["url"] = new_account_;
    account["externalAccountBinding"] = sign_hs256(*mac_key, header, jwk_of(key_).dump());
  } else if (external_account_required_) {
    return account_error(
        "The certificate authority wants an external account: set its key id and MAC key in the "
        "server's configuration");
  }
  return account.dump();
}

AcmeResult<void> AcmeClient::find_or_make_account() {
  ATLAS_TRY(const auto payload, account_payload());
  ATLAS_TRY(const auto response, post(new_account_, payload, "an account", Speaker::key));
  return take_account(response);
}

AcmeResult<void> AcmeClient::take_account(const HttpResponse& response) {
  const auto location = std::string(response.field("Location"));
  if (!may_ask(location)) {
    return tl::unexpected(not_understood("an account", "it does not say where the account is"));
  }
  account_ = location;
  return {};
}

// ---- orders -------------------------------------------------------------------------------------

AcmeResult<AcmeOrder> AcmeClient::read_order(const HttpResponse& response, std::string url,
                                             const std::string& doing) const {
  ATLAS_TRY(const auto object, read(response, doing));
  const auto status = status_of(object);
  AcmeOrder order;
  order.url = std::move(url);
  order.authorizations = texts_of(object, "authorizations", k_authorizations_max);
  order.finalize = text_of(object, "finalize");
  order.certificate = text_of(object, "certificate");
  order.error = error_of(object);
  if (const auto list = object.find("identifiers"); list != object.end() && list->is_array()) {
    for (const json& each : *list) {
      if (each.is_object()) order.names.push_back(text_of(each, "value"));
    }
  }
  if (!status || !may_ask(order.url) || order.names.empty() || order.authorizations.empty() ||
      order.finalize.empty()) {
    return tl::unexpected(not_understood(doing, "it is no order"));
  }
  order.status = *status;
  order.ask_again_at_us = retry_after_us(response.field("Retry-After"), now_us());
  return order;
}

// As its directory says it: an order with another one is refused with a word that tells nobody.
AcmeResult<void> AcmeClient::check_profile() const {
  const bool known = std::ranges::find(profiles_, config_.profile) != profiles_.end();
  if (config_.profile.empty() || known) return {};
  std::string list;
  for (const auto& each : profiles_) list += (list.empty() ? "" : ", ") + printable_name(each);
  AcmeError error;
  error.kind = pb::CERTIFICATE_PROBLEM_ACCOUNT;
  error.reason = "The certificate authority has no profile '" + config_.profile + "': " +
                 (list.empty() ? "it has none at all; remove it from"
                               : "it has " + list + "; name one of these in") +
                 " the server's configuration";
  return tl::unexpected(std::move(error));
}

AcmeResult<AcmeOrder> AcmeClient::new_order(const std::vector<std::string>& names,
                                            const std::string& replaces) {
  ATLAS_TRYV(check_profile());
  ordered_json order;
  for (const auto& name : names) {
    ordered_json identifier;
    identifier["type"] = "dns";
    identifier["value"] = name;
    order["identifiers"].push_back(std::move(identifier));
  }
  if (!config_.profile.empty()) order["profile"] = config_.profile;
  if (!replaces.empty() && knows_renewal_information()) order["replaces"] = replaces;
  const std::string doing = "an order for " + names.front();
  auto response = post(new_order_, order.dump(), doing);
  // RFC 9773 section 5: what it names may have been renewed before, or be another account's or
  // another CA's. A renewal without that says the same but costs of the CA's limits.
  if (!response && order.contains("replaces") && is_about_what_it_replaces(response.error())) {
    order.erase("replaces");
    response = post(new_order_, order.dump(), doing);
  }
  if (!response) return tl::unexpected(std::move(response.error()));
  return read_order(*response, std::string(response->field("Location")), doing);
}

AcmeResult<AcmeOrder> AcmeClient::order(const std::string& url) {
  ATLAS_TRY(const auto response, post(url, "", "the state of an order"));
  return read_order(response, url, "the state of an order");
}

AcmeResult<std::optional<AcmeOrder>> AcmeClient::unfinished_order(
    const std::vector<std::string>& names) {
  const std::string doing = "the account's orders";
  ATLAS_TRY(const auto account, post(account_, "", doing));
  ATLAS_TRY(const auto account_object, read(account, doing));
  const auto orders = text_of(account_object, "orders");
  if (!may_ask(orders)) return std::nullopt;
  const auto list = post(orders, "", doing);
  if (!list) return std::nullopt;  // some name the list and have none
  ATLAS_TRY(const auto list_object, read(*list, doing));
  auto urls = texts_of(list_object, "orders", k_answer_bytes_max);
  std::ranges::reverse(urls);  // the newest is at the end, of those that fit on this page
  if (urls.size() > k_orders_looked_at) urls.resize(k_orders_looked_at);
  for (const auto& url : urls) {
    const auto found = order(url);
    const bool goes_on =
        found && (found->status == AcmeStatus::pending || found->status == AcmeStatus::ready);
    if (goes_on && has_names(*found, names)) return *found;
  }
  return std::nullopt;
}

AcmeResult<AcmeAuthorization> AcmeClient::authorization(
    const std::string& url, const std::vector<std::string_view>& challenge_types) {
  const std::string doing = "an authorization";
  ATLAS_TRY(const auto response, post(url, "", doing));
  ATLAS_TRY(const auto object, read(response, doing));
  const auto status = status_of(object);
  AcmeAuthorization authorization;
  if (const auto identifier = object.find("identifier");
      identifier != object.end() && identifier->is_object()) {
    authorization.name = text_of(*identifier, "value");
  }
  if (!status || authorization.name.empty()) {
    return tl::unexpected(not_understood(doing, "it is no authorization"));
  }
  authorization.status = *status;
  const auto wildcard = object.find("wildcard");
  authorization.wildcard =
      wildcard != object.end() && wildcard->is_boolean() && wildcard->get<bool>();
  authorization.ask_again_at_us = retry_after_us(response.field("Retry-After"), now_us());
  const auto challenges = object.find("challenges");
  if (challenges == object.end() || !challenges->is_array()) return authorization;
  std::ptrdiff_t best = -1;  // how well the one that is taken suits
  const auto types = static_cast<std::ptrdiff_t>(challenge_types.size());
  for (const json& each : *challenges) {
    if (!each.is_object()) continue;
    if (authorization.error.empty()) authorization.error = error_of(each);
    const auto wanted = std::ranges::find(challenge_types, text_of(each, "type"));
    if (wanted == challenge_types.end()) continue;
    const auto own_status = status_of(each).value_or(AcmeStatus::pending);
    const auto suits =
        (challenge_types.end() - wanted) + (own_status == AcmeStatus::pending ? 0 : types);
    if (suits <= best) continue;
    best = suits;
    authorization.challenge = text_of(each, "url");
    authorization.challenge_type = *wanted;
    authorization.token = text_of(each, "token");
    authorization.challenge_status = own_status;
  }
  return authorization;
}

AcmeResult<void> AcmeClient::accept(const std::string& challenge) {
  ATLAS_TRYV(post(challenge, "{}", "a challenge"));
  return {};
}

AcmeResult<AcmeOrder> AcmeClient::finalize(const AcmeOrder& order, std::string_view csr_der,
                                           const std::string& name) {
  ordered_json request;
  request["csr"] = base64url(csr_der);
  const std::string doing = "the certificate for " + name;
  ATLAS_TRY(const auto response, post(order.finalize, request.dump(), doing));
  return read_order(response, order.url, doing);
}

AcmeResult<AcmeChain> AcmeClient::download(const std::string& url) {
  ATLAS_TRY(auto response, post(url, "", "the certificate's chain"));
  AcmeChain chain;
  for (const auto& field : response.fields) {
    if (::strcasecmp(field.name.c_str(), "Link") == 0)
      add_alternates(field.value, chain.alternates);
  }
  chain.pem = std::move(response.body);
  return chain;
}

}  // namespace atlasflow::domains
