// Logs of builds, release commands and instances: the whole file, its tail, or as it grows, over
// every VM that the instance has.
#include <filesystem>

#include <spdlog/spdlog.h>

#include "api/context.hpp"
#include "api/url.hpp"
#include "storage/instance_log.hpp"

namespace atlasflow::api {
namespace {

using namespace std::chrono_literals;
using storage::InstanceLog;

constexpr auto k_poll = 200ms;
constexpr std::uint64_t k_tail_lines_max = 100'000;

enum class LogKind : std::uint8_t { run, build, release };

std::string_view name_of(LogKind kind) {
  switch (kind) {
    case LogKind::run:
      return "run";
    case LogKind::build:
      return "build";
    case LogKind::release:
      return "release";
  }
  return "run";
}

struct LogQuery {
  LogKind kind = LogKind::run;
  std::int32_t slot = 0;            // whose run log
  std::optional<std::size_t> tail;  // lines; unset: everything
  bool follow = false;
};

Result<LogQuery> parsed_log_query(const Request& request) {
  LogQuery query;
  if (const auto* kind = request.query_value("kind"); kind != nullptr) {
    if (*kind != "run" && *kind != "build" && *kind != "release") {
      return fail(ErrorCode::invalid_argument, "'kind' must be run, build or release.");
    }
    query.kind = *kind == "build"     ? LogKind::build
                 : *kind == "release" ? LogKind::release
                                      : LogKind::run;
  }
  if (const auto* slot = request.query_value("instance"); slot != nullptr) {
    const auto number = parsed_number(*slot, k_replicas_max - 1);
    if (!number) {
      return fail(ErrorCode::invalid_argument, "'instance' must be a number from 0 to 31.");
    }
    if (query.kind != LogKind::run) {
      return fail(ErrorCode::invalid_argument,
                  "'instance' is of run logs only; a deployment has one build and one release "
                  "command.");
    }
    query.slot = static_cast<std::int32_t>(*number);
  }
  if (const auto* tail = request.query_value("tail"); tail != nullptr) {
    const auto lines = parsed_number(*tail, k_tail_lines_max);
    if (!lines) {
      return fail(ErrorCode::invalid_argument,
                  "'tail' must be a number of lines from 0 to 100000.");
    }
    query.tail = *lines;
  }
  const auto follow = flag_of(request, "follow");
  if (!follow) return tl::unexpected(follow.error());
  query.follow = *follow;
  return query;
}

// The newest VM of the instance, from the stream: the state forgets a VM once it is gone, its log
// stays. Empty when there was none.
std::string newest_vm_in_slot(const storage::EventLog& log, const DeploymentState& state,
                              std::int32_t slot) {
  const auto held = state.instances.find(slot);
  if (held != state.instances.end() && !held->second.vm_id.empty()) return held->second.vm_id;
  std::string vm_id;
  const auto read = log.read_stream(
      deployment_stream(state.id), StreamVersion(1), [&](const storage::Record& record) {
        const bool asked_for = record.event.has_vm_start_requested() &&
                               record.event.vm_start_requested().slot() == slot;
        if (asked_for) vm_id = effect_id(state.id, record.stream_version).str();
        return record.stream_version < state.version;
      });
  if (!read) {
    spdlog::error("event=log_lookup_failed deployment={} cause=\"{}\"", state.id.str(),
                  to_string(read.error()));
  }
  return vm_id;
}

// The name of the file that the newest such log is in; empty before there is one.
std::string log_id_of(const storage::EventLog& log, const DeploymentState& state,
                      const LogQuery& query) {
  switch (query.kind) {
    case LogKind::build:
      return state.build.str();
    case LogKind::release:
      return state.newest_release_vm;
    case LogKind::run:
      break;
  }
  return newest_vm_in_slot(log, state, query.slot);
}

// A release command runs in a VM, so its log is a VM's.
InstanceLog file_kind_of(LogKind kind) {
  return kind == LogKind::build ? InstanceLog::build : InstanceLog::run;
}

// Whether nothing more will be written: a build log is whole once the image is in the registry, a
// release log once the command is done, long before a deployment that went live ends.
bool is_log_finished(const DeploymentState& state, LogKind kind) {
  if (is_terminal(state.status)) return true;
  switch (kind) {
    case LogKind::build:
      return !state.image.empty();
    case LogKind::release:
      return !state.image.empty() && !state.release_owed;
    case LogKind::run:
      break;
  }
  return false;
}

// Copies one deployment's log to a client, through every file that it comes to have: a VM that
// starts again writes a new one.
class LogReader {
 public:
  LogReader(const Context& context, DeploymentId deployment, LogQuery query)
      : context_(context), deployment_(std::move(deployment)), query_(query) {}

  // True at the log's end; false when the client left or a file cannot be read.
  [[nodiscard]] bool copy_to(Stream& stream) {
    for (;;) {
      const auto view = context_.control.catalog().deployment(deployment_);
      if (!view) return false;
      // Looked at before the file: what was written until the end is still read below.
      const bool finished = is_log_finished(view->state, query_.kind);
      if (view->state.version != looked_at_) {
        looked_at_ = view->state.version;
        newest_ = log_id_of(context_.control.log(), view->state, query_);
      }
      if (!drain(stream)) return false;
      if (newest_ != current_) {
        current_ = newest_;
        cursor_ = {};
        if (!begin(stream) || !drain(stream)) return false;
      }
      if (!query_.follow || finished) return true;
      if (!stream.wait(k_poll)) return false;
    }
  }

 private:
  // The tail is of the first file only: later ones are new to the client from their beginning.
  [[nodiscard]] bool begin(Stream& stream) {
    const auto lines = std::exchange(query_.tail, std::nullopt);
    if (!lines) return true;
    const auto path = path_of_current();
    return path && take(stream, storage::tail(*path, *lines));
  }

  [[nodiscard]] bool drain(Stream& stream) {
    if (current_.empty()) return true;
    const auto path = path_of_current();
    while (path) {
      const auto before = cursor_;
      if (!take(stream, storage::read_from(*path, cursor_))) return false;
      if (cursor_.offset == before.offset) return true;
    }
    return false;
  }

  [[nodiscard]] bool take(Stream& stream, const Result<storage::LogChunk>& chunk) {
    if (!chunk) {
      spdlog::error("event=log_stream_failed deployment={} cause=\"{}\"", deployment_.str(),
                    to_string(chunk.error()));
      return false;
    }
    cursor_ = chunk->next;
    return stream.write(chunk->bytes);
  }

  [[nodiscard]] Result<std::filesystem::path> path_of_current() const {
    return storage::instance_log_path(context_.log_folder, current_, file_kind_of(query_.kind));
  }

  const Context& context_;
  const DeploymentId deployment_;
  LogQuery query_;
  StreamVersion looked_at_;  // of the deployment, when newest_ was found
  std::string newest_;
  std::string current_;  // the file's id; empty before the first
  storage::LogCursor cursor_;
};

bool has_log(const Context& context, const DeploymentState& state, const LogQuery& query) {
  const auto path = storage::instance_log_path(
      context.log_folder, log_id_of(context.control.log(), state, query), file_kind_of(query.kind));
  std::error_code ignored;
  return path && std::filesystem::exists(*path, ignored);
}

Error no_log(const DeploymentState& state, LogKind kind) {
  auto sentence = "Deployment " + state.id.str() + " is " + std::string(name_of(state.status)) +
                  " and has no " + std::string(name_of(kind)) + " log";
  if (kind == LogKind::build && !state.image.empty() && state.build.empty()) {
    const auto& source = state.rollback_to.empty() ? state.redeployed_of : state.rollback_to;
    sentence += "; it runs what deployment " + source + " was built from.";
  } else if (kind == LogKind::release && state.push.settings().release_command().empty()) {
    sentence += "; its project has no release command.";
  } else {
    sentence += is_log_finished(state, kind) ? "." : "; follow it to wait for one.";
  }
  return {ErrorCode::not_found, std::move(sentence), {}};
}

Response logs_of(const Context& context, const DeploymentId& id, const Request& request) {
  const auto query = parsed_log_query(request);
  if (!query) return error_response(query.error());
  const auto view = context.control.catalog().deployment(id);
  if (!view) {
    return error_response(
        {ErrorCode::not_found,
         "There is no deployment '" + id.str() + "'; atlasflow deployments NAME shows a project's.",
         {}});
  }
  const bool may_come = query->follow && !is_log_finished(view->state, query->kind);
  if (!may_come && !has_log(context, view->state, *query)) {
    return error_response(no_log(view->state, query->kind));
  }
  Response response;
  response.content_type = "text/plain; charset=utf-8";
  response.stream = [&context, id, wanted = *query](Stream& stream) {
    return LogReader(context, id, wanted).copy_to(stream);
  };
  return response;
}

Response project_logs(const Context& context, const Request& request) {
  return response_of(
      project_named(context, request.parameters.at("name")), [&](const storage::ProjectView& view) {
        if (view.live) return logs_of(context, *view.live, request);
        const auto newest = newest_in_production(view, context.control.catalog());
        if (newest) return logs_of(context, newest->state.id, request);
        return error_response({ErrorCode::not_found,
                               "Project '" + view.state.name +
                                   "' has no deployment yet; push to its branch or run atlasflow "
                                   "deploy.",
                               {}});
      });
}

}  // namespace

void add_log_routes(Router& router, const Context& context) {
  router.add({"GET", "/v1/deployments/:id/logs", 0, [&context](const Request& request) {
                return logs_of(context, DeploymentId(request.parameters.at("id")), request);
              }});
  router.add({"GET", "/v1/projects/:name/logs", 0,
              [&context](const Request& request) { return project_logs(context, request); }});
}

}  // namespace atlasflow::api
