// The control protocol: what goes in comes out, and nonsense is refused.
#include <array>

#include <google/protobuf/util/message_differencer.h>
#include <sys/socket.h>

#include "edge/control/control_message.hpp"
#include "tests/edge/edge_fixture.hpp"

namespace atlasflow::edge {
namespace {

Deadline in(std::chrono::milliseconds time) { return std::chrono::steady_clock::now() + time; }

struct Pair {
  Pair() {
    std::array<int, 2> pair{-1, -1};
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair.data()), 0);
    ours = FileDescriptor(pair[0]);
    theirs = FileDescriptor(pair[1]);
  }
  FileDescriptor ours;
  FileDescriptor theirs;
};

TEST(Control, a_table_comes_out_as_it_went_in) {
  RouteTable table;
  table.generation = 1ULL << 40U;
  table.routes = {
      {"shop.apps.test", "shop", "d-1", {{"vm-1", "127.0.0.1", 65535}, {"vm-2", "::1", 1}}, ""},
      {"blog.apps.test", "blog", "d-2", {}, "it is starting"},
      {"apps.test", "atlasflow", "", {{"control-plane", "unix:/run/x.sock", 0}}, ""}};
  const auto back = from_wire(to_wire(table));
  EXPECT_EQ(back.generation, table.generation);
  EXPECT_EQ(back.routes, table.routes);
}

TEST(Control, a_configuration_comes_out_as_it_went_in_and_each_part_counts_in_its_digest) {
  EdgeConfig config;
  config.http_address = "127.0.0.2";
  config.http_port = 81;
  config.https_address = "127.0.0.3";
  config.https_port = 444;
  config.domain = "apps.test";
  config.ca_dir = "/somewhere/ca";
  config.redirect_http = false;
  config.hsts_max_age_s = 5;
  config.access_log_dir = "/somewhere/access";
  config.access_log_bytes = 6;
  config.workers = 3;
  config.timeouts.tls_handshake = 1ms;
  config.timeouts.upstream_idle = 2ms;
  config.limits = {1, 2, 3, 4, 5, 6, 7, 8};
  const auto back = from_wire(to_wire(config));
  EXPECT_TRUE(google::protobuf::util::MessageDifferencer::Equals(to_wire(back), to_wire(config)));
  EXPECT_EQ(config_digest(back), config_digest(config));
  EXPECT_EQ(config_digest(config).size(), 12U);

  const auto differs = [&](auto change) {
    EdgeConfig other = config;
    change(other);
    return config_digest(other) != config_digest(config);
  };
  EXPECT_TRUE(differs([](EdgeConfig& c) { c.http_port = 82; }));
  EXPECT_TRUE(differs([](EdgeConfig& c) { c.domain = "other.test"; }));
  EXPECT_TRUE(differs([](EdgeConfig& c) { c.redirect_http = true; }));
  EXPECT_TRUE(differs([](EdgeConfig& c) { c.access_log_dir.clear(); }));
  EXPECT_TRUE(differs([](EdgeConfig& c) { c.access_log_bytes = 7; }));
  EXPECT_TRUE(differs([](EdgeConfig& c) { c.hsts_max_age_s = 6; }));
  EXPECT_TRUE(differs([](EdgeConfig& c) { c.timeouts.upstream_idle = 3ms; }));
  EXPECT_TRUE(differs([](EdgeConfig& c) { c.limits.fields_max = 9; }));
}

TEST(Control, an_error_keeps_its_code_and_an_unknown_code_is_internal) {
  const Error error{ErrorCode::conflict, "a sentence", "a cause"};
  EXPECT_EQ(from_wire(to_wire(error)), error);
  wire::Failure newer;
  newer.set_code(1000);
  EXPECT_EQ(from_wire(newer).code, ErrorCode::internal);
}

TEST(Control, another_protocol_version_is_refused_with_both_versions_named) {
  const Pair pair;
  wire::Hello hello;
  hello.set_protocol_version(k_control_version + 1);
  ASSERT_TRUE(send_message(pair.theirs, hello, in(1s)).has_value());
  const auto refused = exchange_hello(pair.ours, in(1s));
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code, ErrorCode::conflict);
  EXPECT_NE(refused.error().message.find("version 2 there and 1 here"), std::string::npos);
  wire::Hello ours;
  ASSERT_TRUE(receive_message(pair.theirs, ours, in(1s)).has_value())
      << "so that they can say it too";
  EXPECT_EQ(ours.protocol_version(), k_control_version);
}

TEST(Control, a_length_beyond_all_reason_is_refused_before_anything_is_read) {
  const Pair pair;
  ASSERT_EQ(::send(pair.theirs.get(), "\xFF\xFF\xFF\xFF", 4, 0), 4);
  wire::Reply reply;
  EXPECT_EQ(receive_message(pair.ours, reply, in(1s)).error().code, ErrorCode::corrupt);
}

TEST(Control, bytes_that_are_no_message_are_corrupt) {
  const Pair pair;
  ASSERT_EQ(::send(pair.theirs.get(), "\0\0\0\2\xFF\xFF", 6, 0), 6);
  wire::Reply reply;
  EXPECT_EQ(receive_message(pair.ours, reply, in(1s)).error().code, ErrorCode::corrupt);
}

TEST(Control, silence_and_half_a_message_end_at_the_deadline) {
  const Pair pair;
  wire::Reply reply;
  EXPECT_EQ(receive_message(pair.ours, reply, in(50ms)).error().code, ErrorCode::unavailable);
  ASSERT_EQ(::send(pair.theirs.get(), "\0\0\0\5ab", 6, 0), 6);
  EXPECT_EQ(receive_message(pair.ours, reply, in(50ms)).error().code, ErrorCode::unavailable);
}

TEST(Control, who_reads_nothing_is_not_waited_for_beyond_the_deadline) {
  const Pair pair;
  wire::Reply reply;
  reply.mutable_failure()->set_message(std::string(4 << 20U, 'x'));
  EXPECT_EQ(send_message(pair.ours, reply, in(50ms)).error().code, ErrorCode::unavailable);
}

TEST(Control, a_message_above_the_limit_is_not_sent) {
  const Pair pair;
  wire::Reply reply;
  reply.mutable_failure()->set_message(std::string(17 << 20U, 'x'));
  EXPECT_EQ(send_message(pair.ours, reply, in(1s)).error().code, ErrorCode::too_large);
}

TEST(Control, descriptors_arrive_as_copies_that_work) {
  const Pair pair;
  const FileDescriptor listener = listen_tcp("127.0.0.1", 0, false).value();
  ASSERT_TRUE(send_descriptors(pair.theirs, {listener.get(), listener.get()}, in(1s)).has_value());
  const auto got = receive_descriptors(pair.ours, 2, in(1s));
  ASSERT_TRUE(got.has_value()) << to_string(got.error());
  EXPECT_NE(got->front().get(), listener.get());
  EXPECT_EQ(local_port(got->front()), local_port(listener));
  EXPECT_FALSE(receive_descriptors(pair.ours, 1, in(50ms)).has_value());
  EXPECT_EQ(receive_descriptors(pair.ours, 0, in(50ms)).error().code, ErrorCode::corrupt);
}

}  // namespace
}  // namespace atlasflow::edge
