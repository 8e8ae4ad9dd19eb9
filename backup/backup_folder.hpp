// A folder of backups:
//
//   FORMAT      "atlasflow-backup 1"
//   lock        held by flock(2): one writer, or any number of readers
//   backups/    a manifest for each backup
//   objects/    what they consist of
//
// All of it only the owner can read. One process at a time writes; an object belongs to one thread.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "backup/manifest.hpp"
#include "backup/object_store.hpp"
#include "base/error.hpp"
#include "base/file_descriptor.hpp"

namespace atlasflow::backup {

class BackupFolder {
 public:
  // Makes it when it is missing or empty. invalid_argument: something else is in it; conflict:
  // another process uses it; corrupt: of a newer format.
  [[nodiscard]] static Result<BackupFolder> open_for_writing(const std::filesystem::path& folder);
  // invalid_argument: there is no backup in it.
  [[nodiscard]] static Result<BackupFolder> open_for_reading(const std::filesystem::path& folder);

  // The numbers of its backups, in order.
  [[nodiscard]] std::vector<std::uint64_t> numbers() const;
  // invalid_argument: there is none of that number; corrupt: the manifest is damaged or newer.
  [[nodiscard]] Result<Manifest> manifest(std::uint64_t number) const;
  struct Newest {
    std::uint64_t number = 0;          // the highest that was given; 0: none
    std::optional<Manifest> manifest;  // the newest whose bytes are what its name says
    std::vector<std::string> damaged;  // the files of those after it
  };
  // corrupt: the newest that is not damaged is of a newer format, or no manifest.
  [[nodiscard]] Result<Newest> newest() const;

  // From here on it is a backup.
  [[nodiscard]] Result<void> publish(const Manifest& manifest);
  // Removes what is older than the newest `keep` backups whose manifests are whole (0: nothing),
  // and what no backup needs; the numbers of those that went. Removes no object as long as one
  // manifest is damaged.
  [[nodiscard]] std::vector<std::uint64_t> remove_old(std::uint64_t keep);

  [[nodiscard]] ObjectStore& objects() { return objects_; }
  [[nodiscard]] const ObjectStore& objects() const { return objects_; }
  [[nodiscard]] const std::filesystem::path& path() const { return folder_; }

 private:
  BackupFolder(std::filesystem::path folder, FileDescriptor lock)
      : folder_(std::move(folder)), lock_(std::move(lock)), objects_(folder_ / "objects") {}

  [[nodiscard]] std::filesystem::path manifests() const { return folder_ / "backups"; }

  std::filesystem::path folder_;
  FileDescriptor lock_;
  ObjectStore objects_;
};

}  // namespace atlasflow::backup
