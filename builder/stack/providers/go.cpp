// Go: the module's own program, one of cmd/, or a module of a workspace.
#include <algorithm>

#include "builder/stack/recipe.hpp"
#include "builder/stack/source_text.hpp"
#include "builder/stack/version_files.hpp"

namespace atlasflow::builder {
namespace {

// Of one folder: they are of one package, but for those that a build leaves out.
constexpr std::size_t k_files_read_max = 16;

struct GoTarget {
  std::string path;     // "./cmd/web", "main.go"
  std::string program;  // "web"
  std::string why;
  std::vector<std::string> others;  // programs that are not built
};

bool is_main_package(const std::string& text) {
  for (const auto& line : lines_of(text)) {
    if (line.starts_with("package ")) {
      return line == "package main" || line.starts_with("package main ");
    }
  }
  return false;
}

bool has_main(const SourceTree& tree, const std::string& folder) {
  std::size_t read = 0;
  for (const auto& name : tree.list(folder)) {
    if (!name.ends_with(".go") || name.ends_with("_test.go")) continue;
    const std::string file = folder.empty() ? name : folder + "/" + name;
    if (is_main_package(text_or_nothing(tree, file))) return true;
    if (++read == k_files_read_max) break;
  }
  return false;
}

std::string last_part(const std::string& path) { return path.substr(path.rfind('/') + 1); }

// The folders of cmd/ with a program: the one named like the module first, then the usual names of
// what serves.
std::optional<GoTarget> command_target(const ProviderInput& input, const std::string& module) {
  std::vector<std::string> found;
  for (const auto& name : input.tree.list("cmd")) {
    if (is_plain_word(name) && has_main(input.tree, "cmd/" + name)) found.push_back(name);
  }
  if (found.empty()) {
    if (!has_main(input.tree, "cmd")) return std::nullopt;
    return GoTarget{"./cmd", module.empty() ? "app" : module, "cmd", {}};
  }
  std::string chosen = found.front();
  for (const std::string& usual : {std::string("app"), std::string("api"), std::string("web"),
                                   std::string("server"), module}) {
    if (std::find(found.begin(), found.end(), usual) != found.end()) chosen = usual;
  }
  GoTarget target{"./cmd/" + chosen, chosen, "cmd/" + chosen, {}};
  std::copy_if(found.begin(), found.end(), std::back_inserter(target.others),
               [&](const std::string& name) { return name != chosen; });
  return target;
}

// The modules that go.work names: "use ./api", or in parentheses.
std::vector<std::string> workspace_modules(const std::string& text) {
  std::vector<std::string> modules;
  bool inside = false;
  for (auto line : lines_of(text)) {
    line = trimmed(line.substr(0, line.find("//")));
    if (line.starts_with("use (") || line == "use(") {
      inside = true;
      continue;
    }
    if (line == ")") inside = false;
    if (line.starts_with("use ")) {
      line = trimmed(line.substr(4));
    } else if (!inside) {
      continue;
    }
    while (line.starts_with("./")) line.erase(0, 2);
    if (is_plain_word(line)) modules.push_back(line);
  }
  return modules;
}

std::optional<GoTarget> find_target(const ProviderInput& input, const std::string& module,
                                    const std::string& workspace) {
  const std::string program = is_plain_word(module) ? module : "app";
  if (has_main(input.tree, "")) {
    const bool is_module = input.has("go.mod");
    return GoTarget{is_module ? "." : "main.go", program, "the package main in its root", {}};
  }
  if (auto command = command_target(input, module)) return command;
  for (const auto& folder : workspace_modules(workspace)) {
    if (!has_main(input.tree, folder)) continue;
    return GoTarget{"./" + folder, last_part(folder), folder + " of go.work", {}};
  }
  return std::nullopt;
}

}  // namespace

Result<Offer> plan_go(const ProviderInput& input, const std::string& seen) {
  ATLAS_TRY(const auto module_file, read_text(input.tree, "go.mod"));
  ATLAS_TRY(const auto work_file, read_text(input.tree, "go.work"));
  const std::string text = module_file.value_or("");
  const auto path = first_match(text, R"(^module\s+"?([^\s"]+))");
  if (module_file && path.empty()) {
    return fail(ErrorCode::user_error,
                "go.mod has no line 'module NAME': 'go mod init NAME' writes one");
  }
  const auto target = find_target(input, last_part(path), work_file.value_or(""));
  if (!target) {
    return Offer(
        CannotStart{"there is no package main in its root, in cmd/NAME or in a module of "
                    "go.work: add one"});
  }
  Plan plan;
  plan.provider = "go";
  plan.reason = input.in_place(seen) + ", built from " + target->why;
  for (const auto& other : target->others) {
    plan.notices.push_back("cmd/" + other + " is not built: cmd/" + target->program +
                           " is; a main.go in the root folder, or a Dockerfile, says otherwise");
  }
  auto wishes = wishes_of_files(input.tree, {{".go-version"}, {"go", "golang"}});
  const auto& of_version = module_file ? text : work_file.value_or("");
  if (const auto least = first_match(of_version, R"(^go\s+([0-9.]+))"); !least.empty()) {
    wishes.push_back({">=" + least,
                      std::string("the go line of ") + (module_file ? "go.mod" : "go.work"), true});
  }
  ATLAS_TRY(const auto base, take_base(plan, input, "go", wishes));
  // These are written in C; without cgo they compile and do not work.
  bool needs_cgo = false;
  for (const char* package : {"mattn/go-sqlite3", "confluent-kafka-go", "h2non/bimg"}) {
    needs_cgo = needs_cgo || text.find(package) != std::string::npos;
  }
  const std::string program = "/out/bin/" + target->program;
  PlanStage build = build_stage(input, base.image);
  build.steps.push_back(EnvStep{{{"CGO_ENABLED", needs_cgo ? "1" : "0"},
                                 {"GOCACHE", "/cache/build"},
                                 {"GOMODCACHE", "/cache/modules"},
                                 // A lone main.go is of no module.
                                 {"GO111MODULE", module_file || work_file ? "on" : "off"}}});
  build.steps.push_back(CopyStep{{"."}, ".", "", false});
  build.steps.push_back(cached_run(
      "go build -trimpath -ldflags='-s -w' -o " + program + " " + target->path, {"/cache"}));
  build.steps.push_back(RunStep{gather_libraries(program), {}});
  plan.ignored = {".git"};
  plan.stages.push_back(std::move(build));
  plan.stages.push_back(compiled_app_stage());
  if (!set_start(plan, input, "/app/bin/" + target->program, "")) return Offer(CannotStart{});
  return Offer(std::move(plan));
}

}  // namespace atlasflow::builder
