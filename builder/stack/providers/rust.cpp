// Rust: the package's own program, one of its [[bin]] targets, or that of a workspace's member.
#include <algorithm>

#include "builder/stack/recipe.hpp"
#include "builder/stack/source_text.hpp"
#include "builder/stack/version_files.hpp"

namespace atlasflow::builder {
namespace {

using nlohmann::json;

constexpr std::size_t k_members_max = 100;

struct RustProgram {
  std::string package;
  std::string name;
  std::string folder;  // of the workspace's member; empty: the root
};

std::string in_folder(const std::string& folder, const std::string& name) {
  return folder.empty() ? name : folder + "/" + name;
}

// Of src/bin: NAME.rs, or a folder NAME with a main.rs.
std::vector<std::string> programs_in(const SourceTree& tree, const std::string& folder) {
  std::vector<std::string> programs;
  for (const auto& name : tree.list(folder)) {
    const auto file = in_folder(folder, name);
    if (name.ends_with(".rs") && tree.has_file(file)) {
      programs.push_back(name.substr(0, name.size() - 3));
    } else if (tree.has_file(file + "/main.rs")) {
      programs.push_back(name);
    }
  }
  return programs;
}

// Of one Cargo.toml: its own program, the [[bin]] targets, and src/bin.
void add_programs(const SourceTree& tree, const json& manifest, const std::string& folder,
                  std::vector<RustProgram>& programs) {
  const auto package = text_at(manifest, {"package", "name"});
  if (!is_plain_word(package)) return;
  std::vector<std::string> names;
  const auto add = [&names](const std::string& name) {
    if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
  };
  bool has_own = tree.has_file(in_folder(folder, "src/main.rs"));
  const json& targets = object_at(manifest, {"bin"});
  if (targets.is_array()) {
    for (const auto& target : targets) {
      add(text_at(target, {"name"}));
      const auto path = text_at(target, {"path"});
      has_own = has_own && path != "src/main.rs" && path != "./src/main.rs";
    }
  }
  // Of the first edition, which is that of a manifest without one, cargo looks for no other program
  // where some are named.
  const json& edition = object_at(manifest, {"package", "edition"});
  const bool looks = !names.empty() && (edition.is_null() || edition == "2015")
                         ? object_at(manifest, {"package", "autobins"}) == json(true)
                         : object_at(manifest, {"package", "autobins"}) != json(false);
  if (looks) {
    if (has_own) add(package);
    for (const auto& program : programs_in(tree, in_folder(folder, "src/bin"))) add(program);
  }
  const auto preferred = text_at(manifest, {"package", "default-run"});
  for (const auto& first : {preferred, package}) {
    const auto found = std::find(names.begin(), names.end(), first);
    if (found != names.end()) {
      std::rotate(names.begin(), found, found + 1);
      break;
    }
  }
  for (const auto& name : names) {
    if (is_plain_word(name)) programs.push_back({package, name, folder});
  }
}

// Those that cargo takes by default first. "crates/*" are the folders in crates; the root itself,
// which may be a member by ".", is not among them.
std::vector<std::string> members_of(const SourceTree& tree, const json& manifest) {
  std::vector<std::string> members;
  const auto add = [&](std::string member) {
    while (member.starts_with("./")) member.erase(0, 2);
    while (member.ends_with('/')) member.pop_back();
    const bool is_known = std::find(members.begin(), members.end(), member) != members.end();
    if (is_plain_word(member) && member != "." && !is_known) members.push_back(member);
  };
  for (const char* key : {"default-members", "members"}) {
    const json& list = object_at(manifest, {"workspace", key});
    if (!list.is_array()) continue;
    for (const auto& entry : list) {
      const auto pattern = entry.is_string() ? entry.get<std::string>() : std::string();
      if (pattern != "*" && !pattern.ends_with("/*")) {
        add(pattern);
        continue;
      }
      const auto parent =
          pattern.substr(0, pattern.size() - std::min<std::size_t>(pattern.size(), 2));
      for (const auto& name : tree.list(parent)) add(in_folder(parent, name));
    }
  }
  if (members.size() > k_members_max) members.resize(k_members_max);
  return members;
}

Result<std::vector<RustProgram>> find_programs(const ProviderInput& input, const json& manifest) {
  std::vector<RustProgram> programs;
  add_programs(input.tree, manifest, "", programs);
  for (const auto& member : members_of(input.tree, manifest)) {
    ATLAS_TRY(const auto own, read_toml(input.tree, in_folder(member, "Cargo.toml")));
    add_programs(input.tree, own, member, programs);
  }
  return programs;
}

std::vector<VersionWish> wishes_of(const ProviderInput& input, const json& manifest) {
  auto wishes = wishes_of_files(input.tree, {{".rust-version"}, {"rust"}});
  for (const char* file : {"rust-toolchain", "rust-toolchain.toml"}) {
    const auto text = text_or_nothing(input.tree, file);
    const auto toolchain = parse_toml(text, file);
    const auto channel = toolchain ? text_at(*toolchain, {"toolchain", "channel"}) : trimmed(text);
    // "nightly-2024-01-01" has a number as well.
    const bool is_version = !channel.empty() && channel.front() >= '0' && channel.front() <= '9';
    const auto version = is_version ? version_in(channel) : std::string();
    if (!version.empty()) wishes = {{version, file}};
  }
  for (const auto& keys : {std::vector<std::string>{"package", "rust-version"},
                           std::vector<std::string>{"workspace", "package", "rust-version"}}) {
    const auto least = text_at(manifest, keys);
    if (!least.empty()) wishes.push_back({">=" + least, "rust-version in Cargo.toml", true});
  }
  // A lock file of version 4 is one that older ones refuse to read.
  const auto lock = text_or_nothing(input.tree, "Cargo.lock").substr(0, 4096);
  if (first_match(lock, R"(^version\s*=\s*(4))") == "4") {
    wishes.push_back({">=1.78", "Cargo.lock of version 4", true});
  }
  return wishes;
}

}  // namespace

Result<Offer> plan_rust(const ProviderInput& input, const std::string& seen) {
  ATLAS_TRY(const auto manifest, read_toml(input.tree, "Cargo.toml"));
  ATLAS_TRY(const auto programs, find_programs(input, manifest));
  if (programs.empty()) {
    return Offer(
        CannotStart{"there is no src/main.rs, no [[bin]] and none in a member of the "
                    "workspace: add one"});
  }
  const auto& program = programs.front();
  Plan plan;
  plan.provider = "rust";
  plan.reason = input.in_place(seen) + ", built from " + program.name +
                (program.folder.empty() ? "" : " in " + program.folder);
  for (const auto& other : programs) {
    if (&other == &program) continue;
    plan.notices.push_back(other.name + " is not built: " + program.name +
                           " is; default-run in Cargo.toml, or a Dockerfile, says otherwise");
  }
  ATLAS_TRY(const auto base, take_base(plan, input, "rust", wishes_of(input, manifest)));
  const std::string built = "/out/bin/" + program.name;
  PlanStage build = build_stage(input, base.image);
  build.ca_variables = {"SSL_CERT_FILE", "CARGO_HTTP_CAINFO"};
  build.steps.push_back(
      EnvStep{{{"CARGO_HOME", "/cache/cargo"}, {"CARGO_TARGET_DIR", "/cache/target"}}});
  build.steps.push_back(CopyStep{{"."}, ".", "", false});
  const std::string locked = input.has("Cargo.lock") ? " --locked" : "";
  // Cargo compiles again what is younger than its result, and a COPY layer that an earlier build
  // has left brings the times of that build: with them, a later one's result would stay.
  const std::string touch = "find . -type f -exec touch {} + && ";
  const std::string made = "/cache/target/release/" + program.name;
  const std::string take = " && mkdir -p /out/bin && ";
  const auto& own = input.choice.build_command;
  const bool is_detected = own.empty();
  add_install(build, input, cached_run("", {"/cache"}));
  // A command that builds something else must not find the program of an earlier build.
  RunStep compile = cached_run(
      is_detected ? touch + "cargo build --release" + locked + " --package " + program.package +
                        " --bin " + program.name + take + "cp " + made + " /out/bin/"
                  : touch + "rm -f " + made + " && " + quoted_for_sh(own) + take + "if test -f " +
                        made + "; then cp " + made + " /out/bin/; fi",
      {"/cache"});
  compile.sees_secrets = true;
  build.steps.push_back(std::move(compile));
  build.steps.push_back(
      RunStep{is_detected ? gather_libraries(built) : gather_all_libraries(), {}});
  plan.ignored = {".git"};
  plan.always_ignored = {"target"};
  plan.stages.push_back(std::move(build));
  PlanStage last = compiled_app_stage(input);
  if (!object_at(manifest, {"dependencies", "rocket"}).is_null()) {
    // It has variables of its own, and listens on the loopback address without them.
    last.steps.insert(last.steps.begin() + 1,
                      EnvStep{{{"ROCKET_ADDRESS", "0.0.0.0"}, {"ROCKET_PORT", "3000"}}});
  }
  plan.stages.push_back(std::move(last));
  if (!set_start(plan, input, "/app/bin/" + program.name, "")) return Offer(CannotStart{});
  return Offer(std::move(plan));
}

}  // namespace atlasflow::builder
