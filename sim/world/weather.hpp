// How unkind the world is at the moment: who cannot be reached until when, and how often a call
// goes wrong. Changed by the run, read by what stands between the actors and the world. One thread.
#pragma once

#include <map>
#include <string>

#include "events/ids.hpp"
#include "sim/run/scenario.hpp"

namespace atlasflow::sim {

struct Weather {
  Rates rates;
  std::map<std::string, TimestampUs> away_until;  // "edge", "registry", "git", a host
  std::map<std::string, TimestampUs> sick_until;  // apps, by project
  int builder_deaths = 0;                         // the next so many calls to the builder throw

  [[nodiscard]] TimestampUs back_at(const std::string& where) const {
    const auto found = away_until.find(where);
    return found == away_until.end() ? 0 : found->second;
  }
  void heal() {
    rates = Rates{};
    away_until.clear();
    sick_until.clear();
    builder_deaths = 0;
  }
};

}  // namespace atlasflow::sim
