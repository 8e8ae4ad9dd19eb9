#include "vmm/guest/user.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace atlasflow::vmm::guest {
namespace {

using testing::ElementsAre;

constexpr const char* k_passwd =
    "root:x:0:0:root:/root:/bin/sh\n"
    "# a comment\n"
    "broken:x:one:2\n"
    "app:x:1000:1001:an app:/home/app:/bin/sh\n"
    "77:x:2000:2001::/home/seventy:/bin/sh\n"
    "last:x:1003:1003::";
constexpr const char* k_group =
    "root:x:0:\n"
    "app:x:1001:\n"
    "video:x:44:other,app\n"
    "apps:x:45:apple\n"
    "audio:x:46:app\n";

struct Case {
  const char* spec;
  unsigned uid;
  unsigned gid;
  const char* home;
  std::vector<unsigned> groups;
};

TEST(User, is_resolved_as_container_runtimes_do) {
  const std::vector<Case> cases = {
      {"", 0, 0, "/root", {0}},
      {"root", 0, 0, "/root", {0}},
      {"app", 1000, 1001, "/home/app", {1001, 44, 46}},
      {"1000", 1000, 1001, "/home/app", {1001, 44, 46}},
      {"app:video", 1000, 44, "/home/app", {44}},
      {"app:9", 1000, 9, "/home/app", {9}},
      {"4321", 4321, 0, "/", {0}},
      {"4321:8765", 4321, 8765, "/", {8765}},
      {"77", 2000, 2001, "/home/seventy", {2001}},  // a name first, then a number
      {"last", 1003, 1003, "/", {1003}},
  };
  for (const Case& one : cases) {
    const UserLookup lookup = resolve_user(one.spec, k_passwd, k_group);
    EXPECT_EQ(lookup.error, "") << one.spec;
    EXPECT_EQ(lookup.identity.uid, one.uid) << one.spec;
    EXPECT_EQ(lookup.identity.gid, one.gid) << one.spec;
    EXPECT_EQ(lookup.identity.home, one.home) << one.spec;
    EXPECT_EQ(lookup.identity.groups, one.groups) << one.spec;
  }
}

TEST(User, that_the_image_lacks_is_named_in_the_error) {
  EXPECT_EQ(
      resolve_user("nosuch", k_passwd, k_group).error,
      "user 'nosuch' does not exist in the image; add it to the image's /etc/passwd or change "
      "USER");
  EXPECT_THAT(resolve_user("app:nosuch", k_passwd, k_group).error,
              testing::HasSubstr("group 'nosuch'"));
  EXPECT_NE(resolve_user("broken", k_passwd, k_group).error, "");
  EXPECT_NE(resolve_user("-1", k_passwd, k_group).error, "");
  EXPECT_NE(resolve_user("4294967295", k_passwd, k_group).error, "") << "means 'leave it' to Linux";
  EXPECT_NE(resolve_user("99999999999", k_passwd, k_group).error, "");
}

TEST(User, by_number_works_in_an_image_without_accounts) {
  const UserLookup lookup = resolve_user("1000:1000", "", "");
  EXPECT_EQ(lookup.error, "");
  EXPECT_EQ(lookup.identity.uid, 1000U);
  EXPECT_EQ(lookup.identity.home, "/");
  EXPECT_EQ(resolve_user("", "", "").identity.home, "/") << "as Docker does, for root too";
}

}  // namespace
}  // namespace atlasflow::vmm::guest
