#include "builder/source/mirror.hpp"

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <thread>

#include <gmock/gmock.h>

#include "builder/source/checkout.hpp"
#include "tests/builder/git_server.hpp"
#include "tests/builder/origin.hpp"
#include "tests/builder/scratch.hpp"

namespace atlasflow::builder {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

namespace fs = std::filesystem;
using namespace std::chrono_literals;

constexpr const char* k_main = "refs/heads/main";
constexpr std::size_t k_files = 20;
constexpr std::uint64_t k_objects_of_all = k_files + 2;  // with a tree and a commit
constexpr std::uint64_t k_objects_of_a_change = 3;

class MirrorTest : public ::testing::Test {
 protected:
  static std::vector<Entry> files(const std::string& changing) {
    std::vector<Entry> entries{{"changing", changing}};
    for (std::size_t i = 1; i < k_files; ++i) {
      entries.push_back({"file" + std::to_string(i), "stays " + std::to_string(i)});
    }
    return entries;
  }
  CheckoutRequest request(const std::string& url, const std::string& sha) {
    CheckoutRequest out;
    out.url = url;
    out.sha = sha;
    out.ref = k_main;
    out.folder = scratch_.path() / "work" / ("c" + std::to_string(++count_));
    out.mirror = mirror();
    out.mirror_owner = "project1";
    return out;
  }
  Result<Checkout> take(const std::string& url, const std::string& sha) {
    newest_ = request(url, sha);
    return check_out(newest_, {});
  }
  std::string content(const std::string& name) const { return read(newest_.folder / name); }
  fs::path mirror() const { return scratch_.path() / "mirrors" / "web"; }
  std::vector<fs::path> files_in_mirror(const std::string& below) const {
    std::vector<fs::path> found;
    for (const auto& entry : fs::recursive_directory_iterator(mirror() / "git" / below)) {
      if (entry.is_regular_file()) found.push_back(entry.path());
    }
    return found;
  }
  std::string served() const {
    return "http://127.0.0.1:" + std::to_string(server_->port()) + "/repo.git";
  }
  void serve(std::optional<std::string> authorization = std::nullopt) {
    server_ = std::make_unique<GitServer>(scratch_.path() / "www", std::move(authorization));
    write(fs::path(origin_.path()) / "config",
          read(fs::path(origin_.path()) / "config") + "[safe]\n\tdirectory = *\n");
  }

  Scratch scratch_;
  Origin origin_{make_parent(scratch_.path() / "www") / "repo.git"};
  std::unique_ptr<GitServer> server_;
  CheckoutRequest newest_;
  int count_ = 0;

 private:
  static fs::path make_parent(const fs::path& folder) {
    fs::create_directories(folder);
    return folder;
  }
};

TEST_F(MirrorTest, the_second_clone_receives_only_what_is_new) {
  serve();
  std::string newest = origin_.commit(k_main, files("0"));
  int version = 0;
  for (const auto& url : {origin_.url(), served()}) {
    const auto first = take(url, newest);  // the URL is another one, so all is fetched
    ASSERT_TRUE(first) << url << to_string(first.error());
    EXPECT_GE(first->received_objects, k_objects_of_all) << url;
    const auto text = std::to_string(++version);
    newest = origin_.commit(k_main, files(text), "A change", {newest});
    const auto second = take(url, newest);
    ASSERT_TRUE(second) << url << to_string(second.error());
    EXPECT_GE(second->received_objects, 1U) << url;
    EXPECT_LE(second->received_objects, k_objects_of_a_change) << url;
    EXPECT_EQ(content("changing"), text);
    EXPECT_EQ(content("file19"), "stays 19");
    const auto again = take(url, newest);
    ASSERT_TRUE(again) << url << to_string(again.error());
    EXPECT_EQ(again->received_objects, 0U) << url;
    EXPECT_EQ(content("changing"), text);
  }
}

TEST_F(MirrorTest, without_one_each_clone_receives_everything) {
  serve();
  const auto first = origin_.commit(k_main, files("1"));
  const auto second = origin_.commit(k_main, files("2"), "A change", {first});
  for (const auto& sha : {first, second}) {
    auto asked = request(served(), sha);
    asked.mirror.clear();
    const auto checkout = check_out(asked, {});
    ASSERT_TRUE(checkout) << to_string(checkout.error());
    EXPECT_GE(checkout->received_objects, k_objects_of_all);
  }
  EXPECT_FALSE(fs::exists(mirror()));
}

TEST_F(MirrorTest, a_branch_that_was_pushed_by_force_is_followed) {
  serve();
  const auto before = origin_.commit(k_main, files("before"));
  ASSERT_TRUE(take(served(), before));
  const auto after = origin_.commit(k_main, {{"changing", "after"}});  // of no parent
  const auto forced = take(served(), after);
  ASSERT_TRUE(forced) << to_string(forced.error());
  EXPECT_EQ(content("changing"), "after");
  EXPECT_FALSE(fs::exists(newest_.folder / "file1"));
  // What it was before is still at hand, so a deployment of it can be repeated.
  const auto back = take(served(), before);
  ASSERT_TRUE(back) << to_string(back.error());
  EXPECT_EQ(content("changing"), "before");
}

TEST_F(MirrorTest, branches_whose_names_are_in_each_others_way_are_fetched_one_after_the_other) {
  for (const auto& ref : {"refs/heads/a", "refs/heads/a/b", "refs/heads/a"}) {
    const auto sha = origin_.commit(ref, files(ref), std::string("On ") + ref);
    auto asked = request(origin_.url(), sha);
    asked.ref = ref;
    const auto checkout = check_out(asked, {});
    ASSERT_TRUE(checkout) << ref << to_string(checkout.error());
    EXPECT_EQ(read(asked.folder / "changing"), ref);
    git_reference_remove(origin_.get(), ref);
  }
}

TEST_F(MirrorTest, what_one_project_fetched_is_not_to_be_had_by_another) {
  serve();
  const auto gone = origin_.commit(k_main, files("private"));
  ASSERT_TRUE(take(served(), gone));
  origin_.commit(k_main, files("public"));
  auto other = request(served(), gone);
  other.mirror = scratch_.path() / "mirrors" / "other";
  other.mirror_owner = "project2";
  // The name may be given again as well: then what is there belongs to the project before.
  auto renamed = request(served(), gone);
  renamed.mirror_owner = "project3";
  for (const auto& asked : {other, renamed}) {
    const auto checkout = check_out(asked, {});
    ASSERT_FALSE(checkout) << asked.mirror_owner;
    EXPECT_EQ(checkout.error().code, ErrorCode::not_found) << to_string(checkout.error());
  }
}

TEST_F(MirrorTest, what_was_fetched_from_another_url_is_thrown_away) {
  const auto here = origin_.commit(k_main, files("here"));
  ASSERT_TRUE(take(origin_.url(), here));
  Origin elsewhere(scratch_.path() / "elsewhere.git");
  const auto there = elsewhere.commit(k_main, files("there"));
  ASSERT_TRUE(take(elsewhere.url(), there));
  const auto checkout = take(elsewhere.url(), here);
  ASSERT_FALSE(checkout);
  EXPECT_EQ(checkout.error().code, ErrorCode::not_found) << to_string(checkout.error());
}

TEST_F(MirrorTest, one_that_is_damaged_is_thrown_away_and_cloned_anew) {
  serve();
  auto newest = origin_.commit(k_main, files("0"));
  ASSERT_TRUE(take(served(), newest));
  const auto overwrite = [](const fs::path& file, const std::string& bytes) {
    fs::permissions(file, fs::perms::owner_write, fs::perm_options::add);
    std::ofstream(file, std::ios::binary | std::ios::trunc) << bytes;
  };
  const std::vector<std::pair<std::string, std::function<void()>>> damages = {
      {"the objects are others",
       [&] {
         for (const auto& file : files_in_mirror("objects/pack")) {
           if (file.extension() != ".pack") continue;
           auto bytes = read(file);
           for (std::size_t i = 12; i + 20 < bytes.size(); ++i) bytes[i] = '\xff';
           overwrite(file, bytes);
         }
       }},
      {"the packs are cut",
       [&] {
         for (const auto& file : files_in_mirror("objects/pack")) {
           overwrite(file, read(file).substr(0, 30));
         }
       }},
      {"the packs are gone",
       [&] {
         for (const auto& file : files_in_mirror("objects/pack")) fs::remove(file);
       }},
      {"there are no objects", [&] { fs::remove_all(mirror() / "git" / "objects"); }},
      {"the refs are no refs",
       [&] {
         for (const auto& file : files_in_mirror("refs")) overwrite(file, "nothing\n");
       }},
      {"there is no HEAD", [&] { fs::remove(mirror() / "git" / "HEAD"); }},
      {"there is no mark", [&] { fs::remove(mirror() / "mark"); }},
  };
  for (const auto& [what, damage] : damages) {
    damage();
    newest = origin_.commit(k_main, files(what), "A change", {newest});
    const auto checkout = take(served(), newest);
    ASSERT_TRUE(checkout) << what << ": " << to_string(checkout.error());
    EXPECT_GE(checkout->received_objects, k_objects_of_all) << what;
    EXPECT_EQ(content("changing"), what);
    EXPECT_EQ(content("file19"), "stays 19") << what;
  }
}

TEST_F(MirrorTest, one_of_a_local_repository_that_is_damaged_is_cloned_anew_as_well) {
  const auto first = origin_.commit(k_main, files("1"));
  ASSERT_TRUE(take(origin_.url(), first));
  for (const auto& file : files_in_mirror("objects/pack")) fs::remove(file);
  const auto second = origin_.commit(k_main, files("2"), "A change", {first});
  const auto checkout = take(origin_.url(), second);
  ASSERT_TRUE(checkout) << to_string(checkout.error());
  EXPECT_EQ(content("changing"), "2");
  EXPECT_EQ(content("file19"), "stays 19");
}

TEST_F(MirrorTest, what_a_killed_fetch_left_is_in_nobodys_way) {
  serve();
  const auto first = origin_.commit(k_main, files("1"));
  ASSERT_TRUE(take(served(), first));
  std::vector<fs::path> left = {mirror() / "git" / "objects" / "pack" / "pack_git2_9e0bb9d8",
                                mirror() / "git" / "packed-refs.lock",
                                mirror() / "git" / "HEAD.lock"};
  for (const auto& ref : files_in_mirror("refs")) left.emplace_back(ref.string() + ".lock");
  ASSERT_GE(left.size(), 4U);
  for (const auto& file : left) write(file, "half");
  const auto second = origin_.commit(k_main, files("2"), "A change", {first});
  const auto checkout = take(served(), second);
  ASSERT_TRUE(checkout) << to_string(checkout.error());
  EXPECT_LE(checkout->received_objects, k_objects_of_a_change);
  for (const auto& file : left) EXPECT_FALSE(fs::exists(file)) << file;
}

TEST_F(MirrorTest, a_fetch_that_was_broken_off_is_begun_anew) {
  serve();
  const auto sha = origin_.commit(k_main, files("1"));
  auto limited = request(served(), sha);
  limited.limit_bytes = 10;
  const auto broken_off = check_out(limited, {});
  ASSERT_FALSE(broken_off);
  EXPECT_EQ(broken_off.error().code, ErrorCode::too_large) << to_string(broken_off.error());
  const auto checkout = take(served(), sha);
  ASSERT_TRUE(checkout) << to_string(checkout.error());
  EXPECT_EQ(content("file19"), "stays 19");
}

TEST_F(MirrorTest, it_outlives_a_remote_that_lets_nobody_in_and_opens_nothing_by_itself) {
  serve("Basic bWU6czNjcmV0");  // me:s3cret
  const auto sha = origin_.commit(k_main, files("1"));
  const auto take_with = [&](const std::string& password) {
    auto asked = request(served(), sha);
    asked.credential = [password](const Credential*) {
      return Credential{"me", Secret(std::string(password))};
    };
    return check_out(asked, {});
  };
  ASSERT_TRUE(take_with("s3cret"));
  const auto refused = take_with("wr0ng");
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::user_error) << to_string(refused.error());
  const auto again = take_with("s3cret");
  ASSERT_TRUE(again) << to_string(again.error());
  EXPECT_EQ(again->received_objects, 0U);
}

TEST_F(MirrorTest, a_clone_waits_for_the_one_that_has_it_until_it_is_stopped) {
  const auto sha = origin_.commit(k_main, files("1"));
  auto holder = Mirror::open(mirror(), "project1", origin_.url(), {});
  ASSERT_TRUE(holder) << to_string(holder.error());
  std::stop_source stop;
  const std::jthread stopper([&stop] {
    std::this_thread::sleep_for(200ms);
    stop.request_stop();
  });
  const auto stopped = check_out(request(origin_.url(), sha), stop.get_token());
  ASSERT_FALSE(stopped);
  EXPECT_EQ(stopped.error().code, ErrorCode::cancelled) << to_string(stopped.error());

  Result<Checkout> waited;
  std::atomic<bool> is_done{false};
  std::jthread waiter([&, asked = request(origin_.url(), sha)] {
    waited = check_out(asked, {});
    is_done = true;
  });
  std::this_thread::sleep_for(200ms);
  EXPECT_FALSE(is_done.load()) << "somebody else has it";
  holder = fail(ErrorCode::cancelled, "let go");
  waiter.join();
  EXPECT_TRUE(waited) << to_string(waited.error());
}

TEST_F(MirrorTest, one_that_has_outgrown_a_limit_is_begun_anew) {
  const auto sha = origin_.commit(k_main, files("1"));
  const auto is_new_with = [&](const MirrorLimits& limits) {
    EXPECT_TRUE(take(origin_.url(), sha));
    const auto opened = Mirror::open(mirror(), "project1", origin_.url(), {}, limits);
    EXPECT_TRUE(opened) << to_string(opened.error());
    return opened && opened->is_new();
  };
  EXPECT_FALSE(is_new_with({}));
  EXPECT_TRUE(is_new_with({.packs_max = 0}));
  EXPECT_TRUE(is_new_with({.refs_max = 0}));
  EXPECT_TRUE(is_new_with({.bytes_max = 100}));
}

class MirrorCollectionTest : public MirrorTest {
 protected:
  static constexpr std::size_t k_bytes = 100'000;

  // One whose last use was so long ago.
  void keep(const std::string& name, std::chrono::hours ago) {
    {
      const auto mirror = Mirror::open(root() / name, "owner", "file:///x", {});
      ASSERT_TRUE(mirror) << to_string(mirror.error());
    }
    write(root() / name / "git" / "objects" / "pack" / "x.pack", std::string(k_bytes, 'x'));
    fs::last_write_time(root() / name / "lock", fs::file_time_type::clock::now() - ago);
  }
  fs::path root() const { return scratch_.path() / "mirrors"; }
  Result<std::vector<std::string>> collect(std::uint64_t bytes_max) {
    return collect_mirrors(root(),
                           []() -> Result<std::set<std::string>> {
                             return std::set<std::string>{"a", "b"};
                           },
                           bytes_max, {});
  }
};

TEST_F(MirrorCollectionTest, those_of_projects_that_are_gone_go_and_then_the_longest_unused) {
  keep("a", 2h);
  keep("b", 1h);
  keep("gone", 0h);
  auto removed = collect(10 * k_bytes);
  ASSERT_TRUE(removed) << to_string(removed.error());
  EXPECT_THAT(*removed, ElementsAre("the clone of gone"));
  EXPECT_FALSE(fs::exists(root() / "gone"));
  removed = collect(k_bytes + k_bytes / 2);
  ASSERT_TRUE(removed) << to_string(removed.error());
  EXPECT_THAT(*removed, ElementsAre("the clone of a"));
  EXPECT_TRUE(fs::exists(root() / "b"));
}

TEST_F(MirrorCollectionTest, one_in_use_stays_and_goes_afterwards) {
  keep("a", 2h);
  keep("gone", 2h);
  {
    const auto used = Mirror::open(root() / "a", "owner", "file:///x", {});
    const auto used_too = Mirror::open(root() / "gone", "owner", "file:///x", {});
    ASSERT_TRUE(used && used_too);
    const auto removed = collect(0);
    ASSERT_TRUE(removed) << to_string(removed.error());
    EXPECT_THAT(*removed, IsEmpty());
    EXPECT_TRUE(fs::exists(root() / "a" / "git"));
  }
  const auto removed = collect(0);
  ASSERT_TRUE(removed) << to_string(removed.error());
  EXPECT_THAT(*removed, ElementsAre("the clone of gone", "the clone of a"));
}

TEST_F(MirrorCollectionTest, nothing_goes_while_nobody_knows_which_projects_there_are) {
  keep("a", 2h);
  const auto removed = collect_mirrors(
      root(), []() -> Result<std::set<std::string>> { return fail(ErrorCode::unavailable, "?"); },
      0, {});
  EXPECT_FALSE(removed);
  EXPECT_TRUE(fs::exists(root() / "a" / "git"));
}

}  // namespace
}  // namespace atlasflow::builder
