// Scenarios in words.
#include <array>
#include <utility>

#include <fmt/format.h>

#include "sim/scenario.hpp"

namespace atlasflow::sim {
namespace {

constexpr std::array k_kinds = {
    std::pair{StepKind::push, "push"},
    std::pair{StepKind::force_push, "force_push"},
    std::pair{StepKind::preview_push, "preview_push"},
    std::pair{StepKind::delete_branch, "delete_branch"},
    std::pair{StepKind::redeliver, "redeliver"},
    std::pair{StepKind::deploy, "deploy"},
    std::pair{StepKind::cancel, "cancel"},
    std::pair{StepKind::rollback, "rollback"},
    std::pair{StepKind::redeploy, "redeploy"},
    std::pair{StepKind::promote, "promote"},
    std::pair{StepKind::restart, "restart"},
    std::pair{StepKind::stop_app, "stop_app"},
    std::pair{StepKind::start_app, "start_app"},
    std::pair{StepKind::scale, "scale"},
    std::pair{StepKind::set_env, "set_env"},
    std::pair{StepKind::change_settings, "change_settings"},
    std::pair{StepKind::delete_project, "delete_project"},
    std::pair{StepKind::collect, "collect"},
    std::pair{StepKind::kill_server, "kill_server"},
    std::pair{StepKind::power_cut, "power_cut"},
    std::pair{StepKind::stop_server, "stop_server"},
    std::pair{StepKind::take_over, "take_over"},
    std::pair{StepKind::host_away, "host_away"},
    std::pair{StepKind::host_reboots, "host_reboots"},
    std::pair{StepKind::edge_away, "edge_away"},
    std::pair{StepKind::registry_away, "registry_away"},
    std::pair{StepKind::git_away, "git_away"},
    std::pair{StepKind::builder_dies, "builder_dies"},
    std::pair{StepKind::vm_dies, "vm_dies"},
    std::pair{StepKind::vm_sick, "vm_sick"},
    std::pair{StepKind::clock_step, "clock_step"},
    std::pair{StepKind::disk_fails, "disk_fails"},
    std::pair{StepKind::disk_full, "disk_full"},
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

template <typename Names, typename Value>
std::string_view name_in(const Names& names, Value value) {
  for (const auto& [known, name] : names) {
    if (known == value) return name;
  }
  return "unknown";
}

std::string seconds(TimestampUs span) {
  return fmt::format("{:g} s", static_cast<double>(span) / 1e6);
}

}  // namespace

std::string_view name_of(StepKind kind) { return name_in(k_kinds, kind); }
std::string_view name_of(AppKind app) { return name_in(k_apps, app); }

std::string sentence_of(const Step& step) {
  const auto app = "app-" + std::to_string(step.project);
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
    case StepKind::disk_full:
      return "the log's disk is full for " + seconds(step.span);
  }
  return "nothing";
}

}  // namespace atlasflow::sim
