#include "tests/end_to_end/server_fixture.hpp"

#include <algorithm>
#include <charconv>
#include <iostream>
#include <sstream>
#include <thread>

#include <openssl/hmac.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

namespace atlasflow::end_to_end {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;

constexpr const char* k_config = R"([edge]
http = "127.0.0.1:0"
https = "127.0.0.1:0"
[api]
webhook_listen = "127.0.0.1:0"
)";

constexpr const char* k_dockerfile = R"(FROM scratch
COPY busybox /bin/busybox
RUN ["/bin/busybox", "--install", "-s", "/bin"]
COPY www /www
CMD ["/bin/httpd", "-f", "-p", "3000", "-h", "/www"]
)";

constexpr const char* k_env_script = R"(#!/bin/sh
printf 'Content-Type: text/plain\r\n\r\n'
printf '%s' "$GREETING"
)";

std::string hex(const unsigned char* bytes, std::size_t size) {
  constexpr std::string_view k_digits = "0123456789abcdef";
  std::string text;
  for (std::size_t i = 0; i < size; ++i) {
    text += {k_digits[bytes[i] >> 4U], k_digits[bytes[i] & 0xFU]};
  }
  return text;
}

std::string signature(const std::string& secret, const std::string& body) {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int size = 0;
  ::HMAC(EVP_sha256(), secret.data(), static_cast<int>(secret.size()),
         reinterpret_cast<const unsigned char*>(body.data()), body.size(), digest, &size);
  return "sha256=" + hex(digest, size);
}

// Decimal names in /proc are processes.
std::optional<pid_t> pid_of(const fs::path& entry) {
  const auto name = entry.filename().string();
  pid_t pid = 0;
  const auto parsed = std::from_chars(name.data(), name.data() + name.size(), pid);
  if (parsed.ec != std::errc{} || parsed.ptr != name.data() + name.size()) return std::nullopt;
  return pid;
}

// Processes one of whose arguments has the text in it.
std::vector<pid_t> processes_naming(const std::string& text) {
  std::vector<pid_t> pids;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator("/proc", error)) {
    const auto pid = pid_of(entry.path());
    if (pid && *pid != ::getpid() &&
        read_file(entry.path() / "cmdline").find(text) != std::string::npos) {
      pids.push_back(*pid);
    }
  }
  return pids;
}

}  // namespace

void ServerFixture::SetUp() {
  if (::geteuid() != 0) GTEST_SKIP() << "image builds and microVMs need root";
  auto name = (fs::temp_directory_path() / "atlasflow-e2e-XXXXXX").string();
  ASSERT_NE(::mkdtemp(name.data()), nullptr);
  folder_ = name;
  write_file(folder_ / "atlasflow.toml", k_config);
  write_file(folder_ / "webhook-secret", k_webhook_secret);
  repository_ = std::make_unique<GitRepository>(folder_ / "repository");
}

void ServerFixture::TearDown() {
  if (folder_.empty()) return;
  if (HasFailure()) {
    std::cerr << "---- the server's log ----\n" << server_log();
    std::cerr << "---- the edge's log ----\n" << read_file(state_dir() / "edge/edge.log");
    std::error_code error;
    for (const auto& entry : fs::directory_iterator(state_dir() / "logs", error)) {
      std::cerr << "---- " << entry.path().filename().string() << " ----\n"
                << read_file(entry.path());
    }
  }
  if (server_) {
    for (const auto& project : projects_) {
      static_cast<void>(atlasflow({"project", "delete", project, "--yes"}));
    }
    static_cast<void>(eventually(60s, [this] { return vm_processes().empty(); }));
    server_->signal(SIGTERM);
    if (!server_->wait(30s)) server_->signal(SIGKILL);
    server_.reset();
  }
  if (fs::exists(state_dir())) {
    const auto halted = atlasflow({"halt"});
    EXPECT_EQ(halted.code, 0) << halted.err;
  }
  // What that could not end names the folder.
  auto leftovers = vm_processes();
  for (const auto pid : processes_naming(state_dir().string())) leftovers.push_back(pid);
  for (const auto pid : leftovers) ::kill(pid, SIGKILL);
  std::error_code error;
  fs::remove_all(folder_, error);
}

void ServerFixture::launch_server(const Environment& environment) {
  std::vector<std::string> arguments{ATLASFLOW_EXECUTABLE, "server",
                                     "--config",           (folder_ / "atlasflow.toml").string(),
                                     "--state-dir",        state_dir().string()};
  if (accept_loss_) arguments.emplace_back("--accept-loss");
  server_ =
      Process::start(arguments, environment, {}, folder_ / "server.log", folder_ / "server.log");
}

void ServerFixture::start_server(const Environment& environment) {
  launch_server(environment);
  Ran status;
  ASSERT_TRUE(eventually(120s,
                         [&] {
                           status = atlasflow({"status", "--json"});
                           return status.code == 0;
                         }))
      << status.err << server_log();
  https_port_ = nlohmann::json::parse(status.out).at("https_port").get<int>();
}

void ServerFixture::stop_server() {
  server_->signal(SIGTERM);
  const auto exit = server_->wait(60s);
  ASSERT_TRUE(exit) << "the server did not stop on SIGTERM";
  EXPECT_EQ(exit->code, 0);
  server_.reset();
}

void ServerFixture::kill_server() {
  server_->signal(SIGKILL);
  ASSERT_TRUE(server_->wait(10s));
  server_.reset();
}

int ServerFixture::signal_that_ended_server() {
  const auto exit = server_->wait(120s);
  if (!exit) return 0;
  server_.reset();
  return exit->signal;
}

Ran ServerFixture::atlasflow(std::vector<std::string> arguments, const std::string& input) {
  const auto base = folder_ / ("run-" + std::to_string(++runs_));
  const auto in = fs::path(base.string() + ".in");
  const auto out = fs::path(base.string() + ".out");
  const auto err = fs::path(base.string() + ".err");
  write_file(in, input);
  arguments.insert(arguments.begin(), ATLASFLOW_EXECUTABLE);
  auto process =
      Process::start(arguments, {{"ATLASFLOW_STATE_DIR", state_dir().string()}}, in, out, err);
  const auto exit = process.wait(400s);
  return {exit ? exit->code : -1, read_file(out), read_file(err)};
}

nlohmann::json ServerFixture::atlasflow_json(std::vector<std::string> arguments) {
  arguments.emplace_back("--json");
  const auto ran = atlasflow(std::move(arguments));
  EXPECT_EQ(ran.code, 0) << ran.err;
  return nlohmann::json::parse(ran.out);
}

void ServerFixture::create_project(const std::string& name) {
  const auto ran =
      atlasflow({"project", "create", name, "--repo", repository_->folder().string(), "--branch",
                 "main", "--webhook-secret-file", (folder_ / "webhook-secret").string()});
  ASSERT_EQ(ran.code, 0) << ran.err;
  projects_.push_back(name);
}

void ServerFixture::create_project(const std::string& name, const std::string& repository_url) {
  const auto ran = atlasflow({"project", "create", name, "--repo", repository_url});
  ASSERT_EQ(ran.code, 0) << ran.err;
  projects_.push_back(name);
}

std::vector<nlohmann::json> ServerFixture::events(const std::string& project) {
  const auto ran = atlasflow({"events", "--project", project, "--json"});
  EXPECT_EQ(ran.code, 0) << ran.err;
  std::vector<nlohmann::json> events;
  std::istringstream lines(ran.out);
  for (std::string line; std::getline(lines, line);) events.push_back(nlohmann::json::parse(line));
  return events;
}

std::vector<std::string> ServerFixture::seven_of(const std::string& project,
                                                 const std::string& deployment) {
  std::vector<std::string> names;
  for (const auto& event : events(project)) {
    const auto type = event.at("type").get<std::string>();
    if (event.at("stream") == "deployment/" + deployment &&
        std::find(k_seven.begin(), k_seven.end(), type) != k_seven.end()) {
      names.push_back(type);
    }
  }
  return names;
}

nlohmann::json ServerFixture::deployment(const std::string& project, const std::string& id) {
  const auto answer = atlasflow_json({"deployments", project});
  for (const auto& found : answer.at("deployments")) {
    if (found.at("id") == id) return found;
  }
  return nlohmann::json::object();
}

void ServerFixture::write_app(const std::string& page) {
  const auto& root = repository_->folder();
  fs::copy_file("/bin/busybox", root / "busybox", fs::copy_options::overwrite_existing);
  write_file(root / "Dockerfile", k_dockerfile);
  write_file(root / "www/index.html", page);
  write_file(root / "www/cgi-bin/env", k_env_script);
  fs::permissions(root / "www/cgi-bin/env", fs::perms::all);
}

HttpAnswer ServerFixture::push(const std::string& before, const std::string& after,
                               const std::string& other_url) {
  const auto url = other_url.empty() ? repository_->folder().string() : other_url;
  const nlohmann::json payload = {{"ref", "refs/heads/main"},
                                  {"before", before},
                                  {"after", after},
                                  {"created", false},
                                  {"deleted", false},
                                  {"forced", false},
                                  {"base_ref", nullptr},
                                  {"head_commit", {{"id", after}, {"message", "A change"}}},
                                  {"commits", nlohmann::json::array()},
                                  {"pusher", {{"name", "mona"}, {"email", "mona@example.com"}}},
                                  {"repository",
                                   {{"id", 186853002},
                                    {"full_name", "mona/app"},
                                    {"default_branch", "main"},
                                    {"private", false},
                                    {"html_url", url},
                                    {"clone_url", url},
                                    {"git_url", url},
                                    {"ssh_url", url}}}};
  return deliver("push", after, payload);
}

HttpAnswer ServerFixture::deliver(const std::string& event, const std::string& guid,
                                  const nlohmann::json& payload) {
  const auto body = payload.dump();
  return request(k_domain, "/webhooks/github", &body,
                 {{"Content-Type", "application/json"},
                  {"User-Agent", "GitHub-Hookshot/044aadd"},
                  {"X-GitHub-Event", event},
                  {"X-GitHub-Delivery", guid},
                  {"X-Hub-Signature-256", signature(k_webhook_secret, body)}});
}

HttpAnswer ServerFixture::tell_by_hand(const std::string& project, const nlohmann::json& payload) {
  const auto body = payload.dump();
  return request(k_domain, "/webhooks/git/" + project, &body,
                 {{"X-Atlasflow-Signature", signature(k_webhook_secret, body)}});
}

std::string ServerFixture::deployment_in(const HttpAnswer& answer) {
  EXPECT_EQ(answer.status, 202) << answer.body << answer.error;
  const auto json = nlohmann::json::parse(answer.body, nullptr, false);
  if (!json.is_object() || json.value("receipts", nlohmann::json::array()).empty()) {
    ADD_FAILURE() << "no receipt in: " << answer.body;
    return {};
  }
  return json.at("receipts").at(0).at("deployment").get<std::string>();
}

HttpAnswer ServerFixture::get(const std::string& host, const std::string& path) {
  return request(host, path, nullptr, {});
}

HttpAnswer ServerFixture::request(const std::string& host, const std::string& path,
                                  const std::string* body, const std::vector<HttpField>& fields) {
  const auto port = std::to_string(https_port());
  const auto answer = send_http({.method = body == nullptr ? "GET" : "POST",
                                 .url = "https://" + host + ":" + port + path,
                                 .fields = fields,
                                 .body = body == nullptr ? std::nullopt : std::optional(*body),
                                 .connect_to = "127.0.0.1:" + port,
                                 .ca_file = ca_certificate(),
                                 .body_bytes_max = 1ULL << 30U});
  if (!answer) return {0, "", to_string(answer.error())};
  return {answer->status, answer->body, ""};
}

std::vector<pid_t> ServerFixture::vm_processes() const {
  auto host_id = read_file(state_dir() / "vm/host_id");
  while (!host_id.empty() && host_id.back() == '\n') host_id.pop_back();
  return host_id.empty() ? std::vector<pid_t>{} : processes_naming("atlasflow-" + host_id + "-");
}

pid_t ServerFixture::edge_process() const {
  for (const auto pid : processes_naming(state_dir().string())) {
    const auto words = read_file("/proc/" + std::to_string(pid) + "/cmdline");
    if (words.starts_with(std::string("atlasflow\0edge\0", 15))) return pid;
  }
  return 0;
}

bool ServerFixture::eventually(std::chrono::seconds limit, const std::function<bool()>& holds) {
  const auto end = std::chrono::steady_clock::now() + limit;
  while (!holds()) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::sleep_for(200ms);
  }
  return true;
}

void ServerFixture::expect_only_vm_of(const std::string& project, const std::string& id) {
  EXPECT_TRUE(eventually(90s, [&] { return vm_processes().size() == 1; }))
      << vm_processes().size() << " microVMs run";
  const auto live = atlasflow_json({"project", "show", project}).at("live_deployment");
  ASSERT_TRUE(live.is_object());
  EXPECT_EQ(live.at("id"), id);
  const auto cmdline = read_file("/proc/" + std::to_string(vm_processes().at(0)) + "/cmdline");
  EXPECT_NE(cmdline.find("-" + live.at("vm").at("id").get<std::string>()), std::string::npos);
}

}  // namespace atlasflow::end_to_end
