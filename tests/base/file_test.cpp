#include "base/file.hpp"

#include <atomic>
#include <csignal>
#include <fstream>
#include <thread>

#include <fcntl.h>
#include <gmock/gmock.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

namespace atlasflow {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;

class Files : public testing::Test {
 protected:
  Files() {
    std::string name = (fs::temp_directory_path() / "atlasflow-base-XXXXXX").string();
    folder_ = ::mkdtemp(name.data());
  }
  ~Files() override {
    std::error_code ignored;
    fs::remove_all(folder_, ignored);
  }
  fs::path folder_;
};

TEST_F(Files, are_replaced_whole_and_leave_no_temporary) {
  const auto path = folder_ / "file";
  ASSERT_TRUE(replace_file(path, "one", 0600));
  ASSERT_TRUE(replace_file(path, "two", 0444, Sync::skipped));
  EXPECT_EQ(read_file(path, 100).value(), "two");
  EXPECT_EQ(fs::status(path).permissions(),
            fs::perms::owner_read | fs::perms::group_read | fs::perms::others_read);
  EXPECT_THAT(names_in(folder_).value(), ElementsAre("file"));
}

TEST_F(Files, have_the_mode_that_was_asked_for_whatever_the_umask_is) {
  const mode_t before = ::umask(0077);
  ASSERT_TRUE(replace_file(folder_ / "file", "x", 0644));
  ::umask(before);
  EXPECT_EQ(static_cast<int>(fs::status(folder_ / "file").permissions()), 0644);
}

TEST_F(Files, that_cannot_be_written_or_read_say_which) {
  const auto written = replace_file(folder_ / "no/such", "x", 0600);
  ASSERT_FALSE(written);
  EXPECT_THAT(written.error().message, HasSubstr("no/such"));
  EXPECT_EQ(read_file(folder_ / "none", 1).error().code, ErrorCode::not_found);
  ASSERT_TRUE(replace_file(folder_ / "big", std::string(1000, 'x'), 0600));
  EXPECT_EQ(read_file(folder_ / "big", 999).error().code, ErrorCode::too_large);
  EXPECT_EQ(read_file(folder_ / "big", 1000).value().size(), 1000U);
  EXPECT_EQ(read_file(folder_, 1000).error().code, ErrorCode::internal) << "a folder is no file";
}

TEST_F(Files, stay_as_they_were_when_the_new_one_does_not_fit) {
  const auto path = folder_ / "file";
  ASSERT_TRUE(replace_file(path, "good", 0600));
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    // A limit on file sizes is a full disk that needs no disk.
    ::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{100, 100};
    ::setrlimit(RLIMIT_FSIZE, &limit);
    const auto written = replace_file(path, std::string(1000, 'x'), 0600);
    ::_exit(written ? 1 : 0);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0) << "it said that it could not";
  EXPECT_EQ(read_file(path, 100).value(), "good");
  EXPECT_THAT(names_in(folder_).value(), ElementsAre("file"));
}

TEST_F(Files, are_not_written_through_a_link_that_stands_in_their_place) {
  ASSERT_TRUE(replace_file(folder_ / "victim", "whole", 0600));
  fs::create_symlink(folder_ / "victim", folder_ / "file");
  ASSERT_TRUE(replace_file(folder_ / "file", "new", 0600));
  EXPECT_EQ(read_file(folder_ / "victim", 100).value(), "whole");
  EXPECT_FALSE(fs::is_symlink(folder_ / "file"));
  EXPECT_EQ(write_new_file(folder_ / "victim", "x").error().code, ErrorCode::already_exists);
}

TEST_F(Files, of_proc_are_read_although_their_size_is_zero) {
  EXPECT_THAT(read_file("/proc/self/status", 65'536).value(), HasSubstr("\nPid:"));
}

TEST_F(Files, names_are_sorted_and_a_missing_folder_is_told_or_has_none) {
  for (const char* name : {"b", "a", ".hidden"}) {
    ASSERT_TRUE(replace_file(folder_ / name, "", 0600));
  }
  EXPECT_THAT(names_in(folder_).value(), ElementsAre(".hidden", "a", "b"));
  EXPECT_EQ(names_in(folder_ / "none").error().code, ErrorCode::not_found);
  EXPECT_THAT(names_if_any(folder_ / "none"), ElementsAre());
}

Result<std::size_t> length_of_both(const fs::path& one, const fs::path& other) {
  ATLAS_TRY(const auto first, read_file(one, 100));
  ATLAS_TRY(const auto second, read_file(other, 100));
  ATLAS_TRYV(names_in(one.parent_path()));
  return first.size() + second.size();
}

TEST_F(Files, failures_are_handed_on_by_try) {
  ASSERT_TRUE(replace_file(folder_ / "a", "12", 0600));
  ASSERT_TRUE(replace_file(folder_ / "b", "345", 0600));
  EXPECT_EQ(length_of_both(folder_ / "a", folder_ / "b").value(), 5U);
  const auto failed = length_of_both(folder_ / "a", folder_ / "c");
  EXPECT_EQ(failed.error().code, ErrorCode::not_found);
}

// ---- processes that end between open and read ----

// Starts and reaps children as fast as it can, and tells the pid of the newest.
class ShortLived {
 public:
  explicit ShortLived(int count)
      : thread_([this, count] {
          for (int i = 0; i < count; ++i) {
            const pid_t pid = ::fork();
            if (pid == 0) ::_exit(0);
            pid_ = pid;
            ::waitpid(pid, nullptr, 0);
          }
          done_ = true;
        }) {}
  [[nodiscard]] bool done() const { return done_; }
  [[nodiscard]] std::string file(const char* name) const {
    return "/proc/" + std::to_string(pid_.load()) + "/" + name;
  }

 private:
  std::atomic<bool> done_ = false;
  std::atomic<pid_t> pid_ = ::getpid();
  std::jthread thread_;
};

// The moment that a race would have to hit: open, and the process ends before the read.
TEST_F(Files, of_a_process_that_ends_between_open_and_read_are_not_found) {
  for (const char* name : {"cmdline", "stat", "status", "cgroup"}) {
    int pipe_fds[2];
    ASSERT_EQ(::pipe(pipe_fds), 0);
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      char byte = 0;
      ::close(pipe_fds[1]);
      ::_exit(static_cast<int>(::read(pipe_fds[0], &byte, 1)));
    }
    const FileDescriptor read_end(pipe_fds[0]);
    FileDescriptor write_end(pipe_fds[1]);
    const std::string path = "/proc/" + std::to_string(child) + "/" + name;
    const FileDescriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    ASSERT_TRUE(file);
    std::ifstream stream(path, std::ios::binary);
    write_end.reset();
    ASSERT_EQ(::waitpid(child, nullptr, 0), child);
    const auto text = read_file(file.get(), 65'536, path);
    ASSERT_FALSE(text) << name;
    EXPECT_EQ(text.error().code, ErrorCode::not_found) << name;
    // What stood here before: a stream buffer throws where a read fails, and nobody caught it.
    EXPECT_THROW((std::string{std::istreambuf_iterator<char>(stream), {}}), std::ios_base::failure)
        << name;
  }
}

TEST_F(Files, of_thousands_of_short_lived_processes_are_read_or_not_found_and_nothing_throws) {
  ShortLived processes(4'000);
  std::uint64_t read = 0;
  std::uint64_t gone = 0;
  while (!processes.done()) {
    for (const char* name : {"cmdline", "stat", "status"}) {
      const auto text = read_file(processes.file(name), 65'536);
      (text ? read : gone) += 1;
      ASSERT_TRUE(text || text.error().code == ErrorCode::not_found) << to_string(text.error());
    }
    static_cast<void>(names_in(processes.file("fd")));
    static_cast<void>(names_in("/proc").value());
  }
  EXPECT_GT(read + gone, 0U);
}

}  // namespace
}  // namespace atlasflow
