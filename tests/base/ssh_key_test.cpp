// Our SSH keys, as OpenSSH reads them.
#include "base/ssh_key.hpp"

#include <chrono>
#include <filesystem>
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/process.hpp"

namespace atlasflow {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

std::string output_of(std::vector<std::string> argv) {
  SpawnRequest request;
  request.program = find_program(argv.front());
  request.argv = std::move(argv);
  std::string output;
  const auto ran = run_process(std::move(request), std::chrono::minutes(1), {},
                               [&output](std::string_view more) { output += more; });
  EXPECT_TRUE(ran && ran->exit_code == 0) << output;
  return output;
}

TEST(SshKey, openssh_reads_what_was_made) {
  const auto folder =
      std::filesystem::temp_directory_path() / ("atlasflow-ssh-key-" + std::to_string(::getpid()));
  std::filesystem::create_directories(folder);
  const auto key = make_ssh_key("atlasflow-web");
  ASSERT_TRUE(key) << to_string(key.error());
  const auto file = folder / "key";
  std::ofstream(file) << key->private_key.reveal();
  std::filesystem::permissions(file, std::filesystem::perms(0600));
  // With the comment, which is in the private half.
  EXPECT_EQ(output_of({"ssh-keygen", "-y", "-f", file.string()}), key->public_key + "\n");
  EXPECT_EQ(output_of({"ssh-keygen", "-l", "-f", file.string()}),
            "256 " + key->fingerprint + " atlasflow-web (ED25519)\n");
  std::filesystem::remove_all(folder);
}

TEST(SshKey, no_two_are_the_same) {
  const auto one = make_ssh_key("a");
  const auto other = make_ssh_key("a");
  ASSERT_TRUE(one && other);
  EXPECT_NE(one->public_key, other->public_key);
  EXPECT_NE(one->fingerprint, other->fingerprint);
  EXPECT_FALSE(one->private_key.is(other->private_key.reveal()));
  EXPECT_THAT(one->public_key, StartsWith("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI"));
  EXPECT_THAT(one->private_key.reveal(), StartsWith("-----BEGIN OPENSSH PRIVATE KEY-----\n"));
}

}  // namespace
}  // namespace atlasflow
