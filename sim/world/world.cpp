#include "sim/world/world.hpp"

#include <algorithm>

#include "base/assert.hpp"
#include "events/earlier_builds.hpp"

namespace atlasflow::sim {
namespace {

tl::unexpected<Error> killed() {
  return fail(ErrorCode::cancelled, "the control plane was killed");
}

}  // namespace

std::string World::seal(std::string_view context) {
  auto ref = std::string(context) + "/" + std::to_string(sealed.size() + unsealed.size() + 1);
  sealed.insert(ref);
  return ref;
}

VmId World::upstream_of(const std::string& host) const {
  const auto all = upstreams_of(host);
  return all.empty() ? VmId{} : all.front();
}

std::vector<VmId> World::upstreams_of(const std::string& host) const {
  std::vector<VmId> vm_ids;
  if (tables.empty()) return vm_ids;
  for (const auto& claim : tables.back().second) {
    if (claim.host != host) continue;
    for (const auto& upstream : claim.upstreams) vm_ids.push_back(upstream.vm_id);
  }
  return vm_ids;
}

int World::running_vms() const {
  int running = 0;
  for (const auto& [id, vm] : vms) running += vm.running ? 1 : 0;
  return running;
}

WorldEngines::WorldEngines(World& world) : world_(world) {
  for (const auto& [name, host] : world.hosts) {
    hosts_.try_emplace(name, world, name, dead_);
  }
}

actors::Engines WorldEngines::engines() {
  actors::Engines engines;
  engines.build = this;
  engines.edge = this;
  engines.notify = this;
  for (auto& [name, host] : hosts_) engines.hosts[name] = &host;
  return engines;
}

Result<actors::ResolvedRef> WorldEngines::resolve(const ProjectState&, const std::string& branch,
                                                  std::chrono::milliseconds) {
  return actors::ResolvedRef{"refs/heads/" + branch, std::string(40, 'a')};
}

Result<pb::Cloned> WorldEngines::clone(const actors::SourceJob& job, std::stop_token) {
  if (dead_) return killed();
  ++world_.clones[job.effect.str()];
  world_.checkouts.insert(job.deployment.str());
  if (world_.clone_error) {
    if (auto error = world_.clone_error(job)) return tl::unexpected(*error);
  }
  pb::Cloned cloned;
  cloned.set_sha(job.sha);
  *cloned.mutable_settings() = job.settings;
  if (world_.on_clone) world_.on_clone(job, cloned);
  return cloned;
}

Result<pb::Built> WorldEngines::build(const actors::SourceJob& job, std::stop_token) {
  if (dead_) return killed();
  for (const auto& [name, entry] : job.secrets) {
    if (!world_.unsealed.contains(entry.sealed_ref)) continue;
    return fail(ErrorCode::not_found, "the build secret " + name + " can't be opened");
  }
  ++world_.builds[job.effect.str()];
  if (world_.build_error) {
    if (auto error = world_.build_error(job)) return tl::unexpected(*error);
  }
  pb::Built built;
  built.set_stack("dockerfile");
  built.set_inputs("inputs of " + job.sha);
  const auto* before = same_build(job.earlier, built.inputs());
  if (before != nullptr && world_.images.contains(before->image_id())) {
    built.set_image_id(before->image_id());
    built.set_reused_from(before->deployment());
    built.set_reuse_reason("nothing has changed");
    return built;
  }
  built.set_image_id("sha256:" + job.sha);
  world_.images[built.image_id()].insert(job.deployment);
  return built;
}

Result<pb::ImagePushed> WorldEngines::push(const std::string& image_id,
                                           const std::string& repository, std::stop_token) {
  if (dead_) return killed();
  if (!world_.images.contains(image_id)) {
    return fail(ErrorCode::not_found, "image " + image_id + " is not in the local store");
  }
  pb::ImagePushed pushed;
  pushed.set_reference("registry/" + repository + "@" + image_id);
  world_.registry[ImageRef{pushed.reference()}] = image_id;
  return pushed;
}

std::vector<actors::SourceRemains> WorldEngines::inventory() {
  std::vector<actors::SourceRemains> remains;
  for (const auto& checkout : world_.checkouts) {
    remains.push_back({actors::SourceRemains::Kind::checkout, checkout});
  }
  return remains;
}

void WorldEngines::reap(const actors::SourceRemains& remains) {
  if (!dead_) world_.checkouts.erase(remains.name);
}

void WorldEngines::forget(const DeploymentId& deployment) {
  if (!dead_) world_.checkouts.erase(deployment.str());
}

Result<std::vector<std::string>> WorldEngines::collect_images(const actors::KeepSource& keep,
                                                              std::stop_token) {
  if (dead_) return killed();
  if (world_.collect_error) {
    if (auto error = world_.collect_error()) return tl::unexpected(*error);
  }
  ATLAS_TRY(const auto kept, keep());
  std::vector<std::string> removed;
  std::erase_if(world_.images, [&](const auto& image) {
    const auto& [id, built_by] = image;
    const bool wanted = kept.image_ids.contains(id) ||
                        std::any_of(built_by.begin(), built_by.end(), [&](const auto& deployment) {
                          return kept.unfinished.contains(deployment);
                        });
    if (!wanted) removed.push_back(id);
    return !wanted;
  });
  std::erase_if(world_.registry, [&](const auto& image) {
    const bool wanted =
        kept.image_references.contains(image.first) || kept.image_ids.contains(image.second);
    if (!wanted) removed.push_back(image.first.str());
    return !wanted;
  });
  world_.collected.insert(world_.collected.end(), removed.begin(), removed.end());
  return removed;
}

Result<std::vector<std::string>> WorldHost::collect_disks(const actors::KeepSource& keep,
                                                          std::stop_token) {
  if (dead_) return killed();
  ATLAS_TRY(const auto kept, keep());
  std::set<ImageRef> wanted = kept.image_references;
  for (const auto& [id, vm] : world_.vms) wanted.insert(vm.image);
  std::vector<std::string> removed;
  std::erase_if(world_.disks, [&](const ImageRef& disk) {
    if (!wanted.contains(disk)) removed.push_back(disk.str());
    return !wanted.contains(disk);
  });
  for (const auto& disk : removed) world_.collected.push_back("disks of " + disk);
  return removed;
}

Result<actors::StartedVm> WorldHost::start(const actors::VmJob& job, std::stop_token) {
  if (dead_) return killed();
  for (const auto& [name, entry] : job.env) {
    if (!world_.unsealed.contains(entry.sealed_ref)) continue;
    return fail(ErrorCode::not_found, "the value of " + name + " can't be opened");
  }
  // Disks that are there need no registry.
  if (!world_.disks.contains(job.image)) {
    if (!world_.registry.contains(job.image)) {
      return fail(ErrorCode::not_found, "the registry does not have the image " + job.image.str());
    }
    world_.disks.insert(job.image);
  }
  const auto [found, fresh] = world_.vms.try_emplace(job.vm_id);
  if (fresh || !found->second.running) ++found->second.starts;
  found->second.running = true;
  found->second.host = name_;
  found->second.project = job.project;
  found->second.deployment = job.deployment;
  found->second.image = job.image;
  found->second.command = job.command;
  if (fresh && !job.command.empty()) {
    found->second.running = false;
    found->second.exit_code = world_.run_command ? world_.run_command(job) : 0;
  }
  for (const auto& [name, entry] : job.env) found->second.env_refs[name] = entry.sealed_ref;
  if (world_.on_start) world_.on_start(job);
  return actors::StartedVm{{"127.0.0.1", 40000}};
}

actors::VmObservation WorldHost::observe(const VmId& vm_id) {
  const auto found = world_.vms.find(vm_id);
  actors::VmObservation observation;
  observation.running = found != world_.vms.end() && found->second.running;
  if (found == world_.vms.end()) {
    observation.exit.set_lost(true);
    observation.exit.set_reason("there is no such VM");
  } else {
    const auto code = found->second.exit_code;
    observation.exit.set_exit_code(code);
    observation.exit.set_lost(found->second.lost);
    observation.exit.set_reason("the app exited with code " + std::to_string(code));
  }
  return observation;
}

actors::ProbeObservation WorldHost::probe(const VmId& vm_id, const std::string&,
                                          const std::string&) {
  return world_.probe ? world_.probe(vm_id) : actors::ProbeObservation{200, ""};
}

Result<std::int32_t> WorldHost::stop(const VmId& vm_id) {
  if (dead_) return killed();
  if (world_.stop_error) {
    if (auto error = world_.stop_error(vm_id)) return tl::unexpected(*std::move(error));
  }
  world_.vms.erase(vm_id);
  return 0;
}

std::vector<VmId> WorldHost::list() {
  std::vector<VmId> ids;
  for (const auto& [id, vm] : world_.vms) {
    if (vm.host == name_) ids.push_back(id);
  }
  return ids;
}

bool WorldHost::ping() { return world_.hosts.at(name_).answers; }

std::int64_t WorldHost::memory_mib() const { return world_.hosts.at(name_).memory_mib; }

Result<void> WorldEngines::publish(std::uint64_t generation,
                                   const std::vector<actors::RouteClaim>& table) {
  if (dead_) return killed();
  if (world_.publish_failures > 0) {
    --world_.publish_failures;
    return fail(ErrorCode::unavailable, "the edge does not answer");
  }
  const std::uint64_t newest = this->generation();
  ATLAS_ASSERT(newest < generation, "a route table of an older generation was published");
  world_.tables.emplace_back(generation, table);
  return {};
}

std::uint64_t WorldEngines::drain(const VmId& vm_id, std::chrono::microseconds) {
  if (!dead_) world_.drained.insert(vm_id);
  return 0;
}

std::uint64_t WorldEngines::generation() const {
  return world_.tables.empty() ? 0 : world_.tables.back().first;
}

Result<std::int32_t> WorldEngines::post(const Notification& notification, std::stop_token) {
  if (dead_) return killed();
  const auto answer = world_.on_notify ? world_.on_notify(notification) : Result<std::int32_t>(200);
  if (answer && *answer / 100 == 2) world_.notifications.push_back(notification);
  return answer;
}

}  // namespace atlasflow::sim
