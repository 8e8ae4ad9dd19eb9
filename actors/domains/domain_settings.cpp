#include "actors/domains/domain_settings.hpp"

namespace atlasflow::actors {

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
  expected.proof_required = state.proof_required && state.proved_project != state.project;
  if (state.take_over) {
    expected.take_over_proof = ownership_proof(state.take_over->project, state.take_over->token);
  }
  return expected;
}

DomainOutlook outlook_of(const DomainState& state, const DomainEngine* engine,
                         const std::string& domain, const DomainSettings& settings,
                         TimestampUs now) {
  if (!state.claimed) return {};
  const auto expected = expectation_of(state, domain, settings.addresses);
  const auto name =
      engine == nullptr ? fail(ErrorCode::unavailable, "no engine") : engine->name_of(state.name);
  DomainOutlook outlook;
  outlook.wanted = wanted_records(expected, name && name->is_apex);
  outlook.proof_required = expected.proof_required;
  if (state.take_over && state.take_over->is_open(now)) {
    outlook.take_over = WantedRecord{ownership_name(state.name), "TXT", expected.take_over_proof};
  }
  outlook.orders_certificates = !settings.rules.directory.empty();
  outlook.order_due_at = order_due_at(state, settings.rules);
  if (const auto* shown = state.shown_certificate(); shown != nullptr) {
    outlook.expiry = shown->expiry_stage(now);
  }
  if (outlook.expiry != pb::EXPIRY_STAGE_UNSPECIFIED) {
    outlook.expiry_reason = atlasflow::expiry_reason(state, settings.rules);
  }
  return outlook;
}

}  // namespace atlasflow::actors
