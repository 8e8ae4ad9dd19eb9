// A start of another build: proven against what the one before wrote down, refused where it makes
// another state of the log, or accepted by a person, which the log then says.
#include "server/upgrade.hpp"

#include <filesystem>
#include <functional>

#include <gmock/gmock.h>

#include "actors/runtime/shadow_replay.hpp"
#include "base/file.hpp"
#include "events/settings.hpp"
#include "server/process_setup.hpp"
#include "server/server.hpp"
#include "storage/log/memory_event_log.hpp"
#include "storage/log/rocksdb_event_log.hpp"
#include "tests/storage/log_fixture.hpp"

namespace atlasflow::server {
namespace {

using testing::HasSubstr;
using testing::Not;
namespace fs = std::filesystem;

constexpr const char* k_domain = "example.test";

class Upgrade : public testing::Test {
 protected:
  Upgrade() : Upgrade([](const fs::path&) { return storage::open_memory_event_log(); }) {}
  explicit Upgrade(
      const std::function<std::unique_ptr<storage::EventLog>(const fs::path& folder)>& open)
      : log_(open(directory_.path())) {
    EXPECT_TRUE(log_->begin_epoch());
    storage::AppendRequest request;
    request.stream = project_stream(ProjectId("pabc2345"));
    request.actor = Principal::user();
    auto& created = *request.events.emplace_back().mutable_project_created();
    created.set_name("web");
    *created.mutable_settings() = default_settings();
    created.mutable_settings()->set_notify_url("https://hooks.example.test/T0KEN");
    storage::append_one(*log_, request);
    storage::fill(*log_, "deployment/dabc2345", 0, 20);
    EXPECT_TRUE(actors::take_snapshot(*log_, older(), {}));
  }
  [[nodiscard]] storage::SnapshotStore store_of(const std::string& build) const {
    return {directory_.path() / "snapshots", {build, k_domain}};
  }
  [[nodiscard]] storage::SnapshotStore older() const { return store_of("older"); }
  [[nodiscard]] storage::SnapshotStore newer() const { return store_of("newer"); }
  // As if the older build had made something else of the project's settings.
  void change_what_is_written_down() const {
    const auto position = log_->last_position();
    auto snapshot = older().read(position, *log_);
    ASSERT_TRUE(snapshot);
    const auto at = snapshot->state.find("hooks.example.test/T0KEN");
    ASSERT_NE(at, std::string::npos);
    snapshot->state.replace(at, 5, "hocks");
    ASSERT_TRUE(older().write(*snapshot));
    auto digests = storage::digests_of(snapshot->shape, snapshot->state);
    ASSERT_TRUE(digests);
    ASSERT_TRUE(
        older().digests().write({older().maker(), position, snapshot->chain, *std::move(digests)}));
  }

  storage::TemporaryDirectory directory_;
  std::unique_ptr<storage::EventLog> log_;
};

// A whole state folder, and a server that is started over it as far as its secrets, which do not
// open: what it did before that is on record, and nothing of the machine was touched.
class UpgradedServer : public Upgrade {
 protected:
  UpgradedServer()
      : Upgrade([](const fs::path& folder) {
          return storage::open_event_log({folder / "events", "older"}).value_or(nullptr);
        }) {
    EXPECT_TRUE(replace_file(directory_.path() / "secret.key", "short", 0600));
    change_what_is_written_down();
    log_.reset();
  }
  // The error's sentence.
  [[nodiscard]] std::string start(bool accept_new_fold) const {
    ServerConfig config;
    config.domain = k_domain;
    config.accept_new_fold = accept_new_fold;
    config.keep.reserve_mib = 1;
    const auto state = StateDir::open(directory_.path());
    if (!state) return to_string(state.error());
    const auto server = Server::start(config, *state);
    return server ? "it started" : to_string(server.error());
  }
  [[nodiscard]] bool is_acceptance_recorded() const {
    bool found = false;
    const auto log = storage::open_event_log_for_reading(directory_.path() / "events");
    if (!log) return false;
    EXPECT_TRUE((*log)->read_all(Position{1}, [&](const storage::Record& record) {
      if (record.event.has_new_fold_accepted()) found = true;
      return true;
    }));
    return found;
  }
};

TEST_F(Upgrade, that_makes_the_same_of_the_log_is_proven_once) {
  const auto end = log_->last_position();
  ASSERT_TRUE(prove_fold(*log_, newer(), false));
  EXPECT_EQ(log_->last_position(), end) << "nothing was recorded";
  EXPECT_FALSE(actors::ShadowReplay::is_due(newer()));
  EXPECT_TRUE(newer().read(end, *log_)) << "what the start goes on from";
}

TEST_F(Upgrade, that_makes_another_state_is_refused_and_changes_nothing) {
  change_what_is_written_down();
  const auto end = log_->last_position();
  for (int start = 0; start < 2; ++start) {
    const auto proven = prove_fold(*log_, newer(), false);
    ASSERT_FALSE(proven);
    EXPECT_EQ(proven.error().code, ErrorCode::conflict);
    EXPECT_THAT(proven.error().message, HasSubstr("build older"));
    EXPECT_THAT(proven.error().message, HasSubstr("at position " + std::to_string(end.value())));
    EXPECT_THAT(proven.error().message, HasSubstr("[pabc2345].state.settings.notify_url"));
    EXPECT_THAT(proven.error().message, HasSubstr("--accept-new-fold"));
    EXPECT_THAT(proven.error().message, Not(HasSubstr("T0KEN"))) << "a URL may open something";
    EXPECT_EQ(log_->last_position(), end);
  }
  EXPECT_TRUE(older().read(end, *log_)) << "the older build can start as if nothing had been";
  EXPECT_TRUE(prove_fold(*log_, older(), false));
}

TEST_F(Upgrade, whose_difference_was_accepted_is_recorded_and_not_asked_about_again) {
  change_what_is_written_down();
  const auto differs_at = log_->last_position();
  ASSERT_TRUE(prove_fold(*log_, newer(), true));
  const auto record = log_->read_at(log_->last_position());
  ASSERT_TRUE(record && *record);
  EXPECT_EQ((*record)->stream, node_stream());
  EXPECT_EQ((*record)->actor, "user");
  ASSERT_TRUE((*record)->event.has_new_fold_accepted());
  const auto& accepted = (*record)->event.new_fold_accepted();
  EXPECT_EQ(accepted.position(), differs_at.value());
  EXPECT_THAT(accepted.field(), HasSubstr("notify_url"));
  EXPECT_EQ(accepted.earlier_build(), "older");
  EXPECT_EQ(accepted.build_id(), "newer");
  EXPECT_FALSE(accepted.by().empty());
  const auto end = log_->last_position();
  EXPECT_TRUE(prove_fold(*log_, newer(), false));
  EXPECT_EQ(log_->last_position(), end) << "accepted once, recorded once";
}

// A disk that is too full for the new digests, or a kill before they are there: the server has to
// come up again without anybody who could repeat the flag.
TEST_F(Upgrade, whose_acceptance_is_in_the_log_is_not_asked_about_though_nothing_was_written_down) {
  change_what_is_written_down();
  const auto before = directory_.path() / "before";
  std::filesystem::copy(directory_.path() / "snapshots", before);
  ASSERT_TRUE(prove_fold(*log_, newer(), true));
  const auto end = log_->last_position();
  std::filesystem::remove_all(directory_.path() / "snapshots");
  std::filesystem::rename(before, directory_.path() / "snapshots");
  EXPECT_TRUE(prove_fold(*log_, newer(), false));
  EXPECT_EQ(log_->last_position(), end) << "recorded once";
}

TEST_F(UpgradedServer, is_refused_without_the_flag_and_goes_on_with_it) {
  ASSERT_NE(own_build_id(), k_unknown_build);
  EXPECT_THAT(start(false), HasSubstr("--accept-new-fold"));
  EXPECT_FALSE(is_acceptance_recorded());
  const auto beyond = start(true);
  EXPECT_THAT(beyond, Not(HasSubstr("--accept-new-fold")));
  EXPECT_THAT(beyond, HasSubstr("secret.key"));
  EXPECT_TRUE(is_acceptance_recorded());
  EXPECT_THAT(start(false), HasSubstr("secret.key")) << "it is asked for once";
}

TEST_F(Upgrade, with_nothing_that_could_be_compared_starts) {
  std::filesystem::remove_all(directory_.path() / "snapshots");
  EXPECT_TRUE(prove_fold(*log_, newer(), false));
}

// A flag that is left in a service's file does not hide the next difference, nor records one that
// is none.
TEST_F(Upgrade, that_makes_the_same_records_no_acceptance) {
  const auto end = log_->last_position();
  EXPECT_TRUE(prove_fold(*log_, newer(), true));
  EXPECT_EQ(log_->last_position(), end);
}

}  // namespace
}  // namespace atlasflow::server
