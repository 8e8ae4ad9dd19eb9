#include "builder/source/tree_writer.hpp"

#include <cerrno>
#include <cstring>
#include <string_view>

#include <fcntl.h>
#include <strings.h>
#include <sys/stat.h>

#include "base/assert.hpp"
#include "base/file_descriptor.hpp"

namespace atlasflow::builder {
namespace {

constexpr std::size_t k_symlink_bytes_max = 4095;  // PATH_MAX without its zero
constexpr std::string_view k_lfs_header = "version https://git-lfs.github.com/spec/";
constexpr std::size_t k_lfs_pointer_bytes_max = 1024;  // as Git LFS's specification says
constexpr std::size_t k_lfs_pointers_named = 5;

// A name that a folder entry of ours may have. libgit2 refuses to write such names by its own
// checkout, and we do not use that.
bool is_safe_name(std::string_view name) {
  return !name.empty() && name != "." && name != ".." && name.find('/') == std::string_view::npos &&
         !(name.size() == 4 && ::strncasecmp(name.data(), ".git", 4) == 0);
}

class TreeWriter {
 public:
  TreeWriter(git_repository* repository, git_odb* odb, std::uint64_t limit_bytes,
             const std::stop_token& stop)
      : repository_(repository), odb_(odb), limit_bytes_(limit_bytes), stop_(stop) {}

  Result<void> write(const git_tree* tree, int folder, const std::string& path) {
    const std::size_t count = git_tree_entrycount(tree);
    for (std::size_t i = 0; i < count; ++i) {
      if (stop_.stop_requested()) {
        return fail(ErrorCode::cancelled, "the checkout was stopped");
      }
      ++written_.entries;
      auto done = write_entry(git_tree_entry_byindex(tree, i), folder, path);
      if (!done) return done;
    }
    return {};
  }

  WrittenTree take() { return std::move(written_); }

 private:
  Result<void> write_entry(const git_tree_entry* entry, int folder, const std::string& parent) {
    const std::string name = git_tree_entry_name(entry);
    const std::string path = parent.empty() ? name : parent + "/" + name;
    if (!is_safe_name(name)) {
      return fail(ErrorCode::user_error,
                  "the repository has a file that cannot be checked out: " + path);
    }
    switch (git_tree_entry_filemode(entry)) {
      case GIT_FILEMODE_TREE:
        return write_folder(git_tree_entry_id(entry), folder, name, path);
      case GIT_FILEMODE_COMMIT:
        written_.submodules.push_back({path, git_oid_tostr_s(git_tree_entry_id(entry))});
        return make_folder(folder, name, path).map([](FileDescriptor&&) {});
      case GIT_FILEMODE_LINK:
        return write_symlink(git_tree_entry_id(entry), folder, name, path);
      case GIT_FILEMODE_BLOB_EXECUTABLE:
        return write_file(git_tree_entry_id(entry), folder, name, path, 0755);
      default:
        return write_file(git_tree_entry_id(entry), folder, name, path, 0644);
    }
  }

  Result<void> write_folder(const git_oid* id, int parent, const std::string& name,
                            const std::string& path) {
    git_tree* raw = nullptr;
    if (git_tree_lookup(&raw, repository_, id) != 0) return broken(path);
    const git::Tree tree(raw);
    ATLAS_TRY(auto folder, make_folder(parent, name, path));
    return write(tree.get(), folder.get(), path);
  }

  Result<FileDescriptor> make_folder(int parent, const std::string& name, const std::string& path) {
    if (::mkdirat(parent, name.c_str(), 0755) != 0) return machine_failed("make the folder", path);
    FileDescriptor fd(
        ::openat(parent, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!fd.valid() || ::fchmod(fd.get(), 0755) != 0)
      return machine_failed("open the folder", path);
    return fd;
  }

  Result<git::Blob> read_blob(const git_oid* id, const std::string& path) {
    std::size_t size = 0;
    git_object_t type = GIT_OBJECT_INVALID;
    if (git_odb_read_header(&size, &type, odb_, id) != 0 || type != GIT_OBJECT_BLOB) {
      return broken(path);
    }
    // Or the room that is left would be nearly endless.
    ATLAS_ASSERT(written_.size_bytes <= limit_bytes_, path);
    if (size > limit_bytes_ - written_.size_bytes) {
      return fail(ErrorCode::too_large, "the files of the commit are larger than the limit of " +
                                            std::to_string(limit_bytes_) + " bytes (at " + path +
                                            ")");
    }
    git_blob* raw = nullptr;
    if (git_blob_lookup(&raw, repository_, id) != 0) return broken(path);
    written_.size_bytes += size;
    ATLAS_ASSERT(written_.size_bytes >= size && written_.size_bytes <= limit_bytes_, path);
    return git::Blob(raw);
  }

  Result<void> write_symlink(const git_oid* id, int folder, const std::string& name,
                             const std::string& path) {
    ATLAS_TRY(auto blob, read_blob(id, path));
    const std::string target(static_cast<const char*>(git_blob_rawcontent(blob.get())),
                             static_cast<std::size_t>(git_blob_rawsize(blob.get())));
    if (target.empty() || target.size() > k_symlink_bytes_max ||
        target.find('\0') != std::string::npos) {
      return fail(ErrorCode::user_error, "the symbolic link " + path + " has no usable target");
    }
    if (::symlinkat(target.c_str(), folder, name.c_str()) != 0) {
      return machine_failed("make the symbolic link", path);
    }
    return {};
  }

  Result<void> write_file(const git_oid* id, int folder, const std::string& name,
                          const std::string& path, mode_t mode) {
    ATLAS_TRY(auto blob, read_blob(id, path));
    const FileDescriptor fd(
        ::openat(folder, name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode));
    if (!fd.valid()) return machine_failed("make the file", path);
    std::string_view rest(static_cast<const char*>(git_blob_rawcontent(blob.get())),
                          static_cast<std::size_t>(git_blob_rawsize(blob.get())));
    if (rest.starts_with(k_lfs_header) && rest.size() <= k_lfs_pointer_bytes_max) {
      if (written_.lfs_pointer_count++ < k_lfs_pointers_named) {
        written_.lfs_pointers.push_back(path);
      }
    }
    while (!rest.empty()) {
      const ssize_t n = ::write(fd.get(), rest.data(), rest.size());
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) return machine_failed("write the file", path);
      ATLAS_ASSERT(static_cast<std::size_t>(n) <= rest.size(), path);
      rest.remove_prefix(static_cast<std::size_t>(n));
    }
    if (::fchmod(fd.get(), mode) != 0) return machine_failed("set the mode of", path);
    return {};
  }

  static tl::unexpected<Error> broken(const std::string& path) {
    return fail(
        ErrorCode::user_error,
        "the repository lacks an object that the commit names (" + path + "); run git fsck in it",
        git::last_message());
  }
  static tl::unexpected<Error> machine_failed(std::string_view act, const std::string& path) {
    const int code = errno;
    if (code == EEXIST) {
      return fail(ErrorCode::user_error, "the commit has two files of the same name: " + path);
    }
    return fail(
        ErrorCode::internal,
        "cannot " + std::string(act) + " " + path + " of the checkout; see the disk's free space",
        std::strerror(code));
  }

  git_repository* repository_;
  git_odb* odb_;
  std::uint64_t limit_bytes_;
  const std::stop_token& stop_;
  WrittenTree written_;
};

}  // namespace

Result<WrittenTree> write_tree(git_repository* repository, const git_tree* tree,
                               const std::filesystem::path& folder, std::uint64_t limit_bytes,
                               const std::stop_token& stop) {
  git_odb* raw = nullptr;
  if (git_repository_odb(&raw, repository) != 0) {
    return fail(ErrorCode::internal, "the fetched objects cannot be read", git::last_message());
  }
  const git::ObjectDatabase odb(raw);
  const FileDescriptor root(
      ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!root.valid()) {
    return fail(ErrorCode::internal, "cannot open the folder of the checkout",
                std::strerror(errno));
  }
  TreeWriter writer(repository, odb.get(), limit_bytes, stop);
  ATLAS_TRYV(writer.write(tree, root.get(), {}));
  return writer.take();
}

}  // namespace atlasflow::builder
