// The full-screen stepper of `replay`: one event at a time, with the state and what the world owes
// beside it. Curses; main's thread.
#pragma once

#include <string>
#include <vector>

#include "cli/verbs.hpp"
#include "inspect/state.hpp"

namespace atlasflow::cli {

// Both standard input and output are a terminal.
[[nodiscard]] bool is_interactive();

// The same step as text: the event, the fields that it changed, the effects that are owed.
[[nodiscard]] std::string step_text(const inspect::ReplayStep& step);

// Runs until the user leaves. steps: at least one.
int step_through(const std::vector<inspect::ReplayStep>& steps, const Terminal& terminal);

}  // namespace atlasflow::cli
