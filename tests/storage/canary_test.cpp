// cmake/Canary.cmake: each executable has the bug of its own canary and no other, and without a
// canary there is none. So an override of one file of an archive does win over the archive.
#include <gtest/gtest.h>

#include "tests/storage/child_process.hpp"
#include "tests/storage/log_fixture.hpp"

namespace atlasflow::storage {
namespace {

std::string bugs_of(const char* executable) {
  const TemporaryDirectory directory;
  ChildProcess canary({executable, directory.path().string()});
  auto line = canary.read_line();
  return canary.finish() == 0 && line ? *line : "it did not run";
}

TEST(Canary, the_log_without_a_canary_has_none_of_the_bugs) { EXPECT_EQ(bugs_of(CANARY_NONE), ""); }

TEST(Canary, one_acknowledges_what_is_not_synced) {
  EXPECT_EQ(bugs_of(CANARY_LOST_SYNC), "lost sync;");
}

TEST(Canary, one_lets_an_older_epoch_write) {
  EXPECT_EQ(bugs_of(CANARY_FORGOTTEN_FENCE), "forgotten fence;");
}

}  // namespace
}  // namespace atlasflow::storage
