// Deliveries beside pushes, in the forms that GitHub documents, and broken in every member.
#include "github/delivery.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace atlasflow::github {
namespace {

using testing::HasSubstr;
using Json = nlohmann::json;

const Json k_installation = {{"id", 42}, {"account", {{"login", "octo"}}}};

Json repository(const char* full_name) {
  return {{"id", 7},
          {"full_name", full_name},
          {"clone_url", "https://github.com/" + std::string(full_name) + ".git"}};
}

template <typename T>
T read(std::string_view event, const Json& payload) {
  const auto delivery = read_delivery(event, payload);
  EXPECT_TRUE(delivery) << to_string(delivery.error());
  const auto* found = delivery ? std::get_if<T>(&*delivery) : nullptr;
  EXPECT_NE(found, nullptr) << payload;
  return found == nullptr ? T{} : *found;
}

TEST(Delivery, tells_where_the_app_came_to_and_went_from) {
  using Kind = InstallationChanged::Kind;
  const std::pair<const char*, Kind> k_actions[] = {
      {"created", Kind::created},
      {"deleted", Kind::removed},
      {"suspend", Kind::suspended},
      {"unsuspend", Kind::resumed},
      {"new_permissions_accepted", Kind::permitted},
  };
  for (const auto& [action, kind] : k_actions) {
    const auto changed = read<InstallationChanged>(
        "installation", {{"action", action}, {"installation", k_installation}});
    EXPECT_EQ(changed.kind, kind);
    EXPECT_EQ(changed.installation, 42);
    EXPECT_EQ(changed.account, "octo");
  }
}

TEST(Delivery, tells_the_repositories_of_an_installation) {
  const auto changed = read<InstallationRepositories>(
      "installation_repositories",
      {{"action", "added"},
       {"installation", k_installation},
       {"repositories_added", {repository("octo/web"), repository("octo/api")}},
       {"repositories_removed", Json::array()}});
  ASSERT_EQ(changed.added.size(), 2U);
  EXPECT_EQ(changed.added[1].str(), "octo/api");
  EXPECT_TRUE(changed.removed.empty());
}

TEST(Delivery, tells_the_former_and_the_new_name_of_a_repository) {
  const auto renamed = read<RepositoryMoved>(
      "repository", {{"action", "renamed"},
                     {"repository", repository("octo/shop")},
                     {"changes", {{"repository", {{"name", {{"from", "web"}}}}}}}});
  EXPECT_EQ(renamed.id, 7);
  EXPECT_EQ(renamed.from.str(), "octo/web");
  EXPECT_EQ(renamed.to.str(), "octo/shop");
  for (const char* kind : {"user", "organization"}) {
    const auto transferred = read<RepositoryMoved>(
        "repository", {{"action", "transferred"},
                       {"repository", repository("octo/web")},
                       {"changes", {{"owner", {{"from", {{kind, {{"login", "mona"}}}}}}}}}});
    EXPECT_EQ(transferred.from.str(), "mona/web");
  }
  EXPECT_EQ(read<RepositoryDeleted>("repository",
                                    {{"action", "deleted"}, {"repository", repository("octo/web")}})
                .id,
            7);
}

TEST(Delivery, what_nothing_follows_from_is_ignored_with_the_reason) {
  EXPECT_THAT(read<Ignored>("star", Json::object()).reason, HasSubstr("'star' is not handled"));
  EXPECT_THAT(read<Ignored>("repository", {{"action", "publicized"}}).reason,
              HasSubstr("'publicized'"));
  EXPECT_THAT(read<Ignored>("installation", {{"action", "renamed"}}).reason,
              HasSubstr("'renamed'"));
  EXPECT_LT(read<Ignored>("repository", {{"action", std::string(4000, 'x')}}).reason.size(), 200U);
}

// Each member in turn is taken away, or is something else: an error that names it, or the same as
// before where it does not count; never a crash.
void break_members(const std::string& event, Json& whole, Json& part) {
  for (auto each = part.begin(); each != part.end(); ++each) {
    const auto kept = *each;
    for (const Json& wrong : {Json(), Json(true), Json(-1), Json(1.5), Json("a\nb"), Json("../.."),
                              Json(std::string(5000, 'x')), Json::array(), Json::object(),
                              Json::array({1}), Json(18446744073709551615U)}) {
      *each = wrong;
      if (const auto delivery = read_delivery(event, whole); !delivery) {
        EXPECT_EQ(delivery.error().code, ErrorCode::invalid_argument);
        EXPECT_THAT(delivery.error().message, HasSubstr("'"));
      }
    }
    *each = kept;
    if (each->is_structured()) break_members(event, whole, *each);
  }
}

TEST(Delivery, broken_in_any_member_is_an_error_that_names_it) {
  Json moved = {{"action", "renamed"},
                {"repository", repository("octo/shop")},
                {"changes", {{"repository", {{"name", {{"from", "web"}}}}}}}};
  break_members("repository", moved, moved);
  Json installed = {{"action", "added"},
                    {"installation", k_installation},
                    {"repositories_added", Json::array({repository("octo/web")})},
                    {"repositories_removed", Json::array()}};
  break_members("installation_repositories", installed, installed);
  Json came = {{"action", "created"}, {"installation", k_installation}};
  break_members("installation", came, came);
  EXPECT_FALSE(read_delivery("installation", Json::array()));
  EXPECT_FALSE(read_delivery("repository", Json()));
}

}  // namespace
}  // namespace atlasflow::github
