// What a container's author expects of the machine, in real microVMs: how an app is started, what
// it finds, how it is stopped, and what is said when it cannot be reached.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include "tests/vmm/micro_vm.hpp"
#include "vmm/hypervisor/probe.hpp"

namespace atlasflow::vmm {
namespace {

using namespace std::chrono_literals;
using test::body_of;
using test::busybox_layer;
using test::eventually;
using test::file;
using test::folder;
using test::ImageSource;
using test::k_serve;
using test::symlink;
using test::web_image;
using testing::EndsWith;
using testing::HasSubstr;
using testing::Not;

class Guest : public test::MicroVm {
 protected:
  // Started and stopped as the server does it, once its log is so far.
  VmExit stopped(const std::string& id, const ImageSource& source, const std::string& ready,
                 std::chrono::milliseconds grace) {
    const auto started = hypervisor_->start(spec(id, push(source, id)), {});
    EXPECT_TRUE(started) << to_string(started.error());
    EXPECT_TRUE(eventually([&] { return log_of(id) == ready; })) << log_of(id);
    const auto exit = hypervisor_->stop(VmId{id}, grace, {});
    EXPECT_TRUE(exit) << to_string(exit.error());
    return exit.value_or(VmExit{});
  }
};

constexpr const char* k_slow_server =
    "#!/bin/sh\n"
    "trap 'echo got-$SIGNAL; sleep 1; echo closed; exit 0' $SIGNAL\n"
    "echo ready\nwhile true; do sleep 0.2; done\n";

ImageSource server_image(const std::string& signal) {
  ImageSource image;
  image.layers = {busybox_layer(), {file("srv/server", k_slow_server, 0755)}};
  image.env = {"SIGNAL=" + signal};
  return image;
}

TEST_F(Guest, an_app_below_a_shell_sees_the_signal_and_has_the_grace_to_close) {
  ImageSource image = server_image("TERM");
  image.cmd = {"/bin/sh", "-c", "true && /srv/server && true"};
  const auto begin = std::chrono::steady_clock::now();
  const VmExit exit = stopped("shell-1", image, "ready\n", 60s);
  EXPECT_THAT(log_of("shell-1"), HasSubstr("got-TERM\n"));
  EXPECT_THAT(log_of("shell-1"), EndsWith("closed\n")) << "the shell ended first";
  EXPECT_EQ(exit.signal, SIGTERM) << "of the main process: " << exit.reason;
  EXPECT_LT(std::chrono::steady_clock::now() - begin, 40s) << "the rest is not waited for in vain";
}

TEST_F(Guest, an_app_outside_of_the_main_process_group_is_told_when_that_has_ended) {
  ImageSource image = server_image("TERM");
  image.cmd = {"/bin/sh", "-c", "setsid /srv/server & wait"};
  (void)stopped("session-1", image, "ready\n", 60s);
  EXPECT_THAT(log_of("session-1"), EndsWith("got-TERM\nclosed\n"));
}

TEST_F(Guest, what_does_not_end_in_the_grace_is_killed) {
  ImageSource image;
  image.layers = {busybox_layer()};
  image.cmd = {"/bin/sh", "-c",
               "sh -c \"trap '' TERM; echo ready; while true; do sleep 0.2; done\" & wait"};
  const auto begin = std::chrono::steady_clock::now();
  const VmExit exit = stopped("stays-1", image, "ready\n", 2s);
  EXPECT_EQ(exit.signal, SIGTERM) << exit.reason;
  EXPECT_GE(std::chrono::steady_clock::now() - begin, 2s);
}

TEST_F(Guest, a_stop_that_nobody_waits_for_goes_on_and_is_found_by_the_next) {
  ImageSource image = server_image("TERM");
  image.cmd = {"/srv/server"};
  ASSERT_TRUE(hypervisor_->start(spec("left-1", push(image, "left")), {}));
  ASSERT_TRUE(eventually([&] { return log_of("left-1") == "ready\n"; }));
  std::stop_source leave;
  leave.request_stop();
  const auto left = hypervisor_->stop(VmId{"left-1"}, 60s, leave.get_token());
  ASSERT_FALSE(left);
  EXPECT_EQ(left.error().code, ErrorCode::cancelled);
  ASSERT_TRUE(
      eventually([&] { return hypervisor_->status(VmId{"left-1"}).phase == VmPhase::exited; }));
  const auto exit = hypervisor_->stop(VmId{"left-1"}, 60s, {});
  ASSERT_TRUE(exit) << to_string(exit.error());
  EXPECT_EQ(exit->exit_code, 0) << exit->reason;
  EXPECT_THAT(log_of("left-1"), EndsWith("got-TERM\nclosed\n"));
}

TEST_F(Guest, the_images_stop_signal_is_sent_and_no_other) {
  ImageSource image = server_image("QUIT");
  image.cmd = {"/srv/server"};
  image.stop_signal = "SIGQUIT";
  const VmExit exit = stopped("quit-1", image, "ready\n", 60s);
  EXPECT_THAT(log_of("quit-1"), HasSubstr("got-QUIT\n"));
  EXPECT_THAT(log_of("quit-1"), EndsWith("closed\n"));
  EXPECT_EQ(exit.exit_code, 0) << exit.reason;
}

TEST_F(Guest, a_user_that_is_not_root_listens_on_a_low_port_with_its_home_and_its_folders) {
  ImageSource source = web_image(
      "echo $HOME > /www/home\ntouch=x; echo x > /tmp/x && ls -ld /tmp > /www/tmp\n"
      "ulimit -n > /www/files\ndf -k /dev/shm > /www/shm\n"
      "cat /etc/hosts /etc/resolv.conf > /www/names\nls -l /dev/ /etc/ > /www/lists\n"
      "echo there > /dev/shm/x; cat < /dev/fd/0; pwd > /www/pwd\n" +
      std::string(k_serve));
  source.layers.push_back({symlink("etc/resolv.conf", "../run/systemd/resolve/stub-resolv.conf"),
                           symlink("etc/hosts", "/nowhere/hosts"), folder("tmp", 0755)});
  source.user = "4321";
  VmSpec vm = spec("low-1", push(source, "low"));
  vm.port = 80;
  vm.memory_mib = 128;
  const auto endpoint = hypervisor_->start(vm, {});
  ASSERT_TRUE(endpoint) << to_string(endpoint.error());
  ASSERT_TRUE(serves(*endpoint, "/pwd")) << log_of("low-1");
  EXPECT_EQ(body_of(*endpoint, "/home"), "/\n");
  EXPECT_THAT(body_of(*endpoint, "/tmp"), HasSubstr("drwxrwxrwt"));
  EXPECT_GE(std::stol(body_of(*endpoint, "/files")), 65'536);
  EXPECT_THAT(body_of(*endpoint, "/shm"), HasSubstr(" 65536 ")) << "64 MiB, in a VM of 128";
  const std::string names = body_of(*endpoint, "/names");
  EXPECT_THAT(names, HasSubstr("10.0.2.15 host-low-1\n"));
  EXPECT_THAT(names, HasSubstr("127.0.0.1 localhost\n"));
  EXPECT_THAT(names, HasSubstr("nameserver "));
  EXPECT_THAT(body_of(*endpoint, "/lists"), HasSubstr("stdout -> /proc/self/fd/1"));
  EXPECT_THAT(log_of("low-1"), Not(HasSubstr("denied")));
}

TEST_F(Guest, an_image_without_etc_and_tmp_gets_them) {
  ImageSource source =
      web_image("cat /etc/hosts > /www/hosts; echo x > /tmp/x\n" + std::string(k_serve));
  std::erase_if(source.layers[0], [](const auto& entry) { return entry.path.starts_with("etc"); });
  source.layers[0].push_back(symlink("etc", "gone"));
  const auto endpoint = hypervisor_->start(spec("bare-1", push(source, "bare")), {});
  ASSERT_TRUE(endpoint) << to_string(endpoint.error());
  ASSERT_TRUE(serves(*endpoint, "/hosts")) << log_of("bare-1");
  EXPECT_THAT(body_of(*endpoint, "/hosts"), HasSubstr("host-bare-1"));
}

TEST_F(Guest, a_command_that_cannot_be_run_is_explained) {
  struct Case {
    const char* name;
    test::TarEntry entry;
    const char* sentence;
  };
  const std::string arm = std::string(
                              "\x7f"
                              "ELF\x02\x01\x01",
                              7) +
                          std::string(9, '\0') + std::string("\x02\0\xb7\0", 4) +
                          std::string(200, '\0');
  const std::vector<Case> cases = {
      {"crlf", file("srv/run", "#!/bin/sh\r\nexit 0\r\n", 0755),
       "the interpreter '/bin/sh\\r' of the script '/srv/run' does not exist: its lines end with "
       "CRLF; save it with LF line ends"},
      {"crlf-env", file("srv/run", "#!/bin/env sh\r\nexit 0\r\n", 0755), "'sh\\r'"},
      {"bash", file("srv/run", "#!/bin/bash\n", 0755), "'/bin/bash' of the script"},
      {"mode", file("srv/run", "#!/bin/sh\n", 0644), "is not executable; run chmod +x"},
      {"arm", file("srv/run", arm, 0755), "was built for arm64"},
      {"folder", folder("srv/run"), "is a folder"}};
  for (const auto& [name, entry, sentence] : cases) {
    ImageSource image;
    image.layers = {busybox_layer(), {folder("srv"), entry}};
    image.entrypoint = {"/srv/run"};
    const auto endpoint = hypervisor_->start(spec(name, push(image, name)), {});
    ASSERT_FALSE(endpoint) << name;
    EXPECT_EQ(endpoint.error().code, ErrorCode::user_error) << to_string(endpoint.error());
    EXPECT_THAT(endpoint.error().message, HasSubstr(sentence)) << name;
  }
}

TEST_F(Guest, a_script_without_a_first_line_is_run_by_sh_as_a_shell_would) {
  ImageSource image;
  image.layers = {busybox_layer(), {folder("srv"), file("srv/run", "echo arg=$1; exit 7\n", 0755)}};
  image.entrypoint = {"./run"};
  image.cmd = {"one"};
  image.workdir = "/srv";
  ASSERT_TRUE(hypervisor_->start(spec("plain-1", push(image, "plain")), {}));
  ASSERT_TRUE(
      eventually([&] { return hypervisor_->status(VmId{"plain-1"}).phase == VmPhase::exited; }));
  EXPECT_EQ(log_of("plain-1"), "arg=one\n");
  EXPECT_EQ(hypervisor_->status(VmId{"plain-1"}).exit->exit_code, 7);
}

TEST_F(Guest, an_exit_says_when_a_script_or_a_full_disk_was_behind_it) {
  ImageSource script;
  script.layers = {busybox_layer(), {folder("srv"), file("srv/run", "#!/bin/sh\r\n", 0755)}};
  script.cmd = {"/bin/sh", "-c", "exec ./run"};
  script.workdir = "/srv";
  ASSERT_TRUE(hypervisor_->start(spec("inner-1", push(script, "inner")), {}));
  ASSERT_TRUE(
      eventually([&] { return hypervisor_->status(VmId{"inner-1"}).phase == VmPhase::exited; }));
  EXPECT_THAT(hypervisor_->status(VmId{"inner-1"}).exit->reason,
              HasSubstr("127: the interpreter '/bin/sh\\r' of the script './run'"));

  const auto full = push(web_image("i=0; while fallocate -l 64M /big-$i; do i=$((i+1)); done\n"
                                   "while dd if=/dev/zero of=/rest bs=64k count=2000 2>/dev/null; "
                                   "do exit 9; done\nexit 28\n"),
                         "full");
  ASSERT_TRUE(hypervisor_->start(spec("full-1", full), {}));
  ASSERT_TRUE(
      eventually([&] { return hypervisor_->status(VmId{"full-1"}).phase == VmPhase::exited; }));
  EXPECT_EQ(hypervisor_->status(VmId{"full-1"}).exit->reason,
            "the app exited with code 28: the VM's disk is full: raise disk_mib, or write less")
      << log_of("full-1");
}

TEST_F(Guest, what_listens_elsewhere_is_told_and_explained) {
  struct Case {
    const char* name;
    const char* listens;
    const char* sentence;
  };
  const std::vector<Case> cases = {
      {"inner", "127.0.0.1:3000", "the app listens on 127.0.0.1:3000: listen on 0.0.0.0"},
      {"other", "0.0.0.0:8080", "the app listens on 0.0.0.0:8080 and not on 3000: set port=8080"}};
  for (const auto& [name, listens, sentence] : cases) {
    const auto image =
        push(web_image("exec httpd -f -p " + std::string(listens) + " -h /www\n"), name);
    const auto endpoint = hypervisor_->start(spec(name, image), {});
    ASSERT_TRUE(endpoint) << to_string(endpoint.error());
    ASSERT_TRUE(eventually([&] { return !hypervisor_->status(VmId{name}).listeners.empty(); }));
    const auto result = probe_http(*endpoint, "/", "localhost", 2s);
    EXPECT_EQ(result.status, 0) << name;
    const auto reason = explain(result, "/", hypervisor_->status(VmId{name}));
    EXPECT_THAT(reason.sentence, HasSubstr(sentence));
    EXPECT_TRUE(reason.is_known);
  }
}

TEST_F(Guest, the_only_port_that_an_image_exposes_is_taken_and_said) {
  ImageSource source = web_image("echo $PORT > /www/port\n" + std::string(k_serve));
  source.exposed = {"8080/tcp"};
  source.volumes = {"/data"};
  VmSpec vm = spec("expose-1", push(source, "expose"));
  vm.port_given = false;
  const auto endpoint = hypervisor_->start(vm, {});
  ASSERT_TRUE(endpoint) << to_string(endpoint.error());
  ASSERT_TRUE(serves(*endpoint, "/port")) << log_of("expose-1");
  EXPECT_EQ(body_of(*endpoint, "/port"), "8080\n");
  const VmStatus status = hypervisor_->status(VmId{"expose-1"});
  EXPECT_EQ(status.guest_port, 8080);
  EXPECT_THAT(status.notices,
              testing::ElementsAre(HasSubstr("port 8080"), HasSubstr("VOLUME /data")));
}

TEST_F(Guest, all_that_a_projects_variables_may_take_reaches_the_app) {
  const auto image = push(web_image("printf %s \"$A$B\" | wc -c > /www/size\n"
                                    "env | wc -l > /www/lines\n" +
                                    std::string(k_serve)),
                          "large");
  VmSpec vm = spec("large-1", image);
  vm.env = {{"A", std::string(130'000, 'a')},
            {"B", std::string(130'000, 'b')},
            {"with.dots and-blanks", "x"}};
  const auto endpoint = hypervisor_->start(vm, {});
  ASSERT_TRUE(endpoint) << to_string(endpoint.error());
  ASSERT_TRUE(serves(*endpoint, "/lines")) << log_of("large-1");
  EXPECT_EQ(body_of(*endpoint, "/size"), "260000\n");
}

}  // namespace
}  // namespace atlasflow::vmm
