#include "builder/sandbox/toolchain.hpp"

#include <algorithm>
#include <sstream>
#include <string_view>

#include <nlohmann/json.hpp>

#include "builder/source/source_file.hpp"

namespace atlasflow::builder {
namespace {

namespace fs = std::filesystem;

// Its first line says what script/bootstrap made it of; then a package and its version each.
constexpr const char* k_stamp = "PACKAGES";
constexpr std::size_t k_stamp_bytes_max = 64U << 10U;
constexpr const char* k_profile = "usr/share/containers/seccomp.json";
constexpr std::size_t k_profile_bytes_max = 1U << 20U;

// The kernel's keys belong to users and not to containers; Docker lets nobody at them.
constexpr std::string_view k_never[] = {"keyctl", "add_key", "request_key"};

Result<std::string> strict_profile(const std::string& text) {
  auto profile = nlohmann::json::parse(text, nullptr, false);
  const auto wrong = [] {
    return fail(ErrorCode::unavailable, std::string("has no usable ") + k_profile);
  };
  if (!profile.is_object() || !profile.contains("syscalls")) return wrong();
  for (auto& rule : profile["syscalls"]) {
    if (!rule.is_object() || !rule.contains("names") || !rule["names"].is_array()) return wrong();
    if (rule.value("action", nlohmann::json()) != "SCMP_ACT_ALLOW") continue;
    auto& names = rule["names"];
    names.erase(std::remove_if(names.begin(), names.end(),
                               [](const nlohmann::json& name) {
                                 return std::find(std::begin(k_never), std::end(k_never), name) !=
                                        std::end(k_never);
                               }),
                names.end());
  }
  return profile.dump();
}

}  // namespace

Result<Toolchain> find_toolchain(const fs::path& root) {
  const auto missing = [&root](const std::string& what) {
    return fail(ErrorCode::unavailable, "the toolchain that builds run in, " + root.string() +
                                            ", " + what + "; run script/bootstrap to make it");
  };
  const auto stamp = read_source_file(root, k_stamp, k_stamp_bytes_max);
  if (!stamp || !*stamp) return missing("is not there");
  std::error_code error;
  for (const char* program : {"buildah", "crun"}) {
    if (!fs::exists(root / "usr/bin" / program, error)) {
      return missing("has no " + std::string(program));
    }
  }
  const auto profile = read_source_file(root, k_profile, k_profile_bytes_max);
  if (!profile || !*profile) return missing(std::string("has no ") + k_profile);
  auto strict = strict_profile(**profile);
  if (!strict) return missing(strict.error().message);
  Toolchain toolchain{root, {}, *std::move(strict)};
  std::istringstream lines(**stamp);
  std::string line;
  std::getline(lines, line);
  while (std::getline(lines, line)) {
    // What shapes an image; the rest stands in the stamp for whoever asks.
    if (!line.starts_with("buildah ") && !line.starts_with("crun ")) continue;
    toolchain.versions += (toolchain.versions.empty() ? "" : ", ") + line;
  }
  return toolchain;
}

}  // namespace atlasflow::builder
