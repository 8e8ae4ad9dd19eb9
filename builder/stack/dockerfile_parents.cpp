#include "builder/stack/dockerfile_parents.hpp"

#include <algorithm>
#include <optional>
#include <set>
#include <utility>

#include <nlohmann/json.hpp>

#include "builder/copy_parents/pattern.hpp"
#include "builder/stack/dockerfile_rules.hpp"
#include "builder/stack/dockerfile_variables.hpp"

namespace atlasflow::builder {
namespace {

constexpr const char* k_folder = "/.atlasflow";

tl::unexpected<Error> refused(const Instruction& instruction, const std::string& why) {
  return wrong_line(instruction.line, "COPY --parents " + why);
}

// Without its variables, which must all be known.
Result<std::string> worth(const Instruction& instruction, const DockerfileScope& scope,
                          const StageScope& stage, std::string_view word) {
  ATLAS_TRY(auto value, scope.expand(word, instruction.line, stage));
  if (value.missing.empty()) return std::move(value.text);
  return refused(instruction, "needs the value of $" + value.missing.front() +
                                  " before the build, and it is the base image's or has none: "
                                  "set it by ARG or ENV in this stage");
}

// What a path of a source means, and that it means something.
Result<void> check_source(const Instruction& instruction, const std::string& source) {
  const auto pivot = source.find("/./");
  const auto kept = source.substr(pivot == std::string::npos ? 0 : pivot + 3);
  const auto plain = copy_parents::plain_path(kept);
  if (plain.empty()) {
    return refused(instruction, "of '" + source +
                                    "' copies nothing in Docker's builder, since a whole folder "
                                    "has no parents: write COPY without it");
  }
  if (plain.starts_with('!')) return refused(instruction, "of '" + source + "': ! is no path");
  if (const auto pattern = copy_parents::Pattern::read(plain); !pattern) {
    return refused(instruction, "of '" + source + "': " + pattern.error().message);
  }
  return {};
}

InstructionFlag flag(std::string text) { return {text, text}; }

// [...], or why it cannot be said.
Result<std::string> list_of(int line, const std::vector<std::string>& words) {
  try {
    return nlohmann::json(words).dump();
  } catch (const nlohmann::json::exception&) {
    return wrong_line(line, "COPY --parents takes only names in UTF-8");
  }
}

class Cutter {
 public:
  Cutter(const StageText& stage, const std::vector<std::pair<std::string, std::string>>& build_args,
         char escape, std::size_t& count, std::map<int, Instruction>& replaced)
      : stage_(stage),
        build_args_(build_args),
        escape_(escape),
        count_(count),
        replaced_(replaced),
        is_empty_(stage.base == "scratch") {}

  Result<std::vector<Instruction>> run() {
    part_ = {stage_.instructions.front()};
    base_ = stage_.base;
    for (std::size_t i = 1; i < stage_.instructions.size(); ++i) {
      const auto found = stage_.parents.find(i);
      const auto& instruction = stage_.instructions[i];
      if (found == stage_.parents.end()) {
        ATLAS_TRYV(take(instruction));
      } else {
        ATLAS_TRYV(cut(instruction, found->second));
      }
    }
    end_part(stage_.label);
    // They are of the stage, whatever comes before them, and would run where a part begins anew.
    out_.insert(out_.end(), triggers_.begin(), triggers_.end());
    return std::move(out_);
  }

 private:
  Result<void> take(const Instruction& instruction) {
    const auto& name = instruction.name;
    if (name == "ONBUILD") {
      triggers_.push_back(instruction);
      return {};
    }
    if (name == "RUN" || name == "COPY" || name == "ADD" || name == "WORKDIR") is_empty_ = false;
    if (name == "ARG") args_.push_back(instruction);
    if (name == "SHELL")
      is_command_of_other_shell_ = command_ && !is_json_list(command_->arguments);
    if (name == "CMD") {
      command_ = instruction;
      is_command_of_other_shell_ = false;
      has_own_command_ = true;
    }
    if (name == "ENTRYPOINT" && command_ && !has_own_command_) {
      // It takes back a command that comes from a stage below, which this one's does not.
      if (is_command_of_other_shell_) {
        return wrong_line(instruction.line,
                          "ENTRYPOINT behind a COPY --parents, with CMD and SHELL before that: "
                          "write CMD as a list");
      }
      part_.push_back(*command_);
      has_own_command_ = true;
    }
    part_.push_back(instruction);
    return {};
  }

  Result<void> cut(const Instruction& instruction, const ParentsCopy& copy) {
    const auto number = std::to_string(++count_);
    const int line = instruction.line;
    const auto made = "atlasflow-parents-" + number;
    const auto before = is_empty_ ? std::string() : "atlasflow-before-" + number;
    std::vector<Instruction> kept;
    if (is_empty_) {
      kept = std::move(part_);
      part_.clear();
    } else {
      end_part(before);
    }
    ATLAS_TRYV(add_maker(line, copy, made, before));
    if (is_empty_) {
      part_ = std::move(kept);
    } else {
      base_ = before;
      part_ = {{line, line, "FROM", {}, {}, {}}};
      has_own_command_ = false;
      ATLAS_TRYV(add_args(line, copy.args));
    }
    Instruction laid{line, instruction.last_line, "COPY", {}, {}, {}};
    laid.flags.push_back(flag("--from=" + made));
    laid.arguments = std::string(k_folder) + "/" + made + "/ /";
    replaced_[line] = laid;
    part_.push_back(std::move(laid));
    is_empty_ = false;
    return {};
  }

  void end_part(const std::string& label) {
    part_.front().arguments = base_ + " AS " + label;
    // When it fails it is told by this name.
    if (base_ == stage_.base) replaced_[part_.front().line] = part_.front();
    out_.insert(out_.end(), part_.begin(), part_.end());
    part_.clear();
  }

  // The stage that makes what is laid over the image.
  Result<void> add_maker(int line, const ParentsCopy& copy, const std::string& made,
                         const std::string& before) {
    const std::string folder = k_folder;
    // In the image itself when only that knows the working folder.
    const bool is_inside = !copy.has_whole_destination;
    out_.push_back({line, line, "FROM", {}, (is_inside ? before : "scratch") + " AS " + made, {}});
    if (is_inside) out_.push_back({line, line, "USER", {}, "0:0", {}});
    Instruction run{line, line, "RUN", {}, {}, {}};
    run.flags.push_back(flag("--network=none"));
    run.flags.push_back(flag("--mount=type=bind,from=" + std::string(k_copy_parents_context) +
                             ",target=" + folder + "/tool"));
    run.flags.push_back(flag("--mount=type=bind" + (copy.from.empty() ? "" : ",from=" + copy.from) +
                             ",target=" + folder + "/from"));
    std::vector<std::string> words = {folder + "/tool/" + k_copy_parents_program,
                                      "--out=" + folder + "/" + made, "--from=" + folder + "/from",
                                      "--to=" + copy.destination};
    if (is_inside) {
      words.emplace_back("--before=/");
    } else if (!before.empty()) {
      run.flags.push_back(
          flag("--mount=type=bind,from=" + before + ",target=" + folder + "/before"));
      words.push_back("--before=" + folder + "/before");
    }
    if (copy.from.empty()) words.emplace_back("--root-owned");
    if (!copy.owner.empty()) words.push_back("--chown=" + copy.owner);
    if (!copy.mode.empty()) words.push_back("--chmod=" + copy.mode);
    for (const auto& exclude : copy.excludes) words.push_back("--exclude=" + exclude);
    words.emplace_back("--");
    words.insert(words.end(), copy.sources.begin(), copy.sources.end());
    ATLAS_TRY(run.arguments, list_of(line, words));
    out_.push_back(std::move(run));
    return {};
  }

  // What the part before has declared, as it was worth there.
  Result<void> add_args(int line, const VariableValues& values) {
    std::vector<Instruction> own;
    std::set<std::string, std::less<>> known;
    for (const auto& arg : args_) {
      Instruction again{line, line, "ARG", {}, {}, {}};
      for (const auto& word : split_words(arg.arguments, escape_)) {
        const auto name = word.substr(0, word.find('='));
        known.insert(name);
        const auto value = values.find(name);
        std::string written = word;
        if (is_given(name)) {
          written = name;
        } else if (value != values.end()) {
          ATLAS_TRY(written, arg_with_value(arg.line, name, value->second));
        }
        again.arguments += (again.arguments.empty() ? "" : " ") + written;
      }
      own.push_back(std::move(again));
    }
    // Those of the stage that it starts from, and of that one's triggers, stand in no line of it.
    for (const auto& [name, value] : values) {
      if (known.contains(name)) continue;
      Instruction inherited{line, line, "ARG", {}, name, {}};
      if (!is_given(name)) {
        ATLAS_TRY(inherited.arguments, arg_with_value(line, name, value));
      }
      part_.push_back(std::move(inherited));
    }
    part_.insert(part_.end(), own.begin(), own.end());
    return {};
  }

  bool is_given(const std::string& name) const {
    return std::any_of(build_args_.begin(), build_args_.end(),
                       [&name](const auto& given) { return given.first == name; });
  }

  const StageText& stage_;
  const std::vector<std::pair<std::string, std::string>>& build_args_;
  char escape_;
  std::size_t& count_;
  std::map<int, Instruction>& replaced_;
  bool is_empty_;  // there is nothing in the image yet
  std::string base_;
  std::vector<Instruction> part_;  // since the last cut
  std::vector<Instruction> args_;
  std::vector<Instruction> triggers_;
  std::optional<Instruction> command_;
  bool is_command_of_other_shell_ = false;
  bool has_own_command_ = false;  // the part has
  std::vector<Instruction> out_;
};

}  // namespace

bool has_parents(const Instruction& instruction) {
  return instruction.name == "COPY" &&
         std::any_of(
             instruction.flags.begin(), instruction.flags.end(),
             [](const InstructionFlag& each) { return each.name() == "--parents" && is_on(each); });
}

Result<ParentsCopy> read_parents(const Instruction& instruction, DockerfileScope& scope,
                                 const StageScope& stage, char escape, std::string from) {
  if (!instruction.documents.empty()) {
    return refused(instruction, "of a here-document, which has no parents: write a COPY for each");
  }
  ParentsCopy copy;
  copy.from = std::move(from);
  // The part behind it starts from the one before as a stage does from another.
  ATLAS_TRY(auto inherited, scope.inherit(stage, instruction.line));
  copy.args = std::move(inherited.args);
  for (const auto& each : instruction.flags) {
    if (each.name() == "--exclude") {
      ATLAS_TRY(auto pattern, worth(instruction, scope, stage, each.value()));
      copy.excludes.push_back(std::move(pattern));
    } else if (each.name() == "--chown") {
      ATLAS_TRY(copy.owner, worth(instruction, scope, stage, each.value()));
    } else if (each.name() == "--chmod") {
      ATLAS_TRY(copy.mode, worth(instruction, scope, stage, each.value()));
    }
  }
  const auto words = is_json_list(instruction.arguments)
                         ? read_json_list(instruction.arguments)
                         : split_words(instruction.arguments, escape);
  for (const auto& word : words) {
    ATLAS_TRY(auto path, worth(instruction, scope, stage, word));
    copy.sources.push_back(std::move(path));
  }
  copy.destination = std::move(copy.sources.back());
  copy.sources.pop_back();
  for (const auto& source : copy.sources) ATLAS_TRYV(check_source(instruction, source));
  copy.has_whole_destination = copy.destination.starts_with('/') || stage.work_folder.has_value();
  if (copy.has_whole_destination) {
    copy.destination = path_from(stage.work_folder.value_or("/"), copy.destination);
  }
  return copy;
}

Result<std::vector<Instruction>> without_parents(
    const StageText& stage, const std::vector<std::pair<std::string, std::string>>& build_args,
    char escape, std::size_t& count, std::map<int, Instruction>& replaced) {
  return Cutter(stage, build_args, escape, count, replaced).run();
}

}  // namespace atlasflow::builder
