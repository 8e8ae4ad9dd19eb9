#include "builder/stack/node_base.hpp"

#include <sstream>

#include "builder/stack/node_range.hpp"

namespace atlasflow::builder {
namespace {

constexpr std::size_t k_version_bytes_max = 64U << 10U;

// What a base image's name tells of it.
struct Facts {
  std::optional<PartialVersion> version;
  std::string version_text;
  bool has_corepack = true;
};

// "docker.io/library/node:20-bookworm-slim" has Node 20, and corepack as every official image from
// 16 to 24. script/base-images' own has what Debian packages, which has no corepack. Another image
// is taken at its word: the operator chose it.
Facts facts_of(const std::string& image) {
  Facts facts;
  const auto last = image.substr(image.rfind('/') + 1);
  const auto colon = last.find(':');
  if (last.substr(0, colon) == "node" && colon != std::string::npos) {
    const auto tag = last.substr(colon + 1);
    facts.version = parse_partial_version(tag);
    if (facts.version) facts.version_text = tag.substr(0, tag.find('-'));
  }
  if (image.starts_with("localhost/atlasflow-base/")) facts.has_corepack = false;
  if (image.starts_with("docker.io/library/node:") && facts.version) {
    facts.has_corepack = facts.version->parts[0] >= 16 && facts.version->parts[0] <= 24;
  }
  return facts;
}

// Empty: it has all that is asked for.
std::string lack_of(const std::string& image, const PackageJson& package,
                    const PackageInstaller& manager) {
  const Facts facts = facts_of(image);
  if (facts.version && !may_satisfy(*facts.version, package.node_range).value_or(true)) {
    return "package.json asks for Node " + package.node_range + " (engines.node), and " + image +
           " has Node " + facts.version_text;
  }
  if (manager.tool == PackageTool::bun) {
    return "the app is installed with Bun (" + manager.why + "), and " + image +
           " does not have it";
  }
  return {};
}

}  // namespace

Result<NodeBase> choose_node_base(const StackBases& bases, const PackageJson& package,
                                  const PackageInstaller& manager) {
  std::string lack_here;
  std::string lacks;
  for (const bool present : {true, false}) {
    for (const auto& base : bases.node) {
      if (base.is_present != present) continue;
      const auto lack = lack_of(base.image, package, manager);
      if (lack.empty()) {
        const auto facts = facts_of(base.image);
        return NodeBase{base.image, facts.version_text, lack_here, facts.has_corepack};
      }
      if (present && lack_here.empty()) lack_here = lack;
      lacks += (lacks.empty() ? "" : "; ") + lack;
    }
  }
  if (lacks.empty()) {
    return fail(ErrorCode::invalid_argument, "the configuration names no base image for Node");
  }
  return fail(ErrorCode::user_error,
              lacks +
                  ". Add a Dockerfile that starts from an image that has it, or let the "
                  "server's configuration name one as builder.node_base");
}

std::string version_notice(const SourceTree& tree, const NodeBase& base) {
  const auto have = parse_partial_version(base.version);
  if (!have) return {};
  for (const char* name : {".nvmrc", ".node-version", ".tool-versions"}) {
    const auto text = tree.read(name, k_version_bytes_max);
    if (!text || !*text) continue;
    std::istringstream words(**text);
    std::string wanted;
    words >> wanted;
    if (std::string_view(name) == ".tool-versions") {
      while (wanted != "nodejs" && wanted != "node" && words >> wanted) {
      }
      wanted.clear();
      words >> wanted;
    }
    if (!parse_partial_version(wanted)) continue;
    if (may_satisfy(*have, wanted).value_or(true)) return {};
    return std::string(name) + " asks for Node " + wanted.substr(0, 20) + "; it is built with " +
           base.image + ", which has Node " + base.version;
  }
  return {};
}

}  // namespace atlasflow::builder
