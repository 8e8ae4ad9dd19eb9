// Sites of files: which folder is served, and the stage that serves it. Pure; any thread.
#pragma once

#include <optional>
#include <string>

#include "builder/stack/detect.hpp"
#include "builder/stack/providers/package_json.hpp"

namespace atlasflow::builder {

// ---- sites that a build makes ----

// For sh: moves what the build made to /site, or says where it looked. `folder` is the setting.
[[nodiscard]] std::string gather_site_command(const std::string& folder);
// The setting static.fallback; else the page itself for frameworks of single-page apps.
[[nodiscard]] std::string built_site_fallback(const PackageJson& package,
                                              const StackChoice& choice);
// The last stage: the static server, the site, and nothing else.
void finish_site(Plan& plan, const CopyStep& site, const std::string& fallback);

}  // namespace atlasflow::builder
