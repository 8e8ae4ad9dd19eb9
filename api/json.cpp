#include "api/json.hpp"

#include <limits>

#include <google/protobuf/util/json_util.h>

#include "base/assert.hpp"
#include "base/json_depth.hpp"

namespace atlasflow::api {
namespace {

constexpr int k_depth_max = 64;

// What made the deployment.
std::string_view kind_name(const DeploymentState& state) {
  if (!state.rollback_to.empty()) return "rollback";
  switch (state.redeployment) {
    case pb::REDEPLOYMENT_REDEPLOY:
      return "redeploy";
    case pb::REDEPLOYMENT_PROMOTE:
      return "promote";
    case pb::REDEPLOYMENT_RESTART:
      return "restart";
    default:
      return state.push.trigger() == pb::TRIGGER_COMMAND ? "deploy" : "push";
  }
}

// Who pushed or commanded it, or why the control plane did it by itself.
std::string requester_of(const DeploymentState& state) {
  if (!state.requested_by.empty()) return state.requested_by;
  // A log of an older build has "command" there, which only users could give.
  const bool unnamed = state.push.trigger() == pb::TRIGGER_COMMAND &&
                       !Principal::parsed(state.push.pusher()).has_value();
  return unnamed ? Principal::user().str() : state.push.pusher();
}

std::string_view state_name(const Instance& instance) {
  if (instance.is_up()) return instance.leaving ? "draining" : name_of(instance.vm()->health);
  if (instance.in<phase::Placing>()) return "placing";
  if (instance.in<phase::Starting>()) return "starting";
  if (instance.in<phase::Stopping>()) return "stopping";
  if (instance.in<phase::Finished>()) return "exited";
  return instance.in<phase::GivenUp>() ? "crashed" : "waiting";
}

std::string trigger_name(pb::Trigger trigger) {
  switch (trigger) {
    case pb::TRIGGER_WEBHOOK:
      return "webhook";
    case pb::TRIGGER_COMMAND:
      return "command";
    default:
      return "unknown";
  }
}

Json json_of(const pb::Settings& settings) {
  Json build_args = Json::object();
  for (const auto& arg : settings.build_args()) build_args[arg.name()] = arg.value();
  Json watch_paths = Json::array();
  for (const auto& glob : settings.watch_paths()) watch_paths.push_back(glob);
  return {{"health_path", settings.health_path()},
          {"port", settings.port()},
          {"port_given", settings.port_given()},
          {"health_deadline_us", settings.health_deadline_us()},
          {"clone_deadline_us", settings.clone_deadline_us()},
          {"build_deadline_us", settings.build_deadline_us()},
          {"drain_deadline_us", settings.drain_deadline_us()},
          {"stop_grace_us", settings.stop_grace_us()},
          {"memory_mib", settings.memory_mib()},
          {"vcpus", settings.vcpus()},
          {"disk_mib", settings.disk_mib()},
          {"replicas", settings.replicas()},
          {"request_rate", settings.request_rate()},
          {"max_concurrent_requests", settings.max_concurrent_requests()},
          {"unavailable_message", settings.unavailable_message()},
          {"app_protocol", settings.app_protocol().empty() ? k_http1 : settings.app_protocol()},
          {"root_folder", settings.root_folder()},
          {"dockerfile", settings.dockerfile()},
          {"build_target", settings.build_target()},
          {"static.folder", settings.static_folder()},
          {"static.fallback", settings.static_fallback()},
          {"install_command", settings.install_command()},
          {"build_command", settings.build_command()},
          {"start_command", settings.start_command()},
          {"build_args", std::move(build_args)},
          {"watch_paths", std::move(watch_paths)},
          {"release_command", settings.release_command()},
          {"release_deadline_us", settings.release_deadline_us()},
          {"auto_rollback_us", settings.auto_rollback_us()},
          {"restart_unhealthy_after_us", settings.restart_unhealthy_after_us()},
          {"previews", settings.previews()},
          {"pull_requests", settings.pull_requests()},
          {"pull_requests_from_forks", settings.pull_requests_from_forks()},
          {"preview_limit", settings.preview_limit()},
          {"preview_ttl_us", settings.preview_ttl_us()},
          {"supersede_after_us", settings.supersede_after_us()},
          {"notify_url", settings.notify_url()},
          {"primary_domain", settings.primary_domain()}};
}

Json text_or_null(const std::string& text) { return text.empty() ? Json() : Json(text); }

Json json_of(const Instance& instance) {
  const auto* vm = instance.vm();
  return {{"slot", instance.slot},
          {"state", state_name(instance)},
          {"vm", text_or_null(instance.vm_id().str())},
          {"host", text_or_null(instance.host().str())},
          {"address", vm == nullptr ? Json() : text_or_null(vm->address)},
          {"port", vm == nullptr || vm->port == 0 ? Json() : Json(vm->port)},
          {"healthy", instance.is_healthy()},
          {"problem", vm == nullptr ? Json() : text_or_null(vm->problem())},
          {"crashes", instance.crashes}};
}

Json vm_json_of(const Instance* instance) {
  const auto* vm = instance == nullptr ? nullptr : instance->vm();
  if (vm == nullptr) return nullptr;
  return {
      {"id", vm->id.str()}, {"host", vm->host.str()}, {"address", vm->address}, {"port", vm->port}};
}

// What only time will bring: `slot` is null for a step of the deployment as a whole.
Json waits_json_of(const DeploymentState& state) {
  Json waits = Json::array();
  const auto add = [&](const Retry& retry, Json slot) {
    waits.push_back({{"step", name_of(retry.step)},
                     {"attempt", retry.attempt},
                     {"due_us", retry.due},
                     {"slot", std::move(slot)}});
  };
  if (state.retry) add(*state.retry, nullptr);
  for (const auto& [slot, instance] : state.instances) {
    if (const auto* retry = instance.retry()) add(*retry, slot);
  }
  return waits;
}

Json pull_request_json_of(const DeploymentState& state) {
  if (!state.push.has_pull_request()) return nullptr;
  const auto& of = state.push.pull_request();
  Json json;
  json["number"] = of.number();
  json["repository"] = text_or_null(of.repository());
  json["branch"] = of.branch();
  json["from_fork"] = of.from_fork();
  json["approved_by"] = text_or_null(of.approved_by());
  return json;
}

Json waiting_json_of(const ProjectState& state) {
  Json waiting = Json::array();
  for (const auto& [number, held] : state.awaiting_approval) {
    waiting.push_back({{"number", number},
                       {"sha", held.head()},
                       {"repository", held.pull_request().repository()},
                       {"branch", held.pull_request().branch()},
                       {"pusher", held.pusher()}});
  }
  return waiting;
}

// The message of the oneof that is set, or nullptr for an event that this build does not know.
const google::protobuf::Message* inner_message(const pb::Event& event) {
  const auto* kind = pb::Event::descriptor()->FindOneofByName("kind");
  const auto* reflection = pb::Event::GetReflection();
  const auto* field = reflection->GetOneofFieldDescriptor(event, kind);
  return field == nullptr ? nullptr : &reflection->GetMessage(event, field);
}

std::string inner_json(const pb::Event& event) {
  const auto* message = inner_message(event);
  if (message == nullptr) return "{}";
  google::protobuf::util::JsonPrintOptions options;
  options.preserve_proto_field_names = true;
  options.always_print_primitive_fields = true;
  std::string text;
  const auto status = google::protobuf::util::MessageToJsonString(*message, &text, options);
  ATLAS_ASSERT(status.ok(), status.ToString());
  return text;
}

}  // namespace

std::string PublicAddress::url_of_host(const std::string& host) const {
  return "https://" + host + (https_port == 443 ? "" : ":" + std::to_string(https_port));
}

std::string PublicAddress::url_of(const std::string& project) const {
  return url_of_host(project + "." + domain);
}

std::string PublicAddress::git_push_url_of(const std::string& project) const {
  return url_of_host(domain) + "/git/" + project;
}

Json json_of(const storage::DeploymentView& view, const PublicAddress& address) {
  const auto& state = view.state;
  // Its environment's, and its own.
  const auto hostnames = hostnames_of(state, address.domain);
  const auto& source = state.rollback_to.empty() ? state.redeployed_of : state.rollback_to;
  Json json;
  json["id"] = state.id.str();
  json["number"] = view.number;
  json["project"] = state.push.project_name();
  json["environment"] = state.push.environment();
  json["sha"] = state.push.after();
  json["ref"] = state.push.ref();
  json["pull_request"] = pull_request_json_of(state);
  json["subject"] = state.subject;
  json["author"] = state.author;
  json["trigger"] = trigger_name(state.push.trigger());
  json["inferred"] = state.push.inferred_at_s() != 0;
  json["kind"] = kind_name(state);
  json["source"] = text_or_null(source);
  json["requested_by"] = text_or_null(requester_of(state));
  json["no_cache"] = state.push.no_cache();
  json["status"] = name_of(state.status);
  json["url"] = address.url_of_host(hostnames.front());
  json["preview_url"] = address.url_of_host(hostnames.back());
  json["hostnames"] = state.hostnames;
  json["image"] = state.image.str();
  json["stack"] = state.stack;
  json["toolchain"] = state.toolchain;
  json["base_images"] = Json::array();
  for (const auto& image : state.base_images) {
    json["base_images"].push_back({{"name", image.name()}, {"digest", image.digest()}});
  }
  json["reused_from"] = text_or_null(state.reused_from);
  json["created_at_us"] = view.created_at;
  json["updated_at_us"] = view.updated_at;
  json["milestones"] = Json::array();
  for (const auto& milestone : view.milestones) {
    json["milestones"].push_back({{"name", milestone.name},
                                  {"at_us", milestone.at},
                                  {"position", milestone.position.value()}});
  }
  json["failure"] = nullptr;
  if (state.failure) {
    json["failure"] = {{"step", name_of(state.failure->step)},
                       {"fault", name_of(state.failure->fault)},
                       {"reason", state.failure->reason}};
  }
  json["superseded_by"] = text_or_null(state.superseded_by);
  json["cancelled_by"] = text_or_null(state.cancelled_by);
  json["cancel_reason"] = text_or_null(state.cancel_reason);
  json["stopped_by"] = text_or_null(state.stopped_by);
  json["skip_reason"] = text_or_null(state.skip_reason);
  json["retire_reason"] = text_or_null(state.retire_reason);
  json["notices"] = state.notices;
  json["restarts"] = state.restarts;
  json["crashed_early"] = state.crashed_early;
  json["replicas"] = state.replicas;
  json["instances"] = Json::array();
  for (const auto& [slot, instance] : state.instances) {
    json["instances"].push_back(json_of(instance));
  }
  json["vm"] = vm_json_of(state.first_instance());
  json["waiting_for"] = waits_json_of(state);
  return json;
}

Json deploy_key_json_of(const ProjectState& state) {
  return {{"public_key", state.deploy_key}, {"fingerprint", state.deploy_key_fingerprint}};
}

Json json_of(const storage::ProjectView& view, const storage::Catalog& catalog,
             const PublicAddress& address) {
  const auto& state = view.state;
  const auto deployment = [&](const DeploymentId& id) {
    const auto found = catalog.recent(id);  // as what is live and the newest always are
    return found ? json_of(*found, address) : Json();
  };
  Json json;
  json["id"] = state.id.str();
  json["name"] = state.name;
  json["repository"] = state.repository_url;
  json["repository_deleted"] = state.repository_deleted;
  json["git_push_url"] =
      is_own_repository(state.repository_url) ? Json(address.git_push_url_of(state.name)) : Json();
  json["has_push_token"] = !state.push_token_digest.empty();
  json["branch"] = state.branch;
  json["url"] = address.url_of(state.name);
  json["live_deployment"] = view.live ? deployment(*view.live) : Json();
  const auto newest = catalog.newest_of_production(state.id);
  json["newest_deployment"] = newest ? deployment(*newest) : Json();
  json["status"] =
      json["newest_deployment"].is_null() ? Json("empty") : json["newest_deployment"]["status"];
  json["created_at_us"] = view.created_at;
  json["updated_at_us"] = view.updated_at;
  json["env_names"] = Json::array();
  for (const auto& [name, entry] : state.env) json["env_names"].push_back(name);
  json["build_secret_names"] = Json::array();
  for (const auto& [name, entry] : state.build_secrets) json["build_secret_names"].push_back(name);
  json["settings"] = json_of(state.settings);
  json["has_notify_secret"] = !state.notify_secret_ref.empty();
  json["has_webhook_secret"] = !state.webhook_secret_ref.empty();
  json["deploy_key"] = state.deploy_key_ref.empty() ? Json() : deploy_key_json_of(state);
  json["host_keys"] = Json::object();
  for (const auto& [host, fingerprint] : state.host_keys) json["host_keys"][host] = fingerprint;
  json["has_login"] = !state.login_ref.empty();
  json["waiting_for_approval"] = waiting_json_of(state);
  return json;
}

namespace {

Json json_of(const std::map<std::string, EnvEntry>& values,
             const std::map<std::string, TimestampUs>& set_at) {
  Json list = Json::array();
  for (const auto& [name, entry] : values) {
    const auto at = set_at.find(name);
    list.push_back({{"name", name},
                    {"digest", entry.digest},
                    {"set_at_us", at == set_at.end() ? 0 : at->second}});
  }
  return list;
}

}  // namespace

Json env_json_of(const storage::ProjectView& view) {
  Json json;
  json["variables"] = json_of(view.state.env, view.env_set_at);
  return json;
}

Json build_secrets_json_of(const storage::ProjectView& view) {
  Json json;
  json["secrets"] = json_of(view.state.build_secrets, view.build_secret_set_at);
  return json;
}

std::string event_line(const storage::Record& record) {
  Json json;
  json["position"] = record.position.value();
  json["stream"] = record.stream.str();
  json["version"] = record.stream_version.value();
  json["at_us"] = record.recorded_at;
  json["type"] = storage::event_name(record.event);
  json["correlation_id"] = record.correlation_id;
  json["actor"] = record.actor;
  auto line = text_of(json);
  line.resize(line.size() - 2);  // "}\n", which come again after the data
  return line + ",\"data\":" + inner_json(record.event) + "}\n";
}

std::string text_of(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

Result<ParsedJson> parsed_object(std::string_view text, std::string_view what) {
  const std::string name(what);
  if (nests_deeper_than(text, k_depth_max)) {
    return fail(ErrorCode::invalid_argument, name + " is nested deeper than 64 levels.");
  }
  auto json = ParsedJson::parse(text, nullptr, /*allow_exceptions=*/false);
  if (json.is_discarded()) {
    return fail(ErrorCode::invalid_argument, name + " is not well-formed JSON in UTF-8.");
  }
  if (!json.is_object()) {
    return fail(ErrorCode::invalid_argument, name + " must be a JSON object.");
  }
  return json;
}

const ParsedJson* Members::find(const char* name) const {
  const auto found = object_.find(name);
  return found == object_.end() || found->is_null() ? nullptr : &*found;
}

std::string Members::path_of(const char* name) const {
  return path_.empty() ? name : path_ + "." + name;
}

tl::unexpected<Error> Members::wrong_type(const char* name, const char* wanted) const {
  return fail(ErrorCode::invalid_argument, "'" + path_of(name) + "' must be " + wanted + ".");
}

Result<std::optional<std::string>> Members::string(const char* name) const {
  const auto* member = find(name);
  if (member == nullptr) return std::optional<std::string>();
  if (!member->is_string()) return wrong_type(name, "a string");
  return member->get<std::string>();
}

Result<std::string> Members::required_string(const char* name) const {
  ATLAS_TRY(auto text, string(name));
  if (!text || text->empty()) {
    return fail(ErrorCode::invalid_argument, "'" + path_of(name) + "' is missing.");
  }
  return *std::move(text);
}

Result<std::optional<bool>> Members::boolean(const char* name) const {
  const auto* member = find(name);
  if (member == nullptr) return std::optional<bool>();
  if (!member->is_boolean()) return wrong_type(name, "true or false");
  return member->get<bool>();
}

Result<std::optional<std::int64_t>> Members::integer(const char* name) const {
  const auto* member = find(name);
  if (member == nullptr) return std::optional<std::int64_t>();
  constexpr std::uint64_t k_max = std::numeric_limits<std::int64_t>::max();
  const bool fits = member->is_number_integer() &&
                    (!member->is_number_unsigned() || member->get<std::uint64_t>() <= k_max);
  if (!fits) return wrong_type(name, "a whole number");
  return member->get<std::int64_t>();
}

Result<const ParsedJson*> Members::object(const char* name) const {
  const auto* member = find(name);
  if (member != nullptr && !member->is_object()) return wrong_type(name, "an object");
  return member;
}

}  // namespace atlasflow::api
