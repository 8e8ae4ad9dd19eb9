#include "builder/stack/dockerfile_modes.hpp"

#include <algorithm>
#include <array>
#include <cstdio>
#include <vector>

#include "builder/stack/dockerfile_rules.hpp"

namespace atlasflow::builder {
namespace {

constexpr unsigned k_all_execute = 0111;

struct Node {
  unsigned mode = 0;
  bool is_folder = false;
  friend bool operator==(const Node&, const Node&) = default;
};

// "go+rX". Without a "who" the umask of whoever builds would count, so there must be one.
struct Clause {
  unsigned who = 0;  // the bits of u, g and o that it may change
  char how = '=';
  unsigned bits = 0;                // r, w and x of all three
  bool has_execute_if_any = false;  // X
};

std::optional<Clause> read_clause(std::string_view text) {
  Clause clause;
  while (!text.empty() && std::string_view("ugoa").find(text.front()) != std::string_view::npos) {
    const char c = text.front();
    clause.who |= c == 'u' ? 0700U : c == 'g' ? 0070U : c == 'o' ? 0007U : 0777U;
    text.remove_prefix(1);
  }
  if (clause.who == 0 || text.empty() ||
      std::string_view("+-=").find(text.front()) == std::string_view::npos) {
    return std::nullopt;
  }
  clause.how = text.front();
  text.remove_prefix(1);
  for (const char c : text) {
    if (c == 'r') {
      clause.bits |= 0444U;
    } else if (c == 'w') {
      clause.bits |= 0222U;
    } else if (c == 'x') {
      clause.bits |= k_all_execute;
    } else if (c == 'X' && clause.how != '-') {
      clause.has_execute_if_any = true;
    } else {
      return std::nullopt;
    }
  }
  return clause;
}

std::optional<std::vector<Clause>> read_symbolic(std::string_view mode) {
  std::vector<Clause> clauses;
  while (true) {
    const auto end = std::min(mode.find(','), mode.size());
    const auto clause = read_clause(mode.substr(0, end));
    if (!clause) return std::nullopt;
    clauses.push_back(*clause);
    if (end == mode.size()) return clauses;
    mode.remove_prefix(end + 1);
  }
}

unsigned applied(const std::vector<Clause>& clauses, const Node& node) {
  // X asks for what it was before.
  const bool may_execute = node.is_folder || (node.mode & k_all_execute) != 0;
  unsigned mode = node.mode;
  for (const auto& clause : clauses) {
    const unsigned execute = clause.has_execute_if_any && may_execute ? k_all_execute : 0U;
    const unsigned bits = (clause.bits | execute) & clause.who;
    if (clause.how == '=') mode &= ~clause.who;
    mode = clause.how == '-' ? mode & ~bits : mode | bits;
  }
  return mode;
}

std::vector<Node> nodes_of(bool is_of_checkout) {
  if (is_of_checkout) return {{0644, false}, {0755, false}, {0755, true}};
  std::vector<Node> all;
  for (unsigned mode = 0; mode <= 0777U; ++mode) {
    all.push_back({mode, false});
    all.push_back({mode, true});
  }
  return all;
}

}  // namespace

Result<std::string> mode_for_buildah(int line, std::string_view mode, bool is_of_checkout) {
  if (is_octal_mode(mode)) return std::string(mode);
  const auto clauses = read_symbolic(mode);
  const auto nodes = nodes_of(is_of_checkout);
  const auto is_left = [&](const Node& node) { return applied(*clauses, node) == node.mode; };
  if (clauses && std::all_of(nodes.begin(), nodes.end(), is_left)) return std::string();
  const auto made = clauses ? applied(*clauses, nodes.front()) : 0U;
  const auto is_made = [&](const Node& node) { return applied(*clauses, node) == made; };
  if (!clauses || !std::all_of(nodes.begin(), nodes.end(), is_made)) {
    return wrong_line(line, "--chmod=" + std::string(mode) +
                                " is not supported: give the mode in octal digits, such as 755");
  }
  std::array<char, 8> octal{};
  std::snprintf(octal.data(), octal.size(), "%o", made);
  return std::string(octal.data());
}

Result<void> write_out_modes(
    Instruction& instruction,
    const std::function<Result<std::optional<std::string>>(std::string_view)>& value_of) {
  const auto is = [](const InstructionFlag& flag, std::string_view name) {
    return flag.name() == name;
  };
  auto& flags = instruction.flags;
  const bool is_of_checkout = instruction.name == "COPY" &&
                              std::none_of(flags.begin(), flags.end(),
                                           [&](const auto& flag) { return is(flag, "--from"); });
  for (auto& flag : flags) {
    if (!is(flag, "--chmod")) continue;
    ATLAS_TRY(const auto value, value_of(flag.value()));
    if (!value) continue;
    ATLAS_TRY(const auto mode, mode_for_buildah(instruction.line, *value, is_of_checkout));
    flag.text = flag.raw = "--chmod=" + mode;
  }
  std::erase_if(flags, [](const InstructionFlag& flag) { return flag.text == "--chmod="; });
  return {};
}

}  // namespace atlasflow::builder
