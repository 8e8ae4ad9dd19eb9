#include "sim/checkers/heads.hpp"

#include <fmt/format.h>

#include "events/project_history.hpp"

namespace atlasflow::sim {

void Heads::take(const storage::Record& record) {
  const auto& event = record.event;
  if (event.has_project_created()) {
    names_[project_of(record.stream).str()] = event.project_created().name();
  } else if (event.has_project_deleted()) {
    names_.erase(project_of(record.stream).str());
  }
  const auto* push = push_of(event);
  if (push == nullptr || push->environment() != "production") return;
  auto& known = known_[push->project_id()];
  if (push->trigger() == pb::TRIGGER_WEBHOOK) {
    known = {push->after(), {}};
  } else {
    known.commanded.insert(push->after());
  }
}

std::string Heads::missed(const GitHub& github) const {
  for (const auto& [id, name] : names_) {
    const auto known = known_.find(id);
    if (known == known_.end() || known->second.pushed.empty()) continue;
    for (int project = 0; project < github.projects(); ++project) {
      if (github.project_name(project) != name) continue;
      const auto head = github.head(project, github.main_branch(project));
      if (!head || *head == known->second.pushed || known->second.commanded.contains(*head)) {
        continue;
      }
      return fmt::format("commit {} was pushed to {}, and nothing was deployed of it", *head, name);
    }
  }
  return "";
}

std::string Heads::again(const storage::Record& record) {
  if (!record.event.has_push_received()) return "";
  const auto& push = record.event.push_received();
  // Of pull requests see sim/checkers/pull_requests.hpp.
  if (push.trigger() != pb::TRIGGER_WEBHOOK || push.has_pull_request()) return "";
  const auto key = push.project_id() + "/" + push.environment() + "/" + push.after();
  if (pushes_.insert(key).second) return "";
  return fmt::format("commit {} of {} was deployed twice for one push", push.after(),
                     push.project_name());
}

}  // namespace atlasflow::sim
