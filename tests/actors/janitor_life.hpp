// What the tests of the janitor do with a life of the control plane.
#pragma once

#include <gtest/gtest.h>

#include "actors/upkeep/janitor.hpp"
#include "sim/run/life.hpp"
#include "tests/storage/deployment_ids.hpp"

namespace atlasflow::actors {

inline bool settled(sim::Life& life, std::size_t deployments) {
  std::size_t count = 0;
  for (const auto& project : life.catalog().every_project()) {
    for (const auto& id : deployment_ids(life.catalog(), project.state.id)) {
      const auto status = life.catalog().deployment(id)->state.status;
      if (status != DeploymentStatus::live && !is_terminal(status)) return false;
      ++count;
    }
  }
  return count == deployments;
}

// One deployment after the other, each live before the next comes.
inline void deploy_each_of(sim::Life& life, const std::string& digits) {
  std::size_t count = 0;
  for (const auto& project : life.catalog().every_project()) {
    count += deployment_ids(life.catalog(), project.state.id).size();
  }
  for (const char digit : digits) {
    life.send_push(std::string("guid-") + digit, digit);
    ++count;
    ASSERT_TRUE(life.run_until([&] { return settled(life, count); })) << digit;
  }
}

// Until the janitor has looked again, whatever it found.
inline void let_an_hour_pass(sim::Life& life) {
  life.run_until([] { return false; }, std::chrono::hours(1));
}

}  // namespace atlasflow::actors
