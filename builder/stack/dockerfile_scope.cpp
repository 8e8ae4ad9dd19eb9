#include "builder/stack/dockerfile_scope.hpp"

#include <algorithm>
#include <array>
#include <filesystem>

#include <nlohmann/json.hpp>

namespace atlasflow::builder {
namespace {

constexpr std::size_t k_values_bytes_max = 16U << 20U;  // of all variables of all stages

// Of the machine that builds, which is the one that runs: script/bootstrap takes no other.
constexpr std::array<std::pair<std::string_view, std::string_view>, 9> k_platform = {{
    {"TARGETPLATFORM", "linux/amd64"},
    {"TARGETOS", "linux"},
    {"TARGETARCH", "amd64"},
    {"TARGETVARIANT", ""},
    {"BUILDPLATFORM", "linux/amd64"},
    {"BUILDOS", "linux"},
    {"BUILDARCH", "amd64"},
    {"BUILDVARIANT", ""},
    {"TARGETSTAGE", "default"},
}};

const std::string* value_in(const VariableValues& values, const std::string& name) {
  const auto found = values.find(name);
  return found == values.end() ? nullptr : &found->second;
}

std::size_t bytes_of(const VariableValues& values) {
  std::size_t bytes = 0;
  for (const auto& [name, value] : values) bytes += name.size() + value.size();
  return bytes;
}

}  // namespace

std::string path_from(const std::string& folder, const std::string& path) {
  auto joined = (std::filesystem::path(folder) / path).lexically_normal().generic_string();
  while (joined.size() > 1 && joined.ends_with('/')) joined.pop_back();
  return joined;
}

Result<std::string> arg_with_value(int line, const std::string& name, const std::string& value) {
  if (!has_line_break(value)) return name + "=" + quoted_value(value);
  return wrong_line(
      line, "the value of " + name + " has a line break, which would begin another instruction");
}

DockerfileScope::DockerfileScope(const std::vector<std::pair<std::string, std::string>>& build_args,
                                 const std::string& target, char escape)
    : escape_(escape) {
  for (const auto& [name, value] : build_args) given_[name] = value;
  for (const auto& [name, value] : k_platform) globals_[std::string(name)] = value;
  if (!target.empty()) globals_["TARGETSTAGE"] = target;
  for (auto& [name, value] : globals_) {
    if (const auto* given = value_in(given_, name)) value = *given;
  }
}

// ---- expansion ----

Result<ExpandedWord> DockerfileScope::expand(std::string_view word, int line,
                                             const VariableLookup& lookup) const {
  auto expanded = expand_word(word, lookup, escape_);
  if (!expanded) return wrong_line(line, expanded.error().message);
  return expanded;
}

Result<ExpandedWord> DockerfileScope::expand(std::string_view word, int line) const {
  return expand(word, line, VariableLookup([this](const std::string& name) {
                  return value_in(globals_, name);
                }));
}

Result<ExpandedWord> DockerfileScope::expand(std::string_view word, int line,
                                             const StageScope& stage) const {
  return expand(word, line, VariableLookup([&stage](const std::string& name) {
                  const auto* value = value_in(stage.env, name);
                  return value != nullptr ? value : value_in(stage.args, name);
                }));
}

namespace {

// Where it stands in the text with a space or an end behind it: <<EOF is no part of <<EOF2.
std::size_t place_of_word(std::string_view text, std::string_view word) {
  for (auto at = text.find(word); at != std::string_view::npos; at = text.find(word, at + 1)) {
    const auto behind = text.substr(at + word.size());
    if (behind.empty() || behind.front() == ' ' || behind.front() == '\t') return at;
  }
  return std::string_view::npos;
}

// buildah would leave the backslashes in it, so that "\\$host" would not become "$host".
Result<void> put_in_document(Instruction& instruction, HereDocument& document,
                             const VariableLookup& lookup) {
  if (!document.expands || document.content.find('\\') == std::string::npos) return {};
  const auto expanded = expand_document(document.content, lookup);
  if (!expanded) return wrong_line(instruction.line, expanded.error().message);
  const auto named = "the here-document <<" + document.name;
  if (!expanded->missing.empty()) {
    return wrong_line(instruction.line,
                      named + " has backslashes and $" + expanded->missing.front() +
                          ", whose value is not known before the build: set it by ARG or ENV in "
                          "this stage, or write \\$" +
                          expanded->missing.front() + " when it is no variable");
  }
  if (("\n" + expanded->text).find("\n" + document.name + "\n") != std::string::npos) {
    return wrong_line(instruction.line, named + " would end within a variable's value");
  }
  // The quotes say that it is as it is.
  const auto mark = std::string("<<") + (document.strips ? "-" : "");
  const auto at = place_of_word(instruction.arguments, mark + document.name);
  if (at == std::string::npos) return {};
  instruction.arguments.insert(at + mark.size() + document.name.size(), "'");
  instruction.arguments.insert(at + mark.size(), "'");
  document.content = expanded->text;
  document.expands = false;
  return {};
}

}  // namespace

Result<void> DockerfileScope::put_in(Instruction& instruction, const StageScope& stage) {
  constexpr std::string_view k_expanded[] = {"ADD",        "COPY", "ENV",    "EXPOSE", "LABEL",
                                             "STOPSIGNAL", "USER", "VOLUME", "WORKDIR"};
  if (std::find(std::begin(k_expanded), std::end(k_expanded), instruction.name) ==
      std::end(k_expanded)) {
    return {};
  }
  const VariableLookup lookup = [&stage](const std::string& name) {
    const auto* value = value_in(stage.env, name);
    return value != nullptr ? value : value_in(stage.args, name);
  };
  const auto plain = [&](const std::string& text) -> Result<std::string> {
    auto put = plain_variables(text, lookup, escape_);
    if (!put) return wrong_line(instruction.line, put.error().message);
    if (put->size() > text.size()) {
      ATLAS_TRYV(charge(put->size() - text.size(), instruction.line));
    }
    return put;
  };
  for (auto& document : instruction.documents) {
    const auto before = document.content.size();
    ATLAS_TRYV(put_in_document(instruction, document, lookup));
    if (document.content.size() > before) {
      ATLAS_TRYV(charge(document.content.size() - before, instruction.line));
    }
  }
  for (auto& flag : instruction.flags) {
    ATLAS_TRY(auto text, plain(flag.raw));
    if (text != flag.raw) flag.text = flag.raw = std::move(text);
  }
  if (!is_json_list(instruction.arguments)) {
    ATLAS_TRY(instruction.arguments, plain(instruction.arguments));
    return {};
  }
  auto words = read_json_list(instruction.arguments);
  bool is_other = false;
  for (auto& word : words) {
    ATLAS_TRY(auto text, plain(word));
    is_other = is_other || text != word;
    word = std::move(text);
  }
  if (is_other) {
    instruction.arguments =
        nlohmann::json(words).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  }
  return {};
}

// Its own values, once it is declared: ARG A=x B=${A#y} takes the new A, and ARG A=${A#y} the old.
Result<std::string> DockerfileScope::plain_arg(const Instruction& arg,
                                               const VariableValues& values) const {
  const VariableLookup nothing = [](const std::string&) { return nullptr; };
  std::string text;
  for (const auto& word : split_words(arg.arguments, escape_)) {
    const auto name = word.substr(0, word.find('='));
    const auto as_it_is = plain_variables(word, nothing, escape_);
    const auto* value = value_in(values, name);
    const bool is_plain = as_it_is && *as_it_is == word;
    std::string written = word;
    if (!is_plain && value != nullptr) {
      ATLAS_TRY(written, arg_with_value(arg.line, name, *value));
    }
    text += (text.empty() ? "" : " ") + written;
  }
  return text;
}

// ---- what sets values ----

Result<void> DockerfileScope::charge(std::size_t bytes, int line) {
  bytes_ += bytes;
  if (bytes_ <= k_values_bytes_max) return {};
  return wrong_line(
      line,
      "the values of its variables, and what they are put into, are larger than 16 MiB together");
}

Result<void> DockerfileScope::set(VariableValues& values, const std::string& name,
                                  std::string value, int line) {
  if (auto charged = charge(name.size() + value.size(), line); !charged) return charged;
  values[name] = std::move(value);
  return {};
}

Result<void> DockerfileScope::declare(Instruction& arg) { return declare(arg, nullptr); }

Result<void> DockerfileScope::declare(Instruction& arg, StageScope* stage) {
  VariableValues& values = stage == nullptr ? globals_ : stage->args;
  for (const auto& word : split_words(arg.arguments, escape_)) {
    const auto equals = word.find('=');
    const auto name = word.substr(0, equals);
    if (name.empty()) return wrong_line(arg.line, "ARG needs a name before the =");
    const auto* fixed = value_in(given_, name);
    if (fixed == nullptr && equals == std::string::npos && stage != nullptr) {
      fixed = value_in(globals_, name);
    }
    if (fixed != nullptr) {
      if (auto done = set(values, name, *fixed, arg.line); !done) return done;
    } else if (equals != std::string::npos) {
      const auto text = std::string_view(word).substr(equals + 1);
      ATLAS_TRY(auto value,
                stage == nullptr ? expand(text, arg.line) : expand(text, arg.line, *stage));
      if (stage != nullptr && !value.missing.empty()) {
        values.erase(name);  // The base image may set it.
      } else if (auto done = set(values, name, value.text, arg.line); !done) {
        return done;
      }
    }
  }
  ATLAS_TRY(arg.arguments, plain_arg(arg, values));
  return {};
}

// ENV A=1 B="two words", and the old ENV A one two.
Result<void> DockerfileScope::take_env(const Instruction& instruction, StageScope& stage) {
  const auto words = split_words(instruction.arguments, escape_);
  std::vector<std::pair<std::string, std::string>> assignments;
  if (words.front().find('=') == std::string::npos) {
    if (words.size() < 2) {
      return wrong_line(instruction.line, "ENV needs a value: " + words.front() + "=…");
    }
    const auto rest = instruction.arguments.find(words.front()) + words.front().size();
    const auto value = instruction.arguments.find_first_not_of(" \t", rest);
    assignments.emplace_back(words.front(), instruction.arguments.substr(value));
  } else {
    for (const auto& word : words) {
      const auto equals = word.find('=');
      if (equals == std::string::npos || equals == 0) {
        return wrong_line(instruction.line, "ENV has '" + word.substr(0, 40) +
                                                "', which is not NAME=value; put quotes "
                                                "around a value with spaces");
      }
      assignments.emplace_back(word.substr(0, equals), word.substr(equals + 1));
    }
  }
  VariableValues fresh;
  for (const auto& [name, text] : assignments) {
    ATLAS_TRY(auto value, expand(text, instruction.line, stage));
    // What the base image sets is not known here, so neither is what is made of it.
    if (value.missing.empty())
      fresh[name] = value.text;
    else
      stage.env.erase(name);
  }
  for (auto& [name, value] : fresh) {
    if (auto done = set(stage.env, name, std::move(value), instruction.line); !done) return done;
  }
  return {};
}

Result<void> DockerfileScope::take_work_folder(const Instruction& instruction, StageScope& stage) {
  ATLAS_TRY(auto path, expand(instruction.arguments, instruction.line, stage));
  auto& folder = stage.work_folder;
  const bool is_known = path.missing.empty() && (folder || path.text.starts_with('/'));
  folder = is_known ? std::optional(path_from(folder.value_or("/"), path.text)) : std::nullopt;
  return {};
}

Result<void> DockerfileScope::take(Instruction& instruction, StageScope& stage) {
  if (instruction.name == "ARG") return declare(instruction, &stage);
  // By the values from before: in ENV A=1 B=$A, B is the old A.
  const Instruction written = instruction;
  ATLAS_TRYV(put_in(instruction, stage));
  if (written.name == "ENV") return take_env(written, stage);
  return take_work_folder(written, stage);
}

Result<StageScope> DockerfileScope::inherit(const StageScope& parent, int line) {
  ATLAS_TRYV(charge(bytes_of(parent.env) + bytes_of(parent.args), line));
  return parent;
}

}  // namespace atlasflow::builder
