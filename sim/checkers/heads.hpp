// Whether the head of each project's branch is known to the control plane, from the log's records
// and the simulated GitHub alone: a push whose delivery was lost is deployed all the same.
#pragma once

#include <map>
#include <set>
#include <string>

#include "sim/world/github.hpp"
#include "storage/log/event_log.hpp"

namespace atlasflow::sim {

class Heads {
 public:
  // The records of the log in their order.
  void take(const storage::Record& record);
  // A head that was pushed and that nothing was ever deployed of, as a sentence; empty when there
  // is none. Before a project's first push nobody knows what its owner wants of the branch.
  [[nodiscard]] std::string missed(const GitHub& github) const;
  // Why the record is wrong, as a sentence: it deploys a push once more. Empty: it does not.
  [[nodiscard]] std::string again(const storage::Record& record);

 private:
  struct Known {
    std::string pushed;               // the newest commit
    std::set<std::string> commanded;  // commits since
  };
  std::map<std::string, std::string> names_;  // of the projects that there are, by id
  std::map<std::string, Known> known_;        // by project id
  std::set<std::string> pushes_;              // "<project id>/<environment>/<commit>"
};

}  // namespace atlasflow::sim
