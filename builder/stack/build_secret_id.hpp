// By which id buildah is told of a project's build secret. The value's digest is a part of it: what
// a step mounts stands in its text, which is what buildah finds a layer by, so that a changed value
// runs the steps that mount it again and no others. Docker has no such rule, and a token that was
// taken back would go on in what was fetched with it. Pure; any thread.
#pragma once

#include <map>
#include <string>

namespace atlasflow::builder {

// Ids by the secrets' names.
using SecretIds = std::map<std::string, std::string>;

inline std::string secret_id(const std::string& name, const std::string& digest) {
  return name + "." + digest;
}

template <typename Secrets>
SecretIds secret_ids(const Secrets& secrets) {
  SecretIds ids;
  for (const auto& secret : secrets) ids[secret.name] = secret_id(secret.name, secret.digest);
  return ids;
}

// Where a step finds it that names no other place.
inline std::string secret_target(const std::string& name) { return "/run/secrets/" + name; }

}  // namespace atlasflow::builder
