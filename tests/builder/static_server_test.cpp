// The static server over raw sockets, in a thread of the test.
#include <array>
#include <chrono>
#include <csignal>
#include <string>
#include <thread>
#include <vector>

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "builder/static_server/content_type.hpp"
#include "builder/static_server/listener.hpp"
#include "tests/builder/scratch.hpp"

namespace atlasflow::static_server {
namespace {

using builder::Scratch;
using builder::write;
using ::testing::AllOf;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;
using namespace std::chrono_literals;

class Client {
 public:
  explicit Client(std::uint16_t port) : socket_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    connected_ =
        ::connect(socket_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
  }
  [[nodiscard]] bool connected() const { return connected_; }
  void send(const std::string& bytes) const {
    ::send(socket_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
  }
  // All that comes until the server closes, or for as long as it is silent.
  std::string read_all(std::chrono::milliseconds silence = 2000ms) const {
    std::string all;
    std::array<char, 65536> chunk{};
    while (true) {
      pollfd readable{socket_.get(), POLLIN, 0};
      if (::poll(&readable, 1, static_cast<int>(silence.count())) != 1) return all;
      const ssize_t n = ::recv(socket_.get(), chunk.data(), chunk.size(), 0);
      if (n <= 0) return all;
      all.append(chunk.data(), static_cast<std::size_t>(n));
    }
  }
  [[nodiscard]] bool closed_within(std::chrono::milliseconds limit) const {
    char byte = 0;
    pollfd readable{socket_.get(), POLLIN, 0};
    return ::poll(&readable, 1, static_cast<int>(limit.count())) == 1 &&
           ::recv(socket_.get(), &byte, 1, 0) <= 0;
  }

 private:
  FileDescriptor socket_;
  bool connected_ = false;
};

class StaticServer : public ::testing::Test {
 protected:
  void SetUp() override {
    write(root() / "index.html", "<h1>home</h1>");
    write(root() / "about.html", "about");
    write(root() / "docs/index.html", "docs");
    write(root() / "app.mjs", "0123456789");
    write(root() / ".env", "SECRET");
    write(root() / ".git/config", "SECRET");
    write(root() / "docs/.htpasswd", "SECRET");
    write(root() / ".well-known/security.txt", "contact");
    write(root() / ".well-known/.hidden", "SECRET");
    write(scratch_.path() / "outside.txt", "SECRET");
    std::filesystem::create_symlink("../outside.txt", root() / "link.txt");
    std::filesystem::create_symlink("/etc", root() / "etc");
    std::filesystem::create_symlink("about.html", root() / "inside.html");
    ASSERT_EQ(::mkfifo((root() / "pipe").c_str(), 0644), 0);
  }

  void TearDown() override { stop(); }

  void start(ListenerOptions options = {}, const std::string& fallback = "") {
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    ::pthread_sigmask(SIG_BLOCK, &signals, nullptr);
    std::string why;
    options.port = 0;
    auto site = Site::open({root().string(), fallback}, why);
    ASSERT_NE(site, nullptr) << why;
    listener_ = Listener::open(options, std::move(site), why);
    ASSERT_NE(listener_, nullptr) << why;
    thread_ = std::jthread([this] { listener_->serve(); });
  }

  void terminate() { ::pthread_kill(thread_.native_handle(), SIGTERM); }

  void stop() {
    if (!thread_.joinable()) return;
    terminate();
    thread_.join();
  }

  std::filesystem::path root() { return scratch_.path() / "site"; }

  Client connect() {
    Client client(listener_->port());
    EXPECT_TRUE(client.connected());
    return client;
  }

  std::string ask(const std::string& target, const std::string& fields = "",
                  const std::string& method = "GET") {
    const auto client = connect();
    client.send(method + " " + target + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + fields +
                "\r\n");
    return client.read_all();
  }

  static std::string value(const std::string& answer, const std::string& name) {
    const auto at = answer.find("\r\n" + name + ": ");
    if (at == std::string::npos) return {};
    const auto begin = at + name.size() + 4;
    return answer.substr(begin, answer.find("\r\n", begin) - begin);
  }

  Scratch scratch_;
  std::unique_ptr<Listener> listener_;
  std::jthread thread_;
};

TEST(ContentType, is_what_browsers_ask_for) {
  const std::pair<const char*, const char*> cases[] = {
      {"a/index.html", "text/html; charset=utf-8"},
      {"INDEX.HTM", "text/html; charset=utf-8"},
      {"app.mjs", "text/javascript; charset=utf-8"},
      {"app.js", "text/javascript; charset=utf-8"},
      {"a.css", "text/css; charset=utf-8"},
      {"a.json", "application/json"},
      {"a.js.map", "application/json"},
      {"site.webmanifest", "application/manifest+json"},
      {"add.wasm", "application/wasm"},
      {"p.webp", "image/webp"},
      {"p.avif", "image/avif"},
      {"f.woff2", "font/woff2"},
      {"i.svg", "image/svg+xml; charset=utf-8"},
      {"feed.xml", "text/xml; charset=utf-8"},
      {"a.txt", "text/plain; charset=utf-8"},
      {"favicon.ico", "image/vnd.microsoft.icon"},
      {"a.pdf", "application/pdf"},
      {"a.mp4", "video/mp4"},
      {"a.zst", "application/zstd"},
      {"a.aac", "audio/aac"},
      {"v1.2/file", "application/octet-stream"},
      {"name", "application/octet-stream"},
      {"name.", "application/octet-stream"}};
  for (const auto& [path, type] : cases) EXPECT_EQ(content_type_of(path), type) << path;
}

TEST_F(StaticServer, sends_files_pages_of_folders_and_paths_without_html) {
  start();
  EXPECT_THAT(ask("/"), AllOf(StartsWith("HTTP/1.1 200 OK\r\n"),
                              HasSubstr("Content-Type: text/html; charset=utf-8\r\n"),
                              HasSubstr("\r\n\r\n<h1>home</h1>")));
  EXPECT_THAT(ask("/app.mjs?v=1"), HasSubstr("Content-Type: text/javascript; charset=utf-8\r\n"));
  EXPECT_THAT(ask("/docs/"), HasSubstr("\r\n\r\ndocs"));
  EXPECT_THAT(ask("/about"), HasSubstr("\r\n\r\nabout"));
  EXPECT_THAT(ask("/inside.html"), HasSubstr("\r\n\r\nabout"));
  EXPECT_THAT(ask("/%61bout.html"), HasSubstr("\r\n\r\nabout"));
  EXPECT_THAT(ask("/.well-known/security.txt"), HasSubstr("\r\n\r\ncontact"));
  const auto moved = ask("/docs?x=1");
  EXPECT_THAT(moved, StartsWith("HTTP/1.1 301 "));
  EXPECT_EQ(value(moved, "Location"), "/docs/?x=1");
  EXPECT_EQ(value(ask("//docs"), "Location"), "/docs/") << "not to a host of that name";
}

TEST_F(StaticServer, shows_nothing_outside_and_nothing_hidden) {
  start();
  for (const char* target : {"/.env",
                             "/.git/config",
                             "/docs/.htpasswd",
                             "/.well-known/.hidden",
                             "/link.txt",
                             "/etc/passwd",
                             "/etc",
                             "/../outside.txt",
                             "/docs/../../outside.txt",
                             "/%2e%2e/outside.txt",
                             "/%2e%2e%2foutside.txt",
                             "/..%2foutside.txt",
                             "/.%2e/outside.txt",
                             "/%252e%252e/outside.txt",
                             "/%2eenv",
                             "/docs/..%5c..%5coutside.txt",
                             "/app.mjs%00.html",
                             "/%zz",
                             "/%",
                             "/pipe",
                             "/docs/%2ehtpasswd",
                             "/./.env",
                             "//etc/passwd",
                             "/index.html/",
                             "/app.mjs/x"}) {
    const auto answer = ask(target);
    EXPECT_THAT(answer, testing::AnyOf(StartsWith("HTTP/1.1 404 "), StartsWith("HTTP/1.1 400 ")))
        << target;
    EXPECT_THAT(answer, Not(HasSubstr("SECRET"))) << target;
    EXPECT_THAT(answer, Not(HasSubstr("root:"))) << target;
  }
}

TEST_F(StaticServer, pages_may_end_in_htm_where_there_is_none_in_html) {
  write(root() / "old/index.htm", "old home");
  write(root() / "old/page.htm", "old page");
  write(root() / "docs/index.htm", "not this one");
  start();
  EXPECT_THAT(ask("/old/"), AllOf(StartsWith("HTTP/1.1 200 "), EndsWith("\r\n\r\nold home")));
  EXPECT_EQ(value(ask("/old/"), "Content-Type"), "text/html; charset=utf-8");
  EXPECT_EQ(value(ask("/old?x=1"), "Location"), "/old/?x=1");
  EXPECT_THAT(ask("/old/page"), EndsWith("\r\n\r\nold page"));
  EXPECT_THAT(ask("/docs/"), EndsWith("\r\n\r\ndocs"));
  EXPECT_THAT(ask("/about"), EndsWith("\r\n\r\nabout"));
}

TEST_F(StaticServer, a_copy_that_is_still_good_is_not_sent_again) {
  start();
  const auto whole = ask("/app.mjs");
  const auto etag = value(whole, "ETag");
  const auto modified = value(whole, "Last-Modified");
  EXPECT_EQ(value(whole, "Cache-Control"), "public, max-age=0, must-revalidate");
  EXPECT_THAT(ask("/app.mjs", "If-None-Match: \"x\", W/" + etag + "\r\n"),
              AllOf(StartsWith("HTTP/1.1 304 "), Not(HasSubstr("0123456789"))));
  EXPECT_THAT(ask("/app.mjs", "If-Modified-Since: " + modified + "\r\n"),
              StartsWith("HTTP/1.1 304 "));
  EXPECT_THAT(ask("/app.mjs", "If-None-Match: \"x\"\r\nIf-Modified-Since: " + modified + "\r\n"),
              StartsWith("HTTP/1.1 200 "));
  EXPECT_THAT(ask("/app.mjs", "If-Modified-Since: yesterday\r\n"), StartsWith("HTTP/1.1 200 "));
  EXPECT_THAT(ask("/app.mjs", "If-Match: \"x\"\r\n"), StartsWith("HTTP/1.1 412 "));
}

TEST_F(StaticServer, sends_the_part_that_is_asked_for) {
  start();
  const auto etag = value(ask("/app.mjs"), "ETag");
  const auto part = [&](const std::string& range, const std::string& more = "") {
    return ask("/app.mjs", "Range: " + range + "\r\n" + more);
  };
  EXPECT_THAT(part("bytes=2-4"),
              AllOf(StartsWith("HTTP/1.1 206 "), HasSubstr("Content-Range: bytes 2-4/10\r\n"),
                    HasSubstr("\r\n\r\n234")));
  EXPECT_THAT(part("bytes=7-"), HasSubstr("\r\n\r\n789"));
  EXPECT_THAT(part("bytes=-2"), HasSubstr("\r\n\r\n89"));
  EXPECT_THAT(part("bytes=5-99"), HasSubstr("bytes 5-9/10"));
  EXPECT_THAT(part("bytes=10-"), AllOf(StartsWith("HTTP/1.1 416 "), HasSubstr("bytes */10")));
  EXPECT_THAT(part("bytes=-0"), StartsWith("HTTP/1.1 416 "));
  for (const char* ignored : {"bytes=4-2", "bytes=a-b", "lines=1-2", "bytes=0-1,3-4", "bytes=-",
                              "bytes=18446744073709551616-"}) {
    EXPECT_THAT(part(ignored), StartsWith("HTTP/1.1 200 ")) << ignored;
  }
  EXPECT_THAT(part("bytes=0-0", "If-Range: " + etag + "\r\n"), StartsWith("HTTP/1.1 206 "));
  EXPECT_THAT(part("bytes=0-0", "If-Range: \"other\"\r\n"), StartsWith("HTTP/1.1 200 "));
}

TEST_F(StaticServer, a_head_has_the_fields_and_no_body) {
  start();
  const auto answer = ask("/app.mjs", "", "HEAD");
  EXPECT_THAT(answer, AllOf(StartsWith("HTTP/1.1 200 "), HasSubstr("Content-Length: 10\r\n")));
  EXPECT_THAT(answer, testing::EndsWith("\r\n\r\n"));
  EXPECT_THAT(ask("/", "", "POST"),
              AllOf(StartsWith("HTTP/1.1 405 "), HasSubstr("Allow: GET, HEAD")));
}

TEST_F(StaticServer, what_is_not_there_has_the_sites_own_page) {
  start();
  EXPECT_THAT(ask("/absent"), AllOf(StartsWith("HTTP/1.1 404 "), HasSubstr("404 Not Found\n")));
  write(root() / "404.html", "lost");
  EXPECT_THAT(ask("/absent"), AllOf(StartsWith("HTTP/1.1 404 "), HasSubstr("\r\n\r\nlost")));
}

TEST_F(StaticServer, the_fallback_is_for_paths_and_not_for_files) {
  start({}, "/index.html");
  EXPECT_THAT(ask("/users/7"), AllOf(StartsWith("HTTP/1.1 200 "), HasSubstr("<h1>home</h1>")));
  EXPECT_THAT(ask("/users/jane.doe"), StartsWith("HTTP/1.1 200 "));
  EXPECT_THAT(ask("/assets/old.js"), StartsWith("HTTP/1.1 404 "))
      << "a page in place of a script is a riddle in the browser";
  EXPECT_THAT(ask("/.env"), StartsWith("HTTP/1.1 404 "));
}

TEST_F(StaticServer, one_connection_serves_many_requests_also_sent_at_once) {
  start();
  const auto client = connect();
  std::string all;
  for (int i = 0; i < 50; ++i) all += "GET /about HTTP/1.1\r\nHost: x\r\n\r\n";
  client.send(all + "GET /docs/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  const auto answers = client.read_all();
  std::size_t count = 0;
  for (auto at = answers.find("HTTP/1.1 200"); at != std::string::npos;
       at = answers.find("HTTP/1.1 200", at + 1)) {
    ++count;
  }
  EXPECT_EQ(count, 51U);
  EXPECT_THAT(answers, testing::EndsWith("docs"));
}

TEST_F(StaticServer, refuses_what_is_no_request) {
  start();
  const std::pair<std::string, const char*> cases[] = {
      {"GET / HTTP/1.1\r\n\r\n", "400"},
      {"GET  / HTTP/1.1\r\nHost: x\r\n\r\n", "400"},
      {"GET /" + std::string(9000, 'a') + " HTTP/1.1\r\nHost: x\r\n\r\n", "414"},
      {"GET / HTTP/1.1\r\nHost: x\r\nX: " + std::string(20'000, 'a') + "\r\n\r\n", "431"},
      {"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
       "400"}};
  for (const auto& [bytes, status] : cases) {
    const auto client = connect();
    client.send(bytes);
    EXPECT_THAT(client.read_all(), StartsWith("HTTP/1.1 " + std::string(status)))
        << bytes.substr(0, 60);
  }
}

TEST_F(StaticServer, slow_and_silent_clients_are_closed_and_hold_up_nobody) {
  start({.head_max = 400ms, .idle_max = 600ms, .stall_max = 500ms});
  // A large file that nobody reads fills the socket's buffer.
  write(root() / "large.bin", std::string(64U << 20U, 'x'));
  const auto half = connect();
  const auto silent = connect();
  const auto greedy = connect();
  half.send("GET / HTTP/1.1\r\nHo");
  greedy.send("GET /large.bin HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_THAT(ask("/"), StartsWith("HTTP/1.1 200 "));
  EXPECT_TRUE(half.closed_within(5s));
  EXPECT_TRUE(silent.closed_within(5s));
  std::this_thread::sleep_for(1200ms);
  EXPECT_LT(greedy.read_all(500ms).size(), 64U << 20U);
}

TEST_F(StaticServer, with_too_many_connections_the_one_idle_for_longest_goes) {
  start({.connections_max = 20});
  std::vector<Client> clients;
  clients.reserve(60);
  for (int i = 0; i < 60; ++i) clients.emplace_back(listener_->port());
  EXPECT_THAT(ask("/"), StartsWith("HTTP/1.1 200 "));
  EXPECT_TRUE(clients.front().closed_within(2s));
}

TEST_F(StaticServer, a_large_file_arrives_whole) {
  start();
  std::string content(9U << 20U, '\0');
  for (std::size_t i = 0; i < content.size(); ++i) content[i] = static_cast<char>(i % 251);
  write(root() / "large.bin", content);
  const auto answer = ask("/large.bin");
  EXPECT_TRUE(answer.ends_with(content));
}

TEST_F(StaticServer, sigterm_finishes_what_is_under_way_and_takes_nothing_new) {
  start();
  write(root() / "large.bin", std::string(32U << 20U, 'x'));
  const auto idle = connect();
  const auto client = connect();
  client.send("GET /large.bin HTTP/1.1\r\nHost: x\r\n\r\n");
  std::this_thread::sleep_for(200ms);
  terminate();
  EXPECT_TRUE(idle.closed_within(3s));
  EXPECT_GT(client.read_all().size(), 32U << 20U);
  thread_.join();
  EXPECT_FALSE(Client(listener_->port()).connected());
}

}  // namespace
}  // namespace atlasflow::static_server
