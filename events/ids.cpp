#include "events/ids.hpp"

#include <charconv>
#include <string_view>

namespace atlasflow {
namespace {

constexpr std::string_view k_deployment_prefix = "deployment/";
constexpr std::string_view k_project_prefix = "project/";
constexpr std::string_view k_notifications_prefix = "notifications/";
constexpr std::string_view k_github_reports_prefix = "github-reports/";
constexpr std::string_view k_domain_prefix = "domain/";

template <typename Id>
Id strip_prefix(const StreamId& stream, std::string_view prefix) {
  if (!stream.str().starts_with(prefix)) return Id{};
  return Id{stream.str().substr(prefix.size())};
}

}  // namespace

StreamId deployment_stream(const DeploymentId& id) {
  return StreamId{std::string(k_deployment_prefix) + id.str()};
}

StreamId project_stream(const ProjectId& id) {
  return StreamId{std::string(k_project_prefix) + id.str()};
}

StreamId node_stream() { return StreamId{"node"}; }

StreamId notifications_stream(const ProjectId& id) {
  return StreamId{std::string(k_notifications_prefix) + id.str()};
}

StreamId github_reports_stream(const ProjectId& id) {
  return StreamId{std::string(k_github_reports_prefix) + id.str()};
}

StreamId domain_stream(const std::string& name) {
  return StreamId{std::string(k_domain_prefix) + name};
}

DeploymentId deployment_of(const StreamId& stream) {
  return strip_prefix<DeploymentId>(stream, k_deployment_prefix);
}

ProjectId project_of(const StreamId& stream) {
  return strip_prefix<ProjectId>(stream, k_project_prefix);
}

ProjectId notified_project_of(const StreamId& stream) {
  return strip_prefix<ProjectId>(stream, k_notifications_prefix);
}

ProjectId reported_project_of(const StreamId& stream) {
  return strip_prefix<ProjectId>(stream, k_github_reports_prefix);
}

std::string domain_of(const StreamId& stream) {
  if (!stream.str().starts_with(k_domain_prefix)) return {};
  return stream.str().substr(k_domain_prefix.size());
}

EffectId effect_id(const DeploymentId& id, StreamVersion intent) {
  return EffectId{id.str() + "-v" + std::to_string(intent.value())};
}

EffectId domain_effect_id(const std::string& domain, StreamVersion intent) {
  return EffectId{domain + "-v" + std::to_string(intent.value())};
}

VmId vm_of(const EffectId& effect) { return VmId{effect.str()}; }

EffectId effect_of(const VmId& vm) { return EffectId{vm.str()}; }

StreamVersion intent_version_of(const DeploymentId& id, const EffectId& effect) {
  const auto prefix = id.str() + "-v";
  if (!effect.str().starts_with(prefix)) return {};
  const auto digits = std::string_view(effect.str()).substr(prefix.size());
  std::uint64_t version = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), version);
  if (error != std::errc{} || end != digits.data() + digits.size()) return {};
  return StreamVersion{version};
}

}  // namespace atlasflow
