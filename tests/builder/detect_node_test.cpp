// Node frameworks, single-page apps and workspaces: what is built, and what of it is started.
#include "tests/builder/detect_fixture.hpp"

namespace atlasflow::builder {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

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

TEST(Workspace, a_broken_package_of_it_is_named) {
  EXPECT_THAT(refused({{"package.json", R"({"workspaces": ["apps/*"]})"},
                       {"apps/web/package.json", "{\n,"}}),
              HasSubstr("apps/web/package.json, line 2 is not JSON"));
}

}  // namespace
}  // namespace atlasflow::builder
