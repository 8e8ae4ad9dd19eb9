// The verbs of backups: what they print, their exit codes, and what a kill leaves.
#include <algorithm>
#include <chrono>
#include <filesystem>
#include <functional>
#include <sstream>
#include <thread>

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/verbs_backup.hpp"
#include "cli/verbs_inspect.hpp"
#include "server/state_dir.hpp"
#include "storage/log/rocksdb_event_log.hpp"
#include "storage/secrets/secrets.hpp"
#include "tests/builder/scratch.hpp"

namespace atlasflow::cli {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;
namespace fs = std::filesystem;

class BackupVerbs : public testing::Test {
 protected:
  BackupVerbs() {
    fs::create_directories(state());
    fs::copy(RECORDED_LOG, state() / "events", fs::copy_options::recursive);
    builder::write(state() / "VERSION", "1\n");
    builder::write(state() / "logs/a.build.log", "STEP 1\n");
    EXPECT_TRUE(storage::open_secret_store(state() / "secrets", state() / "secret.key"));
  }

  template <typename T>
  int run_on(const fs::path& state_dir, const T& command, const std::string& input = "") {
    out_.str("");
    err_.str("");
    std::istringstream in(input);
    return run(command, Connection{"", state_dir.string()}, Terminal{in, out_, err_});
  }

  [[nodiscard]] BackupCommand backup_command() const {
    BackupCommand command;
    command.folder = backups().string();
    return command;
  }
  [[nodiscard]] RestoreCommand restore_command() const {
    RestoreCommand command;
    command.folder = backups().string();
    return command;
  }
  // The recorded server's own webhook secret and images are not here, which is damage: 1.
  void must_back_up() {
    EXPECT_EQ(run_on(state(), backup_command()), k_exit_failed) << err_.str();
    EXPECT_THAT(out_.str(), StartsWith("Backup "));
  }

  [[nodiscard]] fs::path state() const { return scratch_.path() / "state"; }
  [[nodiscard]] fs::path backups() const { return scratch_.path() / "backups"; }
  [[nodiscard]] fs::path restored() const { return scratch_.path() / "restored"; }

  builder::Scratch scratch_;
  std::ostringstream out_;
  std::ostringstream err_;
};

TEST_F(BackupVerbs, backup_says_what_it_made_what_is_new_and_who_can_read_it) {
  must_back_up();
  EXPECT_THAT(out_.str(), AllOf(HasSubstr("Backup 1 is made: 47 events, chain "),
                                HasSubstr("New since the last one: 47 events"),
                                HasSubstr("It holds the keys")));
  EXPECT_THAT(err_.str(), HasSubstr("the state folder lacks what the log still reaches: the sealed "
                                    "value "));
  auto command = backup_command();
  command.without_keys = true;
  command.keep = 1;
  EXPECT_EQ(run_on(state(), command), k_exit_failed);
  EXPECT_THAT(out_.str(),
              AllOf(HasSubstr("New since the last one: 0 events, 0 B"),
                    HasSubstr("Removed backup 1"), HasSubstr("It holds no keys: keep ")));
  command.json = true;
  EXPECT_EQ(run_on(state(), command), k_exit_failed);
  EXPECT_EQ(nlohmann::json::parse(out_.str()).at("new").at("events"), 0);
  auto check = backup_command();
  check.check = true;
  EXPECT_EQ(run_on(state(), check), k_exit_ok) << err_.str();
  EXPECT_THAT(out_.str(), HasSubstr("is whole: 47 events"));
}

TEST_F(BackupVerbs, restore_makes_a_folder_that_the_verbs_of_the_log_read) {
  must_back_up();
  EXPECT_EQ(run_on(restored(), restore_command()), k_exit_ok) << err_.str();
  EXPECT_THAT(out_.str(), HasSubstr("into " + restored().string() + ": 47 events"));
  LogShowCommand show;
  show.position = 31;
  EXPECT_EQ(run_on(restored(), show), k_exit_ok);
  EXPECT_THAT(out_.str(), HasSubstr("\"type\": \"Routed\""));
  EXPECT_TRUE(server::StateDir::open(restored()));
}

TEST_F(BackupVerbs, bad_input_is_2_damage_is_1_and_nothing_changes) {
  EXPECT_EQ(run_on(restored(), restore_command()), k_exit_usage);
  EXPECT_THAT(err_.str(), HasSubstr("there is no backup in " + backups().string()));
  EXPECT_EQ(run_on(scratch_.path() / "nowhere", backup_command()), k_exit_usage);
  EXPECT_THAT(err_.str(), HasSubstr("is no state folder"));
  EXPECT_FALSE(fs::exists(backups()));
  must_back_up();
  EXPECT_EQ(run_on(state(), restore_command()), k_exit_usage);
  EXPECT_THAT(err_.str(), HasSubstr("is not empty"));
  auto command = restore_command();
  command.number = 7;
  EXPECT_EQ(run_on(restored(), command), k_exit_usage);
  EXPECT_THAT(err_.str(), HasSubstr("there is no backup 7"));
  for (const auto& entry : fs::recursive_directory_iterator(backups() / "objects")) {
    if (entry.is_regular_file()) builder::write(entry.path(), "damage");
  }
  EXPECT_EQ(run_on(restored(), restore_command()), k_exit_failed);
  EXPECT_THAT(err_.str(), HasSubstr("the backup is damaged: "));
  EXPECT_FALSE(fs::exists(restored()));
}

TEST_F(BackupVerbs, a_server_starts_over_no_folder_that_a_restore_left_unfinished) {
  builder::write(restored() / "RESTORING", "");
  const auto opened = server::StateDir::open(restored());
  ASSERT_FALSE(opened);
  EXPECT_THAT(opened.error().message, HasSubstr("was not finished"));
  EXPECT_FALSE(fs::exists(restored() / "VERSION"));
}

TEST_F(BackupVerbs, an_export_is_imported_as_the_same_log) {
  LogExportCommand out;
  out.file = (scratch_.path() / "events.ndjson").string();
  EXPECT_EQ(run_on(state(), out), k_exit_ok) << err_.str();
  EXPECT_THAT(out_.str(), StartsWith("Exported 47 events, positions 1 to 47, chain "));
  const auto exported = out_.str().substr(std::string("Exported").size());
  EXPECT_EQ(fs::status(out.file).permissions(), fs::perms::owner_read | fs::perms::owner_write);
  LogImportCommand in;
  in.file = out.file;
  EXPECT_EQ(run_on(restored(), in), k_exit_ok) << err_.str();
  EXPECT_EQ(out_.str(), "Imported" + exported);
  EXPECT_TRUE(storage::verify_folder(restored() / "events"));
  EXPECT_EQ(run_on(restored(), in), k_exit_usage);
  EXPECT_THAT(err_.str(), HasSubstr("has 47 events"));

  out.file = "-";
  EXPECT_EQ(run_on(state(), out), k_exit_ok);
  const auto lines = out_.str();
  EXPECT_EQ(lines, builder::read(scratch_.path() / "events.ndjson"));
  in.file = "-";
  EXPECT_EQ(run_on(scratch_.path() / "second", in, lines), k_exit_ok) << err_.str();
  EXPECT_EQ(out_.str(), "Imported" + exported);
  EXPECT_EQ(run_on(scratch_.path() / "third", in, lines.substr(1'000)), k_exit_usage);
  EXPECT_THAT(err_.str(), HasSubstr("line 1: "));
  EXPECT_FALSE(fs::exists(scratch_.path() / "third"));
}

TEST_F(BackupVerbs, an_export_takes_moments_and_refuses_wrong_ones) {
  LogExportCommand out;
  out.file = "-";
  out.from = "31";
  out.to = "33";
  EXPECT_EQ(run_on(state(), out), k_exit_ok);
  EXPECT_EQ(std::ranges::count(out_.str(), '\n'), 3);
  out.from = "34";
  EXPECT_EQ(run_on(state(), out), k_exit_usage);
  EXPECT_THAT(err_.str(), HasSubstr("is behind --to"));
  out.from = "48";
  EXPECT_EQ(run_on(state(), out), k_exit_usage);
  EXPECT_THAT(err_.str(), HasSubstr("the log goes from 1 to 47"));
  out.from = "yesterday";
  EXPECT_EQ(run_on(state(), out), k_exit_usage);
  EXPECT_THAT(err_.str(), HasSubstr("'yesterday' is no moment"));
  out = LogExportCommand{};
  out.file = (scratch_.path() / "no/such/folder/file").string();
  EXPECT_EQ(run_on(state(), out), k_exit_usage);
  EXPECT_THAT(err_.str(), HasSubstr("in a folder that is there"));
  out.file = "/dev/full";
  out.to = "1";
  EXPECT_EQ(run_on(state(), out), k_exit_disk_full) << err_.str();
  EXPECT_TRUE(fs::is_character_file("/dev/full"));  // written to, not replaced
  LogImportCommand in;
  in.file = (scratch_.path() / "nothing").string();
  EXPECT_EQ(run_on(restored(), in), k_exit_usage);
  EXPECT_FALSE(fs::exists(restored()));
}

// Killed at any moment, a backup is whole or none, and so is a restored folder. How long a moment
// takes differs from machine to machine, so each kill is so long after the verb has begun to write.
class Killed : public BackupVerbs {
 protected:
  // Killed so long after the file was there; false when the verb was done before.
  static bool killed_behind(const fs::path& begun, std::chrono::microseconds delay,
                            std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), ATLASFLOW_EXECUTABLE);
    std::vector<char*> argv;
    for (auto& argument : arguments) argv.push_back(argument.data());
    argv.push_back(nullptr);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    for (const int fd : {1, 2}) {
      posix_spawn_file_actions_addopen(&actions, fd, "/dev/null", O_WRONLY, 0);
    }
    pid_t pid = -1;
    EXPECT_EQ(::posix_spawn(&pid, argv[0], &actions, nullptr, argv.data(), environ), 0);
    posix_spawn_file_actions_destroy(&actions);
    int status = 0;
    while (!fs::exists(begun)) {
      if (::waitpid(pid, &status, WNOHANG) == pid) return false;
      std::this_thread::yield();
    }
    std::this_thread::sleep_for(delay);
    ::kill(pid, SIGKILL);
    ::waitpid(pid, &status, 0);
    return WIFSIGNALED(status);
  }

  // Calls step with longer and longer delays until it says that the verb was done.
  static void until_done(const std::function<bool(std::chrono::microseconds)>& step) {
    for (std::chrono::microseconds delay{0}; !step(delay); delay += delay / 2) {
      ASSERT_LT(delay, std::chrono::seconds(30)) << "it is never done";
      delay = std::max(delay, std::chrono::microseconds{2'000});
    }
  }
};

TEST_F(Killed, a_backup_is_whole_or_none) {
  for (int i = 0; i < 12; ++i) {
    builder::write(state() / "logs" / (std::to_string(i) + ".run.log"),
                   std::string(50'000, static_cast<char>('!' + i)));
  }
  auto check = backup_command();
  check.check = true;
  int none = 0;
  const auto backup = [&](std::chrono::microseconds delay) {
    const bool killed =
        killed_behind(backups() / "objects", delay,
                      {"backup", backups().string(), "--state-dir", state().string()});
    const int code = run_on(state(), check);
    if (code == k_exit_usage) ++none;
    // A kill behind its last byte leaves one too.
    EXPECT_TRUE(code == k_exit_ok ||
                (code == k_exit_usage && err_.str().find("no whole backup") != std::string::npos))
        << err_.str();
    return !killed;
  };
  until_done([&](std::chrono::microseconds delay) {
    fs::remove_all(backups());
    return backup(delay);
  });
  EXPECT_GT(none, 0);
  // What is half made is gone on with.
  fs::remove_all(backups());
  EXPECT_FALSE(backup(std::chrono::microseconds{0}));
  must_back_up();
  EXPECT_EQ(run_on(state(), check), k_exit_ok) << err_.str();
  EXPECT_EQ(run_on(restored(), restore_command()), k_exit_ok) << err_.str();
  EXPECT_EQ(builder::read(restored() / "logs/7.run.log"), std::string(50'000, '!' + 7));
}

TEST_F(Killed, a_restored_folder_is_whole_or_refused_by_a_server) {
  must_back_up();
  int refused = 0;
  until_done([&](std::chrono::microseconds delay) {
    fs::remove_all(restored());
    const bool killed =
        killed_behind(restored() / "RESTORING", delay,
                      {"restore", backups().string(), "--state-dir", restored().string()});
    if (!fs::exists(restored() / "RESTORING")) {
      EXPECT_TRUE(storage::verify_folder(restored() / "events"));
      EXPECT_TRUE(fs::exists(restored() / "secret.key"));
    } else {
      ++refused;
      EXPECT_FALSE(server::StateDir::open(restored()));
      EXPECT_EQ(run_on(restored(), restore_command()), k_exit_usage);
    }
    return !killed;
  });
  EXPECT_GT(refused, 0);
  EXPECT_TRUE(storage::verify_folder(restored() / "events"));
}

}  // namespace
}  // namespace atlasflow::cli
