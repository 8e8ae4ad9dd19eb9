#include "builder/stack/detect.hpp"

#include <optional>
#include <utility>

#include "builder/stack/dockerfile_lines.hpp"
#include "builder/stack/ecosystems.hpp"
#include "builder/stack/node.hpp"
#include "builder/stack/render.hpp"
#include "builder/stack/static_site.hpp"

namespace atlasflow::builder {
namespace {

constexpr std::size_t k_dockerfile_bytes_max = 1U << 20U;
constexpr std::size_t k_package_bytes_max = 4U << 20U;
constexpr std::size_t k_ignore_bytes_max = 1U << 20U;

class Detection {
 public:
  Detection(const SourceTree& tree, const StackBases& bases, const StackChoice& choice)
      : tree_(tree), bases_(bases), choice_(choice), where_(place_of(choice)) {}

  Result<Stack> run() {
    ATLAS_TRY(auto dockerfile, own_dockerfile());
    if (dockerfile) return std::move(*dockerfile);
    ATLAS_TRY(auto text, tree_.read("package.json", k_package_bytes_max));
    std::optional<PackageJson> package;
    if (text) {
      ATLAS_TRY(auto parsed, parse_package_json(*text, in_root("package.json")));
      package = std::move(parsed);
    }
    const bool chose_static = !choice_.static_folder.empty();
    if (package && !chose_static) {
      ATLAS_TRY(auto start, find_node_start(tree_, *package));
      if (start) {
        return finish(plan_node(tree_, *package, *start, bases_, choice_, secrets_));
      }
    }
    if (const auto known = find_ecosystem(tree_); known && !chose_static) {
      return tl::unexpected(needs_dockerfile(*known));
    }
    if (package && build_script_of(*package) != nullptr) {
      return finish(plan_built_site(tree_, *package, bases_, choice_, secrets_));
    }
    if (const auto folder = find_site_folder(tree_, choice_)) return static_site(*folder, package);
    if (package) return tl::unexpected(nothing_to_start());
    return tl::unexpected(nothing_found());
  }

 private:
  [[nodiscard]] std::string in_root(const std::string& name) const {
    return choice_.root_folder.empty() ? name : choice_.root_folder + "/" + name;
  }

  Result<std::optional<Stack>> own_dockerfile() {
    const bool is_elsewhere = choice_.dockerfile.starts_with('/');
    const SourceTree& tree = is_elsewhere ? repository() : tree_;
    std::vector<std::string> names = {choice_.dockerfile.substr(is_elsewhere ? 1 : 0)};
    if (choice_.dockerfile.empty()) names = own_names();
    for (const auto& name : names) {
      ATLAS_TRY(auto text, tree.read(name, k_dockerfile_bytes_max));
      if (!text) continue;
      Stack stack;
      stack.name = "dockerfile";
      stack.reason = name + " in " + (is_elsewhere ? "the repository, for " : "") + where_;
      stack.dockerfile = std::move(*text);
      stack.dockerfile_name = name;
      // That of one Dockerfile, beside it, wins over those of all, in the root of the context.
      auto ignore = own_ignore_file(tree, {name + ".containerignore", name + ".dockerignore"});
      if (ignore && !*ignore) ignore = own_ignore_file(tree_, general_ignore_files());
      if (!ignore) return tl::unexpected(ignore.error());
      stack.ignore = ignore->value_or("");
      return std::optional(std::move(stack));
    }
    if (choice_.dockerfile.empty()) return std::optional<Stack>{};
    return fail(ErrorCode::user_error, "there is no file " + names.front() + " in " +
                                           (is_elsewhere ? "the repository" : where_) +
                                           ", which the setting dockerfile names" +
                                           (is_elsewhere ? "" : hint_of_repository(names)));
  }

  static std::vector<std::string> own_names() {
    return {"Dockerfile", "Containerfile", "dockerfile"};
  }
  // The order in which buildah looks for them.
  static std::vector<std::string> general_ignore_files() {
    return {".containerignore", ".dockerignore"};
  }

  [[nodiscard]] const SourceTree& repository() const {
    return choice_.repository == nullptr ? tree_ : *choice_.repository;
  }

  // Of a Dockerfile that the repository has and the root folder has not.
  [[nodiscard]] std::string hint_of_repository(const std::vector<std::string>& names) const {
    if (choice_.root_folder.empty()) return "";
    for (const auto& name : names) {
      if (!repository().has_file(name)) continue;
      return "; the repository has one at its root: dockerfile=/" + name + " uses that, and " +
             where_ + " is what its build sees";
    }
    return "";
  }

  static Result<std::optional<std::string>> own_ignore_file(const SourceTree& tree,
                                                            const std::vector<std::string>& names) {
    for (const auto& name : names) {
      auto text = tree.read(name, k_ignore_bytes_max);
      if (!text || *text) return text;
    }
    return std::optional<std::string>{};
  }

  Result<Stack> static_site(const std::string& folder, const std::optional<PackageJson>& package) {
    std::string why;
    if (!choice_.static_folder.empty()) {
      why = "the setting static.folder is " + folder;
      if (folder != "." && tree_.list(folder).empty()) {
        return fail(ErrorCode::user_error, "there is no folder " + folder + " in " + where_ +
                                               ", which the setting static.folder names");
      }
    } else if (package) {
      why = "index.html, and package.json without a start script";
    } else {
      why = (folder == "." ? "index.html in " : folder + "/index.html in ") + where_;
    }
    return finish(plan_static_site(folder, why, choice_));
  }

  Result<Stack> finish(Result<Plan> plan) {
    if (!plan) return tl::unexpected(plan.error());
    ATLAS_TRY(auto ignore, own_ignore_file(tree_, general_ignore_files()));
    Stack stack;
    stack.name = plan->provider;
    stack.reason = plan->reason;
    stack.dockerfile = render_dockerfile(*plan, {choice_.has_ca_certificate});
    stack.ignore = render_ignore(*plan, ignore);
    stack.versions = std::move(plan->versions);
    stack.base_images = std::move(plan->base_images);
    stack.start = std::move(plan->start);
    stack.notices = std::move(plan->notices);
    stack.secrets = std::move(secrets_);
    stack.needs_static_server = plan->needs_static_server;
    stack.unmet = std::move(plan->unmet);
    return stack;
  }

  [[nodiscard]] Error needs_dockerfile(const Ecosystem& known) const {
    return {ErrorCode::user_error,
            "this looks like " + known.name + " (" + known.seen + " in " + where_ +
                "), which needs a Dockerfile: add one that begins with 'FROM " + known.image +
                "' and ends with, for example, '" + known.start + "', listening on $PORT (3000)" +
                dockerfile_elsewhere(),
            {}};
  }

  [[nodiscard]] Error nothing_to_start() const {
    return {ErrorCode::user_error,
            in_root("package.json") +
                " has no start script, no main and no build script, and there is no server.js or "
                "index.js: add \"scripts\": {\"start\": \"node server.js\"} to it, or a Dockerfile "
                "to " +
                where_ + dockerfile_elsewhere(),
            {}};
  }

  // "There is a docker/Containerfile: …", of what has the name of a Dockerfile and is none that is
  // looked for, in the root folder or in one in it.
  [[nodiscard]] std::string dockerfile_elsewhere() const {
    for (const auto& name : tree_.list("")) {
      if (is_like_dockerfile(name) && tree_.has_file(name)) {
        return ". There is a file " + name + ": dockerfile=" + name + " builds by it";
      }
    }
    for (const auto& folder : tree_.list("")) {
      if (folder == ".git") continue;
      for (const auto& name : tree_.list(folder)) {
        if (!is_like_dockerfile(name) || !tree_.has_file(folder + "/" + name)) continue;
        const bool is_usual = name == own_names().front();
        return ". There is a file " + in_root(folder) + "/" + name + ": dockerfile=" + folder +
               "/" + name + " builds " + where_ + " by it" +
               (is_usual ? ", root_folder=" + in_root(folder) + " that folder alone" : "");
      }
    }
    return "";
  }

  static bool is_like_dockerfile(const std::string& name) {
    const auto lower = lower_case(name);
    const bool is_ignore_file = lower.ends_with("ignore");
    return !is_ignore_file &&
           (lower.starts_with("dockerfile") || lower.starts_with("containerfile") ||
            lower.ends_with(".dockerfile") || lower.ends_with(".containerfile"));
  }

  [[nodiscard]] Error nothing_found() const {
    std::string seen = dockerfile_elsewhere();
    for (const auto& folder : tree_.list("")) {
      for (const char* name : {"package.json", "index.html"}) {
        if (!seen.empty() || folder.front() == '.' || !tree_.has_file(folder + "/" + name))
          continue;
        seen = ". There is a " + std::string(name) + " in " + in_root(folder) +
               ": root_folder=" + in_root(folder) + " builds that";
      }
    }
    return {ErrorCode::user_error,
            "nothing to build in " + where_ +
                ": looked for Dockerfile, Containerfile, package.json, index.html (also in public "
                "and dist) and the files of other languages; add a Dockerfile, or an index.html" +
                seen + hint_of_repository(own_names()),
            {}};
  }

  const SourceTree& tree_;
  const StackBases& bases_;
  const StackChoice& choice_;
  const std::string where_;
  std::map<std::string, std::string> secrets_;
};

}  // namespace

std::string place_of(const StackChoice& choice) {
  return choice.root_folder.empty() ? "the root folder" : choice.root_folder;
}

Result<Stack> detect_stack(const SourceTree& tree, const StackBases& bases,
                           const StackChoice& choice) {
  return Detection(tree, bases, choice).run();
}

Result<Stack> detect_stack(const std::filesystem::path& folder, const StackBases& bases,
                           const StackChoice& choice) {
  return detect_stack(FolderTree(folder), bases, choice);
}

}  // namespace atlasflow::builder
