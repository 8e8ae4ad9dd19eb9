// Writes the newc cpio format that the kernel unpacks as its initramfs (kernel documentation,
// early-userspace/buffer-format). Pure; the same input gives the same bytes.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace atlasflow::vmm {

class CpioWriter {
 public:
  void add_folder(std::string_view path, std::uint32_t permissions);
  void add_file(std::string_view path, std::uint32_t permissions, std::string_view bytes);

  // The archive with its trailer. The writer is empty afterwards.
  [[nodiscard]] std::string finish();

 private:
  void add(std::string_view path, std::uint32_t mode, std::string_view bytes);
  void pad();

  std::string archive_;
  std::uint32_t inode_ = 0;
};

}  // namespace atlasflow::vmm
