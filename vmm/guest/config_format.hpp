// The format of the config drive: how the host tells the guest init what to run. Written by
// vmm/disk/config_drive.cpp on the host, read once by vmm/guest/init.cpp in the guest. Pure
// functions.
//
// The drive has a fixed size of 1 MiB, so that a template of the machine fits every VM. That is
// 256 KiB for a project's variables and as much for the image's own and its command:
//   bytes 0..7    the magic "ATLASCF1"
//   bytes 8..11   length of the records in bytes, little endian
//   bytes 12..    records "key:value" that each end in a NUL; the value may hold any other byte
// Keys: hostname, address, netmask, gateway, nameserver*, layers (a count), user, workdir,
// stop_signal (a number), env*, arg*. A key with a star may occur again; order is kept. Unknown
// keys are an error: host and guest init are always of one build.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

namespace atlasflow::vmm::guest {

inline constexpr std::string_view k_config_magic = "ATLASCF1";
inline constexpr std::size_t k_config_bytes = 1024 * 1024;
inline constexpr std::size_t k_config_header_bytes = 12;

// How the parts find each other: virtio-blk serials and virtio-serial port names.
inline constexpr const char* k_serial_config = "config";
inline constexpr const char* k_serial_scratch = "scratch";
inline constexpr const char* k_serial_layer = "layer";  // layer0 is the bottom one
inline constexpr const char* k_port_control = "atlas.control";
inline constexpr const char* k_port_events = "atlas.events";
inline constexpr const char* k_port_log = "atlas.log";
inline constexpr const char* k_probe_word = "atlas.probe";  // on the kernel command line

// Told to the app's owner, by the guest at its end and in its log, by the host after a bad probe.
inline constexpr const char* k_disk_is_full =
    "the VM's disk is full: raise disk_mib, or write less";

struct ConfigRecord {
  std::string_view key;
  std::string_view value;
};

// How long the drive's part is that says something, of its first bytes; 0 when it is none of ours.
[[nodiscard]] inline std::size_t config_bytes_used(std::string_view drive) {
  if (drive.size() < k_config_header_bytes ||
      drive.substr(0, k_config_magic.size()) != k_config_magic) {
    return 0;
  }
  std::uint32_t length = 0;
  for (std::size_t i = 0; i < 4; ++i) {
    length |= static_cast<std::uint32_t>(static_cast<unsigned char>(drive[8 + i])) << (8 * i);
  }
  return k_config_header_bytes + length;
}

// Views into drive. Nothing when the drive is not one of ours or is cut short.
[[nodiscard]] inline std::optional<std::vector<ConfigRecord>> decode_config(
    std::string_view drive) {
  const std::size_t used = config_bytes_used(drive);
  if (used == 0 || used > drive.size()) return std::nullopt;
  std::string_view rest = drive.substr(k_config_header_bytes, used - k_config_header_bytes);
  std::vector<ConfigRecord> records;
  while (!rest.empty()) {
    const std::size_t end = rest.find('\0');
    if (end == std::string_view::npos) return std::nullopt;
    const std::string_view record = rest.substr(0, end);
    const std::size_t colon = record.find(':');
    if (colon == std::string_view::npos) return std::nullopt;
    records.push_back({record.substr(0, colon), record.substr(colon + 1)});
    rest.remove_prefix(end + 1);
  }
  return records;
}

}  // namespace atlasflow::vmm::guest
