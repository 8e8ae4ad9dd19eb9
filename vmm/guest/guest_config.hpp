// What the config drive says. Read once, in the guest.
#pragma once

#include <string>
#include <vector>

namespace atlasflow::vmm::guest {

struct Config {
  std::string hostname = "app";
  std::string address, netmask, gateway;
  std::vector<std::string> nameservers;
  int layers = 0;
  std::string user;
  std::string workdir = "/";
  int stop_signal = 15;
  std::vector<std::string> env;
  std::vector<std::string> args;
};

// Fails the boot when the drive is not readable.
[[nodiscard]] Config read_config();

}  // namespace atlasflow::vmm::guest
