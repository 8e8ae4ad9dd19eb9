#include "inspect/json.hpp"

#include <cstdio>

#include <google/protobuf/util/json_util.h>

#include "base/assert.hpp"
#include "base/digest.hpp"
#include "base/rfc3339.hpp"
#include "storage/readmodel/catalog.hpp"

namespace atlasflow::inspect {
namespace {

Json json_of_message(const google::protobuf::Message& message) {
  google::protobuf::util::JsonPrintOptions options;
  options.preserve_proto_field_names = true;
  std::string text;
  const auto status = google::protobuf::util::MessageToJsonString(message, &text, options);
  ATLAS_ASSERT(status.ok(), status.ToString());
  return Json::parse(text);
}

// References to sealed values say where a secret lies, which is nobody's business here.
void leave_out_references(Json& json) {
  if (json.is_object()) {
    for (const char* name : {"sealed_ref", "webhook_secret_ref", "secret_ref"}) json.erase(name);
    for (auto& member : json) leave_out_references(member);
  } else if (json.is_array()) {
    for (auto& member : json) leave_out_references(member);
  }
}

std::string_view name_of(IntentKind kind) {
  switch (kind) {
    case IntentKind::none:
      return "none";
    case IntentKind::clone:
      return "clone";
    case IntentKind::build:
      return "build";
    case IntentKind::push_image:
      return "push_image";
    case IntentKind::release:
      return "release";
    case IntentKind::route:
      return "route";
  }
  return "unknown";
}

std::string_view name_of(InstanceIntent intent) {
  switch (intent) {
    case InstanceIntent::none:
      return "none";
    case InstanceIntent::place:
      return "place";
    case InstanceIntent::start:
      return "start";
    case InstanceIntent::stop:
      return "stop";
  }
  return "unknown";
}

Json time_of(TimestampUs at) { return at == 0 ? Json() : Json(rfc3339(at)); }

Json json_of_retry(const std::optional<Retry>& retry) {
  if (!retry) return {};
  return {{"step", atlasflow::name_of(retry->step)},
          {"attempt", retry->attempt},
          {"due", time_of(retry->due)}};
}

// The names of all members: one that is added and not listed here does not compile.
Json json_of_instance(const Instance& instance) {
  const auto& [slot, intent, effect, deadline, host, vm_id, address, port, health_deadline, started,
               healthy, was_healthy, problem, healthy_since, unhealthy_due, exited, condemned,
               ended, lost, leaving, drained, drain_deadline, refusals, attempts, crashes, losses,
               given_up, retry] = instance;
  return {{"slot", slot},
          {"intent", name_of(intent)},
          {"effect", effect.str()},
          {"deadline", time_of(deadline)},
          {"host", host},
          {"vm_id", vm_id},
          {"address", address},
          {"port", port},
          {"health_deadline", time_of(health_deadline)},
          {"started", started},
          {"healthy", healthy},
          {"was_healthy", was_healthy},
          {"problem", problem},
          {"healthy_since", time_of(healthy_since)},
          {"unhealthy_due", time_of(unhealthy_due)},
          {"exited", exited},
          {"condemned", condemned},
          {"ended", ended},
          {"lost", lost},
          {"leaving", leaving},
          {"drained", drained},
          {"drain_deadline", time_of(drain_deadline)},
          {"refusals", refusals},
          {"attempts", attempts},
          {"crashes", crashes},
          {"losses", losses},
          {"given_up", given_up},
          {"retry", json_of_retry(retry)}};
}

void add_fields(const Json& json, const std::string& path, Fields& fields) {
  if (json.is_structured() && !json.empty()) {
    for (const auto& [name, member] : json.items()) {
      add_fields(member, path.empty() ? name : path + "." + name, fields);
    }
  } else if (!json.is_null() && !json.is_structured()) {
    fields[path] = json.is_string() ? json.get<std::string>() : json.dump();
  }
}

struct EffectJson {
  Json operator()(const CloneEffect& effect) const {
    return {{"kind", "clone"}, {"deadline", time_of(effect.deadline)}};
  }
  Json operator()(const BuildEffect& effect) const {
    return {{"kind", "build"}, {"deadline", time_of(effect.deadline)}};
  }
  Json operator()(const PushImageEffect& effect) const {
    return {{"kind", "push_image"}, {"deadline", time_of(effect.deadline)}};
  }
  Json operator()(const RunReleaseEffect& effect) const {
    return {{"kind", "release"}, {"deadline", time_of(effect.deadline)}};
  }
  Json operator()(const PlaceVmEffect& /*effect*/) const { return {{"kind", "place_vm"}}; }
  Json operator()(const StartVmEffect& effect) const {
    return {{"kind", "start_vm"},
            {"host", effect.host},
            {"slot", effect.slot},
            {"deadline", time_of(effect.deadline)}};
  }
  Json operator()(const ProbeEffect& effect) const {
    return {{"kind", "probe"}, {"vm", effect.vm_id}, {"deadline", time_of(effect.deadline)}};
  }
  Json operator()(const KeepVmEffect& effect) const {
    return {{"kind", "keep_vm"}, {"vm", effect.vm_id}, {"healthy", effect.healthy}};
  }
  Json operator()(const ClaimRouteEffect& effect) const {
    auto upstreams = Json::array();
    for (const auto& upstream : effect.upstreams) {
      upstreams.push_back(upstream.address + ":" + std::to_string(upstream.port));
    }
    return {{"kind", "claim_route"},
            {"generation", effect.generation},
            {"upstreams", std::move(upstreams)},
            {"unavailable", effect.unavailable_reason}};
  }
  Json operator()(const DrainEffect& effect) const {
    return {{"kind", "drain"}, {"vm", effect.vm_id}, {"deadline", time_of(effect.deadline)}};
  }
  Json operator()(const StopVmEffect& effect) const {
    return {{"kind", "stop_vm"}, {"vm", effect.vm_id}, {"host", effect.host}};
  }
  Json operator()(const TimerEffect& effect) const {
    return {{"kind", "timer"},
            {"step", atlasflow::name_of(effect.step)},
            {"attempt", effect.attempt},
            {"slot", effect.slot},
            {"due", time_of(effect.due)}};
  }
  Json operator()(const DeadlineEffect& effect) const {
    return {{"kind", "deadline"}, {"due", time_of(effect.due)}};
  }
  Json operator()(const AbortEffect& /*effect*/) const { return {{"kind", "abort"}}; }
};

}  // namespace

// The names of all members: one that is added and not listed here does not compile.
Json json_of(const DeploymentState& state) {
  const auto& [id, version, status, push, rollback_to, redeployed_of, redeployment, requested_by,
               subject, author, notices, cloned, skip_reason, build, image_id, stack, toolchain,
               base_images, image, release_owed, release_vm, newest_release_vm, instances, replicas,
               newest_vm_id, hostnames, generation, routed, routed_at, restarts, crashed_early,
               stopped_by, intent_kind, intent, intent_deadline, base_sha, attempts, retry, failure,
               cancelled_by, superseded_by, retired_by, retire_reason] = state;
  auto slots = Json::object();
  for (const auto& [slot, instance] : instances) {
    slots[std::to_string(slot)] = json_of_instance(instance);
  }
  auto tries = Json::object();
  for (const auto& [step, count] : attempts) {
    tries[std::string(atlasflow::name_of(step))] = count;
  }
  auto bases = Json::array();
  for (const auto& base : base_images) bases.push_back(json_of_message(base));
  Json json = {{"id", id.str()},
               {"version", version.value()},
               {"status", atlasflow::name_of(status)},
               {"push", json_of_message(push)},
               {"rollback_to", rollback_to},
               {"redeployed_of", redeployed_of},
               {"redeployment", pb::Redeployment_Name(redeployment)},
               {"requested_by", requested_by},
               {"subject", subject},
               {"author", author},
               {"notices", notices},
               {"cloned", cloned},
               {"skip_reason", skip_reason},
               {"build", build.str()},
               {"image_id", image_id},
               {"stack", stack},
               {"toolchain", toolchain},
               {"base_images", std::move(bases)},
               {"image", image},
               {"release_owed", release_owed},
               {"release_vm", release_vm},
               {"newest_release_vm", newest_release_vm},
               {"instances", std::move(slots)},
               {"replicas", replicas},
               {"newest_vm_id", newest_vm_id},
               {"hostnames", hostnames},
               {"generation", generation},
               {"routed", routed},
               {"routed_at", time_of(routed_at)},
               {"restarts", restarts},
               {"crashed_early", crashed_early},
               {"stopped_by", stopped_by},
               {"intent", {{"kind", name_of(intent_kind)}, {"effect", intent.str()}}},
               {"intent_deadline", time_of(intent_deadline)},
               {"base_sha", base_sha},
               {"attempts", std::move(tries)},
               {"retry", json_of_retry(retry)},
               {"failure", Json()},
               {"cancelled_by", cancelled_by},
               {"superseded_by", superseded_by},
               {"retired_by", retired_by},
               {"retire_reason", retire_reason}};
  if (failure) {
    json["failure"] = {{"step", atlasflow::name_of(failure->step)},
                       {"fault", atlasflow::name_of(failure->fault)},
                       {"reason", failure->reason}};
  }
  return json;
}

Json json_of(const ProjectState& state) {
  const auto& [id, version, name, repository_url, branch, webhook_secret_ref, notify_secret_ref,
               settings, env, deleted] = state;
  auto variables = Json::object();
  for (const auto& [variable, entry] : env) variables[variable] = {{"digest", entry.digest}};
  return {{"id", id.str()},
          {"version", version.value()},
          {"name", name},
          {"repository_url", repository_url},
          {"branch", branch},
          {"has_webhook_secret", !webhook_secret_ref.empty()},
          {"has_notify_secret", !notify_secret_ref.empty()},
          {"settings", json_of_message(settings)},
          {"env", std::move(variables)},
          {"deleted", deleted}};
}

Json json_of(const Effect& effect) {
  auto json = std::visit(EffectJson{}, effect);
  json["key"] = key_of(effect);
  return json;
}

Json json_of(const std::vector<Effect>& effects) {
  auto json = Json::array();
  for (const auto& effect : effects) json.push_back(json_of(effect));
  return json;
}

Json data_of(const pb::Event& event) {
  const auto* kind = pb::Event::descriptor()->oneof_decl(0);
  const auto* reflection = pb::Event::GetReflection();
  const auto* field = reflection->GetOneofFieldDescriptor(event, kind);
  if (field == nullptr) return Json::object();
  auto json = json_of_message(reflection->GetMessage(event, field));
  leave_out_references(json);
  return json;
}

Json json_of(const storage::Record& record) {
  return {{"position", record.position.value()},
          {"stream", record.stream.str()},
          {"version", record.stream_version.value()},
          {"at", rfc3339(record.recorded_at)},
          {"at_us", record.recorded_at},
          {"type", storage::event_name(record.event)},
          {"epoch", record.writer_epoch.value()},
          {"actor", record.actor},
          {"correlation", record.correlation_id},
          {"causation", record.causation_position.value()},
          {"build", record.build_id},
          {"chain", to_hex(std::string_view(reinterpret_cast<const char*>(record.chain.data()),
                                            record.chain.size()))},
          {"data", data_of(record.event)}};
}

Fields fields_of(const Json& json) {
  Fields fields;
  add_fields(json, "", fields);
  return fields;
}

std::vector<Change> changes_between(const Fields& before, const Fields& after) {
  std::vector<Change> changes;
  auto left = before.begin();
  auto right = after.begin();
  while (left != before.end() || right != after.end()) {
    if (right == after.end() || (left != before.end() && left->first < right->first)) {
      changes.push_back({left->first, left->second, ""});
      ++left;
    } else if (left == before.end() || right->first < left->first) {
      changes.push_back({right->first, "", right->second});
      ++right;
    } else {
      if (left->second != right->second) {
        changes.push_back({left->first, left->second, right->second});
      }
      ++left;
      ++right;
    }
  }
  return changes;
}

}  // namespace atlasflow::inspect
