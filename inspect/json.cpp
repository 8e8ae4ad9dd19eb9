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
    for (const char* name : {"sealed_ref", "webhook_secret_ref", "secret_ref", "private_key_ref"}) {
      json.erase(name);
    }
    for (auto& member : json) leave_out_references(member);
  } else if (json.is_array()) {
    for (auto& member : json) leave_out_references(member);
  }
}

std::string_view name_of(IntentKind kind) {
  switch (kind) {
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

Json time_of(TimestampUs at) { return at == 0 ? Json() : Json(rfc3339(at)); }

Json json_of_intent(const std::optional<Intent>& intent) {
  if (!intent) return {};
  return {{"kind", name_of(intent->kind)},
          {"effect", intent->effect.str()},
          {"deadline", time_of(intent->deadline)}};
}

Json json_of_retry(const std::optional<Retry>& retry) {
  if (!retry) return {};
  return {{"step", atlasflow::name_of(retry->step)},
          {"attempt", retry->attempt},
          {"due", time_of(retry->due)}};
}

// The names of all members, here and below: one that is added and not listed does not compile.
struct HealthFields {
  Json& json;
  void operator()(const health::Checking& checking) const {
    const auto& [deadline, problem] = checking;
    json["health_deadline"] = time_of(deadline);
    json["problem"] = problem;
  }
  void operator()(const health::Healthy& healthy) const {
    const auto& [since] = healthy;
    json["healthy_since"] = time_of(since);
  }
  void operator()(const health::Unhealthy& unhealthy) const {
    const auto& [since, problem, restart_due] = unhealthy;
    json["healthy_since"] = time_of(since);
    json["problem"] = problem;
    json["restart_due"] = time_of(restart_due);
  }
};

void add_vm(const Vm& vm, Json& json) {
  const auto& [id, host, address, port, health] = vm;
  json["vm_id"] = id.str();
  json["host"] = host.str();
  json["address"] = address;
  json["port"] = port;
  json["health"] = atlasflow::name_of(health);
  std::visit(HealthFields{json}, health);
}

// What is known in the phase that a slot is in.
struct PhaseFields {
  Json& json;
  void operator()(const phase::Vacant&) const {}
  void operator()(const phase::Waiting& waiting) const {
    const auto& [retry] = waiting;
    json["retry"] = json_of_retry(retry);
  }
  void operator()(const phase::Placing& placing) const {
    const auto& [effect] = placing;
    json["effect"] = effect.str();
  }
  void operator()(const phase::Placed& placed) const {
    const auto& [host] = placed;
    json["host"] = host.str();
  }
  void operator()(const phase::Starting& starting) const {
    const auto& [effect, host, deadline] = starting;
    json["effect"] = effect.str();
    json["vm_id"] = vm_of(effect).str();
    json["host"] = host.str();
    json["deadline"] = time_of(deadline);
  }
  void operator()(const phase::Up& up) const {
    const auto& [vm] = up;
    add_vm(vm, json);
  }
  void operator()(const phase::Finished& finished) const {
    const auto& [vm, end] = finished;
    add_vm(vm, json);
    json["end"] = atlasflow::name_of(end);
  }
  void operator()(const phase::Stopping& stopping) const {
    const auto& [vm, effect, end] = stopping;
    add_vm(vm, json);
    json["effect"] = effect.str();
    if (end) json["end"] = atlasflow::name_of(*end);
  }
  void operator()(const phase::Ended& ended) const {
    const auto& [end, healthy_since] = ended;
    json["end"] = atlasflow::name_of(end);
    json["healthy_since"] = time_of(healthy_since);
  }
  void operator()(const phase::GivenUp&) const {}
};

Json json_of_instance(const Instance& instance) {
  const auto& [slot, phase, leaving, refusals, attempts, crashes, losses] = instance;
  Json json = {{"slot", slot},
               {"phase", atlasflow::name_of(phase)},
               {"leaving", leaving.has_value()},
               {"refusals", refusals},
               {"attempts", attempts},
               {"crashes", crashes},
               {"losses", losses}};
  std::visit(PhaseFields{json}, phase);
  if (leaving) {
    const auto& [drain_deadline, drained] = *leaving;
    json["drain_deadline"] = time_of(drain_deadline);
    json["drained"] = drained;
  }
  return json;
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
            {"host", effect.host.str()},
            {"slot", effect.slot},
            {"deadline", time_of(effect.deadline)}};
  }
  Json operator()(const ProbeEffect& effect) const {
    return {{"kind", "probe"}, {"vm", effect.vm_id.str()}, {"deadline", time_of(effect.deadline)}};
  }
  Json operator()(const KeepVmEffect& effect) const {
    return {{"kind", "keep_vm"}, {"vm", effect.vm_id.str()}, {"healthy", effect.healthy}};
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
    return {{"kind", "drain"}, {"vm", effect.vm_id.str()}, {"deadline", time_of(effect.deadline)}};
  }
  Json operator()(const StopVmEffect& effect) const {
    return {{"kind", "stop_vm"}, {"vm", effect.vm_id.str()}, {"host", effect.host.str()}};
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
               base_images, earlier, reused_from, image, release_owed, release_vm,
               newest_release_vm, instances, replicas, newest_vm_id, hostnames, generation, routed,
               routed_at, restarts, crashed_early, stopped_by, intent, base_sha, attempts, retry,
               failure, cancelled_by, cancel_reason, superseded_by, retired_by, retire_reason] =
      state;
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
  auto builds = Json::array();
  for (const auto& build_before : earlier) builds.push_back(json_of_message(build_before));
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
               {"earlier", std::move(builds)},
               {"reused_from", reused_from},
               {"image", image.str()},
               {"release_owed", release_owed},
               {"release_vm", release_vm.str()},
               {"newest_release_vm", newest_release_vm.str()},
               {"instances", std::move(slots)},
               {"replicas", replicas},
               {"newest_vm_id", newest_vm_id.str()},
               {"hostnames", hostnames},
               {"generation", generation},
               {"routed", routed},
               {"routed_at", time_of(routed_at)},
               {"restarts", restarts},
               {"crashed_early", crashed_early},
               {"stopped_by", stopped_by},
               {"intent", json_of_intent(intent)},
               {"base_sha", base_sha},
               {"attempts", std::move(tries)},
               {"retry", json_of_retry(retry)},
               {"failure", Json()},
               {"cancelled_by", cancelled_by},
               {"cancel_reason", cancel_reason},
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
  const auto& [id, version, name, repository_url, repository_id, repository_deleted, branch,
               webhook_secret_ref, notify_secret_ref, deploy_key_ref, deploy_key,
               deploy_key_fingerprint, host_keys, login_ref, push_token_digest, settings, env,
               build_secrets, awaiting_approval, deleted, deleted_by] = state;
  auto variables = Json::object();
  for (const auto& [variable, entry] : env) variables[variable] = {{"digest", entry.digest}};
  auto secrets = Json::object();
  for (const auto& [secret, entry] : build_secrets) secrets[secret] = {{"digest", entry.digest}};
  auto waiting = Json::object();
  for (const auto& [number, commit] : awaiting_approval)
    waiting[std::to_string(number)] = commit.head();
  return {{"id", id.str()},
          {"version", version.value()},
          {"name", name},
          {"repository_url", repository_url},
          {"repository_id", repository_id},
          {"repository_deleted", repository_deleted},
          {"branch", branch},
          {"has_webhook_secret", !webhook_secret_ref.empty()},
          {"has_notify_secret", !notify_secret_ref.empty()},
          {"has_deploy_key", !deploy_key_ref.empty()},
          {"deploy_key", deploy_key},
          {"deploy_key_fingerprint", deploy_key_fingerprint},
          {"host_keys", host_keys},
          {"has_login", !login_ref.empty()},
          {"has_push_token", !push_token_digest.empty()},
          {"settings", json_of_message(settings)},
          {"env", std::move(variables)},
          {"build_secrets", std::move(secrets)},
          {"held", std::move(waiting)},
          {"deleted", deleted},
          {"deleted_by", deleted ? deleted_by.str() : ""}};
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
