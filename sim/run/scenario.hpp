// What a simulated run is made of: the world's size, how unkind it is, and what happens when. Drawn
// from a seed, or read from a file (docs/simulation.md); the same values either way, so a drawn run
// can be written down, made smaller and kept. Values.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"
#include "events/ids.hpp"

namespace atlasflow::sim {

// Something that a user, a sender of webhooks or the machines do at a moment of the run.
enum class StepKind : std::uint8_t {
  // GitHub
  push,           // a commit on the project's branch; `app` says what the commit is like
  force_push,     // history is rewritten: the new commit does not follow from the one before
  preview_push,   // on branch "feature-<value>"
  delete_branch,  // the same branch
  redeliver,      // the project's newest delivery comes once more
  pull_request,   // number `value` + 1 is opened or opened again; an open one is pushed to
  close_pull_request,
  // users
  deploy,
  cancel,  // of the project's newest deployment
  rollback,
  redeploy,
  promote,
  approve,  // what waits of pull request `value` + 1: each second one is a fork's
  restart,
  stop_app,
  start_app,
  scale,  // to `value` replicas
  set_env,
  change_settings,
  delete_project,
  collect,           // the janitor looks at once
  add_domain,        // number `value`, for the project
  take_over_domain,  // the project asks for it, and its TXT record is set
  remove_domain,
  check_domain,
  retry_domain,
  upload_certificate,   // of domain `value`
  release_certificate,  // back to one that is ordered
  redirect_domain,      // domain `value` to the next one
  // machines
  kill_server,  // kill -9; it is started again after `span`
  power_cut,    // the same, and what its disk had not synced may be lost
  stop_server,  // SIGTERM, started again after a second
  take_over,  // a second server starts while the first one still runs, cut off from all but the log
  host_away,  // host `value` answers nobody for `span`; its VMs go on
  host_reboots,
  edge_away,
  registry_away,
  git_away,
  builder_dies,  // the next call to the builder throws
  vm_dies,       // one of the project's VMs exits
  vm_sick,       // the project's apps answer 500 for `span`
  clock_step,    // the server's wall clock is set by `span`, which may be negative
  disk_fails,    // the next sync of the log fails
  disk_full,     // for `span`
  domain_right,  // domain `value` leads to the project
  domain_gone,   // its records are removed
  dns_away,      // name servers answer nobody for `span`
  ca_away,       // nor does the certificate authority, of two the first
  ca_limits,     // that one has a limit for `span`: it asks to be left alone for a day
  key_lost,      // what is stored of domain `value` is gone
  // what should not happen
  forged_webhook,  // a delivery whose bytes were changed on the way
  actor_dies,      // a handler throws; whose says dying_actor(value)
};

[[nodiscard]] std::string_view name_of(StepKind kind);

// What CAF calls the actors that StepKind::actor_dies is about: every kind that there is.
[[nodiscard]] std::string_view dying_actor(int value);
inline constexpr int k_dying_actors = 20;
[[nodiscard]] std::optional<StepKind> step_kind_named(std::string_view name);
[[nodiscard]] std::string step_kind_names();  // all of them, for people

// What a commit comes to.
enum class AppKind : std::uint8_t {
  good,
  no_clone,     // the commit cannot be fetched
  no_build,     // its Dockerfile fails
  sick,         // never answers 2xx
  crashing,     // exits soon after it has been healthy
  bad_release,  // its release command fails
  slow_build,   // longer than most
};

[[nodiscard]] std::string_view name_of(AppKind app);
[[nodiscard]] std::optional<AppKind> app_kind_named(std::string_view name);
[[nodiscard]] std::string app_kind_names();

struct Step {
  TimestampUs at = 0;  // since the beginning
  StepKind kind = StepKind::push;
  int project = 0;
  int value = 0;
  TimestampUs span = 0;
  AppKind app = AppKind::good;
  friend bool operator==(const Step&, const Step&) = default;
};

// Which fields a kind of step reads; the others are what they are in an empty Step.
struct StepUse {
  bool project = false;
  bool value = false;
  bool span = false;
  bool app = false;
};

[[nodiscard]] StepUse use_of(StepKind kind);

// In how many of 1,000 cases.
struct Rates {
  int call_late = 0;     // a call to the world takes its time
  int call_lost = 0;     // fails, and nothing happened
  int answer_lost = 0;   // fails, and it happened
  int call_twice = 0;    // happens twice
  int call_hangs = 0;    // until its deadline, or for ever
  int webhook_late = 0;  // and so out of order
  int webhook_twice = 0;
  int webhook_lost = 0;
  int receiver_fails = 0;  // of notifications
  bool buggify = false;    // unusual turns inside the server (base/buggify.hpp)
  friend bool operator==(const Rates&, const Rates&) = default;
};

enum class LogKind : std::uint8_t { memory, rocksdb };

struct Scenario {
  std::string name;
  std::string why;         // what it is kept for
  std::uint64_t seed = 0;  // of the choices while it runs
  int projects = 1;
  int builders = 1;
  int hosts = 1;
  int host_memory_mib = 4096;
  int rollbacks = 2;
  int senders = 1;      // GitHub installations, each with a secret of its own
  int authorities = 1;  // that certificates are ordered from: the first, or a second in its place
  LogKind log = LogKind::memory;
  TimestampUs duration = 60'000'000;  // then everything heals, and must come to rest
  Rates rates;
  std::vector<Step> steps;  // in the order of their time
  // Instead of drawing from the seed: every choice by its number, 0 beyond the last.
  std::optional<std::vector<std::uint32_t>> choices;

  friend bool operator==(const Scenario&, const Scenario&) = default;

  [[nodiscard]] static constexpr std::string_view format() { return "atlasflow-scenario-1"; }
};

// Limits of what a file may ask for.
inline constexpr TimestampUs k_scenario_max = 366LL * 24 * 3600 * 1'000'000;
inline constexpr int k_projects_max = 50;
inline constexpr int k_machines_max = 20;  // builders, and hosts
inline constexpr int k_step_value_max = 20;
inline constexpr std::int64_t k_choices_max = 1LL << 26U;

// A swarm: each seed draws the size of its world, leaves out a part of the kinds of faults and
// commands, and draws how often the others come (Groce et al., "Swarm Testing", ISSTA 2012).
// duration 0: drawn as well.
[[nodiscard]] Scenario drawn_scenario(std::uint64_t seed, TimestampUs duration = 0);

// Without chance in it: what benchmarks and --time run. Every kind of fault, in a fixed mixture.
[[nodiscard]] Scenario standard_scenario(std::uint64_t seed, TimestampUs duration);

// invalid_argument names the line and the key, and says what may stand there.
[[nodiscard]] Result<Scenario> parsed_scenario(const std::string& toml, const std::string& file);
// What parsed_scenario makes the same scenario of, but for zeros at the end of the choices.
[[nodiscard]] std::string text_of(const Scenario& scenario);

// "the server is killed, for 2 s". app: the project's name, "app-<number>" unless given.
[[nodiscard]] std::string sentence_of(const Step& step, std::string app = {});

}  // namespace atlasflow::sim
