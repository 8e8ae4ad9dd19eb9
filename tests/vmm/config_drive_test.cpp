#include "vmm/disk/config_drive.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "events/settings.hpp"
#include "vmm/guest/config_format.hpp"

namespace atlasflow::vmm {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;
using testing::UnorderedElementsAre;

const GuestNetwork k_network{"10.0.2.15", "255.255.255.0", "10.0.2.2", {"192.0.2.53"}};

TEST(ImageConfig, is_read_from_an_oci_configuration) {
  const auto image = parse_image_config(R"({"config": {"Entrypoint": ["/run"], "Cmd": ["a", "b"],
      "Env": ["A=1"], "User": "app", "WorkingDir": "/srv", "StopSignal": "SIGQUIT",
      "ExposedPorts": {"8080/tcp": {}, "53/udp": {}, "443": {}, "0/tcp": {}, "x": {}, "70000": {}},
      "Volumes": {"/data": {}}},
      "rootfs": {"type": "layers", "diff_ids": ["sha256:x"]}})");
  ASSERT_TRUE(image);
  EXPECT_THAT(image->entrypoint, ElementsAre("/run"));
  EXPECT_THAT(image->cmd, ElementsAre("a", "b"));
  EXPECT_THAT(image->env, ElementsAre("A=1"));
  EXPECT_EQ(image->user, "app");
  EXPECT_EQ(image->workdir, "/srv");
  EXPECT_EQ(image->stop_signal, "SIGQUIT");
  EXPECT_THAT(image->exposed, ElementsAre(443, 8080));
  EXPECT_THAT(image->volumes, ElementsAre("/data"));
  EXPECT_THAT(image->diff_ids, ElementsAre("sha256:x"));
}

TEST(ImageConfig, may_leave_everything_out_or_null) {
  const auto image = parse_image_config(
      R"({"config": {"Entrypoint": null, "Cmd": null}, "rootfs": {"diff_ids": null}})");
  ASSERT_TRUE(image);
  EXPECT_TRUE(image->entrypoint.empty());
  EXPECT_TRUE(parse_image_config(R"({"rootfs": {}})"));
}

TEST(ImageConfig, that_is_no_configuration_is_corrupt) {
  for (const char* text : {"", "[]", "{}", R"({"config": {"Cmd": "x"}, "rootfs": {}})",
                           R"({"config": {"Env": [1]}, "rootfs": {}})"}) {
    const auto image = parse_image_config(text);
    ASSERT_FALSE(image) << text;
    EXPECT_EQ(image.error().code, ErrorCode::corrupt);
  }
}

TEST(StopSignal, is_a_number_or_a_name) {
  const std::vector<std::pair<const char*, int>> signals = {
      {"15", 15},       {"SIGTERM", 15},    {"TERM", 15},   {"sigquit", 3},
      {"SIGINT", 2},    {"WINCH", 28},      {"SIGKILL", 9}, {"64", 64},
      {"SIGRTMIN", 34}, {"SIGRTMIN+3", 37}, {"RTMAX-2", 62}};
  for (const auto& [text, number] : signals) EXPECT_EQ(signal_number(text), number) << text;
  for (const char* text : {"", "0", "65", "-1", "SIG", "SIGNONE", "TERM ", "RTMIN+", "RTMIN+99",
                           "RTMIN-1", "RTMAX+1", "RTMINX"}) {
    EXPECT_FALSE(signal_number(text)) << text;
  }
  ImageConfig image;
  image.cmd = {"x"};
  EXPECT_EQ(merge_run(image, {}, 3000)->stop_signal, 15);
  image.stop_signal = "QUIT";
  EXPECT_EQ(merge_run(image, {}, 3000)->stop_signal, 3);
  image.stop_signal = "SIGFOO\x1b";
  const auto refused = merge_run(image, {}, 3000);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::user_error);
  EXPECT_THAT(refused.error().message, HasSubstr("STOPSIGNAL 'SIGFOO?' is no signal"));
}

TEST(Port, is_the_only_one_that_the_image_exposes_unless_the_setting_is_given) {
  ImageConfig image;
  EXPECT_EQ(port_of(image, 3000, false), 3000);
  image.exposed = {8080};
  EXPECT_EQ(port_of(image, 3000, false), 8080);
  EXPECT_EQ(port_of(image, 3000, true), 3000);
  image.exposed = {80, 443};
  EXPECT_EQ(port_of(image, 3000, false), 3000) << "of several none is the right one";
}

TEST(Notices, tell_of_another_port_and_of_volumes) {
  ImageConfig image;
  EXPECT_TRUE(notices_of(image, 3000, 3000).empty());
  image.volumes = {"/data", "/a\x1b", "/c", "/d"};
  EXPECT_THAT(
      notices_of(image, 3000, 8080),
      ElementsAre(HasSubstr("port 8080 is used, the only one that the image exposes"),
                  HasSubstr("VOLUME /data, /a?, /c, …: what is written there is not kept")));
}

TEST(GuestRun, takes_the_projects_variables_over_the_images_and_ours_over_both) {
  ImageConfig image;
  image.entrypoint = {"/run"};
  image.cmd = {"serve"};
  image.env = {"A=image", "B=image", "PORT=80", "A=twice", "HOST=127.0.0.1"};
  const auto run = merge_run(image, {{"B", "project"}, {"C", "x=y\nz"}, {"HOST", "::1"}}, 3000);
  ASSERT_TRUE(run);
  EXPECT_THAT(run->args, ElementsAre("/run", "serve"));
  EXPECT_THAT(run->env,
              UnorderedElementsAre("A=twice", "B=project", "C=x=y\nz", "PORT=3000", "HOST=0.0.0.0",
                                   testing::StartsWith("PATH=/usr/local/sbin:")));
  EXPECT_EQ(run->workdir, "/");
}

TEST(GuestRun, keeps_a_path_that_the_image_sets) {
  ImageConfig image;
  image.cmd = {"node"};
  image.env = {"PATH=/opt/node/bin"};
  image.workdir = "srv/app";
  const auto run = merge_run(image, {}, 8080);
  ASSERT_TRUE(run);
  EXPECT_THAT(run->env, Contains("PATH=/opt/node/bin"));
  EXPECT_THAT(run->env, Not(Contains(HasSubstr("/usr/local/sbin"))));
  EXPECT_EQ(run->workdir, "/srv/app");
}

TEST(GuestRun, without_a_command_is_a_user_error_before_anything_boots) {
  const auto run = merge_run({}, {}, 3000);
  ASSERT_FALSE(run);
  EXPECT_EQ(run.error().code, ErrorCode::user_error);
  EXPECT_THAT(run.error().message, HasSubstr("CMD"));
}

TEST(GuestRun, refuses_variables_that_no_environment_can_hold) {
  ImageConfig image;
  image.cmd = {"x"};
  const std::string nul("a\0b", 3);
  for (const auto& [name, value] : std::vector<std::pair<std::string, std::string>>{
           {"", "x"}, {"A=B", "x"}, {nul, "x"}, {"SECRET", nul}}) {
    const auto run = merge_run(image, {{name, value}}, 3000);
    ASSERT_FALSE(run);
    EXPECT_EQ(run.error().code, ErrorCode::invalid_argument);
    EXPECT_THAT(to_string(run.error()), Not(HasSubstr(nul)));
  }
}

TEST(ConfigDrive, carries_every_byte_to_the_guest) {
  GuestRun run{{"/bin/sh", "-c", "", "a:b\nc"}, {"K=v:w=x", "E="}, "app:grp", "/w d"};
  const auto drive = encode_config_drive(run, "host", k_network, 3);
  ASSERT_TRUE(drive);
  EXPECT_EQ(drive->size(), guest::k_config_bytes);
  const auto records = guest::decode_config(*drive);
  ASSERT_TRUE(records);
  std::vector<std::string> seen;
  for (const auto& record : *records) {
    seen.push_back(std::string(record.key) + "|" + std::string(record.value));
  }
  EXPECT_THAT(seen, ElementsAre("hostname|host", "address|10.0.2.15", "netmask|255.255.255.0",
                                "gateway|10.0.2.2", "nameserver|192.0.2.53", "layers|3",
                                "user|app:grp", "workdir|/w d", "stop_signal|15", "env|K=v:w=x",
                                "env|E=", "arg|/bin/sh", "arg|-c", "arg|", "arg|a:b\nc"));
}

TEST(ConfigDrive, that_is_too_small_for_the_environment_is_a_user_error_with_both_sizes) {
  GuestRun run{{"x"}, {"BIG=" + std::string(1'100'000, 's')}, "", "/"};
  const auto drive = encode_config_drive(run, "host", k_network, 1);
  ASSERT_FALSE(drive);
  EXPECT_EQ(drive.error().code, ErrorCode::user_error);
  EXPECT_THAT(drive.error().message, HasSubstr("1048564"));
  EXPECT_THAT(drive.error().message, Not(HasSubstr("sss"))) << "no secret in an error";
}

TEST(ConfigDrive, holds_all_that_a_project_may_set_beside_what_an_image_has) {
  std::vector<std::pair<std::string, std::string>> variables;
  std::size_t total = 0;
  for (int i = 0; total < k_env_bytes_max; ++i) {
    const std::string name = "V" + std::to_string(i);
    const std::size_t room = std::min(k_env_bytes_max - total, k_env_entry_bytes_max);
    variables.emplace_back(name, std::string(room - env_entry_bytes(name, ""), 'x'));
    ASSERT_TRUE(validate_env_value(name, variables.back().second));
    total += env_entry_bytes(name, variables.back().second);
  }
  ASSERT_EQ(total, k_env_bytes_max);
  ImageConfig image;
  image.cmd = {"/bin/sh", "-c", std::string(60'000, 'c')};
  image.env = {"I=" + std::string(60'000, 'i')};
  const auto run = merge_run(image, variables, 3000);
  ASSERT_TRUE(run);
  EXPECT_TRUE(encode_config_drive(*run, "host", k_network, 3));

  // As many names as there may be: each costs the drive a little more than it counts.
  variables.clear();
  for (total = 0; total + 8 <= k_env_bytes_max; total += 8) {
    variables.emplace_back(std::to_string(100'000 + variables.size()), "");
  }
  const auto many = merge_run(image, variables, 3000);
  ASSERT_TRUE(many);
  EXPECT_TRUE(encode_config_drive(*many, "host", k_network, 3));
}

TEST(ConfigDrive, that_is_cut_or_foreign_is_not_decoded) {
  const auto drive = encode_config_drive({{"x"}, {}, "", "/"}, "host", k_network, 1);
  ASSERT_TRUE(drive);
  for (std::size_t length = 0; length < 60; ++length) {
    EXPECT_FALSE(guest::decode_config(drive->substr(0, length))) << length;
  }
  std::string other = *drive;
  other[3] = 'x';
  EXPECT_FALSE(guest::decode_config(other));
  std::string longer = *drive;
  longer[11] = '\x7f';  // a length beyond the drive
  EXPECT_FALSE(guest::decode_config(longer));
}

}  // namespace
}  // namespace atlasflow::vmm
