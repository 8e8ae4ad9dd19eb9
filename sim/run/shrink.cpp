#include "sim/run/shrink.hpp"

#include <algorithm>
#include <array>
#include <map>
#include <utility>
#include <vector>

namespace atlasflow::sim {
namespace {

constexpr TimestampUs k_s = 1'000'000;
// While choices are drawn, leaving something out makes another run of the same seed: the failure
// may need another one.
constexpr std::uint64_t k_other_seeds = 2;

using ChoiceList = std::vector<std::uint32_t>;

std::size_t loud(const ChoiceList& choices) {
  return choices.size() - static_cast<std::size_t>(std::count(choices.begin(), choices.end(), 0U));
}

ChoiceList without_last_zeros(ChoiceList choices) {
  while (!choices.empty() && choices.back() == 0) choices.pop_back();
  return choices;
}

class Shrinker {
 public:
  Shrinker(const Scenario& scenario, std::uint64_t runs_max, RunScenario run_one,
           ShrinkProgress progress)
      : runs_max_(runs_max), run_one_(std::move(run_one)), progress_(std::move(progress)) {
    best_.scenario = scenario;
    best_.report = run_one_(scenario);
    best_.runs = 1;
  }

  Shrunk shrunk() {
    if (!best_.report.violation) return std::move(best_);
    broken_ = best_.report.violation->name;
    for (bool smaller = true; smaller && has_runs();) {
      smaller = leave_out_steps();
      smaller |= calm_the_world();
    }
    for (bool smaller = freeze(); smaller && has_runs();) {
      smaller = silence_choices();
      smaller |= leave_out_steps();
      smaller |= calm_the_world();
    }
    round_times();
    best_.report = run_one_(best_.scenario);
    ++best_.runs;
    return std::move(best_);
  }

 private:
  // One is kept for the end.
  [[nodiscard]] bool has_runs() const { return best_.runs + 1 < runs_max_; }

  // Whether the candidate breaks the same invariant; it is the best one then.
  bool accepts(Scenario candidate) {
    if (!has_runs()) return false;
    auto report = run_one_(candidate);
    ++best_.runs;
    if (!report.violation || report.violation->name != broken_) return false;
    // What the run has asked for, and no more: as many numbers, each of those that there were.
    if (candidate.choices) candidate.choices = without_last_zeros(report.choices);
    best_.scenario = std::move(candidate);
    best_.report = std::move(report);
    if (progress_) progress_(best_.scenario.steps.size(), loud(best_.report.choices));
    return true;
  }

  bool accepts_somehow(Scenario candidate) {
    if (candidate == best_.scenario) return false;
    if (accepts(candidate)) return true;
    if (candidate.choices) return false;
    for (std::uint64_t i = 0; i < k_other_seeds; ++i) {
      ++candidate.seed;
      if (accepts(candidate)) return true;
    }
    return false;
  }

  // Ever smaller pieces of the list, the last ones first: what comes after the failure goes at
  // once.
  bool leave_out_steps() {
    bool any = false;
    for (auto piece = best_.scenario.steps.size(); piece > 0 && has_runs(); piece /= 2) {
      for (auto end = best_.scenario.steps.size(); end > 0 && has_runs();) {
        const auto begin = end > piece ? end - piece : 0;
        auto candidate = best_.scenario;
        candidate.steps.erase(candidate.steps.begin() + static_cast<std::ptrdiff_t>(begin),
                              candidate.steps.begin() + static_cast<std::ptrdiff_t>(end));
        any = accepts_somehow(std::move(candidate)) || any;
        end = begin;
      }
    }
    return any;
  }

  template <typename Value>
  bool set(Value Scenario::*member, const Value& value) {
    auto candidate = best_.scenario;
    candidate.*member = value;
    return accepts_somehow(std::move(candidate));
  }

  bool calm_the_world() {
    bool any = calm_rates();
    any |= set(&Scenario::log, LogKind::memory);
    any |= set(&Scenario::hosts, 1);
    any |= set(&Scenario::builders, 1);
    any |= set(&Scenario::senders, 1);
    any |= set(&Scenario::authorities, 1);
    any |= set(&Scenario::host_memory_mib, Scenario{}.host_memory_mib);
    any |= take_fewer_projects();
    any |= calm_steps();
    any |= pull_together();
    any |= end_sooner();
    return any;
  }

  bool calm_rates() {
    constexpr std::array k_rates = {
        &Rates::call_late,     &Rates::call_lost,    &Rates::answer_lost,
        &Rates::call_twice,    &Rates::call_hangs,   &Rates::webhook_late,
        &Rates::webhook_twice, &Rates::webhook_lost, &Rates::receiver_fails};
    if (best_.scenario.rates == Rates{}) return false;
    bool any = set(&Scenario::rates, Rates{});
    auto rates = best_.scenario.rates;
    rates.buggify = false;
    any |= set(&Scenario::rates, rates);
    for (const auto rate : k_rates) {
      rates = best_.scenario.rates;
      rates.*rate = 0;
      any |= set(&Scenario::rates, rates);
    }
    return any;
  }

  // Those that no step names go, and what is left is numbered anew.
  bool take_fewer_projects() {
    std::map<int, int> numbers;
    for (const auto& step : best_.scenario.steps) {
      if (use_of(step.kind).project) numbers.emplace(step.project, 0);
    }
    int next = 0;
    for (auto& [before, after] : numbers) after = next++;
    auto candidate = best_.scenario;
    candidate.projects = std::max(next, 1);
    for (auto& step : candidate.steps) {
      if (use_of(step.kind).project) step.project = numbers.at(step.project);
    }
    if (accepts_somehow(candidate)) return true;
    candidate.steps = best_.scenario.steps;
    candidate.projects = numbers.empty() ? 1 : numbers.rbegin()->first + 1;
    return accepts_somehow(std::move(candidate));
  }

  bool calm_steps() {
    bool any = false;
    for (std::size_t i = 0; i < best_.scenario.steps.size(); ++i) {
      auto candidate = best_.scenario;
      candidate.steps[i].app = AppKind::good;
      any |= accepts_somehow(candidate);
      candidate = best_.scenario;
      candidate.steps[i].value = 0;
      any |= accepts_somehow(candidate);
      candidate = best_.scenario;
      candidate.steps[i].span = std::min(candidate.steps[i].span, k_s);
      any |= accepts_somehow(std::move(candidate));
    }
    return any;
  }

  // Where nothing happens for long, less time passes.
  bool pull_together() {
    bool any = false;
    for (std::size_t i = 0; i < best_.scenario.steps.size(); ++i) {
      for (const auto pause : {k_s, 10 * k_s}) {
        auto candidate = best_.scenario;
        const auto before = i == 0 ? 0 : candidate.steps[i - 1].at;
        const auto sooner = candidate.steps[i].at - before - pause;
        if (sooner <= 0) break;
        for (auto j = i; j < candidate.steps.size(); ++j) candidate.steps[j].at -= sooner;
        candidate.duration = std::max<TimestampUs>(candidate.duration - sooner, 1);
        if (!accepts_somehow(std::move(candidate))) continue;
        any = true;
        break;
      }
    }
    return any;
  }

  bool end_sooner() {
    const auto& steps = best_.scenario.steps;
    const auto last = steps.empty() ? 0 : steps.back().at;
    const auto duration = best_.scenario.duration;
    for (const auto sooner : {last + k_s, last + 10 * k_s, (last + duration) / 2}) {
      if (sooner < duration && set(&Scenario::duration, sooner)) return true;
    }
    return false;
  }

  // From drawn choices to these very ones.
  bool freeze() {
    if (best_.scenario.choices) return true;
    auto candidate = best_.scenario;
    candidate.choices = best_.report.choices;
    return accepts(std::move(candidate));
  }

  // The same with the choices that are not 0; first of all with all of them.
  bool silence_choices() {
    bool any = false;
    for (auto piece = loud(*best_.scenario.choices); piece > 0 && has_runs(); piece /= 2) {
      for (auto end = loud(*best_.scenario.choices); end > 0 && has_runs();) {
        const auto begin = end > piece ? end - piece : 0;
        auto candidate = best_.scenario;
        std::size_t number = 0;
        for (auto& choice : *candidate.choices) {
          if (choice == 0) continue;
          if (number >= begin && number < end) choice = 0;
          ++number;
        }
        any = accepts(std::move(candidate)) || any;
        end = std::min(begin, loud(*best_.scenario.choices));
      }
    }
    return any;
  }

  // For whoever reads it.
  void round_times() {
    for (const TimestampUs unit : {k_s, k_s / 10, k_s / 1000}) {
      auto candidate = best_.scenario;
      for (auto& step : candidate.steps) step.at = (step.at + unit - 1) / unit * unit;
      candidate.duration = std::min((candidate.duration + unit - 1) / unit * unit, k_scenario_max);
      if (candidate == best_.scenario || accepts(std::move(candidate))) return;
    }
  }

  std::uint64_t runs_max_;
  RunScenario run_one_;
  ShrinkProgress progress_;
  Shrunk best_;
  std::string broken_;
};

}  // namespace

Shrunk shrink(const Scenario& scenario, Fibers& fibers, std::uint64_t runs_max,
              const ShrinkProgress& progress, const RunScenario& run_one) {
  const RunScenario plainly = [&](const Scenario& candidate) { return run(candidate, fibers); };
  return Shrinker(scenario, runs_max, run_one ? run_one : plainly, progress).shrunk();
}

}  // namespace atlasflow::sim
