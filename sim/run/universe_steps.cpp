// What a scenario's steps do.
#include <fmt/format.h>

#include "events/settings.hpp"
#include "sim/run/universe.hpp"

namespace atlasflow::sim {
namespace {

constexpr TimestampUs k_s = 1'000'000;

}  // namespace

const HostId& Universe::host_name(int number) const {
  return host_names_[static_cast<std::size_t>(number) % host_names_.size()];
}

std::string Universe::command_id() {
  ++commands_;
  return era_ == 0 ? fmt::format("command-{}", commands_)
                   : fmt::format("command-{}-{}", era_, commands_);
}

std::optional<DeploymentId> Universe::newest_deployment(int project) const {
  const auto view = life_->catalog().project_named(github_.project_name(project));
  if (!view) return std::nullopt;
  const auto newest = life_->catalog().deployments_of(view->state.id, 1);  // is in memory
  return newest && !newest->empty() ? std::optional(newest->front().state.id) : std::nullopt;
}

std::optional<DeploymentId> Universe::serving_deployment(int project) const {
  const auto view = life_->catalog().project_named(github_.project_name(project));
  if (!view) return std::nullopt;
  return view->live;
}

void Universe::carry_out(const Step& planned) {
  Step step = planned;
  step.project %= github_.projects();  // a log's projects may be fewer than the scenario's
  tell(sentence_of(step, github_.project_name(step.project)));
  if (carry_out_on_github(step)) return;
  if (carry_out_for_a_user(step) || carry_out_for_a_domain(step)) return;
  carry_out_on_machines(step);
}

void Universe::forge(Delivery delivery) {
  auto& byte = delivery.body[choices_.below(delivery.body.size())];
  byte = static_cast<char>(byte ^ 1);
  if (github_.received(delivery)) {
    invariants_.violated("forgeries-are-refused", "a changed delivery passed for a real one");
  }
}

bool Universe::carry_out_on_github(const Step& step) {
  const auto now = world_.agenda.now();
  const auto& main = github_.main_branch(step.project);
  const auto branch = "feature-" + std::to_string(step.value);
  switch (step.kind) {
    case StepKind::push:
      deliver(github_.push(step.project, main, step.app, false, now));
      return true;
    case StepKind::force_push:
      deliver(github_.push(step.project, main, step.app, true, now));
      return true;
    case StepKind::preview_push:
      deliver(github_.push(step.project, branch, step.app, false, now));
      return true;
    case StepKind::delete_branch:
      if (auto told = github_.delete_branch(step.project, branch, now)) deliver(*told);
      return true;
    case StepKind::pull_request:
      deliver(github_.change_pull_request(step.project, step.value + 1, step.app, now));
      return true;
    case StepKind::close_pull_request:
      if (auto told = github_.close_pull_request(step.project, step.value + 1, now)) {
        deliver(*told);
      }
      return true;
    case StepKind::forged_webhook:
      if (auto told = github_.newest_delivery(step.project)) forge(*std::move(told));
      return true;
    case StepKind::redeliver:
      if (auto told = github_.newest_delivery(step.project)) deliver(*told);
      return true;
    default:
      return false;
  }
}

void Universe::deploy(int project) {
  const auto& branch = github_.main_branch(project);
  const auto head = github_.head(project, branch);
  if (!head) return;
  life_->deploy({github_.project_name(project),
                 {.trigger = pb::TRIGGER_COMMAND,
                  .ref = "refs/heads/" + branch,
                  .after = *head,
                  .delivery_id = command_id(),
                  .pusher = Principal::user().str(),
                  .by = Principal::user()}});
}

void Universe::command_deployment(const Step& step) {
  const auto newest = newest_deployment(step.project);
  const auto serving = serving_deployment(step.project);
  switch (step.kind) {
    case StepKind::cancel:
      if (newest) life_->command(*newest, Cancel{Principal::user()});
      break;
    case StepKind::stop_app:
      invariants_.disturb(github_.project_name(step.project));
      if (serving) life_->command(*serving, StopApp{Principal::user()});
      break;
    case StepKind::start_app:
      if (serving) life_->command(*serving, StartApp{Principal::user()});
      break;
    case StepKind::scale:
      if (serving) life_->command(*serving, Scale{std::max(step.value, 1), Principal::user()});
      break;
    default:
      break;
  }
}

void Universe::reuse(const Step& step) {
  const auto name = github_.project_name(step.project);
  switch (step.kind) {
    case StepKind::rollback:
      life_->reuse(name, ReuseKind::rollback, command_id());
      break;
    case StepKind::redeploy:
      life_->reuse(name, ReuseKind::redeploy, command_id());
      break;
    case StepKind::restart:
      life_->reuse(name, ReuseKind::restart, command_id());
      break;
    case StepKind::promote:
      if (const auto newest = newest_deployment(step.project)) {
        life_->reuse(name, ReuseKind::promote, command_id(), *newest);
      }
      break;
    default:
      break;
  }
}

void Universe::change_project(const Step& step) {
  const auto name = github_.project_name(step.project);
  const auto view = life_->catalog().project_named(name);
  switch (step.kind) {
    case StepKind::set_env: {
      const auto key = "KEY_" + std::to_string(step.value);
      const EnvEntry entry{"digest", world_.seal("env")};
      if (step.value % 2 == 0) {
        life_->command_project(name, SetEnv{{{key, entry}}});
      } else {
        life_->command_project(name, SetBuildSecrets{{{key, entry}}});
      }
      break;
    }
    case StepKind::change_settings:
      if (view) {
        ChangeSettings change{view->state.settings};
        change.settings.set_replicas(1 + step.value % 3);
        life_->command_project(name, change);
      }
      break;
    case StepKind::delete_project:
      invariants_.disturb(name);
      life_->command_project(name, DeleteProject{Principal::user()});
      break;
    case StepKind::collect:
      life_->collect_now();
      break;
    default:
      break;
  }
}

// Of the commit that the user looked at, which may be another by the time it is decided.
void Universe::approve(const Step& step) {
  const auto name = github_.project_name(step.project);
  const auto view = life_->catalog().project_named(name);
  if (!view) return;
  const auto waiting = view->state.awaiting_approval.find(step.value + 1);
  if (waiting == view->state.awaiting_approval.end()) return;
  const auto& sha = waiting->second.head();
  invariants_.approve(sha);
  life_->approve(name, {step.value + 1, sha, command_id()});
}

bool Universe::carry_out_for_a_user(const Step& step) {
  switch (step.kind) {
    case StepKind::deploy:
      if (server_listens()) deploy(step.project);
      return true;
    case StepKind::cancel:
    case StepKind::stop_app:
    case StepKind::start_app:
    case StepKind::scale:
      if (server_listens()) command_deployment(step);
      return true;
    case StepKind::rollback:
    case StepKind::redeploy:
    case StepKind::restart:
    case StepKind::promote:
      if (server_listens()) reuse(step);
      return true;
    case StepKind::approve:
      if (server_listens()) approve(step);
      return true;
    case StepKind::set_env:
    case StepKind::change_settings:
    case StepKind::delete_project:
    case StepKind::collect:
      if (server_listens()) change_project(step);
      return true;
    default:
      return false;
  }
}

bool Universe::carry_out_for_a_domain(const Step& step) {
  const auto name = fmt::format("www{}.shop.test", step.value);
  const auto project = github_.project_name(step.project);
  const auto view = server_listens() ? life_->catalog().project_named(project) : std::nullopt;
  auto& known = world_.domains;
  const auto until = world_.agenda.now() + step.span;
  switch (step.kind) {
    case StepKind::add_domain:
    case StepKind::take_over_domain: {
      if (!view) return true;
      const bool takes = step.kind == StepKind::take_over_domain;
      const auto token = "token-" + project;
      if (takes) known.proofs[name] = ownership_proof(view->state.id, token);
      life_->command_domain(name, AddDomain{.project = view->state.id,
                                            .project_name = project,
                                            .display_name = name,
                                            .token = token,
                                            .take_over = takes,
                                            .parent_claimant = {},
                                            .by = Principal::user()});
      return true;
    }
    case StepKind::remove_domain:
      if (server_listens()) life_->command_domain(name, RemoveDomain{Principal::user(), "asked"});
      return true;
    case StepKind::retry_domain:
      if (server_listens()) life_->command_domain(name, RetryCertificate{Principal::user()});
      return true;
    case StepKind::upload_certificate:
      if (server_listens()) life_->upload_certificate(name);
      return true;
    case StepKind::release_certificate:
      if (server_listens()) life_->command_domain(name, ReleaseUploaded{Principal::user()});
      return true;
    case StepKind::redirect_domain:
      if (!server_listens()) return true;
      life_->command_domain(name, SetRedirect{.to = fmt::format("www{}.shop.test", step.value + 1),
                                              .refused = {},
                                              .by = Principal::user()});
      return true;
    case StepKind::check_domain:
      if (server_listens()) life_->check_domain(name);
      return true;
    case StepKind::domain_right:
      known.targets[name] = project + "." + own_domain();
      return true;
    case StepKind::domain_gone:
      known.targets.erase(name);
      known.proofs.erase(name);
      return true;
    case StepKind::dns_away:
      weather_.away_until["dns"] = until;
      return true;
    case StepKind::ca_away:
      weather_.away_until["ca"] = until;
      return true;
    case StepKind::ca_limits:
      weather_.away_until["patience of the ca"] = until;
      return true;
    case StepKind::key_lost:
      std::erase_if(known.stored, [&](const auto& stored) {
        return stored.second.names_size() > 0 && stored.second.names(0) == name;
      });
      std::erase_if(known.uploaded, [&](const auto& each) { return each.second.domain == name; });
      return true;
    default:
      return false;
  }
}

void Universe::take_over() {
  if (!server_listens() || deposed_ || !disk_->is_shared()) return;
  deposed_ = std::move(life_);
  deposed_->cut_off();
  start_server();
  // What it would do if nobody had told it: record something.
  deposed_->command_project(github_.project_name(0),
                            SetEnv{{{"GHOST", EnvEntry{"digest", world_.seal("ghost")}}}});
}

void Universe::end_a_vm(const Step& step) {
  std::vector<World::Vm*> candidates;
  for (auto& [id, vm] : world_.vms) {
    if (vm.running && vm.project == github_.project_name(step.project)) candidates.push_back(&vm);
  }
  if (candidates.empty()) return;
  auto* vm = candidates[choices_.below(candidates.size())];
  vm->running = false;
  vm->exit_code = 137;
  invariants_.disturb(vm->project);
}

void Universe::disturb_host(int number) {
  for (const auto& [id, vm] : world_.vms) {
    if (vm.host == host_name(number)) invariants_.disturb(vm.project);
  }
}

void Universe::carry_out_on_machines(const Step& step) {
  const auto until = world_.agenda.now() + step.span;
  switch (step.kind) {
    case StepKind::kill_server:
      kill_server(false, step.span);
      break;
    case StepKind::power_cut:
      cut_power(step.span);
      break;
    case StepKind::stop_server:
      if (server_listens()) life_->begin_stop();
      break;
    case StepKind::take_over:
      take_over();
      break;
    case StepKind::host_away:
      disturb_host(step.value);
      weather_.away_until[host_name(step.value).str()] = until;
      break;
    case StepKind::host_reboots:
      disturb_host(step.value);
      for (auto& [id, vm] : world_.vms) {
        if (vm.host != host_name(step.value) || !vm.running) continue;
        vm.running = false;
        vm.lost = true;
      }
      break;
    case StepKind::edge_away:
      weather_.away_until["edge"] = until;
      break;
    case StepKind::registry_away:
      weather_.away_until["registry"] = until;
      break;
    case StepKind::git_away:
      weather_.away_until["git"] = until;
      break;
    case StepKind::builder_dies:
      weather_.builder_deaths = 1;
      break;
    case StepKind::vm_dies:
      end_a_vm(step);
      break;
    case StepKind::vm_sick:
      invariants_.disturb(github_.project_name(step.project));
      weather_.sick_until[github_.project_name(step.project)] = until;
      break;
    case StepKind::clock_step:
      world_.clock_skew += step.span;
      break;
    case StepKind::actor_dies:
      if (life_) life_->kill_next(std::string(dying_actor(step.value)));
      break;
    case StepKind::disk_fails:
      disk_fails_ = true;
      disk_->fail_next_sync();
      break;
    case StepKind::disk_full:
      disk_was_full_ = true;
      disk_->fill_up(choices_);
      world_.agenda.at(until, [this] { disk_->make_room(); });
      break;
    default:
      break;
  }
}

}  // namespace atlasflow::sim
