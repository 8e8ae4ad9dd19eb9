// A log that is made of records which exist already, byte for byte: by a restore, by an import.
// Their chain stays what it was, the indexes are made anew, and every rule that verify() knows is
// checked on the way. Owned by one caller, one thread.
#pragma once

#include <filesystem>
#include <memory>
#include <string_view>

#include "storage/log/batch_plan.hpp"
#include "storage/log/event_log.hpp"

namespace atlasflow::storage {

class LogCopy {
 public:
  // Makes the folder, which must not be there or be empty. Until finish() it is no log: whoever
  // opens it is refused.
  [[nodiscard]] static Result<LogCopy> begin(const std::filesystem::path& folder);
  ~LogCopy();
  LogCopy(LogCopy&&) noexcept;
  LogCopy& operator=(LogCopy&&) noexcept;

  // The next record as it was stored. corrupt: it does not follow from what is there; the message
  // is the rest of a sentence that begins with where it came from. disk_full, internal: the disk.
  // After an error only the destructor may be called.
  [[nodiscard]] Result<void> add(std::string_view stored);
  // What add() took last.
  [[nodiscard]] const Record& last() const;

  // Everything is durable and the folder is a log. newest: the newest writer epoch that anybody is
  // known to have taken.
  [[nodiscard]] Result<LogTip> finish(Epoch newest);

 private:
  class Writer;
  explicit LogCopy(std::unique_ptr<Writer> writer);
  std::unique_ptr<Writer> writer_;
};

}  // namespace atlasflow::storage
