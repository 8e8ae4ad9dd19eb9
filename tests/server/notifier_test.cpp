// The notifier on real threads, over the real engine, to a real receiver on loopback.
#include "actors/upkeep/notifier.hpp"

#include <gmock/gmock.h>

#include "api/signature.hpp"
#include "events/settings.hpp"
#include "server/engines.hpp"
#include "server/engines_notify.hpp"
#include "storage/log/memory_event_log.hpp"
#include "tests/builder/scratch.hpp"
#include "tests/edge/edge_fixture.hpp"

namespace atlasflow::server {
namespace {

using namespace std::chrono_literals;

constexpr const char* k_secret = "hush hush";

class NotifierOnThreads : public testing::Test {
 protected:
  void SetUp() override { ASSERT_TRUE(log_->begin_epoch()); }

  void append(const StreamId& stream, std::vector<pb::Event> events) {
    storage::AppendRequest request;
    request.stream = stream;
    request.expected_version = log_->version_of(stream).value();
    request.events = std::move(events);
    ASSERT_TRUE(log_->append({request}, clock_.now()));
  }
  // A project with a secret, and a deployment of it that failed.
  void fill(const std::string& url) {
    std::vector<pb::Event> project(2);
    project[0].mutable_project_created()->set_name("web");
    auto* settings = project[0].mutable_project_created()->mutable_settings();
    *settings = default_settings();
    settings->set_notify_url(url);
    project[1].mutable_notify_secret_set()->set_sealed_ref(
        secrets_->seal("notify/pabc2345", k_secret)->ref);
    append(project_stream(ProjectId{"pabc2345"}), project);
    std::vector<pb::Event> deployment(2);
    auto* push = deployment[0].mutable_push_received();
    push->set_project_id("pabc2345");
    push->set_project_name("web");
    push->set_environment("production");
    deployment[1].mutable_deployment_failed()->set_reason("the build failed");
    append(deployment_stream(DeploymentId{"dabc2345"}), deployment);
  }
  [[nodiscard]] std::optional<pb::Event> outcome() const {
    std::optional<pb::Event> found;
    EXPECT_TRUE(log_->read_stream(notifications_stream(ProjectId{"pabc2345"}), StreamVersion{1},
                                  [&](const storage::Record& record) {
                                    found = record.event;
                                    return true;
                                  }));
    return found;
  }

  builder::Scratch scratch_;
  std::unique_ptr<storage::SecretStore> secrets_ =
      std::move(*storage::open_secret_store(scratch_.path() / "secrets", scratch_.path() / "key"));
  SystemClock clock_;
  std::unique_ptr<storage::EventLog> log_ =
      storage::open_memory_event_log(storage::make_memory_store(), "test");
};

// Runs the two actors over the log for as long as it lives.
class Actors {
 public:
  Actors(storage::EventLog& log, SystemClock& clock, actors::NotifyEngine& engine) {
    writer_ = system_.spawn<caf::detached>(
        actors::log_writer, actors::LogWriterConfig{&log, &clock, [](const Error&) {}, ""});
    reader_ = system_.spawn<caf::detached>(actors::log_reader, &log);
    notifier_ = system_.spawn(
        actors::notifier, actors::NotifierConfig{&engine, &clock, reader_, writer_, "example.test",
                                                 actors::SpawnMode{}});
    caf::anon_send(writer_, caf::actor_cast<actors::record_sink>(notifier_));
    caf::anon_send(notifier_, actors::BeginNotifying{});
  }
  ~Actors() {
    caf::scoped_actor self{system_};
    self->send_exit(notifier_, caf::exit_reason::user_shutdown);
    self->wait_for(notifier_);
    self->send_exit(reader_, caf::exit_reason::user_shutdown);
    self->wait_for(reader_);
    self->send_exit(writer_, caf::exit_reason::user_shutdown);
    self->wait_for(writer_);
  }
  Actors(const Actors&) = delete;
  Actors& operator=(const Actors&) = delete;

 private:
  caf::actor_system_config config_;
  caf::actor_system system_{config_};
  actors::log_actor writer_;
  actors::log_reader_actor reader_;
  actors::notifier_actor notifier_;
};

TEST_F(NotifierOnThreads, what_fails_is_sent_again_signed_and_its_outcome_recorded) {
  std::mutex mutex;
  std::vector<edge::UpstreamSession::Request> requests;
  edge::RecordingUpstream receiver([&](edge::UpstreamSession& session) {
    edge::UpstreamSession::Request request;
    while (session.read_request(request)) {
      const std::lock_guard lock(mutex);
      requests.push_back(request);
      session.write(std::string("HTTP/1.1 ") + (requests.size() == 1 ? "500 Oh" : "200 OK") +
                    "\r\nContent-Length: 0\r\n\r\n");
    }
  });
  fill("http://127.0.0.1:" + std::to_string(receiver.port()) + "/hook");
  HttpNotifyEngine engine({"example.test", 443}, *secrets_);
  const Actors actors(*log_, clock_, engine);
  ASSERT_TRUE(edge::eventually([&] { return outcome().has_value(); }));
  EXPECT_EQ(outcome()->notification_sent().deployment(), "dabc2345");
  EXPECT_EQ(outcome()->notification_sent().result(), "failed");
  EXPECT_EQ(outcome()->notification_sent().attempts(), 2);
  const std::lock_guard lock(mutex);
  ASSERT_EQ(requests.size(), 2U);
  for (const auto& request : requests) {
    const auto signature = api::parsed_signature(request.fields.at("x-atlasflow-signature-256"));
    ASSERT_TRUE(signature);
    EXPECT_EQ(*signature, api::hmac_sha256(k_secret, request.body));
  }
}

TEST_F(NotifierOnThreads, a_stop_does_not_wait_for_a_receiver_that_hangs) {
  edge::RecordingUpstream receiver([&](edge::UpstreamSession& session) {
    edge::UpstreamSession::Request request;
    while (session.read_request(request)) {
    }
  });
  fill("http://127.0.0.1:" + std::to_string(receiver.port()) + "/hook");
  HttpNotifyEngine engine({"example.test", 443}, *secrets_, 60s);
  std::chrono::steady_clock::time_point begin;
  {
    const Actors actors(*log_, clock_, engine);
    ASSERT_TRUE(edge::eventually([&] { return receiver.connections() == 1; }));
    begin = std::chrono::steady_clock::now();
  }
  EXPECT_LT(std::chrono::steady_clock::now() - begin, 10s);
  EXPECT_FALSE(outcome()) << "the next start sends it again";
}

}  // namespace
}  // namespace atlasflow::server
