#include "vmm/guest/command.hpp"

#include <cerrno>
#include <fstream>

#include <elf.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/vmm/image_fixture.hpp"

namespace atlasflow::vmm::guest {
namespace {

using testing::HasSubstr;

class Command : public testing::Test {
 protected:
  std::string write(const std::string& name, const std::string& text, bool executable = true) {
    const auto path = folder_.path() / name;
    std::ofstream(path, std::ios::binary) << text;
    using std::filesystem::perms;
    std::filesystem::permissions(path, executable ? perms(0755) : perms(0644));
    return path.string();
  }
  test::TemporaryFolder folder_;
};

// A program with one segment, which names its loader.
std::string program(std::uint16_t machine, const std::string& loader) {
  Elf64_Ehdr header{};
  std::copy_n(ELFMAG, SELFMAG, header.e_ident);
  header.e_machine = machine;
  header.e_phoff = sizeof header;
  header.e_phnum = 1;
  Elf64_Phdr segment{};
  segment.p_type = PT_INTERP;
  segment.p_offset = sizeof header + sizeof segment;
  segment.p_filesz = loader.size() + 1;
  std::string bytes(reinterpret_cast<const char*>(&header), sizeof header);
  bytes.append(reinterpret_cast<const char*>(&segment), sizeof segment);
  return bytes + loader + std::string(1, '\0');
}

TEST_F(Command, is_found_as_a_shell_finds_it) {
  std::filesystem::create_directories(folder_.path() / "a/run");
  std::filesystem::create_directories(folder_.path() / "b");
  write("b/run", "#!/bin/sh\n");
  write("b/text", "x", false);
  const auto path = (folder_.path() / "a").string() + ":" + (folder_.path() / "b").string();
  EXPECT_EQ(find_command("run", path), (folder_.path() / "b/run").string()) << "not the folder";
  EXPECT_EQ(find_command("text", path), (folder_.path() / "b/text").string()) << "to be explained";
  EXPECT_EQ(find_command("missing", path), "");
  EXPECT_EQ(find_command("./run", path), "") << "a path is looked up in no folder";
}

TEST_F(Command, that_the_image_lacks_is_not_found) {
  EXPECT_EQ(why_not_run("serve", "", ENOENT),
            "the image's command 'serve' was not found in PATH; check ENTRYPOINT and CMD");
  EXPECT_EQ(why_not_run("/srv/serve", "", ENOENT),
            "the image's command '/srv/serve' was not found; check ENTRYPOINT and CMD");
}

TEST_F(Command, with_windows_line_ends_is_told_so) {
  const auto script = write("start.sh", "#!/bin/sh\r\nexec serve\r\n");
  const auto sentence = "the interpreter '/bin/sh\\r' of the script '" + script +
                        "' does not exist: its lines end with CRLF; save it with LF line ends";
  EXPECT_EQ(why_not_run(script, script, ENOENT), sentence);
  EXPECT_EQ(why_shell_failed({"/bin/sh", "-c", "exec " + script + " --now"}, 127, "/bin", "/"),
            sentence)
      << "CMD in its shell form";
  const auto with_env = write("start.js", "#!/usr/bin/env node\r\n");
  EXPECT_THAT(known_to_fail(with_env, with_env), HasSubstr("interpreter 'node\\r' of the script"));
  const auto right = write("right.js", "#!/usr/bin/env node\nx\r\n");
  EXPECT_EQ(known_to_fail(right, right), "");
}

TEST_F(Command, without_its_interpreter_names_it) {
  const auto script = write("start.sh", "#! /opt/none/bash -e\n");
  EXPECT_EQ(why_not_run(script, script, ENOENT),
            "the interpreter '/opt/none/bash' of the script '" + script +
                "' does not exist in the image; install it or change the script's first line");
}

TEST_F(Command, without_the_executable_bit_says_how_to_set_it) {
  const auto script = write("start.sh", "#!/bin/sh\n", false);
  EXPECT_THAT(why_not_run(script, script, EACCES), HasSubstr("is not executable; run chmod +x"));
  EXPECT_THAT(why_shell_failed({"sh", "-c", script}, 126, "", "/"), HasSubstr("is not executable"));
  EXPECT_THAT(why_not_run("/", "/", EACCES), HasSubstr("is a folder"));
}

TEST_F(Command, of_another_machine_or_c_library_says_which) {
  const auto arm = write("arm", program(EM_AARCH64, "/lib/ld-linux-aarch64.so.1"));
  EXPECT_THAT(why_not_run(arm, arm, ENOEXEC), HasSubstr("was built for arm64 and the VM is amd64"));
  EXPECT_TRUE(is_binary(arm)) << "sh must not be tried on it";
  const auto musl = write("musl", program(EM_X86_64, "/opt/none/ld-musl-x86_64.so.1"));
  EXPECT_THAT(why_not_run(musl, musl, ENOENT),
              HasSubstr("needs the loader '/opt/none/ld-musl-x86_64.so.1', which the image lacks"));
  const auto cut = write("cut", std::string(ELFMAG, SELFMAG) + "\x02");
  EXPECT_THAT(why_not_run(cut, cut, ENOEXEC), HasSubstr("built for another processor"));
}

TEST_F(Command, that_is_nothing_to_run_says_what_it_is) {
  const auto empty = write("empty", "");
  EXPECT_THAT(why_not_run(empty, empty, ENOEXEC), HasSubstr("is an empty file"));
  const auto text = write("text", "hello\n");
  EXPECT_THAT(why_not_run(text, text, ENOEXEC), HasSubstr("'#!' line"));
  EXPECT_FALSE(is_binary(text));
  std::filesystem::create_symlink("/opt/none", folder_.path() / "link");
  const auto link = (folder_.path() / "link").string();
  EXPECT_EQ(find_command(link, ""), link);
  EXPECT_THAT(why_not_run(link, link, ENOENT), HasSubstr("link that leads nowhere"));
}

TEST_F(Command, of_a_shell_is_explained_only_when_it_is_plain) {
  const auto script = write("start.sh", "#!/bin/sh\r\n");
  EXPECT_THAT(why_shell_failed({"/bin/sh", "-c", "./start.sh"}, 127, "", folder_.path().string()),
              HasSubstr("of the script './start.sh'"))
      << "from the folder that it ran in";
  EXPECT_THAT(why_shell_failed({"/bin/sh", "-c", "./none"}, 127, "", "/"),
              HasSubstr("'./none' was not found"));
  EXPECT_NE(why_shell_failed({"/bin/bash", "-c", "A=1 exec " + script}, 127, "", "/"), "");
  EXPECT_EQ(why_shell_failed({"/bin/sh", "-c", script}, 1, "", "/"), "");
  EXPECT_EQ(why_shell_failed({"/bin/sh", script}, 127, "", "/"), "");
  EXPECT_EQ(why_shell_failed({"/bin/sh", "-c", "\"" + script + "\""}, 127, "", "/"), "");
  EXPECT_EQ(why_shell_failed({"/bin/sh", "-c", "serve"}, 127, "/bin", "/"), "")
      << "the shell has told it in the log";
  EXPECT_EQ(why_shell_failed({"/bin/sh", "-c", ""}, 127, "", "/"), "");
}

TEST_F(Command, shows_no_control_character_of_a_file) {
  const auto script = write("start.sh", "#!/bin/\x1b[2Jsh" + std::string(9000, 'x') + "\n");
  const auto why = why_not_run(script, script, ENOENT);
  EXPECT_EQ(why.find('\x1b'), std::string::npos);
  EXPECT_LT(why.size(), 700U);
}

}  // namespace
}  // namespace atlasflow::vmm::guest
