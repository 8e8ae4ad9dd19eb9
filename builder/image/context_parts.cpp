#include "builder/image/context_parts.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <sstream>
#include <string_view>
#include <utility>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/digest.hpp"
#include "base/file.hpp"
#include "base/file_descriptor.hpp"

namespace atlasflow::builder {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view k_format = "1\n";  // another one, and nothing of before is taken again
constexpr mode_t k_mode_bits = 07777;

// Lengths come first, so that no name or content can look like the beginning of the next.
void add_text(std::string_view text, RunningDigest& digest) {
  digest.add(std::to_string(text.size()) + " ");
  digest.add(text);
}

}  // namespace

ContextParts::ContextParts(fs::path context, const std::string& ignore, Clock::time_point until,
                           std::stop_token stop)
    : context_(std::move(context)), until_(until), stop_(std::move(stop)) {
  std::istringstream lines(ignore);
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with('!')) takes_back_ = true;
    is_bad_ = is_bad_ || !patterns_.add(line);
  }
}

Result<void> ContextParts::go_on() const {
  if (stop_.stop_requested()) return fail(ErrorCode::cancelled, "the build was stopped");
  if (Clock::now() < until_) return {};
  return fail(ErrorCode::timed_out, "the build took longer than it may");
}

Result<std::optional<std::string>> ContextParts::digest_of(const std::string& source) {
  if (is_bad_) return std::nullopt;
  const fs::path wanted(source);
  const bool goes_up =
      std::any_of(wanted.begin(), wanted.end(), [](const fs::path& part) { return part == ".."; });
  if (goes_up) return std::nullopt;
  const auto plain = copy_parents::plain_path(source);
  if (const auto found = known_.find(plain); found != known_.end()) return found->second;

  Matches matches;
  bool is_ignored = false;
  fs::path name;
  for (const auto& part : fs::path(plain)) {
    name /= part;
    std::error_code error;
    const auto status = fs::symlink_status(context_ / name, error);
    if (!fs::exists(status) || fs::is_symlink(status)) return std::nullopt;
    Matches own;
    is_ignored = patterns_.matches(name.generic_string(), matches, own);
    matches = std::move(own);
  }
  const bool is_folder = name.empty() || fs::is_directory(context_ / name);
  if (is_ignored && !(is_folder && takes_back_)) return std::nullopt;
  RunningDigest digest;
  digest.add(k_format);
  const auto is_told =
      add(name.empty() ? context_ : context_ / name, name, is_ignored, matches, digest);
  if (!is_told) {
    const auto& error = is_told.error();
    const bool has_ended = error.code == ErrorCode::cancelled || error.code == ErrorCode::timed_out;
    if (has_ended) return tl::unexpected(error);
    // No fault of the Dockerfile's, and nobody's business where the checkout lies.
    return fail(ErrorCode::internal, "cannot read the checkout", to_string(error));
  }
  std::optional<std::string> text;
  if (*is_told) text = to_hex(bytes_of(digest.finish()));
  known_[plain] = text;
  return text;
}

// False: it is neither file, folder nor link.
Result<bool> ContextParts::add(const fs::path& path, const fs::path& name, bool is_ignored,
                               const Matches& matches, RunningDigest& digest) const {
  ATLAS_TRYV(go_on());
  struct stat status {};
  if (::lstat(path.c_str(), &status) != 0) {
    return tl::unexpected(errno_error("cannot look at a file of the checkout"));
  }
  const bool is_folder = S_ISDIR(status.st_mode);
  // Of an ignored folder something may be taken back.
  if (is_ignored && !(is_folder && takes_back_)) return true;
  const bool is_file = S_ISREG(status.st_mode);
  if (!is_folder && !is_file && !S_ISLNK(status.st_mode)) return false;
  const std::string kind = is_folder ? "folder " : is_file ? "file " : "link ";
  add_text(kind + std::to_string(status.st_mode & k_mode_bits), digest);
  add_text(name.generic_string(), digest);
  if (is_folder) return add_folder(path, name, matches, digest);
  if (is_file) {
    ATLAS_TRYV(add_file(path, digest));
    return true;
  }
  std::error_code error;
  add_text(fs::read_symlink(path, error).string(), digest);
  if (!error) return true;
  return fail(ErrorCode::internal, "cannot read a link of the checkout", error.message());
}

Result<bool> ContextParts::add_folder(const fs::path& path, const fs::path& name,
                                      const Matches& above, RunningDigest& digest) const {
  ATLAS_TRY(const auto names, names_in(path));
  for (const auto& each : names) {
    const auto below = name / each;
    Matches own;
    const bool is_ignored = patterns_.matches(below.generic_string(), above, own);
    ATLAS_TRY(const bool is_told, add(path / each, below, is_ignored, own, digest));
    if (!is_told) return false;
  }
  return true;
}

Result<void> ContextParts::add_file(const fs::path& path, RunningDigest& digest) const {
  const FileDescriptor file(::open(path.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC));
  struct stat status {};
  if (!file.valid() || ::fstat(file.get(), &status) != 0) {
    return tl::unexpected(errno_error("cannot read a file of the checkout"));
  }
  const auto size = static_cast<std::uint64_t>(status.st_size);
  digest.add(std::to_string(size) + " ");
  std::array<char, 64U << 10U> buffer{};
  std::uint64_t done = 0;
  while (true) {
    ATLAS_TRYV(go_on());
    const ssize_t n = ::read(file.get(), buffer.data(), buffer.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return tl::unexpected(errno_error("cannot read a file of the checkout"));
    if (n == 0) break;
    digest.add({buffer.data(), static_cast<std::size_t>(n)});
    done += static_cast<std::uint64_t>(n);
  }
  if (done == size) return {};
  return fail(ErrorCode::internal, "a file of the checkout changed while it was read");
}

}  // namespace atlasflow::builder
