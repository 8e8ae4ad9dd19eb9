#include "builder/image/context_parts.hpp"

#include <chrono>
#include <filesystem>
#include <functional>
#include <set>
#include <vector>

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/builder/scratch.hpp"

namespace atlasflow::builder {
namespace {

namespace fs = std::filesystem;
using Clock = ContextParts::Clock;

class ContextPartsTest : public ::testing::Test {
 protected:
  ContextPartsTest() {
    write(context_ / "note", "n");
    write(context_ / "sub" / "f", "first");
    write(context_ / "sub" / "deep" / "g", "g");
    fs::create_symlink("f", context_ / "sub" / "link");
    fs::create_symlink("sub", context_ / "alias");
    fs::create_symlink("../..", context_ / "up");
  }
  // Empty: none.
  std::string digest_of(const std::string& source, const std::string& ignore = "") const {
    ContextParts parts(context_, ignore, Clock::time_point::max(), {});
    const auto digest = parts.digest_of(source);
    EXPECT_TRUE(digest) << to_string(digest.error());
    return digest ? digest->value_or("") : "";
  }

  Scratch scratch_;
  const fs::path context_ = scratch_.path() / "context";
};

TEST_F(ContextPartsTest, are_the_same_in_another_checkout_at_another_time) {
  const auto other = scratch_.path() / "other";
  fs::copy(context_, other, fs::copy_options::recursive | fs::copy_options::copy_symlinks);
  for (const auto& name : {"note", "sub/f", "sub"}) {
    fs::last_write_time(other / name, fs::file_time_type::clock::now() - std::chrono::hours(30));
  }
  ContextParts parts(other, "", Clock::time_point::max(), {});
  for (const std::string source : {"", "/", ".", "sub", "/sub/", "sub/f", "note"}) {
    const auto digest = parts.digest_of(source);
    ASSERT_TRUE(digest && *digest) << source;
    EXPECT_EQ(**digest, digest_of(source)) << source;
    EXPECT_EQ((*digest)->size(), 64U);
  }
  EXPECT_EQ(digest_of(""), digest_of("/."));
  EXPECT_NE(digest_of("sub"), digest_of(""));
}

TEST_F(ContextPartsTest, are_others_with_anything_in_them) {
  const std::vector<std::pair<std::string, std::function<void()>>> changes = {
      {"a byte", [&] { write(context_ / "sub" / "f", "firsT"); }},
      {"a byte more", [&] { write(context_ / "sub" / "f", "first!"); }},
      {"a file more", [&] { write(context_ / "sub" / "h", ""); }},
      {"a file less", [&] { fs::remove(context_ / "sub" / "h"); }},
      {"a name", [&] { fs::rename(context_ / "sub" / "f", context_ / "sub" / "e"); }},
      {"a mode", [&] { fs::permissions(context_ / "sub" / "e", fs::perms(0755)); }},
      {"a folder's mode", [&] { fs::permissions(context_ / "sub" / "deep", fs::perms(0700)); }},
      {"a folder more", [&] { fs::create_directory(context_ / "sub" / "empty"); }},
      {"where a link leads",
       [&] {
         fs::remove(context_ / "sub" / "link");
         fs::create_symlink("e", context_ / "sub" / "link");
       }},
      {"a link that is a file of its text",
       [&] {
         fs::remove(context_ / "sub" / "link");
         write(context_ / "sub" / "link", "e");
       }},
  };
  const auto note = digest_of("note");
  std::set<std::string> seen = {digest_of("sub")};
  std::set<std::string> seen_of_all = {digest_of("")};
  for (const auto& [what, change] : changes) {
    change();
    const bool comes_back = what == "a file less";  // as it was after "a byte more"
    EXPECT_EQ(seen.insert(digest_of("sub")).second, !comes_back) << what;
    EXPECT_EQ(seen_of_all.insert(digest_of("")).second, !comes_back) << what;
    EXPECT_EQ(digest_of("note"), note) << what;
  }
}

TEST_F(ContextPartsTest, do_not_hold_what_is_ignored) {
  const std::string ignore = "sub/deep\n*.log\n!keep.log\n";
  const auto before = digest_of("", ignore);
  write(context_ / "a.log", "x");
  write(context_ / "keep.log", "x");
  const auto kept = digest_of("", ignore);
  EXPECT_NE(kept, before);
  write(context_ / "a.log", "y");
  write(context_ / "sub" / "deep" / "g", "other");
  EXPECT_EQ(digest_of("", ignore), kept);
  write(context_ / "keep.log", "y");
  EXPECT_NE(digest_of("", ignore), kept);
  EXPECT_NE(digest_of("", ""), digest_of("", ignore));
}

TEST_F(ContextPartsTest, are_none_where_it_is_not_known_what_a_step_would_see) {
  for (const std::string source :
       {"absent", "sub/absent", "note/x", "alias", "alias/f", "up", "../context", "sub/../note"}) {
    EXPECT_EQ(digest_of(source), "") << source;
  }
  EXPECT_EQ(digest_of("note", "note\n"), "");
  EXPECT_EQ(digest_of("sub/deep", "sub\n"), "");
  EXPECT_NE(digest_of("sub", "sub\n!sub/f\n"), "");
  EXPECT_EQ(digest_of("note", "[\n"), "");  // a bad pattern
  ASSERT_EQ(::mkfifo((context_ / "sub" / "pipe").c_str(), 0600), 0);
  EXPECT_EQ(digest_of("sub"), "");
}

TEST_F(ContextPartsTest, are_read_until_the_build_is_stopped_or_its_time_is_over) {
  std::stop_source stop;
  stop.request_stop();
  const auto stopped =
      ContextParts(context_, "", Clock::time_point::max(), stop.get_token()).digest_of("");
  ASSERT_FALSE(stopped);
  EXPECT_EQ(stopped.error().code, ErrorCode::cancelled);
  const auto late = ContextParts(context_, "", Clock::now(), {}).digest_of("");
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error().code, ErrorCode::timed_out);
}

}  // namespace
}  // namespace atlasflow::builder
