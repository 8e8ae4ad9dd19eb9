// From the command line to what the server is configured with.
#include <filesystem>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/file.hpp"
#include "cli/command_line.hpp"
#include "cli/server_verbs.hpp"
#include "tests/storage/log_fixture.hpp"

namespace atlasflow::cli {
namespace {

using testing::HasSubstr;

Result<server::ServerConfig> configured(std::vector<const char*> arguments) {
  arguments.insert(arguments.begin(), {"atlasflow", "server"});
  const auto line = parse_command_line(static_cast<int>(arguments.size()), arguments.data());
  if (!line) return fail(ErrorCode::invalid_argument, line.error().err);
  const auto* command = std::get_if<ServerCommand>(&line->command);
  if (command == nullptr) return fail(ErrorCode::internal, "another verb was understood");
  return config_of(*command, line->connection);
}

TEST(ServerVerb, accepts_what_the_command_line_says_and_nothing_else) {
  struct Case {
    std::vector<const char*> arguments;
    bool loss;
    bool new_fold;
  };
  const Case cases[] = {{{}, false, false},
                        {{"--accept-loss"}, true, false},
                        {{"--accept-new-fold"}, false, true},
                        {{"--accept-new-fold", "--accept-loss"}, true, true}};
  for (const auto& each : cases) {
    const auto config = configured(each.arguments);
    ASSERT_TRUE(config) << to_string(config.error());
    EXPECT_EQ(config->accept_loss, each.loss);
    EXPECT_EQ(config->accept_new_fold, each.new_fold);
  }
}

TEST(ServerVerb, flags_count_beside_a_file_and_the_state_folder_over_it) {
  const storage::TemporaryDirectory directory;
  const auto file = directory.path() / "atlasflow.toml";
  ASSERT_TRUE(replace_file(file, "state_dir = \"/srv/a\"\ndomain = \"example.com\"\n", 0600));
  const auto config =
      configured({"--config", file.c_str(), "--accept-new-fold", "--state-dir", "/srv/b"});
  ASSERT_TRUE(config) << to_string(config.error());
  EXPECT_EQ(config->domain, "example.com");
  EXPECT_EQ(config->state_dir, "/srv/b");
  EXPECT_TRUE(config->accept_new_fold);
  EXPECT_FALSE(config->accept_loss);
}

// A file outlives the start that it was written for.
TEST(ServerVerb, a_file_can_accept_nothing) {
  const storage::TemporaryDirectory directory;
  const auto file = directory.path() / "atlasflow.toml";
  for (const char* text : {"accept_new_fold = true\n", "accept_loss = true\n"}) {
    ASSERT_TRUE(replace_file(file, text, 0600));
    const auto config = configured({"--config", file.c_str()});
    ASSERT_FALSE(config) << text;
    EXPECT_THAT(config.error().message, HasSubstr("accept"));
  }
}

}  // namespace
}  // namespace atlasflow::cli
