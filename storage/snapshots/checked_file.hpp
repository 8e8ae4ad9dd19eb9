// Files beside the log that are whole or not there: written under another name, synced, renamed,
// and closed by the SHA-256 of all before. Their names are a position of 20 digits and an ending.
// Free functions over any rocksdb::Env; whoever writes is the only one in its folder.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include <rocksdb/env.h>

#include "base/error.hpp"
#include "events/ids.hpp"

namespace atlasflow::storage {

struct CheckedFiles {
  std::string folder;
  std::string_view ending;  // ".snapshot"
  std::string_view magic;   // its first bytes

  [[nodiscard]] std::string path_of(Position position) const;
};

// Newest first; a folder that is not there has none.
[[nodiscard]] std::vector<Position> positions_of(rocksdb::Env& env, const CheckedFiles& files);

// Durable when it returns. disk_full: it would leave too little room for those who need it. What a
// process that ended in the middle of it left goes first.
[[nodiscard]] Result<void> write_checked(rocksdb::Env& env, const CheckedFiles& files,
                                         Position position, std::string_view header,
                                         std::string_view body);

// All of it, `content_of` what is between the magic and the digest. corrupt: damaged, or no such
// file.
[[nodiscard]] Result<std::string> read_checked(rocksdb::Env& env, const CheckedFiles& files,
                                               Position position);
[[nodiscard]] std::string_view content_of(const CheckedFiles& files, std::string_view whole);
// What the file begins with, at most so many bytes behind its magic, and not checked.
[[nodiscard]] Result<std::string> read_head(rocksdb::Env& env, const CheckedFiles& files,
                                            Position position, std::size_t bytes_max);

}  // namespace atlasflow::storage
