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

// Of one Cargo.toml: its own program, the [[bin]] targets, and src/bin.
void add_programs(const SourceTree& tree, const json& manifest, const std::string& folder,
                  std::vector<RustProgram>& programs) {
  const auto package = text_at(manifest, {"package", "name"});
  if (!is_plain_word(package)) return;
  std::vector<std::string> names;
  const json targets = object_at(manifest, {"bin"});
  if (targets.is_array()) {
    for (const auto& target : targets) names.push_back(text_at(target, {"name"}));
  }
  const bool has_own = tree.has_file(in_folder(folder, "src/main.rs"));
  if (has_own && !targets.is_array()) names.push_back(package);
  for (const auto& name : tree.list(in_folder(folder, "src/bin"))) {
    std::string program = name;
    if (program.ends_with(".rs")) program.resize(program.size() - 3);
    if (std::find(names.begin(), names.end(), program) == names.end()) names.push_back(program);
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

// "crates/*" are the folders in crates.
std::vector<std::string> members_of(const SourceTree& tree, const json& manifest) {
  std::vector<std::string> members;
  const json list = object_at(manifest, {"workspace", "members"});
  if (!list.is_array()) return members;
  for (const auto& entry : list) {
    const auto pattern = entry.is_string() ? entry.get<std::string>() : std::string();
    if (pattern.ends_with("/*")) {
      const auto parent = pattern.substr(0, pattern.size() - 2);
      for (const auto& name : tree.list(parent)) members.push_back(in_folder(parent, name));
    } else if (is_plain_word(pattern)) {
      members.push_back(pattern);
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
  auto wishes = wishes_of_files(input.tree, {{"rust-toolchain", ".rust-version"}, {"rust"}});
  const auto toolchain = parse_toml(text_or_nothing(input.tree, "rust-toolchain.toml"), "");
  if (toolchain) {
    const auto version = version_in(text_at(*toolchain, {"toolchain", "channel"}));
    if (!version.empty()) wishes = {{version, "rust-toolchain.toml"}};
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
  build.steps.push_back(cached_run("cargo build --release" + locked + " --package " +
                                       program.package + " --bin " + program.name +
                                       " && mkdir -p /out/bin && cp /cache/target/release/" +
                                       program.name + " /out/bin/",
                                   {"/cache"}));
  build.steps.push_back(RunStep{gather_libraries(built), {}});
  plan.ignored = {".git"};
  plan.always_ignored = {"target"};
  plan.stages.push_back(std::move(build));
  PlanStage last = compiled_app_stage();
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
