#include "builder/stack/detect.hpp"

#include <optional>
#include <utility>

#include <nlohmann/json.hpp>

#include "builder/source/source_file.hpp"

namespace atlasflow::builder {
namespace {

constexpr std::size_t k_dockerfile_bytes_max = 1U << 20U;
constexpr std::size_t k_package_bytes_max = 4U << 20U;
constexpr std::size_t k_ignore_bytes_max = 1U << 20U;
constexpr std::size_t k_page_bytes_max = 64U << 20U;

struct Package {
  bool has_start = false;
  bool has_dependencies = false;  // that are needed to run, not only to develop
};

Result<Package> parse_package(const std::string& text) {
  const auto json = nlohmann::json::parse(text, nullptr, false);
  if (!json.is_object()) {
    return fail(ErrorCode::user_error, "package.json is not valid JSON; npm pkg fix may repair it");
  }
  const auto has_entries = [&json](const char* key) {
    const auto found = json.find(key);
    return found != json.end() && found->is_object() && !found->empty();
  };
  Package package;
  const auto scripts = json.find("scripts");
  if (scripts != json.end() && scripts->is_object()) {
    const auto start = scripts->find("start");
    package.has_start = start != scripts->end() && start->is_string() &&
                        !start->get_ref<const std::string&>().empty();
  }
  package.has_dependencies = has_entries("dependencies") || has_entries("optionalDependencies");
  return package;
}

// Dependencies in a layer of their own, so that a push that changes only the code reuses it. The
// app runs as a number, not a name: the base may not have a user, and 65534 owns nothing.
std::string node_dockerfile(const std::string& base, const Package& package,
                            const std::optional<std::string>& lock_file, bool has_npmrc) {
  std::string text = "FROM " + base + "\n";
  text += "ENV NODE_ENV=production PORT=3000 NPM_CONFIG_UPDATE_NOTIFIER=false HOME=/tmp\n";
  text += "WORKDIR /app\n";
  if (package.has_dependencies) {
    text += "COPY package.json " + (lock_file ? *lock_file + " " : std::string{}) +
            (has_npmrc ? ".npmrc " : "") + "./\n";
    text += std::string("RUN npm ") + (lock_file ? "ci" : "install") +
            " --omit=dev --no-audit --no-fund\n";
  }
  text += "COPY . .\n";
  text += "USER 65534:65534\n";
  text += "EXPOSE 3000\n";
  text += "CMD [\"npm\", \"start\"]\n";
  return text;
}

// busybox's httpd: 2 MB, one process, no configuration that a site could get wrong; it serves
// index.html, ranges and the usual types, which is all that a folder of files needs. Compression
// and caching are the edge's work.
std::string static_dockerfile(const std::string& base, bool has_error_page) {
  std::string text = "FROM " + base + "\n";
  text += "WORKDIR /srv\n";
  text += "COPY . /srv\n";
  text += std::string("RUN mkdir -p /etc && printf 'I:index.html\\n") +
          (has_error_page ? "E404:/srv/404.html\\n" : "") + "' > /etc/httpd.conf\n";
  text += "USER 65534:65534\n";
  text += "EXPOSE 3000\n";
  text +=
      "CMD [\"busybox\", \"httpd\", \"-f\", \"-p\", \"3000\", \"-h\", \"/srv\", \"-c\", "
      "\"/etc/httpd.conf\"]\n";
  return text;
}

class Detection {
 public:
  Detection(const std::filesystem::path& folder, const StackBases& bases, const StackChoice& choice)
      : folder_(folder),
        bases_(bases),
        dockerfile_(choice.dockerfile),
        where_(choice.root_folder.empty() ? "the root folder" : choice.root_folder) {}

  Result<Stack> run() {
    const std::string name = dockerfile_.empty() ? "Dockerfile" : dockerfile_;
    auto dockerfile = read_source_file(folder_, name, k_dockerfile_bytes_max);
    if (!dockerfile) return tl::unexpected(dockerfile.error());
    if (*dockerfile) {
      return finish({"dockerfile", name + " in " + where_, std::move(**dockerfile), {}}, {});
    }
    if (!dockerfile_.empty()) {
      return fail(ErrorCode::user_error, "there is no file " + dockerfile_ + " in " + where_ +
                                             ", which the setting dockerfile names");
    }
    auto package_text = read_source_file(folder_, "package.json", k_package_bytes_max);
    if (!package_text) return tl::unexpected(package_text.error());
    const bool has_page = has("index.html");
    if (*package_text) {
      auto package = parse_package(**package_text);
      if (!package) return tl::unexpected(package.error());
      if (package->has_start) return node(*package);
      if (!has_page) {
        return fail(ErrorCode::user_error,
                    "package.json has no start script: add \"scripts\": {\"start\": \"node "
                    "server.js\"} to it, or a Dockerfile to " +
                        where_);
      }
    }
    if (has_page) return static_site(package_text->has_value());
    return fail(
        ErrorCode::user_error,
        "nothing to build in " + where_ +
            ": looked for Dockerfile, package.json with a start script and index.html; add one of "
            "them");
  }

 private:
  Result<Stack> node(const Package& package) {
    std::optional<std::string> lock_file;
    for (const char* name : {"npm-shrinkwrap.json", "package-lock.json"}) {
      if (!lock_file && has(name)) lock_file = name;
    }
    std::string reason = "package.json with a start script in " + where_;
    if (package.has_dependencies) {
      reason +=
          lock_file ? ", dependencies from " + *lock_file : ", dependencies without a lock file";
    }
    return finish({"node",
                   std::move(reason),
                   node_dockerfile(bases_.node, package, lock_file, has(".npmrc")),
                   {}},
                  "node_modules\n.git\nnpm-debug.log\n");
  }

  Result<Stack> static_site(bool has_package) {
    return finish({"static",
                   has_package ? "index.html, and package.json without a start script"
                               : "index.html in " + where_,
                   static_dockerfile(bases_.static_site, has("404.html")),
                   {}},
                  ".*\n!.well-known\nnode_modules\n");
  }

  Result<Stack> finish(Stack stack, std::string ignore) {
    stack.ignore = std::move(ignore);
    // The order in which buildah looks for them.
    for (const char* name : {".containerignore", ".dockerignore"}) {
      auto text = read_source_file(folder_, name, k_ignore_bytes_max);
      if (!text) return tl::unexpected(text.error());
      if (*text) {
        stack.ignore = std::move(**text);
        break;
      }
    }
    return stack;
  }

  // A file that is too large to be read is there all the same.
  bool has(const std::string& name) {
    const auto text = read_source_file(folder_, name, k_page_bytes_max);
    return !text || text->has_value();
  }

  const std::filesystem::path& folder_;
  const StackBases& bases_;
  const std::string& dockerfile_;
  const std::string where_;
};

}  // namespace

Result<Stack> detect_stack(const std::filesystem::path& folder, const StackBases& bases,
                           const StackChoice& choice) {
  return Detection(folder, bases, choice).run();
}

}  // namespace atlasflow::builder
