#include "builder/copy_parents/copy.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <map>
#include <utility>

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/file_descriptor.hpp"
#include "builder/copy_parents/image_root.hpp"
#include "builder/copy_parents/pattern.hpp"

namespace atlasflow::copy_parents {
namespace {

namespace fs = std::filesystem;

constexpr mode_t k_mode_bits = 07777;
constexpr std::size_t k_name_bytes_max = 64U << 10U;  // of all extended attributes of a file
constexpr std::size_t k_chunk_bytes = 256U << 10U;

tl::unexpected<Error> failed(const char* what, const std::string& path) {
  return fail(ErrorCode::internal, std::string("cannot ") + what + " " + path,
              std::strerror(errno));
}

// What a file system does not take is left out, as by Docker.
void copy_attributes(const std::string& source, const std::string& target) {
  std::array<char, k_name_bytes_max> names{};
  const auto size = ::llistxattr(source.c_str(), names.data(), names.size());
  for (ssize_t at = 0; at < size;) {
    const char* name = names.data() + at;
    at += static_cast<ssize_t>(std::strlen(name)) + 1;
    std::array<char, k_name_bytes_max> value{};
    const auto length = ::lgetxattr(source.c_str(), name, value.data(), value.size());
    if (length < 0) continue;
    static_cast<void>(
        ::lsetxattr(target.c_str(), name, value.data(), static_cast<std::size_t>(length), 0));
  }
}

Result<void> copy_bytes(const std::string& source, const std::string& target) {
  const FileDescriptor from(::open(source.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC));
  if (!from.valid()) return failed("read", source);
  const FileDescriptor to(
      ::open(target.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, S_IRUSR | S_IWUSR));
  if (!to.valid()) return failed("write", target);
  std::vector<char> chunk(k_chunk_bytes);
  while (true) {
    const auto size = ::read(from.get(), chunk.data(), chunk.size());
    if (size < 0 && errno == EINTR) continue;
    if (size < 0) return failed("read", source);
    if (size == 0) return {};
    for (ssize_t done = 0; done < size;) {
      const auto written =
          ::write(to.get(), chunk.data() + done, static_cast<std::size_t>(size - done));
      if (written < 0 && errno == EINTR) continue;
      if (written <= 0) return failed("write", target);
      done += written;
    }
  }
}

Result<std::vector<std::string>> names_in(const std::string& folder) {
  std::error_code error;
  std::vector<std::string> names;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    names.push_back(it->path().filename().string());
  }
  if (error) {
    return fail(ErrorCode::internal, "cannot read the folder " + folder, error.message());
  }
  std::sort(names.begin(), names.end());
  return names;
}

// One source: a folder and what of it is taken.
struct Source {
  std::string folder;  // of `from`, as written; its links are followed
  std::string pattern;
  bool is_required = false;
};

Result<Source> source_in(const std::string& text) {
  const auto pivot = text.find("/./");
  Source source;
  source.folder = pivot == std::string::npos ? "" : plain_path(text.substr(0, pivot));
  source.pattern = plain_path(pivot == std::string::npos ? text : text.substr(pivot + 3));
  if (source.pattern.empty() || source.pattern.starts_with('!')) {
    return fail(ErrorCode::user_error, "'" + text + "' names nothing that has parents");
  }
  source.is_required = !has_wildcards(source.folder) && !has_wildcards(source.pattern);
  return source;
}

class Copier {
 public:
  explicit Copier(const CopyRequest& request) : request_(request) {}

  Result<void> run() {
    if (::mkdir(request_.out.c_str(), S_IRWXU) != 0) return failed("make", request_.out.string());
    for (const auto& line : request_.excludes) ATLAS_TRYV(excludes_.add(line));
    if (request_.owner) {
      ATLAS_TRY(owner_, owner_of(request_.before, *request_.owner));
    }
    ATLAS_TRY(const auto destination, resolved(request_.before, request_.destination));
    for (const auto& text : request_.sources) {
      ATLAS_TRY(const auto source, source_in(text));
      ATLAS_TRYV(take(source, destination));
    }
    // Last, since each file that is made in a folder changes its time.
    std::for_each(times_.rbegin(), times_.rend(), [](const auto& each) {
      const std::array<timespec, 2> times = {timespec{0, UTIME_OMIT}, each.second};
      static_cast<void>(
          ::utimensat(AT_FDCWD, each.first.c_str(), times.data(), AT_SYMLINK_NOFOLLOW));
    });
    return {};
  }

 private:
  struct Folder {
    std::string source;
    std::string target;
    bool is_made = false;
  };
  struct Above {
    PatternList::Matches included;
    PatternList::Matches excluded;
  };

  // ---- sources ----

  Result<void> take(const Source& source, const std::string& destination) {
    PatternList included;
    ATLAS_TRYV(included.add(source.pattern));
    ATLAS_TRY(pattern_, Pattern::read(source.pattern));
    included_ = &included;
    ATLAS_TRY(const auto folders, folders_of(source.folder));
    for (const auto& folder : folders) {
      links_.clear();
      ATLAS_TRY(const auto real, resolved(request_.from, folder));
      const auto path = (request_.from / real).string();
      struct stat found {};
      if (::lstat(path.c_str(), &found) != 0) return absent(folder);
      if (!S_ISDIR(found.st_mode)) {
        return fail(ErrorCode::user_error,
                    "'" + folder + "', which stands before the pivot ./, is no folder");
      }
      ATLAS_TRYV(make_way(destination));
      ATLAS_TRYV(copy(path, "", destination, {}));
    }
    if (!source.is_required) return {};
    // A link that leads nowhere is there.
    const auto name = joined(source.folder, source.pattern);
    const auto slash = name.rfind('/');
    ATLAS_TRY(const auto above,
              resolved(request_.from,
                       slash == std::string::npos ? std::string() : name.substr(0, slash)));
    const auto wanted = joined(above, slash == std::string::npos ? name : name.substr(slash + 1));
    std::error_code error;
    const bool is_there = fs::exists(fs::symlink_status(request_.from / wanted, error));
    return is_there ? Result<void>{} : absent(name);
  }

  static tl::unexpected<Error> absent(const std::string& name) {
    return fail(ErrorCode::user_error, "there is no '" + name +
                                           "' in what is copied of; see its path, and the ignore "
                                           "file when it is of the context");
  }

  Result<std::vector<std::string>> folders_of(const std::string& text) const {
    if (!has_wildcards(text)) return std::vector<std::string>{text};
    // Links are followed before the first part with a wildcard.
    std::string start;
    std::string rest = text;
    while (!has_wildcards(rest.substr(0, rest.find('/')))) {
      start = joined(start, rest.substr(0, rest.find('/')));
      rest = rest.substr(rest.find('/') + 1);
    }
    ATLAS_TRY(const auto glob, Pattern::read_glob(rest));
    ATLAS_TRY(const auto real, resolved(request_.from, start));
    std::vector<std::string> found;
    struct stat status {};
    if (::lstat((request_.from / real).c_str(), &status) != 0) return absent(start);
    ATLAS_TRYV(find_folders(real, "", glob, found));
    return found;
  }

  Result<void> find_folders(const std::string& root, const std::string& below, const Pattern& glob,
                            std::vector<std::string>& found) const {
    ATLAS_TRY(const auto names, names_in((request_.from / joined(root, below)).string()));
    for (const auto& name : names) {
      const auto path = joined(below, name);
      const auto whole = joined(root, path);
      if (glob.matches(path)) {
        found.push_back(whole);
        continue;
      }
      std::error_code error;
      const auto status = fs::symlink_status(request_.from / whole, error);
      if (fs::is_directory(status)) ATLAS_TRYV(find_folders(root, path, glob, found));
    }
    return {};
  }

  // ---- files and folders ----

  Result<void> copy(const std::string& source, const std::string& name, const std::string& target,
                    const Above& above) {
    struct stat found {};
    if (::lstat(source.c_str(), &found) != 0) return failed("read", source);
    Above own = above;
    bool is_taken = true;
    if (!name.empty()) {
      const bool is_included = included_->matches(name, above.included, own.included);
      const bool is_excluded = excludes_.matches(name, above.excluded, own.excluded);
      is_taken = is_included && !is_excluded;
      if (is_taken) ATLAS_TRYV(make_folders_above());
    }
    if (S_ISDIR(found.st_mode)) return copy_folder(source, name, target, found, is_taken, own);
    return is_taken ? copy_file(source, target, found) : Result<void>{};
  }

  Result<void> copy_folder(const std::string& source, const std::string& name,
                           const std::string& target, const struct stat& found, bool is_taken,
                           const Above& own) {
    const bool is_top = name.empty();
    if (!is_top && !is_taken && !pattern_.may_match_below(name) && own.included == none()) {
      return {};
    }
    if (is_taken) {
      ATLAS_TRYV(make_folder(source, target, found, !is_top));
    }
    folders_.push_back({source, target, is_taken});
    ATLAS_TRY(const auto names, names_in(source));
    for (const auto& each : names) {
      ATLAS_TRYV(copy(joined(source, each), joined(name, each), joined(target, each), own));
    }
    folders_.pop_back();
    return {};
  }

  PatternList::Matches none() const { return PatternList::Matches(1); }

  // Of a folder that has something in it which is taken.
  Result<void> make_folders_above() {
    for (auto& folder : folders_) {
      if (folder.is_made) continue;
      struct stat found {};
      if (::stat(folder.source.c_str(), &found) != 0) return failed("read", folder.source);
      ATLAS_TRYV(make_folder(folder.source, folder.target, found, true));
      folder.is_made = true;
    }
    return {};
  }

  // One that the image has keeps its owner, and gets the source's mode.
  Result<void> make_folder(const std::string& source, const std::string& target,
                           const struct stat& found, bool sets_mode) {
    ATLAS_TRY(const bool is_there, keep_folder(target));
    const auto path = (request_.out / target).string();
    if (is_there) {
      if (sets_mode && ::chmod(path.c_str(), found.st_mode & k_mode_bits) != 0) {
        return failed("set the mode of", path);
      }
      return {};
    }
    if (::mkdir(path.c_str(), S_IRWXU) != 0) return failed("make", path);
    return dress(source, path, found);
  }

  // True: the image has the folder, or this made it before; it is in `out` then.
  Result<bool> keep_folder(const std::string& target) {
    const auto path = (request_.out / target).string();
    struct stat found {};
    if (::lstat(path.c_str(), &found) == 0) {
      if (target.empty() && !is_root_kept_) {
        is_root_kept_ = true;
        const auto root = request_.before.string();
        if (!root.empty() && ::lstat(root.c_str(), &found) == 0) {
          ATLAS_TRYV(wear(root, path, found));
        }
      } else if (!S_ISDIR(found.st_mode)) {
        return no_folder(target);
      }
      return true;
    }
    if (request_.before.empty()) return false;
    const auto place = (request_.before / target).string();
    if (::lstat(place.c_str(), &found) != 0) return false;
    if (!S_ISDIR(found.st_mode)) return no_folder(target);
    if (::mkdir(path.c_str(), S_IRWXU) != 0) return failed("make", path);
    ATLAS_TRYV(wear(place, path, found));
    return true;
  }

  static tl::unexpected<Error> no_folder(const std::string& target) {
    return fail(ErrorCode::user_error,
                "/" + target + " is in the image already, and is no folder: nothing can be put in");
  }

  // The destination, with the folders above it.
  Result<void> make_way(const std::string& destination) {
    ATLAS_TRYV(keep_folder(""));
    for (std::size_t at = 0; at < destination.size();) {
      const auto end = std::min(destination.find('/', at), destination.size());
      const auto target = destination.substr(0, end);
      at = end + 1;
      ATLAS_TRY(const bool is_there, keep_folder(target));
      if (is_there) continue;
      const auto path = (request_.out / target).string();
      if (::mkdir(path.c_str(), S_IRWXU) != 0 ||
          ::chown(path.c_str(), owner_.user, owner_.group) != 0 ||
          ::chmod(path.c_str(), 0755) != 0) {
        return failed("make", path);
      }
    }
    return {};
  }

  Result<void> copy_file(const std::string& source, const std::string& target,
                         const struct stat& found) {
    const auto path = (request_.out / target).string();
    struct stat there {};
    const bool is_in_out = ::lstat(path.c_str(), &there) == 0;
    const bool is_there = is_in_out || (!request_.before.empty() &&
                                        ::lstat((request_.before / target).c_str(), &there) == 0);
    if (is_there && S_ISDIR(there.st_mode)) {
      return fail(ErrorCode::user_error,
                  "/" + target + " is a folder in the image already: no file can take its place");
    }
    if (is_in_out && ::unlink(path.c_str()) != 0) return failed("replace", path);
    if (S_ISLNK(found.st_mode)) {
      std::error_code error;
      const auto leads = fs::read_symlink(source, error);
      if (error || ::symlink(leads.c_str(), path.c_str()) != 0) return failed("make", path);
      return dress(source, path, found);
    }
    if (S_ISFIFO(found.st_mode)) {
      if (::mkfifo(path.c_str(), S_IRUSR | S_IWUSR) != 0) return failed("make", path);
      return dress(source, path, found);
    }
    if (S_ISSOCK(found.st_mode)) return {};
    if (!S_ISREG(found.st_mode)) {
      return fail(ErrorCode::user_error, "/" + target + " would be a device");
    }
    const auto id = std::make_pair(found.st_dev, found.st_ino);
    if (const auto known = links_.find(id); found.st_nlink > 1 && known != links_.end()) {
      if (::link(known->second.c_str(), path.c_str()) == 0) return {};
    }
    links_[id] = path;
    ATLAS_TRYV(copy_bytes(source, path));
    return dress(source, path, found);
  }

  // ---- owner, mode, attributes, time ----

  // Of something new: by the source, but for what the instruction says.
  Result<void> dress(const std::string& source, const std::string& path, const struct stat& found) {
    struct stat wanted = found;
    if (request_.owner || request_.is_root_owned) {
      wanted.st_uid = owner_.user;
      wanted.st_gid = owner_.group;
    }
    if (request_.mode) wanted.st_mode = (found.st_mode & S_IFMT) | *request_.mode;
    return wear(source, path, wanted);
  }

  Result<void> wear(const std::string& source, const std::string& path, const struct stat& wanted) {
    if (::lchown(path.c_str(), wanted.st_uid, wanted.st_gid) != 0) {
      return failed("set the owner of", path);
    }
    if (!S_ISLNK(wanted.st_mode) && ::chmod(path.c_str(), wanted.st_mode & k_mode_bits) != 0) {
      return failed("set the mode of", path);
    }
    copy_attributes(source, path);
    times_.emplace_back(path, wanted.st_mtim);
    return {};
  }

  const CopyRequest& request_;
  Owner owner_;
  PatternList excludes_;
  const PatternList* included_ = nullptr;  // of the source that is copied now
  Pattern pattern_;                        // the same
  std::vector<Folder> folders_;            // on the way to what is copied now
  std::map<std::pair<dev_t, ino_t>, std::string> links_;
  std::vector<std::pair<std::string, timespec>> times_;
  bool is_root_kept_ = false;
};

}  // namespace

Result<void> copy_with_parents(const CopyRequest& request) { return Copier(request).run(); }

}  // namespace atlasflow::copy_parents
