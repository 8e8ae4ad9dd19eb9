// Needs root: it makes overlayfs' own kinds of files.
#include "vmm/image/layers.hpp"

#include <array>
#include <fstream>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/digest.hpp"
#include "base/file.hpp"
#include "tests/vmm/image_fixture.hpp"

namespace atlasflow::vmm {
namespace {

using test::file;
using test::folder;
using test::symlink;
using test::TarEntry;
namespace fs = std::filesystem;

class Layers : public testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "unpacking layers needs root";
    fs::create_directories(root_);
  }

  LayerBlob blob(const std::vector<TarEntry>& entries, bool gzip = true) {
    const fs::path path = folder_.path() / ("blob-" + std::to_string(blobs_++));
    std::ofstream(path, std::ios::binary) << make_tar(entries, gzip);
    return {path, "sha256:" + sha256_hex(make_tar(entries))};
  }
  Result<void> unpack(const std::vector<TarEntry>& entries,
                      WhiteoutStyle style = WhiteoutStyle::overlayfs) {
    return unpack_layer(blob(entries), root_, style, {});
  }
  [[nodiscard]] std::string content(const std::string& path) const {
    return read_file(root_ / path, 1 << 20).value_or("(none)");
  }
  [[nodiscard]] bool is_whiteout(const std::string& path) const {
    struct stat info {};
    return ::lstat((root_ / path).c_str(), &info) == 0 && S_ISCHR(info.st_mode) &&
           info.st_rdev == 0;
  }
  [[nodiscard]] bool is_opaque(const std::string& path) const {
    std::array<char, 8> value{};
    return ::lgetxattr((root_ / path).c_str(), "trusted.overlay.opaque", value.data(),
                       value.size()) == 1 &&
           value[0] == 'y';
  }

  test::TemporaryFolder folder_;
  fs::path root_ = folder_.path() / "root";
  int blobs_ = 0;
};

TEST_F(Layers, keep_names_contents_modes_and_owners) {
  TarEntry owned = file("srv/app", "bytes", 04755);
  owned.uid = 1234;
  TarEntry hard{TarEntry::Type::hardlink, "srv/same", "srv/app"};
  TarEntry device{TarEntry::Type::device, "srv/null", ""};
  ASSERT_TRUE(
      unpack({folder("srv", 0711), owned, hard, symlink("srv/link", "/etc/passwd"), device}));
  struct stat info {};
  ASSERT_EQ(::lstat((root_ / "srv/app").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777, 04755U);
  EXPECT_EQ(info.st_uid, 1234U);
  EXPECT_EQ(info.st_nlink, 2U);
  EXPECT_EQ(info.st_mtime, 1'700'000'000);
  EXPECT_EQ(content("srv/same"), "bytes");
  EXPECT_EQ(fs::read_symlink(root_ / "srv/link"), "/etc/passwd");
  EXPECT_FALSE(fs::exists(root_ / "srv/null")) << "device nodes are left out";
  ASSERT_EQ(::lstat((root_ / "srv").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777, 0711U);
}

TEST_F(Layers, mark_deletions_the_way_overlayfs_does) {
  ASSERT_TRUE(unpack({file("a/.wh.gone", ""), file("b/.wh..wh..opq", ""), file("b/new", "x")}));
  EXPECT_TRUE(is_whiteout("a/gone"));
  EXPECT_FALSE(fs::exists(root_ / "a/.wh.gone"));
  EXPECT_TRUE(is_opaque("b"));
  EXPECT_FALSE(is_opaque("a"));
  EXPECT_EQ(content("b/new"), "x");
}

TEST_F(Layers, may_delete_and_bring_anew_in_either_order) {
  ASSERT_TRUE(unpack({file(".wh.first", ""), folder("first"), file("first/new", "1"),
                      folder("second"), file("second/new", "2"), file(".wh.second", ""),
                      file(".wh.plain", ""), file("plain", "3")}));
  EXPECT_TRUE(is_opaque("first")) << "else the deleted folder's files would show through";
  EXPECT_TRUE(is_opaque("second"));
  EXPECT_EQ(content("first/new"), "1");
  EXPECT_EQ(content("second/new"), "2");
  EXPECT_EQ(content("plain"), "3");
}

TEST_F(Layers, applied_into_one_tree_delete_what_was_below) {
  ASSERT_TRUE(unpack({file("gone", "x"), folder("was"), file("was/a", "x"), file("d/old", "x"),
                      file("turns", "file"), folder("back"), file("back/x", "x")},
                     WhiteoutStyle::apply));
  ASSERT_TRUE(unpack(
      {file(".wh.gone", ""), file(".wh.was", ""), file("d/new", "y"), file("d/.wh..wh..opq", ""),
       folder("turns"), file("turns/in", "z"), file("back", "now a file")},
      WhiteoutStyle::apply));
  EXPECT_FALSE(fs::exists(root_ / "gone"));
  EXPECT_FALSE(fs::exists(root_ / "was"));
  EXPECT_FALSE(fs::exists(root_ / "d/old"));
  EXPECT_EQ(content("d/new"), "y") << "the mark is about what is below, wherever it stands";
  EXPECT_EQ(content("turns/in"), "z");
  EXPECT_EQ(content("back"), "now a file");
}

TEST_F(Layers, cannot_write_outside_their_root) {
  fs::create_directories(folder_.path() / "outside");
  const std::string outside = (folder_.path() / "outside").string();
  std::ofstream(outside + "/victim") << "whole";
  const std::vector<std::vector<TarEntry>> attacks = {
      {file("../outside/evil", "x")},
      {file("a/../../outside/evil", "x")},
      {symlink("way", outside), file("way/evil", "x")},
      {symlink("way", "../outside"), file("way/deep/evil", "x")},
      {symlink("way", outside), file("way/.wh.victim", "")},
      {symlink("way", outside), file("way/.wh..wh..opq", "")},
      {TarEntry{TarEntry::Type::hardlink, "mine", "../outside/victim"}},
      {symlink("way", outside), TarEntry{TarEntry::Type::hardlink, "mine", "way/victim"}},
      {file("a/.wh...", "")},
  };
  for (const auto style : {WhiteoutStyle::overlayfs, WhiteoutStyle::apply}) {
    for (std::size_t i = 0; i < attacks.size(); ++i) {
      fs::remove_all(root_);
      fs::create_directories(root_);
      const auto unpacked = unpack(attacks[i], style);
      ASSERT_FALSE(unpacked) << i;
      EXPECT_EQ(unpacked.error().code, ErrorCode::user_error) << i;
      EXPECT_FALSE(fs::exists(outside + "/evil")) << i;
      EXPECT_FALSE(fs::exists(outside + "/deep")) << i;
      EXPECT_EQ(read_file(outside + "/victim", 100).value_or(""), "whole") << i;
    }
  }
}

TEST_F(Layers, take_absolute_paths_as_below_the_root) {
  ASSERT_TRUE(unpack({file("/atlasflow-test-absolute", "x"), file("./dot//twice", "y")}));
  EXPECT_EQ(content("atlasflow-test-absolute"), "x");
  EXPECT_FALSE(fs::exists("/atlasflow-test-absolute"));
  EXPECT_EQ(content("dot/twice"), "y");
}

TEST_F(Layers, replace_a_link_of_their_own_and_never_write_through_it) {
  std::ofstream(folder_.path() / "victim") << "whole";
  ASSERT_TRUE(unpack({symlink("name", (folder_.path() / "victim").string()), file("name", "new")}));
  EXPECT_EQ(content("name"), "new");
  EXPECT_EQ(read_file(folder_.path() / "victim", 100).value(), "whole");
}

TEST_F(Layers, that_are_not_what_their_diff_id_says_are_corrupt) {
  LayerBlob layer = blob({file("a", "x")});
  layer.diff_id = "sha256:" + std::string(64, '0');
  EXPECT_EQ(unpack_layer(layer, root_, WhiteoutStyle::overlayfs, {}).error().code,
            ErrorCode::corrupt);
}

TEST_F(Layers, that_are_cut_are_corrupt) {
  const LayerBlob layer = blob({file("a", std::string(100'000, 'x')), file("b", "y")}, false);
  for (const auto size : {700U, 50'000U}) {
    fs::resize_file(layer.path, size);
    EXPECT_EQ(unpack_layer(layer, root_, WhiteoutStyle::overlayfs, {}).error().code,
              ErrorCode::corrupt)
        << size;
  }
}

TEST_F(Layers, become_a_disk_once_and_share_it) {
  LayerStore store(folder_.path() / "layers", false);
  fs::create_directories(folder_.path() / "layers");
  const auto base = blob({file("a", "x")});
  const auto first = blob({file("b", "y")});
  const auto second = blob({file("c", "z")});
  std::array<Result<std::vector<fs::path>>, 2> disks;
  {
    std::jthread one([&] { disks[0] = store.disks_for({base, first}, {}); });
    std::jthread two([&] { disks[1] = store.disks_for({base, second}, {}); });
  }
  for (const auto& result : disks) ASSERT_TRUE(result) << to_string(result.error());
  ASSERT_EQ(disks[0]->size(), 2U);
  EXPECT_EQ(disks[0]->front(), disks[1]->front());
  EXPECT_NE(disks[0]->back(), disks[1]->back());
  // The superblock's magic lies at byte 1024 (kernel documentation, erofs).
  const std::string disk = read_file(disks[0]->front(), 1 << 20).value();
  EXPECT_EQ(disk.substr(1024, 4), "\xe2\xe1\xf5\xe0");
  std::size_t files = 0;
  for (const auto& entry : fs::directory_iterator(folder_.path() / "layers")) {
    EXPECT_EQ(entry.path().extension(), ".erofs") << "no temporary stays";
    ++files;
  }
  EXPECT_EQ(files, 3U);
  fs::remove(base.path);
  EXPECT_TRUE(store.disks_for({base, first}, {})) << "what is there is not made again";
}

TEST_F(Layers, beyond_the_number_of_disks_are_merged_at_the_bottom) {
  LayerStore store(folder_.path() / "layers", false);
  fs::create_directories(folder_.path() / "layers");
  std::vector<LayerBlob> layers;
  for (int i = 0; i < 15; ++i) layers.push_back(blob({file(std::to_string(i), "x")}));
  const auto disks = store.disks_for(layers, {});
  ASSERT_TRUE(disks) << to_string(disks.error());
  EXPECT_EQ(disks->size(), LayerStore::k_disks_max);
  EXPECT_THAT(disks->front().filename().string(), testing::StartsWith("merged-"));
  EXPECT_EQ(store.disks_for({}, {}).error().code, ErrorCode::user_error);
}

TEST_F(Layers, that_fail_leave_no_disk) {
  LayerStore store(folder_.path() / "layers", false);
  fs::create_directories(folder_.path() / "layers");
  ASSERT_FALSE(store.disks_for({blob({file("../x", "")})}, {}));
  std::stop_source stop;
  stop.request_stop();
  EXPECT_EQ(store.disks_for({blob({file("x", "")})}, stop.get_token()).error().code,
            ErrorCode::cancelled);
  EXPECT_TRUE(fs::is_empty(folder_.path() / "layers"));
}

}  // namespace
}  // namespace atlasflow::vmm
