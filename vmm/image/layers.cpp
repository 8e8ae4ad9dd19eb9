#include "vmm/image/layers.hpp"

#include <array>
#include <cerrno>
#include <cstring>
#include <optional>
#include <set>
#include <string_view>

#include <archive.h>
#include <archive_entry.h>
#include <openssl/evp.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include "base/assert.hpp"
#include "base/digest.hpp"
#include "base/file.hpp"
#include "vmm/hypervisor/process.hpp"

namespace atlasflow::vmm {
namespace {

namespace fs = std::filesystem;

// Bounds on what an image may unpack to: a small tar of zeros must not fill the host's disk.
constexpr std::int64_t k_unpacked_bytes_max = 16LL << 30;
constexpr std::size_t k_entries_max = 1'000'000;
constexpr std::string_view k_whiteout = ".wh.";
constexpr std::string_view k_opaque = ".wh..wh..opq";
constexpr const char* k_opaque_xattr = "trusted.overlay.opaque";

struct ArchiveClose {
  void operator()(archive* handle) const {
    // The same function frees readers and writers.
    archive_free(handle);
  }
};
using Archive = std::unique_ptr<archive, ArchiveClose>;

struct DigestFree {
  void operator()(EVP_MD_CTX* context) const { EVP_MD_CTX_free(context); }
};

tl::unexpected<Error> bad_layer(const std::string& what, const std::string& path) {
  return fail(ErrorCode::user_error,
              "a layer of the image " + what + ": '" + path.substr(0, 200) + "'");
}

// The layer's uncompressed bytes, hashed on their way into the tar reader.
class TarSource {
 public:
  explicit TarSource(const fs::path& path) : raw_(archive_read_new()), digest_(EVP_MD_CTX_new()) {
    EVP_DigestInit_ex(digest_.get(), EVP_sha256(), nullptr);
    archive_read_support_filter_gzip(raw_.get());
    archive_read_support_filter_zstd(raw_.get());
    archive_read_support_format_raw(raw_.get());
    archive_read_support_format_empty(raw_.get());
    archive_entry* entry = nullptr;
    good_ = archive_read_open_filename(raw_.get(), path.c_str(), 1 << 16) == ARCHIVE_OK &&
            archive_read_next_header(raw_.get(), &entry) == ARCHIVE_OK;
  }

  [[nodiscard]] bool good() const { return good_; }
  [[nodiscard]] std::string error() const {
    const char* text = archive_error_string(raw_.get());
    return text == nullptr ? "" : text;
  }

  static la_ssize_t read(archive* reader, void* self_pointer, const void** data) {
    auto* const self = static_cast<TarSource*>(self_pointer);
    const la_ssize_t n =
        archive_read_data(self->raw_.get(), self->buffer_.data(), self->buffer_.size());
    if (n < 0) {
      archive_set_error(reader, EIO, "%s", self->error().c_str());
      return -1;
    }
    ATLAS_ASSERT(static_cast<std::size_t>(n) <= self->buffer_.size(), "libarchive wrote too much");
    EVP_DigestUpdate(self->digest_.get(), self->buffer_.data(), static_cast<std::size_t>(n));
    *data = self->buffer_.data();
    return n;
  }

  // Reads what the tar reader left behind its end mark, and returns the digest of it all.
  std::string finish() {
    const void* ignored = nullptr;
    while (TarSource::read(raw_.get(), this, &ignored) > 0) {
    }
    std::array<unsigned char, EVP_MAX_MD_SIZE> bytes{};
    unsigned length = 0;
    EVP_DigestFinal_ex(digest_.get(), bytes.data(), &length);
    ATLAS_ASSERT_EQ(length, 32U);  // of SHA-256
    static constexpr std::string_view k_digits = "0123456789abcdef";
    std::string hex = "sha256:";
    for (unsigned i = 0; i < length; ++i) {
      hex.push_back(k_digits[bytes[i] >> 4]);
      hex.push_back(k_digits[bytes[i] & 15]);
    }
    return hex;
  }

 private:
  Archive raw_;
  std::unique_ptr<EVP_MD_CTX, DigestFree> digest_;
  std::array<char, 65'536> buffer_{};
  bool good_ = false;
};

// "a//./b/" -> "a/b"; nothing when the path goes up. "" is the root itself.
std::optional<std::string> inside(std::string_view path) {
  std::string clean;
  while (!path.empty()) {
    const std::size_t slash = path.find('/');
    const std::string_view part = path.substr(0, slash);
    path.remove_prefix(slash == std::string_view::npos ? path.size() : slash + 1);
    if (part.empty() || part == ".") continue;
    if (part == "..") return std::nullopt;
    if (!clean.empty()) clean.push_back('/');
    clean.append(part);
  }
  return clean;
}

bool exists(const std::string& path, struct stat& info) {
  return ::lstat(path.c_str(), &info) == 0;
}

class Unpacker {
 public:
  Unpacker(const fs::path& root, WhiteoutStyle style)
      : root_(root.string() + "/"), style_(style), writer_(archive_write_disk_new()) {
    archive_write_disk_set_options(
        writer_.get(), ARCHIVE_EXTRACT_TIME | ARCHIVE_EXTRACT_PERM | ARCHIVE_EXTRACT_OWNER |
                           ARCHIVE_EXTRACT_XATTR | ARCHIVE_EXTRACT_UNLINK |
                           ARCHIVE_EXTRACT_SECURE_NODOTDOT | ARCHIVE_EXTRACT_SECURE_SYMLINKS);
  }

  Result<void> add(archive* reader, archive_entry* entry) {
    if (++entries_ > k_entries_max) return bad_layer("has too many files; at", "");
    const char* const raw = archive_entry_pathname(entry);
    if (raw == nullptr) return bad_layer("has a file without a name", "");
    const auto path = inside(raw);
    if (!path) return bad_layer("leaves the image's root by '..'", raw);
    if (path->empty()) return take_root_attributes(entry);
    if (!leads_inside(*path)) return bad_layer("leads through a symbolic link", *path);
    const std::size_t slash = path->rfind('/');
    const std::string parent = slash == std::string::npos ? "" : path->substr(0, slash);
    const std::string name = slash == std::string::npos ? *path : path->substr(slash + 1);
    if (name == k_opaque) return make_opaque(parent);
    if (name.starts_with(k_whiteout)) {
      const std::string hidden = name.substr(k_whiteout.size());
      if (hidden.empty() || hidden == "." || hidden == "..") {
        return bad_layer("has a bad deletion mark", *path);
      }
      return whiteout(parent, hidden);
    }
    return extract(reader, entry, *path);
  }

  // Sets the folders' times and permissions, which libarchive keeps for the end.
  Result<void> finish() {
    if (archive_write_close(writer_.get()) < ARCHIVE_WARN) return disk_error("the end");
    return {};
  }

 private:
  tl::unexpected<Error> disk_error(const std::string& path) const {
    const char* text = archive_error_string(writer_.get());
    return fail(ErrorCode::internal, "cannot unpack a layer of the image at '" + path + "'",
                text == nullptr ? std::strerror(errno) : text);
  }

  // False when a folder on the way is something else: it may lead out of the root.
  bool leads_inside(const std::string& path) const {
    struct stat info {};
    for (std::size_t slash = path.find('/'); slash != std::string::npos;
         slash = path.find('/', slash + 1)) {
      if (!exists(root_ + path.substr(0, slash), info)) return true;  // will be made as a folder
      if (S_ISLNK(info.st_mode)) return false;
    }
    return true;
  }

  Result<void> take_root_attributes(archive_entry* entry) const {
    ::chmod(root_.c_str(), archive_entry_perm(entry));
    (void)!::chown(root_.c_str(), static_cast<uid_t>(archive_entry_uid(entry)),
                   static_cast<gid_t>(archive_entry_gid(entry)));
    return {};
  }

  Result<void> make_folders(const std::string& path) const {
    std::error_code error;
    fs::create_directories(root_ + path, error);
    if (error)
      return fail(ErrorCode::user_error,
                  "a layer of the image uses a file as a folder: '" + path + "'", error.message());
    return {};
  }

  Result<void> make_opaque(const std::string& folder) {
    if (auto made = make_folders(folder); !made) return made;
    const std::string full = root_ + folder;
    if (style_ == WhiteoutStyle::overlayfs) {
      if (::setxattr(full.c_str(), k_opaque_xattr, "y", 1, 0) != 0) return disk_error(folder);
      return {};
    }
    for (const auto& name : names_if_any(full)) {
      const std::string path = folder.empty() ? name : folder + "/" + name;
      if (written_.contains(path)) continue;  // of this layer: the mark is about those below
      std::error_code error;
      fs::remove_all(full + "/" + name, error);
    }
    return {};
  }

  Result<void> whiteout(const std::string& parent, const std::string& name) {
    const std::string path = parent.empty() ? name : parent + "/" + name;
    const std::string full = root_ + path;
    struct stat info {};
    if (style_ == WhiteoutStyle::apply) {
      std::error_code error;
      if (!written_.contains(path)) fs::remove_all(full, error);
      return {};
    }
    if (auto made = make_folders(parent); !made) return made;
    if (exists(full, info)) {
      // This layer deletes what is below and brings its own: a folder must not merge with the old
      // one.
      if (S_ISDIR(info.st_mode)) return make_opaque(path);
      return {};
    }
    if (::mknod(full.c_str(), S_IFCHR, ::makedev(0, 0)) != 0) return disk_error(path);
    return {};
  }

  Result<void> extract(archive* reader, archive_entry* entry, const std::string& path) {
    const auto type = archive_entry_filetype(entry);
    const char* const link = archive_entry_hardlink(entry);
    if (link == nullptr && (type == AE_IFCHR || type == AE_IFBLK)) return {};
    if (link != nullptr) {
      const auto target = inside(link);
      if (!target || target->empty() || !leads_inside(*target)) {
        return bad_layer("has a link that leaves the image's root", path);
      }
      const std::string full_target = root_ + *target;
      archive_entry_set_hardlink(entry, full_target.c_str());
    }
    const std::string full = root_ + path;
    struct stat info {};
    bool replaces_whiteout = false;
    if (exists(full, info) && !(S_ISDIR(info.st_mode) && type == AE_IFDIR && link == nullptr)) {
      replaces_whiteout = S_ISCHR(info.st_mode);
      std::error_code error;
      fs::remove_all(full, error);
    }
    archive_entry_set_pathname(entry, full.c_str());
    keep_harmless_attributes(entry);
    if (archive_write_header(writer_.get(), entry) < ARCHIVE_WARN) return disk_error(path);
    if (auto copied = copy(reader, path); !copied) return copied;
    if (archive_write_finish_entry(writer_.get()) < ARCHIVE_WARN) return disk_error(path);
    if (style_ == WhiteoutStyle::apply) written_.insert(path);
    if (replaces_whiteout && type == AE_IFDIR && style_ == WhiteoutStyle::overlayfs) {
      return make_opaque(path);
    }
    return {};
  }

  Result<void> copy(archive* reader, const std::string& path) {
    const void* block = nullptr;
    std::size_t size = 0;
    la_int64_t offset = 0;
    for (;;) {
      const int code = archive_read_data_block(reader, &block, &size, &offset);
      if (code == ARCHIVE_EOF) return {};
      if (code < ARCHIVE_WARN) {
        const char* text = archive_error_string(reader);
        return fail(ErrorCode::corrupt, "a layer of the image is not readable; build it again",
                    text == nullptr ? "" : text);
      }
      bytes_ += static_cast<std::int64_t>(size);
      if (bytes_ > k_unpacked_bytes_max) {
        return fail(ErrorCode::user_error, "a layer of the image is larger than 16 GiB; shrink it");
      }
      if (archive_write_data_block(writer_.get(), block, size, offset) < ARCHIVE_WARN) {
        return disk_error(path);
      }
    }
  }

  // File capabilities and the user's own attributes; none that overlayfs would obey.
  static void keep_harmless_attributes(archive_entry* entry) {
    std::vector<std::pair<std::string, std::string>> kept;
    archive_entry_xattr_reset(entry);
    const char* name = nullptr;
    const void* value = nullptr;
    std::size_t size = 0;
    while (archive_entry_xattr_next(entry, &name, &value, &size) == ARCHIVE_OK) {
      const std::string_view key = name;
      if (key == "security.capability" || key.starts_with("user.")) {
        kept.emplace_back(std::string(key), std::string(static_cast<const char*>(value), size));
      }
    }
    archive_entry_xattr_clear(entry);
    for (const auto& [key, bytes] : kept) {
      archive_entry_xattr_add_entry(entry, key.c_str(), bytes.data(), bytes.size());
    }
  }

  std::string root_;  // with a slash at its end
  WhiteoutStyle style_;
  Archive writer_;
  std::set<std::string> written_;  // by this layer; only needed to apply deletions
  std::size_t entries_ = 0;
  std::int64_t bytes_ = 0;
};

}  // namespace

Result<void> unpack_layer(const LayerBlob& layer, const fs::path& root, WhiteoutStyle style,
                          const std::stop_token& stop) {
  // Symbolic links in the path to root itself are the host's and fine; below it none are followed.
  std::error_code error;
  const fs::path canonical = fs::canonical(root, error);
  if (error) return fail(ErrorCode::internal, "no folder " + root.string(), error.message());
  TarSource source(layer.path);
  if (!source.good()) {
    return fail(ErrorCode::corrupt, "a layer of the image is not readable; build it again",
                source.error());
  }
  const Archive reader(archive_read_new());
  archive_read_support_format_tar(reader.get());
  archive_read_support_format_empty(reader.get());
  if (archive_read_open(reader.get(), &source, nullptr, TarSource::read, nullptr) != ARCHIVE_OK) {
    return fail(ErrorCode::corrupt, "a layer of the image is no tar; build it again",
                archive_error_string(reader.get()));
  }
  Unpacker unpacker(canonical, style);
  for (;;) {
    if (stop.stop_requested())
      return fail(ErrorCode::cancelled, "unpacking was stopped on request");
    archive_entry* entry = nullptr;
    const int code = archive_read_next_header(reader.get(), &entry);
    if (code == ARCHIVE_EOF) break;
    if (code < ARCHIVE_WARN) {
      const char* text = archive_error_string(reader.get());
      return fail(ErrorCode::corrupt, "a layer of the image is not readable; build it again",
                  text == nullptr ? "" : text);
    }
    if (auto added = unpacker.add(reader.get(), entry); !added) return added;
  }
  if (auto finished = unpacker.finish(); !finished) return finished;
  if (const std::string digest = source.finish(); digest != layer.diff_id) {
    return fail(ErrorCode::corrupt,
                "a layer of the image is not what its configuration says; build it again",
                "expected " + layer.diff_id + ", got " + digest);
  }
  return {};
}

std::shared_ptr<std::mutex> LayerStore::lock_of(const std::string& name) {
  const std::lock_guard guard(mutex_);
  std::erase_if(making_, [](const auto& item) { return item.second.expired(); });
  auto lock = making_[name].lock();
  if (!lock) {
    lock = std::make_shared<std::mutex>();
    making_[name] = lock;
  }
  return lock;
}

namespace {

// A disk is one layer, or those at the bottom that had to be merged.
std::string disk_name(const std::vector<LayerBlob>& merged) {
  std::string name;
  if (merged.size() == 1) {
    name = merged.front().diff_id;
  } else {
    std::string chain;
    for (const LayerBlob& layer : merged) chain += layer.diff_id + "\n";
    name = "merged:" + sha256_hex(chain);
  }
  name[name.find(':')] = '-';
  return name + ".erofs";
}

// The layers of each disk, bottom first.
std::vector<std::vector<LayerBlob>> disks_of(const std::vector<LayerBlob>& layers) {
  if (layers.empty()) return {};
  constexpr std::size_t k_max = LayerStore::k_disks_max;
  const std::size_t merged = layers.size() > k_max ? layers.size() - k_max + 1 : 1;
  const auto bottom_end = layers.begin() + static_cast<std::ptrdiff_t>(merged);
  std::vector<std::vector<LayerBlob>> groups = {{layers.begin(), bottom_end}};
  for (auto layer = bottom_end; layer != layers.end(); ++layer) groups.push_back({*layer});
  // Every layer is on one disk, and the guest has a place for each disk.
  ATLAS_ASSERT_EQ(groups.front().size() + groups.size() - 1, layers.size());
  ATLAS_ASSERT(groups.size() <= k_max, std::to_string(groups.size()) + " disks");
  return groups;
}

}  // namespace

std::vector<std::string> LayerStore::disk_names(const std::vector<LayerBlob>& layers) {
  std::vector<std::string> names;
  for (const auto& group : disks_of(layers)) names.push_back(disk_name(group));
  return names;
}

Result<fs::path> LayerStore::disk_for(const std::vector<LayerBlob>& merged,
                                      const std::stop_token& stop) {
  const std::string name = disk_name(merged);
  const fs::path disk = dir_ / name;
  const auto lock = lock_of(name);
  const std::lock_guard guard(*lock);
  std::error_code ignored;
  if (fs::exists(disk, ignored)) return disk;

  const fs::path tree = temporary_beside(disk);
  const fs::path image = temporary_beside(disk);
  const auto clean_up = [&] {
    fs::remove_all(tree, ignored);
    fs::remove(image, ignored);
  };
  // The folder above is closed to others, so a setuid file in here is nobody's to run.
  const auto make = [&]() -> Result<void> {
    if (auto made = make_folder(tree / "root"); !made) return made;
    ::chmod(tree.c_str(), 0700);
    ::chmod((tree / "root").c_str(), 0755);
    const auto style = merged.size() == 1 ? WhiteoutStyle::overlayfs : WhiteoutStyle::apply;
    for (const LayerBlob& layer : merged) {
      if (auto unpacked = unpack_layer(layer, tree / "root", style, stop); !unpacked) {
        return unpacked;
      }
    }
    std::vector<std::string> args = {"mkfs.erofs", "--quiet"};
    if (compress_) args.emplace_back("-zlz4");
    args.push_back(image.string());
    args.push_back((tree / "root").string());
    ATLAS_TRYV(run_tool(args, std::chrono::minutes(10), stop));
    ::chmod(image.c_str(), 0444);  // QEMU reads it as an unprivileged user
    return publish_file(image, disk);
  };
  const auto made = make();
  clean_up();
  if (!made) return tl::unexpected<Error>(made.error());
  return disk;
}

Result<std::vector<fs::path>> LayerStore::disks_for(const std::vector<LayerBlob>& layers,
                                                    const std::stop_token& stop) {
  if (layers.empty()) {
    return fail(ErrorCode::user_error, "the image has no layers; its Dockerfile adds no file");
  }
  std::vector<fs::path> disks;
  for (const auto& group : disks_of(layers)) {
    ATLAS_TRY(auto disk, disk_for(group, stop));
    disks.push_back(std::move(disk));
  }
  return disks;
}

}  // namespace atlasflow::vmm
