#include "vmm/hypervisor/ending.hpp"

#include <string>

#include <gtest/gtest.h>

namespace atlasflow::vmm {
namespace {

const std::string k_events =
    "{\"QMP\": {\"version\": {}}}\n{\"return\": {}}\n{\"timestamp\": {\"seconds\": 1}, \"event\": "
    "\"VSERPORT_CHANGE\", \"data\": {\"open\": true}}\n";
const std::string k_reset =
    k_events +
    "{\"timestamp\": {\"seconds\": 2}, \"event\": \"SHUTDOWN\", \"data\": {\"guest\": "
    "true, \"reason\": \"guest-reset\"}}\n";
const std::string k_ended =
    k_events +
    "qemu-system-x86_64: terminating on signal 15 from pid 7 (x)\n{\"timestamp\": {}, "
    "\"event\": \"SHUTDOWN\", \"data\": {\"guest\": false, \"reason\": \"host-signal\"}}\n";

TEST(Ending, what_a_guest_does_to_itself_is_a_crash_and_what_is_done_to_it_is_none) {
  const std::string panic =
      "[ 1.0] Kernel panic - not syncing: sysrq triggered crash\r\n[ 1.1] CPU\n";
  struct Case {
    std::string qemu;
    std::string kernel;
    bool out_of_memory;
    bool lost;
    std::string reason;
  };
  const Case cases[] = {
      {k_reset, "", false, false, "the guest reset itself"},
      {k_reset, panic, false, false, "the guest's kernel panicked: sysrq triggered crash"},
      {k_events + "Assertion failed\n", "", false, false, "QEMU ended: Assertion failed"},
      {k_events, "", true, false,
       "the host ended the microVM, which took more memory than it may have"},
      {k_events, "", false, true, "the microVM ended without a word: it was killed"},
      {"", "", false, true, "the microVM ended without a word: it was killed"},
      {k_ended, panic, false, true,
       "the microVM was ended from outside: qemu-system-x86_64: terminating on signal 15 from pid "
       "7 "
       "(x)"},
  };
  for (const Case& each : cases) {
    const VmExit exit = explain_end({each.qemu, each.kernel, each.out_of_memory});
    EXPECT_EQ(exit.reason, each.reason);
    EXPECT_EQ(exit.lost, each.lost) << each.reason;
    EXPECT_EQ(exit.exit_code, -1);
  }
}

TEST(Ending, a_guests_text_is_bounded_and_printable) {
  const std::string kernel = "Kernel panic - not syncing: \x1b[31m" + std::string(5000, 'x') + "\n";
  const VmExit exit = explain_end({k_reset, kernel, false});
  EXPECT_LE(exit.reason.size(), 400U);
  EXPECT_EQ(exit.reason.find('\x1b'), std::string::npos);
}

}  // namespace
}  // namespace atlasflow::vmm
