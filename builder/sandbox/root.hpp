// The minimal root that a sandbox has: the toolchain's file system, read-only, and in it only the
// folders of this one call. Runs between clone3 and exec, so by kernel calls alone: no allocation,
// no lock. Internal to builder/sandbox/.
#pragma once

#include <string>
#include <vector>

#include "base/secret.hpp"

namespace atlasflow::builder {

struct SecretInRoot {
  std::string path;  // in the new root, relative: "mnt/secrets/0"
  Secret content;
};

// Everything that it needs, in memory that the parent made. Sources are absolute paths of the host;
// an empty one is left out.
struct RootPlan {
  std::string toolchain;
  std::string storage;       // -> /mnt/storage
  std::string bases;         // -> /mnt/bases, read-only
  std::string cache;         // -> /var/lib/containers/cache
  std::string cache_mounts;  // -> where buildah keeps RUN --mount=type=cache, below /mnt/scratch
  std::string scratch;       // -> /mnt/scratch and /var/tmp
  std::string context;       // -> /mnt/context; writes to it go to the scratch folder
  bool hides_files = false;  // the scratch folder has what hides some of the context
  std::string hooks;         // "mnt/hooks/<name>", made empty
  std::vector<SecretInRoot> secrets;
  std::string containers_conf;
  std::string seccomp;
  bool host_network = false;  // the machine's resolver and certificates are needed
  int user_namespace = -1;
  unsigned root_id = 0;  // the sandbox's root, as the host counts
};

// In a mount namespace of its own, still the host's root. The working folder is / of the new root
// after it; the host's root is gone for good. 0, or errno with `*step` naming what failed.
[[nodiscard]] int enter_root(const RootPlan& plan, const char** step);

// Once more, from inside the sandbox's network, cgroup and user namespaces: what /sys shows of
// networks is that of the moment when it was mounted, and of cgroups it shows the build's only.
[[nodiscard]] int mount_own_sys();

}  // namespace atlasflow::builder
