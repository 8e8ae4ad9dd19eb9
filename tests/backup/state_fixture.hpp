// A state folder as a server leaves it: the log of a real one, sealed values that its project
// names, logs with a hole, an image's blobs, a certificate authority. One per test.
#pragma once

#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <string>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backup/backup.hpp"
#include "backup/restore.hpp"
#include "backup/state_files.hpp"
#include "base/digest.hpp"
#include "base/file_descriptor.hpp"
#include "storage/log/read_stored.hpp"
#include "storage/log/rocksdb_event_log.hpp"
#include "storage/secrets/secrets.hpp"
#include "tests/storage/log_fixture.hpp"

namespace atlasflow::backup {

namespace fs = std::filesystem;

inline constexpr const char* k_value = "correct horse battery staple";
inline constexpr const char* k_context = "web/PASSPHRASE";

inline void write(const fs::path& path, const std::string& text, mode_t mode = 0600) {
  fs::create_directories(path.parent_path());
  std::ofstream(path, std::ios::binary) << text;
  ::chmod(path.c_str(), mode);
}
inline std::string read(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

// Every regular file below, with its bytes.
inline std::map<std::string, std::string> contents_below(const fs::path& folder) {
  std::map<std::string, std::string> contents;
  if (!fs::exists(folder)) return contents;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    if (entry.is_regular_file()) {
      contents[entry.path().lexically_relative(folder).string()] = read(entry.path());
    }
  }
  return contents;
}

// A log's records as they are stored.
inline std::vector<std::string> stored_records(const fs::path& events) {
  std::vector<std::string> records;
  const auto log = storage::open_event_log_for_reading(events);
  if (!log) {
    ADD_FAILURE() << to_string(log.error());
    return records;
  }
  const auto walked = storage::read_stored(**log, Position(1),
                                           [&](const storage::Record&, std::string_view stored) {
                                             records.emplace_back(stored);
                                             return true;
                                           });
  EXPECT_TRUE(walked) << to_string(walked.error());
  return records;
}

class StateFixture : public testing::Test {
 protected:
  StateFixture() { make_state(folder_.path() / "state"); }

  void make_state(const fs::path& state) {
    state_ = state;
    fs::create_directories(state_);
    fs::copy(RECORDED_LOG, state_ / "events", fs::copy_options::recursive);
    write(state_ / "VERSION", "1\n", 0644);
    const auto secrets =
        storage::open_secret_store(state_ / "secrets", state_ / "secret.key").value();
    sealed_ = secrets->seal(k_context, k_value).value();
    append(env_set("PASSPHRASE", sealed_));
    const auto keys =
        storage::open_secret_store(state_ / "certificates/sealed", state_ / "secret.key").value();
    sealed_certificate_ = keys->seal("certificate/f00d", "a key and its chain").value();
    write(state_ / "certificates/certificates/f00d.json", "{}");
    write(state_ / "certificates/orders/1.json.1-2.tmp", "half");
    write(state_ / "ca/ca.pem", "-----BEGIN CERTIFICATE-----\n", 0644);
    write(state_ / "ca/ca.key", "-----BEGIN PRIVATE KEY-----\n");
    write(state_ / "logs/n2kbbobu-v4.build.log", "STEP 1\nSTEP 2\n");
    make_run_log();
    // What a backup must leave alone.
    write(state_ / "registry/blobs/docker/registry/v2/repositories/web/_uploads/1/data", "half");
    write(state_ / "work/checkout.part/file", "half");
    write(state_ / "logs/x.log.1-2.tmp", "half");
    write(state_ / "server.lock", "1\n");
  }

  static pb::Event env_set(const std::string& name, const storage::SealedRef& sealed) {
    pb::Event event;
    event.mutable_env_set()->set_name(name);
    event.mutable_env_set()->set_digest(sealed.digest);
    event.mutable_env_set()->set_sealed_ref(sealed.ref);
    return event;
  }

  // To the stream of the log's project, as a server would that runs now.
  void append(const pb::Event& event) {
    storage::EventLogConfig config;
    config.folder = state_ / "events";
    config.build_id = "build-a";
    const auto log = storage::open_event_log(config).value();
    ASSERT_TRUE(log->begin_epoch());
    StreamId stream;
    ASSERT_TRUE(log->read_all(Position(1), [&](const storage::Record& record) {
      if (!project_of(record.stream).empty()) stream = record.stream;
      return stream.empty();
    }));
    storage::AppendRequest request;
    request.stream = stream;
    request.expected_version = log->version_of(stream).value();
    request.events = {event};
    request.actor = Principal::system("project");
    storage::append_one(*log, request);
  }

  // As log_keeper leaves a long one: its head is a hole.
  void make_run_log() const {
    const auto path = state_ / "logs/n2kbbobu-v8.run.log";
    const FileDescriptor fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
    ASSERT_EQ(::pwrite(fd.get(), "the end\n", 8, k_hole_bytes), 8);
  }
  static constexpr off_t k_hole_bytes = 1 << 20;

  // As the registry keeps it; gives the digest.
  std::string add_blob(const std::string& bytes) const {
    const auto digest = sha256_hex(bytes);
    write(state_ / k_registry_folder / "blobs/sha256" / digest.substr(0, 2) / digest / "data",
          bytes, 0644);
    return digest;
  }

  [[nodiscard]] BackupConfig backup_config() const {
    BackupConfig config;
    config.state = state_;
    config.folder = backups();
    config.build = "build-a";
    config.now = storage::k_noon;
    return config;
  }
  [[nodiscard]] RestoreConfig restore_config() const {
    RestoreConfig config;
    config.folder = backups();
    config.state = restored();
    config.build = "build-a";
    return config;
  }
  BackupReport must_back_up() {
    const auto made = make_backup(backup_config());
    EXPECT_TRUE(made) << to_string(made.error());
    return made.value_or(BackupReport{});
  }
  void must_restore(const RestoreConfig& config) {
    const auto done = restore(config);
    ASSERT_TRUE(done) << to_string(done.error());
  }

  [[nodiscard]] fs::path backups() const { return folder_.path() / "backups"; }
  [[nodiscard]] fs::path restored() const { return folder_.path() / "restored"; }

  storage::TemporaryDirectory folder_;
  fs::path state_;
  storage::SealedRef sealed_;
  storage::SealedRef sealed_certificate_;
};

}  // namespace atlasflow::backup
