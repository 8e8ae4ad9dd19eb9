// Whether pull requests' previews come and go as GitHub orders it, and forks get nothing that is
// not theirs: from the log's records, the closings that were taken and what users approved.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>

#include "sim/world/github.hpp"
#include "storage/log/event_log.hpp"

namespace atlasflow::sim {

class PullRequests {
 public:
  void approve(const std::string& sha) { approved_.insert(sha); }
  void on_closing(const std::string& project, const pb::PullRequestHead& head);

  // The records of the log in their order. Why the record is wrong, as a sentence; empty when it is
  // not.
  [[nodiscard]] std::string take(const storage::Record& record);
  [[nodiscard]] bool is_of_fork(const std::string& deployment) const {
    return of_forks_.contains(deployment);
  }
  // A closed one with a deployment that goes on, or with a route; empty when there is none.
  [[nodiscard]] std::string unrest(const std::map<std::string, std::string>& routes) const;

 private:
  struct Known {
    std::int64_t newest_s = 0;       // of all records
    std::int64_t opened_s = 0;       // of the newest one that made a deployment
    std::int64_t closed_s = -1;      // that was recorded, or taken
    std::set<std::string> heads;     // since it was opened
    std::set<std::string> going_on;  // deployments
  };
  // Whether its closing is the newest of what is known; it wins within its second.
  [[nodiscard]] static bool is_closed(const Known& known) {
    return known.closed_s >= known.opened_s;
  }
  [[nodiscard]] std::string take_push(const std::string& deployment, const pb::PushReceived& push,
                                      bool is_new);

  std::map<std::string, std::string> names_;   // of projects, by id
  std::map<std::string, Known> known_;         // by "<project's name>/<number>"
  std::map<std::string, std::string> owners_;  // keys of known_, by deployment
  std::set<std::string> of_forks_;             // deployments
  std::set<std::string> approved_;             // commits
};

}  // namespace atlasflow::sim
