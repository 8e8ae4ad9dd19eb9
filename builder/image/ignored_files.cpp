#include "builder/image/ignored_files.hpp"

#include <cerrno>
#include <cstring>
#include <sstream>
#include <vector>

#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "builder/copy_parents/pattern.hpp"

namespace atlasflow::builder {
namespace {

namespace fs = std::filesystem;
using copy_parents::PatternList;
using Clock = std::chrono::steady_clock;

class Hider {
 public:
  Hider(fs::path context, fs::path layer, unsigned owner, Clock::time_point until,
        std::stop_token stop)
      : context_(std::move(context)),
        layer_(std::move(layer)),
        owner_(owner),
        until_(until),
        stop_(std::move(stop)) {}

  Result<void> add(const std::string& line) {
    if (line.starts_with('!')) takes_back_ = true;
    return patterns_.add(line);
  }

  Result<bool> run() {
    ATLAS_TRYV(make_folder(layer_, context_));
    ATLAS_TRYV(hide_in({}, {}, false));
    return hides_;
  }

 private:
  // Whether anything in the folder stays.
  Result<bool> hide_in(const fs::path& folder, const PatternList::Matches& above,
                       bool folder_is_ignored) {
    bool any_stays = false;
    std::vector<fs::path> hidden;
    std::error_code error;
    for (fs::directory_iterator it(context_ / folder, error), end; !error && it != end;
         it.increment(error)) {
      ATLAS_TRYV(go_on());
      const auto name = folder / it->path().filename();
      PatternList::Matches own;
      const bool is_ignored = patterns_.matches(name.generic_string(), above, own);
      bool stays = !is_ignored;
      // Of an ignored folder something may be taken back.
      const bool is_folder = fs::is_directory(it->symlink_status(error));
      if (is_folder && (!is_ignored || takes_back_)) {
        ATLAS_TRY(const bool any_below, hide_in(name, own, is_ignored));
        stays = stays || any_below;
      }
      if (!stays) hidden.push_back(name);
      any_stays = any_stays || stays;
    }
    if (error) {
      return fail(ErrorCode::internal, "cannot read the checkout " + (context_ / folder).string(),
                  error.message());
    }
    // Else the folder itself is hidden.
    if (any_stays || !folder_is_ignored) {
      for (const auto& name : hidden) ATLAS_TRYV(hide(name));
    }
    return any_stays;
  }

  Result<void> hide(const fs::path& name) {
    // Of the folders above, the layer's are seen; those that it has not are the context's.
    fs::path above;
    for (const auto& part : name.parent_path()) {
      above /= part;
      ATLAS_TRYV(make_folder(layer_ / above, context_ / above));
    }
    if (::mknod((layer_ / name).c_str(), S_IFCHR, ::makedev(0, 0)) != 0) {
      return failed("hide", name);
    }
    hides_ = true;
    return {};
  }

  Result<void> go_on() const {
    if (stop_.stop_requested()) return fail(ErrorCode::cancelled, "the build was stopped");
    if (Clock::now() < until_) return {};
    return fail(ErrorCode::timed_out, "the build took longer than it may");
  }

  Result<void> make_folder(const fs::path& path, const fs::path& like) const {
    struct stat status {};
    if (::lstat(path.c_str(), &status) == 0) return {};
    if (::stat(like.c_str(), &status) != 0 || ::mkdir(path.c_str(), 0755) != 0 ||
        ::chown(path.c_str(), owner_, owner_) != 0 ||
        ::chmod(path.c_str(), status.st_mode & 07777) != 0) {
      return failed("make", path);
    }
    return {};
  }

  static tl::unexpected<Error> failed(const char* what, const fs::path& path) {
    return fail(ErrorCode::internal,
                std::string("cannot ") + what + " " + path.string() + " in what a build sees",
                std::strerror(errno));
  }

  fs::path context_;
  fs::path layer_;
  unsigned owner_;
  PatternList patterns_;
  bool takes_back_ = false;
  bool hides_ = false;
  Clock::time_point until_;
  std::stop_token stop_;
};

}  // namespace

Result<bool> hide_ignored_files(const fs::path& context, const std::string& ignore,
                                const fs::path& layer, unsigned owner, Clock::time_point until,
                                const std::stop_token& stop) {
  Hider hider(context, layer, owner, until, stop);
  std::istringstream lines(ignore);
  for (std::string line; std::getline(lines, line);) ATLAS_TRYV(hider.add(line));
  return hider.run();
}

}  // namespace atlasflow::builder
