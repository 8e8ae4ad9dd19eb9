#include "builder/stack/static_site.hpp"

#include <algorithm>
#include <array>

namespace atlasflow::builder {
namespace {

constexpr const char* k_root = "/srv";

}  // namespace

std::optional<std::string> find_site_folder(const SourceTree& tree, const StackChoice& choice) {
  if (!choice.static_folder.empty()) return choice.static_folder;
  for (const char* folder : {".", "public", "dist"}) {
    const std::string page =
        std::string(folder) == "." ? "index.html" : std::string(folder) + "/index.html";
    if (tree.has_file(page)) return folder;
  }
  return std::nullopt;
}

Plan plan_static_site(const std::string& folder, const std::string& why,
                      const StackChoice& choice) {
  Plan plan;
  plan.provider = "static";
  plan.reason = why;
  // What a repository has for itself; the server does not show names with a dot in any case.
  plan.ignored = {"**/.*",    "!.well-known", "**/node_modules", "atlasflow.toml",
                  "Procfile", "Staticfile",   "Dockerfile*",     "docker-compose*"};
  if (folder != ".") plan.needed_folders.push_back(folder);
  plan.needed_folders.emplace_back(".well-known");
  finish_site(plan, {{folder == "." ? "." : folder + "/"}, k_root, "", false},
              choice.static_fallback);
  return plan;
}

std::string gather_site_command(const std::string& folder) {
  if (!folder.empty() && folder != ".") {
    return "test -d '" + folder + "' || { echo \"the build made no folder " + folder +
           ", which the setting static.folder names\"; exit 1; }; cp -R '" + folder + "' /site";
  }
  // Where the usual tools write: Vite, Astro, Rollup; create-react-app, SvelteKit; Next's export;
  // Gatsby, Hugo; Eleventy, Jekyll; Angular (dist/NAME, dist/NAME/browser).
  return "for d in dist build out public _site dist/*/browser dist/* .; do "
         "test -f \"$d/index.html\" || continue; echo \"the site is $d\"; rm -rf node_modules; "
         "cp -R \"$d\" /site && exit 0; done; "
         "echo \"the build made no index.html in dist, build, out, public or _site\"; exit 1";
}

std::string built_site_fallback(const PackageJson& package, const StackChoice& choice) {
  if (!choice.static_fallback.empty()) return choice.static_fallback;
  constexpr std::array<const char*, 4> k_single_page = {"vite", "react-scripts", "@angular/core",
                                                        "@vue/cli-service"};
  // Both of these write a page for every path, with Vite below.
  if (package.depends_on("astro") || package.depends_on("vitepress")) return {};
  const bool is_single_page =
      std::any_of(k_single_page.begin(), k_single_page.end(),
                  [&](const char* name) { return package.depends_on(name); });
  return is_single_page ? "index.html" : "";
}

void finish_site(Plan& plan, const CopyStep& site, const std::string& fallback) {
  PlanStage last{"", "scratch", {}};
  const std::string program = std::string("/") + k_static_server_program;
  last.steps.push_back(EnvStep{{{"PORT", "3000"}}});
  last.steps.push_back(CopyStep{{program}, program, k_static_server_context, false});
  last.steps.push_back(site);
  last.steps.push_back(AppUserStep{});
  plan.stages.push_back(std::move(last));
  plan.start = {program, "--root", k_root};
  if (!fallback.empty()) {
    plan.start.insert(plan.start.end(), {"--fallback", fallback});
    plan.reason += ", " + fallback + " for every path without a file";
  }
  plan.needs_static_server = true;
}

}  // namespace atlasflow::builder
