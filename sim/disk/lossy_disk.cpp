#include "sim/disk/lossy_disk.hpp"

#include <algorithm>
#include <cstring>

#include "base/digest.hpp"
#include "sim/disk/disk_path.hpp"

namespace atlasflow::sim {
LossyDisk::LossyDisk(const LossyDisk& other) {
  const std::lock_guard lock(other.mutex_);
  // A file may be in the folder and in a change that can be undone: it stays one file.
  std::map<const DiskFile*, DiskFilePtr> copies;
  const auto copy = [&](const DiskFilePtr& file) {
    if (!file) return DiskFilePtr{};
    auto& made = copies[file.get()];
    if (!made) made = std::make_shared<DiskFile>(*file);
    return made;
  };
  for (const auto& [path, file] : other.files_) files_.emplace_hint(files_.end(), path, copy(file));
  folders_ = other.folders_;
  changes_ = other.changes_;
  for (auto& change : changes_) {
    for (auto& [path, file] : change.before) file = copy(file);
  }
  last_process_ = other.last_process_;
  operations_ = other.operations_;
  next_sync_fails_ = other.next_sync_fails_;
  syncs_fail_ = other.syncs_fail_;
  writes_fail_ = other.writes_fail_;
  reads_fail_ = other.reads_fail_;
  capacity_bytes_ = other.capacity_bytes_;
}

// Looking at it ----------------------------------------------------------------------------------

std::vector<std::string> LossyDisk::files() const {
  const std::lock_guard lock(mutex_);
  std::vector<std::string> paths;
  for (const auto& [path, file] : files_) paths.push_back(path);
  return paths;
}

std::optional<std::string> LossyDisk::read(std::string_view path) const {
  const std::lock_guard lock(mutex_);
  const auto found = files_.find(normal(path));
  if (found == files_.end()) return std::nullopt;
  return found->second->bytes;
}

std::string LossyDisk::digest() const {
  // Its key, without the part that a table shares with the key before.
  static constexpr std::string_view k_session_id = "session.identity";
  const std::lock_guard lock(mutex_);
  std::string text;
  for (const auto& folder : folders_) text += "folder " + folder + "\n";
  for (const auto& [path, file] : files_) {
    std::string_view bytes = file->bytes;
    if (path.ends_with(".sst")) bytes = bytes.substr(0, bytes.find(k_session_id));
    if (path.find("/MANIFEST-") != std::string::npos) bytes = {};
    text += "file " + path + " " + std::to_string(file->bytes.size()) + " " +
            std::to_string(file->synced) + " " + sha256_hex(bytes) + "\n";
  }
  for (const auto& change : changes_) {
    text += "change " + change.folder;
    for (const auto& [path, file] : change.before) {
      text += " " + path + (file ? " " + std::to_string(file->bytes.size()) : " none");
    }
    text += "\n";
  }
  return sha256_hex(text);
}

// For the processes on it ------------------------------------------------------------------------

LossyDisk::Process LossyDisk::start_process() {
  const std::lock_guard lock(mutex_);
  alive_.insert(++last_process_);
  return last_process_;
}

void LossyDisk::end_process(Process process) {
  const std::lock_guard lock(mutex_);
  alive_.erase(process);
  std::erase_if(locks_, [&](const auto& held) { return held.second == process; });
}

bool LossyDisk::is_alive(Process process) const {
  const std::lock_guard lock(mutex_);
  return alive_.contains(process);
}

DiskStatus LossyDisk::begin_change(Process process) {
  if (!alive_.contains(process)) return DiskStatus::dead;
  if (kill_at_ && operations_ >= *kill_at_) {
    kill_all();
    return DiskStatus::dead;
  }
  ++operations_;
  return DiskStatus::ok;
}

bool LossyDisk::sync_fails() { return std::exchange(next_sync_fails_, false) || syncs_fail_; }

DiskStatus LossyDisk::open_for_writing(Process process, std::string_view path, DiskFilePtr& file) {
  const std::lock_guard lock(mutex_);
  if (const auto begun = begin_change(process); begun != DiskStatus::ok) return begun;
  if (writes_fail_) return DiskStatus::failed;
  const std::string name = normal(path);
  const std::string folder = parent_of(name);
  if (!folder.empty() && !folders_.contains(folder)) return DiskStatus::not_found;
  if (is_full() && !files_.contains(name)) return DiskStatus::full;
  auto& entry = files_[name];
  if (!entry) {
    entry = std::make_shared<DiskFile>();
    changes_.push_back({folder, {{name, nullptr}}, {}, {}});
  } else {
    if (!entry->before) entry->before = entry->bytes.substr(0, entry->synced);
    entry->bytes.clear();
    entry->synced = 0;
    entry->sync_lost = false;
  }
  file = entry;
  return DiskStatus::ok;
}

DiskStatus LossyDisk::open_for_reading(Process process, std::string_view path, DiskFilePtr& file) {
  const std::lock_guard lock(mutex_);
  if (!alive_.contains(process)) return DiskStatus::dead;
  if (reads_fail_) return DiskStatus::failed;
  const auto found = files_.find(normal(path));
  if (found == files_.end()) return DiskStatus::not_found;
  file = found->second;
  return DiskStatus::ok;
}

DiskStatus LossyDisk::append(Process process, DiskFile& file, std::string_view bytes) {
  const std::lock_guard lock(mutex_);
  if (const auto begun = begin_change(process); begun != DiskStatus::ok) return begun;
  if (writes_fail_) return DiskStatus::failed;
  if (capacity_bytes_ && full_kind_ != FullDisk::deferred) {
    const auto in_use = used();
    const auto room = *capacity_bytes_ > in_use ? *capacity_bytes_ - in_use : 0;
    if (bytes.size() > room) {
      file.bytes.append(bytes.substr(0, room));
      full_kind_ = FullDisk::known;  // the race is lost once
      return DiskStatus::full;
    }
  }
  file.bytes.append(bytes);
  return DiskStatus::ok;
}

DiskStatus LossyDisk::truncate(Process process, DiskFile& file, std::uint64_t size) {
  const std::lock_guard lock(mutex_);
  if (const auto begun = begin_change(process); begun != DiskStatus::ok) return begun;
  if (writes_fail_) return DiskStatus::failed;
  if (size < file.synced) {
    if (!file.before) file.before = file.bytes.substr(0, file.synced);
    file.synced = 0;  // less than could be said, so that a crash may lose more
  }
  file.bytes.resize(size);
  return DiskStatus::ok;
}

DiskStatus LossyDisk::sync(Process process, DiskFile& file) {
  const std::lock_guard lock(mutex_);
  if (const auto begun = begin_change(process); begun != DiskStatus::ok) return begun;
  if (sync_fails()) {
    file.sync_lost = true;
    return DiskStatus::failed;
  }
  if (file.sync_lost) return DiskStatus::ok;
  if (full_kind_ == FullDisk::deferred && file.synced < file.bytes.size() && is_full()) {
    file.sync_lost = true;
    full_kind_ = FullDisk::known;
    return DiskStatus::full;
  }
  file.synced = file.bytes.size();
  file.before.reset();
  return DiskStatus::ok;
}

DiskStatus LossyDisk::read(const DiskFile& file, std::uint64_t offset, std::size_t count, char* out,
                           std::size_t& copied) const {
  const std::lock_guard lock(mutex_);
  copied = 0;
  if (reads_fail_) return DiskStatus::failed;
  if (offset >= file.bytes.size()) return DiskStatus::ok;
  copied = std::min<std::size_t>(count, file.bytes.size() - offset);
  std::memcpy(out, file.bytes.data() + offset, copied);
  return DiskStatus::ok;
}

std::uint64_t LossyDisk::size_of(const DiskFile& file) const {
  const std::lock_guard lock(mutex_);
  return file.bytes.size();
}

DiskStatus LossyDisk::make_folder(Process process, std::string_view path) {
  const std::lock_guard lock(mutex_);
  if (const auto begun = begin_change(process); begun != DiskStatus::ok) return begun;
  if (writes_fail_) return DiskStatus::failed;
  const std::string name = normal(path);
  const std::string folder = parent_of(name);
  if (folders_.contains(name) || files_.contains(name)) return DiskStatus::exists;
  if (!folder.empty() && !folders_.contains(folder)) return DiskStatus::not_found;
  folders_.insert(name);
  changes_.push_back({folder, {}, name, {}});
  return DiskStatus::ok;
}

DiskStatus LossyDisk::remove_folder(Process process, std::string_view path) {
  const std::lock_guard lock(mutex_);
  if (const auto begun = begin_change(process); begun != DiskStatus::ok) return begun;
  if (writes_fail_) return DiskStatus::failed;
  const std::string name = normal(path);
  if (!folders_.contains(name)) return DiskStatus::not_found;
  const auto inside = [&](std::string_view other) { return other.starts_with(name + "/"); };
  if (std::ranges::any_of(files_, [&](const auto& entry) { return inside(entry.first); }) ||
      std::ranges::any_of(folders_, inside)) {
    return DiskStatus::exists;
  }
  folders_.erase(name);
  changes_.push_back({parent_of(name), {}, {}, name});
  return DiskStatus::ok;
}

DiskStatus LossyDisk::sync_folder(Process process, std::string_view path) {
  const std::lock_guard lock(mutex_);
  if (const auto begun = begin_change(process); begun != DiskStatus::ok) return begun;
  if (sync_fails()) return DiskStatus::failed;
  const std::string name = normal(path);
  if (!folders_.contains(name)) return DiskStatus::not_found;
  std::erase_if(changes_, [&](const auto& change) { return change.folder == name; });
  return DiskStatus::ok;
}

DiskStatus LossyDisk::remove(Process process, std::string_view path) {
  const std::lock_guard lock(mutex_);
  if (const auto begun = begin_change(process); begun != DiskStatus::ok) return begun;
  if (writes_fail_) return DiskStatus::failed;
  const auto found = files_.find(normal(path));
  if (found == files_.end()) return DiskStatus::not_found;
  changes_.push_back({parent_of(found->first), {{found->first, found->second}}, {}, {}});
  files_.erase(found);
  return DiskStatus::ok;
}

DiskStatus LossyDisk::rename(Process process, std::string_view from, std::string_view to) {
  const std::lock_guard lock(mutex_);
  if (const auto begun = begin_change(process); begun != DiskStatus::ok) return begun;
  if (writes_fail_) return DiskStatus::failed;
  const std::string source = normal(from);
  const std::string target = normal(to);
  const auto found = files_.find(source);
  if (found == files_.end()) return DiskStatus::not_found;
  if (parent_of(source) != parent_of(target)) return DiskStatus::unsupported;
  if (is_full()) return DiskStatus::full;  // the folder may need another block
  if (source == target) return DiskStatus::ok;
  const DiskFilePtr moved = found->second;
  const auto replaced = files_.find(target);
  const DiskFilePtr old = replaced == files_.end() ? nullptr : replaced->second;
  changes_.push_back({parent_of(source), {{source, moved}, {target, old}}, {}, {}});
  files_.erase(found);
  files_[target] = moved;
  return DiskStatus::ok;
}

bool LossyDisk::is_folder(std::string_view path) const {
  const std::lock_guard lock(mutex_);
  return folders_.contains(normal(path));
}

DiskFilePtr LossyDisk::find(std::string_view path) const {
  const std::lock_guard lock(mutex_);
  const auto found = files_.find(normal(path));
  return found == files_.end() ? nullptr : found->second;
}

DiskStatus LossyDisk::list(std::string_view path, std::vector<std::string>& names) const {
  const std::lock_guard lock(mutex_);
  const std::string folder = normal(path);
  if (!folders_.contains(folder)) return DiskStatus::not_found;
  std::set<std::string> found;
  const std::string prefix = folder == "/" ? folder : folder + "/";
  for (auto entry = files_.lower_bound(prefix);
       entry != files_.end() && entry->first.starts_with(prefix); ++entry) {
    if (parent_of(entry->first) == folder) found.insert(entry->first.substr(prefix.size()));
  }
  for (auto entry = folders_.lower_bound(prefix);
       entry != folders_.end() && entry->starts_with(prefix); ++entry) {
    if (*entry != folder && parent_of(*entry) == folder) found.insert(entry->substr(prefix.size()));
  }
  names.assign(found.begin(), found.end());
  return DiskStatus::ok;
}

DiskStatus LossyDisk::lock(Process process, std::string_view path) {
  const std::lock_guard guard(mutex_);
  if (!alive_.contains(process)) return DiskStatus::dead;
  return locks_.emplace(normal(path), process).second ? DiskStatus::ok : DiskStatus::exists;
}

void LossyDisk::unlock(Process process, std::string_view path) {
  const std::lock_guard guard(mutex_);
  const auto held = locks_.find(normal(path));
  if (held != locks_.end() && held->second == process) locks_.erase(held);
}

}  // namespace atlasflow::sim
