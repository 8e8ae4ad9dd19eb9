#include "inspect/causes.hpp"

#include <algorithm>
#include <set>

#include "base/rfc3339.hpp"
#include "storage/readmodel/catalog.hpp"

namespace atlasflow::inspect {
namespace {

constexpr std::size_t k_links_max = 10'000;  // of one chain; a longer one is damaged

// The event before it in its stream, or no position for a stream's first.
Result<Position> previous_in_stream(const LogView& view, const storage::Record& record) {
  Position before;
  if (record.stream_version.value() <= 1) return before;
  const auto read =
      view.log().read_stream(record.stream, StreamVersion(record.stream_version.value() - 1),
                             [&](const storage::Record& each) {
                               before = each.position;
                               return false;
                             });
  if (!read) return tl::unexpected(read.error());
  return before;
}

std::string at_position(const storage::Record& record) {
  return storage::event_name(record.event) + " at position " +
         std::to_string(record.position.value()) + ", " + rfc3339(record.recorded_at);
}

std::string answer_for(const DeploymentState& state, const storage::Record& since) {
  auto answer = "deployment " + state.id.str() + " of " + state.push.project_name() + " is " +
                std::string(name_of(state.status));
  if (state.failure) answer += " (" + state.failure->reason + ")";
  if (!state.superseded_by.empty()) answer += " by " + state.superseded_by;
  return answer + ", since " + at_position(since);
}

// The last record after which the status is what it is at the end.
std::size_t since_when(const std::vector<storage::Record>& records, const DeploymentId& id) {
  DeploymentState state;
  state.id = id;
  auto status = DeploymentStatus::absent;
  std::size_t since = 0;
  for (std::size_t i = 0; i < records.size(); ++i) {
    evolve(state, records[i].event);
    if (state.status != status) since = i;
    status = state.status;
  }
  return since;
}

Result<Explanation> explain_deployment(const LogView& view, const DeploymentId& id,
                                       Position position) {
  auto records = view.stream(deployment_stream(id), position);
  if (!records) return tl::unexpected(records.error());
  DeploymentState state;
  state.id = id;
  for (const auto& record : *records) evolve(state, record.event);
  const auto& since = records->at(since_when(*records, id));
  auto chain = causes_of(view, since.position);
  if (!chain) return tl::unexpected(chain.error());
  return Explanation{answer_for(state, since), std::move(*chain)};
}

std::string claim_of(const DeploymentState& state) {
  for (const auto& effect : outstanding(state)) {
    const auto* claim = std::get_if<ClaimRouteEffect>(&effect);
    if (claim == nullptr) continue;
    return claim->upstreams.empty() ? "503: " + claim->unavailable_reason : "served";
  }
  return "no claim";
}

Result<Explanation> explain_host(const LogView& view, const std::string& hostname,
                                 Position position) {
  const auto routes = routes_at(view, position);
  if (!routes) return tl::unexpected(routes.error());
  const auto route = std::ranges::find(*routes, hostname, &Route::hostname);
  if (route == routes->end()) {
    return Explanation{"no deployment claims " + hostname + " at position " +
                           std::to_string(position.value()) + ": the edge knows no such host",
                       {}};
  }
  auto records = view.stream(deployment_stream(route->deployment), position);
  if (!records) return tl::unexpected(records.error());
  // Since when the host answers as it does.
  DeploymentState state;
  state.id = route->deployment;
  std::string claim = "no claim";
  std::size_t since = 0;
  for (std::size_t i = 0; i < records->size(); ++i) {
    evolve(state, records->at(i).event);
    const auto now = claim_of(state);
    if (now != claim) since = i;
    claim = now;
  }
  auto answer = hostname + " leads to deployment " + route->deployment.str() + " of " +
                route->project + " and ";
  if (route->upstreams.empty()) {
    auto reason = route->unavailable_reason;
    while (reason.ends_with('.')) reason.pop_back();
    answer += "answers 503: " + reason;
  } else {
    answer += "is served by " + std::to_string(route->upstreams.size()) +
              (route->upstreams.size() == 1 ? " microVM" : " microVMs");
  }
  const auto& event = records->at(since);
  auto chain = causes_of(view, event.position);
  if (!chain) return tl::unexpected(chain.error());
  return Explanation{answer + ", since " + at_position(event), std::move(*chain)};
}

// "d2ab3456-v9": the effect id of a VM's start names its deployment.
DeploymentId deployment_of_vm(const std::string& subject) {
  const auto dash = subject.find("-v");
  return DeploymentId(dash == std::string::npos ? std::string{} : subject.substr(0, dash));
}

// The newest event that is about the VM.
Result<std::optional<Explanation>> explain_vm(const LogView& view, const std::string& vm_id,
                                              Position position) {
  const auto id = deployment_of_vm(vm_id);
  if (id.empty()) return std::nullopt;
  auto records = view.stream(deployment_stream(id), position);
  if (!records) return tl::unexpected(records.error());
  const auto about = [&](const storage::Record& record) {
    const auto data = data_of(record.event);
    return data.value("vm_id", "") == vm_id || data.value("effect_id", "") == vm_id;
  };
  const auto last = std::find_if(records->rbegin(), records->rend(), about);
  if (last == records->rend()) return std::nullopt;
  auto chain = causes_of(view, last->position);
  if (!chain) return tl::unexpected(chain.error());
  return Explanation{"the newest event of microVM " + vm_id + " is " + at_position(*last),
                     std::move(*chain)};
}

}  // namespace

Result<std::vector<Link>> causes_of(const LogView& view, Position position) {
  std::vector<Link> chain;
  std::set<Position> seen;
  auto next = position;
  while (next != Position{} && seen.insert(next).second && chain.size() < k_links_max) {
    auto record = view.record(next);
    if (!record) return tl::unexpected(record.error());
    const bool named =
        record->causation_position != Position{} && record->causation_position < record->position;
    if (named) {
      next = record->causation_position;
    } else {
      const auto before = previous_in_stream(view, *record);
      if (!before) return tl::unexpected(before.error());
      next = *before;
    }
    chain.push_back({std::move(*record), named});
  }
  std::ranges::reverse(chain);
  return chain;
}

Result<Explanation> why(const LogView& view, const std::string& subject, Position position) {
  auto vm = explain_vm(view, subject, position);
  if (!vm) return tl::unexpected(vm.error());
  if (*vm) return std::move(**vm);
  const auto named = subject_of(view, subject, position);
  if (!named) return tl::unexpected(named.error());
  switch (named->kind) {
    case SubjectKind::deployment:
      return explain_deployment(view, deployment_of(named->stream), position);
    case SubjectKind::host:
      return explain_host(view, named->name, position);
    case SubjectKind::project: {
      auto records = view.stream(named->stream, position);
      if (!records) return tl::unexpected(records.error());
      auto chain = causes_of(view, records->back().position);
      if (!chain) return tl::unexpected(chain.error());
      return Explanation{
          "the newest event of project " + subject + " is " + at_position(records->back()),
          std::move(*chain)};
    }
    case SubjectKind::routes:
    case SubjectKind::queue:
      break;
  }
  return fail(ErrorCode::invalid_argument,
              "name a deployment, a hostname, a microVM or a project; atlasflow state " + subject +
                  " shows the whole");
}

}  // namespace atlasflow::inspect
