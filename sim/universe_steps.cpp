// What a scenario's steps do.
#include <fmt/format.h>

#include "events/settings.hpp"
#include "sim/universe.hpp"

namespace atlasflow::sim {
namespace {

constexpr TimestampUs k_s = 1'000'000;

}  // namespace

std::string Universe::host_name(int number) const {
  return "host-" + std::to_string(number % std::max(scenario_.hosts, 1));
}

std::string Universe::command_id() { return "command-" + std::to_string(++commands_); }

std::optional<DeploymentId> Universe::newest_deployment(int project) const {
  const auto view = life_->catalog().project_named(GitHub::project_name(project));
  if (!view || view->deployments.empty()) return std::nullopt;
  return view->deployments.back();
}

std::optional<DeploymentId> Universe::serving_deployment(int project) const {
  const auto view = life_->catalog().project_named(GitHub::project_name(project));
  if (!view) return std::nullopt;
  return view->live;
}

void Universe::carry_out(const Step& step) {
  tell(sentence_of(step));
  if (carry_out_on_github(step)) return;
  if (carry_out_for_a_user(step)) return;
  carry_out_on_machines(step);
}

bool Universe::carry_out_on_github(const Step& step) {
  const auto now = world_.agenda.now();
  const auto branch = "feature-" + std::to_string(step.value);
  switch (step.kind) {
    case StepKind::push:
      deliver(github_.push(step.project, "main", step.app, false, now));
      return true;
    case StepKind::force_push:
      deliver(github_.push(step.project, "main", step.app, true, now));
      return true;
    case StepKind::preview_push:
      deliver(github_.push(step.project, branch, step.app, false, now));
      return true;
    case StepKind::delete_branch:
      if (auto told = github_.delete_branch(step.project, branch, now)) deliver(*told);
      return true;
    case StepKind::redeliver:
      if (auto told = github_.newest_delivery(step.project)) deliver(*told);
      return true;
    default:
      return false;
  }
}

void Universe::command_deployment(const Step& step) {
  const auto newest = newest_deployment(step.project);
  const auto serving = serving_deployment(step.project);
  switch (step.kind) {
    case StepKind::cancel:
      if (newest) life_->command(*newest, Cancel{"user"});
      break;
    case StepKind::stop_app:
      if (serving) life_->command(*serving, StopApp{"user"});
      break;
    case StepKind::start_app:
      if (serving) life_->command(*serving, StartApp{"user"});
      break;
    case StepKind::scale:
      if (serving) life_->command(*serving, Scale{std::max(step.value, 1), "user"});
      break;
    default:
      break;
  }
}

void Universe::reuse(const Step& step) {
  const auto name = GitHub::project_name(step.project);
  switch (step.kind) {
    case StepKind::rollback:
      life_->reuse(name, actors::ReuseKind::rollback, command_id());
      break;
    case StepKind::redeploy:
      life_->reuse(name, actors::ReuseKind::redeploy, command_id());
      break;
    case StepKind::restart:
      life_->reuse(name, actors::ReuseKind::restart, command_id());
      break;
    case StepKind::promote:
      if (const auto newest = newest_deployment(step.project)) {
        life_->reuse(name, actors::ReuseKind::promote, command_id(), *newest);
      }
      break;
    default:
      break;
  }
}

void Universe::change_project(const Step& step) {
  const auto name = GitHub::project_name(step.project);
  const auto view = life_->catalog().project_named(name);
  switch (step.kind) {
    case StepKind::set_env: {
      SetEnv set;
      set.entries.emplace_back("KEY_" + std::to_string(step.value), EnvEntry{"digest", "env/ref"});
      life_->command_project(name, set);
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
      life_->command_project(name, DeleteProject{});
      break;
    case StepKind::collect:
      life_->collect_now();
      break;
    default:
      break;
  }
}

bool Universe::carry_out_for_a_user(const Step& step) {
  switch (step.kind) {
    case StepKind::deploy:
      if (const auto head = github_.head(step.project, "main"); head && life_) {
        life_->deploy({GitHub::project_name(step.project), "refs/heads/main", *head, command_id()});
      }
      return true;
    case StepKind::cancel:
    case StepKind::stop_app:
    case StepKind::start_app:
    case StepKind::scale:
      if (life_) command_deployment(step);
      return true;
    case StepKind::rollback:
    case StepKind::redeploy:
    case StepKind::restart:
    case StepKind::promote:
      if (life_) reuse(step);
      return true;
    case StepKind::set_env:
    case StepKind::change_settings:
    case StepKind::delete_project:
    case StepKind::collect:
      if (life_) change_project(step);
      return true;
    default:
      return false;
  }
}

void Universe::take_over() {
  if (!life_ || ghost_ || !disk_->is_shared()) return;
  ghost_ = std::move(life_);
  ghost_->cut_off();
  start_server();
  // What it would do if nobody had told it: record something.
  ghost_->command_project(GitHub::project_name(0), SetEnv{{{"GHOST", EnvEntry{"digest", "ref"}}}});
}

void Universe::end_a_vm(const Step& step) {
  std::vector<World::Vm*> candidates;
  for (auto& [id, vm] : world_.vms) {
    if (vm.running && vm.project == GitHub::project_name(step.project)) candidates.push_back(&vm);
  }
  if (candidates.empty()) return;
  auto* vm = candidates[choices_.below(candidates.size())];
  vm->running = false;
  vm->exit_code = 137;
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
      if (life_) life_->begin_stop();
      break;
    case StepKind::take_over:
      take_over();
      break;
    case StepKind::host_away:
      weather_.away_until[host_name(step.value)] = until;
      break;
    case StepKind::host_reboots:
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
      weather_.sick_until[GitHub::project_name(step.project)] = until;
      break;
    case StepKind::clock_step:
      world_.clock_skew += step.span;
      break;
    case StepKind::disk_fails:
      disk_is_ill_ = true;
      disk_->fail_next_sync();
      break;
    case StepKind::disk_full:
      disk_is_ill_ = true;
      disk_->fill_up(true);
      world_.agenda.at(until, [this] { disk_->fill_up(false); });
      break;
    default:
      break;
  }
}

}  // namespace atlasflow::sim
