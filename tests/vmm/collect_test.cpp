#include "vmm/image/collect.hpp"

#include <csignal>
#include <fstream>

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.hpp"
#include "tests/vmm/image_fixture.hpp"
#include "vmm/hypervisor/record.hpp"
#include "vmm/image/image.hpp"
#include "vmm/image/layers.hpp"

namespace atlasflow::vmm {
namespace {

namespace fs = std::filesystem;
using test::file;
using testing::Contains;
using testing::IsEmpty;
using testing::Not;
using testing::StartsWith;
using testing::UnorderedElementsAre;

// Images pulled from a registry and unpacked, as starts leave them.
class ImagesOnDisk : public testing::Test {
 protected:
  ImagesOnDisk() : registry_(folder_.path() / "registry"), store_(layers_, false) {
    fs::create_directories(layers_);
  }

  // On a common layer.
  std::string unpacked(const std::string& name, const std::string& content) {
    test::ImageSource source;
    source.layers = {{file("base", "the same")}, {file("app", content)}};
    source.cmd = {"/app"};
    auto reference = registry_.push(source, name);
    const auto image = pull_image(reference, true, images_, {});
    EXPECT_TRUE(image) << to_string(image.error());
    if (image) {
      const auto disks = store_.disks_for(image->layers, {});
      EXPECT_TRUE(disks) << to_string(disks.error());
    }
    return reference;
  }
  static std::vector<std::string> names_in(const fs::path& folder) {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(folder)) {
      names.push_back(entry.path().filename().string());
    }
    return names;
  }
  [[nodiscard]] std::vector<std::string> collect(const std::set<std::string>& wanted,
                                                 const std::set<std::string>& in_use = {}) const {
    return remove_unwanted_images(images_, layers_, wanted, in_use, {});
  }

  test::TemporaryFolder folder_;
  const fs::path images_ = folder_.path() / "images";
  const fs::path layers_ = folder_.path() / "layers";
  test::Registry registry_;
  LayerStore store_;
};

TEST_F(ImagesOnDisk, that_are_kept_stay_whole_and_start_without_a_registry_or_an_unpacking) {
  const auto kept = unpacked("kept", "one");
  const auto unneeded = unpacked("unneeded", "two");
  ASSERT_EQ(names_in(layers_).size(), 3U);
  EXPECT_THAT(collect({kept}), Contains(StartsWith("layers/sha256-")));
  EXPECT_THAT(names_in(images_), UnorderedElementsAre("blobs", kept.substr(kept.rfind(':') + 1)));
  const auto image = find_pulled_image(kept, images_);
  ASSERT_TRUE(image) << to_string(image.error());
  EXPECT_THAT(names_in(layers_),
              testing::UnorderedElementsAreArray(LayerStore::disk_names(image->layers)));
  EXPECT_EQ(names_in(images_ / "blobs" / "sha256").size(), 4U);  // manifest, config, two layers
  EXPECT_FALSE(find_pulled_image(unneeded, images_));
  // And what went comes back when it is asked for again.
  EXPECT_TRUE(pull_image(unneeded, true, images_, {}));
}

TEST_F(ImagesOnDisk, of_nothing_to_keep_all_go) {
  unpacked("one", "one");
  EXPECT_THAT(collect({}), Not(IsEmpty()));
  EXPECT_THAT(names_in(layers_), IsEmpty());
  EXPECT_THAT(names_in(images_), UnorderedElementsAre("blobs"));
  EXPECT_THAT(names_in(images_ / "blobs" / "sha256"), IsEmpty());
  EXPECT_THAT(collect({}), IsEmpty());
}

TEST_F(ImagesOnDisk, disks_that_a_process_has_open_stay_whatever_the_images_say) {
  unpacked("one", "one");
  const auto disk = names_in(layers_).front();
  const int fd = ::open((layers_ / disk).c_str(), O_RDONLY | O_CLOEXEC);
  const auto self = identify_process(::getpid());
  ASSERT_TRUE(self);
  const auto in_use = open_files_in(*self, layers_);
  EXPECT_THAT(in_use, testing::ElementsAre(disk));
  static_cast<void>(collect({}, in_use));
  EXPECT_THAT(names_in(layers_), testing::ElementsAre(disk));
  ::close(fd);
}

TEST_F(ImagesOnDisk, whose_reference_is_wrong_or_not_here_keep_nothing_and_harm_nothing) {
  const auto kept = unpacked("kept", "one");
  const std::string elsewhere = "127.0.0.1:1/gone@sha256:" + std::string(64, 'a');
  EXPECT_THAT(collect({kept, elsewhere, "no reference", ""}), IsEmpty());
  EXPECT_TRUE(find_pulled_image(kept, images_));
}

TEST_F(ImagesOnDisk, half_made_ones_go_and_the_sweep_spares_those_that_may_be_under_way) {
  const auto kept = unpacked("kept", "one");
  std::ofstream(layers_ / "sha256-x.erofs.1-2.tmp") << "x";
  std::filesystem::create_directories(images_ / "abc.1-2.tmp");
  sweep_temporaries(layers_);
  sweep_temporaries(images_);
  EXPECT_THAT(collect({kept}),
              UnorderedElementsAre("images/abc.1-2.tmp", "layers/sha256-x.erofs.1-2.tmp"));
  EXPECT_TRUE(find_pulled_image(kept, images_));
  std::ofstream(layers_ / "sha256-x.erofs.1-2.tmp") << "x";
  fs::last_write_time(layers_ / "sha256-x.erofs.1-2.tmp",
                      fs::file_time_type::clock::now() - std::chrono::hours(2));
  sweep_temporaries(layers_);
  EXPECT_THAT(names_in(layers_), Not(Contains("sha256-x.erofs.1-2.tmp")));
}

// A child that appends a byte whenever it can, under the limit that a VM starts with; it ends with
// its owner. The file is made longer from outside.
class Appending {
 public:
  explicit Appending(const fs::path& log) {
    const int fd = ::open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    pid_ = ::fork();
    if (pid_ == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      const rlimit limit{k_file_bytes_max, RLIM_INFINITY};
      ::setrlimit(RLIMIT_FSIZE, &limit);
      ::signal(SIGXFSZ, SIG_IGN);
      for (;;) {
        if (::write(fd, "x", 1) < 0 && errno != EFBIG) ::_exit(1);
        ::usleep(1'000);
      }
    }
    ::close(fd);
  }
  ~Appending() {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
  Appending(const Appending&) = delete;
  Appending& operator=(const Appending&) = delete;
  [[nodiscard]] pid_t pid() const { return pid_; }

 private:
  pid_t pid_ = -1;
};

// Two GiB ended a log before: its process gets further as the log is looked after.
TEST(FileLimit, moves_on_with_the_log_and_its_other_files_stay_small) {
  const test::TemporaryFolder folder;
  const auto log = folder.path() / "x.run.log";
  const Appending writer(log);
  const auto process = identify_process(writer.pid());
  ASSERT_TRUE(process);
  const auto grows = [&] {
    const auto before = fs::file_size(log);
    for (int i = 0; i < 2'000; ++i) {
      if (fs::file_size(log) > before) return true;
      ::usleep(1'000);
    }
    return false;
  };
  ASSERT_TRUE(grows());
  fs::resize_file(log, k_file_bytes_max);  // a hole: no disk is used
  for (int i = 0; i < 50; ++i) ::usleep(1'000);
  EXPECT_EQ(fs::file_size(log), k_file_bytes_max);  // it cannot go on by itself
  std::ofstream(folder.path() / "kernel.log") << "x";
  std::ofstream(folder.path() / "guest.events") << "hello 1\n";
  fs::resize_file(folder.path() / "kernel.log", k_file_bytes_max);
  fs::resize_file(folder.path() / "guest.events", k_file_bytes_max);
  EXPECT_TRUE(bound_vm_files(folder.path(), log));
  let_log_grow(*process, log);
  EXPECT_TRUE(grows());
  EXPECT_EQ(fs::file_size(folder.path() / "kernel.log"), 0U);
  EXPECT_EQ(fs::file_size(folder.path() / "guest.events"), k_events_bytes_max);
  EXPECT_TRUE(read_guest_events(folder.path()).hello);
}

}  // namespace
}  // namespace atlasflow::vmm
