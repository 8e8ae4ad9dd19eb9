#include <chrono>
#include <shared_mutex>

#include "actors/projects/sealed_env.hpp"
#include "base/deadline.hpp"
#include "server/engines.hpp"
#include "vmm/hypervisor/probe.hpp"

namespace atlasflow::server {
namespace {

using namespace std::chrono_literals;

constexpr auto k_probe_timeout = 2s;

pb::VMExited exit_event(const VmId& vm_id, const vmm::VmExit& exit) {
  pb::VMExited event;
  event.set_vm_id(vm_id.str());
  event.set_exit_code(exit.exit_code);
  event.set_signal(exit.signal);
  event.set_out_of_memory(exit.out_of_memory);
  event.set_reason(exit.reason);
  event.set_lost(exit.lost);
  return event;
}

// Where the image is now. A registry of ours takes another port when its own is taken, and after a
// restore on another machine; an image is named by its digest all the same.
ImageRef image_at(const std::string& own_registry, const ImageRef& image) {
  constexpr std::string_view k_loopback = "127.0.0.1:";
  const auto slash = image.str().find('/');
  if (own_registry.empty() || slash == std::string::npos || !image.str().starts_with(k_loopback)) {
    return image;
  }
  return ImageRef(own_registry + image.str().substr(slash));
}

}  // namespace

Result<actors::StartedVm> LocalVmEngine::start(const actors::VmJob& job, std::stop_token stop) {
  vmm::VmSpec spec;
  spec.vm_id = job.vm_id;
  spec.hostname = job.project;
  spec.image = image_at(own_registry_, job.image);
  spec.port = static_cast<std::uint16_t>(job.settings.port());
  spec.memory_mib = job.settings.memory_mib();
  spec.vcpus = job.settings.vcpus();
  spec.disk_mib = job.settings.disk_mib();
  spec.port_given = job.settings.port_given();
  spec.stop_grace = std::chrono::duration_cast<std::chrono::milliseconds>(
      std::chrono::microseconds(job.settings.stop_grace_us()));
  spec.command = job.command;
  for (const auto& [name, entry] : job.env) {
    auto value = secrets_.open(actors::env_context(job.project_id, name), entry.sealed_ref);
    if (!value) {
      auto error = value.error();
      error.message = "the value of " + name + " can't be opened: " + error.message +
                      "; set it again with 'atlasflow env set " + job.project + "' and redeploy";
      return tl::unexpected(error);
    }
    spec.env.emplace_back(name, std::move(*value));
  }
  Deadline deadline(stop, job.remaining);
  const auto endpoint = [&] {
    const std::shared_lock pulls(gate_);
    return hypervisor_.start(spec, deadline.token());
  }();
  if (!endpoint) {
    if (!deadline.passed()) return tl::unexpected(endpoint.error());
    return fail(ErrorCode::timed_out, "the VM did not start in time; it is tried again",
                endpoint.error().message);
  }
  return actors::StartedVm{{endpoint->address, endpoint->port},
                           hypervisor_.status(job.vm_id).notices};
}

actors::VmObservation LocalVmEngine::observe(const VmId& vm_id) {
  const auto status = hypervisor_.status(vm_id);
  actors::VmObservation observation;
  observation.running =
      status.phase == vmm::VmPhase::running || status.phase == vmm::VmPhase::starting;
  observation.location = {status.endpoint.address, status.endpoint.port};
  if (!observation.running) {
    vmm::VmExit gone;
    gone.lost = true;
    gone.reason = "the VM is gone; its process was ended from outside";
    observation.exit = exit_event(vm_id, status.exit.value_or(gone));
  }
  return observation;
}

actors::ProbeObservation LocalVmEngine::probe(const VmId& vm_id, const std::string& path,
                                              const std::string& host) {
  const auto status = hypervisor_.status(vm_id);
  if (status.phase != vmm::VmPhase::running && status.phase != vmm::VmPhase::starting) {
    return {0, "the VM does not run"};
  }
  const auto result = vmm::probe_http(status.endpoint, path, host, k_probe_timeout);
  auto reason = vmm::explain(result, path, status);
  return {result.status, std::move(reason.sentence), reason.is_known};
}

Result<std::int32_t> LocalVmEngine::stop(const VmId& vm_id) {
  ATLAS_TRY(const auto exit,
            hypervisor_.stop(vm_id, hypervisor_.status(vm_id).stop_grace, leave_.get_token()));
  return exit.exit_code;
}

std::vector<VmId> LocalVmEngine::list() { return hypervisor_.list(); }

Result<std::vector<std::string>> LocalVmEngine::collect_disks(const actors::KeepSource& keep,
                                                              std::stop_token stop) {
  return hypervisor_.collect(
      [&keep]() -> Result<std::set<ImageRef>> {
        ATLAS_TRY(auto kept, keep());
        return std::move(kept.image_references);
      },
      std::move(stop));
}

std::string LocalVmEngine::describe() const {
  const bool kvm = hypervisor_.accelerator() == vmm::Accelerator::kvm;
  return std::string("QEMU microvm with ") +
         (kvm ? "KVM" : "TCG emulation (no KVM: slow, and a weaker boundary)") +
         hypervisor_.missing_confinement() + ", " + std::to_string(memory_mib_) + " MiB for VMs";
}

}  // namespace atlasflow::server
