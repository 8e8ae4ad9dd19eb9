// Build and run logs: the whole file, its tail, or as it grows, over every VM that the deployment
// has.
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

struct LogQuery {
  InstanceLog kind = InstanceLog::run;
  std::optional<std::size_t> tail;  // lines; unset: everything
  bool follow = false;
};

Result<LogQuery> parsed_log_query(const Request& request) {
  LogQuery query;
  if (const auto* kind = request.query_value("kind"); kind != nullptr) {
    if (*kind != "run" && *kind != "build") {
      return fail(ErrorCode::invalid_argument, "'kind' must be run or build.");
    }
    query.kind = *kind == "build" ? InstanceLog::build : InstanceLog::run;
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

// The name of the file that the deployment's newest log is in; empty before there is one.
const std::string& log_id_of(const DeploymentState& state, InstanceLog kind) {
  return kind == InstanceLog::build ? state.build.str() : state.newest_vm_id;
}

// Whether nothing more will be written: a build log is whole once the image is in the registry,
// long before a deployment that went live ends.
bool is_log_finished(const DeploymentState& state, InstanceLog kind) {
  return is_terminal(state.status) || (kind == InstanceLog::build && !state.image.empty());
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
      const auto& newest = log_id_of(view->state, query_.kind);
      if (!drain(stream)) return false;
      if (newest != current_) {
        current_ = newest;
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
    return storage::instance_log_path(context_.log_folder, current_, query_.kind);
  }

  const Context& context_;
  const DeploymentId deployment_;
  LogQuery query_;
  std::string current_;  // the file's id; empty before the first
  storage::LogCursor cursor_;
};

bool has_log(const Context& context, const DeploymentState& state, InstanceLog kind) {
  const auto path = storage::instance_log_path(context.log_folder, log_id_of(state, kind), kind);
  std::error_code ignored;
  return path && std::filesystem::exists(*path, ignored);
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
  if (!query->follow && !has_log(context, view->state, query->kind)) {
    const std::string kind = query->kind == InstanceLog::build ? "build" : "run";
    return error_response({ErrorCode::not_found,
                           "Deployment " + id.str() + " is " +
                               std::string(name_of(view->state.status)) + " and has no " + kind +
                               " log; follow it to wait for one.",
                           {}});
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
        if (!view.deployments.empty()) return logs_of(context, view.deployments.back(), request);
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
