// The languages that generated Dockerfiles know, and the public images that their stages start
// from: one row each, so that a new version is one word more. Constants; any thread.
#pragma once

#include <span>
#include <string_view>
#include <vector>

namespace atlasflow::builder {

struct Language {
  std::string_view key;    // of the setting builder.bases
  std::string_view own;    // of localhost/atlasflow-base/<own>:<version>-bookworm; empty: none
  std::string_view title;  // "Python"
  std::string_view image;  // public, with {} for the version: "docker.io/library/python:{}-slim"
  // For an app that takes one release and no other, "3.2.2"; empty: the release before is as good.
  std::string_view exact_image;
  std::vector<std::string_view> versions;  // the one that is taken without a wish first
};

[[nodiscard]] std::span<const Language> languages();
// `key` must be one of them.
[[nodiscard]] const Language& language(std::string_view key);

// What compiled programs run on: the same Debian as the images that compile them.
inline constexpr const char* k_debian_image = "docker.io/library/debian:bookworm-slim";
// What script/base-images makes from Debian's packages.
inline constexpr std::string_view k_own_bases = "localhost/atlasflow-base/";

}  // namespace atlasflow::builder
