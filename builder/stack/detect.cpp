#include "builder/stack/detect.hpp"

#include <algorithm>
#include <cctype>
#include <optional>
#include <sstream>
#include <utility>

#include "builder/stack/dockerfile_lines.hpp"
#include "builder/stack/ecosystems.hpp"
#include "builder/stack/ignore_file.hpp"
#include "builder/stack/provider.hpp"
#include "builder/stack/render.hpp"

namespace atlasflow::builder {
namespace {

constexpr std::size_t k_dockerfile_bytes_max = 1U << 20U;
constexpr std::size_t k_ignore_bytes_max = 1U << 20U;
// Names in a folder beyond which no folder among them is looked into.
constexpr std::size_t k_looked_into_max = 512;
// Folders that hold no app whatever is in them.
constexpr std::string_view k_no_apps[] = {"node_modules", "vendor", "docs", "doc",
                                          "test",         "tests",  "spec", "examples"};

// Words of their own where nothing needs a shell, since an image may have none; else a line for sh.
std::vector<std::string> start_of_image(const std::string& command) {
  constexpr std::string_view k_plain = "_./:@%+,=- ";
  constexpr std::string_view k_shells_own[] = {
      "exec",  "cd", ".",   "source", "eval", "export", "set",   "trap", "ulimit",
      "umask", "if", "for", "test",   "wait", "while",  "until", "case", "command"};
  const bool is_plain = std::all_of(command.begin(), command.end(), [&](unsigned char c) {
    return (c < 0x80 && std::isalnum(c) != 0) || k_plain.find(static_cast<char>(c)) != k_plain.npos;
  });
  std::vector<std::string> words;
  std::istringstream text(command);
  for (std::string word; text >> word;) words.push_back(std::move(word));
  const bool is_programs = is_plain && !words.empty() && words[0].find('=') == std::string::npos &&
                           std::find(std::begin(k_shells_own), std::end(k_shells_own), words[0]) ==
                               std::end(k_shells_own);
  if (is_programs) return words;
  return {"/bin/sh", "-c", command};
}

class Detection {
 public:
  Detection(const SourceTree& tree, const StackBases& bases, const StackChoice& choice)
      : tree_(tree),
        bases_(bases),
        choice_(choice),
        where_(place_of(choice)),
        names_(tree_.list("")) {}

  Result<Stack> run() {
    ATLAS_TRY(auto dockerfile, own_dockerfile());
    if (dockerfile) return std::move(*dockerfile);
    ATLAS_TRY(auto start, named_start());
    ProviderInput input{tree_, names_, bases_, choice_, std::move(start), secrets_};
    const bool chose_static = !choice_.static_folder.empty();
    std::optional<Error> refusal;  // of the first that matched and could not be started
    for (const auto& provider : providers()) {
      const bool is_site = provider.plan == plan_static;
      const auto seen =
          chose_static && is_site ? "static.folder" : seen_of(provider, tree_, names_);
      if (seen.empty() || (chose_static && !is_site && provider.plan != plan_node)) continue;
      if (is_site && !chose_static) {
        // The sources of a program are not shown to everybody because a page lies beside them.
        if (const auto known = find_ecosystem(tree_)) return needs_dockerfile(*known);
        if (refusal && !refused_node_only_) continue;
      }
      ATLAS_TRY(auto offer, provider.plan(input, seen));
      if (auto* plan = std::get_if<Plan>(&offer)) return finish(std::move(*plan));
      const auto& lack = std::get<CannotStart>(offer).lack;
      if (lack.empty() || (refusal && !refused_node_only_)) continue;
      refused_node_only_ = provider.plan == plan_node;
      refusal = cannot_start(provider, seen, lack);
    }
    if (const auto known = find_ecosystem(tree_); known && !chose_static) {
      return needs_dockerfile(*known);
    }
    if (refusal) return tl::unexpected(std::move(*refusal));
    return in_one_folder();
  }

 private:
  [[nodiscard]] Result<std::optional<StartCommand>> named_start() const {
    if (choice_.start_command.empty()) return procfile_start(tree_);
    return StartCommand{choice_.start_command, "the setting start_command"};
  }

  [[nodiscard]] std::string in_root(const std::string& name) const {
    return choice_.root_folder.empty() ? name : choice_.root_folder + "/" + name;
  }

  [[nodiscard]] std::vector<std::string> looked_into() const {
    return names_.size() > k_looked_into_max ? std::vector<std::string>{} : names_;
  }

  // What is one level down, when that is one app.
  Result<Stack> in_one_folder() {
    if (!dockerfile_elsewhere().empty()) return tl::unexpected(nothing_found(""));
    std::vector<std::string> matching;
    std::string told;
    for (const auto& folder : looked_into()) {
      const bool is_no_app =
          folder.front() == '.' ||
          std::find(std::begin(k_no_apps), std::end(k_no_apps), folder) != std::end(k_no_apps);
      if (is_no_app) continue;
      const auto names = tree_.list(folder);
      const SubTree part(tree_, folder);
      for (const auto& provider : providers()) {
        const auto seen = seen_of(provider, part, names);
        // A folder of that name alone says nothing of the folder around it.
        if (seen.empty() || seen == "public" || seen == "dist") continue;
        matching.push_back(folder);
        told += (told.empty() ? "" : ", ") + in_root(folder) + " (" + provider.title + ", " + seen +
                ")";
        break;
      }
    }
    if (matching.size() != 1) return tl::unexpected(nothing_found(told));
    const std::string& folder = matching.front();
    const SubTree part(tree_, folder);
    StackChoice choice = choice_;
    choice.root_folder = in_root(folder);
    choice.repository = &repository();
    ATLAS_TRY(auto stack, Detection(part, bases_, choice).run());
    if (!stack.folder.empty()) return tl::unexpected(nothing_found(""));
    stack.folder = folder;
    return stack;
  }

  Result<std::optional<Stack>> own_dockerfile() {
    const bool is_elsewhere = choice_.dockerfile.starts_with('/');
    const SourceTree& tree = is_elsewhere ? repository() : tree_;
    std::vector<std::string> names = {choice_.dockerfile.substr(is_elsewhere ? 1 : 0)};
    if (choice_.dockerfile.empty()) names = own_names();
    for (const auto& name : names) {
      ATLAS_TRY(auto text, tree.read(name, k_dockerfile_bytes_max));
      if (!text && is_dead_link(tree, name)) {
        return fail(
            ErrorCode::user_error,
            name + " in " + (is_elsewhere ? "the repository" : where_) +
                " is a link that leads out of it, or to nothing: put the file itself there");
      }
      if (!text) continue;
      Stack stack;
      stack.name = "dockerfile";
      stack.reason = name + " in " + (is_elsewhere ? "the repository, for " : "") + where_;
      stack.dockerfile = std::move(*text);
      stack.dockerfile_name = name;
      // That of one Dockerfile, beside it, wins over those of all, in the root of the context.
      ATLAS_TRY(auto ignore,
                own_ignore_file(tree, {name + ".containerignore", name + ".dockerignore"}));
      if (!ignore) {
        ATLAS_TRY(ignore, own_ignore_file(tree_, general_ignore_files()));
      }
      stack.ignore = ignore.value_or("");
      if (!choice_.start_command.empty()) {
        stack.start = start_of_image(choice_.start_command);
        stack.reason += ", started by the setting start_command";
      }
      for (const auto& [setting, command] : own_steps()) {
        if (command.empty()) continue;
        stack.notices.push_back(std::string(setting) +
                                " is not used, since there is a Dockerfile: "
                                "a RUN step in it does what the command does");
      }
      return std::optional(std::move(stack));
    }
    if (choice_.dockerfile.empty()) return std::optional<Stack>{};
    return fail(ErrorCode::user_error, "there is no file " + names.front() + " in " +
                                           (is_elsewhere ? "the repository" : where_) +
                                           ", which the setting dockerfile names" +
                                           (is_elsewhere ? "" : hint_of_repository(names)));
  }

  // There, and neither a file nor a folder.
  static bool is_dead_link(const SourceTree& tree, const std::string& name) {
    const auto slash = name.rfind('/');
    const auto names = tree.list(slash == std::string::npos ? "" : name.substr(0, slash));
    return std::binary_search(names.begin(), names.end(), name.substr(slash + 1)) &&
           tree.list(name).empty();
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
      ATLAS_TRY(const auto text, tree.read(name, k_ignore_bytes_max));
      if (!text) continue;
      return plain_ignore_file(*text, name).map([](std::string plain) {
        return std::optional(std::move(plain));
      });
    }
    return std::optional<std::string>{};
  }

  [[nodiscard]] std::vector<std::pair<const char*, std::string>> own_steps() const {
    return {{"install_command", choice_.install_command}, {"build_command", choice_.build_command}};
  }

  // A static site has no shell, and files that are served as they are have no stage that builds.
  [[nodiscard]] Result<void> check_own_commands(const Plan& plan) const {
    if (plan.provider != "static") return {};
    if (!choice_.start_command.empty()) {
      return fail(ErrorCode::user_error,
                  "start_command is set, and this is a static site (" + plan.reason +
                      "), which starts nothing of its own: take start_command away, or add a "
                      "Dockerfile that has what it needs");
    }
    for (const auto& [setting, command] : own_steps()) {
      if (command.empty() || plan.stages.size() > 1) continue;
      return fail(ErrorCode::user_error,
                  std::string(setting) + " is set, and these files are served as they are (" +
                      plan.reason +
                      "): take it away, or add a package.json, with which Node runs "
                      "it, or a Dockerfile");
    }
    return {};
  }

  Result<Stack> finish(Plan plan) {
    ATLAS_TRYV(check_own_commands(plan));
    for (const auto& [setting, command] : own_steps()) {
      const bool is_build = std::string_view(setting) == "build_command";
      if (command.empty()) continue;
      plan.reason +=
          std::string(is_build ? ", built" : ", installed") + " by the setting " + setting;
    }
    ATLAS_TRY(const auto ignore, own_ignore_file(tree_, general_ignore_files()));
    Stack stack;
    stack.name = plan.provider;
    stack.reason = plan.reason;
    stack.dockerfile = render_dockerfile(plan, {choice_.has_ca_certificate, choice_.secrets});
    stack.ignore = render_ignore(plan, ignore);
    stack.base_images = images_of(plan);
    stack.install = choice_.install_command;
    stack.build = choice_.build_command;
    stack.versions = std::move(plan.versions);
    stack.start = std::move(plan.start);
    stack.notices = std::move(plan.notices);
    if (has_release_process(tree_)) {
      stack.notices.emplace_back(
          "the release process of Procfile is not run by itself: the setting release_command is "
          "run before each version gets traffic");
    }
    for (const auto& name : names_) {
      const bool is_meant = is_like_dockerfile(name) && lower_case(name) == "dockerfile";
      if (!is_meant || !tree_.has_file(name)) continue;
      stack.notices.push_back("the file " + name + " is not used, since only Dockerfile is by " +
                              "itself: rename it, or set dockerfile=" + name);
    }
    stack.secrets = std::move(secrets_);
    stack.needs_static_server = plan.needs_static_server;
    stack.unmet = std::move(plan.unmet);
    stack.has_fallback = plan.has_fallback;
    return stack;
  }

  [[nodiscard]] tl::unexpected<Error> needs_dockerfile(const Ecosystem& known) const {
    return fail(ErrorCode::user_error,
                "this looks like " + known.name + " (" + known.seen + " in " + where_ +
                    "), which needs a Dockerfile: add one that begins with 'FROM " + known.image +
                    "' and ends with, for example, '" + known.start +
                    "', listening on $PORT (3000)" + dockerfile_elsewhere());
  }

  [[nodiscard]] Error cannot_start(const Provider& provider, const std::string& seen,
                                   const std::string& lack) const {
    return {ErrorCode::user_error,
            std::string("this looks like ") + provider.title + " (" + seen + " in " + where_ +
                "), and nothing says how it is started: " + lack +
                "; or name the command in a Procfile, 'web: COMMAND', listening on $PORT (3000); "
                "or add a Dockerfile to " +
                where_ + dockerfile_elsewhere(),
            {}};
  }

  // "There is a docker/Containerfile: …", of what has the name of a Dockerfile and is none that is
  // looked for, in the root folder or in one in it.
  [[nodiscard]] std::string dockerfile_elsewhere() const {
    for (const auto& name : names_) {
      if (is_like_dockerfile(name) && tree_.has_file(name)) {
        return ". There is a file " + name + ": dockerfile=" + name + " builds by it";
      }
    }
    for (const auto& folder : looked_into()) {
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
    // Most names are neither, and tell it by one letter.
    const auto is_letter = [](char c, char letter) { return c == letter || c == letter - 32; };
    const bool may_be =
        is_letter(name.front(), 'd') || is_letter(name.front(), 'c') || is_letter(name.back(), 'e');
    if (!may_be) return false;
    const auto lower = lower_case(name);
    const bool is_ignore_file = lower.ends_with("ignore");
    return !is_ignore_file &&
           (lower.starts_with("dockerfile") || lower.starts_with("containerfile") ||
            lower.ends_with(".dockerfile") || lower.ends_with(".containerfile"));
  }

  // `folders`: those in it that could be built, as far as there are several.
  [[nodiscard]] Error nothing_found(const std::string& folders) const {
    std::string looked_for = "Dockerfile, Containerfile";
    for (const auto& provider : providers()) {
      for (const char* trigger : provider.triggers) looked_for += std::string(", ") + trigger;
    }
    return {ErrorCode::user_error,
            "nothing to build in " + where_ + ": looked for " + looked_for + "; " +
                (folders.empty()
                     ? "add a Dockerfile, two lines that begin with 'FROM ' and 'CMD ', or an "
                       "index.html"
                     : "there are several folders that could be built, " + folders +
                           ": root_folder=NAME chooses one") +
                dockerfile_elsewhere() + hint_of_repository(own_names()),
            {}};
  }

  const ListedTree tree_;
  const StackBases& bases_;
  const StackChoice& choice_;
  const std::string where_;
  const std::vector<std::string> names_;  // in the folder
  std::map<std::string, std::string> secrets_;
  bool refused_node_only_ = false;
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
