#include "builder/stack/providers/static_site.hpp"

#include <algorithm>
#include <array>

#include "builder/stack/provider.hpp"
#include "builder/stack/source_text.hpp"

namespace atlasflow::builder {
namespace {

constexpr const char* k_root = "/srv";

struct SiteFolder {
  std::string folder;  // "." is the root
  std::string why;
};

// Without "./" before it and "/" behind it.
std::string tidy(std::string folder) {
  while (folder.starts_with("./")) folder.erase(0, 2);
  while (folder.size() > 1 && folder.ends_with('/')) folder.pop_back();
  return folder.empty() ? "." : folder;
}

// The setting static.folder, "root: FOLDER" in a Staticfile (Cloud Foundry's and Railpack's), or
// the root, public or dist, whichever has an index.html first.
Result<std::optional<SiteFolder>> find_site_folder(const ProviderInput& input) {
  const std::string place = place_of(input.choice);
  const auto must_be = [&](const std::string& folder, const std::string& who) -> Result<void> {
    if (folder == "." || !input.tree.list(folder).empty()) return {};
    return fail(ErrorCode::user_error,
                "there is no folder " + folder + " in " + place + ", which " + who + " names");
  };
  if (!input.choice.static_folder.empty()) {
    const auto& folder = input.choice.static_folder;
    ATLAS_TRYV(must_be(folder, "the setting static.folder"));
    return SiteFolder{folder, "the setting static.folder is " + folder};
  }
  ATLAS_TRY(const auto staticfile, read_text(input.tree, "Staticfile"));
  for (const auto& line : lines_of(staticfile.value_or(""))) {
    if (!line.starts_with("root:")) continue;
    const auto folder = tidy(trimmed(std::string_view(line).substr(5)));
    ATLAS_TRYV(must_be(folder, "Staticfile"));
    return SiteFolder{folder, "Staticfile, whose root is " + folder};
  }
  for (const char* folder : {".", "public", "dist"}) {
    const std::string page =
        std::string(folder) == "." ? "index.html" : std::string(folder) + "/index.html";
    if (!input.tree.has_file(page)) continue;
    return SiteFolder{folder, input.has("package.json") && std::string(folder) == "."
                                  ? "index.html, and package.json without a start script"
                                  : input.in_place(page)};
  }
  return std::optional<SiteFolder>{};
}

}  // namespace

Result<Offer> plan_static(const ProviderInput& input, const std::string& /*seen*/) {
  ATLAS_TRY(const auto site, find_site_folder(input));
  if (!site) return Offer(CannotStart{});
  Plan plan;
  plan.provider = "static";
  plan.reason = site->why;
  // What a repository has for itself; the server does not show names with a dot in any case.
  plan.ignored = {"**/.*",    "!.well-known", "**/node_modules", "atlasflow.toml",
                  "Procfile", "Staticfile",   "Dockerfile*",     "docker-compose*"};
  if (site->folder != ".") plan.needed_folders.push_back(site->folder);
  plan.needed_folders.emplace_back(".well-known");
  finish_site(plan, {{site->folder == "." ? "." : site->folder + "/"}, k_root, "", false},
              input.choice.static_fallback);
  return Offer(std::move(plan));
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
