// Build and run logs: the whole file, its tail, or as it grows, over every VM that the deployment
// has.
#include <algorithm>
#include <filesystem>

#include <spdlog/spdlog.h>

#include "api/context.hpp"
#include "api/since.hpp"
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
  if (const auto* since = request.query_value("since"); since != nullptr) {
    const auto time = parsed_since(*since, wall_clock());
    if (!time) return tl::unexpected(time.error());
    query.since = *time;
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

// The files that the deployment's log is in, in order. Run logs of VMs that are gone are part of
// it: why an app crashed stands in the one before the newest.
std::vector<std::string> log_ids_of(const Context& context, const DeploymentState& state,
                                    InstanceLog kind) {
  std::vector<std::string> ids;
  if (kind == InstanceLog::run) ids = storage::run_logs_of(context.log_folder, state.id);
  const auto& newest = log_id_of(state, kind);
  if (!newest.empty() && std::find(ids.begin(), ids.end(), newest) == ids.end()) {
    ids.push_back(newest);
  }
  return ids;
}

// Copies one deployment's log to a client, through every file that it comes to have: a VM that
// starts again writes a new one, and several VMs write at the same time.
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
        listed_at_ = view->state.version;
        add_new_files(view->state);
        if (first && !begin(stream)) return false;
      }
      const bool last = !query_.follow || finished;
      for (auto& file : files_) {
        if (!drain(stream, file, last)) return false;
      }
      if (last) return true;
      if (!stream.wait(k_poll)) return false;
    }
  }

 private:
  struct File {
    std::string id;
    std::filesystem::path path;
    storage::LogCursor cursor;
    int polls_of_half_a_line = 0;
  };

  void add_new_files(const DeploymentState& state) {
    for (auto& id : log_ids_of(context_, state, query_.kind)) {
      const auto known = std::find_if(files_.begin(), files_.end(),
                                      [&](const File& file) { return file.id == id; });
      if (known != files_.end()) continue;
      const auto path = storage::instance_log_path(context_.log_folder, id, query_.kind);
      if (path) files_.push_back({std::move(id), *path, {}, 0});
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

  // Lines of several files are not to be mixed within a line, so half of one waits a while.
  [[nodiscard]] bool drain(Stream& stream, File& file, bool last) {
    for (;;) {
      auto chunk = storage::read_from(file.path, file.cursor);
      if (!chunk) return tell(chunk.error());
      const bool more = chunk->bytes.size() == storage::k_chunk_bytes_max;
      if (!last && !more && files_.size() > 1) hold_half_a_line(*chunk, file);
      file.cursor = chunk->next;
      if (chunk->bytes.empty()) return true;
      if (!stream.write(chunk->bytes)) return false;
    }
  }

  static void hold_half_a_line(storage::LogChunk& chunk, File& file) {
    const auto newline = chunk.bytes.rfind('\n');
    const auto held =
        newline == std::string::npos ? chunk.bytes.size() : chunk.bytes.size() - newline - 1;
    constexpr int k_polls_max = 5;
    if (held == 0 || ++file.polls_of_half_a_line > k_polls_max) {
      file.polls_of_half_a_line = 0;
      return;
    }
    chunk.bytes.resize(chunk.bytes.size() - held);
    chunk.next.offset -= held;
  }

  [[nodiscard]] bool tell(const Error& error) const {
    spdlog::error("event=log_stream_failed deployment={} cause=\"{}\"", deployment_.str(),
                  to_string(error));
    return false;
  }

  const Context& context_;
  const DeploymentId deployment_;
  LogQuery query_;
  StreamVersion listed_at_;
  std::vector<File> files_;
};

bool has_log(const Context& context, const DeploymentState& state, InstanceLog kind) {
  const auto ids = log_ids_of(context, state, kind);
  return std::any_of(ids.begin(), ids.end(), [&](const std::string& id) {
    const auto path = storage::instance_log_path(context.log_folder, id, kind);
    std::error_code ignored;
    return path && std::filesystem::exists(*path, ignored);
  });
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
