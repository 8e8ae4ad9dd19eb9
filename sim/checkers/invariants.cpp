#include "sim/checkers/invariants.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "events/deployment_events.hpp"
#include "events/project_history.hpp"
#include "sim/checkers/state_difference.hpp"

namespace atlasflow::sim {
namespace {

using Kind = pb::Event::KindCase;

constexpr std::string_view k_production = "production";

bool is_one_of_the_seven(Kind kind) { return kind >= 1 && kind <= 7; }

}  // namespace

void Invariants::violated(std::string name, std::string sentence) {
  if (!violation_) violation_ = Violation{std::move(name), std::move(sentence)};
}

void Invariants::on_acknowledged(const std::vector<storage::AppendOutcome>& outcomes,
                                 const storage::EventLog& log) {
  for (const auto& outcome : outcomes) {
    const auto* appended = std::get_if<storage::Appended>(&outcome);
    if (appended == nullptr) continue;
    if (appended->first_position > last_.next()) {
      const auto read = log.read_all(last_.next(), [&](const storage::Record& record) {
        if (record.position >= appended->first_position) return false;
        take(record);
        return true;
      });
      if (!read) violated("the-log-verifies", to_string(read.error()));
    }
    for (const auto& record : appended->records) take(record);
  }
}

void Invariants::take(const storage::Record& record) {
  if (record.position != last_.next()) {
    violated("dense-positions", fmt::format("position {} follows position {}",
                                            record.position.value(), last_.value()));
  }
  last_ = record.position;
  auto& version = versions_[record.stream];
  if (record.stream_version != version.next()) {
    violated("dense-versions",
             fmt::format("version {} of {} follows version {}", record.stream_version.value(),
                         record.stream.str(), version.value()));
  }
  version = record.stream_version;
  if (record.writer_epoch < epoch_) {
    violated("one-writer",
             fmt::format("epoch {} wrote position {} after epoch {} had begun",
                         record.writer_epoch.value(), record.position.value(), epoch_.value()));
  }
  epoch_ = record.writer_epoch;
  chain_ = record.chain;
  acknowledged_.push_back(record.chain);
  if (const auto id = deployment_of(record.stream); !id.empty()) take_of_deployment(id, record);
  rest_.take(record);
  notifications_.take(record);
  heads_.take(record);
  if (const auto why = heads_.again(record); !why.empty()) violated("each-push-once", why);
  if (const auto why = pull_requests_.take(record); !why.empty()) {
    violated("pull-requests-in-order", why);
  }
  if (const auto name = domain_of(record.stream); !name.empty()) take_of_domain(name, record);
  newest_ = record;
}

void Invariants::take_of_deployment(const DeploymentId& id, const storage::Record& record) {
  const auto& event = record.event;
  auto& deployment = deployments_[id];
  if (deployment.ended) {
    violated("nothing-after-the-end",
             fmt::format("{} was recorded for deployment {}, which had ended",
                         storage::event_name(event), id.str()));
  }
  if (const auto* push = push_of(event)) {
    deployment.project = push->project_name();
    deployment.environment = push->environment();
    deployment.by_push = event.has_push_received() && push->trigger() == pb::TRIGGER_WEBHOOK;
    deployment.delivery =
        push->inferred_at_s() == 0 ? push->delivery_id() : github_.delivery_of(push->after());
  }
  auto& state = states_[id];
  if (state.id.empty()) state.id = id;
  if (const auto sentence = atlasflow::violation(state, event); !sentence.empty()) {
    violated("each-event-may-follow", fmt::format("{} was recorded for deployment {}: {}",
                                                  storage::event_name(event), id.str(), sentence));
  }
  evolve(state, event);
  const auto kind = event.kind_case();
  const auto replicated = kind == Kind::kVmStarted || kind == Kind::kHealthy;
  if (is_one_of_the_seven(kind) && !replicated && ++deployment.once[kind] > 1) {
    violated("each-step-once", fmt::format("{} was recorded twice for deployment {}",
                                           storage::event_name(event), id.str()));
  }
  switch (kind) {
    case Kind::kCloneStarted:
    case Kind::kBuildStarted:
    case Kind::kImagePushStarted:
    case Kind::kReleaseStarted:
    case Kind::kVmStartRequested:
      intents_[effect_id(id, record.stream_version).str()] = kind;
      break;
    case Kind::kRouteChangeRequested:
      deployment.generation = event.route_change_requested().generation();
      break;
    case Kind::kRouted:
      ++routed_;
      deployment.routed = true;
      if (deployment.environment == k_production) served_.insert(deployment.project);
      check_order(deployment, id);
      check_routes(deployment, id, event.routed());
      break;
    default:
      break;
  }
  check_build(id, event);
  take_of_vm(id.str(), record);
  take_ends(deployment, event);
}

// An image that was taken in place of a build is the one that the same would have made, and every
// image is there until it is in the registry.
void Invariants::check_build(const DeploymentId& id, const pb::Event& event) {
  if (event.has_image_push_failed() &&
      event.image_push_failed().reason().find("not in the local store") != std::string::npos) {
    violated("images-are-kept",
             "the image of deployment " + id.str() + " was removed before it was pushed");
  }
  if (!event.has_built()) return;
  const auto& built = event.built();
  if (built.reused_from().empty()) {
    built_[id] = built;
    return;
  }
  const DeploymentId from{built.reused_from()};
  const auto before = built_.find(from);
  const bool is_same = before != built_.end() && before->second.inputs() == built.inputs() &&
                       before->second.image_id() == built.image_id() &&
                       states_[from].push.project_id() == states_[id].push.project_id();
  if (!is_same || states_[id].push.no_cache()) {
    violated("reuse-of-the-same", "deployment " + id.str() + " took the image of deployment " +
                                      from.str() + ", which did not build the same");
  }
}

void Invariants::take_of_domain(const std::string& name, const storage::Record& record) {
  auto& state = domains_[name];
  state.name = name;
  if (const auto sentence = atlasflow::violation(state, record.event); !sentence.empty()) {
    violated("each-event-may-follow",
             fmt::format("{} was recorded for domain {}: {}", storage::event_name(record.event),
                         name, sentence));
  }
  evolve(state, record.event, record.recorded_at);
  const auto why = certificates_.take(record);
  if (!why.empty()) violated("limits-are-kept", why);
}

void Invariants::take_of_vm(const std::string& deployment, const storage::Record& record) {
  const auto& event = record.event;
  if (event.has_vm_started()) {
    auto& vm = vms_[VmId{event.vm_started().vm_id()}];
    if (vm.started) {
      violated("each-vm-once", "VMStarted was recorded twice for VM " + event.vm_started().vm_id());
    }
    const auto intent = intents_.find(event.vm_started().vm_id());
    if (intent == intents_.end() || intent->second != Kind::kVmStartRequested) {
      violated("intent-first", "VM " + event.vm_started().vm_id() + " has no VMStartRequested");
    }
    vm.started = true;
    vm.deployment = deployment;
  } else if (event.has_healthy()) {
    auto& vm = vms_[VmId{event.healthy().vm_id()}];
    if (!vm.started) violated("started-first", "a VM is healthy that was not started");
    vm.healthy = true;
  } else if (event.has_vm_stop_requested()) {
    vms_[VmId{event.vm_stop_requested().vm_id()}].stopping = true;
  } else if (event.has_vm_exited()) {
    vms_[VmId{event.vm_exited().vm_id()}].gone = true;
  } else if (event.has_vm_stopped()) {
    vms_[VmId{event.vm_stopped().vm_id()}].gone = true;
  } else if (event.has_vm_host_lost()) {
    vms_[VmId{event.vm_host_lost().vm_id()}].gone = true;
  }
}

void Invariants::take_ends(Deployment& deployment, const pb::Event& event) {
  switch (event.kind_case()) {
    case Kind::kDeploymentFailed:
    case Kind::kDeploymentSuperseded:
    case Kind::kDeploymentCancelled:
    case Kind::kDeploymentRetired:
    case Kind::kDeploymentSkipped:
      deployment.ended = true;
      ++ended_;
      [[fallthrough]];
    case Kind::kRetirementRequested:
    case Kind::kCancelRequested:
    case Kind::kUnrouted:
      deployment.gives_way = true;
      break;
    default:
      break;
  }
}

// Of the pushes of one branch, a later one never gives way to an earlier one.
void Invariants::check_order(const Deployment& deployment, const DeploymentId& id) {
  if (!deployment.by_push) return;
  auto& newest = newest_routed_[deployment.project + "/" + deployment.environment];
  if (github_.provably_older(deployment.delivery, newest)) {
    violated("never-an-older-commit",
             fmt::format("deployment {} of {} was routed with the push of {} after that of {}",
                         id.str(), deployment.project, deployment.delivery, newest));
  }
  newest = deployment.delivery;
}

// Whoever is told that it is routed finds its hostnames at the edge, its own or a newer one's.
void Invariants::check_routes(const Deployment& deployment, const DeploymentId& id,
                              const pb::Routed& routed) {
  if (deployment.gives_way) return;
  for (const auto& host : routed.hostnames()) {
    const auto route = routes_.find(host);
    const bool leads_here =
        route != routes_.end() &&
        deployments_[DeploymentId{route->second}].generation >= deployment.generation;
    if (leads_here) continue;
    violated("routed-at-the-edge",
             fmt::format("Routed was recorded for deployment {}, and {} leads {}", id.str(), host,
                         route == routes_.end() ? "nowhere" : "to deployment " + route->second));
  }
}

// An append that a full disk refused may be in the log after all, and an actor that begins anew
// reads it there: nobody was told of it, but it is an intent.
// What a full disk refused and the log kept: the control plane may have read it there, and acts on
// it before the next append tells of it.
void Invariants::catch_up() {
  const auto* log = log_ ? log_() : nullptr;
  if (log == nullptr || log->last_position() <= last_) return;
  static_cast<void>(log->read_all(last_.next(), [this](const storage::Record& record) {
    take(record);
    return true;
  }));
}

void Invariants::on_effect(Act act, const std::string& effect) {
  catch_up();
  const auto found = intents_.find(effect);
  const auto kind = found == intents_.end() ? Kind::KIND_NOT_SET : found->second;
  const bool fits =
      (act == Act::clone && kind == Kind::kCloneStarted) ||
      (act == Act::build && kind == Kind::kBuildStarted) ||
      (act == Act::start_vm && (kind == Kind::kVmStartRequested || kind == Kind::kReleaseStarted));
  if (!fits) {
    violated("intent-first",
             "effect " + effect + " is carried out, and no intent in the log says so");
  }
}

void Invariants::on_values(Act act, const std::string& deployment,
                           const actors::SealedEntries& values) {
  // Either may come late: when the deployment has ended, or has the image of another attempt, and
  // its values have gone.
  const auto known = deployments_.find(DeploymentId{deployment});
  if (known == deployments_.end() || known->second.ended) return;
  if (!values.empty() && pull_requests_.is_of_fork(deployment)) {
    violated("forks-get-no-secrets",
             "deployment " + deployment + " is of a fork, and is given " + values.front().first);
  }
  if (act == Act::build && !states_[DeploymentId{deployment}].image_id.empty()) return;
  for (const auto& [name, entry] : values) {
    if (!world_.unsealed.contains(entry.sealed_ref)) continue;
    violated("values-are-kept", "the value of " + name + " was removed, and deployment " +
                                    deployment + ", which has not ended, is given it");
  }
}

void Invariants::on_stop(const VmId& vm_id) {
  const auto vm = world_.vms.find(vm_id);
  if (vm == world_.vms.end() || !vm->second.running) return;
  // One that was given up with its host is no deployment's any more, and may come back.
  const auto known = vms_.find(vm_id);
  if (known != vms_.end() && known->second.gone) return;
  if (in_use_.contains(vm_id)) {
    violated("drain-before-stop",
             "VM " + vm_id.str() + " is stopped while the edge still sends it requests");
  }
}

void Invariants::on_table(const World::Table& table) {
  catch_up();
  std::map<std::string, std::string> routes;
  std::set<VmId> in_use;
  for (const auto& claim : table.second) {
    if (!routes.emplace(claim.host, claim.deployment).second) {
      violated("one-route-per-host", "the route table has " + claim.host + " twice");
    }
    for (const auto& upstream : claim.upstreams) {
      in_use.insert(upstream.vm_id);
      const auto vm = vms_.find(upstream.vm_id);
      if (vm == vms_.end() || !vm->second.healthy) {
        violated("healthy-before-routed", claim.host + " is routed to VM " + upstream.vm_id.str() +
                                              ", which was never healthy");
      } else if (vm->second.deployment != claim.deployment) {
        violated("one-version-per-route", claim.host + " is routed to a VM of deployment " +
                                              vm->second.deployment +
                                              " in the name of deployment " + claim.deployment);
      }
    }
    check_redirect(claim, table);
    const auto before = routes_.find(claim.host);
    if (before == routes_.end() || before->second == claim.deployment) continue;
    if (domains_.contains(claim.host)) continue;  // it leads where its project's own host does
    const auto& older = deployments_[DeploymentId{before->second}];
    const auto& newer = deployments_[DeploymentId{claim.deployment}];
    if (newer.generation < older.generation && older.routed && !older.gives_way) {
      violated("newest-claim-wins",
               fmt::format("{} went from deployment {} back to the older claim of deployment {}",
                           claim.host, before->second, claim.deployment));
    }
  }
  routes_ = std::move(routes);
  in_use_ = std::move(in_use);
  check_served(table);
}

// Who is sent to another host finds it, and is not sent on: so nobody is sent around in a circle.
void Invariants::check_redirect(const actors::RouteClaim& claim, const World::Table& table) {
  if (claim.redirect_to.empty()) return;
  const auto target =
      std::find_if(table.second.begin(), table.second.end(),
                   [&](const auto& route) { return route.host == claim.redirect_to; });
  if (target == table.second.end() || !target->redirect_to.empty()) {
    violated("redirects-end", claim.host + " sends its visitors to " + claim.redirect_to +
                                  (target == table.second.end() ? ", which leads nowhere"
                                                                : ", which sends them on"));
  }
}

// Whatever happens to the control plane and between versions, an app that is well is served.
bool Invariants::is_served(const std::string& project, const World::Table& table) const {
  const auto host = project + "." + domain_;
  const auto claim = std::find_if(table.second.begin(), table.second.end(),
                                  [&](const auto& route) { return route.host == host; });
  return claim != table.second.end() &&
         std::any_of(claim->upstreams.begin(), claim->upstreams.end(), [&](const auto& upstream) {
           const auto vm = world_.vms.find(upstream.vm_id);
           return vm != world_.vms.end() && vm->second.running;
         });
}

void Invariants::check_served(const World::Table& table) {
  for (const auto& project : served_) {
    if (disturbed_.contains(project) || is_served(project, table)) continue;
    violated("always-served", project + "." + domain_ + " leads to no running VM in the new table");
  }
}

void Invariants::on_order(const std::string& domain, const EffectId& effect,
                          const std::string& directory) {
  catch_up();
  const auto why = certificates_.wrong_order(world_, domain, effect, directory);
  if (!why.empty()) violated("one-order-at-a-time", why);
}

void Invariants::on_certificates(const std::vector<actors::CertificateChoice>& table) {
  catch_up();
  const auto why = certificates_.wrong_table(world_, table);
  if (!why.empty()) violated("certificates-are-their-own", why);
}

void Invariants::on_bytes(std::string_view bytes) {
  if (bytes.find(GitHub::secret_mark()) != std::string_view::npos) {
    violated("no-secret-leaves", "a message to the world holds a secret");
  }
}

void Invariants::adopt(const storage::EventLog& log) {
  on_restart(log);
  const auto table = world_.tables.empty() ? World::Table{} : world_.tables.back();
  on_table(table);
  for (const auto& project : served_) {
    if (!is_served(project, table)) disturbed_.insert(project);
  }
  violation_.reset();
}

void Invariants::on_epoch(Epoch epoch) { epoch_ = std::max(epoch_, epoch); }

void Invariants::on_restart(const storage::EventLog& log) {
  Position position;
  const auto read = log.read_all(Position{1}, [&](const storage::Record& record) {
    position = record.position;
    const auto place = static_cast<std::size_t>(position.value()) - 1;
    if (place >= acknowledged_.size()) {
      take(record);
    } else if (acknowledged_[place] != record.chain) {
      violated("acknowledged-stays",
               fmt::format("position {} was acknowledged with another content", position.value()));
      return false;
    }
    return true;
  });
  if (!read) violated("the-log-verifies", to_string(read.error()));
  if (position.value() < acknowledged_.size()) {
    violated("acknowledged-stays",
             fmt::format("the log ends at position {}, and position {} had been acknowledged",
                         position.value(), acknowledged_.size()));
  }
}

void Invariants::check_fold(const storage::Catalog& live, const storage::EventLog& log) {
  std::map<DeploymentId, DeploymentState> folded;
  bool secret = false;
  const auto read = log.read_all(Position{1}, [&](const storage::Record& record) {
    if (record.position > live.position()) return false;
    if (const auto id = deployment_of(record.stream); !id.empty()) {
      auto& state = folded[id];
      state.id = id;
      evolve(state, record.event);
    }
    secret =
        secret || record.event.SerializeAsString().find(GitHub::secret_mark()) != std::string::npos;
    return true;
  });
  if (secret) violated("no-secret-in-the-log", "an event holds a secret");
  if (!read) return violated("the-log-verifies", to_string(read.error()));
  for (const auto& [name, state] : domains_) {
    const auto here = live.domain(name);
    if (here && here->version == state.version && here->status() == state.status()) continue;
    violated("state-is-the-fold", "domain " + name + " is otherwise in the server than in its log");
  }
  for (const auto& [id, state] : folded) {
    const auto here = live.deployment(id);
    const std::string differs = here ? difference(here->state, state) : "existence";
    if (!differs.empty()) {
      violated("state-is-the-fold", fmt::format("{} of deployment {} is otherwise in the running "
                                                "server than in its log",
                                                differs, id.str()));
    }
  }
}

std::string Invariants::unrest(const storage::EventLog& log) const {
  // The log may end with what a full disk refused and kept, and nothing was appended after it.
  Rest rest = rest_;
  Notifications notifications = notifications_;
  Certificates certificates = certificates_;
  Heads heads = heads_;
  PullRequests pull_requests = pull_requests_;
  const auto read = log.read_all(last_.next(), [&](const storage::Record& record) {
    rest.take(record);
    notifications.take(record);
    certificates.take(record);
    heads.take(record);
    static_cast<void>(pull_requests.take(record));
    return true;
  });
  if (!read) return to_string(read.error());
  auto why = rest.unrest(world_, routes_);
  if (why.empty()) why = notifications.unsettled();
  if (why.empty()) why = heads.missed(github_);
  if (why.empty()) why = pull_requests.unrest(routes_);
  return why.empty() ? certificates.unrest(world_, routes_, domain_) : why;
}

}  // namespace atlasflow::sim
