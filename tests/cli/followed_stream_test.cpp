#include "cli/followed_stream.hpp"

#include <algorithm>
#include <sstream>
#include <vector>

#include <gmock/gmock.h>

#include "cli/verbs.hpp"
#include "tests/api/api_fixture.hpp"
#include "tests/base/http_peer.hpp"

namespace atlasflow::cli {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::HasSubstr;

TEST(LineSplitter, takes_lines_however_the_bytes_come) {
  LineSplitter splitter;
  std::vector<std::string> lines;
  const auto take = [&lines](std::string line) { lines.push_back(std::move(line)); };
  for (const char* bytes : {"on", "e\n", "two\n\nthr", "", "ee"}) splitter.feed(bytes, take);
  EXPECT_THAT(lines, ElementsAre("one", "two", ""));
  EXPECT_EQ(splitter.take_rest(), "three");
  EXPECT_EQ(splitter.take_rest(), "");
}

// Byte by byte, so that a search which begins anew with each would not end in a test's time.
TEST(LineSplitter, hands_a_line_without_an_end_on_in_pieces) {
  LineSplitter splitter;
  std::vector<std::size_t> sizes;
  const auto take = [&sizes](const std::string& line) { sizes.push_back(line.size()); };
  for (std::size_t i = 0; i < 2 * k_line_bytes_max + 5; ++i) splitter.feed("x", take);
  EXPECT_THAT(sizes, ElementsAre(k_line_bytes_max, k_line_bytes_max));
  EXPECT_EQ(splitter.take_rest(), "xxxxx");
  sizes.clear();
  splitter.feed(std::string(k_line_bytes_max, 'x') + "\n" + std::string(k_line_bytes_max + 1, 'y'),
                take);
  EXPECT_THAT(sizes, ElementsAre(k_line_bytes_max, k_line_bytes_max)) << "the first is whole";
  EXPECT_EQ(splitter.take_rest(), "y");
}

TEST(BrokenStreams, waits_longer_while_nothing_comes_and_then_gives_up) {
  BrokenStreams broken;
  for (const auto pause : {500ms, 1000ms, 2000ms, 4000ms}) {
    EXPECT_EQ(broken.pause_after(false, 1s), pause);
  }
  EXPECT_EQ(broken.pause_after(false, 1s), std::nullopt);
}

TEST(BrokenStreams, never_gives_up_while_bytes_come_or_streams_hold_and_still_pauses) {
  BrokenStreams broken;
  for (int i = 0; i < 20; ++i) {
    EXPECT_EQ(broken.pause_after(true, 0s), 500ms);
    EXPECT_EQ(broken.pause_after(false, 0s), 1000ms);
    EXPECT_EQ(broken.pause_after(false, 10s), 500ms) << "an app that has nothing to say";
  }
}

TEST(FollowedLog, of_a_server_that_refuses_each_stream_ends_with_its_reason_after_a_few) {
  const api::testing::TemporaryFolder folder;
  const auto socket = folder.path() / "peer.sock";
  const base_test::HttpPeer peer(
      [](const std::string& request) {
        if (request.starts_with("GET /v1/status ")) return base_test::ok("{}");
        const std::string body =
            R"({"error":{"code":"unavailable","message":"too many connections; try later"}})";
        return "HTTP/1.1 503 Service Unavailable\r\nContent-Length: " +
               std::to_string(body.size()) + "\r\n\r\n" + body;
      },
      socket);
  LogsCommand logs;
  logs.subject = "shop";
  logs.follow = true;
  std::istringstream in;
  std::ostringstream out;
  std::ostringstream err;
  ApiClient api(socket);
  EXPECT_EQ(cli::run(logs, api, Terminal{in, out, err}), 1);
  EXPECT_THAT(err.str(), HasSubstr("too many connections; try later"));
  const auto requests = peer.requests();
  EXPECT_EQ(
      std::count_if(requests.begin(), requests.end(),
                    [](const auto& request) { return request.find("/logs?") != request.npos; }),
      5);
}

}  // namespace
}  // namespace atlasflow::cli
