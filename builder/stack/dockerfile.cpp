#include "builder/stack/dockerfile.hpp"

#include <algorithm>
#include <map>
#include <set>

#include "builder/stack/dockerfile_add.hpp"
#include "builder/stack/dockerfile_lines.hpp"
#include "builder/stack/dockerfile_modes.hpp"
#include "builder/stack/dockerfile_mounts.hpp"
#include "builder/stack/dockerfile_parents.hpp"
#include "builder/stack/dockerfile_rules.hpp"
#include "builder/stack/dockerfile_scope.hpp"
#include "builder/stack/dockerfile_text.hpp"
#include "builder/stack/dockerfile_variables.hpp"

namespace atlasflow::builder {
namespace {

constexpr std::size_t k_stages_max = 1000;

struct Stage {
  std::string name;   // as written; its number when it has none
  std::string label;  // what buildah is to call it
  std::string base;   // what it starts from, the same
  std::size_t number = 0;
  int line = 0;
  StageScope scope;
  std::set<std::size_t> needs;                 // stages before it
  std::vector<Stated> images;                  // full names
  std::vector<Instruction> triggers;           // ONBUILD, for the stages that start from it
  int health_check_line = 0;                   // of the HEALTHCHECK that counts; 0: none
  bool adds_remote_files = false;              // without a checksum
  std::map<std::size_t, ParentsCopy> parents;  // by the place among the plan's instructions
  std::size_t first = 0;                       // of the plan's instructions: FROM
  std::size_t end = 0;                         // behind the last
  // What is wrong with it only when it is built: its platform, or an image that may not be used.
  std::optional<Error> error;
};

class Planner {
 public:
  Planner(const DockerfileRequest& request, DockerfileLines lines)
      : request_(request),
        escape_(lines.escape),
        scope_(request.build_args, request.target, lines.escape),
        instructions_(std::move(lines.instructions)),
        has_parents_(std::any_of(instructions_.begin(), instructions_.end(), has_parents)) {}

  Result<DockerfilePlan> run() {
    for (std::size_t i = 0; i < instructions_.size(); ++i) {
      auto& instruction = instructions_[i];
      at_ = i;
      auto right = check_flags(instruction);
      if (right) right = check_arguments(instruction, escape_);
      if (!right) return tl::unexpected(right.error());
      ATLAS_TRYV(instruction.name == "FROM" ? start_stage(instruction, i)
                 : stages_.empty()          ? take_global(instruction)
                                            : take(instruction));
      if (!stages_.empty()) stages_.back().end = i + 1;
    }
    if (stages_.empty()) return fail(ErrorCode::user_error, "there is no FROM in it");
    return plan();
  }

 private:
  Result<void> take_global(Instruction& instruction) {
    if (instruction.name == "ARG") return scope_.declare(instruction);
    return wrong_line(instruction.line,
                      instruction.name + " comes before the first FROM, where only ARG may be");
  }

  // ---- stages -----------------------------------------------------------------------------------

  const Stage* stage_named(std::string_view name) const {
    const auto wanted = lower_case(name);
    const auto found = std::find_if(stages_.begin(), stages_.end(), [&](const Stage& each) {
      return lower_case(each.name) == wanted;
    });
    return found == stages_.end() ? nullptr : &*found;
  }

  Result<void> start_stage(Instruction& from, std::size_t index) {
    const auto words = split_words(from.arguments, escape_);
    if (words.size() != 1 && (words.size() != 3 || lower_case(words[1]) != "as")) {
      return wrong_line(from.line, "FROM is followed by an image, or by an image AS a name");
    }
    if (stages_.size() >= k_stages_max) {
      return wrong_line(from.line, "there are more than 1000 stages");
    }
    Stage stage;
    stage.number = stages_.size();
    stage.name = words.size() == 3 ? words[2] : std::to_string(stage.number);
    // Stages come between, where COPY --parents needs them, and would change the numbers.
    stage.label = words.size() == 1 && has_parents_ ? "atlasflow-stage-" + stage.name : stage.name;
    stage.line = from.line;
    stage.first = index;
    if (words.size() == 3) {
      ATLAS_TRYV(check_stage_name(from.line, stage.name, has_parents_));
      if (const auto* other = stage_named(stage.name)) {
        return wrong_line(from.line, "there is a stage '" + stage.name + "' already, in line " +
                                         std::to_string(other->line));
      }
    }
    ATLAS_TRY(auto base, scope_.expand(words.front(), from.line));
    if (base.text.empty() || (!base.missing.empty() && !check_image_name(base.text))) {
      const auto variable = base.missing.empty() ? "NAME" : base.missing.front();
      return wrong_line(from.line, "FROM " + words.front() + " has no value: declare ARG " +
                                       variable +
                                       " with a default before the first FROM, or set the "
                                       "project's build_arg." +
                                       variable);
    }
    if (auto right = take_platform(from, stage); !right) return right;
    return start_from(from, std::move(stage), base.text);
  }

  Result<void> take_platform(Instruction& from, Stage& stage) {
    for (const auto& flag : from.flags) {
      ATLAS_TRY(auto platform, scope_.expand(flag.value(), from.line));
      if (!is_this_platform(platform.text)) {
        stage.error = wrong_line(from.line, "FROM --platform=" + platform.text +
                                                ": this machine builds and runs linux/amd64 only")
                          .value();
      }
    }
    from.flags.clear();  // It is the machine's own.
    return {};
  }

  Result<void> start_from(Instruction& from, Stage stage, const std::string& base) {
    const Stage* parent = stage_named(base);
    const bool is_stage = parent != nullptr && !whole_number(base);
    std::vector<Instruction> triggers;
    std::string name = base;
    if (is_stage) {
      stage.needs.insert(parent->number);
      stage.health_check_line = parent->health_check_line;
      triggers = parent->triggers;
      name = parent->label;
      ATLAS_TRY(auto inherited, scope_.inherit(parent->scope, from.line));
      stage.scope = std::move(inherited);
    } else if (base != "scratch") {
      name = image_of(base, from.line, stage);
    } else {
      stage.scope.work_folder = "/";
    }
    from.arguments = name + (whole_number(stage.label) ? "" : " AS " + stage.label);
    stage.base = name;
    stages_.push_back(std::move(stage));
    for (auto& trigger : triggers) {
      trigger.line = from.line;
      if (auto taken = take(trigger); !taken) return taken;
    }
    return {};
  }

  // Its full name, which is then one that `stage` needs.
  std::string image_of(const std::string& name, int line, Stage& stage) const {
    auto full = full_image_name(name);
    auto right = check_image_name(name);
    if (right && !request_.may_use_any_base) right = check_base_image(full);
    if (!right && !stage.error) stage.error = wrong_line(line, right.error().message).value();
    stage.images.push_back({full, line});
    return full;
  }

  // ---- instructions of a stage ------------------------------------------------------------------

  Result<void> take(Instruction& instruction) {
    const auto& name = instruction.name;
    if (name == "ARG" || name == "ENV" || name == "WORKDIR") {
      return scope_.take(instruction, stages_.back().scope);
    }
    ATLAS_TRYV(scope_.put_in(instruction, stages_.back().scope));
    if (name == "COPY" || name == "ADD") return take_copy(instruction);
    if (name == "RUN") return take_mounts(instruction);
    if (name == "ONBUILD") return take_trigger(instruction);
    if (name == "HEALTHCHECK") {
      const bool is_none = lower_case(instruction.arguments) == "none";
      stages_.back().health_check_line = is_none ? 0 : instruction.line;
    }
    return {};
  }

  Result<void> take_copy(Instruction& instruction) {
    std::string source;
    for (auto& flag : instruction.flags) {
      if (flag.name() == "--from") {
        ATLAS_TRY(source, source_of(flag.value(), instruction.line, "COPY --from"));
        flag.text = flag.raw = "--from=" + source;
      }
    }
    const auto value_of = [&](std::string_view mode) -> Result<std::optional<std::string>> {
      ATLAS_TRY(auto value, scope_.expand(mode, instruction.line, stages_.back().scope));
      return value.missing.empty() ? std::optional(value.text) : std::nullopt;
    };
    ATLAS_TRYV(write_out_modes(instruction, value_of));
    if (instruction.name == "ADD") {
      ATLAS_TRY(const bool is_remote,
                adds_remote_files(instruction, scope_, stages_.back().scope, escape_));
      stages_.back().adds_remote_files |= is_remote;
      return {};
    }
    ATLAS_TRYV(check_copied(instruction, scope_, stages_.back().scope, escape_));
    if (!has_parents(instruction)) return {};
    ATLAS_TRY(auto parents,
              read_parents(instruction, scope_, stages_.back().scope, escape_, std::move(source)));
    stages_.back().parents[at_] = std::move(parents);
    return {};
  }

  // buildah 1.39 counts what is mounted in the layer's cache key only when the type is written out
  // (a second push would go live with the first one's content), and knows no variables there.
  Result<void> take_mounts(Instruction& instruction) {
    for (auto& flag : instruction.flags) {
      if (flag.name() != "--mount") continue;
      auto options = mount_options(flag.value());
      for (auto& option : options) {
        if (option.key == "from") {
          ATLAS_TRY(auto source, source_of(option.value, instruction.line, "RUN --mount=…,from"));
          option.value = source;
        } else if (option.value.find('$') != std::string::npos) {
          ATLAS_TRY(auto value,
                    scope_.expand(option.value, instruction.line, stages_.back().scope));
          if (value.missing.empty()) option.value = value.text;  // Else of the base image.
        }
      }
      name_as_buildah_does(options);
      ATLAS_TRYV(write_out_target(instruction.line, flag.value(), options,
                                  stages_.back().scope.work_folder));
      const bool is_given = take_secret(instruction.line, flag.value(), options);
      if (mount_option(options, "type").empty()) options.insert(options.begin(), {"type", "bind"});
      flag = mount_flag(options);
      flag.is_given = is_given;
    }
    return check_flags(instruction);  // A value may have become empty.
  }

  // One that the project has becomes the mount of its exact id: then it is true. What is wrong is
  // so only when the stage is built.
  bool take_secret(int line, std::string_view flag, std::vector<MountOption>& options) {
    const auto mount = secret_mount(options);
    if (!mount) return false;
    const auto found = request_.secrets.find(mount->name);
    const auto named = "RUN --mount=" + std::string(flag) + ": ";
    if (found == request_.secrets.end()) {
      if (mount->is_required && request_.knows_secrets && !stages_.back().error) {
        stages_.back().error =
            wrong_line(line,
                       named + missing_secret(mount->name, request_.project, request_.is_of_fork))
                .value();
      }
      return false;
    }
    if (mount->is_variable && !stages_.back().error) {
      stages_.back().error =
          wrong_line(line, named +
                               "a secret is given as a file here: take env= away, and let the "
                               "step read it, as in NAME=\"$(cat " +
                               secret_target(mount->name) + ")\" command")
              .value();
    }
    std::vector<MountOption> exact = {
        {"type", "secret"},
        {"id", found->second},
        {"target", mount->target.empty() ? secret_target(mount->name) : mount->target}};
    for (const char* key : {"mode", "uid", "gid"}) {
      if (const auto value = mount_option(options, key); !value.empty()) {
        exact.push_back({key, value});
      }
    }
    options = std::move(exact);
    return true;
  }

  // The stage or image that COPY --from and RUN --mount=from= mean, as buildah is to be told it.
  Result<std::string> source_of(std::string_view word, int line, const std::string& what) {
    ATLAS_TRY(auto name, scope_.expand(word, line, stages_.back().scope));
    if (name.text.empty() || !name.missing.empty()) {
      return wrong_line(line, what + "=" + std::string(word) + " has no value" +
                                  (name.missing.empty() ? "" : " for " + name.missing.front()) +
                                  ": declare the ARG in this stage, before it");
    }
    Stage& stage = stages_.back();
    if (const auto number = whole_number(name.text)) {
      if (static_cast<std::size_t>(*number) >= stage.number) {
        return wrong_line(line, what + "=" + name.text + ": there is no stage " + name.text +
                                    " before this one, which has number " +
                                    std::to_string(stage.number));
      }
      stage.needs.insert(static_cast<std::size_t>(*number));
      return stages_[static_cast<std::size_t>(*number)].label;
    }
    if (const auto* other = stage_named(name.text)) {
      if (other == &stage) return wrong_line(line, what + " names the stage that it is in");
      stage.needs.insert(other->number);
      return other->label;
    }
    if (const auto later = line_of_stage(name.text)) {
      return wrong_line(line, what + "=" + name.text + ": that stage comes later, in line " +
                                  std::to_string(*later) + "; put it above this one");
    }
    return image_of(name.text, line, stage);
  }

  std::optional<int> line_of_stage(std::string_view name) const {
    for (const auto& instruction : instructions_) {
      if (instruction.name != "FROM") continue;
      const auto words = split_words(instruction.arguments, escape_);
      if (words.size() == 3 && lower_case(words[2]) == lower_case(name)) return instruction.line;
    }
    return std::nullopt;
  }

  Result<void> take_trigger(Instruction& instruction) {
    ATLAS_TRY(auto trigger, read_trigger(instruction));
    if (auto right = check_flags(trigger); !right) return right;
    if (auto right = check_arguments(trigger, escape_); !right) return right;
    if (has_parents(trigger)) {
      return wrong_line(instruction.line,
                        "ONBUILD COPY --parents is not supported: buildah would read it in the "
                        "stage that starts from this one; write the COPY there");
    }
    // What is a variable there has its value in the stages that start from this one.
    ATLAS_TRYV(
        write_out_modes(trigger, [](std::string_view mode) -> Result<std::optional<std::string>> {
          return mode.find('$') == std::string_view::npos ? std::optional(std::string(mode))
                                                          : std::nullopt;
        }));
    stages_.back().triggers.push_back(trigger);
    for (auto& flag : trigger.flags) {
      if (trigger.name != "RUN" || flag.name() != "--mount") continue;
      auto options = mount_options(flag.value());
      // It runs in the stages that start from this one, and what is wrong is told of them.
      const auto error = stages_.back().error;
      const bool is_given = take_secret(instruction.line, flag.value(), options);
      stages_.back().error = error;
      flag = mount_flag(options);
      flag.is_given = is_given;
    }
    // buildah keeps the text of it; what it cannot take must be out of there too.
    leave_out(trigger);
    instruction.arguments = write_instruction(trigger);
    return {};
  }

  // ---- the plan ---------------------------------------------------------------------------------

  void leave_out(Instruction& instruction) {
    std::vector<InstructionFlag> kept;
    for (auto& flag : instruction.flags) {
      const auto why = left_out_because(instruction, flag, request_.is_of_fork);
      if (why && !why->empty()) {
        const bool is_unsure = !request_.knows_secrets && flag.name() == "--mount";
        auto& told = flag.name() == "--mount" && !is_unsure ? notices_ : notes_;
        told.push_back(request_.name + ", line " + std::to_string(instruction.line) + ": " + *why);
      }
      if (!why) kept.push_back(std::move(flag));
    }
    instruction.flags = std::move(kept);
  }

  Result<std::size_t> target_stage(DockerfilePlan& plan) const {
    if (request_.target.empty()) return stages_.size() - 1;
    std::string list;
    for (const auto& stage : stages_) {
      if (lower_case(stage.name) == lower_case(request_.target) ||
          std::to_string(stage.number) == request_.target) {
        plan.target = stage.label;
        return stage.number;
      }
      list += (list.empty() ? "" : ", ") + stage.name;
    }
    return fail(ErrorCode::user_error, "build_target is '" + request_.target +
                                           "', and there is no such stage; there are " + list);
  }

  Result<DockerfilePlan> plan() {
    DockerfilePlan plan;
    ATLAS_TRY(auto target, target_stage(plan));
    std::set<std::size_t> needed{target};
    // A stage needs only those before it, so one walk backwards finds all.
    for (std::size_t i = target + 1; i-- > 0;) {
      if (needed.contains(i)) needed.insert(stages_[i].needs.begin(), stages_[i].needs.end());
    }
    std::set<std::string> known;
    for (const auto& stage : stages_) {
      plan.stages.push_back(stage.name);
      if (!needed.contains(stage.number)) continue;
      if (stage.error) return tl::unexpected(*stage.error);
      plan.adds_remote_files |= stage.adds_remote_files;
      for (const auto& image : stage.images) {
        if (known.insert(image.value).second) plan.images.push_back(image);
      }
    }
    if (const int line = stages_[target].health_check_line; line > 0) {
      notices_.push_back(
          request_.name + ", line " + std::to_string(line) +
          ": HEALTHCHECK is not run; an app is healthy when health_path answers 2xx");
    }
    ATLAS_TRY(auto instructions, needed_instructions(needed, target));
    ATLAS_TRY(plan.text, write_instructions(instructions, escape_));
    if (!replaced_.empty()) {
      ATLAS_TRY(plan.numbered, write_instructions(numbered_, escape_));
      plan.copies_parents = true;
    }
    plan.parts = std::move(parts_);
    plan.notes = std::move(notes_);
    plan.notices = std::move(notices_);
    return plan;
  }

  // A stage that is not needed is left as an empty one, so that the others keep their numbers.
  Result<std::vector<Instruction>> needed_instructions(const std::set<std::size_t>& needed,
                                                       std::size_t target) {
    std::vector<Instruction> out;
    for (std::size_t i = 0; i < stages_.front().first; ++i) out.push_back(instructions_[i]);
    numbered_ = out;
    std::string left_out;
    for (const auto& stage : stages_) {
      if (!needed.contains(stage.number)) {
        auto from = instructions_[stage.first];
        from.arguments = whole_number(stage.label) ? "scratch" : "scratch AS " + stage.label;
        out.push_back(std::move(from));
        left_out += (left_out.empty() ? "" : ", ") + stage.name;
        continue;
      }
      ATLAS_TRY(auto text, text_of(stage));
      out.insert(out.end(), text.begin(), text.end());
      if (stage.number == target && !request_.start.empty()) add_start(out, request_.start);
    }
    if (!left_out.empty()) notes_.push_back("stages that the image does not need: " + left_out);
    return out;
  }

  Result<std::vector<Instruction>> text_of(const Stage& stage) {
    StageText text{stage.base, stage.label, {}, {}};
    for (std::size_t i = stage.first; i < stage.end; ++i) {
      auto& instruction = instructions_[i];
      const auto parents = stage.parents.find(i);
      if (parents != stage.parents.end()) {
        text.parents[text.instructions.size()] = parents->second;
        notes_.push_back(request_.name + ", line " + std::to_string(instruction.line) +
                         ": COPY --parents is done by a stage of its own, since buildah " +
                         "does not know it");
      }
      leave_out(instruction);
      ATLAS_TRYV(name_mounted_parts(instruction, request_.name_of_part, parts_));
      text.instructions.push_back(instruction);
    }
    auto out = std::move(text.instructions);
    if (!stage.parents.empty()) {
      text.instructions = out;
      ATLAS_TRY(out,
                without_parents(text, request_.build_args, escape_, parents_count_, replaced_));
    }
    for (std::size_t i = stage.first; i < stage.end; ++i) {
      const auto other = replaced_.find(instructions_[i].line);
      numbered_.push_back(other == replaced_.end() ? instructions_[i] : other->second);
    }
    return out;
  }

  const DockerfileRequest& request_;
  char escape_;
  DockerfileScope scope_;
  std::vector<Instruction> instructions_;
  bool has_parents_;    // some COPY has --parents
  std::size_t at_ = 0;  // the place of the instruction that is read now
  std::vector<Stage> stages_;
  std::size_t parents_count_ = 0;
  std::map<int, Instruction> replaced_;  // what stands for a COPY --parents, by its line
  std::vector<Instruction> numbered_;    // each at the line that it has in the file
  std::vector<std::string> parts_;
  std::vector<std::string> notes_;
  std::vector<std::string> notices_;
};

}  // namespace

Result<DockerfilePlan> plan_dockerfile(std::string_view dockerfile,
                                       const DockerfileRequest& request) {
  auto plan = read_instructions(dockerfile).and_then([&](DockerfileLines lines) {
    return Planner(request, std::move(lines)).run();
  });
  const bool is_of_the_file = !plan && plan.error().code != ErrorCode::cancelled &&
                              plan.error().code != ErrorCode::timed_out &&
                              plan.error().code != ErrorCode::internal;
  if (!is_of_the_file) return plan;
  const bool has_line = plan.error().message.starts_with("line ");
  return fail(plan.error().code, request.name + (has_line ? ", " : ": ") + plan.error().message,
              plan.error().cause);
}

}  // namespace atlasflow::builder
