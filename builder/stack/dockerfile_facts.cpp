#include "builder/stack/dockerfile_facts.hpp"

#include <algorithm>

namespace atlasflow::builder {
namespace {

constexpr int k_ports_of_a_range_max = 64;

Result<void> take_ports(const Instruction& instruction, char escape, const ExpandInStage& expand,
                        DockerfileFacts& facts) {
  for (const auto& word : split_words(instruction.arguments, escape)) {
    auto expanded = expand(word);
    if (!expanded) return tl::unexpected(expanded.error());
    if (!expanded->missing.empty()) continue;  // A variable of the base image, perhaps.
    const auto text = std::string_view(expanded->text);
    const auto slash = text.find('/');
    const auto protocol =
        slash == std::string_view::npos ? "tcp" : lower_case(text.substr(slash + 1));
    const auto range = text.substr(0, slash);
    const auto dash = range.find('-');
    const auto first = whole_number(range.substr(0, dash));
    const auto last = dash == std::string_view::npos ? first : whole_number(range.substr(dash + 1));
    if (!first || !last || *first < 1 || *last > 65535 || *last < *first ||
        (protocol != "tcp" && protocol != "udp" && protocol != "sctp")) {
      return wrong_line(
          instruction.line,
          "EXPOSE " + expanded->text + " is no port; it is a number from 1 to 65535, or 8080/tcp");
    }
    for (int port = *first; port <= std::min(*last, *first + k_ports_of_a_range_max); ++port) {
      facts.ports.push_back({port, protocol == "tcp", instruction.line});
    }
  }
  return {};
}

Result<void> take_volumes(const Instruction& instruction, char escape, const ExpandInStage& expand,
                          DockerfileFacts& facts) {
  const auto words = is_json_list(instruction.arguments)
                         ? read_json_list(instruction.arguments)
                         : split_words(instruction.arguments, escape);
  for (const auto& word : words) {
    auto path = expand(word);
    if (!path) return tl::unexpected(path.error());
    facts.volumes.push_back({path->missing.empty() ? path->text : word, instruction.line});
  }
  return {};
}

Result<void> take_health_check(const Instruction& instruction, char escape,
                               DockerfileFacts& facts) {
  const auto words = split_words(instruction.arguments, escape);
  const auto kind = words.empty() ? "" : lower_case(words.front());
  if (kind == "none" && words.size() == 1) {
    facts.health_check.reset();
    return {};
  }
  if (kind != "cmd" || words.size() < 2) {
    return wrong_line(instruction.line, "HEALTHCHECK is followed by CMD and a command, or NONE");
  }
  facts.health_check =
      Stated{instruction.arguments.substr(instruction.arguments.find_first_not_of(" \t", 3)),
             instruction.line};
  return {};
}

}  // namespace

Result<void> take_fact(const Instruction& instruction, char escape, const ExpandInStage& expand,
                       DockerfileFacts& facts) {
  if (instruction.name == "EXPOSE") return take_ports(instruction, escape, expand, facts);
  if (instruction.name == "VOLUME") return take_volumes(instruction, escape, expand, facts);
  if (instruction.name == "HEALTHCHECK") return take_health_check(instruction, escape, facts);
  if (instruction.name == "STOPSIGNAL") {
    auto signal = expand(instruction.arguments);
    if (!signal) return tl::unexpected(signal.error());
    if (signal->missing.empty()) facts.stop_signal = Stated{signal->text, instruction.line};
  }
  return {};
}

std::vector<std::string> notices_of(const DockerfileFacts& facts, int port) {
  std::vector<std::string> notices;
  const auto line = [](int number) { return " (line " + std::to_string(number) + ")"; };
  const auto is_right = [port](const ExposedPort& each) {
    return each.port == port && each.is_tcp;
  };
  if (!facts.ports.empty() && std::none_of(facts.ports.begin(), facts.ports.end(), is_right)) {
    const auto& first = facts.ports.front();
    notices.push_back("the Dockerfile says EXPOSE " + std::to_string(first.port) +
                      line(first.line) + ", and the app is looked for at port " +
                      std::to_string(port) + ", which PORT tells it; if it listens at " +
                      std::to_string(first.port) + ", set port=" + std::to_string(first.port));
  }
  if (facts.health_check) {
    notices.push_back("HEALTHCHECK" + line(facts.health_check->line) +
                      " is not run: an app is healthy when health_path answers 2xx");
  }
  for (const auto& volume : facts.volumes) {
    notices.push_back("VOLUME " + volume.value + line(volume.line) +
                      " is not kept: what the app writes there goes with its VM");
  }
  return notices;
}

}  // namespace atlasflow::builder
