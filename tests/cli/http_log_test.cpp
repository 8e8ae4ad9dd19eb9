// atlasflow logs NAME --http over the real API.
#include <chrono>
#include <sstream>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/rfc3339.hpp"
#include "cli/verbs.hpp"
#include "tests/cli/verb_test.hpp"

namespace atlasflow::cli {
namespace {

using nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;

class HttpLog : public VerbTest {
 protected:
  HttpLog() {
    control_.add_project("shop");
    config_.access_log = [this](const std::string& project) {
      return folder_.path() / (project + ".http.log");
    };
  }
};

TEST_F(HttpLog, requests_are_lines_for_people_or_the_objects_as_they_are) {
  const std::string line =
      R"({"time":"2026-07-01T12:00:00.123Z","request_id":"i","client":"192.0.2.7",)"
      R"("scheme":"https","protocol":"HTTP/2","host":"shop.test","method":"GET",)"
      R"("path":"/a\u009b\u001b[2J",)"
      R"("status":0,"duration_ms":1500.250,"response_bytes":2048,"error":"client_left",)"
      R"("phase":"wait"})";
  write_log("shop.http.log", line + "\nno object\n");
  LogsCommand logs;
  logs.subject = "shop";
  logs.http = true;
  auto ran = run(logs);
  EXPECT_EQ(ran.code, 0) << ran.err;
  EXPECT_THAT(ran.out,
              testing::EndsWith(".123  ---  GET shop.test/a??[2J  1.5 s, 2.0 KiB  to 192.0.2.7  "
                                "client_left (wait)\n"));
  logs.json = true;
  ran = run(logs);
  EXPECT_EQ(ran.out, line + "\n");
  logs.subject = "abcdefg2";
  control_.add_deployment("abcdefg2", "shop");
  ran = run(logs);
  EXPECT_EQ(ran.code, 2);
  EXPECT_THAT(ran.err, HasSubstr("name the project"));
}

// The edge has written meanwhile, and some of it just before the server went.
TEST_F(HttpLog, requests_that_are_followed_go_on_after_a_restart_of_the_server) {
  const auto write = [&](const std::string& path, TimestampUs ago) {
    const auto now = std::chrono::duration_cast<std::chrono::microseconds>(
                         std::chrono::system_clock::now().time_since_epoch())
                         .count();
    write_log("shop.http.log", R"({"time":")" + rfc3339(now - ago).substr(0, 23) +
                                   R"(Z","path":")" + path + "\"}\n");
  };
  write("/old", 3'600'000'000);
  LogsCommand logs;
  logs.subject = "shop";
  logs.http = true;
  logs.json = true;
  logs.follow = true;
  start();
  std::ostringstream out;
  std::ostringstream err;
  int code = -1;
  std::thread reader([&] {
    std::istringstream in;
    ApiClient api(config_.socket);
    code = cli::run(logs, api, Terminal{in, out, err});
  });
  std::this_thread::sleep_for(std::chrono::milliseconds(600));
  stop();
  write("/just-before", 700'000);
  write("/meanwhile", 0);
  start();
  std::this_thread::sleep_for(std::chrono::milliseconds(1000));
  write("/after", 0);
  std::this_thread::sleep_for(std::chrono::milliseconds(600));
  pb::Event deleted;
  deleted.mutable_project_deleted()->set_by("user");
  control_.append(project_stream(ProjectId("shop")), {deleted});  // nothing more will come
  reader.join();
  EXPECT_EQ(code, 0) << err.str();
  std::vector<std::string> paths;
  std::istringstream text(out.str());
  for (std::string line; std::getline(text, line);)
    paths.push_back(json::parse(line)["path"].get<std::string>());
  EXPECT_THAT(paths, ElementsAre("/old", "/just-before", "/meanwhile", "/after")) << out.str();
}

}  // namespace
}  // namespace atlasflow::cli
