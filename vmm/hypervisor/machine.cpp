#include "vmm/hypervisor/machine.hpp"

#include "base/assert.hpp"
#include "vmm/guest/config_format.hpp"

namespace atlasflow::vmm {
namespace {

// Of translated code under TCG. QEMU would take up to a GiB, which no limit on its memory foresees.
constexpr int k_translation_mib = 128;

// A character device that appends to an inherited file: through an fd set, as QEMU's user may not
// be allowed to open the file itself.
void append_file(std::vector<std::string>& args, const char* id, int fd) {
  const std::string set = std::to_string(fd);
  args.insert(args.end(),
              {"-add-fd", "fd=" + set + ",set=" + set, "-chardev",
               std::string("file,id=") + id + ",path=/dev/fdset/" + set + ",append=on"});
}

void port(std::vector<std::string>& args, const char* chardev, const char* name) {
  args.insert(args.end(),
              {"-device", std::string("virtserialport,chardev=") + chardev + ",name=" + name});
}

}  // namespace

std::vector<std::string> qemu_arguments(const Machine& machine) {
  ATLAS_ASSERT(machine.memory_mib > 0 && machine.vcpus > 0, machine.name);
  // A port of the host that leads to port 0 of the guest leads nowhere.
  ATLAS_ASSERT(machine.host_port == 0 || machine.guest_port != 0, machine.name);
  const bool kvm = machine.accelerator == Accelerator::kvm;
  std::string kernel_line = "quiet console=ttyS0 reboot=t panic=-1";
  // Under TCG the kernel cannot measure its clock reliably and one boot in ten would hang in
  // calibrate_delay; the guest's TSC is the host's, so the host's frequency is the answer.
  if (!kvm) {
    kernel_line += " tsc_early_khz=" + std::to_string(machine.tsc_khz) + " tsc=reliable";
  }
  if (!machine.kernel_words.empty()) kernel_line += " " + machine.kernel_words;

  std::vector<std::string> args = {
      "qemu-system-x86_64", "-name", machine.name, "-M", "microvm,acpi=on", "-accel",
      kvm ? "kvm" : "tcg,tb-size=" + std::to_string(k_translation_mib),
      // Without ARAT the guest falls back to a periodic tick and takes 5 % of a core when idle.
      "-cpu", kvm ? "host" : "qemu64,+arat", "-m", std::to_string(machine.memory_mib), "-smp",
      std::to_string(machine.vcpus), "-nodefaults", "-no-user-config", "-nographic", "-display",
      "none", "-no-reboot", "-kernel", machine.kernel, "-initrd", machine.initramfs, "-append",
      kernel_line, "-sandbox",
      "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"};
  if (machine.tells_its_end) {
    args.insert(args.end(),
                {"-chardev", "stdio,id=ends,signal=off", "-mon", "chardev=ends,mode=control"});
  }
  for (const Disk& disk : machine.disks) {
    // The scratch disk dies with the VM, so nothing is gained by flushing it.
    args.insert(args.end(),
                {"-drive",
                 "id=" + disk.serial + ",file=" + disk.path + ",format=raw,if=none,cache=unsafe" +
                     (disk.read_only ? ",readonly=on" : ",discard=unmap"),
                 // A full or broken disk of the host is the app's to hear of. QEMU would else stop
                 // the VM for good at the first write without room.
                 "-device",
                 "virtio-blk-device,drive=" + disk.serial + ",serial=" + disk.serial +
                     ",werror=report,rerror=report"});
  }
  if (machine.host_port != 0) {
    args.insert(args.end(),
                {"-netdev",
                 "user,id=net,ipv6=off,hostfwd=tcp:127.0.0.1:" + std::to_string(machine.host_port) +
                     "-10.0.2.15:" + std::to_string(machine.guest_port),
                 "-device", "virtio-net-device,netdev=net"});
  }
  args.insert(args.end(), {"-device", "virtio-serial-device"});
  append_file(args, "events", machine.events_fd);
  port(args, "events", guest::k_port_events);
  if (machine.log_fd >= 0) {
    append_file(args, "log", machine.log_fd);
    port(args, "log", guest::k_port_log);
  }
  if (machine.control_fd >= 0) {
    args.insert(args.end(), {"-chardev", "socket,id=control,server=on,wait=off,fd=" +
                                             std::to_string(machine.control_fd)});
    port(args, "control", guest::k_port_control);
  }
  if (machine.monitor_fd >= 0) {
    args.insert(args.end(),
                {"-chardev",
                 "socket,id=monitor,server=on,wait=off,fd=" + std::to_string(machine.monitor_fd),
                 "-mon", "chardev=monitor,mode=control"});
  }
  if (machine.kernel_log_fd >= 0) {
    append_file(args, "kernel", machine.kernel_log_fd);
    args.insert(args.end(), {"-serial", "chardev:kernel"});
  } else {
    args.insert(args.end(), {"-serial", "none"});
  }
  return args;
}

}  // namespace atlasflow::vmm
