#include "tests/domains/fake_ca.hpp"

#include <algorithm>
#include <sstream>
#include <utility>

#include <openssl/core_names.h>
#include <openssl/param_build.h>

#include "base/base64.hpp"
#include "base/digest.hpp"
#include "tests/domains/es256_verify.hpp"

namespace atlasflow::domains_test {
namespace {

using nlohmann::json;

using ParameterBuilder = std::unique_ptr<OSSL_PARAM_BLD, OpensslFree<OSSL_PARAM_BLD_free>>;
using Parameters = std::unique_ptr<OSSL_PARAM, OpensslFree<OSSL_PARAM_free>>;
using KeyContext = std::unique_ptr<EVP_PKEY_CTX, OpensslFree<EVP_PKEY_CTX_free>>;

KeyPtr public_key(const json& jwk) {
  const auto point = "\x04" + from_base64url(jwk["x"].get<std::string>()).value() +
                     from_base64url(jwk["y"].get<std::string>()).value();
  const ParameterBuilder builder(OSSL_PARAM_BLD_new());
  OSSL_PARAM_BLD_push_utf8_string(builder.get(), OSSL_PKEY_PARAM_GROUP_NAME, "P-256", 0);
  OSSL_PARAM_BLD_push_octet_string(builder.get(), OSSL_PKEY_PARAM_PUB_KEY, point.data(),
                                   point.size());
  const Parameters parameters(OSSL_PARAM_BLD_to_param(builder.get()));
  const KeyContext context(EVP_PKEY_CTX_new_from_name(nullptr, "EC", nullptr));
  EVP_PKEY* key = nullptr;
  EVP_PKEY_fromdata_init(context.get());
  EVP_PKEY_fromdata(context.get(), &key, EVP_PKEY_PUBLIC_KEY, parameters.get());
  return KeyPtr(key);
}

std::string thumbprint_in(const json& jwk) {
  nlohmann::ordered_json ordered;
  for (const char* member : {"crv", "kty", "x", "y"}) ordered[member] = jwk[member];
  return base64url(bytes_of(Sha256().of(ordered.dump())));
}

std::string decoded(const json& jws, const char* member) {
  return from_base64url(jws[member].get<std::string>()).value();
}

}  // namespace

std::string http_answer(int status, const std::string& body, const std::string& fields) {
  return "HTTP/1.1 " + std::to_string(status) +
         " X\r\nContent-Length: " + std::to_string(body.size()) + "\r\n" + fields + "\r\n" + body;
}

// ---- the board ----------------------------------------------------------------------------------

Result<void> TestBoard::put(const std::string& host, const std::string& token,
                            const std::string& key_authorization) {
  const std::lock_guard lock(mutex_);
  answers_[{host, token}] = key_authorization;
  ++puts_;
  return {};
}

void TestBoard::remove(const std::string& host, const std::string& token) {
  const std::lock_guard lock(mutex_);
  answers_.erase({host, token});
}

std::optional<std::string> TestBoard::answer(const std::string& host,
                                             const std::string& token) const {
  const std::lock_guard lock(mutex_);
  const auto found = answers_.find({host, token});
  return found == answers_.end() ? std::nullopt : std::optional(found->second);
}

std::size_t TestBoard::size() const {
  const std::lock_guard lock(mutex_);
  return answers_.size();
}

std::size_t TestBoard::puts() const {
  const std::lock_guard lock(mutex_);
  return puts_;
}

// ---- the authority ------------------------------------------------------------------------------

FakeCa::FakeCa(const TestBoard& board) : board_(board) {
  peer_ = std::make_unique<base_test::HttpPeer>(
      [this](const std::string& request) { return answer(request); });
}

int FakeCa::orders() const {
  const std::lock_guard lock(mutex_);
  return static_cast<int>(orders_.size());
}
int FakeCa::accounts() const {
  const std::lock_guard lock(mutex_);
  return static_cast<int>(thumbprints_.size());
}
int FakeCa::key_changes() const {
  const std::lock_guard lock(mutex_);
  return key_changes_;
}
int FakeCa::certificates() const {
  const std::lock_guard lock(mutex_);
  return static_cast<int>(
      std::ranges::count_if(orders_, [](const Order& order) { return !order.chain.empty(); }));
}
int FakeCa::asked(const std::string& part) const {
  const std::lock_guard lock(mutex_);
  const auto found = asked_.find(part);
  return found == asked_.end() ? 0 : found->second;
}
std::vector<std::string> FakeCa::replaces() const {
  const std::lock_guard lock(mutex_);
  return replaces_;
}
std::vector<std::string> FakeCa::ordered_profiles() const {
  const std::lock_guard lock(mutex_);
  return ordered_profiles_;
}
json FakeCa::account_request() const {
  const std::lock_guard lock(mutex_);
  return account_request_;
}
void FakeCa::forget_accounts() {
  const std::lock_guard lock(mutex_);
  thumbprints_.clear();
  keys_.clear();
}

std::string FakeCa::respond(int status, const std::string& body, const std::string& fields) {
  const auto nonce = "nonce-" + std::to_string(++nonce_count_);
  nonces_.insert(nonce);
  return http_answer(status, body, "Replay-Nonce: " + nonce + "\r\n" + fields);
}

std::string FakeCa::problem(int status, const std::string& type, const std::string& detail) {
  const json document{{"type", "urn:ietf:params:acme:error:" + type}, {"detail", detail}};
  return respond(status, document.dump());
}

// "/authz/3/1" is part "/authz", number 3, member 1.
std::string FakeCa::answer(const std::string& request) {
  const std::lock_guard lock(mutex_);
  std::istringstream line(request.substr(0, request.find("\r\n")));
  std::string method;
  std::string path;
  line >> method >> path;
  const auto second = path.find('/', 1);
  const auto part = path.substr(0, second);
  const int times = ++asked_[part];
  if (instead) {
    if (auto other = instead(part, times); !other.empty()) return other;
  }
  if (part == "/dir") {
    json directory{{"newNonce", base() + "/nonce"},
                   {"newAccount", base() + "/account"},
                   {"newOrder", base() + "/new-order"},
                   {"renewalInfo", base() + "/renewal"}};
    if (changes_keys) directory["keyChange"] = base() + "/key-change";
    if (has_terms) directory["meta"]["termsOfService"] = base() + "/terms";
    directory["meta"]["caaIdentities"] = {"ca.example"};
    directory["meta"]["externalAccountRequired"] = external_account_required;
    for (const auto& each : profiles) directory["meta"]["profiles"][each] = base() + "/about";
    return http_answer(200, directory.dump());
  }
  if (part == "/renewal") {
    const auto id = second == path.npos ? std::string() : path.substr(second + 1);
    return renewal ? renewal(id) : http_answer(404, "");
  }
  if (part == "/nonce") return respond(200, "");

  const auto jws = json::parse(request.substr(request.find("\r\n\r\n") + 4));
  const auto header = json::parse(decoded(jws, "protected"));
  const auto payload_text = decoded(jws, "payload");
  const auto payload = payload_text.empty() ? json() : json::parse(payload_text);
  if (nonces_.erase(header["nonce"].get<std::string>()) == 0) {
    return problem(400, "badNonce", "that nonce is not mine");
  }
  if (header["url"] != base() + path) return problem(401, "unauthorized", "another URL is signed");
  json jwk = header.value("jwk", json());
  if (jwk.is_null()) {
    const auto kid = header["kid"].get<std::string>();
    const auto at = std::stoul(kid.substr(kid.rfind('/') + 1));
    if (at >= keys_.size()) return problem(400, "accountDoesNotExist", "no such account");
    jwk = keys_[at];
  }
  if (!es256_verifies(public_key(jwk).get(), jws["protected"].get<std::string>(),
                      jws["payload"].get<std::string>(), decoded(jws, "signature"))) {
    return problem(400, "malformed", "the signature does not verify");
  }
  std::size_t number = 0;
  std::size_t member = 0;
  if (second != path.npos) {
    char slash = 0;
    std::istringstream rest(path.substr(second + 1));
    rest >> number >> slash >> member;
  }
  if (part == "/account" && second == path.npos) return account_answer(payload, {{"jwk", jwk}});
  return own_answer(part, number, member, payload, header);
}

std::string FakeCa::own_answer(const std::string& part, std::size_t number, std::size_t member,
                               const json& payload, const json& header) {
  if (part == "/account") {
    json account{{"status", "valid"}};
    if (lists_orders) account["orders"] = base() + "/orders/0";
    return respond(200, account.dump());
  }
  if (part == "/orders") {
    json list;
    list["orders"] = json::array();
    for (std::size_t i = 0; i < orders_.size(); ++i) {
      list["orders"].push_back(base() + "/order/" + std::to_string(i));
    }
    return respond(200, list.dump());
  }
  if (part == "/new-order") return new_order(payload);
  if (part == "/key-change") return change_key(payload, header);
  if (number >= orders_.size()) return problem(404, "malformed", "no such order");
  if (part == "/order") return order_answer(number);
  if (part == "/authz") return authorization_answer(number, member);
  if (part == "/challenge" || part == "/dns-challenge" || part == "/tls-challenge") {
    if (orders_[number].statuses.at(member) == "pending") {
      orders_[number].accepted.at(member) = part == "/dns-challenge"   ? "dns-01"
                                            : part == "/tls-challenge" ? "tls-alpn-01"
                                                                       : "http-01";
    }
    look_at_challenge(number, member);
    return respond(200, "{}");
  }
  if (part == "/finalize") return finalize(number, payload);
  if (part == "/certificate") return respond(200, orders_[number].chain);
  return problem(404, "malformed", "no such resource");
}

std::string FakeCa::account_answer(const json& payload, const json& header) {
  account_request_ = payload;
  if (external_account_required && !payload.contains("externalAccountBinding")) {
    return problem(403, "externalAccountRequired", "who are you?");
  }
  const auto thumbprint = thumbprint_in(header["jwk"]);
  auto at = std::ranges::find(thumbprints_, thumbprint) - thumbprints_.begin();
  const bool known = at < static_cast<std::ptrdiff_t>(thumbprints_.size());
  if (!known && payload.value("onlyReturnExisting", false)) {
    return problem(400, "accountDoesNotExist", "no account has that key");
  }
  if (!known) {
    thumbprints_.push_back(thumbprint);
    keys_.push_back(header["jwk"]);
  }
  return respond(known ? 200 : 201, R"({"status":"valid"})",
                 "Location: " + base() + "/account/" + std::to_string(at) + "\r\n");
}

// RFC 8555 section 7.3.5.
std::string FakeCa::change_key(const json& inner, const json& outer) {
  const auto inner_header = json::parse(decoded(inner, "protected"));
  const auto change = json::parse(decoded(inner, "payload"));
  const auto kid = outer["kid"].get<std::string>();
  const auto at = std::stoul(kid.substr(kid.rfind('/') + 1));
  const auto& jwk = inner_header["jwk"];
  if (inner_header.contains("nonce") || inner_header["url"] != outer["url"]) {
    return problem(400, "malformed", "the inner header is for something else");
  }
  if (!es256_verifies(public_key(jwk).get(), inner["protected"].get<std::string>(),
                      inner["payload"].get<std::string>(), decoded(inner, "signature"))) {
    return problem(400, "malformed", "the new key has not signed it");
  }
  if (change["account"] != kid || change["oldKey"] != keys_[at]) {
    return problem(400, "malformed", "it names another account, or another key of it");
  }
  const auto thumbprint = thumbprint_in(jwk);
  if (keys_are_taken) {
    thumbprints_.push_back(thumbprint);
    keys_.push_back(jwk);
  }
  const auto taken = std::ranges::find(thumbprints_, thumbprint) - thumbprints_.begin();
  if (taken < static_cast<std::ptrdiff_t>(thumbprints_.size())) {
    const json document{{"type", "urn:ietf:params:acme:error:conflict"},
                        {"detail", "that key is another account's"}};
    return respond(409, document.dump(),
                   "Location: " + base() + "/account/" + std::to_string(taken) + "\r\n");
  }
  if (is_slow_to_change_keys) {
    late_key_change_ = [this, at, thumbprint, next = json(jwk)] { set_key(at, thumbprint, next); };
    return respond(504, "");
  }
  set_key(at, thumbprint, jwk);
  return loses_key_change_answer ? respond(502, "") : respond(200, R"({"status":"valid"})");
}

void FakeCa::set_key(std::size_t at, const std::string& thumbprint, const json& jwk) {
  thumbprints_[at] = thumbprint;
  keys_[at] = jwk;
  ++key_changes_;
}

void FakeCa::end_slow_key_change() {
  const std::lock_guard lock(mutex_);
  std::exchange(late_key_change_, nullptr)();
}

std::string FakeCa::new_order(const json& payload) {
  if (payload.contains("replaces")) {
    const auto id = payload["replaces"].get<std::string>();
    replaces_.push_back(id);
    if (replaced.contains(id)) return problem(409, "alreadyReplaced", "it has been renewed");
  }
  if (payload.contains("profile")) {
    ordered_profiles_.push_back(payload["profile"].get<std::string>());
  }
  Order order;
  for (const auto& each : payload["identifiers"]) {
    order.names.push_back(each["value"].get<std::string>());
    order.statuses.emplace_back("pending");
    order.polls.push_back(0);
    order.accepted.emplace_back();
  }
  orders_.push_back(std::move(order));
  const auto number = orders_.size() - 1;
  auto made = order_answer(number);
  made.replace(made.find("200"), 3, "201");
  return made;
}

std::string FakeCa::order_answer(std::size_t number) {
  Order& order = orders_[number];
  if (order.status == "processing" && order.processing-- <= 0) order.status = "valid";
  const auto own = base() + "/order/" + std::to_string(number);
  json object{{"status", order.status},
              {"finalize", base() + "/finalize/" + std::to_string(number)}};
  object["identifiers"] = json::array();
  for (std::size_t i = 0; i < order.names.size(); ++i) {
    object["identifiers"].push_back({{"type", "dns"}, {"value", order.names[i]}});
    object["authorizations"].push_back(base() + "/authz/" + std::to_string(number) + "/" +
                                       std::to_string(i));
  }
  if (order.status == "valid")
    object["certificate"] = base() + "/certificate/" + std::to_string(number);
  std::string fields = "Location: " + own + "\r\n";
  if (!retry_after.empty() && order.status == "processing") {
    fields += "Retry-After: " + retry_after + "\r\n";
  }
  return respond(200, object.dump(), fields);
}

std::string FakeCa::authorization_answer(std::size_t number, std::size_t member) {
  Order& order = orders_[number];
  auto& status = order.statuses.at(member);
  const auto token = "token-" + std::to_string(number) + "-" + std::to_string(member);
  std::string challenge_status = status;
  if (status == "accepted") {
    challenge_status = "processing";
    if (order.polls[member]++ >= pending_polls) {
      look_at_challenge(number, member);
      challenge_status = status;
    }
  }
  json challenge{
      {"type", "http-01"},
      {"status", challenge_status},
      {"token", token},
      {"url", base() + "/challenge/" + std::to_string(number) + "/" + std::to_string(member)}};
  if (!order.problem.empty()) challenge["error"] = json::parse(order.problem);
  const auto& name = order.names.at(member);
  const bool wildcard = name.starts_with("*.");
  json object{{"status", status == "accepted" ? "pending" : status},
              {"identifier", {{"type", "dns"}, {"value", wildcard ? name.substr(2) : name}}}};
  auto dns = challenge;
  dns["type"] = "dns-01";
  dns["token"] = "dns-" + token;
  dns["url"] = base() + "/dns-challenge/" + std::to_string(number) + "/" + std::to_string(member);
  auto tls = challenge;
  tls["type"] = "tls-alpn-01";
  tls["url"] = base() + "/tls-challenge/" + std::to_string(number) + "/" + std::to_string(member);
  object["challenges"] = json::array({dns});
  if (wildcard) object["wildcard"] = true;
  if (!wildcard && in_tls) object["challenges"].push_back(tls);
  if (!wildcard && over_http) object["challenges"].push_back(challenge);
  // The others are as they were when one of them was accepted (RFC 8555 section 7.1.6).
  for (auto& each : object["challenges"]) {
    const auto& accepted = order.accepted.at(member);
    if (!accepted.empty() && each["type"] != accepted) {
      each["status"] = "pending";
      each.erase("error");
    }
  }
  return respond(200, object.dump());
}

// First it is accepted, and with a poll it is looked at.
void FakeCa::look_at_challenge(std::size_t number, std::size_t member) {
  Order& order = orders_[number];
  auto& status = order.statuses.at(member);
  if (status == "pending") {
    status = "accepted";
    return;
  }
  const auto token = "token-" + std::to_string(number) + "-" + std::to_string(member);
  const bool reached = !unreachable.contains(order.accepted[member]);
  const bool right = reached && is_proved(order, token, member);
  status = right ? "valid" : "invalid";
  if (!reached) {
    order.status = "invalid";
    order.problem = R"({"type":"urn:ietf:params:acme:error:connection",)"
                    R"("detail":"Connection refused"})";
  } else if (!right) {
    order.status = "invalid";
    order.problem = R"({"type":"urn:ietf:params:acme:error:unauthorized",)"
                    R"("detail":"The key authorization file from the server did not match"})";
  } else if (std::ranges::all_of(order.statuses,
                                 [](const auto& each) { return each == "valid"; })) {
    order.status = "ready";
  }
}

bool FakeCa::is_proved(const Order& order, const std::string& token, std::size_t member) const {
  const auto& name = order.names[member];
  std::vector<std::string> found;
  const bool by_dns = order.accepted[member] == "dns-01";
  if (!by_dns) {
    if (const auto answer = board_.answer(name, token)) found.push_back(*answer);
  } else if (texts) {
    found = texts("_acme-challenge." + (name.starts_with("*.") ? name.substr(2) : name));
  }
  return std::ranges::any_of(thumbprints_, [&](const auto& thumbprint) {
    const auto wanted = by_dns ? base64url(bytes_of(Sha256().of("dns-" + token + "." + thumbprint)))
                               : token + "." + thumbprint;
    return std::ranges::find(found, wanted) != found.end();
  });
}

std::string FakeCa::finalize(std::size_t number, const json& payload) {
  Order& order = orders_[number];
  if (order.status != "ready") return problem(403, "orderNotReady", "it is " + order.status);
  const auto der = from_base64url(payload["csr"].get<std::string>()).value();
  const auto key = TestAuthority::key_of_request(der);
  auto names = TestAuthority::names_of_request(der);
  if (!key || names != order.names) return problem(400, "badCSR", "not these names");
  LeafWish wish = leaf;
  wish.names = order.names;
  const auto other = make_p256_key().value();
  order.chain = to_pem(authority_.sign(wrong_key ? other.get() : key.get(), wish).get()) +
                authority_.intermediate_pem();
  order.status = "processing";
  order.processing = processing_polls;
  return order_answer(number);
}

}  // namespace atlasflow::domains_test
