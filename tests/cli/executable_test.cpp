// The executable as a shell sees it: exit codes, and what goes to which stream.

#include <array>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <pty.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <unistd.h>

namespace atlasflow::cli {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

struct Ran {
  int code = -1;
  std::string out;
  std::string err;
};

class Executable : public testing::Test {
 protected:
  void SetUp() override {
    auto name = (std::filesystem::temp_directory_path() / "atlasflow-cli-XXXXXX").string();
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    folder_ = name;
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  Ran run(const std::string& arguments) {
    const auto line = std::string(ATLASFLOW_EXECUTABLE) + " " + arguments + " </dev/null >" +
                      (folder_ / "out").string() + " 2>" + (folder_ / "err").string();
    const int status = std::system(line.c_str());
    return {WIFEXITED(status) ? WEXITSTATUS(status) : -1, read("out"), read("err")};
  }

  [[nodiscard]] std::string state_dir() const { return " --state-dir " + folder_.string(); }
  [[nodiscard]] const std::filesystem::path& folder() const { return folder_; }

 private:
  [[nodiscard]] std::string read(const char* name) const {
    std::ifstream in(folder_ / name);
    return {std::istreambuf_iterator<char>(in), {}};
  }

  std::filesystem::path folder_;
};

TEST_F(Executable, an_unknown_verb_is_2_and_one_line_on_stderr) {
  const auto ran = run("launch");
  EXPECT_EQ(ran.code, 2);
  EXPECT_EQ(ran.out, "");
  EXPECT_EQ(ran.err, "atlasflow: 'launch' is no verb; 'atlasflow --help' shows the usage\n");
}

TEST_F(Executable, a_missing_server_is_1_and_names_the_socket_and_what_to_do) {
  const auto ran = run("status" + state_dir());
  EXPECT_EQ(ran.code, 1);
  EXPECT_EQ(ran.out, "");
  EXPECT_THAT(ran.err, StartsWith("atlasflow: no server answers on " +
                                  (folder() / "atlasflow.sock").string()));
  EXPECT_THAT(ran.err, HasSubstr("atlasflow server"));
}

TEST_F(Executable, wrong_input_is_2_before_any_server_is_asked) {
  for (const auto* arguments :
       {"env set web NOEQUALS", "env set web =x", "env set web PORT=80", "env set web",
        "deploy web --sha main", "env set web --from-file /nonexistent",
        "project create web --repo /r --webhook-secret-file /nonexistent", "scale web 0",
        "scale web 33", "project notify-secret web --file /nonexistent",
        "build-secret set web NPM=x", "build-secret set web NPM x",
        "build-secret set web NPM --from-file /nonexistent"}) {
    const auto ran = run(arguments + state_dir());
    EXPECT_EQ(ran.code, 2) << arguments << ": " << ran.err;
    EXPECT_THAT(ran.err, StartsWith("atlasflow: ")) << arguments;
  }
}

TEST_F(Executable, a_wrong_configuration_is_2_and_names_its_line) {
  std::ofstream(folder() / "atlasflow.toml") << "domain = 'a.localhost'\ncolour = 'red'\n";
  const auto ran =
      run("server --config " + (folder() / "atlasflow.toml").string() + state_dir() + "/state");
  EXPECT_EQ(ran.code, 2);
  EXPECT_THAT(ran.err, HasSubstr("line 2: colour is not known"));
  EXPECT_FALSE(std::filesystem::exists(folder() / "state"));
}

TEST_F(Executable, a_state_folder_of_a_newer_version_is_refused_untouched) {
  std::ofstream(folder() / "VERSION") << "99\n";
  const auto ran = run("server" + state_dir());
  EXPECT_EQ(ran.code, 1);
  EXPECT_THAT(ran.err, HasSubstr("layout that this version does not know"));
  EXPECT_FALSE(std::filesystem::exists(folder() / "events"));
}

TEST_F(Executable, a_state_folder_whose_socket_path_is_too_long_is_refused) {
  const auto ran = run("server" + state_dir() + "/" + std::string(100, 'x'));
  EXPECT_EQ(ran.code, 2);
  EXPECT_THAT(ran.err, HasSubstr("too long for a socket"));
}

TEST_F(Executable, detect_tells_of_any_folder_without_a_server) {
  const auto put = [this](const char* name, const char* text) {
    std::ofstream(folder() / name) << text;
  };
  auto ran = run("detect " + folder().string());
  EXPECT_EQ(ran.code, 2);
  EXPECT_THAT(ran.err, HasSubstr("looked for Dockerfile"));
  put("package.json", R"({"scripts": {"start": "node server.js"}})");
  ran = run("detect " + folder().string());
  EXPECT_EQ(ran.code, 0) << ran.err;
  EXPECT_THAT(ran.out, HasSubstr("Because  package.json with a start script in the root folder\n"));
  EXPECT_THAT(ran.out, HasSubstr("Start    npm start\n"));
  ran = run("detect --dockerfile " + folder().string());
  EXPECT_THAT(ran.out, StartsWith("# Made by Atlasflow"));
  ran = run("detect --json " + folder().string());
  EXPECT_THAT(ran.out, HasSubstr("\"stack\": \"node\""));
  put("atlasflow.toml", "[static]\nfolder = \".\"\nfallback = \"index.html\"\n");
  EXPECT_THAT(run("detect " + folder().string()).out, HasSubstr("Stack    static\n"));
  put("atlasflow.toml", "[static]\nfoldr = \".\"\n");
  ran = run("detect " + folder().string());
  EXPECT_EQ(ran.code, 2);
  EXPECT_THAT(ran.err,
              HasSubstr("line 2: 'static.foldr' is not known; did you mean static.folder?"));
  EXPECT_EQ(run("detect " + (folder() / "absent").string()).code, 2);
}

TEST_F(Executable, simulate_needs_no_server_and_repeats_a_seed_to_the_byte) {
  const auto of_totals = [](const std::string& out) { return out.substr(0, out.find(" in ")); };
  const auto first = run("simulate --swarm --seed 7 --runs 3 --jobs 2");
  EXPECT_EQ(first.code, 0) << first.out << first.err;
  EXPECT_EQ(first.err, "");
  EXPECT_THAT(first.out, StartsWith("Seeds 7 to 9, a scenario drawn for each seed, each twice\n"
                                    "3 runs held: "));
  const auto second = run("simulate --swarm --seed 7 --runs 3 --jobs 1");
  EXPECT_EQ(of_totals(second.out), of_totals(first.out));
}

TEST_F(Executable, simulate_kills_the_server_at_every_moment) {
  const auto ran = run("simulate --exhaustive --seed 7 --time 5s");
  EXPECT_EQ(ran.code, 0) << ran.out << ran.err;
  EXPECT_THAT(ran.out, HasSubstr("runs held: the server was killed at each of its "));
}

TEST_F(Executable, simulate_refuses_what_it_cannot_run_with_a_sentence_and_2) {
  std::ofstream(folder() / "wrong.toml") << "colour = 'red'\n";
  for (const auto& arguments :
       {std::string("--seed x"), std::string("--time soon"), std::string("--at 3"),
        std::string("--shrink"), std::string("--swarm --scenario wrong.toml"),
        "--scenario " + (folder() / "wrong.toml").string(),
        "--scenario " + (folder() / "none.toml").string(),
        "--from-log " + (folder() / "none").string(), "--from-log " + folder().string()}) {
    const auto ran = run("simulate " + arguments);
    EXPECT_EQ(ran.code, 2) << arguments << ": " << ran.out << ran.err;
    EXPECT_EQ(ran.out, "") << arguments;
    EXPECT_THAT(ran.err, StartsWith("atlasflow: ")) << arguments;
  }
}

TEST_F(Executable, simulate_has_nothing_to_make_smaller_in_a_run_that_holds) {
  const auto ran = run("simulate --shrink --seed 7 --time 5s");
  EXPECT_EQ(ran.code, 2);
  EXPECT_THAT(ran.err, HasSubstr("seed 7 breaks nothing"));
}

TEST_F(Executable, the_printed_configuration_is_one_that_the_server_takes) {
  const auto ran = run("server --print-config");
  EXPECT_EQ(ran.code, 0);
  EXPECT_THAT(ran.out, HasSubstr("[edge]"));
  EXPECT_EQ(ran.err, "");
}

TEST_F(Executable, halt_wants_a_folder_that_a_server_has_used) {
  const auto ran = run("halt" + state_dir());
  EXPECT_EQ(ran.code, 2);
  EXPECT_THAT(ran.err, HasSubstr("is no state folder of Atlasflow"));
  EXPECT_FALSE(std::filesystem::exists(folder() / "server.lock"));
}

TEST_F(Executable, halt_is_refused_while_a_server_holds_the_folder) {
  std::ofstream(folder() / "VERSION") << "1\n";
  const int lock = ::open((folder() / "server.lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  ASSERT_EQ(::flock(lock, LOCK_EX | LOCK_NB), 0);
  const auto refused = run("halt" + state_dir());
  EXPECT_EQ(refused.code, 2);
  EXPECT_THAT(refused.err, HasSubstr("stop it first"));
  ::close(lock);
  const auto quiet = run("halt" + state_dir());
  EXPECT_EQ(quiet.code, 0);
  EXPECT_THAT(quiet.out, StartsWith("Nothing of " + folder().string() + " runs any more"));
}

TEST_F(Executable, an_edge_that_no_server_starts_says_who_does) {
  const auto ran = run("edge" + state_dir());
  EXPECT_EQ(ran.code, 2);
  EXPECT_THAT(ran.err, HasSubstr("'atlasflow server' starts the edge"));
}

TEST_F(Executable, an_edge_alone_says_what_is_wrong_with_what_it_was_given) {
  const auto missing = run("edge --routes /nowhere/routes.json" + state_dir());
  EXPECT_EQ(missing.code, 2);
  EXPECT_THAT(missing.err, HasSubstr("can't read the routes in /nowhere/routes.json"));
  const auto nowhere = run("edge --routes /nowhere/routes.json --http nonsense" + state_dir());
  EXPECT_EQ(nowhere.code, 2);
  EXPECT_THAT(nowhere.err, HasSubstr("'nonsense' is no address and port"));
}

// What a terminal gets of the verb, on either stream.
std::string drawn_by_log_verify(const std::string& state_dir, int& code) {
  int terminal = -1;
  const pid_t child = ::forkpty(&terminal, nullptr, nullptr, nullptr);
  if (child == 0) {
    ::execl(ATLASFLOW_EXECUTABLE, "atlasflow", "log", "verify", "--state-dir", state_dir.c_str(),
            static_cast<char*>(nullptr));
    ::_exit(127);
  }
  std::string drawn;
  std::array<char, 4096> bytes{};
  for (ssize_t size = 0; (size = ::read(terminal, bytes.data(), bytes.size())) > 0;) {
    drawn.append(bytes.data(), static_cast<std::size_t>(size));
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  ::close(terminal);
  code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  return drawn;
}

TEST_F(Executable, log_verify_draws_its_progress_on_a_terminal_only_and_takes_it_away) {
  std::filesystem::copy(RECORDED_LOG, folder() / "events",
                        std::filesystem::copy_options::recursive);
  const auto piped = run("log verify" + state_dir());
  EXPECT_EQ(piped.code, 0) << piped.err;
  EXPECT_THAT(piped.out, StartsWith("The log is whole: "));
  EXPECT_EQ(piped.err, "");

  int code = -1;
  const auto drawn = drawn_by_log_verify(folder().string(), code);
  EXPECT_EQ(code, 0);
  const auto bar = drawn.find("[" + std::string(40, ' ') + "]   0 %");
  const auto taken_away = drawn.find("\r\033[K", bar);
  ASSERT_NE(bar, std::string::npos) << drawn;
  EXPECT_LT(taken_away, drawn.find("The log is whole: ")) << drawn;
}

}  // namespace
}  // namespace atlasflow::cli
