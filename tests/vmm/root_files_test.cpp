#include "vmm/guest/root_files.hpp"

#include <fstream>
#include <sstream>

#include <gtest/gtest.h>
#include <sys/stat.h>

#include "tests/vmm/image_fixture.hpp"

namespace atlasflow::vmm::guest {
namespace {

namespace fs = std::filesystem;

std::string text_of(const fs::path& path) {
  std::stringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

TEST(RootFiles, replace_whatever_the_image_has_in_their_place) {
  const test::TemporaryFolder folder;
  const auto outside = folder.path() / "outside";
  std::ofstream(outside) << "precious";
  const auto file = folder.path() / "resolv.conf";
  const auto check = [&](const char* what) {
    ASSERT_TRUE(replace_file(file.string(), "nameserver 192.0.2.53\n")) << what;
    EXPECT_TRUE(fs::is_regular_file(fs::symlink_status(file))) << what;
    EXPECT_EQ(text_of(file), "nameserver 192.0.2.53\n") << what;
    EXPECT_EQ(fs::status(file).permissions(), fs::perms(0644)) << what;
    fs::remove_all(file);
  };
  check("missing");
  std::ofstream(file) << "old";
  check("a file");
  fs::create_symlink("../run/systemd/resolve/stub-resolv.conf", file);
  check("a link that leads nowhere");
  fs::create_symlink(outside, file);
  check("a link to a file");
  EXPECT_EQ(text_of(outside), "precious");
  fs::create_symlink(file, file);
  check("a link to itself");
  fs::create_directory(file);
  check("an empty folder");
  fs::create_directory(file);
  std::ofstream(file / "inside") << "x";
  EXPECT_FALSE(replace_file(file.string(), "x"));
  EXPECT_TRUE(fs::exists(file / "inside"));
  EXPECT_FALSE(fs::exists(file.string() + ".atlasflow"));
}

TEST(RootFiles, make_a_folder_of_what_is_none) {
  const test::TemporaryFolder folder;
  const auto at = folder.path() / "etc";
  const auto check = [&](const char* what) {
    ASSERT_TRUE(make_folder_at(at.string(), 0755)) << what;
    EXPECT_TRUE(fs::is_directory(at)) << what;
  };
  check("missing");
  check("there");
  fs::remove(at);
  std::ofstream(at) << "x";
  check("a file");
  fs::remove(at);
  fs::create_symlink("nowhere", at);
  check("a link that leads nowhere");
  fs::remove(at);
  fs::create_directory(folder.path() / "usr-etc");
  fs::create_symlink("usr-etc", at);
  check("a link to a folder");
  EXPECT_TRUE(fs::is_symlink(at)) << "which stays";
}

}  // namespace
}  // namespace atlasflow::vmm::guest
