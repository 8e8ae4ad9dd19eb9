// Small files, files of /proc and folders, read and written whole. Nothing here throws but
// std::bad_alloc: whatever the operating system answers is a value, a process that ended between
// open and read (ESRCH) as well as a file that is not there (ENOENT). Free functions, any thread.
#pragma once

#include <cerrno>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include <sys/types.h>

#include "base/error.hpp"
#include "base/file_descriptor.hpp"

namespace atlasflow {

// errno as an Error: not_found for ENOENT and ESRCH, already_exists for EEXIST, else internal.
[[nodiscard]] Error errno_error(std::string message, int number = errno);

// ---- reading ----

// The whole file, which may be one of /proc or /sys, whose sizes are not known before. not_found:
// there is none, or the process that it told of has ended. too_large: more than bytes_max.
[[nodiscard]] Result<std::string> read_file(const std::filesystem::path& path,
                                            std::uint64_t bytes_max);
// The same from where the descriptor stands; name is for the error's sentence.
[[nodiscard]] Result<std::string> read_file(int fd, std::uint64_t bytes_max,
                                            const std::string& name);
// Up to size bytes from offset; fewer only at the end of the file.
[[nodiscard]] Result<std::string> read_at_most(int fd, std::uint64_t offset, std::size_t size,
                                               const std::string& name);
// The names in the folder without "." and "..", sorted. not_found: there is no such folder.
[[nodiscard]] Result<std::vector<std::string>> names_in(const std::filesystem::path& folder);
// The same where a folder that is not there, or not readable, has no names.
[[nodiscard]] std::vector<std::string> names_if_any(const std::filesystem::path& folder);

// ---- writing ----

// Whether what is written must be there after a power cut.
enum class Sync : std::uint8_t {
  durable,  // file and folder are synced: afterwards there is the old file or the new one, whole
  // Whole for every reader of this boot; after a power cut it may be the old one, the new one,
  // empty or absent. Who passes this says at the call why that does no harm.
  skipped,
};

// Writes a temporary file of that mode beside path, whatever the umask is, and renames it to path.
// After a failure path is as it was and the temporary is gone.
[[nodiscard]] Result<void> replace_file(const std::filesystem::path& path, std::string_view bytes,
                                        mode_t mode, Sync sync = Sync::durable);
// The second half of that, for a file or a folder that somebody else wrote beside path: its own
// bytes and the names are synced. The files in a folder are its writer's to sync.
[[nodiscard]] Result<void> publish_file(const std::filesystem::path& temporary,
                                        const std::filesystem::path& path);
// A name beside path that no other thread, process or earlier life uses; it ends in ".tmp".
[[nodiscard]] std::filesystem::path temporary_beside(const std::filesystem::path& path);

// Writes a new file of mode 0600 and syncs it; its name is made durable by sync_folder.
// already_exists: it was there.
[[nodiscard]] Result<void> write_new_file(const std::filesystem::path& path,
                                          std::string_view bytes);
// All of the bytes, across interrupted and short writes.
[[nodiscard]] Result<void> write_all(int fd, std::string_view bytes, const std::string& name);
// Makes the folder and its parents; whether it was there before makes no difference.
[[nodiscard]] Result<void> make_folder(const std::filesystem::path& path);
// Makes the names in the folder durable.
[[nodiscard]] Result<void> sync_folder(const std::filesystem::path& folder);

}  // namespace atlasflow
