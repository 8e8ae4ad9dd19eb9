#include "vmm/hypervisor/machine.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "vmm/hypervisor/accelerator.hpp"

namespace atlasflow::vmm {
namespace {

using testing::Contains;
using testing::HasSubstr;
using testing::Not;

std::string joined(const Machine& machine) {
  std::string line;
  for (const std::string& arg : qemu_arguments(machine)) line += arg + " ";
  return line;
}

Machine sample() {
  Machine machine;
  machine.name = "atlasflow-x-vm-1";
  machine.tsc_khz = 2'500'000;
  machine.kernel = "/proc/self/fd/3";
  machine.initramfs = "/proc/self/fd/4";
  machine.events_fd = 5;
  machine.disks = {{"layer0", "/proc/self/fd/6", true}, {"scratch", "/proc/self/fd/7", false}};
  return machine;
}

TEST(Machine, under_emulation_is_told_the_clock_that_it_cannot_measure) {
  const std::string line = joined(sample());
  EXPECT_THAT(line, HasSubstr("-accel tcg,tb-size="));
  EXPECT_THAT(line, HasSubstr("tsc_early_khz=2500000"));
  EXPECT_THAT(line, HasSubstr("-cpu qemu64,+arat"));
}

TEST(Machine, under_kvm_has_the_hosts_processor_and_measures_for_itself) {
  Machine machine = sample();
  machine.accelerator = Accelerator::kvm;
  EXPECT_THAT(joined(machine), HasSubstr("-accel kvm"));
  EXPECT_THAT(joined(machine), HasSubstr("-cpu host"));
  EXPECT_THAT(joined(machine), Not(HasSubstr("tsc_early_khz")));
}

TEST(Machine, is_locked_in_and_shares_only_read_only_disks) {
  const auto args = qemu_arguments(sample());
  EXPECT_THAT(args, Contains(HasSubstr("elevateprivileges=deny,spawn=deny")));
  EXPECT_THAT(args, Contains(testing::AllOf(HasSubstr("id=layer0"), HasSubstr("readonly=on"))));
  EXPECT_THAT(args, Contains(testing::AllOf(HasSubstr("id=scratch"), Not(HasSubstr("readonly")))));
  EXPECT_THAT(args, Contains(HasSubstr("serial=layer0")));
}

TEST(Machine, tells_the_app_of_a_full_host_disk_and_never_stops_for_it) {
  const auto args = qemu_arguments(sample());
  EXPECT_THAT(args, Contains(testing::AllOf(HasSubstr("drive=scratch"), HasSubstr("werror=report"),
                                            HasSubstr("rerror=report"))));
}

TEST(Machine, is_reached_on_loopback_only_and_without_a_port_has_no_network) {
  EXPECT_THAT(joined(sample()), Not(HasSubstr("netdev")));
  Machine machine = sample();
  machine.host_port = 20'001;
  machine.guest_port = 3000;
  EXPECT_THAT(joined(machine), HasSubstr("hostfwd=tcp:127.0.0.1:20001-10.0.2.15:3000"));
}

TEST(HostTsc, is_measured_and_stable) {
  EXPECT_GT(host_tsc_khz(), 100'000U);
  EXPECT_EQ(host_tsc_khz(), host_tsc_khz());
}

}  // namespace
}  // namespace atlasflow::vmm
