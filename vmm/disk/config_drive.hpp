// What a VM runs, out of the image's configuration and the project's, and the drive that tells the
// guest. Pure functions. A drive holds secrets: it is kept in memory and never logged.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
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
  std::string stop_signal;             // "SIGQUIT", "QUIT" or "3"; empty: SIGTERM
  std::vector<std::uint16_t> exposed;  // TCP ports, ascending
  std::vector<std::string> volumes;    // paths
  std::vector<std::string> diff_ids;   // "sha256:…", bottom first
};

// Reads the configuration blob of an image. corrupt when it is none.
[[nodiscard]] Result<ImageConfig> parse_image_config(const std::string& json);

struct GuestRun {
  std::vector<std::string> args;
  std::vector<std::string> env;
  std::string user;
  std::string workdir;
  int stop_signal = 15;
};

// A signal by its number or name, with or without "SIG", also RTMIN+3 and RTMAX-3; nothing when it
// is none.
[[nodiscard]] std::optional<int> signal_number(std::string_view text);

// Where the app listens: what the project's settings say, or, when they do not say it, the only TCP
// port that the image exposes.
[[nodiscard]] std::uint16_t port_of(const ImageConfig& image, std::uint16_t setting,
                                    bool setting_given);

// What whoever made the image should know of how it runs here, as sentences: that another port than
// the setting's is used, that volumes are not kept.
[[nodiscard]] std::vector<std::string> notices_of(const ImageConfig& image, std::uint16_t setting,
                                                  std::uint16_t port);

// ENTRYPOINT and CMD in a row, or `sh -c` with the command when there is one; the project's
// variables over the image's; PORT and HOST over both; a PATH when none is given. user_error: no
// command, or a STOPSIGNAL that is none. invalid_argument: a name or value that no environment can
// hold.
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
