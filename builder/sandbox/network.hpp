// The network of a sandbox: a namespace with a loopback of its own and, by slirp4netns, the
// internet, but neither this machine nor the networks that it is in. Internal to builder/sandbox/.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include <sys/types.h>

#include "base/error.hpp"
#include "base/process.hpp"

namespace atlasflow::builder {

// In the child, inside of its network namespace; kernel calls only. 0 or errno.
[[nodiscard]] int raise_loopback();

// Joins the network namespace of `pid` to the internet. What is private to a network (RFC 1918, RFC
// 6598, link-local with a cloud's metadata service, multicast) and this machine's own addresses
// stay unreachable, but for `allowed`: prefixes as "10.1.0.0/16". The process that it returns is
// the way out, and must live as long. `scratch`: where a file may be written meanwhile.
[[nodiscard]] Result<Process> join_internet(pid_t pid, const std::vector<std::string>& allowed,
                                            const std::filesystem::path& scratch);

}  // namespace atlasflow::builder
