#include "builder/sandbox/toolchain.hpp"

#include <sstream>

#include "builder/source/source_file.hpp"

namespace atlasflow::builder {
namespace {

namespace fs = std::filesystem;

// Its first line says what script/bootstrap made it of; then a package and its version each.
constexpr const char* k_stamp = "PACKAGES";
constexpr std::size_t k_stamp_bytes_max = 64U << 10U;

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
  Toolchain toolchain{root, {}};
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
