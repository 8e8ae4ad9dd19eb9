// What an operator sees of a live app's requests: its log and the edge's figures.

#include <sstream>

#include <gmock/gmock.h>

#include "tests/end_to_end/server_fixture.hpp"

namespace atlasflow::end_to_end {
namespace {

using namespace std::chrono_literals;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

class Observing : public ServerFixture {
 protected:
  const std::string host_ = "web." + k_domain;

  std::string figures() {
    const auto answer = send_http(
        {.url = "http://localhost/metrics", .unix_socket = state_dir() / "atlasflow.sock"});
    EXPECT_TRUE(answer.has_value());
    return answer ? answer->body : std::string{};
  }
  // Each line is one object.
  static std::vector<std::string> paths_in(const std::string& lines) {
    std::vector<std::string> paths;
    std::istringstream text(lines);
    for (std::string line; std::getline(text, line);) {
      paths.push_back(nlohmann::json::parse(line).at("path"));
    }
    return paths;
  }
};

TEST_F(Observing, requests_are_logged_and_counted_and_followed_over_a_restart_of_the_server) {
  write_app("hello\n");
  repository().commit_all("Say hello");
  start_server();
  create_project("web");
  const auto early = atlasflow({"logs", "web", "--http"});
  EXPECT_EQ(early.code, 1);
  EXPECT_THAT(early.err, HasSubstr("no request to project 'web' on record"));
  ASSERT_EQ(atlasflow({"deploy", "web", "--wait"}).code, 0);

  const auto followed = folder() / "followed";
  auto follower = Process::start({ATLASFLOW_EXECUTABLE, "logs", "web", "--http", "-f", "--json"},
                                 {{"ATLASFLOW_STATE_DIR", state_dir().string()}}, {}, followed,
                                 folder() / "followed.err");
  const auto shows = [&](const std::string& path) {
    return eventually(30s, [&] {
      return read_file(followed).find("\"path\":\"" + path + "\"") != std::string::npos;
    });
  };
  EXPECT_EQ(get(host_, "/?secret=hush").status, 200);
  EXPECT_TRUE(shows("/"));
  EXPECT_EQ(get(host_, "/missing").status, 404);
  EXPECT_TRUE(shows("/missing"));

  // The edge and the app go on without the control plane, and so does the log.
  stop_server();
  EXPECT_EQ(get(host_, "/meanwhile").status, 404);
  start_server();
  EXPECT_TRUE(shows("/meanwhile"));
  EXPECT_EQ(get(host_, "/after").status, 404);
  EXPECT_TRUE(shows("/after"));
  follower.signal(SIGTERM);

  const auto all = atlasflow({"logs", "web", "--http", "--json", "-n", "0"});
  EXPECT_EQ(all.code, 0) << all.err;
  EXPECT_THAT(paths_in(all.out), testing::ElementsAre("/", "/missing", "/meanwhile", "/after"));
  EXPECT_THAT(all.out, Not(HasSubstr("hush")));
  const auto people = atlasflow({"logs", "web", "--http", "-n", "1", "--since", "1h"});
  EXPECT_THAT(people.out,
              AllOf(HasSubstr("404  GET " + host_ + "/after  "), HasSubstr("127.0.0.1")));

  EXPECT_THAT(figures(),
              AllOf(HasSubstr("atlasflow_edge_up 1\n"),
                    HasSubstr("atlasflow_edge_requests_total{project=\"web\",status=\"2xx\"} 1\n"),
                    HasSubstr("atlasflow_edge_requests_total{project=\"web\",status=\"4xx\"} 3\n"),
                    HasSubstr("atlasflow_edge_access_log_lines_dropped_total 0\n")));

  // It goes with its project.
  EXPECT_EQ(atlasflow({"project", "delete", "web", "--yes"}).code, 0);
  EXPECT_TRUE(eventually(
      60s, [&] { return !std::filesystem::exists(state_dir() / "edge/access/web.http.log"); }));
}

}  // namespace
}  // namespace atlasflow::end_to_end
