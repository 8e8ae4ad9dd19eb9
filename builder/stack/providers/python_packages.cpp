#include "builder/stack/providers/python_packages.hpp"

#include <algorithm>
#include <cctype>

#include "builder/stack/source_text.hpp"
#include "builder/stack/version_files.hpp"
#include "builder/stack/version_range.hpp"

namespace atlasflow::builder {
namespace {

using nlohmann::json;

// "Flask_Cors[async]>=4; python_version…" is flask-cors (PEP 503); empty: it begins with no name.
std::string package_name(std::string_view line) {
  std::string name;
  for (const unsigned char c : line) {
    if (std::isalnum(c) != 0) {
      name += static_cast<char>(std::tolower(c));
    } else if (c == '-' || c == '_' || c == '.') {
      name += '-';
    } else {
      break;
    }
  }
  return name;
}

// "uvicorn" comes with "fastapi[standard]".
void add_requirement(PythonPackages& packages, const std::string& requirement) {
  const auto name = package_name(requirement);
  if (name.empty()) return;
  packages.names.insert(name);
  const auto open = requirement.find('[');
  const auto extras =
      open == std::string::npos ? "" : requirement.substr(open, requirement.find(']', open) - open);
  if (name == "fastapi" &&
      (extras.find("standard") != std::string::npos || extras.find("all") != std::string::npos)) {
    packages.names.insert("uvicorn");
  }
}

// Another file, a folder or an archive of the repository: "-r base.txt", "-e .", "vendor/x",
// "x.whl".
bool is_local_requirement(const std::string& line) {
  for (const char* option :
       {"-r", "-c", "-e", "--requirement", "--constraint", "--editable", "--find-links", "-f"}) {
    if (line.starts_with(option)) return true;
  }
  if (line.front() == '-') return false;
  const auto what = trimmed(line.substr(0, std::min(line.find(" #"), line.find(';'))));
  const bool is_remote = what.find("://") != std::string::npos;
  const bool is_path = what.find('/') != std::string::npos || what.ends_with(".whl") ||
                       what.ends_with(".zip") || what.ends_with(".tar.gz");
  return what.starts_with('.') || what.find("file:") != std::string::npos ||
         (is_path && !is_remote);
}

void read_requirements(const std::string& text, PythonPackages& packages) {
  for (const auto& line : lines_of(text)) {
    if (line.empty() || line.front() == '#') continue;
    if (is_local_requirement(line)) packages.needs_sources = true;
    if (line.front() != '-') add_requirement(packages, line);
  }
}

void read_list(const json& list, PythonPackages& packages) {
  if (!list.is_array()) return;
  for (const auto& entry : list) {
    if (entry.is_string()) add_requirement(packages, entry.get<std::string>());
  }
}

void read_keys(const json& table, PythonPackages& packages) {
  if (!table.is_object()) return;
  for (const auto& [name, value] : table.items()) packages.names.insert(package_name(name));
}

// {path = "../x"}, {workspace = true}, "x @ file:…": a folder or an archive of the repository.
bool is_local(const json& spec) {
  if (spec.is_array()) return std::any_of(spec.begin(), spec.end(), is_local);
  if (spec.is_string()) return spec.get<std::string>().find("file:") != std::string::npos;
  if (!spec.is_object()) return false;
  const auto file = text_at(spec, {"file"});
  return spec.contains("path") || spec.contains("workspace") || spec.contains("editable") ||
         (!file.empty() && file.find("://") == std::string::npos);
}

bool has_local(const json& specs) {
  return specs.is_object() && std::any_of(specs.begin(), specs.end(), is_local);
}

// The same as a lock file of uv, Poetry, PDM or Pipenv has it; uv's names the project itself ".".
bool is_local_in_lock(const std::string& line) {
  if (line.starts_with("source = { ")) {
    constexpr std::string_view k_folders[] = {"editable", "directory", "path", "virtual"};
    const auto kind = line.substr(11, line.find(' ', 11) - 11);
    return line.find("\".\"") == std::string::npos &&
           std::find(std::begin(k_folders), std::end(k_folders), kind) != std::end(k_folders);
  }
  return line == "type = \"directory\"" || line == "type = \"file\"" ||
         line.starts_with("path = \"") || line.starts_with("\"path\": \"");
}

void wish_for(PythonPackages& packages, const std::string& range, const std::string& why) {
  if (range.empty()) return;
  packages.wishes.push_back({npm_range_of(range, RangeDialect::pep440), why, true});
}

// What can't be had of a file that is there: which is it?
class Finder {
 public:
  explicit Finder(const ProviderInput& input) : input_(input) {}

  Result<PythonPackages> run() {
    ATLAS_TRY(project_, read_toml(input_.tree, "pyproject.toml"));
    packages_.wishes =
        wishes_of_files(input_.tree, {{".python-version", "runtime.txt"}, {"python"}});
    read_list(object_at(project_, {"project", "dependencies"}), packages_);
    read_keys(object_at(project_, {"tool", "poetry", "dependencies"}), packages_);
    wish_for(packages_, text_at(project_, {"project", "requires-python"}),
             "requires-python in pyproject.toml");
    wish_for(packages_, text_at(project_, {"tool", "poetry", "dependencies", "python"}),
             "tool.poetry.dependencies in pyproject.toml");
    note_local_dependencies();
    if (by_lock()) return std::move(packages_);
    if (input_.has("Pipfile")) return by_pipenv();
    ATLAS_TRY(const auto requirements, read_text(input_.tree, "requirements.txt"));
    if (requirements) return by_requirements(*requirements);
    by_project();
    if (!packages_.tool.empty()) return std::move(packages_);
    for (const std::string file : {"requirements/production.txt", "requirements/prod.txt",
                                   "requirements/base.txt", "requirements/common.txt"}) {
      ATLAS_TRY(const auto split, read_text(input_.tree, file));
      if (split) return by_split_requirements(file, *split);
    }
    if (input_.has("environment.yml")) {
      packages_.notices.emplace_back(
          "environment.yml is Conda's and is not read: a requirements.txt lists what pip is to "
          "install");
    }
    return std::move(packages_);
  }

 private:
  void take(const std::string& tool, const std::string& file, const std::string& install) {
    packages_.tool = tool;
    packages_.file = file;
    packages_.install = install;
    for (const auto& name : {std::string("pyproject.toml"), file}) {
      const auto& known = packages_.manifests;
      if (input_.has(name) && std::find(known.begin(), known.end(), name) == known.end()) {
        packages_.manifests.push_back(name);
      }
    }
  }

  // Then the step that installs reads more than the manifests.
  void note_local_dependencies() {
    const auto& poetry = object_at(project_, {"tool", "poetry"});
    bool has = has_local(object_at(project_, {"tool", "uv", "sources"})) ||
               object_at(project_, {"tool", "uv", "workspace"}).is_object() ||
               is_local(object_at(project_, {"project", "dependencies"})) ||
               has_local(object_at(poetry, {"dependencies"})) ||
               has_local(object_at(project_, {"tool", "pdm", "dev-dependencies"}));
    for (const char* lock : {"uv.lock", "poetry.lock", "pdm.lock", "Pipfile.lock"}) {
      if (has || !input_.has(lock)) continue;
      const auto lines = lines_of(text_or_nothing(input_.tree, lock));
      has = std::any_of(lines.begin(), lines.end(), is_local_in_lock);
    }
    packages_.needs_sources = has;
  }

  bool by_lock() {
    const bool is_poetrys = object_at(project_, {"tool", "poetry"}).is_object();
    // uv reads no project that only Poetry describes: its lock file was left behind.
    const bool is_uvs =
        !is_poetrys || !input_.has("poetry.lock") || object_at(project_, {"project"}).is_object();
    const std::string used = is_uvs && input_.has("uv.lock") ? "uv.lock" : "poetry.lock";
    for (const char* other : {"uv.lock", "poetry.lock", "pdm.lock"}) {
      if (!input_.has(used) || !input_.has(other) || other == used) continue;
      packages_.notices.push_back("there are lock files of several package managers; " + used +
                                  " is used, " + other + " is not");
    }
    if (used == "uv.lock") {
      take("uv", "uv.lock", "uv sync --frozen --no-dev --no-install-project");
      return true;
    }
    if (input_.has("poetry.lock") || is_poetrys) {
      take("poetry", input_.has("poetry.lock") ? "poetry.lock" : "pyproject.toml",
           "poetry install --only main --no-root --no-interaction");
      return true;
    }
    const bool is_pdms = object_at(project_, {"tool", "pdm"}).is_object();
    if (input_.has("pdm.lock") || is_pdms) {
      const bool has_lock = input_.has("pdm.lock");
      take("pdm", has_lock ? "pdm.lock" : "pyproject.toml",
           std::string("pdm install --prod --no-self --no-editable") +
               (has_lock ? " --frozen-lockfile" : ""));
      return true;
    }
    return false;
  }

  Result<PythonPackages> by_pipenv() {
    ATLAS_TRY(const auto pipfile, read_toml(input_.tree, "Pipfile"));
    read_keys(object_at(pipfile, {"packages"}), packages_);
    if (has_local(object_at(pipfile, {"packages"}))) packages_.needs_sources = true;
    for (const char* key : {"python_full_version", "python_version"}) {
      wish_for(packages_, text_at(pipfile, {"requires", key}), "requires in Pipfile");
      if (!text_at(pipfile, {"requires", key}).empty()) break;
    }
    const bool has_lock = input_.has("Pipfile.lock");
    take("pipenv", has_lock ? "Pipfile.lock" : "Pipfile",
         has_lock ? "pipenv sync" : "pipenv install --skip-lock");
    packages_.manifests = {"Pipfile"};
    if (has_lock) packages_.manifests.emplace_back("Pipfile.lock");
    return std::move(packages_);
  }

  Result<PythonPackages> by_requirements(const std::string& text) {
    read_requirements(text, packages_);
    if (!packages_.names.empty() || packages_.needs_sources) {
      take("pip", "requirements.txt", "pip install -r requirements.txt");
      packages_.manifests = {"requirements.txt"};
    }
    return std::move(packages_);
  }

  // One file for each environment, of which each names the one that they have in common.
  Result<PythonPackages> by_split_requirements(const std::string& file, const std::string& text) {
    read_requirements(text, packages_);
    for (const char* common : {"requirements/base.txt", "requirements/common.txt"}) {
      read_requirements(text_or_nothing(input_.tree, common), packages_);
    }
    take("pip", file, "pip install -r " + file);
    packages_.manifests = {file};
    packages_.needs_sources = true;
    return std::move(packages_);
  }

  // A pyproject.toml may hold nothing but the settings of a linter.
  void by_project() {
    const bool is_package = object_at(project_, {"build-system"}).is_object();
    const bool has_dependencies = !packages_.names.empty();
    if (input_.has("setup.py") || is_package) {
      take("pip", input_.has("setup.py") ? "setup.py" : "pyproject.toml", "pip install .");
      packages_.needs_sources = true;
    } else if (has_dependencies) {
      // It is no package, so only what it depends on is installed.
      take("uv", "pyproject.toml", "uv sync --no-dev --no-install-project");
      packages_.notices.push_back(
          "there is no lock file, so every build may install other versions; commit the uv.lock "
          "that uv lock writes");
    }
  }

  const ProviderInput& input_;
  json project_;
  PythonPackages packages_;
};

struct NativePackage {
  const char* name;
  std::vector<std::string> build;
  std::vector<std::string> run;
};

}  // namespace

Result<PythonPackages> find_python_packages(const ProviderInput& input) {
  return Finder(input).run();
}

SystemPackages system_packages_of(const PythonPackages& packages) {
  static const std::vector<NativePackage> known = {
      {"psycopg2", {"build-essential", "libpq-dev"}, {"libpq5"}},
      {"psycopg", {}, {"libpq5"}},
      {"mysqlclient",
       {"build-essential", "pkg-config", "default-libmysqlclient-dev"},
       {"libmariadb3"}},
      {"pycairo", {"build-essential", "pkg-config", "libcairo2-dev"}, {"libcairo2"}},
      {"python-ldap", {"build-essential", "libldap-dev", "libsasl2-dev"}, {"libldap-2.5-0"}},
      {"uwsgi", {"build-essential"}, {}},
      {"weasyprint", {}, {"libpango-1.0-0", "libpangoft2-1.0-0"}},
      {"pdf2image", {}, {"poppler-utils"}},
      {"pydub", {}, {"ffmpeg"}},
      {"opencv-python", {}, {"libgl1", "libglib2.0-0"}},
      {"python-magic", {}, {"libmagic1"}},
      {"cairosvg", {}, {"libcairo2"}},
  };
  SystemPackages needed;
  const auto add = [](std::vector<std::string>& list, const std::vector<std::string>& more) {
    for (const auto& each : more) {
      if (std::find(list.begin(), list.end(), each) == list.end()) list.push_back(each);
    }
  };
  for (const auto& each : known) {
    if (!packages.has(each.name)) continue;
    add(needed.build, each.build);
    add(needed.run, each.run);
  }
  return needed;
}

}  // namespace atlasflow::builder
