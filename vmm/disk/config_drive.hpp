// What a VM runs, out of the image's configuration and the project's, and the drive that tells the
// guest. Pure functions. A drive holds secrets: it is kept in memory and never logged.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "base/error.hpp"

namespace atlasflow::vmm {

// The `config` of an OCI image that matters here (image-spec, config.md).
struct ImageConfig {
  std::vector<std::string> entrypoint;
  std::vector<std::string> cmd;
  std::vector<std::string> env;  // "K=V"
  std::string user;
  std::string workdir;
  std::vector<std::string> diff_ids;  // "sha256:…", bottom first
};

// Reads the configuration blob of an image. corrupt when it is none.
[[nodiscard]] Result<ImageConfig> parse_image_config(const std::string& json);

struct GuestRun {
  std::vector<std::string> args;
  std::vector<std::string> env;
  std::string user;
  std::string workdir;
};

// ENTRYPOINT and CMD in a row, or `sh -c` with the command when there is one; the project's
// variables over the image's; PORT and HOST over both; a PATH when none is given. user_error: no
// command. invalid_argument: a name or value that no environment can hold.
[[nodiscard]] Result<GuestRun> merge_run(
    const ImageConfig& image, const std::vector<std::pair<std::string, std::string>>& project_env,
    unsigned port, const std::string& command = {});

struct GuestNetwork {
  std::string address;
  std::string netmask;
  std::string gateway;
  std::vector<std::string> nameservers;
};

// The bytes of the drive (format: guest/config_format.hpp). user_error when they do not fit.
[[nodiscard]] Result<std::string> encode_config_drive(const GuestRun& run,
                                                      const std::string& hostname,
                                                      const GuestNetwork& network, int layers);

}  // namespace atlasflow::vmm
