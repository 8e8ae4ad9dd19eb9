// A push goes live, on real parts.

#include <algorithm>
#include <atomic>
#include <fstream>
#include <thread>

#include <gmock/gmock.h>

#include "tests/end_to_end/server_fixture.hpp"

namespace atlasflow::end_to_end {
namespace {

using namespace std::chrono_literals;
using testing::AllOf;
using testing::ElementsAreArray;
using testing::HasSubstr;
using testing::Not;

const std::string k_zeros(40, '0');

// Disks are too large to be read as one text.
bool holds(const std::filesystem::path& file, const std::string& text) {
  constexpr std::size_t k_chunk_bytes = 1U << 20U;
  std::ifstream in(file, std::ios::binary);
  std::string chunk;
  while (in) {
    chunk.erase(0, chunk.size() - std::min(chunk.size(), text.size() - 1));
    const auto before = chunk.size();
    chunk.resize(before + k_chunk_bytes);
    in.read(chunk.data() + before, k_chunk_bytes);
    chunk.resize(before + static_cast<std::size_t>(in.gcount()));
    if (chunk.find(text) != std::string::npos) return true;
  }
  return false;
}

class Pipeline : public ServerFixture {
 protected:
  // The push is live; its deployment's id.
  std::string push_and_wait(const std::string& before, const std::string& after) {
    const auto id = deployment_in(push(before, after));
    EXPECT_TRUE(eventually(240s, [&] {
      return deployment("web", id).value("status", "") == "live";
    })) << deployment("web", id).dump(2);
    return id;
  }
};

TEST_F(Pipeline, a_signed_push_becomes_a_page_behind_tls_in_seven_events) {
  write_app("hello one\n");
  const auto sha = repository().commit_all("Say hello");
  start_server();
  create_project("web");
  const auto id = push_and_wait(k_zeros, sha);

  EXPECT_THAT(seven_of("web", id), ElementsAreArray(k_seven));
  const auto page = get("web." + k_domain);
  EXPECT_EQ(page.status, 200) << page.error;
  EXPECT_EQ(page.body, "hello one\n");
  const auto preview = get(id + "-web." + k_domain);
  EXPECT_EQ(preview.status, 200) << preview.error;
  EXPECT_EQ(preview.body, "hello one\n");
  EXPECT_EQ(get("nobody." + k_domain).status, 404);

  // GitHub redelivers by hand only, and then under the same id.
  const auto again = push(k_zeros, sha);
  EXPECT_EQ(again.status, 200);
  EXPECT_THAT(again.body, HasSubstr(id));
  EXPECT_EQ(atlasflow_json({"deployments", "web"}).at("deployments").size(), 1U);
}

TEST_F(Pipeline, a_push_that_is_told_by_hand_goes_live_and_its_repetition_is_none) {
  write_app("hello by hand\n");
  const auto sha = repository().commit_all("Say hello");
  start_server();
  create_project("web");
  const auto id = deployment_in(tell_by_hand("web", {{"ref", "refs/heads/main"}, {"sha", sha}}));
  EXPECT_TRUE(eventually(240s, [&] { return deployment("web", id).value("status", "") == "live"; }))
      << deployment("web", id).dump(2);
  EXPECT_EQ(get("web." + k_domain).body, "hello by hand\n");
  // "Look", and there is nothing new.
  const auto looked = tell_by_hand("web", nlohmann::json::object());
  EXPECT_EQ(looked.status, 202);
  EXPECT_THAT(looked.body, AllOf(HasSubstr("ignored"), HasSubstr("is known")));
  EXPECT_EQ(tell_by_hand("nobody", nlohmann::json::object()).status, 401);
  EXPECT_EQ(atlasflow_json({"deployments", "web"}).at("deployments").size(), 1U);
}

TEST_F(Pipeline, a_second_push_takes_over_without_a_failed_request) {
  write_app("hello one\n");
  const auto first_sha = repository().commit_all("Say hello");
  start_server();
  create_project("web");
  push_and_wait(k_zeros, first_sha);

  std::atomic<bool> stop = false;
  int requests = 0;
  int failures = 0;
  std::string failure;
  std::thread visitor([&] {
    constexpr int k_requests_max = 5000;
    while (!stop && requests < k_requests_max) {
      const auto answer = get("web." + k_domain);
      ++requests;
      if (answer.status != 200) {
        ++failures;
        failure = std::to_string(answer.status) + " " + answer.error + " " + answer.body;
      }
      std::this_thread::sleep_for(20ms);
    }
  });
  write_app("hello two\n");
  const auto second_sha = repository().commit_all("Say it again");
  const auto second = push_and_wait(first_sha, second_sha);
  const bool switched =
      eventually(30s, [&] { return get("web." + k_domain).body == "hello two\n"; });
  expect_only_vm_of("web", second);
  stop = true;
  visitor.join();

  EXPECT_TRUE(switched);
  EXPECT_EQ(failures, 0) << failure;
  EXPECT_GT(requests, 20);
  EXPECT_THAT(seven_of("web", second), ElementsAreArray(k_seven));
}

TEST_F(Pipeline, a_variable_reaches_the_app_and_nothing_else) {
  const std::string secret = "s3cr3t-b9f2c4a7";
  write_app("hello\n");
  repository().commit_all("Say hello");
  start_server();
  create_project("web");
  ASSERT_EQ(atlasflow({"env", "set", "web", "--stdin", "GREETING"}, secret + "\n").code, 0);
  const auto deployed = atlasflow({"deploy", "web", "--wait"});
  ASSERT_EQ(deployed.code, 0) << deployed.err;
  EXPECT_EQ(get("web." + k_domain, "/cgi-bin/env").body, secret);

  EXPECT_THAT(atlasflow({"env", "list", "web"}).out, HasSubstr("GREETING"));
  EXPECT_THAT(atlasflow({"env", "list", "web"}).out, Not(HasSubstr(secret)));
  EXPECT_THAT(atlasflow({"events", "--json"}).out, Not(HasSubstr(secret)));
  EXPECT_THAT(server_log(), Not(HasSubstr(secret)));
  for (const auto& entry : std::filesystem::directory_iterator(state_dir() / "logs")) {
    EXPECT_THAT(read_file(entry.path()), Not(HasSubstr(secret))) << entry.path();
  }
  for (const auto& entry : std::filesystem::recursive_directory_iterator(state_dir() / "events")) {
    if (!entry.is_regular_file()) continue;
    EXPECT_EQ(read_file(entry.path()).find(secret), std::string::npos) << entry.path();
  }
  ASSERT_EQ(vm_processes().size(), 1U);
  const auto process = "/proc/" + std::to_string(vm_processes().at(0));
  EXPECT_EQ(read_file(process + "/cmdline").find(secret), std::string::npos);
  EXPECT_EQ(read_file(process + "/environ").find(secret), std::string::npos);
}

// What a step prints of it, the log hides; everything else never has it.
TEST_F(Pipeline, a_build_secret_reaches_the_step_that_mounts_it_and_nothing_else) {
  const std::string secret = "s3cr3t-7d40be91-build";
  write_app("hello\n");
  const auto dockerfile = repository().folder() / "Dockerfile";
  const auto text = read_file(dockerfile);
  const auto end = text.find('\n', text.find("RUN ")) + 1;
  write_file(dockerfile,
             text.substr(0, end) +
                 "RUN --mount=type=secret,id=TOKEN,required cp /run/secrets/TOKEN /dev/shm/t; "
                 "echo \"it has $(wc -c < /dev/shm/t) bytes: $(cat /dev/shm/t)\"; sleep 5\n" +
                 text.substr(end));
  repository().commit_all("Build with a secret");
  start_server();
  create_project("web");

  const auto without = atlasflow({"deploy", "web", "--wait"});
  EXPECT_EQ(without.code, 1);
  EXPECT_THAT(without.out + without.err,
              HasSubstr("'atlasflow build-secret set web TOKEN < FILE'"));

  ASSERT_EQ(atlasflow({"build-secret", "set", "web", "TOKEN"}, secret + "\n").code, 0);
  ASSERT_EQ(atlasflow({"deploy", "web"}).code, 0);
  ASSERT_TRUE(eventually(120s, [&] {
    return atlasflow({"logs", "web", "--build"}).out.find("it has") != std::string::npos;
  }));
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    if (entry.path().filename().string().find_first_not_of("0123456789") != std::string::npos) {
      continue;
    }
    EXPECT_THAT(read_file(entry.path() / "cmdline"), Not(HasSubstr(secret)));
    EXPECT_THAT(read_file(entry.path() / "environ"), Not(HasSubstr(secret)));
  }
  ASSERT_TRUE(eventually(120s, [&] { return get("web." + k_domain).body == "hello\n"; }));

  EXPECT_THAT(atlasflow({"logs", "web", "--build"}).out,
              HasSubstr("it has " + std::to_string(secret.size()) + " bytes: ***\n"));
  EXPECT_THAT(atlasflow({"build-secret", "list", "web"}).out, HasSubstr("TOKEN"));
  EXPECT_THAT(atlasflow({"events", "--json"}).out,
              AllOf(HasSubstr("BuildSecretSet"), Not(HasSubstr(secret))));
  const auto exported = atlasflow({"log", "export", "-"});
  EXPECT_EQ(exported.code, 0) << exported.err;
  EXPECT_THAT(exported.out, AllOf(HasSubstr("BuildSecretSet"), Not(HasSubstr(secret))));
  EXPECT_THAT(server_log(), Not(HasSubstr(secret)));
  // Layers and their history, the registry, the microVM's disks, logs, events, sealed values.
  for (const auto& entry : std::filesystem::recursive_directory_iterator(state_dir())) {
    if (!entry.is_regular_file() || entry.is_symlink()) continue;
    EXPECT_FALSE(holds(entry.path(), secret)) << entry.path();
  }
}

}  // namespace
}  // namespace atlasflow::end_to_end
