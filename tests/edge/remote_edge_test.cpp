// The edge as a process of its own: it outlives its clients, and they outlive it.
#include "edge/control/remote_edge.hpp"

#include <algorithm>
#include <array>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <future>
#include <iterator>

#include <sys/socket.h>
#include <unistd.h>

#include "edge/control/edge_process.hpp"
#include "tests/edge/remote_edge_fixture.hpp"

namespace atlasflow::edge {
namespace {

using std::chrono::steady_clock;
using Request = UpstreamSession::Request;
using RemoteEdge = RemoteEdgeTest;

TEST_F(RemoteEdge, what_is_published_is_served_on_without_its_client) {
  RecordingUpstream upstream(answer_with("served"));
  attach();
  route("shop.apps.test", {at(upstream)});
  table_.generation = 40;
  publish();
  ASSERT_TRUE(edge_->set_own_route({"apps.test", "atlasflow", "", {}, "starting"}).has_value());
  const auto http = edge_->http_port();
  const auto first = pid();
  Client kept;
  ASSERT_TRUE(kept.connect(http));
  EXPECT_EQ(kept.get("shop.apps.test").body, "served");

  edge_.reset();
  EXPECT_EQ(kept.get("shop.apps.test").body, "served");
  Client fresh;
  ASSERT_TRUE(fresh.connect(http));
  EXPECT_EQ(fresh.get("shop.apps.test").body, "served");

  attach();
  EXPECT_EQ(pid(), first) << "it is adopted";
  EXPECT_EQ(edge_->generation(), 41U);
  EXPECT_EQ(edge_->table().routes, table_.routes);
  ASSERT_TRUE(edge_->own_route().has_value());
  EXPECT_EQ(edge_->own_route()->unavailable_reason, "starting");
  EXPECT_EQ(edge_->http_port(), http);
  EXPECT_EQ(kept.get("shop.apps.test").body, "served");
}

TEST_F(RemoteEdge, its_figures_come_over_the_wire_and_a_scrape_works_without_it) {
  RecordingUpstream upstream(answer_with("served"));
  attach();
  route("shop.apps.test", {at(upstream)});
  publish();
  EXPECT_EQ(get("shop.apps.test").body, "served");
  EXPECT_TRUE(eventually([&] {
    const std::string text = edge_->metrics();
    return text.find("atlasflow_edge_up 1\n") != std::string::npos &&
           text.find("atlasflow_edge_requests_total{project=\"shop\",status=\"2xx\"} 1\n") !=
               std::string::npos;
  }));
  ASSERT_EQ(::kill(pid(), SIGSTOP), 0);
  const std::string text = edge_->metrics();
  ASSERT_EQ(::kill(pid(), SIGCONT), 0);
  EXPECT_NE(text.find("atlasflow_edge_up 0\n"), std::string::npos) << text;
}

TEST_F(RemoteEdge, what_is_logged_goes_on_in_the_same_file_when_another_takes_over) {
  RecordingUpstream upstream(answer_with("served"));
  AttachConfig seen = config();
  seen.edge.access_log_dir = directory_ + "/edge/access";
  attach(seen);
  route("shop.apps.test", {at(upstream)});
  publish();
  EXPECT_EQ(get("shop.apps.test").body, "served");
  seen.build_id = "build-2";
  attach(seen);
  EXPECT_EQ(get("shop.apps.test").body, "served");
  EXPECT_TRUE(eventually([&] {
    std::ifstream log(directory_ + "/edge/access/shop.http.log");
    const std::string text{std::istreambuf_iterator<char>(log), {}};
    return std::count(text.begin(), text.end(), '\n') == 2;
  }));
}

TEST_F(RemoteEdge, an_older_generation_is_refused_over_the_wire) {
  attach();
  table_.generation = 6;
  publish();
  RouteTable older;
  older.generation = 7;
  const auto published = edge_->publish(older);
  ASSERT_FALSE(published.has_value());
  EXPECT_EQ(published.error().code, ErrorCode::conflict);
  EXPECT_NE(published.error().message.find("is not newer than 7"), std::string::npos);
  EXPECT_EQ(edge_->generation(), 7U);
}

TEST_F(RemoteEdge, a_table_that_makes_no_sense_leaves_the_one_in_force) {
  RecordingUpstream upstream(answer_with("served"));
  attach();
  route("shop.apps.test", {at(upstream)});
  publish();
  RouteTable twice = table_;
  twice.generation = 9;
  twice.routes.push_back(twice.routes.front());
  const auto published = edge_->publish(twice);
  ASSERT_FALSE(published.has_value());
  EXPECT_EQ(published.error().code, ErrorCode::invalid_argument);
  EXPECT_EQ(edge_->generation(), 1U);
  EXPECT_EQ(get("shop.apps.test").body, "served");
}

TEST_F(RemoteEdge, a_drain_waits_while_tables_are_published) {
  std::promise<void> asked;
  std::promise<void> release;
  RecordingUpstream slow([&](UpstreamSession& session) {
    Request request;
    if (!session.read_request(request)) return;
    asked.set_value();
    release.get_future().wait();
    session.write("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nslow");
  });
  RecordingUpstream next(answer_with("next"));
  attach();
  route("shop.apps.test", {at(slow, "vm-old")});
  publish();
  Client waiting;
  ASSERT_TRUE(waiting.connect(edge_->http_port()));
  ASSERT_TRUE(waiting.send("GET / HTTP/1.1\r\nHost: shop.apps.test\r\n\r\n"));
  asked.get_future().wait();
  route("shop.apps.test", {at(next, "vm-new")});
  publish();
  auto drained = std::async(std::launch::async, [&] { return edge_->drain("vm-old", 60s); });
  for (int i = 0; i < 5; ++i) publish();
  EXPECT_EQ(drained.wait_for(100ms), std::future_status::timeout);
  release.set_value();
  EXPECT_EQ(waiting.receive().body, "slow");
  EXPECT_EQ(drained.get(), 0U);
}

TEST_F(RemoteEdge, a_drain_cuts_at_its_deadline_and_counts) {
  RecordingUpstream silent([](UpstreamSession& session) {
    Request request;
    if (session.read_request(request)) (void)session.read_some();
  });
  attach();
  route("shop.apps.test", {at(silent, "vm-old")});
  publish();
  Client waiting;
  ASSERT_TRUE(waiting.connect(edge_->http_port()));
  ASSERT_TRUE(waiting.send("GET / HTTP/1.1\r\nHost: shop.apps.test\r\n\r\n"));
  ASSERT_TRUE(eventually([&] { return silent.connections() == 1; }));
  route("shop.apps.test", {}, "being replaced");
  publish();
  EXPECT_EQ(edge_->drain("vm-old", 100ms), 1U);
  EXPECT_EQ(waiting.receive().status, 504);
}

TEST_F(RemoteEdge, a_process_that_hangs_is_unavailable_within_the_time) {
  auto quick = config();
  quick.call_timeout = 1500ms;
  attach(quick);
  publish();
  ASSERT_EQ(::kill(pid(), SIGSTOP), 0);
  ++table_.generation;
  const auto since = steady_clock::now();
  const auto published = edge_->publish(table_);
  EXPECT_LT(steady_clock::now() - since, 10s);
  ASSERT_FALSE(published.has_value());
  EXPECT_EQ(published.error().code, ErrorCode::unavailable);
  EXPECT_EQ(edge_->drain("vm-1", 0ms), 0U);
  EXPECT_EQ(edge_->generation(), 1U);

  ASSERT_EQ(::kill(pid(), SIGCONT), 0);
  table_.generation = 10;
  EXPECT_TRUE(eventually([&] {
    ++table_.generation;
    return edge_->publish(table_).has_value();
  }));
}

TEST_F(RemoteEdge, a_process_that_hangs_is_replaced_by_the_next_control_plane) {
  attach();
  const auto before = pid();
  ASSERT_EQ(::kill(before, SIGSTOP), 0);
  auto quick = config();
  quick.call_timeout = 300ms;
  attach(quick);
  EXPECT_NE(pid(), before);
  publish();
}

TEST_F(RemoteEdge, a_killed_process_comes_back_with_the_newest_table) {
  RecordingUpstream upstream(answer_with("served"));
  attach();
  route("shop.apps.test", {at(upstream)});
  table_.generation = 11;
  publish();
  ASSERT_TRUE(edge_->set_own_route({"apps.test", "atlasflow", "", {}, "starting"}).has_value());
  for (int i = 0; i < 3; ++i) {
    const auto before = pid();
    const auto http = edge_->http_port();
    ASSERT_EQ(::kill(before, SIGKILL), 0);
    EXPECT_TRUE(eventually([&] { return get("shop.apps.test").body == "served"; }));
    EXPECT_TRUE(eventually([&] { return pid() != 0 && pid() != before; }));
    EXPECT_EQ(edge_->http_port(), http) << "also where the kernel has chosen it";
    EXPECT_NE(get("apps.test").body.find("starting"), std::string::npos);
  }
  table_.generation = 12;
  publish();
  EXPECT_EQ(get("shop.apps.test").body, "served");
}

TEST_F(RemoteEdge, a_publish_waits_for_a_process_that_is_being_started) {
  attach();
  publish();
  ASSERT_EQ(::kill(pid(), SIGKILL), 0);
  EXPECT_TRUE(eventually([&] {
    ++table_.generation;
    return edge_->publish(table_).has_value();
  }));
}

TEST_F(RemoteEdge, a_start_that_fails_says_why) {
  const FileDescriptor taken = listen_tcp("127.0.0.1", 0, false).value();
  auto impossible = config();
  impossible.edge.http_port = local_port(taken);
  const auto attached = attach_edge(impossible);
  ASSERT_FALSE(attached.has_value());
  EXPECT_EQ(attached.error().code, ErrorCode::conflict);
  EXPECT_NE(attached.error().message.find("cannot listen on 127.0.0.1:"), std::string::npos);
  auto missing = config();
  missing.program = directory_ + "/no-such-program";
  EXPECT_FALSE(attach_edge(missing).has_value());
}

TEST_F(RemoteEdge, a_record_of_another_life_is_not_believed) {
  attach();
  wire::Record record;
  ASSERT_TRUE(read_json(EdgeFolder{directory_}.record(), record));
  for (const bool other_boot : {false, true}) {
    auto stale = record;
    if (other_boot) {
      stale.set_boot_id("another boot");
    } else {
      stale.set_start_ticks(record.start_ticks() + 1);
    }
    ASSERT_TRUE(write_json(EdgeFolder{directory_}.record(), stale).has_value());
    EXPECT_EQ(end_edge(directory_).value(), 0) << "that pid is somebody else's";
  }
  ASSERT_TRUE(write_json(EdgeFolder{directory_}.record(), record).has_value());
  EXPECT_EQ(end_edge(directory_).value(), record.pid());
  EXPECT_EQ(end_edge(directory_ + "/nothing-here").value(), 0);
}

TEST_F(RemoteEdge, a_process_whose_server_died_during_the_start_ends) {
  wire::Launch launch;
  *launch.mutable_config() = to_wire(config().edge);
  std::filesystem::create_directory(EdgeFolder{directory_}.root());
  std::array<int, 2> pair{};
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair.data()), 0);
  {
    const FileDescriptor server(pair[0]);
    ASSERT_TRUE(send_message(server, launch, steady_clock::now() + 1s).has_value());
  }
  const auto process = EdgeProcess::start(directory_, pair[1], [] {});
  ASSERT_FALSE(process.has_value());
  EXPECT_EQ(process.error().code, ErrorCode::cancelled);
  std::filesystem::remove(EdgeFolder{directory_}.record());  // it names this test's own process
}

// With the limit on open files that many systems set, and that the process may not raise.
TEST_F(RemoteEdge, more_idle_connections_than_it_has_descriptors_lock_nobody_out) {
  RecordingUpstream upstream(answer_with("served"));
  auto small = config();
  small.program = "/bin/sh";
  small.arguments = {
      "sh",          "-c",      "ulimit -n 1024 && exec \"$0\" \"$@\"", ATLASFLOW_EDGE_PROCESS,
      "--state-dir", directory_};
  attach(small);
  ASSERT_NE(edge_, nullptr);
  route("shop.apps.test", {at(upstream)});
  publish();
  std::vector<Client> idle(1'100);
  for (Client& client : idle) {
    ASSERT_TRUE(client.connect(edge_->http_port(), "127.0.0.3"));
    const int status = client.get("shop.apps.test").status;
    EXPECT_TRUE(status == 200 || status == 429 || status == 0) << status;
  }
  for (int i = 0; i < 50; ++i) {
    const auto start = steady_clock::now();
    Client other;
    ASSERT_TRUE(other.connect(edge_->http_port(), "127.0.0.2"));
    EXPECT_EQ(other.get("shop.apps.test").body, "served");
    EXPECT_LT(steady_clock::now() - start, 2s);
  }
  // Nor the control plane.
  EXPECT_EQ(edge_->drain("nobody", 10ms), 0U);
}

TEST_F(RemoteEdge, the_control_socket_is_for_its_owner_only) {
  attach();
  const auto status = std::filesystem::status(directory_ + "/edge.sock");
  EXPECT_EQ(status.permissions(),
            std::filesystem::perms::owner_read | std::filesystem::perms::owner_write);
}

}  // namespace
}  // namespace atlasflow::edge
