#include "storage/log/room.hpp"

#include <algorithm>
#include <string>
#include <utility>

#include "base/log.hpp"
#include "base/probe.hpp"

namespace atlasflow::storage {
namespace {

constexpr TimestampUs k_look_period_us = 10'000'000;
constexpr std::uint64_t k_mib = 1ULL << 20U;

std::string mib(std::uint64_t bytes) {
  return std::to_string(bytes / k_mib) + "." + std::to_string(bytes % k_mib * 10 / k_mib) + " MiB";
}

}  // namespace

Room::Room(std::shared_ptr<rocksdb::Env> env, std::filesystem::path folder,
           std::uint64_t reserve_bytes)
    : env_(std::move(env)),
      folder_(std::move(folder)),
      file_(folder_ / "reserve"),
      reserve_bytes_(reserve_bytes),
      held_(env_->FileExists(file_.string()).ok()) {}

std::optional<std::uint64_t> Room::free_bytes() const {
  std::uint64_t bytes = 0;
  if (!env_->GetFreeSpace(folder_.string(), &bytes).ok()) return std::nullopt;
  return bytes;
}

bool Room::is_there(std::uint64_t bytes) const {
  const auto free = free_bytes();
  return !free || *free >= bytes;
}

bool Room::could_make(std::uint64_t bytes) const {
  const auto held = held_.load() ? reserve_bytes_ : 0;
  return is_there(bytes > held ? bytes - held : 0);
}

Result<void> Room::make(std::uint64_t bytes, const char* what) {
  if (is_there(bytes)) return {};
  give_back();
  const auto free = free_bytes();
  if (!free || *free >= bytes) return {};
  return fail(ErrorCode::disk_full, "the disk of " + folder_.string() + " is full (" + mib(*free) +
                                        " free; " + what + " needs " + mib(bytes) +
                                        "): free some room. Nothing that was acknowledged is lost");
}

void Room::give_back() {
  if (!held_) return;
  const auto status = env_->DeleteFile(file_.string());
  if (!status.ok()) {
    log_event(LogLevel::error, "log", "reserve_not_given_back", {{"reason", status.ToString()}});
    return;
  }
  ATLAS_PROBE(true, "the reserve was given back, the disk being full");
  held_ = false;
  log_event(
      LogLevel::warn, "log", "reserve_given_back",
      {{"bytes", reserve_bytes_},
       {"advice",
        "the disk is full: free some room; the event log goes on with what the reserve had held"}});
}

void Room::restore(TimestampUs now) {
  if (looked_at_ && now >= *looked_at_ && now - *looked_at_ < k_look_period_us) return;
  looked_at_ = now;
  if (held_) {
    std::uint64_t size = 0;
    if (env_->GetFileSize(file_.string(), &size).ok() && size == reserve_bytes_) return;
    give_back();  // half made, or of another size: the setting has changed
  }
  if (held_ || reserve_bytes_ == 0) return;
  const auto free = free_bytes();
  if (!free || *free < 2 * reserve_bytes_) return;
  held_ = true;
  if (!write_reserve()) give_back();
}

// Blocks that nobody else can have: allocated where the file system can, else written.
bool Room::write_reserve() const {
  std::unique_ptr<rocksdb::WritableFile> file;
  rocksdb::EnvOptions options;
  options.fallocate_with_keep_size = false;
  options.use_direct_writes = false;
  auto status = env_->NewWritableFile(file_.string(), &file, options);
  if (!status.ok()) return false;
  std::uint64_t size = 0;
  if (file->Allocate(0, reserve_bytes_).ok()) {
    static_cast<void>(env_->GetFileSize(file_.string(), &size));
  }
  const std::string zeros(std::min(reserve_bytes_, k_mib), '\0');
  while (status.ok() && size < reserve_bytes_) {
    const auto part = std::min<std::uint64_t>(zeros.size(), reserve_bytes_ - size);
    status = file->Append(rocksdb::Slice(zeros.data(), part));
    size += part;
  }
  if (status.ok()) status = file->Sync();
  const auto closed = file->Close();
  return status.ok() && closed.ok();
}

}  // namespace atlasflow::storage
