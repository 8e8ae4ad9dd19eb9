// How a Python app's dependencies are installed, and which they are. Pure; any thread.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "builder/stack/provider.hpp"
#include "builder/stack/stack_base.hpp"

namespace atlasflow::builder {

struct PythonPackages {
  std::string tool;                    // "pip", "uv", "poetry", "pdm", "pipenv"; empty: nothing
  std::string file;                    // "requirements.txt", "uv.lock": what it installs from
  std::vector<std::string> manifests;  // what the install step reads
  bool needs_sources = false;          // and that it reads more than those
  std::string install;                 // for sh, into the virtual environment /app/.venv
  std::set<std::string> names;         // of the packages, normalised: "django", "flask-cors"
  std::vector<VersionWish> wishes;     // of the Python version
  std::vector<std::string> notices;

  [[nodiscard]] bool has(const std::string& name) const { return names.contains(name); }
};

// user_error: a file that can't be read, with its line.
[[nodiscard]] Result<PythonPackages> find_python_packages(const ProviderInput& input);

// Debian packages that packages from the index are compiled against, and that they run with.
struct SystemPackages {
  std::vector<std::string> build;
  std::vector<std::string> run;
};
[[nodiscard]] SystemPackages system_packages_of(const PythonPackages& packages);

}  // namespace atlasflow::builder
