// A plan as text: the Dockerfile and the ignore file that go to buildah, and JSON. Pure; any
// thread.
#pragma once

#include <optional>
#include <string>

#include "builder/stack/build_secret_id.hpp"
#include "builder/stack/plan.hpp"

namespace atlasflow::builder {

struct RenderOptions {
  // RUN steps get the certificate authorities of the secret k_ca_secret.
  bool has_ca_certificate = false;
  SecretIds secrets = {};  // of steps that install or build
};

// No name of a project's own begins so (events/build_secret.hpp).
inline constexpr const char* k_ca_secret = "atlasflow.ca_certificate";

[[nodiscard]] std::string render_dockerfile(const Plan& plan, const RenderOptions& options);

// The repository's own ignore file, if any, in such a way that what the plan needs is not ignored.
[[nodiscard]] std::string render_ignore(const Plan& plan, const std::optional<std::string>& own);

}  // namespace atlasflow::builder
