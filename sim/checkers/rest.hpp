// What must be true once nothing happens any more: told from the log's records alone, by a model of
// its own that knows no status, fold or catalog of the control plane.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "events/ids.hpp"
#include "sim/world/world.hpp"
#include "storage/log/event_log.hpp"

namespace atlasflow::sim {

class Rest {
 public:
  // The records of the log in their order.
  void take(const storage::Record& record);

  // Why it is no rest yet, as a sentence; empty when it is. routes: the deployment that each host
  // leads to in the newest table.
  [[nodiscard]] std::string unrest(const World& world,
                                   const std::map<std::string, std::string>& routes) const;

 private:
  struct Vm {
    std::int32_t slot = 0;
    bool healthy = false;  // has answered 2xx once
    bool going = false;    // it ended, or is to
  };
  struct Deployment {
    std::string environment;  // "<project>/<environment>"
    std::string newest_event;
    std::string image;
    std::vector<std::string> hostnames;
    std::int32_t replicas = 1;
    bool routed = false;
    bool gives_way = false;
    bool stopped = false;                 // by its owner
    std::set<std::int32_t> given_up;      // slots whose app crashed too often
    std::set<std::int32_t> without_room;  // slots that no host has memory for
    std::map<std::string, Vm> vms;        // that have started and are not known to be gone
  };

  void take_vm(Deployment& deployment, const pb::Event& event);
  void take_wish(Deployment& deployment, const pb::Event& event);
  [[nodiscard]] static std::string unrest_of(const std::string& id, const Deployment& deployment,
                                             const World& world,
                                             const std::map<std::string, std::string>& routes);

  std::map<std::string, Deployment> deployments_;  // that have not ended
};

}  // namespace atlasflow::sim
