// Logs of builds, release commands and instances: the whole file, its tail, or as it grows, over
// every VM that the instance had and has.
#include <algorithm>
#include <deque>
#include <filesystem>
#include <functional>

#include "api/access_log_reader.hpp"
#include "api/context.hpp"
#include "api/since.hpp"
#include "api/url.hpp"
#include "base/log.hpp"
#include "storage/instance_logs/instance_log.hpp"

namespace atlasflow::api {
namespace {

using namespace std::chrono_literals;
using storage::InstanceLog;

constexpr auto k_poll = 200ms;
constexpr std::uint64_t k_tail_lines_max = 100'000;

enum class LogKind : std::uint8_t { run, build, release, http };

std::string_view name_of(LogKind kind) {
  switch (kind) {
    case LogKind::run:
      return "run";
    case LogKind::build:
      return "build";
    case LogKind::release:
      return "release";
    case LogKind::http:
      return "http";
  }
  return "run";
}

struct LogQuery {
  LogKind kind = LogKind::run;
  std::int32_t slot = 0;            // whose run log
  std::optional<std::size_t> tail;  // lines; unset: everything
  std::optional<TimestampUs> since;
  bool follow = false;
};

TimestampUs wall_clock() {
  return std::chrono::duration_cast<std::chrono::microseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

Result<LogQuery> parsed_log_query(const Request& request) {
  LogQuery query;
  if (const auto* kind = request.query_value("kind"); kind != nullptr) {
    if (*kind != "run" && *kind != "build" && *kind != "release" && *kind != "http") {
      return fail(ErrorCode::invalid_argument, "'kind' must be run, build, release or http.");
    }
    query.kind = *kind == "build"     ? LogKind::build
                 : *kind == "release" ? LogKind::release
                 : *kind == "http"    ? LogKind::http
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
  if (const auto* since = request.query_value("since"); since != nullptr) {
    ATLAS_TRY(const auto time, parsed_since(*since, wall_clock()));
    query.since = time;
  }
  ATLAS_TRY(const auto follow, flag_of(request, "follow"));
  query.follow = follow;
  return query;
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
    case LogKind::http:
      break;
  }
  return false;
}

// The effects that events of the deployment from a version on ask for, in order, as far as `is_one`
// says so: the state forgets an effect once it is over, but why it went wrong stands in its log.
std::vector<std::string> asked_for(const storage::EventLog& log, const DeploymentState& state,
                                   StreamVersion from,
                                   const std::function<bool(const pb::Event&)>& is_one) {
  std::vector<std::string> ids;
  const auto read =
      log.read_stream(deployment_stream(state.id), from, [&](const storage::Record& record) {
        if (record.stream_version > state.version) return false;
        if (is_one(record.event)) {
          ids.push_back(effect_id(state.id, record.stream_version).str());
        }
        return record.stream_version < state.version;
      });
  if (!read) {
    log_event(LogLevel::error, "api", "log_lookup_failed",
              {{"deployment", state.id.str()}, {"cause", to_string(read.error())}});
  }
  return ids;
}

// The VMs that were asked for in the instance's slot.
std::vector<std::string> vms_in_slot(const storage::EventLog& log, const DeploymentState& state,
                                     std::int32_t slot, StreamVersion from) {
  return asked_for(log, state, from, [slot](const pb::Event& event) {
    return event.has_vm_start_requested() && event.vm_start_requested().slot() == slot;
  });
}

// The newest clone that was asked for since that version, and the newest build behind it.
std::vector<std::string> clone_and_build(const storage::EventLog& log, const DeploymentState& state,
                                         StreamVersion from) {
  const auto clones =
      asked_for(log, state, from, [](const pb::Event& event) { return event.has_clone_started(); });
  std::vector<std::string> ids;
  if (!clones.empty()) ids.push_back(clones.back());
  if (!state.build.empty()) ids.push_back(state.build.str());
  return ids;
}

// What the files are named after that such a log is in, in order, of those since that version of
// the deployment. Of clones, builds and release commands it is the newest attempt's.
std::vector<std::string> log_ids_of(const storage::EventLog& log, const DeploymentState& state,
                                    const LogQuery& query, StreamVersion from) {
  if (query.kind == LogKind::run) return vms_in_slot(log, state, query.slot, from);
  if (query.kind == LogKind::build) return clone_and_build(log, state, from);
  const auto& id = state.newest_release_vm.str();
  if (id.empty()) return {};
  return {id};
}

// Copies one log to a client, through every file that it comes to have: a VM that starts again
// writes a new one.
class LogReader {
 public:
  LogReader(const Context& context, DeploymentId deployment, LogQuery query)
      : context_(context), deployment_(std::move(deployment)), query_(query) {}

  // True at the log's end; false when the client left or a file cannot be read.
  [[nodiscard]] bool copy_to(Stream& stream) {
    for (bool first = true;; first = false) {
      const auto view = context_.control.catalog().deployment(deployment_);
      if (!view) return false;
      // Looked at before the files: what was written until the end is still read below.
      const bool finished = is_log_finished(view->state, query_.kind);
      if (first || view->state.version != listed_at_) {
        add_new_files(view->state);
        listed_at_ = view->state.version;
        if (first && !begin(stream)) return false;
      }
      if (!drain(stream)) return false;
      if (!query_.follow || finished) return true;
      if (!stream.wait(k_poll)) return false;
    }
  }

 private:
  struct File {
    std::filesystem::path path;
    storage::LogCursor cursor;
  };

  void add_new_files(const DeploymentState& state) {
    auto ids = log_ids_of(context_.control.log(), state, query_, listed_at_.next());
    for (auto& id : ids) {
      const auto path =
          storage::instance_log_path(context_.log_folder, id, file_kind_of(query_.kind));
      if (!path || id == newest_) continue;
      // Only the newest may still get a file; others without one had none or have it no more.
      std::error_code ignored;
      if (&id != &ids.back() && !std::filesystem::exists(*path, ignored)) continue;
      files_.push_back({*path, {}});
      newest_ = std::move(id);
    }
  }

  // The first files from the time and the lines that were asked for; later ones are new to the
  // client from their beginning.
  [[nodiscard]] bool begin(Stream& stream) {
    if (query_.since) {
      for (auto& file : files_) {
        const auto cursor = storage::cursor_since(file.path, *query_.since);
        if (!cursor) return tell(cursor.error());
        file.cursor = *cursor;
      }
    }
    return !query_.tail || begin_with_tail(stream, *query_.tail);
  }

  // The last lines over all files, as many as are not older than the cursors.
  [[nodiscard]] bool begin_with_tail(Stream& stream, std::size_t lines) {
    std::vector<std::string> pieces;
    for (std::size_t i = files_.size(); i-- > 0;) {
      auto& file = files_[i];
      auto chunk = storage::tail(file.path, lines);
      if (!chunk) return tell(chunk.error());
      const auto start = chunk->next.offset - chunk->bytes.size();
      if (start < file.cursor.offset) {
        chunk->bytes.erase(
            0, std::min<std::uint64_t>(file.cursor.offset - start, chunk->bytes.size()));
      }
      file.cursor = chunk->next;
      lines -= std::min(lines, lines_in(chunk->bytes));
      pieces.push_back(std::move(chunk->bytes));
    }
    return std::all_of(pieces.rbegin(), pieces.rend(),
                       [&](const std::string& piece) { return stream.write(piece); });
  }

  static std::size_t lines_in(std::string_view bytes) {
    const auto newlines = std::count(bytes.begin(), bytes.end(), '\n');
    const bool half = !bytes.empty() && bytes.back() != '\n';
    return static_cast<std::size_t>(newlines) + (half ? 1 : 0);
  }

  // A VM is asked for once the one before it in the slot is gone, so only the newest file grows.
  [[nodiscard]] bool drain(Stream& stream) {
    while (!files_.empty()) {
      if (!drain(stream, files_.front())) return false;
      if (files_.size() == 1) break;
      files_.pop_front();
    }
    return true;
  }

  [[nodiscard]] bool drain(Stream& stream, File& file) {
    for (;;) {
      const auto chunk = storage::read_from(file.path, file.cursor);
      if (!chunk) return tell(chunk.error());
      file.cursor = chunk->next;
      if (chunk->bytes.empty()) return true;
      if (!stream.write(chunk->bytes)) return false;
    }
  }

  [[nodiscard]] bool tell(const Error& error) const {
    log_event(LogLevel::error, "api", "log_stream_failed",
              {{"deployment", deployment_.str()}, {"cause", to_string(error)}});
    return false;
  }

  const Context& context_;
  const DeploymentId deployment_;
  LogQuery query_;
  StreamVersion listed_at_;  // of the deployment, when files were looked for
  std::string newest_;       // what the newest file is named after; empty before the first
  std::deque<File> files_;   // those that are not wholly copied; the newest stays
};

bool has_log(const Context& context, const DeploymentState& state, const LogQuery& query) {
  const auto ids = log_ids_of(context.control.log(), state, query, StreamVersion(1));
  return std::any_of(ids.begin(), ids.end(), [&](const std::string& id) {
    const auto path = storage::instance_log_path(context.log_folder, id, file_kind_of(query.kind));
    std::error_code ignored;
    return path && std::filesystem::exists(*path, ignored);
  });
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
  if (query->kind == LogKind::http) {
    return error_response(
        {ErrorCode::invalid_argument,
         "The http log is a project's, over all its deployments; name the project.",
         {}});
  }
  const auto view = deployment_named(context, id);
  if (!view) return error_response(view.error());
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

Response access_log_of(const Context& context, const std::string& project, const LogQuery& query) {
  const auto path = context.access_log ? context.access_log(project) : std::filesystem::path{};
  std::error_code ignored;
  if (path.empty() || (!query.follow && !std::filesystem::exists(path, ignored))) {
    return error_response({ErrorCode::not_found,
                           "There is no request to project '" + project +
                               "' on record; is edge.access_log off in the server's configuration?",
                           {}});
  }
  Response response;
  response.content_type = "application/x-ndjson";
  AccessLogQuery wanted{path, query.tail, query.since, query.follow, {}};
  wanted.is_over = [&catalog = context.control.catalog(), project] {
    return !catalog.project_named(project);
  };
  response.stream = [wanted](Stream& stream) { return AccessLogReader(wanted).copy_to(stream); };
  return response;
}

Response project_logs(const Context& context, const Request& request) {
  const auto query = parsed_log_query(request);
  if (!query) return error_response(query.error());
  return response_of(
      project_named(context, request.parameters.at("name")), [&](const storage::ProjectView& view) {
        if (query->kind == LogKind::http) return access_log_of(context, view.state.name, *query);
        if (view.live) return logs_of(context, *view.live, request);
        const auto newest = context.control.catalog().newest_of_production(view.state.id);
        if (newest) return logs_of(context, *newest, request);
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
