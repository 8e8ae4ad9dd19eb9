// Two small files beside the database: FORMAT, which gates who may open the folder, and the anchor,
// which remembers how far the log had come. Both are replaced whole (write, fsync, rename, fsync of
// the folder). Used by the log's owner, one thread at a time.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include <rocksdb/env.h>

#include "base/error.hpp"
#include "storage/log/event_log.hpp"

namespace atlasflow::storage {

// The layout of the folder and the keys; record formats have a version of their own.
inline constexpr int k_folder_format = 1;

// What is known to have been in the log and on disk.
struct Anchor {
  Position position;
  ChainHash chain{};
  Epoch epoch;  // the newest that was taken, so that a lost tail never gives one out twice
};

[[nodiscard]] std::filesystem::path anchor_path(const std::filesystem::path& folder);

// Nothing when there is none yet. corrupt: the file is not what write_anchor wrote.
[[nodiscard]] Result<std::optional<Anchor>> read_anchor(rocksdb::Env& env,
                                                        const std::filesystem::path& folder);
[[nodiscard]] Result<void> write_anchor(rocksdb::Env& env, const std::filesystem::path& folder,
                                        const Anchor& anchor);

// not_found: the folder has no FORMAT. corrupt: a newer Atlasflow made it, or the file is damaged.
[[nodiscard]] Result<void> check_folder_format(rocksdb::Env& env,
                                               const std::filesystem::path& folder);
// Makes the folder, and FORMAT when it is missing.
[[nodiscard]] Result<void> prepare_folder(rocksdb::Env& env, const std::filesystem::path& folder);

}  // namespace atlasflow::storage
