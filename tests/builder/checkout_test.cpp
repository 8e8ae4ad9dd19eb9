#include "builder/source/checkout.hpp"

#include <chrono>

#include <fcntl.h>
#include <git2.h>
#include <gmock/gmock.h>
#include <sys/stat.h>
#include <unistd.h>

#include "builder/source/git_handles.hpp"
#include "builder/source/source_file.hpp"
#include "tests/builder/git_server.hpp"
#include "tests/builder/origin.hpp"
#include "tests/builder/scratch.hpp"

namespace atlasflow::builder {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::UnorderedElementsAre;

namespace fs = std::filesystem;

class CheckoutTest : public ::testing::Test {
 protected:
  CheckoutRequest request(const std::string& url, const std::string& sha) {
    CheckoutRequest out;
    out.url = url;
    out.sha = sha;
    out.ref = "refs/heads/main";
    out.folder = folder();
    return out;
  }
  fs::path folder() const { return scratch_.path() / "work" / "checkout"; }
  // What is beside the folder when all is done: the marker only.
  std::vector<std::string> left_beside() const {
    std::vector<std::string> names;
    std::error_code error;
    for (const auto& entry : fs::directory_iterator(folder().parent_path(), error)) {
      names.push_back(entry.path().filename().string());
    }
    return names;
  }
  Scratch scratch_;
};

TEST_F(CheckoutTest, the_folder_holds_exactly_the_tree_of_the_commit) {
  Origin origin(scratch_.path() / "origin.git");
  const std::string sha = origin.commit("refs/heads/main",
                                        {{"Dockerfile", "FROM scratch\n"},
                                         {"bin/start", "#!/bin/sh\n", GIT_FILEMODE_BLOB_EXECUTABLE},
                                         {"deep/er/file", "x\r\ny\n"},
                                         {"link", "deep/er/file", GIT_FILEMODE_LINK}},
                                        "Say hello\n\nMore words.\n");
  origin.commit("refs/heads/main", {{"later", "x"}});  // The branch has moved on.
  origin.commit("refs/heads/kept",
                {{"Dockerfile", "FROM scratch\n"},
                 {"bin/start", "#!/bin/sh\n", GIT_FILEMODE_BLOB_EXECUTABLE},
                 {"deep/er/file", "x\r\ny\n"},
                 {"link", "deep/er/file", GIT_FILEMODE_LINK}},
                "Say hello\n\nMore words.\n");
  const auto checkout = check_out(request(origin.url(), sha), {});
  ASSERT_TRUE(checkout) << to_string(checkout.error());
  EXPECT_EQ(checkout->sha, sha);
  EXPECT_EQ(checkout->subject, "Say hello");
  EXPECT_EQ(checkout->author, "Mona Lisa");
  EXPECT_EQ(checkout->size_bytes, 13U + 10U + 5U + 12U);
  EXPECT_THAT(checkout->notices, IsEmpty());
  EXPECT_EQ(read(folder() / "deep/er/file"), "x\r\ny\n");
  EXPECT_EQ(fs::read_symlink(folder() / "link"), "deep/er/file");
  EXPECT_EQ(fs::status(folder() / "bin/start").permissions(), fs::perms(0755));
  EXPECT_EQ(fs::status(folder() / "Dockerfile").permissions(), fs::perms(0644));
  EXPECT_FALSE(fs::exists(folder() / ".git"));
  EXPECT_FALSE(fs::exists(folder() / "later"));
  EXPECT_THAT(left_beside(), UnorderedElementsAre("checkout", "checkout.done"));
}

TEST_F(CheckoutTest, files_can_be_read_by_all_whatever_the_umask_is) {
  Origin origin(scratch_.path() / "origin.git");
  const std::string sha = origin.commit("refs/heads/main", {{"a/b", "x"}});
  const mode_t before = ::umask(0077);
  const auto checkout = check_out(request(origin.url(), sha), {});
  ::umask(before);
  ASSERT_TRUE(checkout) << to_string(checkout.error());
  EXPECT_EQ(fs::status(folder()).permissions(), fs::perms(0755));
  EXPECT_EQ(fs::status(folder() / "a").permissions(), fs::perms(0755));
  EXPECT_EQ(fs::status(folder() / "a/b").permissions(), fs::perms(0644));
}

TEST_F(CheckoutTest, a_plain_path_and_a_repository_with_a_work_tree_do_as_well) {
  Origin origin(scratch_.path() / "origin", false);
  const std::string sha = origin.commit("refs/heads/main", {{"file", "x"}});
  const auto checkout = check_out(request(origin.path(), sha), {});
  ASSERT_TRUE(checkout) << to_string(checkout.error());
  EXPECT_EQ(read(folder() / "file"), "x");
}

TEST_F(CheckoutTest, a_repository_of_another_user_is_read) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root can give files away";
  Origin origin(scratch_.path() / "origin.git");
  const std::string sha = origin.commit("refs/heads/main", {{"file", "x"}});
  ASSERT_EQ(::chown(origin.path().c_str(), 12345, 12345), 0);
  for (const auto& entry : fs::recursive_directory_iterator(origin.path())) {
    ASSERT_EQ(::lchown(entry.path().c_str(), 12345, 12345), 0);
  }
  const auto checkout = check_out(request(origin.url(), sha), {});
  EXPECT_TRUE(checkout) << to_string(checkout.error());
}

TEST_F(CheckoutTest, a_commit_of_another_branch_is_found) {
  Origin origin(scratch_.path() / "origin.git");
  origin.commit("refs/heads/main", {{"file", "main"}});
  const std::string sha = origin.commit("refs/heads/other", {{"file", "other"}});
  const auto checkout = check_out(request(origin.url(), sha), {});
  ASSERT_TRUE(checkout) << to_string(checkout.error());
  EXPECT_EQ(read(folder() / "file"), "other");
}

TEST_F(CheckoutTest, a_branch_that_is_gone_does_not_matter_when_the_commit_is_there) {
  Origin origin(scratch_.path() / "origin.git");
  const std::string sha = origin.commit("refs/heads/other", {{"file", "other"}});
  const auto checkout = check_out(request(origin.url(), sha), {});
  EXPECT_TRUE(checkout) << to_string(checkout.error());
}

TEST_F(CheckoutTest, a_sha_that_the_remote_lacks_is_told_and_leaves_nothing) {
  Origin origin(scratch_.path() / "origin.git");
  origin.commit("refs/heads/main", {{"file", "x"}});
  const std::string sha(40, 'a');
  const auto checkout = check_out(request(origin.url(), sha), {});
  ASSERT_FALSE(checkout);
  EXPECT_EQ(checkout.error().code, ErrorCode::not_found);
  EXPECT_EQ(checkout.error().message,
            "commit " + sha + " is not in " + origin.url() + "; was it force-pushed away?");
  EXPECT_THAT(left_beside(), IsEmpty());
}

TEST_F(CheckoutTest, a_repository_that_is_not_there_is_not_found) {
  const auto checkout =
      check_out(request((scratch_.path() / "absent").string(), std::string(40, 'a')), {});
  ASSERT_FALSE(checkout);
  EXPECT_EQ(checkout.error().code, ErrorCode::not_found) << to_string(checkout.error());
}

TEST_F(CheckoutTest, a_request_that_cannot_be_meant_is_refused) {
  const std::string sha(40, 'a');
  const std::pair<std::string, std::string> cases[] = {{"https://me:secret@example.com/x.git", sha},
                                                       {"https://token@example.com/x.git", sha},
                                                       {"git:pw@example.com:x.git", sha},
                                                       {"ssh://me:pw@example.com/x.git", sha},
                                                       {"relative/path", sha},
                                                       {"file://host/path", sha},
                                                       {"/tmp/x", "main"},
                                                       {"/tmp/x", std::string(40, 'A')}};
  for (const auto& [url, commit] : cases) {
    const auto checkout = check_out(request(url, commit), {});
    ASSERT_FALSE(checkout) << url;
    EXPECT_EQ(checkout.error().code, ErrorCode::invalid_argument) << url;
    EXPECT_THAT(to_string(checkout.error()), Not(HasSubstr("secret"))) << url;
  }
}

TEST_F(CheckoutTest, a_finished_checkout_is_kept_and_told_again) {
  Origin origin(scratch_.path() / "origin.git");
  const std::string sha = origin.commit("refs/heads/main", {{"file", "x"}}, "Subject");
  ASSERT_TRUE(check_out(request(origin.url(), sha), {}));
  fs::remove_all(origin.path());  // So that a second fetch would fail.
  const auto again = check_out(request(origin.url(), sha), {});
  ASSERT_TRUE(again) << to_string(again.error());
  EXPECT_EQ(again->subject, "Subject");
  EXPECT_EQ(again->size_bytes, 1U);
}

TEST_F(CheckoutTest, the_same_files_have_the_same_name_whatever_commit_they_are_in) {
  Origin origin(scratch_.path() / "origin.git");
  const auto source_after = [&](const std::string& content) {
    const auto sha = origin.commit("refs/heads/main", {{"file", content}});
    const auto checkout = check_out(request(origin.path(), sha), {});
    EXPECT_TRUE(checkout);
    EXPECT_EQ(source_of(folder(), sha), checkout->source);
    EXPECT_EQ(source_of(folder(), std::string(40, 'a')), "") << "of another commit";
    return checkout->source;
  };
  const auto first = source_after("1");
  EXPECT_NE(first, "");
  EXPECT_NE(source_after("2"), first);
  EXPECT_EQ(source_after("1"), first);
  const auto newest = origin.commit("refs/heads/main", {{"file", "3"}});
  ASSERT_TRUE(check_out(request(origin.path(), newest), {}));
  fs::remove(folder().parent_path() / "checkout.done");
  EXPECT_EQ(source_of(folder(), newest), "") << "what is not finished has none";
}

TEST_F(CheckoutTest, a_checkout_without_its_marker_is_done_anew) {
  Origin origin(scratch_.path() / "origin.git");
  const std::string sha = origin.commit("refs/heads/main", {{"file", "x"}});
  ASSERT_TRUE(check_out(request(origin.url(), sha), {}));
  // As a crash at any moment of an earlier call leaves it.
  fs::remove(folder().string() + ".done");
  write(folder() / "stray", "half a file");
  write(folder().string() + ".part/x", "x");
  write(folder().string() + ".git/HEAD", "x");
  ASSERT_TRUE(check_out(request(origin.url(), sha), {}));
  EXPECT_FALSE(fs::exists(folder() / "stray"));
  EXPECT_THAT(left_beside(), UnorderedElementsAre("checkout", "checkout.done"));
}

TEST_F(CheckoutTest, a_marker_of_another_boot_or_another_commit_does_not_count) {
  Origin origin(scratch_.path() / "origin.git");
  const std::string first = origin.commit("refs/heads/main", {{"file", "first"}});
  const std::string second = origin.commit("refs/heads/next", {{"file", "second"}});
  ASSERT_TRUE(check_out(request(origin.url(), first), {}));
  ASSERT_TRUE(check_out(request(origin.url(), second), {}));
  EXPECT_EQ(read(folder() / "file"), "second");
  std::string marker = read(folder().string() + ".done");
  const auto boot = marker.find("\"boot\": \"") + 9;
  marker[boot] = marker[boot] == '0' ? '1' : '0';
  write(folder().string() + ".done", marker);
  write(folder() / "file", "cut short");
  ASSERT_TRUE(check_out(request(origin.url(), second), {}));
  EXPECT_EQ(read(folder() / "file"), "second");
}

TEST_F(CheckoutTest, files_in_git_lfs_are_counted_and_named) {
  Origin origin(scratch_.path() / "origin.git");
  const std::string pointer =
      "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1048576\n";
  const std::string sha = origin.commit(
      "refs/heads/main", {{"file", "x"},
                          {"big.bin", pointer},
                          {"about.txt", pointer + std::string(2000, 'x')},  // Only starts like one.
                          {"img/a.png", pointer}});
  const auto checkout = check_out(request(origin.url(), sha), {});
  ASSERT_TRUE(checkout) << to_string(checkout.error());
  EXPECT_THAT(checkout->notices,
              ElementsAre(HasSubstr("2 files are in Git LFS and came as pointers, without content: "
                                    "big.bin, img/a.png;")));
}

TEST_F(CheckoutTest, a_tree_over_the_limit_is_too_large_and_leaves_nothing) {
  Origin origin(scratch_.path() / "origin.git");
  const std::string sha = origin.commit(
      "refs/heads/main", {{"a", std::string(600'000, 'a')}, {"b", std::string(600'000, 'b')}});
  auto limited = request(origin.url(), sha);
  limited.limit_bytes = 1'000'000;  // Of which the packed data takes next to nothing.
  const auto checkout = check_out(limited, {});
  ASSERT_FALSE(checkout);
  EXPECT_EQ(checkout.error().code, ErrorCode::too_large) << to_string(checkout.error());
  EXPECT_THAT(left_beside(), IsEmpty());
}

TEST_F(CheckoutTest, a_tree_that_names_itself_again_and_again_is_stopped) {
  Origin origin(scratch_.path() / "origin.git");
  // Ten folders of ten folders of ten… files: a "git bomb" of 10^8 files in nine objects.
  git_oid id;
  ASSERT_EQ(git_blob_create_from_buffer(&id, origin.get(), "", 0), 0);
  git_filemode_t mode = GIT_FILEMODE_BLOB;
  for (int level = 0; level < 8; ++level) {
    git_treebuilder* builder = nullptr;
    ASSERT_EQ(git_treebuilder_new(&builder, origin.get(), nullptr), 0);
    for (char name = '0'; name <= '9'; ++name) {
      ASSERT_EQ(git_treebuilder_insert(nullptr, builder, std::string(1, name).c_str(), &id, mode),
                0);
    }
    ASSERT_EQ(git_treebuilder_write(&id, builder), 0);
    git_treebuilder_free(builder);
    mode = GIT_FILEMODE_TREE;
  }
  const std::string sha = origin.commit_tree("refs/heads/main", id, "bomb");
  const auto started = std::chrono::steady_clock::now();
  const auto checkout = check_out(request(origin.url(), sha), {});
  ASSERT_FALSE(checkout);
  EXPECT_EQ(checkout.error().code, ErrorCode::too_large) << to_string(checkout.error());
  EXPECT_THAT(checkout.error().message, HasSubstr("more than 500000 files"));
  EXPECT_THAT(left_beside(), IsEmpty());
  // Nine objects are looked at, not a hundred million files.
  EXPECT_LT(std::chrono::steady_clock::now() - started, std::chrono::seconds(5));
}

TEST_F(CheckoutTest,
       a_tree_that_is_too_deep_or_has_too_long_a_path_is_refused_before_it_is_written) {
  Origin origin(scratch_.path() / "origin.git");
  std::string deep;
  for (int i = 0; i < 200; ++i) deep += "d/";
  std::string longer;
  for (int i = 0; i < 20; ++i) longer += std::string(200, 'n') + "/";
  const std::pair<std::string, std::string> cases[] = {
      {deep + "file", "folders more than 128 deep"},
      {longer + "file", "a path of more than 3000 bytes"},
      {std::string(300, 'n'), "name is longer than 255 bytes"}};
  for (const auto& [path, said] : cases) {
    const std::string sha = origin.commit("refs/heads/main", {{path, "x"}});
    const auto checkout = check_out(request(origin.url(), sha), {});
    ASSERT_FALSE(checkout) << said;
    EXPECT_EQ(checkout.error().code, ErrorCode::too_large) << to_string(checkout.error());
    EXPECT_THAT(checkout.error().message, HasSubstr(said));
    EXPECT_THAT(left_beside(), IsEmpty());
  }
}

// One object of a few bytes packed, a gigabyte of zeros on the disk, as often as it is named.
TEST_F(CheckoutTest, files_that_are_one_object_count_as_often_as_they_are_named) {
  Origin origin(scratch_.path() / "origin.git");
  std::vector<Entry> entries;
  for (int i = 0; i < 100; ++i) {
    entries.push_back({"copy" + std::to_string(i), std::string(100'000, '0')});
  }
  const std::string sha = origin.commit("refs/heads/main", entries);
  auto limited = request(origin.url(), sha);
  limited.limit_bytes = 5'000'000;
  const auto checkout = check_out(limited, {});
  ASSERT_FALSE(checkout);
  EXPECT_EQ(checkout.error().code, ErrorCode::too_large) << to_string(checkout.error());
  EXPECT_THAT(checkout.error().message, HasSubstr("larger than the limit of 4 MiB"));
}

TEST_F(CheckoutTest, a_stop_before_the_start_is_a_cancellation) {
  Origin origin(scratch_.path() / "origin.git");
  const std::string sha = origin.commit("refs/heads/main", {{"file", "x"}});
  std::stop_source stop;
  stop.request_stop();
  const auto checkout = check_out(request(origin.url(), sha), stop.get_token());
  ASSERT_FALSE(checkout);
  EXPECT_EQ(checkout.error().code, ErrorCode::cancelled);
}

TEST_F(CheckoutTest, a_hook_of_the_origin_does_not_run) {
  Origin origin(scratch_.path() / "origin.git");
  const std::string sha =
      origin.commit("refs/heads/main", {{".gitattributes", "* filter=evil\n"}, {"file", "x"}});
  const fs::path mark = scratch_.path() / "ran";
  for (const char* name : {"post-checkout", "pre-upload-pack", "post-update"}) {
    write(fs::path(origin.path()) / "hooks" / name, "#!/bin/sh\ntouch " + mark.string() + "\n");
    fs::permissions(fs::path(origin.path()) / "hooks" / name, fs::perms(0755));
  }
  write(fs::path(origin.path()) / "config", read(fs::path(origin.path()) / "config") +
                                                "[filter \"evil\"]\n\tsmudge = touch " +
                                                mark.string() + "\n");
  ASSERT_TRUE(check_out(request(origin.url(), sha), {}));
  EXPECT_EQ(read(folder() / "file"), "x");
  EXPECT_FALSE(fs::exists(mark));
}

TEST_F(CheckoutTest, a_link_out_of_the_folder_is_checked_out_and_never_read) {
  Origin origin(scratch_.path() / "origin.git");
  write(scratch_.path() / "secret", "secret");
  const std::string sha = origin.commit(
      "refs/heads/main", {{"Dockerfile", (scratch_.path() / "secret").string(), GIT_FILEMODE_LINK},
                          {"up", "../../secret", GIT_FILEMODE_LINK},
                          {"inside", "real", GIT_FILEMODE_LINK},
                          {"real", "real content"}});
  ASSERT_TRUE(check_out(request(origin.url(), sha), {}));
  EXPECT_TRUE(fs::is_symlink(folder() / "Dockerfile"));
  for (const char* name : {"Dockerfile", "up", "absent"}) {
    const auto content = read_source_file(folder(), name, 100);
    ASSERT_TRUE(content) << name;
    EXPECT_FALSE(content->has_value()) << name;
  }
  EXPECT_EQ(read_source_file(folder(), "inside", 100).value(), "real content");
  EXPECT_EQ(read_source_file(folder(), "real", 3).error().code, ErrorCode::too_large);
}

// ---- over HTTP
// -----------------------------------------------------------------------------------

class HttpCheckoutTest : public CheckoutTest {
 protected:
  // A repository that git itself serves, with a commit on main.
  std::string serve(std::optional<std::string> authorization) {
    Origin origin(scratch_.path() / "www" / "repo.git");
    const std::string sha = origin.commit("refs/heads/main", {{"file", "by http"}});
    unreachable_ = origin.commit("refs/heads/gone", {{"file", "by sha"}});
    git_reference_remove(origin.get(), "refs/heads/gone");
    write(fs::path(origin.path()) / "config",
          read(fs::path(origin.path()) / "config") +
              "[uploadpack]\n\tallowAnySHA1InWant = true\n[safe]\n\tdirectory = *\n");
    server_ = std::make_unique<GitServer>(scratch_.path() / "www", std::move(authorization));
    return sha;
  }
  std::string url() const {
    return "http://127.0.0.1:" + std::to_string(server_->port()) + "/repo.git";
  }

  std::unique_ptr<GitServer> server_;
  std::string unreachable_;
};

TEST_F(HttpCheckoutTest, a_public_repository_is_fetched_and_no_credential_asked_for) {
  const std::string sha = serve(std::nullopt);
  auto asking = request(url(), sha);
  int asked = 0;
  asking.credential = [&asked](const Credential*) -> Result<std::optional<Credential>> {
    ++asked;
    return std::optional<Credential>();
  };
  const auto checkout = check_out(asking, {});
  ASSERT_TRUE(checkout) << to_string(checkout.error());
  EXPECT_EQ(read(folder() / "file"), "by http");
  EXPECT_EQ(asked, 0);
}

TEST_F(HttpCheckoutTest, a_commit_that_no_branch_has_is_asked_for_by_name) {
  serve(std::nullopt);
  const auto checkout = check_out(request(url(), unreachable_), {});
  ASSERT_TRUE(checkout) << to_string(checkout.error());
  EXPECT_EQ(read(folder() / "file"), "by sha");
}

TEST_F(HttpCheckoutTest, a_commit_that_the_server_lacks_is_not_found) {
  serve(std::nullopt);
  const auto checkout = check_out(request(url(), std::string(40, 'a')), {});
  ASSERT_FALSE(checkout);
  EXPECT_EQ(checkout.error().code, ErrorCode::not_found) << to_string(checkout.error());
  EXPECT_THAT(checkout.error().message, HasSubstr("was it force-pushed away?"));
}

TEST_F(HttpCheckoutTest, a_private_repository_is_fetched_with_the_credential) {
  const std::string sha = serve("Basic bWU6czNjcmV0");  // me:s3cret
  auto asking = request(url(), sha);
  asking.credential = [](const Credential*) { return Credential{"me", Secret("s3cret")}; };
  const auto checkout = check_out(asking, {});
  ASSERT_TRUE(checkout) << to_string(checkout.error());
  EXPECT_EQ(read(folder() / "file"), "by http");
}

TEST_F(HttpCheckoutTest, a_wrong_credential_is_a_user_error_that_does_not_tell_it) {
  const std::string sha = serve("Basic bWU6czNjcmV0");
  auto asking = request(url(), sha);
  int asked = 0;
  asking.credential = [&asked](const Credential* refused) {
    EXPECT_EQ(refused != nullptr, asked > 0);
    ++asked;
    return Credential{"me", Secret("wr0ng")};
  };
  const auto checkout = check_out(asking, {});
  ASSERT_FALSE(checkout);
  EXPECT_EQ(checkout.error().code, ErrorCode::user_error) << to_string(checkout.error());
  EXPECT_THAT(to_string(checkout.error()), Not(HasSubstr("wr0ng")));
  EXPECT_EQ(asked, 2);
}

TEST_F(HttpCheckoutTest, a_private_repository_without_a_credential_is_a_user_error) {
  const std::string sha = serve("Basic bWU6czNjcmV0");
  const auto checkout = check_out(request(url(), sha), {});
  ASSERT_FALSE(checkout);
  EXPECT_EQ(checkout.error().code, ErrorCode::user_error) << to_string(checkout.error());
}

TEST_F(HttpCheckoutTest, a_path_that_the_server_lacks_is_not_found) {
  const std::string sha = serve(std::nullopt);
  const auto checkout = check_out(request(url() + "x", sha), {});
  ASSERT_FALSE(checkout);
  EXPECT_EQ(checkout.error().code, ErrorCode::not_found) << to_string(checkout.error());
}

TEST_F(HttpCheckoutTest, a_server_that_does_not_answer_is_unavailable) {
  const std::string sha = serve(std::nullopt);
  const std::string gone = url();
  server_.reset();
  const auto checkout = check_out(request(gone, sha), {});
  ASSERT_FALSE(checkout);
  EXPECT_EQ(checkout.error().code, ErrorCode::unavailable) << to_string(checkout.error());
}

TEST_F(HttpCheckoutTest, a_pack_over_the_limit_is_not_received) {
  const std::string sha = serve(std::nullopt);
  auto limited = request(url(), sha);
  limited.limit_bytes = 10;
  const auto checkout = check_out(limited, {});
  ASSERT_FALSE(checkout);
  EXPECT_EQ(checkout.error().code, ErrorCode::too_large) << to_string(checkout.error());
}

}  // namespace
}  // namespace atlasflow::builder
