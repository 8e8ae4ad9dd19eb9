#include "backup/restore.hpp"

#include <cerrno>
#include <utility>

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backup/backup_folder.hpp"
#include "backup/log_contents.hpp"
#include "backup/log_segment.hpp"
#include "backup/state_files.hpp"
#include "backup/state_folder.hpp"
#include "base/file.hpp"
#include "storage/log/log_copy.hpp"
#include "storage/log/record_codec.hpp"
#include "storage/log/rocksdb_event_log.hpp"

namespace atlasflow::backup {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view k_server_lock = "server.lock";
constexpr std::string_view k_restoring_text =
    "atlasflow restore works in this folder, or was ended before it was done: then remove what is "
    "in the folder and restore again.\n";

// The first name in a folder that must be empty; what file systems and locks put there aside.
std::string content_of(const fs::path& folder) {
  for (const auto& name : names_if_any(folder)) {
    if (name != "lost+found" && name != k_server_lock) return name;
  }
  return {};
}

// Reads the log of a backup record by record, with the file in every error.
Result<void> read_segments(const BackupFolder& folder, const Manifest& manifest,
                           const std::function<Result<void>(std::string_view)>& take) {
  for (const auto& segment : manifest.log) {
    RecordSplitter splitter;
    std::uint64_t records = 0;
    const auto named = [&](const std::string& what) {
      return fail(
          ErrorCode::corrupt,
          "the backup is damaged: " + folder.objects().path_of(segment.object.sha256).string() +
              ", record " + std::to_string(records) + " of it (position " +
              std::to_string(segment.first.value() + records - 1) + "): " + what);
    };
    ATLAS_TRYV(folder.objects().read(segment.object, [&](std::string_view piece) {
      return splitter.take(piece, [&](std::string_view stored) -> Result<void> {
        ++records;
        auto taken = take(stored);
        if (taken || taken.error().code != ErrorCode::corrupt) return taken;
        return named(taken.error().message);
      });
    }));
    if (!splitter.at_end()) return named("it is cut");
    if (records != segment.last.value() - segment.first.value() + 1) {
      return named("there are other records than the backup says");
    }
  }
  return {};
}

Result<Manifest> chosen(const BackupFolder& folder, const RestoreConfig& config) {
  return folder.manifest(config.number.value_or(folder.numbers().back()));
}

RestoreReport report_of(const Manifest& manifest) {
  RestoreReport report;
  report.number = manifest.number;
  report.made_at = manifest.made_at;
  report.position = manifest.position;
  report.chain = manifest.chain;
  report.state = manifest.state;
  report.files = manifest.files.size();
  return report;
}

// The same build folds the same events to the same state, or the bytes are not what they were.
Result<void> compare_state(const std::string& state, const Manifest& manifest,
                           const std::string& build, RestoreReport& report) {
  if (state == manifest.state) return {};
  if (build == manifest.build) {
    return fail(ErrorCode::corrupt, "the backup " + std::to_string(manifest.number) +
                                        " folds to another state than it was made of; use another "
                                        "backup, and report it with both builds");
  }
  report.folds_otherwise = true;
  report.state = state;
  return {};
}

class Restore {
 public:
  Restore(const RestoreConfig& config, const BackupFolder& folder, Manifest manifest)
      : config_(config), folder_(folder), manifest_(std::move(manifest)) {}
  ~Restore() {
    if (begun_ && !done_) remove_all();
  }
  Restore(const Restore&) = delete;
  Restore& operator=(const Restore&) = delete;

  Result<RestoreReport> run() {
    ATLAS_TRYV(check_key());
    ATLAS_TRYV(begin());
    auto report = report_of(manifest_);
    for (const auto& file : manifest_.files) ATLAS_TRYV(write_file(file));
    if (!config_.key_file.empty() && !manifest_.keys) ATLAS_TRYV(copy_key());
    ATLAS_TRYV(write_log());
    ATLAS_TRY(const auto log, storage::open_checked_event_log(config_.state / "events"));
    ATLAS_TRY(const auto state, state_digest_of(*log.log));
    ATLAS_TRYV(compare_state(state, manifest_, config_.build, report));
    ATLAS_TRYV(finish());
    return report;
  }

 private:
  // Whether the values can be opened afterwards is asked before anything is written.
  Result<void> check_key() {
    if (config_.key_file.empty()) {
      if (manifest_.keys || manifest_.key_digest.empty()) return {};
      return fail(ErrorCode::invalid_argument,
                  "the backup was made without keys, and its sealed values open with nothing else: "
                  "give the key file that the server had by --key");
    }
    const auto digest = key_digest_of(config_.key_file);
    if (!digest) {
      return fail(ErrorCode::invalid_argument,
                  "cannot use the key file " + config_.key_file.string() +
                      ": it must be the server's secret.key, 32 bytes that can be read",
                  to_string(digest.error()));
    }
    if (*digest == manifest_.key_digest) return {};
    return fail(ErrorCode::invalid_argument,
                "the key file " + config_.key_file.string() +
                    " is not the one that the backup's values were sealed with (its digest is " +
                    *digest + ", that of the right one " + manifest_.key_digest + ")");
  }

  Result<void> begin() {
    std::error_code error;
    was_there_ = fs::exists(config_.state, error);
    if (was_there_ && !fs::is_directory(config_.state, error)) {
      return fail(ErrorCode::conflict,
                  config_.state.string() + " is no folder; name another by --state-dir");
    }
    if (const auto name = content_of(config_.state); !name.empty()) {
      const bool cut = name == k_restoring || fs::exists(config_.state / k_restoring, error);
      return fail(ErrorCode::conflict,
                  config_.state.string() +
                      (cut ? " holds what a restore that was ended left: remove what is in it, and "
                             "restore again"
                           : " is not empty (" + name +
                                 "): a backup is restored into an empty folder only; move it away, "
                                 "or name another by --state-dir"));
    }
    ATLAS_TRYV(make_folder(config_.state));
    const auto lock = config_.state / k_server_lock;
    lock_ = FileDescriptor(::open(lock.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644));
    if (!lock_) return tl::unexpected(disk_error(errno_error("cannot make " + lock.string())));
    if (::flock(lock_.get(), LOCK_EX | LOCK_NB) != 0) {
      return fail(ErrorCode::conflict, "a server runs on " + config_.state.string() +
                                           "; stop it, or name another folder by --state-dir");
    }
    begun_ = true;
    if (::chmod(config_.state.c_str(), 0700) != 0) {
      return tl::unexpected(errno_error("cannot close " + config_.state.string() + " to others"));
    }
    auto marked = replace_file(config_.state / k_restoring, k_restoring_text, 0600);
    if (!marked) return tl::unexpected(disk_error(marked.error()));
    return {};
  }

  Result<FileDescriptor> make_file(const fs::path& path, std::uint32_t mode) {
    std::error_code error;
    const auto folder = path.parent_path();
    if (!fs::exists(folder, error)) {
      fs::create_directories(folder, error);
      if (error) {
        return tl::unexpected(
            disk_error({ErrorCode::internal, "cannot make " + folder.string(), error.message()}));
      }
      for (auto each = folder; each != config_.state; each = each.parent_path()) {
        ::chmod(each.c_str(), 0700);
      }
    }
    FileDescriptor fd(
        ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
    if (!fd || ::fchmod(fd.get(), mode & 0777U) != 0) {
      return tl::unexpected(disk_error(errno_error("cannot make " + path.string())));
    }
    return fd;
  }

  Result<void> write_file(const SavedFile& file) {
    const auto path = config_.state / file.path;
    ATLAS_TRY(const auto fd, make_file(path, file.mode));
    if (::ftruncate(fd.get(), static_cast<off_t>(file.size)) != 0 ||
        ::lseek(fd.get(), static_cast<off_t>(file.hole), SEEK_SET) < 0) {
      return tl::unexpected(disk_error(errno_error("cannot write " + path.string())));
    }
    ATLAS_TRYV(folder_.objects().read(file.object, [&](std::string_view piece) -> Result<void> {
      auto written = write_all(fd.get(), piece, path.string());
      if (!written) return tl::unexpected(disk_error(written.error()));
      return {};
    }));
    // So that the next backup finds it unchanged.
    constexpr std::int64_t k_second_ns = 1'000'000'000;
    const timespec time{file.mtime_ns / k_second_ns, file.mtime_ns % k_second_ns};
    const timespec times[] = {time, time};
    if (::futimens(fd.get(), times) != 0 || ::fsync(fd.get()) != 0) {
      return tl::unexpected(disk_error(errno_error("cannot sync " + path.string())));
    }
    return {};
  }

  Result<void> copy_key() {
    constexpr std::uint64_t k_key_bytes = 32;
    ATLAS_TRY(const auto key, read_file(config_.key_file, k_key_bytes));
    auto written = replace_file(config_.state / k_secret_key, key, 0600);
    if (!written) return tl::unexpected(disk_error(written.error()));
    return {};
  }

  Result<void> write_log() {
    ATLAS_TRY(auto copy, storage::LogCopy::begin(config_.state / "events"));
    ATLAS_TRYV(read_segments(folder_, manifest_,
                             [&copy](std::string_view stored) { return copy.add(stored); }));
    ATLAS_TRY(const auto tip, copy.finish(manifest_.epoch));
    if (tip.last == manifest_.position && to_hex(bytes_of(tip.chain)) == manifest_.chain) return {};
    return fail(ErrorCode::corrupt,
                "the backup is damaged: its log has another chain than its manifest says");
  }

  // The mark goes last, when all is durable: names and sizes of what was written too.
  Result<void> finish() {
    auto done =
        replace_file(config_.state / "VERSION", std::to_string(manifest_.layout) + "\n", 0644);
    if (done && ::syncfs(lock_.get()) != 0) {
      done = tl::unexpected(errno_error("cannot sync " + config_.state.string()));
    }
    if (done && ::unlink((config_.state / k_restoring).c_str()) != 0) {
      done = tl::unexpected(errno_error("cannot remove the mark of the restore"));
    }
    if (done) done = sync_folder(config_.state);
    if (!done) return tl::unexpected(disk_error(done.error()));
    done_ = true;
    return {};
  }

  // It was empty, so all of it is ours. The mark goes last.
  void remove_all() const {
    std::error_code ignored;
    for (const auto& name : names_if_any(config_.state)) {
      if (name != "lost+found" && name != k_restoring)
        fs::remove_all(config_.state / name, ignored);
    }
    fs::remove(config_.state / k_restoring, ignored);
    if (!was_there_) ::rmdir(config_.state.c_str());
  }

  const RestoreConfig& config_;
  const BackupFolder& folder_;
  const Manifest manifest_;
  FileDescriptor lock_;
  bool was_there_ = false;
  bool begun_ = false;
  bool done_ = false;
};

}  // namespace

Result<RestoreReport> restore(const RestoreConfig& config) {
  ATLAS_TRY(const auto folder, BackupFolder::open_for_reading(config.folder));
  ATLAS_TRY(auto manifest, chosen(folder, config));
  return Restore(config, folder, std::move(manifest)).run();
}

Result<RestoreReport> check_backup(const RestoreConfig& config) {
  ATLAS_TRY(const auto folder, BackupFolder::open_for_reading(config.folder));
  ATLAS_TRY(const auto manifest, chosen(folder, config));
  for (const auto& file : manifest.files) {
    ATLAS_TRYV(folder.objects().read(file.object, [](std::string_view) { return Result<void>{}; }));
  }
  auto report = report_of(manifest);
  storage::RecordCodec codec;
  storage::ChainHash chain{};
  storage::Record record;
  storage::Catalog catalog;
  const auto take = [&](std::string_view stored) -> Result<void> {
    if (!codec.check_chain(stored, chain)) {
      return fail(ErrorCode::corrupt, "its hash does not follow from the record before");
    }
    ATLAS_TRYV(codec.decode_into(stored, record));
    if (record.position != catalog.position().next()) {
      return fail(ErrorCode::corrupt, "it is another position");
    }
    chain = record.chain;
    catalog.apply(record);
    return {};
  };
  ATLAS_TRYV(read_segments(folder, manifest, take));
  ATLAS_TRYV(compare_state(contents_of(catalog).state, manifest, config.build, report));
  return report;
}

}  // namespace atlasflow::backup
