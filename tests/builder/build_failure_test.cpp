#include "builder/image/build_failure.hpp"

#include <gmock/gmock.h>

#include "builder/image/image_builder.hpp"

namespace atlasflow::builder {
namespace {

using ::testing::HasSubstr;

struct Case {
  std::string output;
  ErrorCode code;
  std::string message;
  std::optional<int> exit_code;
};

TEST(BuildFailure, what_buildah_says_becomes_whose_fault_it_is) {
  const Case cases[] = {
      {"text\nError: building at STEP \"RUN npm ci\": while running runtime: exit status 1\n",
       ErrorCode::user_error, "step 'RUN npm ci' failed with exit code 1", 1},
      {"Error: building at STEP \"RUN echo \\\"Error: x\\\": y\": while running runtime: exit "
       "status 42\n",
       ErrorCode::user_error, "failed with exit code 42", 42},
      {"error running container: from /usr/bin/crun creating container for [/nope]: executable "
       "file "
       "`/nope` not found: No such file or directory\n: exit status 1\nError: building at STEP "
       "\"RUN /nope\": while running runtime: exit status 1\n",
       ErrorCode::user_error, "the image has no such program", 127},
      {"text\nexec container process `/x`: Exec format error\nError: building at STEP \"RUN /x\": "
       "while running runtime: exit status 1\n",
       ErrorCode::user_error, "the image has no such program for this machine", 127},
      {"error running container: from /usr/bin/crun creating container for [sh]: mount `proc` to "
       "`proc`: Operation not permitted\n: exit status 1\nError: building at STEP \"RUN x\": "
       "while running runtime: exit status 1\n",
       ErrorCode::internal, "could not be isolated", std::nullopt},
      {"Error: building at STEP \"COPY a /\": checking on sources: copier: stat: \"/a\": no such "
       "file or directory\n",
       ErrorCode::user_error, "step 'COPY a /' failed: ", std::nullopt},
      {"Error: Unknown instruction: \"COPPY\"\n", ErrorCode::user_error,
       "the Dockerfile does not build: Unknown instruction", std::nullopt},
      {"Error: committing container: write /mnt/x: no space left on device\n",
       ErrorCode::unavailable, "for want of a resource", std::nullopt},
      {"", ErrorCode::internal, "buildah ended with exit code 9", std::nullopt},
      {"a line with Error: inside\n", ErrorCode::internal, "buildah ended", std::nullopt},
  };
  for (const Case& each : cases) {
    const Error error = build_failure(each.output, 9, false, 512);
    EXPECT_EQ(error.code, each.code) << each.output << to_string(error);
    EXPECT_THAT(error.message, HasSubstr(each.message));
    EXPECT_EQ(step_exit_code(error), each.exit_code) << each.output;
  }
}

TEST(BuildFailure, a_process_that_the_kernel_ended_ran_out_of_memory) {
  const Error error = build_failure(
      "Error: building at STEP \"RUN x\": while running runtime: exit status 137\n", 1, true, 512);
  EXPECT_EQ(error.message, "step 'RUN x' ran out of memory: a build may use 512 MiB");
  EXPECT_EQ(step_exit_code(error), 137);
}

TEST(BuildFailure, a_message_is_one_short_line) {
  const Error error = build_failure("Error: building at STEP \"RUN " + std::string(10'000, 'x') +
                                        "\x1b[0m\": while running runtime: exit status 1\n",
                                    1, false, 512);
  EXPECT_LT(error.message.size(), 600U);
  EXPECT_EQ(error.message.find('\x1b'), std::string::npos);
}

TEST(BuildFailure, an_image_that_a_registry_does_not_give_is_the_users_fault) {
  EXPECT_EQ(pull_failure("x", "Error: reading manifest: manifest unknown\n").code,
            ErrorCode::user_error);
  EXPECT_EQ(pull_failure("x", "Error: pinging container registry: connection refused\n").code,
            ErrorCode::unavailable);
  EXPECT_EQ(pull_failure("x", "").code, ErrorCode::unavailable);
}

}  // namespace
}  // namespace atlasflow::builder
