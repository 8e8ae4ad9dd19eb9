// Python apps: their packages, versions and what serves them.
#include "tests/builder/detect_fixture.hpp"

namespace atlasflow::builder {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr const char* k_flask = "import flask\napp = flask.Flask(__name__)\n";
constexpr const char* k_fastapi = "from fastapi import FastAPI\n\napi: FastAPI = FastAPI()\n";
constexpr const char* k_poetry = "[tool.poetry]\nname = \"x\"\n[tool.poetry.dependencies]\n";

// uv reads no project that only Poetry describes, so its lock file there is an old one.
TEST(Python, of_two_lock_files_the_one_of_who_describes_the_project_is_used) {
  struct Case {
    std::string project;
    std::vector<std::string> locks;
    const char* used;
    const char* other;
  };
  const Case cases[] = {
      {k_poetry, {"poetry.lock", "uv.lock"}, "poetry.lock", "uv.lock"},
      {std::string("[project]\nname = \"x\"\n") + k_poetry,
       {"poetry.lock", "uv.lock"},
       "uv.lock",
       "poetry.lock"},
      {"[project]\nname = \"x\"\n", {"poetry.lock", "uv.lock"}, "uv.lock", "poetry.lock"},
      {"[project]\nname = \"x\"\n", {"uv.lock"}, "uv.lock", ""},
      {k_poetry, {"uv.lock"}, "uv.lock", ""},
      {k_poetry, {"poetry.lock", "pdm.lock"}, "poetry.lock", "pdm.lock"},
  };
  for (const auto& each : cases) {
    Files files = {{"app.py", k_flask}, {"pyproject.toml", each.project}};
    for (const auto& lock : each.locks) files[lock] = "";
    const auto stack = detected(files);
    EXPECT_THAT(stack.reason, HasSubstr("dependencies from " + std::string(each.used)));
    const auto told = HasSubstr(std::string(each.used) + " is used, " + each.other + " is not");
    if (*each.other != '\0') {
      EXPECT_THAT(stack.notices, Contains(told)) << each.project;
    } else {
      EXPECT_THAT(stack.notices, Not(Contains(HasSubstr("several package managers"))));
    }
  }
}

TEST(Python, is_started_by_what_its_framework_is_served_with) {
  struct Case {
    Files files;
    const char* start;
    const char* said;
  };
  const Case cases[] = {
      {{{"main.py", ""}}, "exec python main.py", "main.py"},
      {{{"server.py", ""}, {"bot.py", ""}}, "exec python bot.py", "bot.py"},
      {{{"app.py", k_flask}, {"requirements.txt", "Flask==3.0\ngunicorn\n"}},
       "exec gunicorn --bind 0.0.0.0:$PORT 'app:app'",
       "Flask (app:app)"},
      {{{"shop/__init__.py", "def create_app():\n  app = Flask(__name__)\n  return app\n"},
        {"requirements.txt", "flask\n"}},
       "exec gunicorn --bind 0.0.0.0:$PORT 'shop:create_app()'",
       "Flask"},
      {{{"app/main.py", k_fastapi}, {"requirements.txt", "fastapi[standard]\n"}},
       "exec uvicorn --host 0.0.0.0 --port $PORT app.main:api",
       "FastAPI (app.main:api)"},
      {{{"main.py", k_fastapi}, {"pyproject.toml", "[project]\ndependencies = [\"fastapi\"]\n"}},
       "exec uvicorn --host 0.0.0.0 --port $PORT main:api",
       "FastAPI"},
      {{{"manage.py", ""}, {"shop/wsgi.py", ""}, {"requirements.txt", "django\n"}},
       "python manage.py migrate --noinput && exec gunicorn --bind 0.0.0.0:$PORT "
       "'shop.wsgi:application'",
       "Django (manage.py)"},
      {{{"manage.py", ""},
        {"shop/wsgi.py", ""},
        {"shop/asgi.py", ""},
        {"requirements.txt", "django\nuvicorn\n"}},
       "python manage.py migrate --noinput && exec uvicorn --host 0.0.0.0 --port $PORT "
       "shop.asgi:application",
       "Django"},
      {{{"app.py", ""}, {"requirements.txt", "streamlit\n"}},
       "exec streamlit run app.py --server.address 0.0.0.0 --server.port $PORT "
       "--server.headless true",
       "Streamlit"},
      {{{"requirements.txt", "x\n"}, {"start.sh", "#!/bin/bash\n"}}, "start.sh", "start.sh"},
  };
  for (const auto& each : cases) {
    const auto stack = detected(each.files);
    EXPECT_EQ(stack.name, "python") << each.start;
    EXPECT_EQ(start_line(stack), each.start);
    EXPECT_THAT(stack.reason, HasSubstr(each.said));
  }
}

TEST(Python, is_installed_by_the_tool_whose_files_it_has) {
  struct Case {
    Files files;
    const char* install;
  };
  const Case cases[] = {
      {{{"requirements.txt", "requests\n"}}, "pip install -r requirements.txt\n"},
      {{{"uv.lock", ""}, {"pyproject.toml", "[project]\nname = \"x\"\n"}},
       "uv sync --frozen --no-dev --no-install-project\n"},
      {{{"pyproject.toml", k_poetry}, {"poetry.lock", ""}},
       "poetry install --only main --no-root --no-interaction\n"},
      {{{"pyproject.toml", "[tool.pdm]\n"}, {"pdm.lock", ""}},
       "pdm install --prod --no-self --no-editable --frozen-lockfile\n"},
      {{{"Pipfile", "[packages]\nflask = \"*\"\n"}, {"Pipfile.lock", "{}"}}, "pipenv sync\n"},
      {{{"pyproject.toml", "[build-system]\nrequires = []\n"}}, "pip install .\n"},
      {{{"pyproject.toml", "[project]\ndependencies = [\"flask\"]\n"}},
       "uv sync --no-dev --no-install-project\n"},
      {{{"setup.py", ""}}, "pip install .\n"},
  };
  for (auto each : cases) {
    each.files["main.py"] = "";
    const auto stack = detected(each.files);
    EXPECT_THAT(stack.dockerfile, HasSubstr(each.install));
    EXPECT_THAT(stack.dockerfile, HasSubstr("COPY --from=build --chown=65534:65534 /app/ /app/\n"));
    EXPECT_THAT(stack.ignore, HasSubstr("\n.venv\nvenv\n"));
  }
}

TEST(Python, without_packages_is_one_stage_and_asks_no_index) {
  const auto stack = detected({{"main.py", ""}, {"requirements.txt", "# none\n"}});
  EXPECT_EQ(stack.dockerfile,
            "# Made by Atlasflow: requirements.txt in the root folder, started by main.py.\n"
            "FROM docker.io/library/python:3.13-slim-bookworm\n"
            "ENV PORT=3000 HOME=/tmp PATH=/app/.venv/bin:$PATH PYTHONUNBUFFERED=1 "
            "PYTHONFAULTHANDLER=1\n"
            "RUN mkdir -p /app && chown 65534:65534 /app\n"
            "WORKDIR /app\n"
            "COPY --chown=65534:65534 . .\n"
            "USER 65534:65534\n"
            "EXPOSE 3000\n"
            "CMD [\"sh\",\"-c\",\"exec python main.py\"]\n");
}

TEST(Python, its_version_is_what_its_files_ask_for) {
  const std::pair<Files, const char*> cases[] = {
      {{}, "python:3.13-slim-bookworm"},
      {{{".python-version", "3.11.4\n"}}, "python:3.11-slim-bookworm"},
      {{{"runtime.txt", "python-3.10.13"}}, "python:3.10-slim-bookworm"},
      {{{".tool-versions", "nodejs 20\npython 3.12.1\n"}}, "python:3.12-slim-bookworm"},
      {{{"mise.toml", "[tools]\npython = \"3.9\"\n"}}, "python:3.9-slim-bookworm"},
      {{{"pyproject.toml", "[project]\nrequires-python = \">=3.9,<3.12\"\n"}},
       "python:3.11-slim-bookworm"},
      {{{"pyproject.toml", "[tool.poetry.dependencies]\npython = \"~3.10\"\n"}},
       "python:3.10-slim-bookworm"},
      {{{"Pipfile", "[requires]\npython_version = \"3.12\"\n"}}, "python:3.12-slim-bookworm"},
      {{{".python-version", "pypy\n"}}, "python:3.13-slim-bookworm"},
      {{{".python-version", "3.7"}}, "python:3.7-slim-bookworm"},
  };
  for (const auto& [files, image] : cases) {
    auto all = files;
    all["main.py"] = "";
    EXPECT_EQ(base_of(detected(all)), image);
  }
  const StackBases own{{"localhost/atlasflow-base/python:3.11-bookworm"}, {}};
  EXPECT_EQ(base_of(detected({{"main.py", ""}}, own)), "python:3.11-bookworm");
  const auto newer = detected(
      {{"main.py", ""}, {"pyproject.toml", "[project]\nrequires-python = \">=3.12\"\n"}}, own);
  EXPECT_EQ(base_of(newer), "python:3.13-slim-bookworm");
  EXPECT_THAT(newer.unmet, HasSubstr("Python >=3.12 (requires-python in pyproject.toml)"));
}

TEST(Python, a_server_that_is_missing_is_brought_with_a_notice) {
  const auto stack = detected({{"app.py", k_flask}, {"requirements.txt", "flask\n"}});
  EXPECT_THAT(stack.dockerfile, HasSubstr("python -m pip install gunicorn\n"));
  EXPECT_THAT(stack.notices, Contains(HasSubstr("gunicorn is not among the app's dependencies")));
  EXPECT_THAT(detected({{"app.py", k_flask}, {"requirements.txt", "flask\ngunicorn\n"}}).dockerfile,
              Not(HasSubstr("pip install gunicorn")));
}

TEST(Python, a_web_framework_beside_a_package_json_is_python_with_node_as_a_build_stage) {
  const Files files = {{"manage.py", ""},
                       {"shop/wsgi.py", ""},
                       {"shop/settings.py", "STATIC_ROOT = 'x'\n"},
                       {"requirements.txt", "django\ngunicorn\n"},
                       {"package.json", R"({"scripts": {"build": "vite build", "start": "vite"},
                                            "devDependencies": {"vite": "5"}})"},
                       {"package-lock.json", "{}"}};
  const auto stack = detected(files);
  EXPECT_EQ(stack.name, "python");
  EXPECT_THAT(stack.reason, HasSubstr("its assets by Node from package.json"));
  EXPECT_THAT(
      stack.dockerfile,
      AllOf(HasSubstr("AS assets\n"), HasSubstr("RUN NODE_ENV=production npm run build\n"),
            HasSubstr("RUN rm -rf node_modules\n"), HasSubstr("COPY --from=assets /app/ .\n"),
            HasSubstr("manage.py collectstatic --noinput\n")));
  // Without a build script there is nothing for Node to do.
  auto plain = files;
  plain["package.json"] = R"({"scripts": {"lint": "eslint"}})";
  EXPECT_THAT(detected(plain).dockerfile, Not(HasSubstr("AS assets")));
}

TEST(Python, what_is_compiled_against_debians_libraries_has_them) {
  const auto stack = detected({{"main.py", ""}, {"requirements.txt", "psycopg2==2.9\n"}});
  const auto last = stack.dockerfile.substr(stack.dockerfile.rfind("FROM "));
  EXPECT_THAT(stack.dockerfile, HasSubstr("build-essential libpq-dev"));
  EXPECT_THAT(last, AllOf(HasSubstr("libpq5"), Not(HasSubstr("build-essential"))));
  EXPECT_THAT(detected({{"main.py", ""}, {"requirements.txt", "psycopg2-binary\n"}}).dockerfile,
              Not(HasSubstr("apt-get")));
}

TEST(Python, files_that_the_requirements_name_are_there_when_they_are_installed) {
  for (const char* line : {"-r base.txt", "-e .", "./vendor/x", "x @ file:vendor/x.whl", "vendor/x",
                           "x-1.0-py3-none-any.whl", "--find-links wheels"}) {
    const auto stack =
        detected({{"main.py", ""}, {"requirements.txt", std::string("flask\n") + line + "\n"}});
    EXPECT_THAT(stack.dockerfile, HasSubstr("COPY . .\nRUN --mount=type=cache,target=/root/.cache "
                                            "pip install -r requirements.txt\n"))
        << line;
  }
  for (const char* line : {"x  # see a/b", "x @ https://a.example/x.whl", "x; python_version > '3'",
                           "--index-url https://a.example/simple"}) {
    const auto stack =
        detected({{"main.py", ""}, {"requirements.txt", std::string("flask\n") + line + "\n"}});
    EXPECT_THAT(stack.dockerfile, HasSubstr("COPY requirements.txt ./\n")) << line;
  }
}

TEST(Python, requirements_may_be_a_folder_with_a_file_for_each_environment) {
  const auto stack = detected({{"manage.py", ""},
                               {"shop/wsgi.py", ""},
                               {"requirements/base.txt", "django\ngunicorn\n"},
                               {"requirements/local.txt", "-r base.txt\npytest\n"},
                               {"requirements/production.txt", "-r base.txt\n"}});
  EXPECT_THAT(stack.dockerfile, AllOf(HasSubstr("pip install -r requirements/production.txt\n"),
                                      Not(HasSubstr("pip install gunicorn"))));
  EXPECT_LT(stack.dockerfile.find("COPY . .\n"), stack.dockerfile.find("pip install -r"));
  EXPECT_THAT(detected({{"app.py", ""}, {"environment.yml", "name: x\n"}}).notices,
              Contains(HasSubstr("environment.yml is Conda's and is not read")));
}

TEST(Python, folders_that_a_manifest_or_its_lock_names_are_there_when_it_is_installed) {
  const std::string project = "[project]\nname = \"x\"\n";
  const std::string own =
      "[[package]]\nname = \"x\"\nsource = { virtual = \".\" }\n"
      "[[package]]\nname = \"y\"\nsource = { registry = \"https://a.example/path\" }\n";
  struct Case {
    Files files;
    bool needs_sources;
  };
  const Case cases[] = {
      {{{"pyproject.toml", project + "[tool.uv.sources]\na = {path = \"a\"}\n"}, {"uv.lock", ""}},
       true},
      {{{"pyproject.toml", project + "[tool.uv.sources]\na = {git = \"https://a.example\"}\n"},
        {"uv.lock", own}},
       false},
      {{{"pyproject.toml", project + "[tool.uv.workspace]\nmembers = [\"a\"]\n"}, {"uv.lock", ""}},
       true},
      {{{"pyproject.toml", project}, {"uv.lock", "source = { editable = \"lib/a\" }\n"}}, true},
      {{{"pyproject.toml", "[project]\ndependencies = [\"a @ file:a\"]\n"}, {"pdm.lock", ""}},
       true},
      {{{"pyproject.toml", std::string(k_poetry) + "a = {path = \"a\", develop = true}\n"}}, true},
      {{{"pyproject.toml", std::string(k_poetry) + "a = [{version = \"1\"}, {path = \"a\"}]\n"}},
       true},
      {{{"pyproject.toml", k_poetry},
        {"poetry.lock", "[package.source]\ntype = \"directory\"\nurl = \"a\"\n"}},
       true},
      {{{"pyproject.toml", k_poetry}, {"poetry.lock", "[[package]]\nname = \"a\"\n"}}, false},
      {{{"pyproject.toml", "[tool.pdm]\n"}, {"pdm.lock", "path = \"./a\"\n"}}, true},
      {{{"Pipfile", "[packages]\na = {path = \"a\", editable = true}\n"}}, true},
      {{{"Pipfile", "[packages]\na = \"*\"\n"}, {"Pipfile.lock", "  \"path\": \"./a\"\n"}}, true},
      {{{"Pipfile", "[packages]\na = \"*\"\n"}, {"Pipfile.lock", "{}"}}, false},
  };
  for (auto each : cases) {
    each.files["main.py"] = "";
    const auto stack = detected(each.files);
    const auto install = stack.dockerfile.find(" install ");
    const auto sync = stack.dockerfile.find(" sync ");
    const auto all = stack.dockerfile.find("COPY . .\n");
    ASSERT_NE(all, std::string::npos) << stack.dockerfile;
    const auto last_step = stack.dockerfile.find("type=cache", stack.dockerfile.find("venv /app"));
    EXPECT_EQ(all < last_step, each.needs_sources) << stack.dockerfile;
    EXPECT_TRUE(install != std::string::npos || sync != std::string::npos);
  }
}

TEST(Python, a_broken_manifest_is_told_with_its_line_and_reason) {
  EXPECT_THAT(refused({{"main.py", ""}, {"pyproject.toml", "[project]\nname = \n"}}),
              HasSubstr("pyproject.toml, line 2 is not TOML: "));
  EXPECT_THAT(refused({{"main.py", ""}, {"Pipfile", "[packages\n"}}),
              HasSubstr("Pipfile, line 1 is not TOML: "));
  EXPECT_THAT(refused({{"main.py", ""}, {"requirements.txt", std::string(2U << 20U, 'a')}}),
              HasSubstr("requirements.txt is larger than 1024 KiB"));
}

TEST(DetectPython, a_package_of_src_is_found_whether_or_not_it_is_installed) {
  const Files flask = {{"requirements.txt", "flask\ngunicorn\n"},
                       {"src/shop/__init__.py", ""},
                       {"src/shop/app.py", "from flask import Flask\napp = Flask(__name__)\n"}};
  EXPECT_EQ(start_line(detected(flask)),
            "exec env PYTHONPATH=src gunicorn --bind 0.0.0.0:$PORT 'shop.app:app'");
  const Files module = {{"requirements.txt", "aiohttp\n"},
                        {"src/shop/__init__.py", ""},
                        {"src/shop/__main__.py", "print('x')\n"}};
  EXPECT_EQ(start_line(detected(module)), "exec env PYTHONPATH=src python -m shop");
  // With an __init__.py of its own, src is the package.
  Files package = flask;
  package["src/__init__.py"] = "";
  EXPECT_THAT(refused(package), testing::HasSubstr("there is no manage.py"));
}

}  // namespace
}  // namespace atlasflow::builder
