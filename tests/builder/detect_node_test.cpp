// Node frameworks, single-page apps and workspaces: what is built, and what of it is started.
#include "tests/builder/detect_fixture.hpp"

namespace atlasflow::builder {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

// What script/base-images makes where there is no registry.
const StackBases k_bases{{"localhost/atlasflow-base/node:18-bookworm"}, {}};
constexpr const char* k_start = R"({"scripts": {"start": "node server.js"}})";
constexpr const char* k_start_and_dependency =
    R"({"scripts": {"start": "node ."}, "dependencies": {"left-pad": "1"}})";

Stack stack_of(const Files& files, const StackChoice& choice = {}) {
  return detected(files, k_bases, choice);
}
std::string refusal(const Files& files, const StackChoice& choice = {}) {
  return refused(files, k_bases, choice);
}

TEST(Node, an_app_without_dependencies_needs_no_install_and_owns_its_folder) {
  const auto stack = stack_of({{"package.json", k_start}, {"server.js", ""}});
  EXPECT_EQ(stack.dockerfile,
            "# Made by Atlasflow: package.json with a start script in the root folder.\n"
            "FROM localhost/atlasflow-base/node:18-bookworm\n"
            "ENV NODE_ENV=production PORT=3000 NPM_CONFIG_UPDATE_NOTIFIER=false HOME=/tmp\n"
            "RUN mkdir -p /app && chown 65534:65534 /app\n"
            "WORKDIR /app\n"
            "USER 65534:65534\n"
            "COPY --chown=65534:65534 . .\n"
            "EXPOSE 3000\n"
            "CMD [\"npm\",\"start\"]\n");
  EXPECT_THAT(stack.start, ElementsAre("npm", "start"));
  EXPECT_THAT(stack.notices, IsEmpty());
}

TEST(Node, dependencies_are_installed_before_the_code_is_copied) {
  Files files = {{"package.json", k_start_and_dependency}};
  auto stack = stack_of(files);
  EXPECT_THAT(stack.dockerfile,
              HasSubstr("COPY --chown=65534:65534 package.json ./\n"
                        "RUN npm install --omit=dev --no-audit --no-fund && rm -rf /tmp/.npm\n"
                        "COPY --chown=65534:65534 . .\n"));
  EXPECT_THAT(stack.notices, ElementsAre(HasSubstr("no lock file")));
  files["package-lock.json"] = "{}";
  files[".npmrc"] = "fund=false";
  stack = stack_of(files);
  EXPECT_THAT(stack.dockerfile, HasSubstr("package.json package-lock.json .npmrc ./\nRUN npm ci"));
  EXPECT_THAT(stack.notices, IsEmpty());
}

TEST(Node, a_build_script_runs_with_what_only_the_build_needs_which_is_taken_out_after) {
  const auto stack = stack_of(
      {{"package.json",
        R"({"scripts": {"build": "tsc", "start": "node dist"}, "devDependencies": {"tsc": "1"}})"},
       {"package-lock.json", "{}"}});
  EXPECT_THAT(stack.dockerfile,
              HasSubstr("COPY package.json package-lock.json ./\n"
                        "RUN NODE_ENV=development npm ci --include=dev --no-audit --no-fund\n"
                        "COPY . .\n"
                        "RUN NODE_ENV=production npm run build\n"
                        "RUN npm prune --omit=dev --ignore-scripts --no-audit --no-fund\n"));
  EXPECT_THAT(stack.dockerfile, HasSubstr("COPY --from=build --chown=65534:65534 /app /app\n"));
  EXPECT_THAT(stack.reason, HasSubstr("built by npm run build"));
}

// Of a start script's own program, whatever kind of dependency it is said to be.
TEST(Node, what_starts_the_app_is_in_the_image_even_as_a_dev_dependency) {
  struct Case {
    const char* scripts;
    const char* dev;
    const char* used;  // empty: nothing of them is kept
  };
  const Case cases[] = {
      {R"("start": "ts-node src/index.ts")", "ts-node", "ts-node"},
      {R"("start": "nodemon --exec 'tsx' a.ts")", "tsx", "tsx"},
      {R"("start": "NODE_ENV=production cross-env A=b node a.js")", "cross-env", "cross-env"},
      {R"("start": "node -r ts-node/register a.ts")", "ts-node", "ts-node"},
      {R"("start": "node --import=tsx a.ts")", "tsx", "tsx"},
      {R"("start": "node -r @swc/register a.js")", "@swc/register", "@swc/register"},
      {R"("start": "npm run serve", "serve": "tsx a.ts")", "tsx", "tsx"},
      {R"("start": "./node_modules/.bin/tsx a.ts")", "tsx", "tsx"},
      {R"("start": "node node_modules/tsx/dist/cli.mjs a.ts")", "tsx", "tsx"},
      {R"("prestart": "tsc", "start": "node a.js")", "typescript", "typescript"},
      {R"("build": "nest build", "start": "nest start")", "@nestjs/cli", "@nestjs/cli"},
      {R"("build": "tsc", "start": "node a.js", "dev": "tsx a.ts")", "tsx", ""},
      {R"("start": "node a.js")", "typescript", ""},
  };
  for (const auto& each : cases) {
    const auto package = std::string(R"({"scripts": {)") + each.scripts +
                         R"(}, "dependencies": {"x": "1"}, "devDependencies": {")" + each.dev +
                         R"(": "1"}})";
    for (const char* lock : {"package-lock.json", "yarn.lock"}) {
      const auto stack = stack_of({{"package.json", package}, {lock, "{}"}, {"a.js", ""}});
      const bool is_kept = stack.dockerfile.find("NODE_ENV=development") != std::string::npos &&
                           stack.dockerfile.find("npm prune") == std::string::npos &&
                           stack.dockerfile.find("--prefer-offline") == std::string::npos;
      EXPECT_EQ(is_kept, *each.used != '\0') << each.scripts << "\n" << stack.dockerfile;
      if (*each.used != '\0') {
        EXPECT_THAT(stack.notices, Contains(HasSubstr("the start script uses " +
                                                      std::string(each.used) + ", which is a dev")))
            << each.scripts;
      }
    }
  }
  const auto both = stack_of({{"package.json", R"({"scripts": {"start": "tsx a.ts"},
      "dependencies": {"tsx": "1"}, "devDependencies": {"tsx": "1"}})"},
                              {"package-lock.json", "{}"}});
  EXPECT_THAT(both.dockerfile, HasSubstr("RUN npm ci --omit=dev"));
}

TEST(Node, a_port_that_the_start_script_names_is_told) {
  const std::pair<const char*, const char*> cases[] = {
      {"next start -p 8080", "8080"},
      {"PORT=4000 node a.js", "4000"},
      {"cross-env PORT=\\\"5000\\\" node .", "5000"},
      {"vite preview --port=4173", "4173"},
      {"serve --port 80", "80"},
      {"next start -p 3000", ""},
      {"next start -p $PORT", ""},
      {"node a.js -p", ""},
      {"mkdir -p 7 && node a.js", ""}};
  for (const auto& [script, port] : cases) {
    const auto stack =
        stack_of({{"package.json", R"({"scripts": {"start": ")" + std::string(script) + R"("}})"}});
    const auto told = HasSubstr("the setting port has to be " + std::string(port) + " as well");
    if (*port != '\0') {
      EXPECT_THAT(stack.notices, Contains(told)) << script;
    } else {
      EXPECT_THAT(stack.notices, Not(Contains(HasSubstr("setting port")))) << script;
    }
  }
}

TEST(Node, the_sources_are_there_when_the_install_needs_them) {
  const char* const packages[] = {
      R"({"scripts": {"start": "x", "postinstall": "node gen.js"}})",
      R"({"scripts": {"start": "x", "prepare": "husky"}, "devDependencies": {"husky": "9"}})",
      R"({"scripts": {"start": "x"}, "workspaces": ["packages/*"]})",
      R"({"scripts": {"start": "x"}, "workspaces": {"packages": ["packages/*"]}})",
      R"({"scripts": {"start": "x"}, "dependencies": {"tool": "file:./vendor/tool"}})"};
  for (const char* const package : packages) {
    const auto stack = stack_of({{"package.json", package}, {"package-lock.json", "{}"}});
    EXPECT_THAT(stack.dockerfile, HasSubstr("COPY . .\nRUN NODE_ENV=development npm ci"))
        << package;
  }
  EXPECT_THAT(refusal({{"package.json",
                        R"({"scripts": {"start": "x"}, "dependencies": {"a": "file:../a"}})"}},
                      {"web"}),
              HasSubstr("depends on ../a, which is outside of web"));
}

TEST(Node, what_the_steps_need_is_in_the_context_whatever_the_ignore_file_says) {
  const auto ignore =
      stack_of(
          {{"package.json",
            R"({"scripts": {"start": "node server.js"}, "workspaces": ["packages/*"],
                     "dependencies": {"tool": "file:./vendor/tool"}})"},
           {"package-lock.json", "{}"},
           {"server.js", ""},
           {".npmrc", ""},
           {".dockerignore", "package-lock.json\n.npmrc\n/vendor/\npackages/**\n*.js\n.env\n"}})
          .ignore;
  EXPECT_EQ(ignore,
            "package-lock.json\n.npmrc\n*.js\n.env\nnode_modules\n**/node_modules\n"
            "!package.json\n!package-lock.json\n!.npmrc\n!server.js\n");
  // A list of what to keep keeps what is needed too, and what it leaves out below stays out.
  EXPECT_THAT(stack_of({{"package.json",
                         R"({"scripts": {"start": "x"}, "dependencies": {"t": "file:vendor/t"}})"},
                        {".dockerignore", "*\n!src\n**/.env\n"}})
                  .ignore,
              HasSubstr("*\n!vendor/t\n!src\n**/.env\n"));
}

TEST(Node, an_npmrc_with_a_token_is_a_secret_of_the_install_and_in_no_layer) {
  const auto stack = stack_of({{"package.json", k_start_and_dependency},
                               {"package-lock.json", "{}"},
                               {".npmrc", "//npm.example.com/:_authToken=${NPM_TOKEN}\n"}},
                              {.build_args = {"NPM_TOKEN"}});
  EXPECT_THAT(stack.dockerfile,
              HasSubstr("RUN --mount=type=secret,id=atlasflow.npmrc,target=/app/.npmrc,mode=0444 "
                        "NODE_ENV=development npm ci"));
  EXPECT_THAT(stack.dockerfile, HasSubstr("ARG NPM_TOKEN\n"));
  EXPECT_THAT(stack.dockerfile, Not(HasSubstr(".npmrc ./")));
  EXPECT_EQ(stack.secrets.count("atlasflow.npmrc"), 1U);
  EXPECT_THAT(stack.ignore, HasSubstr("\n.npmrc\n"));
  const auto last = stack.dockerfile.substr(stack.dockerfile.rfind("FROM "));
  EXPECT_THAT(last, Not(HasSubstr("NPM_TOKEN")));
}

TEST(Node, another_package_manager_is_brought_into_the_base) {
  const Files pnpm = {{"package.json", k_start_and_dependency},
                      {"pnpm-lock.yaml", "lockfileVersion: '6.0'\n"}};
  const auto stack = stack_of(pnpm);
  EXPECT_THAT(stack.base_images, ElementsAre("localhost/atlasflow-base/node:18-bookworm"));
  EXPECT_THAT(stack.dockerfile,
              HasSubstr("RUN npm install --global --no-audit --no-fund pnpm@8\n"));
  EXPECT_THAT(stack.dockerfile, HasSubstr("pnpm install --frozen-lockfile --prod=false\n"));
  EXPECT_THAT(stack.start, ElementsAre("pnpm", "start"));

  const auto berry = stack_of(
      {{"package.json", k_start_and_dependency}, {"yarn.lock", "__metadata:\n  version: 6\n"}});
  EXPECT_THAT(berry.dockerfile, HasSubstr(" @yarnpkg/cli-dist@3\n"));
  EXPECT_THAT(berry.dockerfile, HasSubstr(" YARN_ENABLE_GLOBAL_CACHE=false\n"));
  EXPECT_THAT(berry.dockerfile, HasSubstr("yarn install --immutable\n"));
  const auto newer = stack_of(
      {{"package.json", k_start_and_dependency}, {"yarn.lock", "__metadata:\n  version: 10\n"}});
  EXPECT_THAT(newer.dockerfile, HasSubstr(" @yarnpkg/cli-dist@latest\n"));
  const Files named = {{"package.json",
                        R"({"scripts": {"start": "x"}, "dependencies": {"a": "1"},
            "packageManager": "yarn@1.22.19+sha1.x"})"},
                       {"yarn.lock", ""}};
  EXPECT_THAT(stack_of(named).dockerfile, HasSubstr(" yarn@1.22.19\n"));

  const StackBases official;
  const auto by_corepack = detect_stack(MemoryTree(named), official);
  ASSERT_TRUE(by_corepack) << by_corepack.error().message;
  EXPECT_THAT(by_corepack->dockerfile, HasSubstr("corepack prepare yarn@1.22.19 --activate"));

  const auto bun = stack_of({{"package.json", k_start_and_dependency}, {"bun.lockb", ""}});
  EXPECT_THAT(bun.dockerfile, AllOf(HasSubstr("npm install --global --no-audit --no-fund bun@1\n"),
                                    HasSubstr("bun install --frozen-lockfile\n")));
  EXPECT_THAT(bun.start, ElementsAre("bun", "start"));
  EXPECT_THAT(
      refusal({{"package.json", R"({"scripts": {"start": "x"}, "packageManager": "pip@3"})"}}),
      HasSubstr("it takes npm, pnpm, yarn or bun"));
}

TEST(Node, engines_choose_the_base_or_are_refused_with_both_versions) {
  const auto with = [](const std::string& range) {
    return Files{
        {"package.json", R"({"scripts": {"start": "x"}, "engines": {"node": ")" + range + "\"}}"}};
  };
  EXPECT_THAT(stack_of(with(">=16")).base_images,
              ElementsAre("localhost/atlasflow-base/node:18-bookworm"));
  const auto newer = stack_of(with("^20.1"));
  EXPECT_THAT(newer.base_images, ElementsAre("docker.io/library/node:20-bookworm-slim"));
  EXPECT_THAT(newer.unmet, AllOf(HasSubstr("Node ^20.1 (engines.node"), HasSubstr("has Node 18")));
  EXPECT_FALSE(newer.has_fallback) << "what npm would refuse is not built all the same";
  EXPECT_THAT(stack_of(with("20.11.1")).base_images,
              ElementsAre("docker.io/library/node:20.11.1-slim"));
  EXPECT_THAT(stack_of(with(">=26")).base_images,
              ElementsAre("docker.io/library/node:26-bookworm-slim"))
      << "younger than the table";
  EXPECT_THAT(refusal(with("<16")),
              AllOf(HasSubstr("Node <16 (engines.node"), HasSubstr("has Node 18"),
                    HasSubstr("builder.bases.node")));
}

TEST(Node, a_version_that_is_only_wished_for_falls_back_to_what_is_here) {
  const Files wished = {{"package.json", k_start}, {".nvmrc", "v22.3.0\n"}};
  const auto pulled = stack_of(wished);
  EXPECT_THAT(pulled.base_images, ElementsAre("docker.io/library/node:22-bookworm-slim"));
  EXPECT_TRUE(pulled.has_fallback);
  StackBases offline = k_bases;
  offline.may_pull = false;
  const auto here = detect_stack(MemoryTree(wished), offline);
  ASSERT_TRUE(here) << to_string(here.error());
  EXPECT_THAT(here->base_images, ElementsAre("localhost/atlasflow-base/node:18-bookworm"));
  EXPECT_THAT(here->notices,
              ElementsAre(AllOf(HasSubstr("Node 22.3.0 (.nvmrc)"), HasSubstr("has Node 18"))));
  EXPECT_THAT(stack_of({{"package.json", k_start}, {".nvmrc", "lts/*"}}).base_images,
              ElementsAre("localhost/atlasflow-base/node:18-bookworm"));
  EXPECT_THAT(stack_of({{"package.json", k_start}, {".nvmrc", "lts/iron"}}).base_images,
              ElementsAre("docker.io/library/node:20-bookworm-slim"));
}

TEST(Node, the_operators_base_is_the_only_one) {
  StackBases bases = k_bases;
  bases.configured["node"] = "registry.example.com/node:20-ours";
  const auto own = detect_stack(MemoryTree(Files{{"package.json", k_start}}), bases);
  ASSERT_TRUE(own);
  EXPECT_THAT(own->base_images, ElementsAre("registry.example.com/node:20-ours"));
  const auto refused = detect_stack(
      MemoryTree(
          Files{{"package.json", R"({"scripts": {"start": "x"}, "engines": {"node": ">=22"}})"}}),
      bases);
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message, HasSubstr("has Node 20"));
}

TEST(Node, certificate_authorities_are_given_to_each_step_and_to_no_layer) {
  const auto stack =
      stack_of({{"package.json", k_start_and_dependency}}, {.has_ca_certificate = true});
  EXPECT_THAT(
      stack.dockerfile,
      HasSubstr("RUN --mount=type=secret,id=atlasflow.ca_certificate,mode=0444 export "
                "NODE_EXTRA_CA_CERTS=/run/secrets/atlasflow.ca_certificate && npm install"));
  EXPECT_THAT(stack.dockerfile, Not(HasSubstr("ENV NODE_EXTRA_CA_CERTS")));
}

// ---- frameworks and workspaces ----

std::string package_with(const std::string& dependency, const std::string& scripts) {
  return R"({"scripts": {)" + scripts + R"(}, "dependencies": {")" + dependency + R"(": "1"}})";
}

TEST(NodeFramework, is_started_by_its_own_server_when_it_has_no_script) {
  const std::pair<const char*, const char*> cases[] = {
      {"next", "start"},
      {"nuxt", ".output/server/index.mjs"},
      {"@remix-run/serve", "build/server/index.js"},
      {"@react-router/serve", "build/server/index.js"},
      {"@sveltejs/adapter-node", "build"},
      {"@astrojs/node", "dist/server/entry.mjs"},
      {"@tanstack/react-start", ".output/server/index.mjs"},
      {"@nestjs/core", "dist/main.js"},
  };
  for (const auto& [dependency, start] : cases) {
    const auto stack = detected({{"package.json", package_with(dependency, R"("build": "make")")}});
    EXPECT_EQ(stack.name, "node") << dependency;
    EXPECT_EQ(start_line(stack), start) << dependency;
    EXPECT_THAT(stack.dockerfile, HasSubstr("npm run build\n")) << dependency;
  }
  const auto angular =
      detected({{"package.json", package_with("@angular/ssr", R"("build": "ng build")")},
                {"angular.json", R"({"projects": {"shop": {}}})"}});
  EXPECT_THAT(angular.start, ElementsAre("node", "dist/shop/server/server.mjs"));
}

TEST(NodeFramework, what_is_built_to_files_is_served_by_the_static_server) {
  struct Case {
    const char* dependency;
    const char* scripts;
    bool falls_back;  // to index.html, for paths that only the page knows
  };
  const Case cases[] = {
      {"vite", R"("build": "vite build", "start": "vite")", true},
      {"vite", R"("build": "vite build", "start": "vite preview --port 4173")", true},
      {"react-scripts", R"("build": "react-scripts build", "start": "react-scripts start")", true},
      {"@angular/core", R"("build": "ng build", "start": "ng serve")", true},
      {"astro", R"("build": "astro build", "start": "astro dev")", false},
      {"gatsby", R"("build": "gatsby build")", false},
  };
  for (const auto& each : cases) {
    const auto stack = detected({{"package.json", package_with(each.dependency, each.scripts)}});
    EXPECT_EQ(stack.name, "static") << each.scripts;
    EXPECT_TRUE(stack.needs_static_server);
    EXPECT_EQ(stack.dockerfile.find("--fallback") != std::string::npos, each.falls_back)
        << each.scripts;
  }
  const auto exported = detected(
      {{"package.json", package_with("next", R"("build": "next build", "start": "next start")")},
       {"next.config.mjs", "export default {\n  output: 'export',\n}\n"}});
  EXPECT_EQ(exported.name, "static");
}

TEST(Workspace, the_one_package_that_can_be_started_is) {
  const char* root = R"({"private": true, "workspaces": ["apps/*", "packages/*"],
                         "scripts": {"build": "turbo build"}, "devDependencies": {"turbo": "2"}})";
  const Files files = {{"package.json", root},
                       {"package-lock.json", "{}"},
                       {"turbo.json", "{}"},
                       {"apps/web/package.json",
                        package_with("next", R"("build": "next build", "start": "next start")")},
                       {"packages/ui/package.json", R"({"main": "index.js"})"},
                       {"packages/ui/index.js", ""}};
  const auto stack = detected(files);
  EXPECT_EQ(stack.name, "node");
  EXPECT_THAT(stack.reason, HasSubstr("of which apps/web is started"));
  EXPECT_EQ(start_line(stack), "cd apps/web && exec npm start");
  EXPECT_THAT(stack.dockerfile, HasSubstr("RUN NODE_ENV=production npm run build\n"));

  auto two = files;
  two["apps/api/package.json"] = R"({"scripts": {"start": "node ."}})";
  EXPECT_THAT(refused(two),
              AllOf(HasSubstr("several packages that could be deployed (apps/api, apps/web)"),
                    HasSubstr("root_folder")));
}

TEST(Workspace, pnpm_and_a_site_in_it) {
  const Files files = {
      {"package.json", R"({"private": true})"},
      {"pnpm-workspace.yaml", "# all\npackages:\n  - 'sites/*'\nother:\n  - x\n"},
      {"pnpm-lock.yaml", "lockfileVersion: '9.0'\n"},
      {"sites/docs/package.json", package_with("vite", R"("build": "vite build")")}};
  const auto stack = detected(files);
  EXPECT_EQ(stack.name, "static");
  EXPECT_THAT(stack.dockerfile, AllOf(HasSubstr("cd sites/docs && pnpm run build\n"),
                                      HasSubstr("RUN cd sites/docs && for d in dist")));
}

TEST(Workspace, an_app_of_nx_is_built_and_run_from_dist) {
  const Files files = {
      {"package.json", R"({"devDependencies": {"nx": "20"}})"},
      {"package-lock.json", "{}"},
      {"nx.json", "{}"},
      {"apps/api/project.json",
       R"({"projectType": "application", "targets": {"serve": {"executor": "@nx/js:node"}}})"},
      {"apps/api-e2e/project.json", "{}"}};
  const auto stack = detected(files);
  EXPECT_EQ(stack.name, "node");
  EXPECT_THAT(stack.dockerfile, HasSubstr("node_modules/.bin/nx build api\n"));
  EXPECT_THAT(stack.start, ElementsAre("node", "dist/apps/api/main.js"));
}

TEST(Bun, runs_what_it_is_the_package_manager_of) {
  const auto stack =
      detected({{"package.json", package_with("hono", "")}, {"bun.lock", "{}"}, {"index.ts", ""}});
  EXPECT_THAT(stack.start, ElementsAre("bun", "index.ts"));
  EXPECT_THAT(stack.dockerfile, HasSubstr("bun install --frozen-lockfile\n"));
}

TEST(Workspace, a_list_in_one_line_and_folders_that_are_left_out) {
  const std::string app = R"({"scripts": {"start": "node ."}})";
  const auto pnpm = detected({{"package.json", "{}"},
                              {"pnpm-workspace.yaml", "packages: ['apps/*', \"!apps/old\"]\r\n"},
                              {"pnpm-lock.yaml", "lockfileVersion: '9.0'\n"},
                              {"apps/old/package.json", app},
                              {"apps/web/package.json", app}});
  EXPECT_EQ(start_line(pnpm), "cd apps/web && exec pnpm start");
  const auto npm = detected({{"package.json", R"({"workspaces": ["apps/*", "!apps/old"]})"},
                             {"apps/old/package.json", app},
                             {"apps/web/package.json", app}});
  EXPECT_EQ(start_line(npm), "cd apps/web && exec npm start");
}

TEST(Workspace, patterns_may_be_at_the_root_deep_or_in_the_middle_of_a_path) {
  const std::string app = R"({"scripts": {"start": "node ."}})";
  const std::string library = R"({"main": "index.js"})";
  const std::pair<const char*, const char*> cases[] = {
      {"*", "api"},         {"packages/**", "packages/deep/er"}, {"libs/*/plugin", "libs/a/plugin"},
      {"app-*", "app-web"}, {"./packages/*/", "packages/web"},   {"**", "any/where"},
  };
  for (const auto& [pattern, folder] : cases) {
    const auto stack =
        detected({{"package.json", std::string(R"({"workspaces": [")") + pattern + R"("]})"},
                  {"package-lock.json", "{}"},
                  {std::string(folder) + "/package.json", app},
                  {"node_modules/x/package.json", app},
                  {".hidden/package.json", app},
                  {"packages/lib/package.json", library}});
    EXPECT_EQ(start_line(stack), std::string("cd ") + folder + " && exec npm start") << pattern;
  }
}

TEST(Workspace, of_pnpm_is_installed_by_pnpm_without_a_lock_file_too) {
  const auto stack = detected({{"package.json", "{}"},
                               {"pnpm-workspace.yaml", "packages:\n  - apps/*\n"},
                               {"apps/web/package.json", R"({"scripts": {"start": "node ."}})"}});
  EXPECT_EQ(start_line(stack), "cd apps/web && exec pnpm start");
  EXPECT_THAT(stack.notices,
              Contains(HasSubstr("commit the pnpm-lock.yaml that pnpm install writes")));
}

TEST(Node, a_development_server_is_known_behind_another_script_and_variables) {
  const std::string rest = R"(, "build": "x"}, "scripts-info": {}})";
  for (const char* scripts :
       {R"("start": "npm run dev", "dev": "vite")", R"("start": "yarn dev", "dev": "next dev")",
        R"("start": "cross-env PORT=3000 BROWSER=none react-scripts start")",
        R"("start": "NODE_ENV=development pnpm dev", "dev": "A=b vite --host")",
        R"("start": "docusaurus start --port 3000")"}) {
    const auto stack =
        detected({{"package.json", R"({"scripts": {)" + std::string(scripts) + rest}});
    EXPECT_EQ(stack.name, "static") << scripts;
  }
  for (const char* scripts :
       {R"("start": "npm run serve", "serve": "node server.js")", R"("start": "npm run start")",
        R"("start": "NODE_ENV=production node .")", R"("start": "npm run nothing")"}) {
    const auto stack =
        detected({{"package.json", R"({"scripts": {)" + std::string(scripts) + rest}});
    EXPECT_EQ(stack.name, "node") << scripts;
  }
}

TEST(Node, what_is_null_is_not_there_and_a_link_out_of_the_repository_says_nothing) {
  EXPECT_EQ(
      detected({{"package.json", R"({"scripts": {"start": "x"}, "dependencies": null})"}}).name,
      "node");
  EXPECT_EQ(detected({{"package.json/a", ""}, {"index.html", ""}}).name, "static");
  EXPECT_THAT(refused({{"package.json/a", ""}}), HasSubstr("nothing says how it is started"));
}

TEST(Workspace, a_broken_package_of_it_is_named) {
  EXPECT_THAT(refused({{"package.json", R"({"workspaces": ["apps/*"]})"},
                       {"apps/web/package.json", "{\n,"}}),
              HasSubstr("apps/web/package.json, line 2 is not JSON"));
}

}  // namespace
}  // namespace atlasflow::builder
