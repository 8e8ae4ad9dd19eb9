// The event log as lines of JSON, from any position on, once or as it grows.
#include <map>

#include "api/context.hpp"
#include "api/url.hpp"
#include "base/log.hpp"
#include "events/project_history.hpp"

namespace atlasflow::api {
namespace {

using namespace std::chrono_literals;

constexpr auto k_poll = 100ms;                    // how late a stop or a client's end is noticed
constexpr std::size_t k_batch_bytes = 256 << 10;  // read before anything is written

// Tells the records of one project: its own stream, its notifications', its deployments'
// and what GitHub was told of them.
// Without one, all of them.
class ProjectFilter {
 public:
  ProjectFilter(const storage::Catalog& catalog, std::optional<ProjectId> project)
      : catalog_(catalog), project_(std::move(project)) {}

  [[nodiscard]] bool matches(const storage::Record& record) {
    if (!project_) return true;
    if (const auto project = project_of(record.stream); !project.empty()) {
      return project == *project_;
    }
    if (const auto project = notified_project_of(record.stream); !project.empty()) {
      return project == *project_;
    }
    if (const auto project = reported_project_of(record.stream); !project.empty()) {
      return project == *project_;
    }
    const auto deployment = deployment_of(record.stream);
    if (deployment.empty()) return false;
    // The read model may not show yet what begins with this record.
    if (const auto* push = push_of(record.event)) {
      return is_ours_[deployment] = push->project_id() == project_->str();
    }
    if (const auto known = is_ours_.find(deployment); known != is_ours_.end()) return known->second;
    const auto view = catalog_.deployment(deployment);
    if (!view && view.error().code != ErrorCode::not_found) unreadable = view.error();
    return view && (is_ours_[deployment] = view->state.push.project_id() == project_->str());
  }

  std::optional<Error> unreadable;  // why it can't be known of some event whose it is

 private:
  const storage::Catalog& catalog_;
  const std::optional<ProjectId> project_;
  std::map<DeploymentId, bool> is_ours_;
};

// A position of our own in the log. Records are read in batches that are closed before they are
// sent, so a slow client holds no iterator open.
class EventCursor {
 public:
  EventCursor(const actors::ControlPlane& control, std::optional<ProjectId> project, Position from)
      : control_(control), filter_(control.catalog(), std::move(project)), next_(from) {}

  // True at the log's end (when not following); false when the client left or the log is
  // unreadable.
  [[nodiscard]] bool copy_to(Stream& stream, bool follow) {
    for (;;) {
      const Position before = next_;
      std::string lines;
      if (const auto read = read_batch(lines); !read) {
        log_event(LogLevel::error, "api", "event_stream_failed",
                  {{"position", next_.value()}, {"cause", to_string(read.error())}});
        return false;
      }
      if (!stream.write(lines)) return false;
      if (next_ != before) continue;
      if (!follow) return true;
      // The catalog follows the log, so once it has the next record there is one to read.
      static_cast<void>(control_.catalog().wait_for(next_, k_poll));
      if (!stream.wait(0ms)) return false;
    }
  }

 private:
  Result<void> read_batch(std::string& lines) {
    ATLAS_TRYV(control_.log().read_all(next_, [&](const storage::Record& record) {
      if (filter_.matches(record)) lines += event_line(record);
      if (filter_.unreadable) return false;
      next_ = record.position.next();
      return lines.size() < k_batch_bytes;
    }));
    if (filter_.unreadable) return tl::unexpected(*filter_.unreadable);
    return {};
  }

  const actors::ControlPlane& control_;
  ProjectFilter filter_;
  Position next_;
};

// By name, or by id: the events of a project that was deleted are still there.
std::optional<storage::ProjectView> find_project(const storage::Catalog& catalog,
                                                 const std::string& name) {
  auto view = catalog.project_named(name);
  return view ? view : catalog.project(ProjectId(name));
}

Response stream_events(const Context& context, const Request& request) {
  Position from(1);
  if (const auto* text = request.query_value("from")) {
    const auto number = parsed_number(*text, INT64_MAX);
    if (!number) {
      return error_response(
          {ErrorCode::invalid_argument, "'from' must be a position in the log: a number.", {}});
    }
    from = Position(std::max<std::uint64_t>(*number, 1));
  }
  const auto follow = flag_of(request, "follow");
  if (!follow) return error_response(follow.error());
  std::optional<ProjectId> project;
  if (const auto* name = request.query_value("project")) {
    const auto view = find_project(context.control.catalog(), *name);
    if (!view) return error_response(project_named(context, *name).error());
    project = view->state.id;
  }
  Response response;
  response.content_type = "application/x-ndjson";
  response.stream = [&control = context.control, project, from, wait = *follow](Stream& stream) {
    return EventCursor(control, project, from).copy_to(stream, wait);
  };
  return response;
}

}  // namespace

void add_event_routes(Router& router, const Context& context) {
  router.add({"GET", "/v1/events", 0,
              [&context](const Request& request) { return stream_events(context, request); }});
}

}  // namespace atlasflow::api
