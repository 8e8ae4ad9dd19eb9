#include "storage/instance_logs/log_times.hpp"

#include <string>
#include <string_view>
#include <utility>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/assert.hpp"
#include "base/file.hpp"

namespace atlasflow::storage {
namespace {

constexpr std::size_t k_pair_bytes = 16;
constexpr std::size_t k_times_bytes_max = 4ULL << 20U;

void put(std::string& bytes, std::uint64_t number) {
  for (unsigned shift = 0; shift < 64; shift += 8) {
    bytes.push_back(static_cast<char>(number >> shift & 0xFFU));
  }
}

std::uint64_t number_at(std::string_view bytes) {
  ATLAS_ASSERT(bytes.size() >= 8, std::to_string(bytes.size()) + " bytes");
  std::uint64_t number = 0;
  for (unsigned i = 0; i < 8; ++i) {
    number |= std::uint64_t{static_cast<unsigned char>(bytes[i])} << (8 * i);
  }
  return number;
}

std::string encoded(const LogTime& time) {
  std::string bytes;
  put(bytes, static_cast<std::uint64_t>(time.at));
  put(bytes, time.size);
  ATLAS_ASSERT_EQ(bytes.size(), k_pair_bytes);
  return bytes;
}

}  // namespace

TimestampUs time_of(const timespec& time) {
  return TimestampUs{time.tv_sec} * 1'000'000 + time.tv_nsec / 1'000;
}

std::filesystem::path log_times_path(const std::filesystem::path& log) {
  return log.string() + ".times";
}

std::vector<LogTime> read_log_times(const std::filesystem::path& log) {
  std::vector<LogTime> times;
  const auto path = log_times_path(log);
  const FileDescriptor fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  if (!fd.valid()) return times;
  const auto bytes = read_at_most(fd.get(), 0, k_times_bytes_max, path.string());
  if (!bytes) return times;
  times.reserve(bytes->size() / k_pair_bytes);
  for (std::string_view rest = *bytes; rest.size() >= k_pair_bytes;
       rest.remove_prefix(k_pair_bytes)) {
    times.push_back({static_cast<TimestampUs>(number_at(rest)), number_at(rest.substr(8))});
  }
  return times;
}

std::uint64_t offset_at(const std::vector<LogTime>& times, TimestampUs when) {
  std::uint64_t size = 0;
  for (const auto& time : times) {
    if (time.at >= when) break;
    size = time.size;
  }
  return size;
}

Result<void> append_log_time(const std::filesystem::path& log, const LogTime& time) {
  const auto path = log_times_path(log);
  const FileDescriptor fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0640));
  struct stat status {};
  if (!fd.valid() || ::fstat(fd.get(), &status) != 0) {
    return tl::unexpected(errno_error("cannot open " + path.string()));
  }
  // A write that a full disk cut leaves half a pair: it is written over.
  const off_t end = status.st_size - status.st_size % static_cast<off_t>(k_pair_bytes);
  if (::lseek(fd.get(), end, SEEK_SET) < 0) {
    return tl::unexpected(errno_error("cannot write " + path.string()));
  }
  return write_all(fd.get(), encoded(time), path.string());
}

Result<void> write_log_times(const std::filesystem::path& log, const std::vector<LogTime>& times) {
  const auto path = log_times_path(log);
  std::string bytes;
  for (const auto& time : times) bytes += encoded(time);
  // Not synced: after a crash of the machine the answers are coarser, that is all.
  return replace_file(path, bytes, 0640, Sync::skipped);
}

std::vector<LogTime> thinned(const std::vector<LogTime>& times) {
  std::vector<LogTime> kept;
  for (std::size_t i = 0; i < times.size(); ++i) {
    if (i >= times.size() / 2 || i % 2 == 1) kept.push_back(times[i]);
  }
  return kept;
}

}  // namespace atlasflow::storage
