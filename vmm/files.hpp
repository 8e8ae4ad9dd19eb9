// Files that must be whole or absent: written beside their place, synced, and renamed. Any thread.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

#include "base/error.hpp"

namespace atlasflow::vmm {

// The whole file; not_found when it is absent, too_large beyond limit.
[[nodiscard]] Result<std::string> read_whole_file(const std::filesystem::path& path,
                                                  std::uintmax_t limit);

// Writes a temporary beside path, syncs it and its folder, and renames it into place.
[[nodiscard]] Result<void> write_file_atomically(const std::filesystem::path& path,
                                                 std::string_view bytes, unsigned mode);

// The second half of the above, for a file that a tool wrote: sync, rename, sync the folder.
[[nodiscard]] Result<void> publish_file(const std::filesystem::path& temporary,
                                        const std::filesystem::path& path);

// A name beside path that no other thread, process or earlier life uses.
[[nodiscard]] std::filesystem::path temporary_beside(const std::filesystem::path& path);

// Creates the folder and its parents. The message names it.
[[nodiscard]] Result<void> make_folder(const std::filesystem::path& path);

// Lower-case hexadecimal SHA-256.
[[nodiscard]] std::string sha256_hex(std::string_view bytes);

}  // namespace atlasflow::vmm
