// What goes wrong on a LossyDisk: power cuts, kills, and the faults that its owner switches on.
#include <algorithm>
#include <ranges>

#include "sim/disk/disk_path.hpp"
#include "sim/disk/lossy_disk.hpp"

namespace atlasflow::sim {
namespace {

constexpr std::uint64_t k_sector_bytes = 512;

}  // namespace

// Ends -------------------------------------------------------------------------------------------

void LossyDisk::crash(const Chooser& choose, TornSector torn) {
  const std::lock_guard lock(mutex_);
  kill_all();
  lose_folder_changes(choose);
  for (const auto& [path, file] : files_) tear(*file, choose, torn);
}

void LossyDisk::process_crash() {
  const std::lock_guard lock(mutex_);
  kill_all();
}

void LossyDisk::kill_after(std::uint64_t count) {
  const std::lock_guard lock(mutex_);
  kill_at_ = operations_ + count;
}

bool LossyDisk::kill_is_pending() const {
  const std::lock_guard lock(mutex_);
  return kill_at_.has_value();
}

std::uint64_t LossyDisk::operations() const {
  const std::lock_guard lock(mutex_);
  return operations_;
}

bool LossyDisk::has_living_process() const {
  const std::lock_guard lock(mutex_);
  return !alive_.empty();
}

void LossyDisk::settle() {
  const std::lock_guard lock(mutex_);
  changes_.clear();
  for (const auto& [path, file] : files_) {
    file->synced = file->bytes.size();
    file->before.reset();
    file->sync_lost = false;
  }
}

void LossyDisk::kill_all() {
  full_kind_ = FullDisk::known;  // whoever comes next finds it full when he looks
  alive_.clear();
  locks_.clear();
  kill_at_.reset();
}

void LossyDisk::lose_folder_changes(const Chooser& choose) {
  std::map<std::string, std::uint64_t> left;  // of each folder, the changes that go
  for (const auto& change : changes_) ++left[change.folder];
  for (auto& [folder, count] : left) count = choose(count + 1);
  for (auto& change : std::ranges::reverse_view(changes_)) {
    auto& count = left[change.folder];
    if (count == 0) continue;
    --count;
    undo(change);
  }
  changes_.clear();
  // What lay in a folder that is gone is gone.
  std::erase_if(folders_, [&](const auto& folder) {
    for (auto up = folder; up != "/" && !up.empty(); up = parent_of(up)) {
      if (!folders_.contains(up)) return true;
    }
    return false;
  });
  std::erase_if(files_, [&](const auto& entry) {
    const auto folder = parent_of(entry.first);
    return !folder.empty() && !folders_.contains(folder);
  });
}

void LossyDisk::undo(const FolderChange& change) {
  for (const auto& [path, file] : change.before) {
    if (file) {
      files_[path] = file;
    } else {
      files_.erase(path);
    }
  }
  if (change.made_folder) folders_.erase(*change.made_folder);
  if (change.removed_folder) folders_.insert(*change.removed_folder);
}

void LossyDisk::tear(DiskFile& file, const Chooser& choose, TornSector torn) {
  const std::uint64_t size = file.bytes.size();
  if (size > file.synced || file.before) {
    enum Choice : std::uint64_t { all, part, part_and_garbage, nothing };
    auto choice = choose(torn == TornSector::garbage ? 4 : 3);
    if (torn == TornSector::cut && choice == part_and_garbage) choice = nothing;
    if (choice == nothing || size == file.synced) {
      if (choice != all) {
        file.bytes.resize(file.synced);
        if (file.before) file.bytes = std::move(*file.before);
      }
    } else if (choice != all) {
      // At least the last byte goes, at most everything that was not synced.
      const auto cut = size - 1 - choose(size - file.synced);
      file.bytes.resize(cut);
      if (choice == part_and_garbage) {
        const auto end = std::min(size, (cut / k_sector_bytes + 1) * k_sector_bytes);
        auto noise = choose(1ULL << 32U);
        while (file.bytes.size() < end) {
          file.bytes.push_back(static_cast<char>(noise >> 24U));
          noise = noise * 6364136223846793005ULL + (noise == 0 ? 0 : 1442695040888963407ULL);
        }
      }
    }
  }
  file.synced = file.bytes.size();
  file.before.reset();
  file.sync_lost = false;
}

// Faults -----------------------------------------------------------------------------------------

void LossyDisk::fail_next_sync() {
  const std::lock_guard lock(mutex_);
  next_sync_fails_ = true;
}

void LossyDisk::fail_syncs(bool on) {
  const std::lock_guard lock(mutex_);
  syncs_fail_ = on;
}

void LossyDisk::fail_writes(bool on) {
  const std::lock_guard lock(mutex_);
  writes_fail_ = on;
}

void LossyDisk::fail_reads(bool on) {
  const std::lock_guard lock(mutex_);
  reads_fail_ = on;
}

void LossyDisk::set_capacity(std::optional<std::uint64_t> bytes, FullDisk kind) {
  const std::lock_guard lock(mutex_);
  capacity_bytes_ = bytes;
  full_kind_ = kind;
}

std::optional<std::uint64_t> LossyDisk::free_bytes() const {
  const std::lock_guard lock(mutex_);
  if (!capacity_bytes_ || full_kind_ != FullDisk::known) return std::nullopt;
  const auto in_use = used();
  return *capacity_bytes_ > in_use ? *capacity_bytes_ - in_use : 0;
}

bool LossyDisk::is_full() const {
  return capacity_bytes_ && full_kind_ != FullDisk::racing && used() >= *capacity_bytes_;
}

void LossyDisk::heal() {
  const std::lock_guard lock(mutex_);
  next_sync_fails_ = syncs_fail_ = writes_fail_ = reads_fail_ = false;
  capacity_bytes_.reset();
  full_kind_ = FullDisk::known;
}

std::uint64_t LossyDisk::used_bytes() const {
  const std::lock_guard lock(mutex_);
  return used();
}

std::uint64_t LossyDisk::used() const {
  std::uint64_t bytes = 0;
  for (const auto& [path, file] : files_) bytes += file->bytes.size();
  return bytes;
}

bool LossyDisk::flip(std::string_view path, std::uint64_t offset) {
  const std::lock_guard lock(mutex_);
  const auto found = files_.find(normal(path));
  if (found == files_.end() || offset >= found->second->bytes.size()) return false;
  char& byte = found->second->bytes[offset];
  byte = static_cast<char>(byte ^ 0x10);
  return true;
}

std::optional<std::pair<std::string, std::uint64_t>> LossyDisk::flip(const Chooser& choose,
                                                                     std::string_view path_part) {
  std::vector<std::pair<std::string, std::uint64_t>> candidates;  // path, size
  {
    const std::lock_guard lock(mutex_);
    for (const auto& [path, file] : files_) {
      if (path.find(path_part) == std::string::npos || file->bytes.empty()) continue;
      candidates.emplace_back(path, file->bytes.size());
    }
  }
  if (candidates.empty()) return std::nullopt;
  const auto& [path, size] = candidates[choose(candidates.size())];
  const auto offset = choose(size);
  flip(path, offset);
  return std::pair{path, offset};
}

}  // namespace atlasflow::sim
