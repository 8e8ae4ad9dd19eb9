#include <gtest/gtest.h>

#include "base/assert.hpp"
#include "base/error.hpp"
#include "events/ids.hpp"
#include "events/settings.hpp"

namespace atlasflow {
namespace {

TEST(Identity, a_stream_name_gives_its_id_back_and_no_other_kind) {
  const DeploymentId deployment{"dabc2345"};
  EXPECT_EQ(deployment_of(deployment_stream(deployment)), deployment);
  EXPECT_TRUE(project_of(deployment_stream(deployment)).empty());
  const ProjectId project{"pabc2345"};
  EXPECT_EQ(project_of(project_stream(project)), project);
  EXPECT_TRUE(deployment_of(node_stream()).empty());
}

TEST(Identity, a_commit_is_forty_lower_case_hex_digits) {
  EXPECT_TRUE(is_commit_sha(std::string(40, 'f')));
  EXPECT_FALSE(is_commit_sha(std::string(39, 'f')));
  EXPECT_FALSE(is_commit_sha(std::string(40, 'F')));
  EXPECT_FALSE(is_commit_sha(std::string(40, 'g')));
}

TEST(ErrorText, the_cause_follows_the_sentence_in_brackets) {
  EXPECT_EQ(to_string(Error{ErrorCode::internal, "It broke", "errno 5"}), "It broke (errno 5)");
  EXPECT_EQ(to_string(Error{ErrorCode::internal, "It broke", ""}), "It broke");
}

TEST(AssertDeathTest, a_broken_invariant_prints_both_values) {
  EXPECT_DEATH(
      [] {
        const int one = 1;
        const int two = 2;
        ATLAS_ASSERT_EQ(one, two);
      }(),
      "left=1 right=2");
}

}  // namespace
}  // namespace atlasflow
