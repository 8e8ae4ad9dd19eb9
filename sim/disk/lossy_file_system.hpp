// A LossyDisk as RocksDB's file system, for one process. Every status that tells of a fault says
// "injected". Used by LossyEnv; lives as long as the database does.
#pragma once

#include <memory>

#include <rocksdb/env.h>
#include <rocksdb/file_system.h>

#include "sim/disk/lossy_disk.hpp"

namespace atlasflow::sim {

[[nodiscard]] std::shared_ptr<rocksdb::FileSystem> make_lossy_file_system(
    std::shared_ptr<LossyDisk> disk, LossyDisk::Process process);

// RocksDB's text log has thread ids in it and nobody reads it here: this one keeps nothing.
[[nodiscard]] std::shared_ptr<rocksdb::Logger> make_no_log();

}  // namespace atlasflow::sim
