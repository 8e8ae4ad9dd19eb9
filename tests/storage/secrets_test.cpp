#include "storage/secrets/secrets.hpp"

#include <fstream>
#include <iterator>
#include <set>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "tests/storage/log_fixture.hpp"

namespace atlasflow::storage {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

class Secrets : public testing::Test {
 protected:
  Result<std::unique_ptr<SecretStore>> try_open() { return open_secret_store(folder_, key_file_); }
  std::unique_ptr<SecretStore> open() {
    auto store = try_open();
    EXPECT_TRUE(store) << to_string(store.error());
    return store ? std::move(*store) : nullptr;
  }
  std::string read(const fs::path& path) const {
    std::ifstream stream(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(stream), {}};
  }
  void write(const fs::path& path, const std::string& bytes) const {
    std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
  }
  static unsigned mode_of(const fs::path& path) {
    struct stat status {};
    EXPECT_EQ(::stat(path.c_str(), &status), 0);
    return status.st_mode & 0777U;
  }

  TemporaryDirectory directory_;
  const fs::path folder_ = directory_.path() / "state" / "secrets";
  const fs::path key_file_ = directory_.path() / "state" / "key";
};

TEST_F(Secrets, a_value_comes_back_whatever_its_bytes_also_after_a_restart) {
  std::string all_bytes;
  for (int i = 0; i < 256; ++i) all_bytes.push_back(static_cast<char>(i));
  for (const std::string& value : {std::string(), std::string("s3cret"), all_bytes}) {
    const auto sealed = open()->seal("project/NAME", value);
    ASSERT_TRUE(sealed) << to_string(sealed.error());
    EXPECT_EQ(open()->open("project/NAME", sealed->ref).value(), value);
  }
}

TEST_F(Secrets, the_sealed_file_shows_neither_the_value_nor_its_equality_with_another) {
  const auto store = open();
  const std::string value = "correct horse battery staple";
  const auto first = store->seal("p/A", value).value();
  const auto second = store->seal("p/A", value).value();
  EXPECT_NE(first.ref, second.ref);
  EXPECT_EQ(read(folder_ / first.ref).find("horse"), std::string::npos);
  EXPECT_NE(read(folder_ / first.ref), read(folder_ / second.ref));
}

TEST_F(Secrets, equal_values_have_equal_digests_and_other_keys_give_other_digests) {
  const auto store = open();
  const auto first = store->seal("p/A", "value").value();
  EXPECT_EQ(first.digest, store->seal("p/B", "value").value().digest);
  EXPECT_NE(first.digest, store->seal("p/A", "other").value().digest);
  EXPECT_EQ(first.digest.size(), 12U);
  EXPECT_EQ(first.ref.size(), 32U);
  const auto elsewhere =
      open_secret_store(directory_.path() / "other", directory_.path() / "other-key").value();
  EXPECT_NE(first.digest, elsewhere->seal("p/A", "value").value().digest);
}

TEST_F(Secrets, another_context_does_not_open_it) {
  const auto sealed = open()->seal("project-a/TOKEN", "s3cret").value();
  for (const char* context : {"project-b/TOKEN", "project-a/TOKEN2", "project-a/TOKE", ""}) {
    const auto opened = open()->open(context, sealed.ref);
    ASSERT_FALSE(opened) << context;
    EXPECT_EQ(opened.error().code, ErrorCode::corrupt);
    EXPECT_THAT(to_string(opened.error()), testing::Not(HasSubstr("s3cret")));
  }
}

TEST_F(Secrets, an_older_file_under_a_newer_ref_does_not_open) {
  const auto old_value = open()->seal("p/A", "old").value();
  const auto new_value = open()->seal("p/A", "new").value();
  fs::copy_file(folder_ / old_value.ref, folder_ / new_value.ref,
                fs::copy_options::overwrite_existing);
  EXPECT_EQ(open()->open("p/A", new_value.ref).error().code, ErrorCode::corrupt);
}

TEST_F(Secrets, another_key_does_not_open_it) {
  const auto sealed = open()->seal("p/A", "s3cret").value();
  write(key_file_, std::string(32, 'k'));
  const auto opened = open()->open("p/A", sealed.ref);
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().code, ErrorCode::corrupt);
}

TEST_F(Secrets, no_changed_cut_or_added_byte_opens) {
  const auto store = open();
  const auto sealed = store->seal("p/A", "s3cret").value();
  const std::string whole = read(folder_ / sealed.ref);
  ASSERT_EQ(whole.size(), 1U + 12U + 6U + 16U);
  for (std::size_t i = 0; i < whole.size(); ++i) {
    std::string changed = whole;
    changed[i] = static_cast<char>(changed[i] ^ 1);
    write(folder_ / sealed.ref, changed);
    EXPECT_EQ(store->open("p/A", sealed.ref).error().code, ErrorCode::corrupt) << i;
    write(folder_ / sealed.ref, whole.substr(0, i));
    EXPECT_EQ(store->open("p/A", sealed.ref).error().code, ErrorCode::corrupt) << i;
  }
  write(folder_ / sealed.ref, whole + "x");
  EXPECT_EQ(store->open("p/A", sealed.ref).error().code, ErrorCode::corrupt);
  write(folder_ / sealed.ref, whole);
  EXPECT_EQ(store->open("p/A", sealed.ref).value(), "s3cret");
}

TEST_F(Secrets, files_are_for_the_owner_only) {
  const auto sealed = open()->seal("p/A", "s3cret").value();
  EXPECT_EQ(mode_of(key_file_), 0600U);
  EXPECT_EQ(mode_of(folder_), 0700U);
  EXPECT_EQ(mode_of(folder_ / sealed.ref), 0600U);
}

TEST_F(Secrets, a_key_file_that_others_can_read_is_refused_with_what_to_do) {
  ASSERT_NE(open(), nullptr);
  for (const unsigned mode : {0640U, 0604U, 0620U, 0666U}) {
    ASSERT_EQ(::chmod(key_file_.c_str(), mode), 0);
    const auto store = try_open();
    ASSERT_FALSE(store) << mode;
    EXPECT_EQ(store.error().code, ErrorCode::unauthorized);
    EXPECT_THAT(store.error().message, HasSubstr("chmod 600"));
  }
  ASSERT_EQ(::chmod(key_file_.c_str(), 0400), 0);
  EXPECT_TRUE(try_open());
}

TEST_F(Secrets, a_key_file_of_another_size_is_refused) {
  ASSERT_NE(open(), nullptr);
  for (const std::size_t size : {0U, 31U, 33U}) {
    write(key_file_, std::string(size, 'k'));
    EXPECT_EQ(try_open().error().code, ErrorCode::corrupt) << size;
  }
}

TEST_F(Secrets, a_lost_key_file_is_not_replaced_while_values_depend_on_it) {
  const auto sealed = open()->seal("p/A", "s3cret").value();
  fs::remove(key_file_);
  const auto store = try_open();
  ASSERT_FALSE(store);
  EXPECT_THAT(store.error().message, HasSubstr("restore it from a backup"));
  EXPECT_FALSE(fs::exists(key_file_));
  fs::remove(folder_ / sealed.ref);
  EXPECT_TRUE(try_open());
}

TEST_F(Secrets, a_ref_cannot_lead_out_of_the_folder) {
  const auto store = open();
  write(directory_.path() / "state" / "outside", "x");
  for (const char* ref : {"../outside", "../key", "", ".", "0123", "/etc/passwd"}) {
    EXPECT_EQ(store->open("p/A", ref).error().code, ErrorCode::not_found) << ref;
    EXPECT_TRUE(store->remove({ref})) << ref;
  }
  EXPECT_TRUE(fs::exists(key_file_));
  EXPECT_TRUE(fs::exists(directory_.path() / "state" / "outside"));
}

TEST_F(Secrets, a_removed_value_is_not_found_and_removing_it_twice_is_fine) {
  const auto store = open();
  const auto sealed = store->seal("p/A", "s3cret").value();
  EXPECT_THAT(store->refs().value(), testing::ElementsAre(sealed.ref));
  EXPECT_TRUE(store->remove({sealed.ref}));
  EXPECT_TRUE(store->remove({sealed.ref}));
  EXPECT_THAT(store->refs().value(), testing::IsEmpty());
  EXPECT_EQ(store->open("p/A", sealed.ref).error().code, ErrorCode::not_found);
  EXPECT_TRUE(fs::is_empty(folder_));
}

// As after a crash between the two halves of a write, or beside what an operator put there.
TEST_F(Secrets, what_is_no_sealed_value_is_not_listed) {
  const auto store = open();
  write(folder_ / "0123456789abcdef0123456789abcdef.1.tmp", "x");
  write(folder_ / "README", "x");
  EXPECT_THAT(store->refs().value(), testing::IsEmpty());
}

TEST_F(Secrets, a_removal_that_fails_says_so_and_is_made_up_for_by_the_next) {
  const auto store = open();
  const auto sealed = store->seal("p/A", "s3cret").value();
  const auto other = store->seal("p/B", "s3cret").value();
  // A folder in its place: what cannot be unlinked keeps nothing else from being removed.
  fs::remove(folder_ / sealed.ref);
  fs::create_directory(folder_ / sealed.ref);
  const auto removed = store->remove({sealed.ref, other.ref});
  ASSERT_FALSE(removed);
  EXPECT_THAT(removed.error().message, HasSubstr("cannot be removed"));
  EXPECT_FALSE(fs::exists(folder_ / other.ref));
  fs::remove(folder_ / sealed.ref);
  EXPECT_TRUE(store->remove({sealed.ref}));
  EXPECT_TRUE(fs::is_empty(folder_));
}

TEST_F(Secrets, a_value_of_128_KiB_fits_and_one_byte_more_does_not) {
  const auto store = open();
  const std::string largest(131072, 'x');
  EXPECT_EQ(store->open("p/A", store->seal("p/A", largest).value().ref).value(), largest);
  EXPECT_EQ(store->seal("p/A", largest + "x").error().code, ErrorCode::too_large);
}

TEST_F(Secrets, threads_share_a_store_and_starts_at_once_agree_on_one_key) {
  std::vector<std::thread> threads;
  std::vector<std::string> digests(6);
  for (std::size_t t = 0; t < digests.size(); ++t) {
    threads.emplace_back([&, t] { digests[t] = open()->seal("p/A", "same").value().digest; });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(std::set<std::string>(digests.begin(), digests.end()).size(), 1U);

  const auto store = open();
  threads.clear();
  for (int t = 0; t < 6; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 10; ++i) {
        const std::string value = std::to_string(t) + ":" + std::to_string(i);
        const auto sealed = store->seal("p/" + value, value).value();
        EXPECT_EQ(store->open("p/" + value, sealed.ref).value(), value);
      }
    });
  }
  for (auto& thread : threads) thread.join();
}

}  // namespace
}  // namespace atlasflow::storage
