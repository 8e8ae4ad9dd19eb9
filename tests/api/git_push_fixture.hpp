// Pushes by the real git client to the API's listener: a working copy, its pusher, and what became
// of what was pushed. One per test; the test's thread.
#pragma once

#include <chrono>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "api/push_login.hpp"
#include "base/base64.hpp"
#include "base/process.hpp"
#include "receive/repositories.hpp"
#include "tests/api/api_fixture.hpp"

namespace atlasflow::api::testing {

inline const std::string k_token = "afp_the-token-of-shop";
inline const std::string k_zeros(40, '0');

struct Ran {
  int code = -1;
  std::string output;  // of both streams
};

class GitPushTest : public ApiTest {
 protected:
  GitPushTest() {
    control_.add_own_project("shop");
    control_.add_own_project("other");
    control_.add_project("cloned");
    set_token("shop", k_token);
    set_token("other", "afp_of-other");
    receive_with({});
    control_.receipts = std::vector<actors::PushReceipt>{
        {actors::PushReceipt::Verdict::ignored, "shop", {}, "the test says so"}};
    std::filesystem::create_directories(work());
    expect_git({"init", "-q", "-b", "main"});
  }

  void set_token(const std::string& project, const std::string& token) {
    pb::Event event;
    event.mutable_push_token_set()->set_digest(push_token_digest(token));
    control_.append(project_stream(ProjectId(project)), {event});
  }
  void receive_with(receive::GitBounds bounds, std::uint64_t free_bytes_min = 0) {
    repositories_ =
        std::make_unique<receive::Repositories>(folder_.path() / "git", free_bytes_min, bounds);
    std::filesystem::create_directories(repositories_->root());
    config_.repositories = repositories_.get();
  }
  ~GitPushTest() override { stop(); }

  [[nodiscard]] std::filesystem::path work() const { return folder_.path() / "work"; }
  [[nodiscard]] std::filesystem::path bare(const std::string& project = "shop") const {
    return receive::repository_path(folder_.path() / "git", project);
  }
  [[nodiscard]] std::string url(const std::string& project = "shop",
                                const std::string& login = "ada:" + k_token) {
    start();
    return "http://" + login + "@127.0.0.1:" + std::to_string(api_->webhook_port()) + "/git/" +
           project;
  }

  Ran git_in(const std::filesystem::path& folder, std::vector<std::string> arguments) const {
    arguments.insert(arguments.begin(), {"git", "-c", "safe.directory=*", "-C", folder.string()});
    SpawnRequest request;
    request.program = find_program("git");
    request.argv = std::move(arguments);
    request.environment = {"PATH=/usr/bin:/bin",
                           "HOME=/nonexistent",
                           "GIT_CONFIG_NOSYSTEM=1",
                           "GIT_TERMINAL_PROMPT=0",
                           "GIT_AUTHOR_NAME=Ada",
                           "GIT_AUTHOR_EMAIL=ada@example.com",
                           "GIT_COMMITTER_NAME=Ada",
                           "GIT_COMMITTER_EMAIL=ada@example.com",
                           "GIT_ADVICE=0"};
    Ran ran;
    const auto outcome = run_process(std::move(request), std::chrono::seconds(60), {},
                                     [&](std::string_view bytes) { ran.output += bytes; });
    ran.code = outcome ? outcome->exit_code : -1;
    return ran;
  }
  Ran git(std::vector<std::string> arguments) const { return git_in(work(), std::move(arguments)); }
  std::string expect_git(std::vector<std::string> arguments) const {
    auto ran = git(std::move(arguments));
    EXPECT_EQ(ran.code, 0) << ran.output;
    while (ran.output.ends_with('\n')) ran.output.pop_back();
    return ran.output;
  }
  // The commit of a file with that text; its SHA.
  std::string commit(const std::string& text) const {
    std::ofstream(work() / "file") << text;
    expect_git({"add", "-A"});
    expect_git({"commit", "-q", "-m", "a commit"});
    return expect_git({"rev-parse", "HEAD"});
  }
  Ran push(std::vector<std::string> refs, const std::string& to) const {
    refs.insert(refs.begin(), {"push", to});
    return git(std::move(refs));
  }
  [[nodiscard]] std::string head(const std::string& ref = "refs/heads/main") const {
    const auto ran = git_in(bare(), {"rev-parse", "--verify", "-q", ref});
    return ran.output.substr(0, 40);
  }
  void deploy_previews() {
    pb::Event event;
    auto& settings = *event.mutable_settings_changed()->mutable_settings();
    settings = control_.catalog().project_named("shop")->state.settings;
    settings.set_previews(true);
    control_.append(project_stream(ProjectId("shop")), {event});
  }
  // Files without a name that hold what was sent.
  [[nodiscard]] int spools() const {
    int count = 0;
    for (const auto& each : std::filesystem::directory_iterator("/proc/self/fd")) {
      std::error_code gone;
      const auto file = std::filesystem::read_symlink(each.path(), gone).string();
      const auto root = repositories_->root().string();
      if (file.starts_with(root) && file.ends_with(" (deleted)")) ++count;
    }
    return count;
  }
  // More than are read at once, all at that commit.
  void add_60000_tags(const std::string& sha) const {
    ASSERT_EQ(git_in(bare(), {"pack-refs", "--all"}).code, 0);
    std::ofstream packed(bare() / "packed-refs", std::ios::app);
    for (int i = 100'000; i < 160'000; ++i) {
      packed << sha << " refs/tags/" << std::string(40, 'v') << i << "\n";
    }
  }
  [[nodiscard]] std::vector<Push> recorded() const {
    std::vector<Push> pushes;
    for (auto& each : control_.asked<commands::TakeProjectPush>()) pushes.push_back(each.push);
    return pushes;
  }
  [[nodiscard]] static bool eventually(const std::function<bool()>& holds) {
    for (int i = 0; i < 400; ++i) {
      if (holds()) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
    }
    return false;
  }
  // A request by hand, with the login of `ada`.
  Answer ask_git(const std::string& method, const std::string& target,
                 std::vector<std::string> fields, const std::string& body = "") {
    fields.push_back("Authorization: Basic " + base64("ada:" + k_token));
    auto answer = connect_webhook().ask(request_text(method, target, fields, body));
    EXPECT_TRUE(answer.has_value());
    return answer.value_or(Answer{});
  }

  // What git sends to delete a branch.
  static std::string deletion_of(const std::string& ref, const std::string& sha) {
    const auto command =
        sha + " " + k_zeros + " " + ref + std::string(1, '\0') + " report-status side-band-64k";
    constexpr std::string_view k_hex = "0123456789abcdef";
    std::string packet;
    for (int shift = 12; shift >= 0; shift -= 4) {
      packet += k_hex[((command.size() + 4) >> shift) & 0xFU];
    }
    return packet.append(command).append("0000");
  }

  std::unique_ptr<receive::Repositories> repositories_;
};

}  // namespace atlasflow::api::testing
