// Python: Django, FastAPI, Flask and the like, Streamlit, or a file that runs; in a virtual
// environment that the final stage takes over.
#include <algorithm>

#include "builder/stack/providers/python_packages.hpp"
#include "builder/stack/recipe.hpp"
#include "builder/stack/source_text.hpp"

namespace atlasflow::builder {
namespace {

struct PythonStart {
  std::string command;  // for sh; empty: none
  std::string why;      // "Django (manage.py)"
  std::string needs;    // a server that is not among the app's packages: "gunicorn"
  std::string prepare;  // a step of the build: "python manage.py collectstatic …"
  std::vector<std::string> notices;
};

// "pkg.module" of "pkg/module.py".
std::string module_of(std::string file) {
  file.resize(file.size() - 3);
  std::replace(file.begin(), file.end(), '/', '.');
  return file;
}

// Of the layout in which src/ holds the packages: it is no package itself.
std::vector<std::string> source_packages(const ProviderInput& input) {
  std::vector<std::string> packages;
  if (input.tree.has_file("src/__init__.py")) return packages;
  for (const auto& name : input.tree.list("src")) {
    if (is_plain_word(name) && input.tree.has_file("src/" + name + "/__init__.py")) {
      packages.push_back(name);
    }
  }
  return packages;
}

// What lets Python find a package of src/, whether or not it was installed.
constexpr const char* k_with_sources = "env PYTHONPATH=src ";

// An application as a server is told it.
struct Application {
  std::string name;  // "main:app", "pkg.main:create_app()"; empty: none
  bool is_in_source_package = false;
};

// Where apps are looked for: the usual names in the root, in app/, src/ and a folder like the
// package, and in the packages of src/.
std::vector<std::string> app_files(const ProviderInput& input) {
  constexpr const char* k_names[] = {"main.py",  "app.py",   "server.py", "api.py",
                                     "asgi.py",  "wsgi.py",  "run.py",    "start.py",
                                     "hello.py", "index.py", "bot.py",    "__init__.py"};
  std::vector<std::string> files;
  for (const char* name : k_names) {
    if (input.has(name)) files.emplace_back(name);
  }
  for (const auto& folder : input.names) {
    if (folder.find('.') != std::string::npos || folder == "tests" || !is_plain_word(folder)) {
      continue;
    }
    if (!input.tree.has_file(folder + "/__init__.py") && folder != "app" && folder != "src") {
      continue;
    }
    for (const char* name : k_names) {
      const std::string file = folder + "/" + name;
      if (input.tree.has_file(file)) files.push_back(file);
    }
  }
  for (const auto& package : source_packages(input)) {
    for (const char* name : k_names) {
      const std::string file = "src/" + package + "/" + name;
      if (input.tree.has_file(file)) files.push_back(file);
    }
  }
  return files;
}

// "main:app" of the first file that makes one; a factory create_app() otherwise.
Application application_of(const ProviderInput& input, const std::string& constructor) {
  for (const auto& file : app_files(input)) {
    const auto text = text_or_nothing(input.tree, file);
    if (text.find(constructor) == std::string::npos) continue;
    const bool is_in_package = file.starts_with("src/") && file.find('/', 4) != std::string::npos;
    std::string module = module_of(is_in_package ? file.substr(4) : file);
    if (module.ends_with(".__init__")) module.resize(module.size() - 9);
    if (module == "__init__") continue;
    const auto name = first_match(
        text, "^([A-Za-z_][A-Za-z_0-9]*)\\s*(?::[^=]*)?=\\s*(?:[a-z_]+\\.)?" + constructor + "\\(");
    const bool is_factory = text.find("def create_app(") != std::string::npos;
    // Within a function the variable is not the module's.
    const bool is_global =
        !name.empty() && (text.starts_with(name) || text.find("\n" + name) != std::string::npos);
    if (is_global) return {module + ":" + name, is_in_package};
    if (is_factory) return {module + ":create_app()", is_in_package};
  }
  return {};
}

// The module of manage.py's project: the folder with wsgi.py or asgi.py.
std::string django_module(const ProviderInput& input, const std::string& file) {
  for (const auto& folder : input.names) {
    if (is_plain_word(folder) && input.tree.has_file(folder + "/" + file)) {
      return folder + "." + module_of(file);
    }
  }
  return {};
}

void use_gunicorn(PythonStart& start, const PythonPackages& packages,
                  const std::string& application) {
  start.command += "gunicorn --bind 0.0.0.0:$PORT '" + application + "'";
  if (!packages.has("gunicorn")) start.needs = "gunicorn";
}

void use_uvicorn(PythonStart& start, const PythonPackages& packages,
                 const std::string& application) {
  const bool is_factory = application.ends_with("()");
  start.command += "uvicorn --host 0.0.0.0 --port $PORT " +
                   std::string(is_factory ? "--factory " : "") +
                   application.substr(0, application.find("()"));
  if (!packages.has("uvicorn")) start.needs = "uvicorn";
}

PythonStart django_start(const ProviderInput& input, const PythonPackages& packages) {
  PythonStart start;
  const auto wsgi = django_module(input, "wsgi.py");
  const auto asgi = django_module(input, "asgi.py");
  if (wsgi.empty() && asgi.empty()) return start;
  start.why = "Django (manage.py)";
  start.command = "python manage.py migrate --noinput && exec ";
  start.notices.push_back(
      "manage.py migrate runs at each start; a Procfile's web process starts the app without it, "
      "and the setting release_command runs it once for a deployment");
  const bool prefers_asgi = packages.has("uvicorn") || packages.has("daphne");
  if (!asgi.empty() && (wsgi.empty() || (prefers_asgi && !packages.has("gunicorn")))) {
    if (packages.has("daphne")) {
      start.command += "daphne -b 0.0.0.0 -p $PORT " + asgi + ":application";
    } else {
      use_uvicorn(start, packages, asgi + ":application");
    }
  } else {
    use_gunicorn(start, packages, wsgi + ":application");
  }
  const std::string& module = wsgi.empty() ? asgi : wsgi;
  const auto settings =
      text_or_nothing(input.tree, module.substr(0, module.rfind('.')) + "/settings.py");
  if (settings.find("STATIC_ROOT") != std::string::npos) {
    // Settings that take the key from the environment need one to be read at all.
    start.prepare =
        "SECRET_KEY=build DJANGO_SECRET_KEY=build python manage.py collectstatic --noinput";
  }
  return start;
}

PythonStart find_start(const ProviderInput& input, const PythonPackages& packages) {
  PythonStart start;
  if (input.has("manage.py")) {
    start = django_start(input, packages);
    if (!start.command.empty()) return start;
  }
  struct Framework {
    const char* package;
    const char* constructor;
    const char* title;
    bool is_asgi;
  };
  constexpr Framework k_frameworks[] = {
      {"fastapi", "FastAPI", "FastAPI", true},    {"python-fasthtml", "FastHTML", "FastHTML", true},
      {"litestar", "Litestar", "Litestar", true}, {"starlette", "Starlette", "Starlette", true},
      {"quart", "Quart", "Quart", true},          {"flask", "Flask", "Flask", false},
      {"bottle", "Bottle", "Bottle", false},      {"falcon", "App", "Falcon", false},
  };
  for (const auto& framework : k_frameworks) {
    if (!packages.has(framework.package)) continue;
    const auto [application, is_in_package] = application_of(input, framework.constructor);
    if (application.empty()) continue;
    if (is_in_package) start.command = k_with_sources;
    start.why = std::string(framework.title) + " (" + application + ")";
    if (framework.is_asgi) {
      use_uvicorn(start, packages, application);
    } else {
      use_gunicorn(start, packages, application);
    }
    return start;
  }
  // Railpack's order.
  for (const char* name :
       {"main.py", "app.py", "start.py", "bot.py", "hello.py", "server.py", "run.py"}) {
    if (!input.has(name)) continue;
    start.why = name;
    start.command = std::string("python ") + name;
    if (packages.has("streamlit")) {
      start.command = std::string("streamlit run ") + name +
                      " --server.address 0.0.0.0 --server.port $PORT --server.headless true";
      start.why = "Streamlit (" + start.why + ")";
    }
    return start;
  }
  for (const auto& package : source_packages(input)) {
    if (!input.tree.has_file("src/" + package + "/__main__.py")) continue;
    start.why = "src/" + package + "/__main__.py";
    start.command = std::string(k_with_sources) + "python -m " + package;
    return start;
  }
  return start;
}

// What brings the tool that installs, itself not part of the app's environment.
void bring_tool(PlanStage& stage, const PythonPackages& packages) {
  if (packages.tool == "pip") return;
  stage.steps.push_back(cached_run(
      "python -m venv /opt/tool && /opt/tool/bin/pip install " + packages.tool, {"/root/.cache"}));
}

// Installs into /app/.venv, builds what there is to build, and leaves all in /app.
Result<PlanStage> make_build_stage(Plan& plan, const ProviderInput& input, const ChosenBase& base,
                                   const PythonPackages& packages, const PythonStart& start) {
  ATLAS_TRY(const auto sources, copy_sources(plan, input));
  PlanStage stage = build_stage(input, base.image);
  stage.ca_variables = {"SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE"};
  install_packages(stage, system_packages_of(packages).build);
  stage.steps.push_back(EnvStep{{{"PIP_DISABLE_PIP_VERSION_CHECK", "1"},
                                 {"PIP_ROOT_USER_ACTION", "ignore"},
                                 {"PYTHONDONTWRITEBYTECODE", "1"},
                                 {"UV_LINK_MODE", "copy"},
                                 {"UV_PYTHON_DOWNLOADS", "never"},
                                 {"POETRY_VIRTUALENVS_IN_PROJECT", "true"},
                                 {"PIPENV_VENV_IN_PROJECT", "1"},
                                 {"VIRTUAL_ENV", "/app/.venv"},
                                 {"PATH", "/app/.venv/bin:/opt/tool/bin:$PATH"}}});
  if (!packages.tool.empty()) bring_tool(stage, packages);
  stage.steps.push_back(RunStep{"python -m venv /app/.venv", {}});
  // A command of the project's own may read any file.
  const bool takes_all = packages.needs_sources || !input.choice.install_command.empty();
  if (takes_all) {
    stage.steps.push_back(sources);
  } else if (!packages.tool.empty()) {
    stage.steps.push_back(CopyStep{packages.manifests, "./", "", false});
  }
  add_install(stage, input,
              cached_run(packages.tool.empty() ? "" : packages.install, {"/root/.cache"}));
  if (!start.needs.empty() && !input.start) {
    stage.steps.push_back(cached_run(packages.tool == "uv"
                                         ? "uv pip install " + start.needs
                                         : "/app/.venv/bin/python -m pip install " + start.needs,
                                     {"/root/.cache"}));
  }
  if (!takes_all) stage.steps.push_back(sources);
  add_build(stage, input, {start.prepare, {}});
  return stage;
}

}  // namespace

Result<Offer> plan_python(const ProviderInput& input, const std::string& seen) {
  ATLAS_TRY(const auto packages, find_python_packages(input));
  PythonStart start = find_start(input, packages);
  Plan plan;
  plan.provider = "python";
  plan.reason = input.in_place(seen);
  if (!packages.file.empty()) {
    plan.reason += ", dependencies from " + packages.file + " by " + packages.tool;
  }
  if (!set_start(plan, input, start.command, start.why)) {
    return Offer(
        CannotStart{"there is no manage.py, no main.py, app.py, start.py, bot.py, hello.py "
                    "or server.py, and no application of FastAPI or Flask: add a main.py"});
  }
  ATLAS_TRY(const auto base, take_base(plan, input, "python", packages.wishes));
  plan.notices.insert(plan.notices.end(), packages.notices.begin(), packages.notices.end());
  if (!input.start) {
    plan.notices.insert(plan.notices.end(), start.notices.begin(), start.notices.end());
    if (!start.needs.empty()) {
      plan.notices.push_back(start.needs +
                             " is not among the app's dependencies, and is installed "
                             "to serve it; add it to them to choose its version");
    }
  }
  plan.ignored = {".git", "**/__pycache__", "**/*.pyc", ".pytest_cache", ".mypy_cache"};
  plan.always_ignored.insert(plan.always_ignored.end(), {".venv", "venv"});
  plan.needed_files.insert(plan.needed_files.end(), packages.manifests.begin(),
                           packages.manifests.end());
  const std::vector<std::pair<std::string, std::string>> variables = {
      {"PATH", "/app/.venv/bin:$PATH"}, {"PYTHONUNBUFFERED", "1"}, {"PYTHONFAULTHANDLER", "1"}};
  PlanStage last = app_stage(base.image, variables);
  install_packages(last, system_packages_of(packages).run);
  const bool is_plain = packages.tool.empty() && (start.needs.empty() || input.start) &&
                        start.prepare.empty() && !input.has("package.json") &&
                        !has_own_steps(input.choice);
  if (is_plain) {
    last.steps.push_back(CopyStep{{"."}, ".", "", true});
  } else {
    ATLAS_TRY(auto build, make_build_stage(plan, input, base, packages, start));
    plan.stages.push_back(std::move(build));
    last.steps.push_back(CopyStep{{"/app/"}, "/app/", "build", true});
  }
  last.steps.push_back(AppUserStep{});
  plan.stages.push_back(std::move(last));
  return Offer(std::move(plan));
}

}  // namespace atlasflow::builder
