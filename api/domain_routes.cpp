// Domains of users' own: claims, what their name servers say, and their certificates.
#include <deque>

#include "api/context.hpp"
#include "base/log.hpp"

namespace atlasflow::api {
namespace {

constexpr std::uint64_t k_body_bytes_max = 4 << 10;
// A chain of 16 certificates and a key of RSA 4096, with the line breaks escaped.
constexpr std::uint64_t k_upload_bytes_max = 128 << 10;
constexpr std::size_t k_history_max = 50;

Json json_of(const std::vector<WantedRecord>& records) {
  Json json = Json::array();
  for (const auto& record : records) {
    json.push_back({{"name", record.name}, {"type", record.type}, {"value", record.value}});
  }
  return json;
}

Json json_of(const CertificateFacts& facts) {
  return {{"fingerprint", facts.fingerprint},
          {"serial", facts.serial},
          {"issuer", facts.issuer},
          {"not_before_us", facts.not_before},
          {"not_after_us", facts.not_after},
          {"names", facts.names},
          {"source", name_of(facts.source)},
          {"directory", facts.directory},
          {"renewal", facts.advice ? Json{{"start_us", facts.advice->start},
                                          {"end_us", facts.advice->end},
                                          {"explanation_url", facts.advice->explanation_url}}
                                   : Json()}};
}

Json json_of(const pb::DnsObservation& observed) {
  Json servers = Json::array();
  for (const auto& answers : observed.answers()) {
    Json records = Json::array();
    for (const auto& record : answers.records()) {
      records.push_back(
          {{"name", record.name()}, {"type", record.type()}, {"value", record.value()}});
    }
    servers.push_back({{"server", answers.server()},
                       {"authoritative", answers.authoritative()},
                       {"error", answers.error()},
                       {"records", std::move(records)}});
  }
  return servers;
}

// Null while its certificate is as far from its end as it should be.
Json expiry_json(const DomainState& state, const actors::DomainOutlook& outlook) {
  if (outlook.expiry == pb::EXPIRY_STAGE_UNSPECIFIED) return {};
  return {{"domain", state.name},
          {"project", state.project_name},
          {"stage", name_of(outlook.expiry)},
          {"not_after_us", state.shown_certificate()->not_after},
          {"reason", outlook.expiry_reason}};
}

Json json_of(const Context& context, const DomainState& state) {
  const auto outlook = context.control.outlook_of(state);
  Json json;
  json["domain"] = state.name;
  json["display_name"] = state.display_name;
  json["project"] = state.project_name;
  json["is_servers"] = state.is_servers;
  json["status"] = name_of(state.status());
  json["reason"] = state.claimed ? state.reason : state.removed_reason;
  json["added_at_us"] = state.added_at;
  json["url"] =
      "https://" + state.name +
      (context.address.https_port == 443 ? "" : ":" + std::to_string(context.address.https_port));
  json["records"] = {{"routing", json_of(outlook.wanted.routing)},
                     {"instead", json_of(outlook.wanted.instead)},
                     {"proof", json_of(outlook.wanted.proof)},
                     {"proof_required", outlook.proof_required}};
  json["checked_at_us"] = state.checked_at;
  json["verdict"] = name_of(state.verdict);
  json["observed"] = json_of(state.observed);
  const auto* certificate = state.certificate();
  json["certificate"] = certificate == nullptr ? Json() : json_of(*certificate);
  json["orders_certificates"] = outlook.orders_certificates;
  json["next_order_at_us"] = outlook.order_due_at ? Json(*outlook.order_due_at) : Json();
  json["order_held"] = outlook.order_held.empty() ? Json() : Json(outlook.order_held);
  json["next_order_from"] = outlook.order_due_at ? Json(outlook.order_directory) : Json();
  json["order"] = state.order ? Json{{"ordered_at_us", state.order->ordered_at},
                                     {"deadline_us", state.order->deadline},
                                     {"directory", state.order->directory},
                                     {"fallback_reason", state.order->fallback_reason}}
                              : Json();
  json["failure"] = state.failure ? Json{{"problem", name_of(state.failure->problem)},
                                         {"reason", state.failure->reason},
                                         {"at_us", state.failure->at},
                                         {"retry_at_us", state.failure->retry_at},
                                         {"attempts", state.attempts}}
                                  : Json();
  json["redirect_to"] = state.redirect_to.empty() ? Json() : Json(state.redirect_to);
  json["expiry"] = expiry_json(state, outlook);
  json["take_over"] = Json();
  if (outlook.take_over) {
    json["take_over"] = {{"project", state.take_over->project_name},
                         {"record", json_of({*outlook.take_over}).front()}};
  }
  return json;
}

Response show_domain(const Context& context, const std::string& name, int status = 200) {
  const auto state = context.control.catalog().domain(name);
  if (!state) {
    return error_response({ErrorCode::not_found,
                           "There is no domain '" + name + "'; atlasflow domains list shows them.",
                           {}});
  }
  return json_response(json_of(context, *state), status);
}

Response list_domains(const Context& context, const Request& request) {
  std::string project;
  for (const auto& [key, value] : request.query) {
    if (key == "project") project = value;
  }
  if (!project.empty()) {
    if (const auto known = project_named(context, project); !known) {
      return error_response(known.error());
    }
  }
  Json domains = Json::array();
  for (const auto& state : context.control.catalog().domains()) {
    if (!state.claimed || (!project.empty() && state.project_name != project)) continue;
    domains.push_back(json_of(context, state));
  }
  Json json;
  json["domains"] = std::move(domains);
  return json_response(json);
}

Response add_domain(const Context& context, const Request& request) {
  const auto json = parsed_object(request.body, "The body");
  if (!json) return error_response(json.error());
  const Members members(*json);
  const auto domain = members.required_string("domain");
  if (!domain) return error_response(domain.error());
  const auto take_over = members.boolean("take_over");
  if (!take_over) return error_response(take_over.error());
  const auto redirect_to = members.string("redirect_to");
  if (!redirect_to) return error_response(redirect_to.error());
  const auto added = context.control.execute(
      asker_of(request), commands::AddDomain{.project = request.parameters.at("name"),
                                             .domain = *domain,
                                             .take_over = take_over->value_or(false),
                                             .redirect_to = redirect_to->value_or("")});
  if (!added) return error_response(added.error());
  log_event("api", "domain_added", {{"domain", *added}});
  wait_for_commands(context);
  return show_domain(context, *added, 201);
}

template <typename Command>
Response command_domain(const Context& context, const Request& request) {
  const auto done =
      context.control.execute(asker_of(request), Command{request.parameters.at("domain")});
  if (!done) return error_response(done.error());
  log_event("api", std::string(Command::name), {{"domain", *done}});
  wait_for_commands(context);
  return show_domain(context, *done);
}

// An empty one, or null, ends the redirect.
Response redirect_domain(const Context& context, const Request& request) {
  const auto json = parsed_object(request.body, "The body");
  if (!json) return error_response(json.error());
  const auto to = Members(*json).string("redirect_to");
  if (!to) return error_response(to.error());
  const auto done = context.control.execute(
      asker_of(request),
      commands::RedirectDomain{request.parameters.at("domain"), to->value_or("")});
  if (!done) return error_response(done.error());
  log_event("api", "domain_redirect_set", {{"domain", *done}});
  wait_for_commands(context);
  return show_domain(context, *done);
}

// Neither an error nor a log line nor the answer repeats a byte of the key.
Response upload_certificate(const Context& context, const Request& request) {
  const auto json = parsed_object(request.body, "The body");
  if (!json) return error_response(json.error());
  const Members members(*json);
  const auto chain = members.required_string("certificate");
  if (!chain) return error_response(chain.error());
  const auto key = members.required_string("private_key");
  if (!key) return error_response(key.error());
  const auto done = context.control.execute(
      asker_of(request),
      commands::UploadCertificate{request.parameters.at("domain"), *chain, *key});
  if (!done) return error_response(done.error());
  wait_for_commands(context);
  return show_domain(context, *done);
}

Response change_account_key(const Context& context, const Request& request) {
  const auto json = parsed_object(request.body, "The body");
  if (!json) return error_response(json.error());
  const auto at_fallback = Members(*json).boolean("fallback");
  if (!at_fallback) return error_response(at_fallback.error());
  const auto changed = context.control.execute(
      asker_of(request), commands::ChangeAccountKey{at_fallback->value_or(false)});
  return response_of(changed, [](const std::string& thumbprint) {
    Json answer;
    answer["thumbprint"] = thumbprint;
    return json_response(answer);
  });
}

bool is_of_certificates(const pb::Event& event) {
  return event.has_certificate_ordered() || event.has_certificate_issued() ||
         event.has_certificate_failed() || event.has_certificate_installed() ||
         event.has_certificate_lost() || event.has_certificate_retry_requested() ||
         event.has_certificate_uploaded() || event.has_certificate_released() ||
         event.has_certificate_expiring() || event.has_renewal_advised();
}

// The newest last, as lines of the log are.
Response show_history(const Context& context, const Request& request) {
  const auto name = context.control.domain_named(request.parameters.at("domain"));
  std::deque<Json> lines;
  const auto read = context.control.log().read_stream(
      domain_stream(name), StreamVersion{1}, [&](const storage::Record& record) {
        if (is_of_certificates(record.event)) lines.push_back(Json::parse(event_line(record)));
        if (lines.size() > k_history_max) lines.pop_front();
        return true;
      });
  if (!read) return error_response(read.error());
  Json json;
  json["events"] = Json(lines);
  return json_response(json);
}

}  // namespace

Json expiring_certificates(const Context& context) {
  Json expiring = Json::array();
  for (const auto& state : context.control.catalog().domains()) {
    if (!state.claimed) continue;
    auto json = expiry_json(state, context.control.outlook_of(state));
    if (!json.is_null()) expiring.push_back(std::move(json));
  }
  return expiring;
}

void add_domain_routes(Router& router, const Context& context) {
  const auto add = [&](const char* method, const char* pattern, std::uint64_t body_bytes_max,
                       auto handler) {
    router.add({method, pattern, body_bytes_max,
                [&context, handler](const Request& request) { return handler(context, request); }});
  };
  add("GET", "/v1/domains", 0, list_domains);
  add("POST", "/v1/projects/:name/domains", k_body_bytes_max, add_domain);
  add("GET", "/v1/domains/:domain", 0, [](const Context& c, const Request& request) {
    return show_domain(c, c.control.domain_named(request.parameters.at("domain")));
  });
  add("GET", "/v1/domains/:domain/certificates", 0, show_history);
  add("POST", "/v1/acme-account/key", k_body_bytes_max, change_account_key);
  add("PUT", "/v1/domains/:domain/certificate", k_upload_bytes_max, upload_certificate);
  add("DELETE", "/v1/domains/:domain/certificate", 0, command_domain<commands::ReleaseCertificate>);
  add("PUT", "/v1/domains/:domain/redirect", k_body_bytes_max, redirect_domain);
  add("DELETE", "/v1/domains/:domain", 0, command_domain<commands::RemoveDomain>);
  add("POST", "/v1/domains/:domain/check", k_body_bytes_max, command_domain<commands::CheckDomain>);
  add("POST", "/v1/domains/:domain/retry", k_body_bytes_max, command_domain<commands::RetryDomain>);
}

}  // namespace atlasflow::api
