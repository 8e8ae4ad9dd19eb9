// Scenarios drawn from a seed. How they are written in files is in scenario_text.cpp.
#include "sim/run/scenario.hpp"

#include <algorithm>
#include <array>

#include "sim/run/random.hpp"

namespace atlasflow::sim {
namespace {

constexpr TimestampUs k_s = 1'000'000;

struct Weight {
  StepKind kind;
  std::uint64_t weight;
};
// How often a kind comes when its seed has not left it out.
constexpr std::array k_weights = {
    Weight{StepKind::push, 30},          Weight{StepKind::force_push, 3},
    Weight{StepKind::preview_push, 6},   Weight{StepKind::delete_branch, 3},
    Weight{StepKind::redeliver, 4},      Weight{StepKind::deploy, 3},
    Weight{StepKind::cancel, 6},         Weight{StepKind::rollback, 5},
    Weight{StepKind::redeploy, 3},       Weight{StepKind::promote, 2},
    Weight{StepKind::restart, 3},        Weight{StepKind::stop_app, 3},
    Weight{StepKind::start_app, 3},      Weight{StepKind::scale, 4},
    Weight{StepKind::set_env, 2},        Weight{StepKind::change_settings, 2},
    Weight{StepKind::delete_project, 1}, Weight{StepKind::collect, 3},
    Weight{StepKind::kill_server, 8},    Weight{StepKind::power_cut, 4},
    Weight{StepKind::stop_server, 2},    Weight{StepKind::take_over, 2},
    Weight{StepKind::host_away, 3},      Weight{StepKind::host_reboots, 3},
    Weight{StepKind::edge_away, 4},      Weight{StepKind::registry_away, 3},
    Weight{StepKind::git_away, 3},       Weight{StepKind::builder_dies, 3},
    Weight{StepKind::vm_dies, 6},        Weight{StepKind::vm_sick, 4},
    Weight{StepKind::clock_step, 2},     Weight{StepKind::disk_fails, 2},
    Weight{StepKind::disk_full, 2},      Weight{StepKind::forged_webhook, 1},
    Weight{StepKind::actor_dies, 5},
};

AppKind drawn_app(Random& random) {
  constexpr std::array k_apps{AppKind::no_clone, AppKind::no_build,    AppKind::sick,
                              AppKind::crashing, AppKind::bad_release, AppKind::slow_build};
  return random.chance(2, 3) ? AppKind::good : k_apps.at(random.below(k_apps.size()));
}

// From some milliseconds to some minutes, as often short as long.
constexpr std::array<TimestampUs, 6> k_spans{k_s / 100, k_s / 2,  2 * k_s,
                                             8 * k_s,   20 * k_s, 60 * k_s};

Step drawn_step(Random& random, const Scenario& scenario, const std::vector<Weight>& weights) {
  std::uint64_t total = 0;
  for (const auto& weight : weights) total += weight.weight;
  auto place = random.below(total);
  Step step;
  for (const auto& weight : weights) {
    step.kind = weight.kind;
    if (place < weight.weight) break;
    place -= weight.weight;
  }
  step.project = static_cast<int>(random.below(static_cast<std::uint64_t>(scenario.projects)));
  step.value = static_cast<int>(random.below(4));
  const auto span = random.below(k_spans.size());
  step.span = k_spans.at(span);
  if (step.kind == StepKind::clock_step && random.chance(1, 2)) step.span = -step.span;
  step.app = drawn_app(random);
  // Whose handler throws: of two numbers that the kind does not read otherwise.
  if (step.kind == StepKind::actor_dies) {
    step.value = (step.value + 4 * static_cast<int>(span)) % (k_dying_actors - 1);
  }
  // Whatever the kind, as many numbers are drawn; what it does not read is not kept.
  const auto uses = use_of(step.kind);
  if (!uses.project) step.project = 0;
  if (!uses.value) step.value = 0;
  if (!uses.span) step.span = 0;
  if (!uses.app) step.app = AppKind::good;
  return step;
}

int drawn_rate(Random& random) {
  constexpr std::array<int, 6> k_rates{0, 0, 5, 20, 80, 250};
  return k_rates.at(random.below(k_rates.size()));
}

Rates drawn_rates(Random& random) {
  Rates rates;
  if (random.chance(1, 4)) return rates;  // a kind network
  rates.call_late = drawn_rate(random) * 2;
  rates.call_lost = drawn_rate(random) / 2;
  rates.answer_lost = drawn_rate(random) / 2;
  rates.call_twice = drawn_rate(random);
  rates.call_hangs = drawn_rate(random) / 5;
  rates.webhook_late = drawn_rate(random) * 2;
  rates.webhook_twice = drawn_rate(random);
  rates.webhook_lost = drawn_rate(random) / 5;
  rates.receiver_fails = drawn_rate(random);
  return rates;
}

constexpr int k_domains = 3;

// What projects do with their domains beside claiming them; by numbers of their own again.
void draw_certificate_steps(std::uint64_t seed, Scenario& scenario) {
  Random random(seed ^ 0xCE27F1CA7EULL);
  if (!random.chance(1, 2)) return;
  constexpr std::array k_kinds = {StepKind::upload_certificate, StepKind::upload_certificate,
                                  StepKind::release_certificate, StepKind::redirect_domain};
  const auto count = 1 + random.below(5);
  const auto room = static_cast<std::uint64_t>(std::max<TimestampUs>(scenario.duration, 4 * k_s));
  for (std::uint64_t i = 0; i < count; ++i) {
    Step step;
    step.kind = k_kinds.at(random.below(k_kinds.size()));
    step.at = 4 * k_s + static_cast<TimestampUs>(random.below(room));
    step.value = static_cast<int>(random.below(k_domains));
    scenario.steps.push_back(step);
  }
}

// In half of the runs with domains there is a second authority, and the first one has a limit or is
// away. By numbers of their own once more.
void draw_authorities(std::uint64_t seed, Scenario& scenario) {
  Random random(seed ^ 0x5EC02DCAULL);
  // In a longer run the end of a limit comes within it.
  if (!random.chance(1, 2) || scenario.duration > 3600 * k_s) return;
  scenario.authorities = 2;
  const auto room = static_cast<std::uint64_t>(std::max<TimestampUs>(scenario.duration, 4 * k_s));
  const auto count = 1 + random.below(3);
  for (std::uint64_t i = 0; i < count; ++i) {
    Step step;
    step.kind = random.chance(2, 3) ? StepKind::ca_limits : StepKind::ca_away;
    step.at = 2 * k_s + static_cast<TimestampUs>(random.below(room));
    step.span = scenario.duration;
    scenario.steps.push_back(step);
  }
}

// Domains come in a third of the runs, by numbers of their own: the rest of a run is what it would
// be without them.
void draw_domain_steps(std::uint64_t seed, Scenario& scenario) {
  Random random(seed ^ 0xD0A1425EULL);
  if (!random.chance(1, 3)) return;
  constexpr std::array k_kinds = {
      StepKind::add_domain,   StepKind::domain_right,     StepKind::add_domain,
      StepKind::domain_right, StepKind::take_over_domain, StepKind::remove_domain,
      StepKind::check_domain, StepKind::retry_domain,     StepKind::domain_right,
      StepKind::domain_gone,  StepKind::dns_away,         StepKind::ca_away,
      StepKind::key_lost,     StepKind::actor_dies,       StepKind::kill_server};
  const auto count = 4 + random.below(12);
  const auto room = static_cast<std::uint64_t>(std::max<TimestampUs>(scenario.duration, 4 * k_s));
  for (std::uint64_t i = 0; i < count; ++i) {
    Step step;
    // The first two make one that has a certificate, if nothing comes in between.
    step.kind = k_kinds.at(i < 2 ? i : random.below(k_kinds.size()));
    const auto uses = use_of(step.kind);
    const auto project = random.below(static_cast<std::uint64_t>(scenario.projects));
    const auto value = random.below(k_domains);
    const auto span = k_spans.at(random.below(k_spans.size()));
    step.at = 3 * k_s + static_cast<TimestampUs>(random.below(room));
    if (uses.project) step.project = i < 2 ? 0 : static_cast<int>(project);
    if (uses.value) step.value = i < 2 ? 0 : static_cast<int>(value);
    if (uses.span) step.span = span;
    if (step.kind == StepKind::actor_dies) step.value = k_dying_actors - 1;
    scenario.steps.push_back(step);
  }
  draw_certificate_steps(seed, scenario);
  draw_authorities(seed, scenario);
  std::stable_sort(scenario.steps.begin(), scenario.steps.end(),
                   [](const Step& left, const Step& right) { return left.at < right.at; });
}

// The same for pull requests: openings, pushes, closings and approvals close together, and kills
// between them.
void draw_pull_request_steps(std::uint64_t seed, Scenario& scenario) {
  Random random(seed ^ 0x9E0117E5ULL);
  if (!random.chance(1, 3)) return;
  constexpr std::array k_kinds = {StepKind::pull_request, StepKind::pull_request,
                                  StepKind::pull_request, StepKind::close_pull_request,
                                  StepKind::approve,      StepKind::approve,
                                  StepKind::set_env,      StepKind::redeliver,
                                  StepKind::kill_server};
  constexpr std::uint64_t k_numbers = 3;
  const auto count = 6 + random.below(20);
  const auto room = static_cast<std::uint64_t>(std::max<TimestampUs>(scenario.duration, 4 * k_s));
  TimestampUs at = 3 * k_s;
  for (std::uint64_t i = 0; i < count; ++i) {
    Step step;
    step.kind = k_kinds.at(i < 2 ? i : random.below(k_kinds.size()));
    const auto uses = use_of(step.kind);
    const auto project = random.below(static_cast<std::uint64_t>(scenario.projects));
    const auto value = random.below(k_numbers);
    const auto span = k_spans.at(random.below(k_spans.size()));
    const auto app = drawn_app(random);
    // Often soon after the one before: within GitHub's second.
    at = random.chance(1, 2) ? at + static_cast<TimestampUs>(random.below(2 * k_s))
                             : 3 * k_s + static_cast<TimestampUs>(random.below(room));
    step.at = at;
    if (uses.project) step.project = static_cast<int>(project);
    if (uses.value) step.value = static_cast<int>(value);
    if (uses.span) step.span = span;
    if (uses.app) step.app = app;
    scenario.steps.push_back(step);
  }
  std::stable_sort(scenario.steps.begin(), scenario.steps.end(),
                   [](const Step& left, const Step& right) { return left.at < right.at; });
}

void draw_steps(Random& random, Scenario& scenario, std::uint64_t count,
                const std::vector<Weight>& weights) {
  constexpr TimestampUs k_first = 2 * k_s;
  const auto room =
      static_cast<std::uint64_t>(std::max<TimestampUs>(scenario.duration, k_first + 1) - k_first);
  for (std::uint64_t i = 0; i < count; ++i) {
    auto step = drawn_step(random, scenario, weights);
    step.at = k_first + static_cast<TimestampUs>(random.below(room));
    scenario.steps.push_back(step);
  }
  // Something to work on from the beginning.
  for (int project = 0; project < scenario.projects; ++project) {
    Step push;
    push.at = k_first;
    push.project = project;
    scenario.steps.push_back(push);
  }
  std::stable_sort(scenario.steps.begin(), scenario.steps.end(),
                   [](const Step& left, const Step& right) { return left.at < right.at; });
}

}  // namespace

Scenario drawn_scenario(std::uint64_t seed, TimestampUs duration) {
  // Not the stream of numbers that the run draws from.
  Random random(seed ^ 0x5CEA7210ULL);
  Scenario scenario;
  scenario.name = "drawn";
  scenario.seed = seed;
  scenario.projects = 1 + static_cast<int>(random.below(3));
  scenario.builders = 1 + static_cast<int>(random.below(2));
  scenario.hosts = 1 + static_cast<int>(random.below(3));
  scenario.host_memory_mib = random.chance(1, 5) ? 768 : 4096;
  scenario.rollbacks = static_cast<int>(random.below(4));
  scenario.senders = 1 + static_cast<int>(random.below(2));
  scenario.log = random.chance(1, 8) ? LogKind::rocksdb : LogKind::memory;
  constexpr std::array<TimestampUs, 4> k_durations{30 * k_s, 60 * k_s, 120 * k_s, 300 * k_s};
  constexpr TimestampUs k_long = 3600 * k_s;  // times to live, and what is given up at last
  const auto drawn_duration = k_durations.at(random.below(k_durations.size()));
  scenario.duration = random.chance(1, 100) ? k_long : drawn_duration;
  if (duration != 0) scenario.duration = duration;
  scenario.rates = drawn_rates(random);
  scenario.rates.buggify = random.chance(1, 3);
  std::vector<Weight> weights{k_weights[0]};  // pushes are never left out
  for (std::size_t i = 1; i < k_weights.size(); ++i) {
    if (random.chance(1, 2)) weights.push_back(k_weights.at(i));
  }
  const auto count = 3 + random.below(20) * static_cast<std::uint64_t>(scenario.duration) /
                             static_cast<std::uint64_t>(drawn_duration);
  draw_steps(random, scenario, count, weights);
  draw_domain_steps(seed, scenario);
  draw_pull_request_steps(seed, scenario);
  return scenario;
}

Scenario standard_scenario(std::uint64_t seed, TimestampUs duration) {
  Random random(seed ^ 0x57A2DA2DULL);
  Scenario scenario;
  scenario.name = "standard";
  scenario.seed = seed;
  scenario.projects = 4;
  scenario.builders = 2;
  scenario.hosts = 2;
  scenario.senders = 2;
  scenario.duration = duration;
  scenario.rates = {100, 5, 5, 10, 1, 100, 20, 5, 50, false};
  constexpr TimestampUs k_a_step_each = 5 * k_s;
  const auto count = static_cast<std::uint64_t>(duration / k_a_step_each);
  std::vector<Weight> weights(k_weights.begin(), k_weights.end());
  // Projects stay, so that there is something to do for as long as it takes.
  std::erase_if(weights, [](const Weight& weight) {
    return weight.kind == StepKind::delete_project || weight.kind == StepKind::clock_step;
  });
  draw_steps(random, scenario, count, weights);
  return scenario;
}

}  // namespace atlasflow::sim
