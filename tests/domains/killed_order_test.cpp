// kill -9 at every request of an order, before, during and after its answer: the next life orders
// nothing a second time and loses nothing.
#include <array>
#include <atomic>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "base/process.hpp"
#include "tests/domains/fake_ca.hpp"

namespace atlasflow::domains {
namespace {

using namespace std::chrono_literals;
namespace fs = std::filesystem;
using domains_test::FakeCa;
using domains_test::TestBoard;

// Dies at that request of all of its life, so long after it; nothing: lives.
struct Death {
  int request = 0;
  std::chrono::microseconds later{};
};

class KilledOrders : public testing::Test {
 protected:
  KilledOrders() {
    std::string pattern = testing::TempDir() + "killed-XXXXXX";
    folder_ = ::mkdtemp(pattern.data());
    fs::create_directory(folder_ / "board");
    ca_.processing_polls = 1;
    ca_.instead = [this](const std::string&, int) {
      read_board();
      if (++requests_ != death_.request) return std::string();
      if (death_.later.count() == 0) {
        ::kill(pid_.load(), SIGKILL);
      } else {
        killer_ = std::jthread([pid = pid_.load(), later = death_.later] {
          std::this_thread::sleep_for(later);
          ::kill(pid, SIGKILL);
        });
      }
      return std::string();
    };
  }
  ~KilledOrders() override { fs::remove_all(folder_); }

  // What the edge would answer now.
  void read_board() {
    for (const auto& each : fs::directory_iterator(folder_ / "board")) {
      const auto name = each.path().filename().string();
      std::ifstream file(each.path());
      std::ostringstream text;
      text << file.rdbuf();
      const auto comma = name.find(',');
      static_cast<void>(board_.put(name.substr(0, comma), name.substr(comma + 1), text.str()));
    }
  }

  // The fingerprint that it printed; empty when it was killed.
  std::string live(const std::string& effect, const std::string& name, Death death) {
    return live({effect, name}, death);
  }
  // What it printed; more: what it is told beside the folder and the CA.
  std::string live(const std::vector<std::string>& more, Death death) {
    death_ = death;
    requests_ = 0;
    std::string printed;
    std::array<int, 2> pipe{};
    EXPECT_EQ(::pipe2(pipe.data(), O_CLOEXEC), 0);
    const FileDescriptor ours(pipe[0]);
    FileDescriptor theirs(pipe[1]);
    std::vector<std::string> argv = {ATLASFLOW_ORDER_PROCESS, folder_, ca_.directory()};
    argv.insert(argv.end(), more.begin(), more.end());
    auto child = spawn_process({.argv = argv,
                                .environment = {},
                                .output = theirs.get(),
                                .error = STDERR_FILENO,
                                // Known before the process asks for anything.
                                .before_exec = [this](pid_t pid) -> Result<void> {
                                  pid_ = pid;
                                  return {};
                                }});
    EXPECT_TRUE(child.has_value());
    theirs.reset();
    std::array<char, 256> bytes{};
    for (ssize_t got = 0; (got = ::read(ours.get(), bytes.data(), bytes.size())) > 0;) {
      printed.append(bytes.data(), static_cast<std::size_t>(got));
    }
    const auto exit = child->wait(30s);
    killer_ = {};
    EXPECT_TRUE(exit.has_value());
    if (exit && exit->code != 0 && death.request == 0) ADD_FAILURE() << "it failed";
    const bool killed = exit && exit->code == 128 + SIGKILL;
    return killed ? std::string() : printed.substr(printed.rfind('\n') + 1);
  }

  fs::path folder_;
  TestBoard board_;
  std::atomic<pid_t> pid_{0};
  std::atomic<int> requests_{0};
  Death death_;
  FakeCa ca_{board_};
  std::jthread killer_;
};

TEST_F(KilledOrders, are_gone_on_with_by_the_next_life) {
  int deaths = 0;
  int number = 0;
  for (int request = 1; request <= 12; ++request) {
    for (const auto later : {0us, 200us, 800us, 3'000us}) {
      const auto name = "n" + std::to_string(++number) + ".example";
      SCOPED_TRACE(name + ": request " + std::to_string(request) + ", " +
                   std::to_string(later.count()) + " us later");
      const auto effect = name + "-v1";
      const int orders = ca_.orders();
      const int certificates = ca_.certificates();
      auto printed = live(effect, name, {request, later});
      if (printed.empty()) {
        ++deaths;
        printed = live(effect, name, {});
      }
      EXPECT_EQ(printed.size(), 64U) << printed;
      EXPECT_EQ(ca_.orders(), orders + 1);
      EXPECT_EQ(ca_.certificates(), certificates + 1);
      EXPECT_EQ(live(effect, name, {}), printed) << "the certificate that is stored";
      EXPECT_EQ(ca_.accounts(), 1);
    }
  }
  EXPECT_GT(deaths, 20) << "a test of deaths needs some";
}

class KilledKeyChanges : public KilledOrders {};

TEST_F(KilledKeyChanges, leave_the_account_the_one_key_that_the_authority_knows) {
  ASSERT_EQ(live("first.example-v1", "first.example", {}).size(), 64U);
  int deaths = 0;
  int number = 0;
  for (int request = 1; request <= 7; ++request) {
    for (const auto later : {0us, 200us, 800us, 3'000us}) {
      const auto name = "k" + std::to_string(++number) + ".example";
      SCOPED_TRACE(name + ": request " + std::to_string(request) + ", " +
                   std::to_string(later.count()) + " us later");
      if (live(std::vector<std::string>{}, {request, later}).empty()) ++deaths;
      EXPECT_EQ(live(name + "-v1", name, {}).size(), 64U);
      EXPECT_EQ(ca_.accounts(), 1);
    }
  }
  EXPECT_GT(deaths, 8) << "a test of deaths needs some";
  const int changes = ca_.key_changes();
  EXPECT_GT(changes, 0);
  const auto last = live(std::vector<std::string>{}, {});
  EXPECT_EQ(last.size(), 43U) << "a thumbprint, " << last;
  EXPECT_EQ(ca_.key_changes(), changes + 1);
}

}  // namespace
}  // namespace atlasflow::domains
