#include "actors/domains/domain_settings.hpp"

#include "base/rfc3339.hpp"
#include "events/domain_authority.hpp"

namespace atlasflow::actors {

std::string domain_of_host(const std::string& host) {
  return host.starts_with("*.") ? host.substr(2) : host;
}

std::string registered_domain(const DomainEngine* engine, const std::string& name) {
  if (engine == nullptr) return name;
  const auto known = engine->name_of(name);
  return known && !known->registered.empty() ? known->registered : name;
}

std::optional<OwnCertificate> own_certificate_of(const DomainState* state,
                                                 const std::string& domain,
                                                 const DomainSettings& settings, TimestampUs now) {
  if (!settings.orders_own) return std::nullopt;
  constexpr std::size_t k_date_chars = 10;
  const auto names = "*." + domain + " and " + domain;
  if (state == nullptr || !state->is_servers) {
    if (state == nullptr || !state->claimed)
      return OwnCertificate{false, names + ": not begun yet"};
    return OwnCertificate{false, "project '" + state->project_name + "' has the domain " + domain +
                                     ", which is this server's own; atlasflow domains remove " +
                                     domain + " frees it for the server's certificate"};
  }
  const auto* shown = state->shown_certificate();
  if (shown == nullptr) {
    return OwnCertificate{
        false, names + ": " +
                   (state->failure ? state->failure->reason : std::string("being ordered")) +
                   "; until one is there, the server's own authority vouches for them"};
  }
  const auto stage = shown->expiry_stage(now);
  auto text = names + ": by " + shown->issuer + " until " +
              rfc3339(shown->not_after).substr(0, k_date_chars);
  if (state->failure) text += "; the last order failed: " + state->failure->reason;
  return OwnCertificate{stage == pb::EXPIRY_STAGE_UNSPECIFIED, std::move(text)};
}

std::string target_of(const DomainState& state, const std::string& domain) {
  return state.project_name + "." + domain;
}

DomainExpectation expectation_of(const DomainState& state, const std::string& domain,
                                 const std::vector<std::string>& addresses) {
  DomainExpectation expected;
  expected.name = state.name;
  expected.target = target_of(state, domain);
  expected.addresses = addresses;
  expected.proof = ownership_proof(state.project, state.token);
  expected.is_servers = state.is_servers;
  expected.proof_required = state.proof_required && state.proved_project != state.project;
  if (state.take_over) {
    expected.take_over_proof = ownership_proof(state.take_over->project, state.take_over->token);
  }
  return expected;
}

DomainOutlook outlook_of(const DomainState& state, const DomainEngine* engine,
                         const std::string& domain, const DomainSettings& settings, TimestampUs now,
                         const std::optional<HeldOrder>& held) {
  if (!state.claimed) return {};
  const auto expected = expectation_of(state, domain, settings.addresses);
  const auto name =
      engine == nullptr ? fail(ErrorCode::unavailable, "no engine") : engine->name_of(state.name);
  DomainOutlook outlook;
  if (!state.is_servers) outlook.wanted = wanted_records(expected, name && name->is_apex);
  outlook.proof_required = expected.proof_required;
  if (state.take_over && state.take_over->is_open(now)) {
    outlook.take_over = WantedRecord{ownership_name(state.name), "TXT", expected.take_over_proof};
  }
  outlook.orders_certificates = !settings.rules.directory.empty();
  if (const auto due = next_order(state, settings.rules, now)) {
    outlook.order_due_at = due->at;
    outlook.order_directory = due->directory;
    if (held) {
      outlook.order_due_at = held->until;
      outlook.order_held = held->reason;
    }
  }
  if (const auto* shown = state.shown_certificate(); shown != nullptr) {
    outlook.expiry = shown->expiry_stage(now);
  }
  if (outlook.expiry != pb::EXPIRY_STAGE_UNSPECIFIED) {
    outlook.expiry_reason = atlasflow::expiry_reason(state, settings.rules);
  }
  return outlook;
}

}  // namespace atlasflow::actors
