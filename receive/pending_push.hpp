// What is written down before a push changes anything: how the repository stood then. Whoever finds
// it later, the process that wrote it being gone or the log having been full, can tell exactly
// which refs the push moved, and under which name each of these is recorded once. Removed when all
// of it is in the log. Values and one file; any thread, one at a time per file.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "base/error.hpp"
#include "receive/refs.hpp"

namespace atlasflow::receive {

struct PendingPush {
  std::string id;         // of the push; no other one has it
  std::string pusher;     // as whom it logged in
  std::int64_t at_s = 0;  // in s since 1970
  // Where all branches and tags stood; `only` is not empty: where that one did.
  Refs before;
  std::string only;
};

// Durable when it returns; disk_full: there is no room for it.
[[nodiscard]] Result<void> write_pending(const std::filesystem::path& file,
                                         const PendingPush& push);
// Nothing: there is none. corrupt: it is not what write_pending() wrote.
[[nodiscard]] Result<std::optional<PendingPush>> read_pending(const std::filesystem::path& file);
[[nodiscard]] Result<void> remove_pending(const std::filesystem::path& file);

}  // namespace atlasflow::receive
