// Which sealed values are still needed, as the read model knows it from the log's events. Those of
// variables and build secrets are tested with their deployments (retention_test.cpp).
#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <string>

#include <gmock/gmock.h>

#include "storage/readmodel/retention.hpp"

namespace atlasflow::storage {
namespace {

using testing::IsEmpty;
using testing::UnorderedElementsAre;

class SealedValuesOf : public testing::Test {
 protected:
  void record(const StreamId& stream, const pb::Event& event) {
    Record written;
    written.position = Position{++count_};
    written.stream = stream;
    written.stream_version = StreamVersion{++versions_[stream]};
    written.event = event;
    catalog_.apply(written);
  }
  [[nodiscard]] std::set<std::string> needed() const {
    auto refs = sealed_values_of(catalog_, 5)->needed;
    refs.erase("");
    return refs;
  }
  [[nodiscard]] std::set<std::string> named() const {
    auto refs = sealed_values_of(catalog_, 5)->named;
    refs.erase("");
    return refs;
  }

 private:
  Catalog catalog_;
  std::uint64_t count_ = 0;
  std::map<StreamId, std::uint64_t> versions_;
};

TEST_F(SealedValuesOf, an_app_stay_while_it_is_connected_and_go_with_it) {
  const auto connect = [&](const std::string& key, const std::string& secret) {
    pb::Event event;
    event.mutable_github_app_connected()->set_app_id(1);
    event.mutable_github_app_connected()->set_private_key_ref(key);
    event.mutable_github_app_connected()->set_webhook_secret_ref(secret);
    record(github_stream(), event);
  };
  EXPECT_THAT(needed(), IsEmpty());
  connect("key-1", "secret-1");
  EXPECT_THAT(needed(), UnorderedElementsAre("key-1", "secret-1"));
  connect("key-2", "secret-2");
  EXPECT_THAT(needed(), UnorderedElementsAre("key-2", "secret-2"));
  pb::Event disconnected;
  disconnected.mutable_github_app_disconnected();
  record(github_stream(), disconnected);
  EXPECT_THAT(needed(), IsEmpty());
  EXPECT_THAT(named(), UnorderedElementsAre("key-1", "secret-1", "key-2", "secret-2"));
}

// What is not named is never removed, and what is needed must never be.
TEST_F(SealedValuesOf, a_projects_access_stay_until_others_take_their_place) {
  const auto project = project_stream(ProjectId{"web00000"});
  const auto tell = [&](const std::function<void(pb::Event&)>& what) {
    pb::Event event;
    what(event);
    record(project, event);
  };
  const auto key = [&](const std::string& ref) {
    tell([&](pb::Event& event) { event.mutable_deploy_key_set()->set_sealed_ref(ref); });
  };
  const auto login = [&](const std::string& ref) {
    tell([&](pb::Event& event) { event.mutable_repository_login_set()->set_sealed_ref(ref); });
  };
  const auto secret = [&](const std::string& ref) {
    tell([&](pb::Event& event) { event.mutable_webhook_secret_set()->set_sealed_ref(ref); });
  };
  tell([](pb::Event& event) { event.mutable_project_created()->set_name("web"); });
  EXPECT_THAT(needed(), IsEmpty());
  key("key-1");
  EXPECT_THAT(needed(), UnorderedElementsAre("key-1"));
  key("key-2");
  login("login-1");
  secret("secret-1");
  EXPECT_THAT(needed(), UnorderedElementsAre("key-2", "login-1", "secret-1"));
  EXPECT_THAT(named(), UnorderedElementsAre("key-1", "key-2", "login-1", "secret-1"));
  login("login-2");
  secret("secret-2");
  EXPECT_THAT(needed(), UnorderedElementsAre("key-2", "login-2", "secret-2"));
  tell([](pb::Event& event) { event.mutable_deploy_key_removed(); });
  EXPECT_THAT(needed(), UnorderedElementsAre("login-2", "secret-2"));
  tell([](pb::Event& event) { event.mutable_repository_login_removed(); });
  EXPECT_THAT(needed(), UnorderedElementsAre("secret-2"));
  login("login-3");
  tell([](pb::Event& event) { event.mutable_project_deleted(); });
  EXPECT_THAT(needed(), IsEmpty());
  EXPECT_THAT(named(), UnorderedElementsAre("key-1", "key-2", "login-1", "login-2", "login-3",
                                            "secret-1", "secret-2"));
}

}  // namespace
}  // namespace atlasflow::storage
