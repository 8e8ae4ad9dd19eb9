// canary_log_*: the smallest program that sees the bugs of storage's canaries. Prints one line, the
// names of those that it has; argument: an empty folder. Built with cmake/Canary.cmake.
#include <atomic>
#include <filesystem>
#include <iostream>
#include <string>

#include <rocksdb/env.h>
#include <rocksdb/file_system.h>

#include "storage/log/memory_event_log.hpp"
#include "storage/log/rocksdb_event_log.hpp"
#include "storage/log/rocksdb_options.hpp"

namespace {

using namespace atlasflow;
using namespace atlasflow::storage;

constexpr TimestampUs k_now = 1'700'000'000'000'000;

AppendRequest one_event(const EventLog& log) {
  AppendRequest request;
  request.stream = node_stream();
  request.expected_version = log.version_of(node_stream()).value();
  request.events.emplace_back().mutable_node_started();
  return request;
}

bool writes_as_older_epoch() {
  const auto store = make_memory_store();
  const auto older = open_memory_event_log(store, "older");
  const auto newer = open_memory_event_log(store, "newer");
  if (!older->begin_epoch() || !newer->begin_epoch()) return false;
  const auto outcomes = older->append({one_event(*older)}, k_now);
  return outcomes && std::holds_alternative<Appended>(outcomes->front());
}

class CountingFile final : public rocksdb::FSWritableFileOwnerWrapper {
 public:
  CountingFile(std::unique_ptr<rocksdb::FSWritableFile> file, std::atomic<int>& syncs)
      : FSWritableFileOwnerWrapper(std::move(file)), syncs_(syncs) {}
  rocksdb::IOStatus Sync(const rocksdb::IOOptions& options,
                         rocksdb::IODebugContext* debug) override {
    ++syncs_;
    return FSWritableFileOwnerWrapper::Sync(options, debug);
  }

 private:
  std::atomic<int>& syncs_;
};

class CountingFileSystem final : public rocksdb::FileSystemWrapper {
 public:
  CountingFileSystem() : FileSystemWrapper(rocksdb::FileSystem::Default()) {}
  const char* Name() const override { return "CountingFileSystem"; }
  rocksdb::IOStatus NewWritableFile(const std::string& name, const rocksdb::FileOptions& options,
                                    std::unique_ptr<rocksdb::FSWritableFile>* result,
                                    rocksdb::IODebugContext* debug) override {
    auto status = FileSystemWrapper::NewWritableFile(name, options, result, debug);
    if (status.ok()) *result = std::make_unique<CountingFile>(std::move(*result), syncs);
    return status;
  }
  std::atomic<int> syncs{0};
};

bool acknowledges_unsynced(const std::filesystem::path& folder) {
  const auto files = std::make_shared<CountingFileSystem>();
  const std::shared_ptr<rocksdb::Env> env = rocksdb::NewCompositeEnv(files);
  const auto log = open_event_log({folder / "log", "canary", false}, env, k_now);
  if (!log || !(*log)->begin_epoch()) return false;
  // The first append moves the anchor, which is synced; the second one is the log's alone.
  if (!(*log)->append({one_event(**log)}, k_now)) return false;
  files->syncs = 0;
  return (*log)->append({one_event(**log)}, k_now) && files->syncs == 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  std::string bugs;
  if (writes_as_older_epoch()) bugs += "forgotten fence;";
  if (acknowledges_unsynced(argv[1])) bugs += "lost sync;";
  std::cout << bugs << std::endl;
  return 0;
}
