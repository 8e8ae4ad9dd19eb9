#include "sim/disk/lossy_file_system.hpp"

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <rocksdb/env.h>

namespace atlasflow::sim {
namespace {

using rocksdb::FileOptions;
using rocksdb::IODebugContext;
using rocksdb::IOOptions;
using rocksdb::IOStatus;
using rocksdb::Slice;

std::string_view view_of(const Slice& slice) { return {slice.data(), slice.size()}; }

// None of them is marked as worth a retry: RocksDB would try again on a thread of its own.
IOStatus to_io_status(DiskStatus status, const std::string& what) {
  switch (status) {
    case DiskStatus::ok:
      return IOStatus::OK();
    case DiskStatus::not_found:
      return IOStatus::PathNotFound(what);
    case DiskStatus::exists:
      return IOStatus::IOError(what, "is there already, is not empty, or is locked");
    case DiskStatus::failed:
      return IOStatus::IOError(what, "injected: the disk failed");
    case DiskStatus::full:
      return IOStatus::NoSpace(what, "injected: the disk is full");
    case DiskStatus::dead:
      return IOStatus::IOError(what, "injected: the process is dead");
    case DiskStatus::unsupported:
      return IOStatus::NotSupported(what);
  }
  return IOStatus::IOError(what);
}

// What a process and each of its handles knows.
struct Access {
  std::shared_ptr<LossyDisk> disk;
  LossyDisk::Process process = 0;
};

class SequentialFile final : public rocksdb::FSSequentialFile {
 public:
  SequentialFile(Access access, DiskFilePtr file, std::string name)
      : access_(std::move(access)), file_(std::move(file)), name_(std::move(name)) {}

  IOStatus Read(std::size_t count, const IOOptions& /*options*/, Slice* result, char* scratch,
                IODebugContext* /*debug*/) override {
    std::size_t copied = 0;
    const auto status = access_.disk->read(*file_, at_, count, scratch, copied);
    at_ += copied;
    *result = Slice(scratch, copied);
    return to_io_status(status, name_);
  }
  IOStatus Skip(std::uint64_t count) override {
    at_ += count;
    return IOStatus::OK();
  }

 private:
  const Access access_;
  const DiskFilePtr file_;
  const std::string name_;
  std::uint64_t at_ = 0;
};

class RandomAccessFile final : public rocksdb::FSRandomAccessFile {
 public:
  RandomAccessFile(Access access, DiskFilePtr file, std::string name)
      : access_(std::move(access)), file_(std::move(file)), name_(std::move(name)) {}

  IOStatus Read(std::uint64_t offset, std::size_t count, const IOOptions& /*options*/,
                Slice* result, char* scratch, IODebugContext* /*debug*/) const override {
    std::size_t copied = 0;
    const auto status = access_.disk->read(*file_, offset, count, scratch, copied);
    *result = Slice(scratch, copied);
    return to_io_status(status, name_);
  }

 private:
  const Access access_;
  const DiskFilePtr file_;
  const std::string name_;
};

class WritableFile final : public rocksdb::FSWritableFile {
 public:
  WritableFile(Access access, DiskFilePtr file, std::string name)
      : access_(std::move(access)), file_(std::move(file)), name_(std::move(name)) {}

  using FSWritableFile::Append;
  IOStatus Append(const Slice& bytes, const IOOptions& /*options*/,
                  IODebugContext* /*debug*/) override {
    return to_io_status(access_.disk->append(access_.process, *file_, view_of(bytes)), name_);
  }
  IOStatus Truncate(std::uint64_t size, const IOOptions& /*options*/,
                    IODebugContext* /*debug*/) override {
    // RocksDB cuts a file it closes to the size it has anyway.
    if (access_.disk->size_of(*file_) == size) return IOStatus::OK();
    return to_io_status(access_.disk->truncate(access_.process, *file_, size), name_);
  }
  IOStatus Close(const IOOptions& /*options*/, IODebugContext* /*debug*/) override {
    return IOStatus::OK();
  }
  IOStatus Flush(const IOOptions& /*options*/, IODebugContext* /*debug*/) override {
    return IOStatus::OK();
  }
  IOStatus Sync(const IOOptions& /*options*/, IODebugContext* /*debug*/) override {
    return to_io_status(access_.disk->sync(access_.process, *file_), name_);
  }
  // A hint to the kernel that promises nothing (sync_file_range(2)).
  IOStatus RangeSync(std::uint64_t /*offset*/, std::uint64_t /*count*/,
                     const IOOptions& /*options*/, IODebugContext* /*debug*/) override {
    return IOStatus::OK();
  }
  bool IsSyncThreadSafe() const override { return true; }
  std::uint64_t GetFileSize(const IOOptions& /*options*/, IODebugContext* /*debug*/) override {
    return access_.disk->size_of(*file_);
  }

 private:
  const Access access_;
  const DiskFilePtr file_;
  const std::string name_;
};

class Folder final : public rocksdb::FSDirectory {
 public:
  Folder(Access access, std::string name) : access_(std::move(access)), name_(std::move(name)) {}

  IOStatus Fsync(const IOOptions& /*options*/, IODebugContext* /*debug*/) override {
    return to_io_status(access_.disk->sync_folder(access_.process, name_), name_);
  }
  IOStatus Close(const IOOptions& /*options*/, IODebugContext* /*debug*/) override {
    return IOStatus::OK();
  }

 private:
  const Access access_;
  const std::string name_;
};

struct Lock final : rocksdb::FileLock {
  explicit Lock(std::string path) : name(std::move(path)) {}
  const std::string name;
};

// RocksDB writes all its settings into such a file at each open, reads them back to compare, and
// goes on without when it cannot. Nothing reads them later, and they cost three quarters of an
// open.
bool is_settings_file(std::string_view path) {
  return path.substr(path.rfind('/') + 1).starts_with("OPTIONS-");
}

class NoLog final : public rocksdb::Logger {
 public:
  using Logger::Logv;
  void Logv(const char* /*format*/, va_list /*arguments*/) override {}
  void Logv(rocksdb::InfoLogLevel /*level*/, const char* /*format*/,
            va_list /*arguments*/) override {}
  std::size_t GetLogFileSize() const override { return 0; }
};

class LossyFileSystem final : public rocksdb::FileSystem {
 public:
  explicit LossyFileSystem(Access access) : access_(std::move(access)) {}

  const char* Name() const override { return "LossyFileSystem"; }

  IOStatus NewSequentialFile(const std::string& name, const FileOptions& /*options*/,
                             std::unique_ptr<rocksdb::FSSequentialFile>* result,
                             IODebugContext* /*debug*/) override {
    DiskFilePtr file;
    const auto status = access_.disk->open_for_reading(access_.process, name, file);
    if (file) *result = std::make_unique<SequentialFile>(access_, std::move(file), name);
    return to_io_status(status, name);
  }
  IOStatus NewRandomAccessFile(const std::string& name, const FileOptions& /*options*/,
                               std::unique_ptr<rocksdb::FSRandomAccessFile>* result,
                               IODebugContext* /*debug*/) override {
    DiskFilePtr file;
    const auto status = access_.disk->open_for_reading(access_.process, name, file);
    if (file) *result = std::make_unique<RandomAccessFile>(access_, std::move(file), name);
    return to_io_status(status, name);
  }
  IOStatus NewWritableFile(const std::string& name, const FileOptions& /*options*/,
                           std::unique_ptr<rocksdb::FSWritableFile>* result,
                           IODebugContext* /*debug*/) override {
    if (is_settings_file(name)) return to_io_status(DiskStatus::unsupported, name);
    DiskFilePtr file;
    const auto status = access_.disk->open_for_writing(access_.process, name, file);
    if (file) *result = std::make_unique<WritableFile>(access_, std::move(file), name);
    return to_io_status(status, name);
  }
  IOStatus NewDirectory(const std::string& name, const IOOptions& /*options*/,
                        std::unique_ptr<rocksdb::FSDirectory>* result,
                        IODebugContext* /*debug*/) override {
    if (!access_.disk->is_folder(name)) return to_io_status(DiskStatus::not_found, name);
    *result = std::make_unique<Folder>(access_, name);
    return IOStatus::OK();
  }

  IOStatus FileExists(const std::string& name, const IOOptions& /*options*/,
                      IODebugContext* /*debug*/) override {
    if (!access_.disk->is_alive(access_.process)) return to_io_status(DiskStatus::dead, name);
    if (access_.disk->find(name) || access_.disk->is_folder(name)) return IOStatus::OK();
    return IOStatus::NotFound(name);
  }
  IOStatus GetChildren(const std::string& name, const IOOptions& /*options*/,
                       std::vector<std::string>* result, IODebugContext* /*debug*/) override {
    result->clear();
    const auto status = access_.disk->list(name, *result);
    // Here, unlike elsewhere, RocksDB's own file system says NotFound.
    return status == DiskStatus::not_found ? IOStatus::NotFound(name) : to_io_status(status, name);
  }
  IOStatus GetFileSize(const std::string& name, const IOOptions& /*options*/, std::uint64_t* size,
                       IODebugContext* /*debug*/) override {
    const auto file = access_.disk->find(name);
    if (!file) return to_io_status(DiskStatus::not_found, name);
    *size = access_.disk->size_of(*file);
    return IOStatus::OK();
  }
  IOStatus GetFileModificationTime(const std::string& name, const IOOptions& /*options*/,
                                   std::uint64_t* time, IODebugContext* /*debug*/) override {
    *time = 0;
    return to_io_status(access_.disk->find(name) ? DiskStatus::ok : DiskStatus::not_found, name);
  }
  IOStatus IsDirectory(const std::string& name, const IOOptions& /*options*/, bool* result,
                       IODebugContext* /*debug*/) override {
    *result = access_.disk->is_folder(name);
    return IOStatus::OK();
  }

  IOStatus GetFreeSpace(const std::string& name, const IOOptions& /*options*/, std::uint64_t* bytes,
                        IODebugContext* /*debug*/) override {
    const auto free = access_.disk->free_bytes();
    if (!free) return to_io_status(DiskStatus::unsupported, name);
    *bytes = *free;
    return IOStatus::OK();
  }

  IOStatus DeleteFile(const std::string& name, const IOOptions& /*options*/,
                      IODebugContext* /*debug*/) override {
    return to_io_status(access_.disk->remove(access_.process, name), name);
  }
  IOStatus CreateDir(const std::string& name, const IOOptions& /*options*/,
                     IODebugContext* /*debug*/) override {
    return to_io_status(access_.disk->make_folder(access_.process, name), name);
  }
  IOStatus CreateDirIfMissing(const std::string& name, const IOOptions& /*options*/,
                              IODebugContext* /*debug*/) override {
    if (access_.disk->is_folder(name)) return IOStatus::OK();
    return to_io_status(access_.disk->make_folder(access_.process, name), name);
  }
  IOStatus DeleteDir(const std::string& name, const IOOptions& /*options*/,
                     IODebugContext* /*debug*/) override {
    return to_io_status(access_.disk->remove_folder(access_.process, name), name);
  }
  IOStatus RenameFile(const std::string& from, const std::string& to, const IOOptions& /*options*/,
                      IODebugContext* /*debug*/) override {
    return to_io_status(access_.disk->rename(access_.process, from, to), from);
  }

  IOStatus LockFile(const std::string& name, const IOOptions& /*options*/, rocksdb::FileLock** lock,
                    IODebugContext* /*debug*/) override {
    const auto status = access_.disk->lock(access_.process, name);
    *lock = status == DiskStatus::ok ? std::make_unique<Lock>(name).release() : nullptr;
    return to_io_status(status, name);
  }
  IOStatus UnlockFile(rocksdb::FileLock* lock, const IOOptions& /*options*/,
                      IODebugContext* /*debug*/) override {
    const std::unique_ptr<Lock> held(static_cast<Lock*>(lock));
    access_.disk->unlock(access_.process, held->name);
    return IOStatus::OK();
  }

  IOStatus GetTestDirectory(const IOOptions& /*options*/, std::string* path,
                            IODebugContext* /*debug*/) override {
    *path = "/tmp";
    return IOStatus::OK();
  }
  IOStatus NewLogger(const std::string& /*name*/, const IOOptions& /*options*/,
                     std::shared_ptr<rocksdb::Logger>* result, IODebugContext* /*debug*/) override {
    *result = make_no_log();
    return IOStatus::OK();
  }
  IOStatus GetAbsolutePath(const std::string& path, const IOOptions& /*options*/,
                           std::string* result, IODebugContext* /*debug*/) override {
    *result = path;
    return IOStatus::OK();
  }

 private:
  const Access access_;
};

}  // namespace

std::shared_ptr<rocksdb::FileSystem> make_lossy_file_system(std::shared_ptr<LossyDisk> disk,
                                                            LossyDisk::Process process) {
  return std::make_shared<LossyFileSystem>(Access{std::move(disk), process});
}

std::shared_ptr<rocksdb::Logger> make_no_log() { return std::make_shared<NoLog>(); }

}  // namespace atlasflow::sim
