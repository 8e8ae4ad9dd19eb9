// Our SSH keys, as OpenSSH reads them.
#include "base/ssh_key.hpp"

#include <chrono>
#include <filesystem>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/process.hpp"
#include "tests/builder/scratch.hpp"

namespace atlasflow {
namespace {

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

// Each length of the comment leaves another padding.
TEST(SshKey, openssh_reads_what_was_made) {
  const builder::Scratch scratch;
  for (std::size_t letters = 1; letters <= 8; ++letters) {
    const std::string comment(letters, 'c');
    const auto key = make_ssh_key(comment);
    ASSERT_TRUE(key) << to_string(key.error());
    const auto file = scratch.path() / comment;
    builder::write(file, key->private_key.reveal());
    std::filesystem::permissions(file, std::filesystem::perms(0600));
    // With the comment, which is in the private half.
    EXPECT_EQ(output_of({"ssh-keygen", "-y", "-f", file.string()}), key->public_key + "\n");
    EXPECT_EQ(output_of({"ssh-keygen", "-l", "-f", file.string()}),
              "256 " + key->fingerprint + " " + comment + " (ED25519)\n");
  }
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
