#include "vmm/hypervisor/kernel.hpp"

#include <algorithm>
#include <array>
#include <map>
#include <memory>
#include <optional>
#include <set>

#include <archive.h>
#include <lz4.h>

#include "base/assert.hpp"
#include "base/digest.hpp"
#include "base/file.hpp"
#include "vmm/hypervisor/cpio.hpp"

namespace atlasflow::vmm {
namespace {

constexpr std::uintmax_t k_kernel_bytes_max = 256U << 20;
constexpr std::uintmax_t k_module_bytes_max = 64U << 20;

// What the guest needs that Debian's cloud kernel has as modules. ext4 is built in.
const std::vector<std::string>& wanted_modules() {
  static const std::vector<std::string> k_modules = {"virtio_mmio",    "virtio_blk", "virtio_net",
                                                     "virtio_console", "erofs",      "overlay"};
  return k_modules;
}

std::uint32_t little_endian(std::string_view bytes, std::size_t at) {
  std::uint32_t value = 0;
  for (std::size_t i = 0; i < 4; ++i) {
    value |= static_cast<std::uint32_t>(static_cast<unsigned char>(bytes[at + i])) << (8 * i);
  }
  return value;
}

constexpr std::string_view k_elf_magic = "\177ELF";
constexpr std::string_view k_lz4_legacy_magic = "\x02\x21\x4c\x18";

// LZ4's legacy frame (lz4_Frame_format.md): the magic, then blocks of a size and that many bytes,
// each of which holds 8 MiB but the last. The kernel appends the size of the whole; it is not a
// block, and the magic of another frame may follow. Nothing when this is not such a frame.
std::string inflate_lz4_legacy(std::string_view frame) {
  constexpr std::size_t k_block = 8U << 20;
  std::string out;
  std::size_t at = k_lz4_legacy_magic.size();
  std::string block(k_block, '\0');
  while (at + 4 <= frame.size()) {
    const std::uint32_t size = little_endian(frame, at);
    at += 4;
    if (size == 0 ||
        size > static_cast<std::uint32_t>(LZ4_compressBound(static_cast<int>(k_block))) ||
        size > frame.size() - at) {
      break;
    }
    const int produced = LZ4_decompress_safe(frame.data() + at, block.data(),
                                             static_cast<int>(size), static_cast<int>(k_block));
    if (produced <= 0) break;
    ATLAS_ASSERT(static_cast<std::size_t>(produced) <= block.size(), "LZ4 wrote past its block");
    out.append(block, 0, static_cast<std::size_t>(produced));
    at += size;
    ATLAS_ASSERT(at <= frame.size(), "a block that was checked ends behind its frame");
    if (static_cast<std::size_t>(produced) < k_block) break;  // the last one
    if (out.size() > k_kernel_bytes_max) return {};
  }
  return out;
}

// Splits a version into runs of digits and others, so that 6.1.0-9 comes before 6.1.0-10.
bool older(std::string_view left, std::string_view right) {
  const auto digit = [](char c) { return c >= '0' && c <= '9'; };
  while (!left.empty() && !right.empty()) {
    if (digit(left[0]) && digit(right[0])) {
      const auto run = [&](std::string_view& text) {
        std::size_t n = 0;
        while (n < text.size() && digit(text[n])) ++n;
        std::string_view number = text.substr(0, n);
        text.remove_prefix(n);
        while (number.size() > 1 && number[0] == '0') number.remove_prefix(1);
        return number;
      };
      const std::string_view a = run(left);
      const std::string_view b = run(right);
      if (a.size() != b.size()) return a.size() < b.size();
      if (a != b) return a < b;
    } else {
      if (left[0] != right[0]) return left[0] < right[0];
      left.remove_prefix(1);
      right.remove_prefix(1);
    }
  }
  return left.empty() && !right.empty();
}

// Module files by module name ('-' and '_' are the same to the kernel).
std::map<std::string, std::filesystem::path> index_modules(const std::filesystem::path& dir) {
  std::map<std::string, std::filesystem::path> index;
  std::error_code error;
  for (auto it = std::filesystem::recursive_directory_iterator(dir, error);
       !error && it != std::filesystem::recursive_directory_iterator(); it.increment(error)) {
    std::string name = it->path().filename().string();
    const std::size_t suffix = name.find(".ko");
    if (suffix == std::string::npos) continue;
    name.resize(suffix);
    std::replace(name.begin(), name.end(), '-', '_');
    index.emplace(name, it->path());
  }
  return index;
}

// The module, uncompressed: .ko as it is, .ko.xz and .ko.zst through libarchive.
Result<std::string> read_module(const std::filesystem::path& path) {
  auto bytes = read_file(path, k_module_bytes_max);
  if (!bytes || bytes->starts_with(k_elf_magic)) return bytes;
  const std::unique_ptr<archive, int (*)(archive*)> reader(archive_read_new(), archive_read_free);
  archive_read_support_filter_xz(reader.get());
  archive_read_support_filter_zstd(reader.get());
  archive_read_support_filter_gzip(reader.get());
  archive_read_support_format_raw(reader.get());
  archive_entry* entry = nullptr;
  std::string out;
  if (archive_read_open_memory(reader.get(), bytes->data(), bytes->size()) == ARCHIVE_OK &&
      archive_read_next_header(reader.get(), &entry) == ARCHIVE_OK) {
    std::array<char, 65'536> buffer;
    for (la_ssize_t n; (n = archive_read_data(reader.get(), buffer.data(), buffer.size())) > 0;) {
      out.append(buffer.data(), static_cast<std::size_t>(n));
      if (out.size() > k_module_bytes_max) break;
    }
  }
  if (!out.starts_with(k_elf_magic)) {
    return fail(ErrorCode::unavailable, "the kernel module " + path.string() + " is not readable");
  }
  return out;
}

Result<std::string> build_initramfs(const KernelFiles& kernel, const std::string& guest_init) {
  const auto index = index_modules(kernel.modules);
  std::map<std::string, std::string> contents;
  std::optional<Error> failed;
  const auto order = order_modules(wanted_modules(), [&](const std::string& name) {
    const auto file = index.find(name);
    if (file == index.end()) return std::vector<std::string>{};
    auto bytes = read_module(file->second);
    if (!bytes) {
      failed = bytes.error();
      return std::vector<std::string>{};
    }
    contents[name] = std::move(*bytes);
    return module_dependencies(contents[name]);
  });
  if (failed) return tl::unexpected<Error>(*failed);
  if (!order) return tl::unexpected<Error>(order.error());

  CpioWriter cpio;
  for (const char* folder : {"dev", "proc", "sys", "modules"}) cpio.add_folder(folder, 0755);
  cpio.add_file("init", 0755, guest_init);
  std::string names;
  for (const std::string& name : *order) {
    const auto module = contents.find(name);
    if (module == contents.end()) continue;  // built in
    cpio.add_file("modules/" + name, 0644, module->second);
    names += name + "\n";
  }
  cpio.add_file("modules/order", 0644, names);
  return cpio.finish();
}

}  // namespace

Result<KernelFiles> find_kernel(const std::filesystem::path& kernel_dir) {
  KernelFiles best;
  for (const auto& dir : {kernel_dir, kernel_dir / "boot"}) {
    for (const auto& name : names_if_any(dir)) {
      constexpr std::string_view k_prefix = "vmlinuz-";
      if (!name.starts_with(k_prefix)) continue;
      const std::string version = name.substr(k_prefix.size());
      for (const char* below : {"lib/modules", "usr/lib/modules"}) {
        const auto modules = kernel_dir / below / version;
        std::error_code ignored;
        if (!std::filesystem::is_directory(modules, ignored)) continue;
        if (best.version.empty() || older(best.version, version)) {
          best = KernelFiles{version, dir / name, modules};
        }
      }
    }
  }
  if (best.version.empty()) {
    return fail(ErrorCode::unavailable,
                "no guest kernel in " + kernel_dir.string() +
                    " (vmlinuz-* with its lib/modules/*); run script/bootstrap");
  }
  return best;
}

Result<std::string> extract_vmlinux(std::string_view vmlinuz) {
  if (vmlinuz.starts_with(k_elf_magic)) return std::string(vmlinuz);
  // The magic can occur in the decompressor's own code too: take the first that unfolds to an ELF.
  for (std::size_t at = vmlinuz.find(k_lz4_legacy_magic); at != std::string_view::npos;
       at = vmlinuz.find(k_lz4_legacy_magic, at + 1)) {
    std::string inner = inflate_lz4_legacy(vmlinuz.substr(at));
    if (std::string_view(inner).starts_with(k_elf_magic)) return inner;
  }
  return fail(ErrorCode::unavailable,
              "the guest kernel has no LZ4 payload; install linux-image-cloud-amd64 by "
              "script/bootstrap");
}

std::vector<std::string> module_dependencies(std::string_view module_bytes) {
  // .modinfo is a run of NUL-terminated key=value texts; the key occurs nowhere else after a NUL.
  using namespace std::string_view_literals;
  std::vector<std::string> names;
  constexpr std::string_view k_key = "\0depends="sv;
  const std::size_t found = module_bytes.find(k_key);
  if (found == std::string_view::npos) return names;
  std::string_view list = module_bytes.substr(found + k_key.size());
  list = list.substr(0, list.find('\0'));
  while (!list.empty()) {
    const std::size_t comma = list.find(',');
    std::string name(list.substr(0, comma));
    std::replace(name.begin(), name.end(), '-', '_');
    if (!name.empty()) names.push_back(std::move(name));
    list.remove_prefix(comma == std::string_view::npos ? list.size() : comma + 1);
  }
  return names;
}

Result<std::vector<std::string>> order_modules(
    const std::vector<std::string>& wanted,
    const std::function<std::vector<std::string>(const std::string&)>& dependencies) {
  std::vector<std::string> order;
  std::set<std::string> done;
  std::set<std::string> open;  // on the way down: meeting one again is a cycle
  std::optional<Error> cycle;
  const std::function<void(const std::string&)> visit = [&](const std::string& name) {
    if (cycle || done.contains(name)) return;
    if (!open.insert(name).second) {
      cycle = Error{
          ErrorCode::corrupt, "the kernel's modules need each other in a circle at " + name, {}};
      return;
    }
    for (const std::string& needed : dependencies(name)) visit(needed);
    open.erase(name);
    done.insert(name);
    order.push_back(name);
  };
  for (const std::string& name : wanted) visit(name);
  if (cycle) return tl::unexpected<Error>(*cycle);
  return order;
}

Result<GuestBoot> prepare_kernel(const KernelFiles& kernel, const std::filesystem::path& guest_init,
                                 const std::filesystem::path& cache_dir) {
  ATLAS_TRYV(make_folder(cache_dir));
  ATLAS_TRY(const auto compressed, read_file(kernel.vmlinuz, k_kernel_bytes_max));
  const auto init = read_file(guest_init, k_module_bytes_max);
  if (!init) {
    return fail(ErrorCode::unavailable, "the guest init is not readable at " + guest_init.string(),
                init.error().message);
  }

  GuestBoot boot;
  boot.version = kernel.version;
  const std::string kernel_key = sha256_hex(compressed).substr(0, 16);
  boot.vmlinux = cache_dir / ("vmlinux-" + kernel.version + "-" + kernel_key);
  std::error_code ignored;
  if (!std::filesystem::exists(boot.vmlinux, ignored)) {
    ATLAS_TRY(const auto vmlinux, extract_vmlinux(compressed));
    ATLAS_TRYV(replace_file(boot.vmlinux, vmlinux, 0444));
  }
  boot.initramfs = cache_dir / ("initramfs-" + kernel_key + "-" + sha256_hex(*init).substr(0, 16));
  if (!std::filesystem::exists(boot.initramfs, ignored)) {
    ATLAS_TRY(const auto initramfs, build_initramfs(kernel, *init));
    ATLAS_TRYV(replace_file(boot.initramfs, initramfs, 0444));
  }
  return boot;
}

}  // namespace atlasflow::vmm
