#include "tests/sim/golden_log.hpp"

#include <algorithm>
#include <map>
#include <sstream>

#include <fmt/format.h>
#include <google/protobuf/text_format.h>

#include "base/assert.hpp"
#include "events/deployment.hpp"
#include "events/project_history.hpp"
#include "sim/run/run.hpp"

namespace atlasflow::sim {
namespace {

// A push carries its settings, which are many.
constexpr std::size_t k_event_text_max = 300;

std::string moment_text(TimestampUs moment) {
  return moment == 0 ? "-"
                     : fmt::format("{:.3f}", static_cast<double>(moment - Agenda::k_start) / 1e6);
}

std::string event_text(const pb::Event& event) {
  google::protobuf::TextFormat::Printer printer;
  printer.SetSingleLineMode(true);
  std::string text;
  printer.PrintToString(event, &text);
  if (text.size() > k_event_text_max) {
    text.replace(k_event_text_max, std::string::npos, "…");
  }
  while (text.ends_with(' ')) text.pop_back();
  return text;
}

struct EffectFields {
  std::string operator()(const CloneEffect& effect) const { return due(effect); }
  std::string operator()(const BuildEffect& effect) const { return due(effect); }
  std::string operator()(const PushImageEffect& effect) const { return due(effect); }
  std::string operator()(const RunReleaseEffect& effect) const { return due(effect); }
  std::string operator()(const PlaceVmEffect& effect) const { return of(effect.effect); }
  std::string operator()(const StartVmEffect& effect) const {
    return fmt::format("{} host={} slot={}", due(effect), effect.host.str(), effect.slot);
  }
  std::string operator()(const ProbeEffect& effect) const {
    return fmt::format("vm={} host={} deadline={}", effect.vm_id.str(), effect.host.str(),
                       moment_text(effect.deadline));
  }
  std::string operator()(const KeepVmEffect& effect) const {
    return fmt::format("vm={} host={} was_healthy={} healthy={}", effect.vm_id.str(),
                       effect.host.str(), effect.was_healthy, effect.healthy);
  }
  std::string operator()(const ClaimRouteEffect& effect) const {
    auto text = fmt::format("{} generation={} unavailable={}", of(effect.effect), effect.generation,
                            effect.unavailable_reason);
    for (const auto& upstream : effect.upstreams) {
      text +=
          fmt::format(" upstream={}@{}:{}", upstream.vm_id.str(), upstream.address, upstream.port);
    }
    return text;
  }
  std::string operator()(const DrainEffect& effect) const {
    return fmt::format("vm={} deadline={}", effect.vm_id.str(), moment_text(effect.deadline));
  }
  std::string operator()(const StopVmEffect& effect) const {
    return fmt::format("{} vm={} host={}", of(effect.effect), effect.vm_id.str(),
                       effect.host.str());
  }
  std::string operator()(const TimerEffect& effect) const {
    return fmt::format("step={} attempt={} slot={} due={}", atlasflow::name_of(effect.step),
                       effect.attempt, effect.slot, moment_text(effect.due));
  }
  std::string operator()(const DeadlineEffect& effect) const {
    return fmt::format("{} due={}", of(effect.effect), moment_text(effect.due));
  }
  std::string operator()(const AbortEffect& effect) const { return of(effect.effect); }

 private:
  static std::string of(const EffectId& effect) { return "effect=" + effect.str(); }
  template <typename Owed>
  static std::string due(const Owed& effect) {
    return of(effect.effect) + " deadline=" + moment_text(effect.deadline);
  }
};

// Without the fields that are empty, 0 or false.
std::string told(const std::string& fields) {
  std::istringstream words(fields);
  std::string text;
  for (std::string word; words >> word;) {
    const auto value = word.substr(std::min(word.find('='), word.size() - 1) + 1);
    const bool closes = word.ends_with(']');
    const bool silent = value.empty() || value == "0" || value == "false" || value == "-";
    if (word.find('=') != std::string::npos && !closes && silent) continue;
    if (!text.empty()) text += ' ';
    text += word;
  }
  return text;
}

// A slot, in the words of the logs that were recorded before it had phases.
std::string text_of(const Instance& instance) {
  const int intent = instance.in<phase::Placing>()    ? 1
                     : instance.in<phase::Starting>() ? 2
                     : instance.in<phase::Stopping>() ? 3
                                                      : 0;
  const auto* vm = instance.vm();
  const auto* finished = std::get_if<phase::Finished>(&instance.phase);
  const auto* stopping = std::get_if<phase::Stopping>(&instance.phase);
  const bool over = (finished != nullptr && is_over(finished->end)) ||
                    (stopping != nullptr && stopping->end && is_over(*stopping->end));
  const bool healthy =
      vm != nullptr && !over && std::holds_alternative<health::Healthy>(vm->health);
  return fmt::format(
      " [{} vm={} host={} intent={} started={} healthy={} exited={} leaving={} "
      "drained={} attempts={} crashes={} retry={}]",
      instance.slot, instance.vm_id().str(), instance.host().str(), intent, vm != nullptr, healthy,
      over, instance.leaving.has_value(), instance.has_drained(), instance.attempts,
      instance.crashes, instance.retry() != nullptr ? instance.retry()->due : 0);
}

// What a reader of a golden log wants to see of a state.
std::string text_of(const DeploymentState& state) {
  auto text = fmt::format(
      "{} v{} {} image={} generation={} routed={} replicas={} intent={} build={} retry={} "
      "failure={} stopped_by={} retired_by={}",
      state.id.str(), state.version.value(), name_of(state.status), state.image.str(),
      state.generation, state.routed, state.replicas, state.intent.str(), state.build.str(),
      state.retry ? state.retry->due : 0, state.failure ? state.failure->reason : "",
      state.stopped_by, state.retired_by);
  for (const auto& [slot, instance] : state.instances) text += text_of(instance);
  return text;
}

std::string after(const DeploymentState& state) {
  auto text = "       state " + told(text_of(state)) + "\n";
  std::vector<std::string> owed;
  for (const auto& effect : outstanding(state)) {
    owed.push_back(
        fmt::format("       owes  {} | {}\n", key_of(effect), std::visit(EffectFields{}, effect)));
  }
  std::sort(owed.begin(), owed.end());
  for (const auto& line : owed) text += line;
  return text;
}

}  // namespace

const std::vector<std::string>& golden_names() {
  static const std::vector<std::string> names{"push",    "switch",  "cancel", "crash",
                                              "preview", "release", "scale"};
  return names;
}

std::string golden_log(Scenario scenario) {
  // Nothing is drawn, so that one choice more or less somewhere does not move everything else.
  scenario.choices.emplace();
  Fibers fibers;
  const auto report = run(scenario, fibers);
  ATLAS_ASSERT(!report.violation, "scenario " + scenario.name + " breaks an invariant");
  std::string text;
  std::map<DeploymentId, DeploymentState> states;
  const auto log = storage::open_memory_event_log(report.log, "golden");
  const auto read = log->read_all(Position{1}, [&](const storage::Record& record) {
    text += fmt::format("{:>4} {:>9} {} v{} {}\n", record.position.value(),
                        moment_text(record.recorded_at), record.stream.str(),
                        record.stream_version.value(), event_text(record.event));
    if (const auto id = deployment_of(record.stream); !id.empty()) {
      auto& state = states[id];
      state.id = id;
      evolve(state, record.event);
      text += after(state);
    }
    return true;
  });
  ATLAS_ASSERT(read.has_value(), "the log of scenario " + scenario.name + " cannot be read");
  return text;
}

}  // namespace atlasflow::sim
