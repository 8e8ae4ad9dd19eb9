#include "tests/github/local_github.hpp"

#include <chrono>
#include <cstdlib>
#include <ctime>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <thread>

#include "base/http_client.hpp"
#include "tests/github/test_keys.hpp"

namespace atlasflow::github {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

// One key for all tests of a process: making one takes a while.
EVP_PKEY* app_key() {
  static const TestKey k_key = make_rsa_key(2048);
  return k_key.get();
}

fs::path temporary_folder() {
  auto name = (fs::temp_directory_path() / "local_github_XXXXXX").string();
  if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("no temporary folder");
  return name;
}

std::string text_of(const fs::path& path) {
  std::ifstream in(path);
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

std::string quoted(const std::string& text) { return "'" + text + "'"; }

Json exchange(const HttpRequest& request) {
  const auto response = send_http(request);
  if (!response) throw std::runtime_error(to_string(response.error()));
  return Json::parse(response->body);
}

}  // namespace

LocalGitHub::LocalGitHub()
    : folder_(temporary_folder()),
      private_key_(pkcs1_pem(app_key())),
      process_(nullptr, &::pclose) {
  const auto repository = [](int id, const char* name, bool is_private, Json installation) {
    return Json{{"id", id},
                {"owner", "octo"},
                {"name", name},
                {"private", is_private},
                {"installation", std::move(installation)}};
  };
  const Json config = {
      {"app_id", k_app_id},
      {"slug", "atlasflow-test"},
      {"modulus", modulus_hex(app_key())},
      {"exponent", 65537},
      {"pem", private_key_},
      {"webhook_secret", k_webhook_secret},
      {"hook_url", "https://example.com:8443/webhooks/github"},
      {"git_root", (folder_ / "git").string()},
      {"repositories", Json::array({repository(7, "web", true, 42), repository(8, "api", true, 42),
                                    repository(9, "site", false, nullptr)})}};
  fs::create_directories(folder_ / "git");
  std::ofstream(folder_ / "config.json") << config.dump();
  const auto port_file = folder_ / "port";
  const auto command = "exec python3 " + quoted(ATLASFLOW_LOCAL_GITHUB) + " " +
                       quoted((folder_ / "config.json").string()) + " " +
                       quoted(port_file.string());
  process_.reset(::popen(command.c_str(), "we"));
  constexpr int k_patience = 3000;  // of 10 ms
  for (int i = 0; i < k_patience && !fs::exists(port_file); ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  port_ = static_cast<std::uint16_t>(std::atoi(text_of(port_file).c_str()));
  if (port_ == 0) throw std::runtime_error("local_github.py does not start");
}

LocalGitHub::~LocalGitHub() {
  process_.reset();  // closes its standard input, and waits
  std::error_code ignored;
  fs::remove_all(folder_, ignored);
}

std::string LocalGitHub::base_url() const { return "http://127.0.0.1:" + std::to_string(port_); }

std::string LocalGitHub::make_repository(const std::string& full_name) const {
  const auto bare = (folder_ / "git" / (full_name + ".git")).string();
  const auto sha_file = (folder_ / "sha").string();
  const auto git = "git -C " + quoted(bare) + " ";
  // Plumbing only: no work tree, and nobody's configuration.
  const auto script =
      "set -e; export GIT_CONFIG_GLOBAL=/dev/null GIT_AUTHOR_NAME=A GIT_AUTHOR_EMAIL=a@b "
      "GIT_COMMITTER_NAME=A GIT_COMMITTER_EMAIL=a@b; git init -q --bare -b main " +
      quoted(bare) + "; blob=$(echo hello | " + git + "hash-object -w --stdin); tree=$(printf " +
      "'100644 blob %s\\tindex.html\\n' $blob | " + git + "mktree); commit=$(" + git +
      "commit-tree -m first $tree); " + git +
      "update-ref refs/heads/main $commit; echo $commit > " + quoted(sha_file);
  if (std::system(script.c_str()) != 0) throw std::runtime_error("git makes no repository");
  auto sha = text_of(sha_file);
  sha.resize(40);
  return sha;
}

void LocalGitHub::control(const Json& order) const {
  HttpRequest request;
  request.method = "POST";
  request.url = base_url() + "/_control";
  request.body = order.dump();
  const auto answer = exchange(request);
  if (answer.contains("error")) throw std::runtime_error(answer["error"].get<std::string>());
}

void LocalGitHub::fail_next(const std::string& path, int status, Json headers, Json body,
                            int times) const {
  control({{"fault",
            {{"path", path},
             {"status", status},
             {"headers", std::move(headers)},
             {"body", std::move(body)},
             {"times", times}}}});
}

std::string LocalGitHub::time_before_now(std::int64_t seconds) {
  const auto time = std::time(nullptr) - seconds;
  std::tm parts{};
  ::gmtime_r(&time, &parts);
  char text[32];
  const auto size = std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts);
  return {text, size};
}

std::vector<LocalGitHub::Asked> LocalGitHub::asked() const {
  HttpRequest request;
  request.url = base_url() + "/_journal";
  std::vector<Asked> asked;
  const auto journal = exchange(request);
  for (const auto& each : journal["requests"]) {
    asked.push_back({each["method"], each["path"], each["body"], each["conditional"]});
  }
  return asked;
}

std::size_t LocalGitHub::count_of(const std::string& method, const std::string& path_end) const {
  std::size_t count = 0;
  for (const auto& each : asked()) {
    if (each.method == method && each.path.ends_with(path_end)) ++count;
  }
  return count;
}

Json LocalGitHub::deployments() const {
  HttpRequest request;
  request.url = base_url() + "/_journal";
  return exchange(request)["deployments"];
}

Json LocalGitHub::commit_statuses() const {
  HttpRequest request;
  request.url = base_url() + "/_journal";
  return exchange(request)["commit_statuses"];
}

Json LocalGitHub::comments() const {
  HttpRequest request;
  request.url = base_url() + "/_journal";
  return exchange(request)["comments"];
}

std::vector<std::string> LocalGitHub::tokens() const {
  HttpRequest request;
  request.url = base_url() + "/_journal";
  return exchange(request)["minted"];
}

std::vector<std::string> LocalGitHub::violations() const {
  HttpRequest request;
  request.url = base_url() + "/_journal";
  return exchange(request)["violations"];
}

}  // namespace atlasflow::github
