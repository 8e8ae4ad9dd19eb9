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

// Of "key: value", in quotes or not; empty when it does not say.
std::string staticfile_value(const std::string& text, std::string_view key) {
  for (const auto& line : lines_of(text)) {
    if (!line.starts_with(key) || !line.substr(key.size()).starts_with(':')) continue;
    auto value = trimmed(std::string_view(line).substr(key.size() + 1));
    const bool is_quoted = value.size() > 1 && (value.front() == '"' || value.front() == '\'') &&
                           value.back() == value.front();
    return is_quoted ? value.substr(1, value.size() - 2) : value;
  }
  return {};
}

// The folder's first page, below it; empty: it has none.
std::string index_in(const ProviderInput& input, const std::string& folder) {
  for (const char* page : {"index.html", "index.htm"}) {
    if (input.tree.has_file(folder == "." ? page : folder + "/" + page)) return page;
  }
  return {};
}

// Cloud Foundry's word for a page that is there for every path. What else it knows (a list of the
// folder's files, passwords, rules of its server) is not done, and said.
std::string staticfile_fallback(const std::string& text, const std::string& index,
                                std::vector<std::string>& notices) {
  constexpr std::size_t k_told_max = 5;
  std::string told;
  std::size_t unused = 0;
  for (const auto& line : lines_of(text)) {
    const auto key = trimmed(line.substr(0, line.find(':')));
    const bool is_known = line.empty() || line.front() == '#' || line.front() == '-' ||
                          key == "root" || key == "pushstate";
    if (is_known || ++unused > k_told_max) continue;
    told += (told.empty() ? "" : ", ") + key.substr(0, 60);
  }
  if (unused > k_told_max) told += " and " + std::to_string(unused - k_told_max) + " more";
  if (unused != 0) {
    notices.push_back("Staticfile: " + told + (unused == 1 ? " is" : " are") +
                      " not used; it takes root and pushstate");
  }
  const auto pushstate = staticfile_value(text, "pushstate");
  const bool is_on = pushstate == "enabled" || pushstate == "true";
  if (!is_on) return {};
  return index.empty() ? "index.html" : index;
}

// The setting static.folder, "root: FOLDER" in a Staticfile (Cloud Foundry's and Railpack's), or
// the root, public or dist, whichever has an index.html or index.htm first.
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
  if (const auto root = staticfile_value(staticfile.value_or(""), "root"); !root.empty()) {
    const auto folder = tidy(root);
    ATLAS_TRYV(must_be(folder, "Staticfile"));
    return SiteFolder{folder, "Staticfile, whose root is " + folder};
  }
  for (const char* folder : {".", "public", "dist"}) {
    const auto index = index_in(input, folder);
    if (index.empty()) continue;
    const bool is_root = std::string_view(folder) == ".";
    return SiteFolder{folder, input.has("package.json") && is_root
                                  ? index + ", and package.json without a start script"
                                  : input.in_place(is_root ? index : folder + ("/" + index))};
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
  const auto own = staticfile_fallback(text_or_nothing(input.tree, "Staticfile"),
                                       index_in(input, site->folder), plan.notices);
  const auto& chosen = input.choice.static_fallback;
  finish_site(plan, {{site->folder == "." ? "." : site->folder + "/"}, k_root, "", false},
              chosen.empty() ? own : chosen);
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
