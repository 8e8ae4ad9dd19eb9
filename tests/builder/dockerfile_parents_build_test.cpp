// COPY --parents, built: what is in the image is what Docker's own builder puts there.
#include "tests/builder/dockerfile_fixture.hpp"

namespace atlasflow::builder {
namespace {

using ::testing::HasSubstr;

class DockerfileParentsTest : public BoxBuildTest {
 protected:
  void SetUp() override {
    ImageBuilderConfig config;
    config.copy_parents = ATLASFLOW_COPY_PARENTS;
    start(config);
  }
};

TEST_F(DockerfileParentsTest, the_context_is_copied_with_its_folders_and_without_what_is_ignored) {
  const auto said = built(
      "FROM box\nARG WHAT=packages\nRUN mkdir -p /home/joe/d && chown joe /home/joe && "
      "ln -s /home/joe /joe\nWORKDIR /app\n"
      "COPY --parents $WHAT/*/package.json *.lock ./\n"
      "COPY --parents --chown=joe:joe --chmod=700 --exclude=**/secret packages/a/./src "
      "[w]eird /joe/d/\n"
      "COPY --parents home/joe/f /\nRUN echo \"what=$WHAT in $(pwd)\"; find /app /home | sort | "
      "xargs stat -c '%n %u:%g %a'; cat /home/joe/f\n",
      {{"packages/a/package.json", "{}"},
       {"packages/a/src/x/y.ts", ""},
       {"packages/a/src/secret", ""},
       {"packages/b/package.json", "{}"},
       {"packages/b/node_modules/z", ""},
       {"packages/c/node_modules/package.json", ""},
       {"one.lock", ""},
       {"weird", ""},
       {"home/joe/f", "of joe\n"},
       {".dockerignore", "**/node_modules\npackages/b\n"}});
  EXPECT_THAT(said, HasSubstr("COPY --parents is done by a stage of its own"));
  EXPECT_THAT(said, HasSubstr("what=packages in /app\n"
                              "/app 0:0 755\n/app/one.lock 0:0 644\n/app/packages 0:0 755\n"
                              "/app/packages/a 0:0 755\n/app/packages/a/package.json 0:0 644\n"
                              "/home 0:0 755\n/home/joe 1234:0 755\n/home/joe/d 0:0 755\n"
                              "/home/joe/d/src 1234:1234 700\n/home/joe/d/src/x 1234:1234 700\n"
                              "/home/joe/d/src/x/y.ts 1234:1234 700\n"
                              "/home/joe/d/weird 1234:1234 700\n/home/joe/f 0:0 644\nof joe\n"));
}

// The ignore file is obeyed by what the program sees of the context.
TEST_F(DockerfileParentsTest, of_an_ignored_folder_only_what_is_taken_back_is_there) {
  const BoxBuildTest::Files files = {{"p/one/package.json", "{}"},
                                     {"p/one/src/x.ts", ""},
                                     {"p/two/y", ""},
                                     {"q/package.json", "{}"},
                                     {".dockerignore", "**\n!busybox\n!p/one\np/one/src\n"}};
  EXPECT_THAT(built("FROM box\nCOPY --parents p */package.json */*/./*.ts /out/\n"
                    "RUN echo \"made=$(find /out | sort | tr '\\n' ' ')\"\n",
                    files),
              HasSubstr("made=/out /out/p /out/p/one /out/p/one/package.json \n"));
  EXPECT_THAT(refused("FROM box\nCOPY --parents q/package.json /out/\nRUN true\n", files),
              HasSubstr("there is no 'q/package.json'"));
}

TEST_F(DockerfileParentsTest, a_stage_is_copied_with_the_owners_of_its_folders) {
  const auto said = built(
      "FROM box AS src\nRUN mkdir -p /src/app/dist/js /src/app/mods/m && touch "
      "/src/app/dist/js/a.js /src/app/mods/m/i && ln -s dist /src/app/mods/current && "
      "chown -R joe:joe /src/app && chmod 750 /src/app/dist\n"
      "FROM scratch AS files\nCOPY --from=1 --parents /src/./app/dist/**/*.js /s*/./app/mods /\n"
      "FROM box\nCOPY --from=2 / /srv/\nRUN find /srv | sort | xargs stat -c '%n %u:%g %a'\n");
  EXPECT_THAT(said, HasSubstr("/srv 0:0 755\n/srv/app 1234:1234 755\n"
                              "/srv/app/dist 1234:1234 750\n/srv/app/dist/js 1234:1234 755\n"
                              "/srv/app/dist/js/a.js 1234:1234 644\n"
                              "/srv/app/mods 1234:1234 755\n"
                              "/srv/app/mods/current 1234:1234 777\n"
                              "/srv/app/mods/m 1234:1234 755\n"
                              "/srv/app/mods/m/i 1234:1234 644\n"));
}

// In Docker the layer depends on what is copied, and on nothing else of the context.
TEST_F(DockerfileParentsTest, the_layer_is_taken_again_while_what_is_copied_is_the_same) {
  const std::string dockerfile = "FROM box\nCOPY --parents a/*/f /to/\nRUN cat /to/a/*/f > /page\n";
  built(dockerfile, {{"a/x/f", "first"}, {"b", "1"}});
  const auto first = last_.image_id;
  built(dockerfile, {{"a/x/f", "first"}, {"b", "2"}});
  EXPECT_EQ(last_.image_id, first);
  EXPECT_THAT(log("b-2"), HasSubstr("RUN cat /to/a/*/f > /page\n--> Using cache"));
  built(dockerfile, {{"a/x/f", "second"}});
  EXPECT_NE(last_.image_id, first);
}

TEST_F(DockerfileParentsTest, a_base_image_has_its_triggers_and_its_working_folder) {
  put_base("localhost/atlasflow-base/template:1",
           busybox_dockerfile("WORKDIR /there\nCMD [\"base\"]\n"
                              "ONBUILD RUN echo triggered >> /once\n"));
  const auto said = built(
      "FROM localhost/atlasflow-base/template:1\nENV A=1\nCOPY --parents a/f .\n"
      "COPY --parents a/f ../abs/\nRUN echo \"$(pwd) $(cat a/f /abs/a/f /once) A=$A\" | tr "
      "'\\n' ' '\n",
      {{"a/f", "f"}});
  EXPECT_THAT(said, HasSubstr("/there fftriggered A=1"));
}

TEST_F(DockerfileParentsTest, what_the_machine_refuses_is_told_apart_by_the_programs_exit_code) {
  write(folder("app") / "f", "");
  const auto code = [this](const std::string& out, const std::string& source) {
    SpawnRequest request;
    request.argv = {ATLASFLOW_COPY_PARENTS,
                    "--from=" + folder("app").string(),
                    "--out=" + out,
                    "--to=/",
                    "--",
                    source};
    const auto ran = run_process(std::move(request), k_deadline, {}, [](std::string_view) {});
    EXPECT_TRUE(ran) << to_string(ran.error());
    return ran ? ran->exit_code : -1;
  };
  const auto made = (scratch_.path() / "made").string();
  EXPECT_EQ(code(made, "f"), 0);
  EXPECT_EQ(code(made + "-too", "gone"), 1);
  EXPECT_EQ(code("/proc/none", "f"), 2);
}

TEST_F(DockerfileParentsTest, what_is_not_there_is_told_with_the_line) {
  EXPECT_THAT(refused("FROM box\n# more\nCOPY --parents a/gone /d/\nRUN true\n"),
              HasSubstr("Dockerfile, line 7: COPY --parents failed: there is no 'a/gone'"));
  EXPECT_THAT(refused("FROM box\nCOPY --from=box --parents --chown=ann bin/./busybox /d/\n"),
              HasSubstr("Dockerfile, line 6: COPY --parents failed: --chown=ann: the image's"));
}

}  // namespace
}  // namespace atlasflow::builder
