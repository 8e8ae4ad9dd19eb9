// Boots real microVMs from images in a real registry.
#include <array>
#include <fstream>
#include <functional>
#include <thread>
#include <tuple>

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cgroup.hpp"
#include "base/file.hpp"
#include "tests/vmm/micro_vm.hpp"
#include "vmm/hypervisor/confinement.hpp"
#include "vmm/hypervisor/hypervisor.hpp"
#include "vmm/hypervisor/probe.hpp"
#include "vmm/hypervisor/process.hpp"
#include "vmm/hypervisor/record.hpp"
#include "vmm/hypervisor/running_machines.hpp"

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
using test::MicroVm;
using test::web_image;
using testing::Contains;
using testing::HasSubstr;
using testing::Not;

TEST_F(MicroVm, boots_an_image_from_the_registry_to_a_200) {
  const auto image = push(web_image(k_serve), "web");
  const auto begin = std::chrono::steady_clock::now();
  const auto endpoint = hypervisor_->start(spec("web-1", image), {});
  ASSERT_TRUE(endpoint) << to_string(endpoint.error());
  EXPECT_EQ(endpoint->address, "127.0.0.1");
  EXPECT_TRUE(serves(*endpoint)) << log_of("web-1");
  const auto took = std::chrono::steady_clock::now() - begin;
  RecordProperty("first_200_ms", static_cast<int>(took / 1ms));
  const VmStatus status = hypervisor_->status(VmId{"web-1"});
  EXPECT_EQ(status.phase, VmPhase::running);
  EXPECT_EQ(status.endpoint, *endpoint);
  EXPECT_THAT(hypervisor_->list(), Contains(VmId{"web-1"}));
}

TEST_F(MicroVm, gives_the_app_its_environment_and_no_secret_to_anybody_else) {
  ImageSource source = web_image(std::string("env > /www/env\nhostname > /www/host\n") + k_serve);
  source.env = {"FROM_IMAGE=1", "BOTH=image", "PORT=1"};
  VmSpec vm = spec("env-1", push(source, "env"));
  vm.port = 4321;
  vm.env = {{"BOTH", "project"}, {"SECRET", "s3cr3t with\nline=break"}};
  const auto endpoint = hypervisor_->start(vm, {});
  ASSERT_TRUE(endpoint) << to_string(endpoint.error());
  ASSERT_TRUE(serves(*endpoint, "/env")) << log_of("env-1");
  const std::string env = "\n" + body_of(*endpoint, "/env");
  for (const char* line :
       {"\nFROM_IMAGE=1\n", "\nBOTH=project\n", "\nPORT=4321\n", "\nHOST=0.0.0.0\n",
        "\nHOME=/root\n", "\nSECRET=s3cr3t with\nline=break\n", "\nPATH=/usr/local/sbin:"}) {
    EXPECT_THAT(env, HasSubstr(line));
  }
  EXPECT_EQ(body_of(*endpoint, "/host"), "host-env-1\n");

  const auto record = read_record(dir_of("env-1"));
  ASSERT_TRUE(record);
  EXPECT_THAT(command_line_of(record->process), HasSubstr("env-1"));
  EXPECT_THAT(command_line_of(record->process), Not(HasSubstr("s3cr3t")));
  EXPECT_THAT(log_of("env-1"), Not(HasSubstr("s3cr3t")));
  // The config drive never was a file; what else is in the folder does not hold it either.
  for (const auto& entry : std::filesystem::directory_iterator(dir_of("env-1"))) {
    if (!entry.is_regular_file() || entry.path().filename() == "scratch.ext4") continue;
    EXPECT_THAT(read_file(entry.path(), 1 << 20).value_or(""), Not(HasSubstr("s3cr3t")))
        << entry.path();
  }
}

TEST_F(MicroVm, runs_the_command_as_the_images_user_in_its_workdir) {
  ImageSource source = web_image(
      "id > /www/id\npwd > /www/pwd\necho $HOME > /www/home\n"
      "echo to-stdout > /dev/stdout\n" +
      std::string(k_serve));
  source.user = "app";
  source.workdir = "/made/on the/way";
  const auto endpoint = hypervisor_->start(spec("user-1", push(source, "user")), {});
  ASSERT_TRUE(endpoint) << to_string(endpoint.error());
  ASSERT_TRUE(serves(*endpoint, "/home")) << log_of("user-1");
  EXPECT_EQ(body_of(*endpoint, "/id"),
            "uid=1234(app) gid=1235(app) groups=1235(app),1300(extra)\n");
  EXPECT_EQ(body_of(*endpoint, "/pwd"), "/made/on the/way\n");
  EXPECT_EQ(body_of(*endpoint, "/home"), "/home/app\n");
  EXPECT_THAT(log_of("user-1"), HasSubstr("to-stdout"));
}

TEST_F(MicroVm, an_image_that_cannot_run_is_a_user_error_and_leaves_nothing) {
  ImageSource unknown_user = web_image(k_serve);
  unknown_user.user = "nosuch";
  ImageSource no_command = web_image(k_serve);
  no_command.entrypoint.clear();
  no_command.cmd.clear();
  ImageSource not_there = web_image(k_serve);
  not_there.entrypoint = {"/srv/missing"};
  const std::vector<std::tuple<const char*, ImageSource, const char*>> cases = {
      {"unknown-user", unknown_user, "'nosuch' does not exist in the image"},
      {"no-command", no_command, "no command"},
      {"not-there", not_there, "'/srv/missing' was not found"}};
  for (const auto& [name, source, sentence] : cases) {
    const auto endpoint = hypervisor_->start(spec(name, push(source, name)), {});
    ASSERT_FALSE(endpoint) << name;
    EXPECT_EQ(endpoint.error().code, ErrorCode::user_error) << to_string(endpoint.error());
    EXPECT_THAT(endpoint.error().message, HasSubstr(sentence));
    EXPECT_THAT(hypervisor_->list(), Not(Contains(VmId{name})));
    EXPECT_EQ(hypervisor_->status(VmId{name}).phase, VmPhase::absent);
  }
}

TEST_F(MicroVm, an_image_that_the_registry_lacks_is_not_found) {
  const std::string image = push(web_image(k_serve), "lacking");
  const std::string other = image.substr(0, image.size() - 64) + std::string(64, 'a');
  const auto endpoint = hypervisor_->start(spec("lacking-1", other), {});
  ASSERT_FALSE(endpoint);
  EXPECT_EQ(endpoint.error().code, ErrorCode::not_found) << to_string(endpoint.error());
}

TEST_F(MicroVm, reports_how_the_app_ended) {
  const auto image = push(web_image("echo going; exit 7\n"), "exits");
  ASSERT_TRUE(hypervisor_->start(spec("exits-1", image), {}));
  ASSERT_TRUE(
      eventually([&] { return hypervisor_->status(VmId{"exits-1"}).phase == VmPhase::exited; }));
  const VmStatus status = hypervisor_->status(VmId{"exits-1"});
  ASSERT_TRUE(status.exit);
  EXPECT_EQ(status.exit->exit_code, 7);
  EXPECT_EQ(status.exit->signal, 0);
  EXPECT_EQ(status.exit->reason, "the app exited with code 7");
  EXPECT_EQ(log_of("exits-1"), "going\n") << "the app's output and nothing of the kernel's";
}

TEST_F(MicroVm, tells_that_the_app_ran_out_of_memory) {
  const auto image = push(web_image("exec tail /dev/zero\n"), "hungry");
  ASSERT_TRUE(hypervisor_->start(spec("hungry-1", image), {}));
  ASSERT_TRUE(
      eventually([&] { return hypervisor_->status(VmId{"hungry-1"}).phase == VmPhase::exited; }));
  const VmStatus status = hypervisor_->status(VmId{"hungry-1"});
  EXPECT_TRUE(status.exit->out_of_memory) << status.exit->reason << log_of("hungry-1");
  EXPECT_EQ(status.exit->signal, SIGKILL);
}

TEST_F(MicroVm, stop_lets_the_app_finish_and_keeps_its_log) {
  const auto image = push(
      web_image("trap 'echo finishing; exit 3' TERM\necho ready\nwhile true; do sleep 1; done\n"),
      "graceful");
  ASSERT_TRUE(hypervisor_->start(spec("graceful-1", image), {}));
  ASSERT_TRUE(eventually([&] { return log_of("graceful-1") == "ready\n"; }));
  const auto process = read_record(dir_of("graceful-1"))->process;
  const auto exit = hypervisor_->stop(VmId{"graceful-1"}, 30s, {});
  ASSERT_TRUE(exit) << to_string(exit.error());
  EXPECT_EQ(exit->exit_code, 3) << exit->reason;
  // The shell may say in between that its sleep was terminated: the whole group gets the signal.
  EXPECT_THAT(log_of("graceful-1"),
              testing::AllOf(testing::StartsWith("ready\n"), testing::EndsWith("finishing\n")));
  EXPECT_FALSE(is_alive(process));
  EXPECT_FALSE(std::filesystem::exists(dir_of("graceful-1")));
  EXPECT_EQ(hypervisor_->status(VmId{"graceful-1"}).phase, VmPhase::absent);

  const auto again = hypervisor_->stop(VmId{"graceful-1"}, 1s, {});
  ASSERT_TRUE(again) << "a VM that is gone is a success";
  EXPECT_EQ(again->exit_code, -1);
}

TEST_F(MicroVm, stop_kills_an_app_that_does_not_listen) {
  const auto image =
      push(web_image("trap '' TERM\necho ready\nwhile true; do sleep 1; done\n"), "stubborn");
  ASSERT_TRUE(hypervisor_->start(spec("stubborn-1", image), {}));
  ASSERT_TRUE(eventually([&] { return log_of("stubborn-1") == "ready\n"; }));
  const auto exit = hypervisor_->stop(VmId{"stubborn-1"}, 300ms, {});
  ASSERT_TRUE(exit) << to_string(exit.error());
  EXPECT_EQ(exit->signal, SIGKILL) << exit->reason;
  EXPECT_FALSE(exit->out_of_memory);
}

TEST_F(MicroVm, a_later_control_plane_finds_a_running_vm_and_can_stop_it) {
  const auto image = push(web_image(k_serve), "adopted");
  const auto endpoint = hypervisor_->start(spec("adopted-1", image), {});
  ASSERT_TRUE(endpoint) << to_string(endpoint.error());
  const auto process = read_record(dir_of("adopted-1"))->process;

  ASSERT_EQ(make_hypervisor(), "");
  EXPECT_THAT(hypervisor_->list(), Contains(VmId{"adopted-1"}));
  EXPECT_EQ(hypervisor_->status(VmId{"adopted-1"}).phase, VmPhase::running);
  EXPECT_EQ(hypervisor_->status(VmId{"adopted-1"}).endpoint, *endpoint);
  EXPECT_TRUE(serves(*endpoint));
  const auto again = hypervisor_->start(spec("adopted-1", image), {});
  ASSERT_TRUE(again);
  EXPECT_EQ(*again, *endpoint);
  EXPECT_EQ(read_record(dir_of("adopted-1"))->process, process) << "it was not started anew";
  ASSERT_TRUE(hypervisor_->stop(VmId{"adopted-1"}, 5s, {}));
  EXPECT_FALSE(is_alive(process));
}

TEST_F(MicroVm, collecting_spares_what_a_running_vm_is_made_of_and_takes_it_when_it_is_gone) {
  const std::string image = shared_->registry.push(web_image(k_serve), "spared");
  const auto endpoint = hypervisor_->start(spec("spared", image), {});
  ASSERT_TRUE(endpoint) << to_string(endpoint.error());
  const auto nothing = []() -> Result<std::set<ImageRef>> { return std::set<ImageRef>{}; };
  const auto folder = shared_->folder.path() / "state/images" / image.substr(image.rfind(':') + 1);
  ASSERT_TRUE(hypervisor_->collect(nothing, {}));
  EXPECT_TRUE(std::filesystem::exists(folder));
  EXPECT_TRUE(serves(*endpoint));
  ASSERT_TRUE(hypervisor_->stop(VmId{"spared"}, 0ms, {}));
  const auto removed = hypervisor_->collect(nothing, {});
  ASSERT_TRUE(removed) << to_string(removed.error());
  EXPECT_THAT(*removed, Contains("images/" + folder.filename().string()));
  EXPECT_TRUE(std::filesystem::is_empty(shared_->folder.path() / "state/layers"));
  EXPECT_FALSE(std::filesystem::exists(folder));
}

TEST_F(MicroVm, a_killed_vm_is_seen_as_exited_and_can_be_started_again) {
  const auto image = push(web_image(k_serve), "killed");
  ASSERT_TRUE(hypervisor_->start(spec("killed-1", image), {}));
  const auto process = read_record(dir_of("killed-1"))->process;
  ASSERT_EQ(::kill(process.pid, SIGKILL), 0);
  ASSERT_TRUE(
      eventually([&] { return hypervisor_->status(VmId{"killed-1"}).phase == VmPhase::exited; }));
  const VmStatus status = hypervisor_->status(VmId{"killed-1"});
  EXPECT_EQ(status.exit->exit_code, -1);
  EXPECT_THAT(status.exit->reason, HasSubstr("killed"));

  const auto endpoint = hypervisor_->start(spec("killed-1", image), {});
  ASSERT_TRUE(endpoint) << to_string(endpoint.error());
  EXPECT_TRUE(serves(*endpoint));
  EXPECT_NE(read_record(dir_of("killed-1"))->process, process);
}

TEST_F(MicroVm, a_vm_whose_folder_is_lost_is_listed_and_can_be_stopped) {
  const auto image = push(web_image(k_serve), "orphan");
  ASSERT_TRUE(hypervisor_->start(spec("orphan-1", image), {}));
  const auto process = read_record(dir_of("orphan-1"))->process;
  std::filesystem::remove_all(dir_of("orphan-1"));
  EXPECT_THAT(hypervisor_->list(), Contains(VmId{"orphan-1"}));
  ASSERT_TRUE(hypervisor_->stop(VmId{"orphan-1"}, 1s, {}));
  EXPECT_FALSE(is_alive(process));
  EXPECT_THAT(hypervisor_->list(), Not(Contains(VmId{"orphan-1"})));
}

TEST_F(MicroVm, a_start_that_was_cut_off_before_its_process_is_exited_and_can_be_repeated) {
  const auto image = push(web_image(k_serve), "cut");
  std::filesystem::create_directories(dir_of("cut-1"));
  EXPECT_EQ(hypervisor_->status(VmId{"cut-1"}).phase, VmPhase::exited) << "killed after the folder";
  ASSERT_TRUE(write_record(dir_of("cut-1"), {"cut-1", image, host_boot_id(), {}, {}}));
  EXPECT_EQ(hypervisor_->status(VmId{"cut-1"}).phase, VmPhase::exited) << "killed after the record";
  EXPECT_THAT(hypervisor_->list(), Contains(VmId{"cut-1"}));
  // A pid that somebody else has by now is not trusted.
  ProcessId stranger = *identify_process(::getpid());
  --stranger.start_ticks;
  ASSERT_TRUE(write_record(dir_of("cut-1"), {"cut-1", image, host_boot_id(), {}, stranger}));
  EXPECT_EQ(hypervisor_->status(VmId{"cut-1"}).phase, VmPhase::exited);
  const auto endpoint = hypervisor_->start(spec("cut-1", image), {});
  ASSERT_TRUE(endpoint) << to_string(endpoint.error());
  EXPECT_TRUE(serves(*endpoint));
}

TEST_F(MicroVm, a_start_that_is_cancelled_leaves_nothing) {
  const auto image = push(web_image(k_serve), "cancelled");
  std::stop_source stop;
  std::jthread canceller([&] {
    // Once QEMU runs, that is in the middle of the boot.
    (void)eventually([&] {
      const auto record = read_record(dir_of("cancelled-1"));
      return record && record->process.pid != 0;
    });
    stop.request_stop();
  });
  const auto endpoint = hypervisor_->start(spec("cancelled-1", image), stop.get_token());
  ASSERT_FALSE(endpoint);
  EXPECT_EQ(endpoint.error().code, ErrorCode::cancelled) << to_string(endpoint.error());
  EXPECT_THAT(hypervisor_->list(), Not(Contains(VmId{"cancelled-1"})));
}

TEST_F(MicroVm, a_guest_cannot_reach_the_hosts_loopback_even_as_root) {
  const FileDescriptor listener(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  ASSERT_EQ(::bind(listener.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  ASSERT_EQ(::listen(listener.get(), 16), 0);
  socklen_t size = sizeof address;
  ::getsockname(listener.get(), reinterpret_cast<sockaddr*>(&address), &size);
  const std::string port = std::to_string(ntohs(address.sin_port));

  // First by the gateway, which QEMU maps to the host's loopback; then with 127.0.0.1 itself sent
  // out over the wire, as a hostile root can.
  const auto image = push(web_image("timeout 5 nc -w 3 10.0.2.2 " + port +
                                    " </dev/null && echo REACHED-GATEWAY\n"
                                    "ip addr del 127.0.0.1/8 dev lo\n"
                                    "echo 1 > /proc/sys/net/ipv4/conf/all/route_localnet\n"
                                    "ip route add 127.0.0.1/32 via 10.0.2.2 dev eth0\n"
                                    "timeout 5 nc -w 3 127.0.0.1 " +
                                    port +
                                    " </dev/null && echo REACHED-LOOPBACK\n"
                                    "echo tried\n" +
                                    k_serve),
                          "escape");
  const auto endpoint = hypervisor_->start(spec("escape-1", image), {});
  ASSERT_TRUE(endpoint) << to_string(endpoint.error());
  ASSERT_TRUE(serves(*endpoint)) << log_of("escape-1");
  EXPECT_THAT(log_of("escape-1"), HasSubstr("tried"));
  EXPECT_THAT(log_of("escape-1"), Not(HasSubstr("REACHED")));
  const auto accepted = [&](int wait_ms) {
    int count = 0;
    for (pollfd waiting{listener.get(), POLLIN, 0}; ::poll(&waiting, 1, wait_ms) == 1; ++count) {
      const FileDescriptor client(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
    }
    return count;
  };
  EXPECT_EQ(accepted(0), 0) << "a guest connected to the host's loopback";

  // The listener is one that can be reached.
  const FileDescriptor client(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  EXPECT_EQ(::connect(client.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address),
            0);
  EXPECT_EQ(accepted(1000), 1);
}

TEST_F(MicroVm, stacks_more_layers_than_it_has_disks_and_honours_deletions) {
  ImageSource source =
      web_image("ls /www > /www/list; ls /www/sub > /www/sub-list\n" + std::string(k_serve));
  source.layers.push_back({file("www/deleted", "x"), file("www/replaced", "old"),
                           file("www/sub/old", "x"), file("www/sub/older", "x")});
  for (int i = 0; i < 12; ++i) {
    source.layers.push_back({file("www/layer-" + std::to_string(i), std::to_string(i))});
  }
  source.layers.push_back({file("www/.wh.deleted", ""), file("www/.wh.layer-3", ""),
                           file("www/replaced", "new"), file("www/sub/.wh..wh..opq", ""),
                           file("www/sub/new", "x")});
  ASSERT_GT(source.layers.size(), 12U);
  const auto endpoint = hypervisor_->start(spec("deep-1", push(source, "deep")), {});
  ASSERT_TRUE(endpoint) << to_string(endpoint.error());
  ASSERT_TRUE(serves(*endpoint, "/sub-list")) << log_of("deep-1");
  const std::string list = body_of(*endpoint, "/list");
  EXPECT_THAT(list, Not(HasSubstr("deleted")));
  EXPECT_THAT(list, Not(HasSubstr("layer-3")));
  EXPECT_THAT(list, HasSubstr("layer-0\n"));
  EXPECT_THAT(list, HasSubstr("layer-11\n"));
  EXPECT_EQ(body_of(*endpoint, "/replaced"), "new");
  EXPECT_EQ(body_of(*endpoint, "/sub-list"), "new\n");
}

TEST_F(MicroVm, what_an_app_writes_costs_disk_and_not_its_memory) {
  // 400 MiB into a guest of 256 MiB.
  const auto image = push(web_image("dd if=/dev/zero of=/big bs=1M count=400 2>/dev/null\n"
                                    "stat -c %s /big > /www/size\n" +
                                    std::string(k_serve)),
                          "writer");
  const auto endpoint = hypervisor_->start(spec("writer-1", image), {});
  ASSERT_TRUE(endpoint) << to_string(endpoint.error());
  ASSERT_TRUE(
      eventually([&] { return probe_http(*endpoint, "/size", "localhost", 1s).healthy(); }, 120s))
      << log_of("writer-1");
  EXPECT_EQ(body_of(*endpoint, "/size"), "419430400\n");
}

// What a guest can do to end its machine without a word of its init.
TEST_F(MicroVm, a_guest_that_ends_its_own_machine_has_crashed_and_was_not_lost) {
  const std::vector<std::tuple<const char*, std::string, const char*>> cases = {
      {"reset", "busybox reboot -f\n", "the guest reset itself"},
      // More than a MiB on the console first, and more on the port for events than is read.
      {"panic",
       "dd if=/dev/zero bs=64k count=24 2>/dev/null | busybox tr '\\0' x > /dev/ttyS0\n"
       "for p in /dev/vport*; do dd if=/dev/zero of=$p bs=64k count=4 2>/dev/null & done\nsleep 1\n"
       "echo c > /proc/sysrq-trigger\n",
       "the guest's kernel panicked: sysrq triggered crash"}};
  for (const auto& [name, script, reason] : cases) {
    const auto image = push(web_image("echo ready\nsleep 1\n" + script + "sleep 60\n"), name);
    ASSERT_TRUE(hypervisor_->start(spec(name, image), {})) << name;
    ASSERT_TRUE(
        eventually([&] { return hypervisor_->status(VmId{name}).phase == VmPhase::exited; }, 120s))
        << log_of(name);
    const VmStatus status = hypervisor_->status(VmId{name});
    EXPECT_FALSE(status.exit->lost) << status.exit->reason;
    EXPECT_EQ(status.exit->reason, reason);
    ASSERT_TRUE(hypervisor_->stop(VmId{name}, 0ms, {}));
  }
}

TEST_F(MicroVm, an_app_that_fills_its_disk_is_told_and_runs_on) {
  const auto image =
      push(web_image("dd if=/dev/zero of=/big bs=1M\n" + std::string(k_serve)), "filler");
  VmSpec vm = spec("filler-1", image);
  vm.disk_mib = 128;
  const auto endpoint = hypervisor_->start(vm, {});
  ASSERT_TRUE(endpoint) << to_string(endpoint.error());
  ASSERT_TRUE(serves(*endpoint)) << log_of("filler-1");
  EXPECT_THAT(log_of("filler-1"), HasSubstr("No space left on device"));
  // Also in Atlasflow's own words, as the app stays healthy and nothing else would say it.
  EXPECT_TRUE(eventually([&] {
    return log_of("filler-1").find("atlasflow: the VM's disk is full: raise disk_mib") !=
           std::string::npos;
  })) << log_of("filler-1");
}

TEST_F(MicroVm, several_start_at_once_and_stay_apart) {
  const auto image = push(web_image("echo $WHO > /www/who\n" + std::string(k_serve)), "several");
  std::array<Result<Endpoint>, 3> endpoints;
  {
    std::vector<std::jthread> threads;
    for (std::size_t i = 0; i < endpoints.size(); ++i) {
      threads.emplace_back([&, i] {
        VmSpec vm = spec("several-" + std::to_string(i), image);
        vm.env = {{"WHO", std::to_string(i)}};
        endpoints[i] = hypervisor_->start(vm, {});
      });
    }
  }
  for (std::size_t i = 0; i < endpoints.size(); ++i) {
    ASSERT_TRUE(endpoints[i]) << to_string(endpoints[i].error());
    ASSERT_TRUE(serves(*endpoints[i], "/who"));
    EXPECT_EQ(body_of(*endpoints[i], "/who"), std::to_string(i) + "\n");
  }
}

}  // namespace
}  // namespace atlasflow::vmm
