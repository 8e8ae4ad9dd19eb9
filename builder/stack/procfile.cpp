#include "builder/stack/procfile.hpp"

#include <algorithm>
#include <vector>

#include "builder/stack/source_text.hpp"

namespace atlasflow::builder {
namespace {

struct Process {
  std::string name;
  std::string command;
};

bool is_process_name(std::string_view name) {
  return !name.empty() && std::all_of(name.begin(), name.end(), [](unsigned char c) {
    return std::isalnum(c) != 0 || c == '_' || c == '-';
  });
}

}  // namespace

Result<std::optional<StartCommand>> procfile_start(const SourceTree& tree) {
  ATLAS_TRY(const auto text, read_text(tree, "Procfile"));
  std::vector<Process> processes;
  std::size_t number = 0;
  for (const auto& line : lines_of(text.value_or(""))) {
    ++number;
    if (line.empty() || line.front() == '#') continue;
    const auto colon = line.find(':');
    const auto name = trimmed(line.substr(0, colon));
    if (colon == std::string::npos || !is_process_name(name)) {
      return fail(ErrorCode::user_error, "Procfile, line " + std::to_string(number) +
                                             " names no process: write 'web: ' and the command");
    }
    auto command = trimmed(line.substr(colon + 1));
    if (!command.empty()) processes.push_back({name, std::move(command)});
  }
  if (processes.empty()) return std::optional<StartCommand>{};
  for (const char* wanted : {"web", "worker"}) {
    for (const auto& process : processes) {
      if (process.name != wanted) continue;
      return StartCommand{process.command, "the " + process.name + " process of Procfile"};
    }
  }
  for (const auto& process : processes) {
    // It runs once and ends; see has_release_process().
    if (process.name == "release") continue;
    return StartCommand{process.command, "the " + process.name + " process of Procfile"};
  }
  return std::optional<StartCommand>{};
}

bool has_release_process(const SourceTree& tree) {
  return !first_match(text_or_nothing(tree, "Procfile"), R"(^(release)\s*:\s*\S)").empty();
}

}  // namespace atlasflow::builder
