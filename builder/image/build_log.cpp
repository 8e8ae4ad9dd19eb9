#include "builder/image/build_log.hpp"

#include <cerrno>
#include <cstring>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace atlasflow::builder {
namespace {

constexpr std::uint64_t k_log_bytes_max = 8ULL << 20U;
constexpr std::size_t k_tail_bytes = 64UL * 1024;

}  // namespace

Result<BuildLog> BuildLog::open(const std::filesystem::path& folder, const std::string& build_id) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  const std::filesystem::path path = folder / (build_id + ".build.log");
  FileDescriptor file(
      ::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_CLOEXEC, 0640));
  struct stat status {};
  if (!file.valid() || ::fstat(file.get(), &status) != 0) {
    return fail(ErrorCode::internal, "cannot open the build log " + path.string(),
                std::strerror(errno));
  }
  return BuildLog(std::move(file), static_cast<std::uint64_t>(status.st_size));
}

void BuildLog::heading(std::string_view text) { line("-----> ", text); }

void BuildLog::note(std::string_view text) { line("       ", text); }

void BuildLog::line(const char* mark, std::string_view text) {
  end_output();
  write((at_line_start_ ? "" : "\n") + std::string(mark) + mask_.masked(text) + "\n");
}

void BuildLog::output(std::string_view text) { append(mask_.take(text)); }

void BuildLog::append(std::string_view text) {
  if (text.empty()) return;
  tail_ += text;
  if (tail_.size() > 2 * k_tail_bytes) tail_.erase(0, tail_.size() - k_tail_bytes);
  if (full_) return;
  const std::uint64_t room = size_ < k_log_bytes_max ? k_log_bytes_max - size_ : 0;
  write(text.substr(0, room));
  if (text.size() >= room) {
    full_ = true;
    note("the log was cut here: it is longer than 8 MiB");
  }
}

void BuildLog::write(std::string_view text) {
  if (!text.empty()) at_line_start_ = text.back() == '\n';
  while (!text.empty()) {
    const ssize_t n = ::write(file_.get(), text.data(), text.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return;  // A full disk must not fail the build for its log's sake.
    text.remove_prefix(static_cast<std::size_t>(n));
    size_ += static_cast<std::uint64_t>(n);
  }
}

}  // namespace atlasflow::builder
