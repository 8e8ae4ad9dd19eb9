// Whether each project's notify_url was told of every result, from the log's records alone.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>

#include "storage/log/event_log.hpp"

namespace atlasflow::sim {

class Notifications {
 public:
  // The records of the log in their order.
  void take(const storage::Record& record);
  // What somebody is still to be told, as a sentence; empty when nothing is.
  [[nodiscard]] std::string unsettled() const;

 private:
  struct Deployment {
    std::string project;
    std::int32_t replicas = 1;
    bool routed = false;
    std::set<std::int32_t> given_up;  // slots
    std::set<std::string> results;    // that it has had
  };

  void take_of_project(const std::string& id, const pb::Event& event);
  void take_of_deployment(const std::string& id, const pb::Event& event);
  void take_news(const std::string& project, const pb::Event& event);

  std::map<std::string, std::string> urls_;  // of the projects that have one, by id
  std::map<std::string, Deployment> deployments_;
  std::map<std::string, std::set<std::string>> owed_;  // deliveries, by project
};

}  // namespace atlasflow::sim
