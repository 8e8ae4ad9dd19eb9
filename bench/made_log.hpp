// A log of deployments that were, for benchmarks of what reads it. For one thread.
#pragma once

#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "base/assert.hpp"
#include "events/settings.hpp"
#include "storage/log/event_log.hpp"

namespace atlasflow::bench {

// A deployment's way to its route, with the fields that folds read; and its end, when it has one.
inline std::vector<pb::Event> life_of(const DeploymentId& id, const std::string& project,
                                      bool ends) {
  std::vector<pb::Event> events(ends ? 16 : 14);
  const auto vm = effect_id(id, StreamVersion{10}).str();  // of the VMStartRequested below
  auto* push = events[0].mutable_push_received();
  push->set_project_id(project);
  push->set_project_name(project);
  push->set_environment("production");
  push->set_repository_url("/srv/" + project + ".git");
  push->set_ref("refs/heads/main");
  push->set_after(std::string(40, 'a'));
  push->set_delivery_id("72d3162e-cc78-11e3-81ab-4c9367dc0958");
  push->set_settings_version(1);
  *push->mutable_settings() = default_settings();
  events[1].mutable_clone_started();
  events[2].mutable_cloned();
  events[3].mutable_build_started();
  events[4].mutable_built()->set_image_id("sha256:" + std::string(64, 'b'));
  events[5].mutable_image_push_started();
  events[6].mutable_image_pushed()->set_reference("registry/web@sha256:" + std::string(64, 'c'));
  events[7].mutable_vm_placement_requested()->set_slot(0);
  events[8].mutable_vm_placed()->set_host("local");
  events[9].mutable_vm_start_requested()->set_host("local");
  events[10].mutable_vm_started()->set_vm_id(vm);
  events[11].mutable_healthy()->set_status(200);
  events[12].mutable_route_change_requested();
  events[13].mutable_routed()->set_generation(1);
  if (ends) {
    events[14].mutable_vm_stopped()->set_vm_id(vm);
    events[15].mutable_deployment_retired();
  }
  return events;
}

// Appends projects and, in turns of one each, their deployments; the last of each project is live,
// and the others have ended. Many in one synced write, so that ten million events take minutes.
inline void fill(storage::EventLog& log, int projects, int deployments_each) {
  constexpr std::size_t k_batch = 256;
  ATLAS_ASSERT(log.begin_epoch().has_value(), "no epoch");
  std::vector<storage::AppendRequest> batch;
  const auto write = [&] {
    ATLAS_ASSERT(log.append(batch, 1'700'000'000'000'000).has_value(), "an append failed");
    batch.clear();
  };
  const auto append = [&](const StreamId& stream, std::vector<pb::Event> events,
                          std::string dedupe_key) {
    storage::AppendRequest request;
    request.stream = stream;
    request.events = std::move(events);
    request.actor = Principal::system("bench");
    request.correlation_id = "72d3162e-cc78-11e3-81ab-4c9367dc0958";
    request.dedupe_key = std::move(dedupe_key);
    batch.push_back(std::move(request));
    if (batch.size() == k_batch) write();
  };
  for (int p = 0; p < projects; ++p) {
    std::vector<pb::Event> created(2);
    auto* project = created[0].mutable_project_created();
    project->set_name("app-" + std::to_string(p));
    *project->mutable_settings() = default_settings();
    created[1].mutable_repository_connected()->set_url("/srv/app-" + std::to_string(p) + ".git");
    append(project_stream(ProjectId{"p" + std::to_string(1000 + p)}), std::move(created), "");
  }
  for (int d = 0; d < deployments_each; ++d) {
    for (int p = 0; p < projects; ++p) {
      const auto number = std::to_string(1'000'000 + d * projects + p);
      append(deployment_stream(DeploymentId{"d" + number}),
             life_of(DeploymentId{"d" + number}, "p" + std::to_string(1000 + p),
                     d + 1 < deployments_each),
             "github/" + number);
    }
  }
  if (!batch.empty()) write();
}

}  // namespace atlasflow::bench
