#include "vmm/hypervisor/cpio.hpp"

#include <array>
#include <cstdio>
#include <utility>

#include <sys/stat.h>

#include "base/assert.hpp"

namespace atlasflow::vmm {
namespace {

constexpr int k_header_bytes = 6 + 13 * 8;
constexpr std::size_t k_field_max = 0xFFFFFFFF;

}  // namespace

void CpioWriter::add_folder(std::string_view path, std::uint32_t permissions) {
  add(path, S_IFDIR | permissions, {});
}

void CpioWriter::add_file(std::string_view path, std::uint32_t permissions,
                          std::string_view bytes) {
  add(path, S_IFREG | permissions, bytes);
}

std::string CpioWriter::finish() {
  add("TRAILER!!!", 0, {});
  inode_ = 0;
  return std::exchange(archive_, {});
}

void CpioWriter::add(std::string_view path, std::uint32_t mode, std::string_view bytes) {
  // Both sizes are fields of 32 bits, and each entry begins at a multiple of 4.
  ATLAS_ASSERT(bytes.size() <= k_field_max && path.size() < k_field_max, path);
  ATLAS_ASSERT_EQ(archive_.size() % 4, 0U);
  ++inode_;
  std::array<char, 128> header{};
  // Magic, then 13 fields of 8 hexadecimal digits: inode, mode, uid, gid, links, mtime, size,
  // device (2), special device (2), length of the name with its NUL, checksum (0 in this variant).
  const int length = std::snprintf(
      header.data(), header.size(), "070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X",
      inode_, mode, 0U, 0U, 1U, 0U, static_cast<unsigned>(bytes.size()), 0U, 0U, 0U, 0U,
      static_cast<unsigned>(path.size() + 1), 0U);
  ATLAS_ASSERT_EQ(length, k_header_bytes);
  archive_.append(header.data(), static_cast<std::size_t>(length));
  archive_.append(path);
  archive_.push_back('\0');
  pad();
  archive_.append(bytes);
  pad();
}

void CpioWriter::pad() {
  while (archive_.size() % 4 != 0) archive_.push_back('\0');
}

}  // namespace atlasflow::vmm
