// How `atlasflow simulate` tells what came of its runs. Functions of their arguments; any thread.
#pragma once

#include <cstdint>
#include <ostream>
#include <string>

#include "cli/simulate_plan.hpp"
#include "sim/fleet/fleet.hpp"

namespace atlasflow::cli {

// The first failure in full and the others in a line each, or that all held; the totals; the marks.
void print_report(const SimulatePlan& plan, const sim::FleetReport& report,
                  const std::string& build_id, std::ostream& out);

// Seed, build, broken invariant, what happened, and the commands that repeat it and, when it broke
// an invariant, make it smaller.
void print_failure(const SimulatePlan& plan, const sim::FleetFailure& failure,
                   const std::string& build_id, std::ostream& out);

// What was done to the run and the newest events of its log.
void print_story(const sim::RunReport& report, std::ostream& out);

// 12345 as "12,345".
[[nodiscard]] std::string grouped(std::uint64_t number);

}  // namespace atlasflow::cli
