// Scenarios in words.
#include <algorithm>
#include <array>
#include <utility>

#include <fmt/format.h>

#include "sim/run/scenario.hpp"

namespace atlasflow::sim {
namespace {

struct Kind {
  StepKind kind;
  std::string_view name;
  StepUse uses;
};
constexpr std::array k_kinds = {
    Kind{StepKind::push, "push", {.project = true, .app = true}},
    Kind{StepKind::force_push, "force_push", {.project = true, .app = true}},
    Kind{StepKind::preview_push, "preview_push", {.project = true, .value = true, .app = true}},
    Kind{StepKind::delete_branch, "delete_branch", {.project = true, .value = true}},
    Kind{StepKind::redeliver, "redeliver", {.project = true}},
    Kind{StepKind::pull_request, "pull_request", {.project = true, .value = true, .app = true}},
    Kind{StepKind::close_pull_request, "close_pull_request", {.project = true, .value = true}},
    Kind{StepKind::deploy, "deploy", {.project = true}},
    Kind{StepKind::cancel, "cancel", {.project = true}},
    Kind{StepKind::rollback, "rollback", {.project = true}},
    Kind{StepKind::redeploy, "redeploy", {.project = true}},
    Kind{StepKind::promote, "promote", {.project = true}},
    Kind{StepKind::approve, "approve", {.project = true, .value = true}},
    Kind{StepKind::restart, "restart", {.project = true}},
    Kind{StepKind::stop_app, "stop_app", {.project = true}},
    Kind{StepKind::start_app, "start_app", {.project = true}},
    Kind{StepKind::scale, "scale", {.project = true, .value = true}},
    Kind{StepKind::set_env, "set_env", {.project = true, .value = true}},
    Kind{StepKind::change_settings, "change_settings", {.project = true, .value = true}},
    Kind{StepKind::delete_project, "delete_project", {.project = true}},
    Kind{StepKind::collect, "collect", {}},
    Kind{StepKind::kill_server, "kill_server", {.span = true}},
    Kind{StepKind::power_cut, "power_cut", {.span = true}},
    Kind{StepKind::stop_server, "stop_server", {}},
    Kind{StepKind::take_over, "take_over", {}},
    Kind{StepKind::host_away, "host_away", {.value = true, .span = true}},
    Kind{StepKind::host_reboots, "host_reboots", {.value = true}},
    Kind{StepKind::edge_away, "edge_away", {.span = true}},
    Kind{StepKind::registry_away, "registry_away", {.span = true}},
    Kind{StepKind::git_away, "git_away", {.span = true}},
    Kind{StepKind::builder_dies, "builder_dies", {}},
    Kind{StepKind::vm_dies, "vm_dies", {.project = true}},
    Kind{StepKind::vm_sick, "vm_sick", {.project = true, .span = true}},
    Kind{StepKind::clock_step, "clock_step", {.span = true}},
    Kind{StepKind::disk_fails, "disk_fails", {}},
    Kind{StepKind::disk_full, "disk_full", {.span = true}},
    Kind{StepKind::forged_webhook, "forged_webhook", {.project = true}},
    Kind{StepKind::actor_dies, "actor_dies", {.value = true}},
    Kind{StepKind::add_domain, "add_domain", {.project = true, .value = true}},
    Kind{StepKind::take_over_domain, "take_over_domain", {.project = true, .value = true}},
    Kind{StepKind::remove_domain, "remove_domain", {.value = true}},
    Kind{StepKind::check_domain, "check_domain", {.value = true}},
    Kind{StepKind::retry_domain, "retry_domain", {.value = true}},
    Kind{StepKind::upload_certificate, "upload_certificate", {.value = true}},
    Kind{StepKind::release_certificate, "release_certificate", {.value = true}},
    Kind{StepKind::redirect_domain, "redirect_domain", {.value = true}},
    Kind{StepKind::domain_right, "domain_right", {.project = true, .value = true}},
    Kind{StepKind::domain_gone, "domain_gone", {.value = true}},
    Kind{StepKind::dns_away, "dns_away", {.span = true}},
    Kind{StepKind::ca_away, "ca_away", {.span = true}},
    Kind{StepKind::ca_limits, "ca_limits", {.span = true}},
    Kind{StepKind::key_lost, "key_lost", {.value = true}},
};
constexpr std::array k_apps = {
    std::pair{AppKind::good, "good"},
    std::pair{AppKind::no_clone, "no_clone"},
    std::pair{AppKind::no_build, "no_build"},
    std::pair{AppKind::sick, "sick"},
    std::pair{AppKind::crashing, "crashing"},
    std::pair{AppKind::bad_release, "bad_release"},
    std::pair{AppKind::slow_build, "slow_build"},
};

const Kind* find(StepKind kind) {
  const auto* const found = std::find_if(k_kinds.begin(), k_kinds.end(),
                                         [&](const Kind& each) { return each.kind == kind; });
  return found == k_kinds.end() ? nullptr : found;
}

std::string seconds(TimestampUs span) {
  return fmt::format("{:g} s", static_cast<double>(span) / 1e6);
}

}  // namespace

std::string_view dying_actor(int value) {
  // The plain ones are those who carry one thing out: builders, collectors, drainers, senders.
  constexpr std::array k_names{"deployment", "project",    "vm",           "scheduled_actor",
                               "reconciler", "janitor",    "notifier",     "timers",
                               "edge",       "projects",   "deployments",  "vm_hosts",
                               "vm_host",    "host_watch", "builder_pool", "projector",
                               "log_writer", "root",       "log_reader",   "domains"};
  static_assert(k_names.size() == k_dying_actors);
  return k_names.at(static_cast<std::size_t>(value) % k_names.size());
}

std::string_view name_of(StepKind kind) {
  const auto* found = find(kind);
  return found == nullptr ? "unknown" : found->name;
}

std::string_view name_of(AppKind app) {
  for (const auto& [known, name] : k_apps) {
    if (known == app) return name;
  }
  return "unknown";
}

std::optional<StepKind> step_kind_named(std::string_view name) {
  for (const auto& each : k_kinds) {
    if (each.name == name) return each.kind;
  }
  return std::nullopt;
}

std::optional<AppKind> app_kind_named(std::string_view name) {
  for (const auto& [app, known] : k_apps) {
    if (known == name) return app;
  }
  return std::nullopt;
}

std::string step_kind_names() {
  std::string names;
  for (const auto& each : k_kinds) names += (names.empty() ? "" : ", ") + std::string(each.name);
  return names;
}

std::string app_kind_names() {
  std::string names;
  for (const auto& each : k_apps) names += (names.empty() ? "" : ", ") + std::string(each.second);
  return names;
}

StepUse use_of(StepKind kind) {
  const auto* found = find(kind);
  return found == nullptr ? StepUse{} : found->uses;
}

std::string sentence_of(const Step& step, std::string app) {
  if (app.empty()) app = "app-" + std::to_string(step.project);
  const auto commit = step.app == AppKind::good ? "" : fmt::format(" ({})", name_of(step.app));
  switch (step.kind) {
    case StepKind::push:
      return "a push to " + app + commit;
    case StepKind::force_push:
      return "a forced push to " + app + commit;
    case StepKind::preview_push:
      return fmt::format("a push to branch feature-{} of {}{}", step.value, app, commit);
    case StepKind::delete_branch:
      return fmt::format("branch feature-{} of {} is deleted", step.value, app);
    case StepKind::pull_request:
      return fmt::format("pull request {} of {} is opened or pushed to{}", step.value + 1, app,
                         commit);
    case StepKind::close_pull_request:
      return fmt::format("pull request {} of {} is closed", step.value + 1, app);
    case StepKind::approve:
      return fmt::format("pull request {} of {} is approved", step.value + 1, app);
    case StepKind::redeliver:
      return "the newest delivery of " + app + " is sent again";
    case StepKind::cancel:
      return "the newest deployment of " + app + " is cancelled";
    case StepKind::scale:
      return fmt::format("{} is scaled to {}", app, step.value < 1 ? 1 : step.value);
    case StepKind::set_env:
    case StepKind::change_settings:
    case StepKind::delete_project:
    case StepKind::deploy:
    case StepKind::rollback:
    case StepKind::redeploy:
    case StepKind::promote:
    case StepKind::restart:
    case StepKind::stop_app:
    case StepKind::start_app:
      return fmt::format("{} for {}", name_of(step.kind), app);
    case StepKind::add_domain:
    case StepKind::take_over_domain:
    case StepKind::domain_right:
      return fmt::format("{} {} for {}", name_of(step.kind), step.value, app);
    case StepKind::remove_domain:
    case StepKind::check_domain:
    case StepKind::retry_domain:
    case StepKind::upload_certificate:
    case StepKind::release_certificate:
    case StepKind::redirect_domain:
    case StepKind::domain_gone:
    case StepKind::key_lost:
      return fmt::format("{} {}", name_of(step.kind), step.value);
    case StepKind::collect:
      return "the janitor looks";
    case StepKind::kill_server:
      return "the server is killed, for " + seconds(step.span);
    case StepKind::power_cut:
      return "the server's power is cut, for " + seconds(step.span);
    case StepKind::stop_server:
      return "the server is stopped";
    case StepKind::take_over:
      return "a second server takes over";
    case StepKind::host_away:
      return fmt::format("host {} cannot be reached for {}", step.value, seconds(step.span));
    case StepKind::host_reboots:
      return fmt::format("host {} reboots", step.value);
    case StepKind::dns_away:
    case StepKind::ca_away:
    case StepKind::ca_limits:
    case StepKind::edge_away:
    case StepKind::registry_away:
    case StepKind::git_away:
      return fmt::format("{} for {}", name_of(step.kind), seconds(step.span));
    case StepKind::builder_dies:
      return "the builder dies in its next build";
    case StepKind::vm_dies:
      return "a VM of " + app + " exits";
    case StepKind::vm_sick:
      return fmt::format("{} answers 500 for {}", app, seconds(step.span));
    case StepKind::clock_step:
      return "the clock is set by " + seconds(step.span);
    case StepKind::disk_fails:
      return "the next sync of the log fails";
    case StepKind::forged_webhook:
      return "a changed copy of the newest delivery of " + app + " comes in";
    case StepKind::actor_dies:
      return fmt::format("the next {} actor that has work dies", dying_actor(step.value));
    case StepKind::disk_full:
      return "the log's disk is full for " + seconds(step.span);
  }
  return "nothing";
}

}  // namespace atlasflow::sim
