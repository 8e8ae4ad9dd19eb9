// kill -9 of the control plane at random moments, over deployments and many live apps, under load.
// How much is asked of it, script/chaos says by the environment.

#include <cstdlib>
#include <iostream>
#include <map>
#include <mutex>
#include <random>
#include <set>
#include <thread>

#include <gmock/gmock.h>

#include "tests/end_to_end/belongings.hpp"
#include "tests/end_to_end/server_fixture.hpp"
#include "tests/end_to_end/visitors.hpp"

namespace atlasflow::end_to_end {
namespace {

using namespace std::chrono_literals;
using std::chrono::milliseconds;
using testing::AnyOf;
using testing::ElementsAreArray;
using testing::Le;
using testing::Not;

using Random = std::mt19937_64;

std::uint64_t asked(const char* variable, std::uint64_t otherwise) {
  const char* text = std::getenv(variable);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

// The same for a seed everywhere, which std::uniform_int_distribution is not.
milliseconds between(Random& random, milliseconds least, milliseconds most) {
  const auto span = static_cast<std::uint64_t>((most - least).count()) + 1;
  return least + milliseconds(random() % span);
}

std::string text_of(const nlohmann::json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : "";
}

bool has_ended(const nlohmann::json& deployment) {
  static const std::set<std::string> k_ends = {"failed", "superseded", "cancelled", "skipped",
                                               "retired"};
  return k_ends.contains(deployment.at("status").get<std::string>());
}

// Why a deployment ended. Empty: it does not say.
std::string reason_of(const nlohmann::json& deployment) {
  const auto status = deployment.at("status").get<std::string>();
  if (status == "failed" && deployment.at("failure").is_object()) {
    return text_of(deployment.at("failure"), "reason");
  }
  if (status == "superseded") return text_of(deployment, "superseded_by");
  if (status == "cancelled") return text_of(deployment, "cancelled_by");
  if (status == "skipped") return text_of(deployment, "skip_reason");
  if (status == "retired") return text_of(deployment, "retire_reason");
  return status == "live" ? "it serves" : "";
}

class Chaos : public ServerFixture {
 protected:
  static constexpr std::size_t k_rollbacks = 2;

  void SetUp() override {
    ServerFixture::SetUp();
    if (folder().empty()) return;
    write_file(folder() / "atlasflow.toml",
               read_file(folder() / "atlasflow.toml") +
                   "[keep]\nrollbacks = " + std::to_string(k_rollbacks) + "\n");
  }

  // The page stays the same over all versions; what makes them differ is beside it.
  std::string commit_version() {
    const auto number = std::to_string(++versions_);
    write_file(repository().folder() / "www/version", number + "\n");
    return repository().commit_all("Version " + number);
  }

  std::vector<nlohmann::json> deployments() {
    return atlasflow_json({"deployments", "web", "--limit", "1000"}).at("deployments");
  }

  // ---- what users and GitHub do meanwhile, on a thread of its own ----

  void accept(const std::string& how, const std::string& id) {
    const std::lock_guard lock(mutex_);
    ++asked_for_[how];
    accepted_.insert(id);
  }

  // Nobody waits for it; a server that is away may refuse it.
  void command(const std::vector<std::string>& arguments) {
    auto with_json = arguments;
    with_json.emplace_back("--json");
    const auto ran = atlasflow(with_json);
    const auto answer = nlohmann::json::parse(ran.out, nullptr, false);
    if (ran.code == 0 && answer.is_object()) accept(arguments[0], text_of(answer, "id"));
  }

  void push_version() {
    const auto before = head_;
    head_ = commit_version();
    const auto answer = push(before, head_);
    if (answer.status != 202) return;
    const auto receipts = nlohmann::json::parse(answer.body).at("receipts");
    for (const auto& receipt : receipts) {
      if (receipt.at("verdict") == "deployed") accept("push", text_of(receipt, "deployment"));
    }
  }

  void ask_without_end(std::uint64_t seed, const std::stop_token& stop) {
    Random random(seed);
    while (!stop.stop_requested()) {
      const auto dice = random() % 20;
      if (dice < 9) {
        push_version();
      } else if (dice < 11) {
        command({"deploy", "web"});
      } else if (dice < 14) {
        command({"rollback", "web"});
      } else if (dice < 16) {
        command({"redeploy", "web"});
      } else if (dice < 18) {
        command({"restart", "web"});
      } else {
        static_cast<void>(atlasflow({"cancel", "web"}));
      }
      std::this_thread::sleep_for(between(random, 200ms, 4s));
    }
  }

  // ---- what must be true in the end ----

  // Every deployment, accepted with a word or by an answer that was lost, has an end with a reason,
  // and each of the seven at most once.
  void expect_ends_and_reasons() {
    std::map<std::string, std::vector<std::string>> seven;
    for (const auto& event : events("web")) {
      const auto type = event.at("type").get<std::string>();
      if (std::find(k_seven.begin(), k_seven.end(), type) == k_seven.end()) continue;
      seven[event.at("stream").get<std::string>()].push_back(type);
    }
    std::map<std::string, int> ends;
    std::set<std::string> known;
    for (const auto& deployment : deployments()) {
      const auto id = deployment.at("id").get<std::string>();
      SCOPED_TRACE(deployment.dump(2));
      known.insert(id);
      ++ends[deployment.at("status")];
      EXPECT_NE(reason_of(deployment), "");
      const auto& milestones = seven["deployment/" + id];
      const std::set<std::string> once(milestones.begin(), milestones.end());
      EXPECT_EQ(once.size(), milestones.size()) << testing::PrintToString(milestones);
      const auto status = deployment.at("status").get<std::string>();
      if (status != "live" && status != "retired") continue;
      EXPECT_TRUE(once.contains("Routed"));
      // A command's stream begins with its own event in place of the push.
      auto wanted = k_seven;
      if (!once.contains("PushReceived")) wanted.erase(wanted.begin());
      if (once.contains("Cloned")) {
        EXPECT_THAT(milestones, ElementsAreArray(wanted));
      }
    }
    for (const auto& id : accepted_) EXPECT_TRUE(known.contains(id)) << id << " was accepted";
    std::cerr << "[  CHAOS   ] asked for";
    for (const auto& [how, count] : asked_for_) std::cerr << " " << how << " " << count;
    std::cerr << "; ended";
    for (const auto& [status, count] : ends) std::cerr << " " << status << " " << count;
    std::cerr << "\n";
  }

  void expect_nothing_left_beyond_what_is_live() {
    std::set<std::string> ids;
    std::string vm;
    for (const auto& deployment : deployments()) {
      ids.insert(deployment.at("id").get<std::string>());
      if (deployment.at("status") == "live") vm = text_of(deployment.at("vm"), "id");
    }
    std::vector<std::string> wanted = {"VM folder " + vm, "edge", "microVM " + vm, "registry",
                                       "server"};
    EXPECT_TRUE(eventually(60s, [&] { return belongings_of(state_dir(), ids) == wanted; }));
    EXPECT_THAT(belongings_of(state_dir(), ids), ElementsAreArray(wanted));
    // The live image and those that can be rolled back to. The janitor comes after a while.
    const auto few_enough = [this] {
      const auto images = images_in(state_dir(), "web");
      return images.pushed <= k_rollbacks + 1 && images.unpacked <= k_rollbacks + 1;
    };
    EXPECT_TRUE(eventually(90s, few_enough))
        << images_in(state_dir(), "web").pushed << " images pushed, "
        << images_in(state_dir(), "web").unpacked << " unpacked";
  }

  std::string head_;
  int versions_ = 0;
  std::mutex mutex_;
  std::map<std::string, int> asked_for_;
  std::set<std::string> accepted_;
};

TEST_F(Chaos, a_server_killed_at_random_moments_loses_nothing_leaves_nothing_and_serves_on) {
  const auto kills = asked("ATLASFLOW_CHAOS_KILLS", 6);
  const auto seed = asked("ATLASFLOW_CHAOS_SEED", 1);
  const auto again =
      "script/chaos --kills " + std::to_string(kills) + " --seed " + std::to_string(seed);
  SCOPED_TRACE("again: " + again);
  std::cerr << "[  CHAOS   ] " << again << "\n";
  Random random(seed);

  const std::string page = "always here\n";
  write_app(page);
  head_ = commit_version();
  start_server();
  create_project("web");
  ASSERT_EQ(atlasflow({"project", "set", "web", "memory_mib=128", "drain_deadline=5s"}).code, 0);
  ASSERT_EQ(atlasflow({"deploy", "web", "--wait"}).code, 0);
  ASSERT_TRUE(eventually(30s, [&] { return get("web." + k_domain).body == page; }));

  Visitors visitors(*this, "web." + k_domain, page, {1, 25ms});
  std::jthread users(
      [this, from = random()](const std::stop_token& stop) { ask_without_end(from, stop); });
  for (std::uint64_t i = 0; i < kills && !HasFatalFailure(); ++i) {
    // One in four dies while it starts.
    if (random() % 4 == 0) {
      std::this_thread::sleep_for(between(random, 0ms, 2500ms));
    } else {
      ASSERT_TRUE(eventually(60s, [this] { return atlasflow({"status"}).code == 0; }));
      std::this_thread::sleep_for(between(random, 0ms, 8s));
    }
    kill_server();
    launch_server();
  }
  users.request_stop();
  users.join();
  ASSERT_TRUE(eventually(60s, [this] { return atlasflow({"status"}).code == 0; }));

  EXPECT_TRUE(eventually(240s, [this] {
    int live = 0;
    for (const auto& deployment : deployments()) {
      if (deployment.at("status") == "live")
        ++live;
      else if (!has_ended(deployment))
        return false;
    }
    return live == 1;
  })) << atlasflow({"status"}).out;
  const auto last = atlasflow({"deploy", "web", "--wait"});
  EXPECT_EQ(last.code, 0) << last.err;
  EXPECT_TRUE(eventually(60s, [this] {
    const auto all = deployments();
    return std::count_if(all.begin(), all.end(), [](const auto& one) { return !has_ended(one); }) ==
           1;
  }));

  expect_ends_and_reasons();
  expect_nothing_left_beyond_what_is_live();
  const auto outcome = visitors.leave();
  EXPECT_EQ(outcome.failed, 0) << outcome.first_failure << " of " << outcome.served;
  EXPECT_GT(outcome.served, 100);
  std::cerr << "[  CHAOS   ] " << outcome.served << " requests answered, " << outcome.failed
            << " not\n";
  stop_server();
  const auto verified = atlasflow({"log", "verify"});
  EXPECT_EQ(verified.code, 0) << verified.err;
  start_server();
}

TEST_F(Chaos, a_killed_control_plane_costs_none_of_many_live_apps_a_request) {
  const auto count = asked("ATLASFLOW_CHAOS_APPS", 8);
  write_app("one of many\n");
  const auto head = commit_version();
  start_server();
  std::vector<std::string> names;
  for (std::uint64_t i = 0; i < count; ++i) {
    names.push_back("app" + std::to_string(i));
    create_project(names.back());
    ASSERT_EQ(atlasflow({"project", "set", names.back(), "memory_mib=128"}).code, 0);
  }
  // One push goes live in all of them.
  ASSERT_EQ(push(std::string(40, '0'), head).status, 202);
  const auto with_status = [this](const std::string& status) {
    const auto projects = atlasflow_json({"project", "list"}).at("projects");
    return static_cast<std::uint64_t>(
        std::count_if(projects.begin(), projects.end(),
                      [&](const auto& project) { return project.at("status") == status; }));
  };
  const auto all_are_live = [&] { return with_status("live") == count; };
  EXPECT_TRUE(eventually(std::chrono::seconds(60 + 15 * count),
                         [&] { return all_are_live() || with_status("failed") > 0; }));
  ASSERT_TRUE(all_are_live()) << atlasflow({"status"}).out;
  const auto machines = vm_processes();
  ASSERT_EQ(machines.size(), count);

  std::vector<std::unique_ptr<Visitors>> visitors;
  for (const auto& name : names) {
    visitors.push_back(std::make_unique<Visitors>(*this, name + "." + k_domain, "one of many\n",
                                                  Visitors::Pace{1, 100ms}));
  }
  const auto each_is_served_more = [&] {
    std::vector<int> until;
    for (const auto& visitor : visitors) until.push_back(visitor->served() + 10);
    return eventually(60s, [&] {
      for (std::size_t i = 0; i < visitors.size(); ++i) {
        if (visitors[i]->served() < until[i]) return false;
      }
      return true;
    });
  };
  EXPECT_TRUE(each_is_served_more());
  kill_server();
  EXPECT_TRUE(each_is_served_more()) << "without a control plane";
  start_server();
  EXPECT_TRUE(each_is_served_more());
  kill_server();
  start_server();
  EXPECT_TRUE(eventually(60s, all_are_live));
  EXPECT_TRUE(each_is_served_more());

  int served = 0;
  for (std::size_t i = 0; i < visitors.size(); ++i) {
    const auto outcome = visitors[i]->leave();
    served += outcome.served;
    EXPECT_EQ(outcome.failed, 0) << names[i] << ": " << outcome.first_failure;
  }
  std::cerr << "[  CHAOS   ] " << count << " apps, " << served << " requests answered\n";
  EXPECT_EQ(vm_processes(), machines) << "the same microVMs serve";
}

}  // namespace
}  // namespace atlasflow::end_to_end
