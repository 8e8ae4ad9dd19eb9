// A LossyDisk as RocksDB's file system, for one process. Every status that tells of a fault says
// "injected". Used by LossyEnv; lives as long as the database does.
#pragma once

#include <memory>

#include <rocksdb/file_system.h>

#include "sim/lossy_disk.hpp"

namespace atlasflow::sim {

[[nodiscard]] std::shared_ptr<rocksdb::FileSystem> make_lossy_file_system(
    std::shared_ptr<LossyDisk> disk, LossyDisk::Process process);

}  // namespace atlasflow::sim
