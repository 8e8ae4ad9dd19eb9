// Resolves the image's USER against the image's own /etc/passwd and /etc/group, as container
// runtimes do. Runs in the guest (the host never parses files of an image as accounts); pure, so
// that the tests run it on the host.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace atlasflow::vmm::guest {

struct Identity {
  unsigned uid = 0;
  unsigned gid = 0;
  // Supplementary: gid itself, and the groups that list the user unless a group is named.
  std::vector<unsigned> groups;
  std::string home = "/";
};

struct UserLookup {
  Identity identity;
  std::string error;  // empty: found
};

// spec: "", "name", "uid", "name:group", "uid:gid". A number needs no entry; its group is then 0.
[[nodiscard]] UserLookup resolve_user(std::string_view spec, std::string_view passwd,
                                      std::string_view group);

}  // namespace atlasflow::vmm::guest
