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
    const Error error = build_failure({each.output, 9, false, 512, {}});
    EXPECT_EQ(error.code, each.code) << each.output << to_string(error);
    EXPECT_THAT(error.message, HasSubstr(each.message));
    EXPECT_EQ(step_exit_code(error), each.exit_code) << each.output;
  }
}

TEST(BuildFailure, names_a_step_without_what_we_call_the_parts_that_it_mounts) {
  const std::string step = "RUN --mount=from=atlasflow-context-" + std::string(64, 'a') +
                           ",target=/m --mount=from=atlasflow-context-" + std::string(64, 'b') +
                           ",source=x,target=/x false";
  const Error error = build_failure(
      {"Error: building at STEP \"" + step + "\": while running runtime: exit status 1\n", 1, false,
       512, "FROM a\n" + step + "\n"});
  EXPECT_EQ(error.message,
            "Dockerfile, line 2: step 'RUN --mount=target=/m --mount=source=x,target=/x false' "
            "failed with exit code 1");
}

TEST(BuildFailure, a_process_that_the_kernel_ended_ran_out_of_memory) {
  const Error error =
      build_failure({"Error: building at STEP \"RUN x\": while running runtime: exit status 137\n",
                     1,
                     true,
                     512,
                     {}});
  EXPECT_EQ(error.message, "step 'RUN x' ran out of memory: a build may use 512 MiB");
  EXPECT_EQ(step_exit_code(error), 137);
}

TEST(BuildFailure, a_step_whose_output_ends_without_a_line_break_is_the_users_all_the_same) {
  const Error error =
      build_failure({"[ERROR] no such plugin\n\x1b[0m\x1b[0mError: building at STEP \"RUN mvn "
                     "package\": while running runtime: exit status 1\n",
                     1,
                     false,
                     512,
                     {}});
  EXPECT_EQ(error.code, ErrorCode::user_error);
  EXPECT_EQ(step_exit_code(error), 1);
}

TEST(BuildFailure, what_a_step_prints_is_not_taken_for_the_verdict_on_it) {
  const std::string verdict =
      "Error: building at STEP \"RUN make\": while running runtime: exit status 2\n";
  for (const std::string printed :
       {"Error: no such target\n\x1b[0m", "Error: no such target\nmake: ***", "Error: x\n",
        "Error: building at STEP \"RUN true\": while running runtime: exit status 77\n..."}) {
    const Error error = build_failure({printed + verdict, 1, false, 512, {}});
    EXPECT_EQ(error.code, ErrorCode::user_error) << printed;
    EXPECT_EQ(error.message, "step 'RUN make' failed with exit code 2") << printed;
    EXPECT_EQ(step_exit_code(error), 2) << printed;
  }
  // The step may hold the words itself.
  const Error nested =
      build_failure({"...Error: building at STEP \"RUN echo Error: building at STEP "
                     "\"x\"\": while running runtime: exit status 3\n",
                     1,
                     false,
                     512,
                     {}});
  EXPECT_EQ(step_exit_code(nested), 3) << nested.message;
  EXPECT_THAT(nested.message, HasSubstr("step 'RUN echo Error: building at STEP"));
}

TEST(BuildFailure, a_message_is_one_short_line) {
  const std::string output = "Error: building at STEP \"RUN " + std::string(10'000, 'x') +
                             "\x1b[0m\": while running runtime: exit status 1\n";
  const Error error = build_failure({output, 1, false, 512, {}});
  EXPECT_LT(error.message.size(), 600U);
  EXPECT_EQ(error.message.find('\x1b'), std::string::npos);
}

TEST(BuildFailure, a_sentence_is_said_once_and_names_the_dockerfiles_line) {
  const std::string dockerfile =
      "FROM a\n# RUN make all\nRUN make \\\n    all\nCOPY absent.txt /\nRUN x y\nRUN x y\n";
  const auto said = [&](const std::string& line) {
    return to_string(build_failure({"Error: " + line + "\n", 1, false, 512, dockerfile}));
  };
  EXPECT_EQ(said("building at STEP \"RUN make     all\": while running runtime: exit status 2"),
            "Dockerfile, line 3: step 'RUN make     all' failed with exit code 2");
  EXPECT_EQ(said("building at STEP \"COPY absent.txt /\": checking on sources under "
                 "\"/mnt/context\": copier: stat: \"/absent.txt\": no such file or directory"),
            "Dockerfile, line 5: step 'COPY absent.txt /' failed: there is no absent.txt in what "
            "the build sees; see its path and the ignore file");
  EXPECT_EQ(said("building at STEP \"RUN x y\": while running runtime: exit status 1"),
            "step 'RUN x y' failed with exit code 1")
      << "which of the two is not known";
}

TEST(BuildFailure, has_no_word_of_the_builder_about_itself) {
  for (const std::string line :
       {"building at STEP \"USER x\": resolving user: container \"0a1b\": map[a:b] unknown user",
        "building at STEP \"COPY a /\": mounting \"/mnt/storage/overlay/x\": bad &{Env:[]string{}}",
        "Unrecognized: &imagebuilder.Step{Env:[]string{\"A\"}}"}) {
    const auto said = to_string(build_failure({"Error: " + line + "\n", 1, false, 512, {}}));
    for (const char* const word :
         {"/mnt/", "map[", "&{", "[]string", "imagebuilder", "container \""}) {
      EXPECT_EQ(said.find(word), std::string::npos) << said;
    }
  }
}

TEST(BuildFailure, a_url_that_the_network_does_not_lead_to_is_tried_again) {
  const std::string output =
      "Error: building at STEP \"ADD https://example.com/x.tgz /src/\": reading "
      "\"https://example.com/x.tgz\": Get \"https://example.com/x.tgz\": dial tcp: lookup "
      "example.com on 10.0.2.3:53: no such host\n";
  BuildEnd end;
  end.output = output;
  end.exit_code = 125;
  const auto error = build_failure(end);
  EXPECT_EQ(error.code, ErrorCode::unavailable);
  EXPECT_EQ(error.message,
            "step 'ADD https://example.com/x.tgz /src/' failed for want of the network");
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
