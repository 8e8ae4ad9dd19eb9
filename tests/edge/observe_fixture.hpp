// An edge with an access log, an application that answers as its paths say, and what an operator
// sees of both.
#pragma once

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include <nlohmann/json.hpp>

#include "tests/edge/edge_fixture.hpp"

namespace atlasflow::edge {

inline std::string text_of(const std::filesystem::path& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

class Observe : public EdgeTest {
 protected:
  void serve(const std::function<void(EdgeConfig&)>& change = {}) {
    start([&](EdgeConfig& config) {
      config.access_log_dir = directory_ + "/access";
      config.workers = 1;  // lines come in the order of the requests
      if (change) change(config);
    });
    upstream_ = std::make_unique<RecordingUpstream>([this](UpstreamSession& session) {
      UpstreamSession::Request request;
      while (session.read_request(request)) {
        {
          const std::lock_guard lock(mutex_);
          last_ = request;
        }
        if (!respond(session, request)) return;
      }
    });
    route("shop.apps.test", {at(*upstream_, "vm-7")});
    route("empty.apps.test", {});
    publish();
  }

  ClientResponse get(const std::string& host, const std::string& path = "/",
                     const std::string& fields = "") {
    Client client;
    if (!client.connect(edge_->http_port())) return {};
    return client.get(host, path, fields);
  }
  // As the application got it.
  [[nodiscard]] UpstreamSession::Request last() {
    const std::lock_guard lock(mutex_);
    return last_;
  }
  // Waits for the figure: a request is counted when it is over, which its client may see before.
  [[nodiscard]] bool says(const std::string& line) {
    return eventually([&] { return edge_->metrics().find(line + "\n") != std::string::npos; });
  }
  [[nodiscard]] std::string log_of(const std::string& project) const {
    return text_of(directory_ + "/access/" + project + ".http.log");
  }
  [[nodiscard]] bool logs(const std::string& project, const std::string& text) {
    return eventually([&] { return log_of(project).find(text) != std::string::npos; });
  }
  // Waits until there are so many; each must be an object, alone on its line.
  [[nodiscard]] std::vector<nlohmann::json> lines_of(const std::string& project,
                                                     std::size_t count) {
    EXPECT_TRUE(eventually([&] {
      const std::string text = log_of(project);
      return static_cast<std::size_t>(std::count(text.begin(), text.end(), '\n')) >= count;
    })) << log_of(project);
    std::vector<nlohmann::json> lines;
    std::ifstream file(directory_ + "/access/" + project + ".http.log");
    for (std::string line; std::getline(file, line);) {
      lines.push_back(nlohmann::json::parse(line, nullptr, false));
      EXPECT_TRUE(lines.back().is_object()) << line;
    }
    EXPECT_EQ(lines.size(), count) << log_of(project);
    return lines;
  }

 private:
  // False: the connection has ended.
  static bool respond(UpstreamSession& session, const UpstreamSession::Request& request) {
    if (request.path == "/cut") {
      session.write("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf");
      std::this_thread::sleep_for(100ms);  // a reset takes with it what has not been read
      session.reset();
      return false;
    }
    if (request.path == "/silent") return true;
    if (request.path == "/ws") {
      session.write(
          "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
      const std::string bytes = session.read_some();
      session.write("<" + bytes + ">");
      session.shutdown();
      return false;
    }
    if (request.path == "/large") {
      const std::string body(std::size_t{1} << 20U, 'x');
      return session.write("HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(body.size()) +
                           "\r\n\r\n" + body);
    }
    const std::string status = request.path == "/no" ? "404 No" : "200 OK";
    const std::string own = request.path == "/own-id" ? "X-Request-Id: the-apps\r\n" : "";
    session.write("HTTP/1.1 " + status + "\r\n" + own + "Content-Length: 5\r\n\r\nhello");
    return true;
  }

  std::mutex mutex_;
  UpstreamSession::Request last_;

 protected:
  std::unique_ptr<RecordingUpstream> upstream_;  // last: its threads end first
};

}  // namespace atlasflow::edge
