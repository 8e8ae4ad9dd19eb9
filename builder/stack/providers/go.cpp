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
  std::vector<std::string> others;  // folders of programs that are not built
};

// A build constraint, "//go:build linux && !cgo": whether it holds where apps are built. Tags that
// are not known here, such as "ignore", are not given to the build.
class BuildConstraint {
 public:
  explicit BuildConstraint(std::string_view expression) : rest_(expression) {}
  bool holds() { return either(0); }

 private:
  // Parentheses in each other, so that a stranger's line does not fill the stack.
  static constexpr int k_depth_max = 64;

  bool takes(std::string_view mark) {
    rest_.remove_prefix(std::min(rest_.find_first_not_of(" \t"), rest_.size()));
    if (!rest_.starts_with(mark)) return false;
    rest_.remove_prefix(mark.size());
    return true;
  }
  bool either(int depth) {
    bool result = both(depth);
    while (takes("||")) result = both(depth) || result;
    return result;
  }
  bool both(int depth) {
    bool result = one(depth);
    while (takes("&&")) result = one(depth) && result;
    return result;
  }
  bool one(int depth) {
    bool is_meant = true;
    while (takes("!")) is_meant = !is_meant;
    bool result = false;
    if (depth < k_depth_max && takes("(")) {
      result = either(depth + 1);
      takes(")");
    } else {
      const auto end = std::min(rest_.find_first_of(" \t()!&|"), rest_.size());
      result = is_given(rest_.substr(0, end));
      rest_.remove_prefix(end);
    }
    return result == is_meant;
  }
  static bool is_given(std::string_view tag) {
    constexpr std::string_view k_tags[] = {"linux", "amd64", "unix", "gc"};
    return tag.starts_with("go1.") ||
           std::find(std::begin(k_tags), std::end(k_tags), tag) != std::end(k_tags);
  }

  std::string_view rest_;
};

// The older form: "// +build linux,amd64 !cgo" means (linux && amd64) || !cgo.
std::string constraint_of_comment(std::string_view words) {
  std::string expression;
  for (const char c : trimmed(words)) {
    if (c == ',') {
      expression += " && ";
    } else if (c == ' ' || c == '\t') {
      expression += " || ";
    } else {
      expression += c;
    }
  }
  return expression;
}

// A file that a build leaves out makes no program.
bool is_main_package(const std::string& text) {
  constexpr std::string_view k_constraint = "//go:build ";
  constexpr std::string_view k_older = "// +build ";
  for (const auto& line : lines_of(text)) {
    const std::string_view whole = line;
    if (line.starts_with(k_constraint)) {
      if (!BuildConstraint(whole.substr(k_constraint.size())).holds()) return false;
    } else if (line.starts_with(k_older)) {
      const auto expression = constraint_of_comment(whole.substr(k_older.size()));
      if (!BuildConstraint(expression).holds()) return false;
    }
    if (line.starts_with("package ")) {
      return line == "package main" || line.starts_with("package main ");
    }
  }
  return false;
}

bool has_main(const SourceTree& tree, const std::string& folder) {
  const std::string usual = folder.empty() ? "main.go" : folder + "/main.go";
  if (is_main_package(text_or_nothing(tree, usual))) return true;
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

// "web" of "example.org/web/v2": what stands last but a major version.
std::string name_of_module(const std::string& path) {
  const auto last = last_part(path);
  const bool is_version = last.size() > 1 && last.front() == 'v' &&
                          last.find_first_not_of("0123456789", 1) == std::string::npos;
  if (!is_version || last.size() == path.size()) return last;
  return last_part(path.substr(0, path.size() - last.size() - 1));
}

// The folders of cmd/ with a program: the one named like the module first, then the usual names of
// what serves.
// `parent` is the module's folder, "" or with a slash at its end.
std::optional<GoTarget> command_target(const SourceTree& tree, const std::string& parent,
                                       const std::string& module, const std::string& program) {
  std::vector<std::string> found;
  const std::string folder = parent + "cmd";
  for (const auto& name : tree.list(folder)) {
    if (is_plain_word(name) && has_main(tree, folder + "/" + name)) found.push_back(name);
  }
  if (found.empty()) {
    if (!has_main(tree, folder)) return std::nullopt;
    return GoTarget{"./" + folder, program, folder, {}};
  }
  std::string chosen = found.front();
  for (const std::string& usual : {std::string("app"), std::string("api"), std::string("web"),
                                   std::string("server"), module}) {
    if (std::find(found.begin(), found.end(), usual) != found.end()) chosen = usual;
  }
  GoTarget target{"./" + folder + "/" + chosen, chosen, folder + "/" + chosen, {}};
  for (const auto& name : found) {
    if (name != chosen) target.others.push_back(folder + "/" + name);
  }
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
    while (line.ends_with('/')) line.pop_back();
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
  if (auto command = command_target(input.tree, "", module, program)) return command;
  for (const auto& folder : workspace_modules(workspace)) {
    const auto name = last_part(folder);
    if (has_main(input.tree, folder)) {
      return GoTarget{"./" + folder, name, folder + " of go.work", {}};
    }
    if (auto command = command_target(input.tree, folder + "/", name, name)) return command;
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
  const auto target = find_target(input, name_of_module(path), work_file.value_or(""));
  if (!target) {
    return Offer(
        CannotStart{"there is no package main in its root, in cmd/NAME or in a module of "
                    "go.work: add one"});
  }
  Plan plan;
  plan.provider = "go";
  plan.reason = input.in_place(seen) + ", built from " + target->why;
  for (const auto& other : target->others) {
    plan.notices.push_back(other + " is not built: " + target->why +
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
  add_install(build, input, cached_run("", {"/cache"}));
  add_build(build, input,
            cached_run("go build -trimpath -ldflags='-s -w' -o " + program + " " + target->path,
                       {"/cache"}));
  const bool is_detected = input.choice.build_command.empty();
  build.steps.push_back(
      RunStep{is_detected ? gather_libraries(program) : gather_all_libraries(), {}});
  plan.ignored = {".git"};
  plan.stages.push_back(std::move(build));
  plan.stages.push_back(compiled_app_stage(input));
  if (!set_start(plan, input, "/app/bin/" + target->program, "")) return Offer(CannotStart{});
  return Offer(std::move(plan));
}

}  // namespace atlasflow::builder
