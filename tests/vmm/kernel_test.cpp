#include "vmm/hypervisor/kernel.hpp"

#include <fstream>
#include <map>

#include <archive.h>
#include <archive_entry.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <lz4.h>

#include "base/digest.hpp"
#include "base/file.hpp"
#include "tests/vmm/image_fixture.hpp"
#include "vmm/hypervisor/cpio.hpp"

namespace atlasflow::vmm {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using namespace std::string_literals;
namespace fs = std::filesystem;

void write_bytes(const fs::path& path, const std::string& bytes) {
  fs::create_directories(path.parent_path());
  std::ofstream(path, std::ios::binary) << bytes;
}

// Path -> content of a cpio, as libarchive reads it; a folder's content is "/".
std::map<std::string, std::string> read_cpio(const std::string& bytes) {
  std::map<std::string, std::string> files;
  archive* const reader = archive_read_new();
  archive_read_support_format_cpio(reader);
  EXPECT_EQ(archive_read_open_memory(reader, bytes.data(), bytes.size()), ARCHIVE_OK);
  archive_entry* entry = nullptr;
  while (archive_read_next_header(reader, &entry) == ARCHIVE_OK) {
    std::string content(static_cast<std::size_t>(archive_entry_size(entry)), '\0');
    if (archive_entry_filetype(entry) == AE_IFDIR)
      content = "/";
    else
      archive_read_data(reader, content.data(), content.size());
    files[archive_entry_pathname(entry)] = content;
  }
  archive_read_free(reader);
  return files;
}

TEST(Cpio, is_read_by_others_as_it_was_written) {
  CpioWriter cpio;
  cpio.add_folder("dev", 0755);
  cpio.add_file("init", 0755, "x");
  cpio.add_file("odd-name", 0644, "12345");
  const auto files = read_cpio(cpio.finish());
  EXPECT_THAT(files, ElementsAre(std::pair{"dev"s, "/"s}, std::pair{"init"s, "x"s},
                                 std::pair{"odd-name"s, "12345"s}));
}

TEST(Cpio, is_the_same_bytes_for_the_same_files) {
  const auto make = [] {
    CpioWriter cpio;
    cpio.add_file("a", 0644, "b");
    return cpio.finish();
  };
  EXPECT_EQ(make(), make());
  EXPECT_EQ(make().size() % 4, 0U);
}

TEST(ModuleOrder, puts_each_module_after_what_it_needs_and_once) {
  const std::map<std::string, std::vector<std::string>> needs = {
      {"virtio_net", {"virtio", "net_failover"}},
      {"net_failover", {"failover"}},
      {"virtio_blk", {"virtio"}},
      {"virtio", {"virtio_ring"}}};
  const auto order = order_modules({"virtio_blk", "virtio_net"}, [&](const std::string& name) {
    const auto found = needs.find(name);
    return found == needs.end() ? std::vector<std::string>{} : found->second;
  });
  ASSERT_TRUE(order);
  EXPECT_THAT(*order, ElementsAre("virtio_ring", "virtio", "virtio_blk", "failover", "net_failover",
                                  "virtio_net"));
}

TEST(ModuleOrder, refuses_a_circle) {
  const auto order = order_modules({"a"}, [](const std::string& name) {
    return std::vector<std::string>{name == "a" ? "b" : "a"};
  });
  ASSERT_FALSE(order);
  EXPECT_EQ(order.error().code, ErrorCode::corrupt);
}

TEST(ModuleDependencies, come_from_the_modules_own_text) {
  EXPECT_THAT(module_dependencies("\177ELF...\0license=GPL\0depends=virtio,virtio-ring\0name=x\0"s),
              ElementsAre("virtio", "virtio_ring"));
  EXPECT_TRUE(module_dependencies("\177ELF\0depends=\0name=x\0"s).empty());
  EXPECT_TRUE(module_dependencies("\177ELF"s).empty());
  EXPECT_THAT(module_dependencies("\0depends=cut"s), ElementsAre("cut"));
}

TEST(Kernel, is_the_newest_that_has_its_modules) {
  const test::TemporaryFolder folder;
  const auto dir = folder.path();
  EXPECT_EQ(find_kernel(dir).error().code, ErrorCode::unavailable);
  for (const char* version : {"6.1.0-9-cloud-amd64", "6.1.0-56-cloud-amd64"}) {
    write_bytes(dir / "boot" / (std::string("vmlinuz-") + version), "x");
    fs::create_directories(dir / "lib/modules" / version);
  }
  write_bytes(dir / "boot/vmlinuz-6.2.0-1-cloud-amd64", "x");  // without modules
  const auto kernel = find_kernel(dir);
  ASSERT_TRUE(kernel);
  EXPECT_EQ(kernel->version, "6.1.0-56-cloud-amd64");

  write_bytes(dir / "vmlinuz-6.10.0-1", "x");  // beside lib instead of in boot
  fs::create_directories(dir / "usr/lib/modules/6.10.0-1");
  EXPECT_EQ(find_kernel(dir)->version, "6.10.0-1");
}

std::string lz4_legacy(const std::string& content) {
  std::string out = "\x02\x21\x4c\x18";
  constexpr std::size_t k_block = 8U << 20;
  const auto number = [&](std::size_t value) {
    for (unsigned shift = 0; shift < 32; shift += 8) {
      out.push_back(static_cast<char>((value >> shift) & 0xff));
    }
  };
  for (std::size_t at = 0; at < content.size(); at += k_block) {
    const std::string part = content.substr(at, k_block);
    std::string block(static_cast<std::size_t>(LZ4_compressBound(static_cast<int>(part.size()))),
                      0);
    const int n = LZ4_compress_default(part.data(), block.data(), static_cast<int>(part.size()),
                                       static_cast<int>(block.size()));
    number(static_cast<std::size_t>(n));
    out.append(block, 0, static_cast<std::size_t>(n));
  }
  number(content.size());  // as the kernel's build appends it
  return out;
}

TEST(Vmlinux, is_found_behind_the_decompressor_in_several_blocks) {
  std::string elf = "\177ELF";
  for (std::uint32_t i = 0; elf.size() < (18U << 20); ++i) elf += std::to_string(i * 2654435761U);
  // The magic in the decompressor's own code leads nowhere.
  const std::string image = "MZ boot code \x02\x21\x4c\x18 more code" + lz4_legacy(elf) + "trailer";
  const auto vmlinux = extract_vmlinux(image);
  ASSERT_TRUE(vmlinux);
  EXPECT_EQ(sha256_hex(*vmlinux), sha256_hex(elf));
  EXPECT_EQ(*extract_vmlinux("\177ELF plain"), "\177ELF plain");
}

TEST(Vmlinux, that_is_missing_says_what_to_install) {
  for (const std::string& image :
       {"MZ"s, ""s, "\x02\x21\x4c\x18"s, "\x02\x21\x4c\x18\xff\xff\xff\xff"s}) {
    const auto vmlinux = extract_vmlinux(image);
    ASSERT_FALSE(vmlinux);
    EXPECT_EQ(vmlinux.error().code, ErrorCode::unavailable);
    EXPECT_THAT(vmlinux.error().message, HasSubstr("script/bootstrap"));
  }
}

TEST(GuestBoot, holds_init_and_its_modules_and_is_made_anew_for_another_init) {
  const test::TemporaryFolder folder;
  const auto dir = folder.path();
  const std::string version = "6.1.0-1";
  write_bytes(dir / "boot/vmlinuz-6.1.0-1", lz4_legacy("\177ELF kernel"));
  const auto modules = dir / "lib/modules" / version / "kernel/drivers";
  write_bytes(modules / "virtio_mmio.ko", "\177ELF\0depends=virtio\0"s);
  write_bytes(modules / "virtio.ko", "\177ELF\0depends=\0"s);
  write_bytes(modules / "other.ko", "\177ELF\0depends=\0"s);
  write_bytes(dir / "init", "an init");
  const auto kernel = find_kernel(dir);
  ASSERT_TRUE(kernel);
  const auto boot = prepare_kernel(*kernel, dir / "init", dir / "cache");
  ASSERT_TRUE(boot) << to_string(boot.error());
  EXPECT_EQ(read_file(boot->vmlinux, 100).value(), "\177ELF kernel");
  const auto files = read_cpio(read_file(boot->initramfs, 1 << 20).value());
  EXPECT_EQ(files.at("init"), "an init");
  EXPECT_EQ(files.at("modules/order"), "virtio\nvirtio_mmio\n");
  EXPECT_TRUE(files.contains("modules/virtio_mmio"));
  EXPECT_FALSE(files.contains("modules/other"));

  EXPECT_EQ(prepare_kernel(*kernel, dir / "init", dir / "cache")->initramfs, boot->initramfs);
  write_bytes(dir / "init", "another init");
  EXPECT_NE(prepare_kernel(*kernel, dir / "init", dir / "cache")->initramfs, boot->initramfs);
  EXPECT_EQ(prepare_kernel(*kernel, dir / "missing", dir / "cache").error().code,
            ErrorCode::unavailable);
}

}  // namespace
}  // namespace atlasflow::vmm
