// Scenarios as files. The keys are in docs/simulation.md.
#include <algorithm>
#include <array>
#include <charconv>
#include <sstream>

#include <fmt/format.h>
#include <toml++/toml.h>

#include "sim/run/scenario.hpp"

namespace atlasflow::sim {
namespace {

// The rates by their names in files.
struct NamedRate {
  const char* key;
  int Rates::*rate;
};
constexpr std::array k_rates = {
    NamedRate{"call_late", &Rates::call_late},
    NamedRate{"call_lost", &Rates::call_lost},
    NamedRate{"answer_lost", &Rates::answer_lost},
    NamedRate{"call_twice", &Rates::call_twice},
    NamedRate{"call_hangs", &Rates::call_hangs},
    NamedRate{"webhook_late", &Rates::webhook_late},
    NamedRate{"webhook_twice", &Rates::webhook_twice},
    NamedRate{"webhook_lost", &Rates::webhook_lost},
    NamedRate{"receiver_fails", &Rates::receiver_fails},
};

// One table of the file. Every key is taken by its name; finish() refuses those that nobody took.
// The first error is kept and what follows is skipped.
class Section {
 public:
  Section(const toml::table& table, std::string name, const std::string& file,
          std::optional<Error>& error)
      : table_(table), name_(std::move(name)), file_(file), error_(error) {}

  void take(const char* key, std::string& value) {
    const auto* node = find(key);
    if (node == nullptr) return;
    if (const auto* text = node->as_string()) {
      value = text->get();
    } else {
      refuse(*node, key, "must be text in quotes");
    }
  }

  void take(const char* key, bool& value) {
    const auto* node = find(key);
    if (node == nullptr) return;
    if (const auto* flag = node->as_boolean()) {
      value = flag->get();
    } else {
      refuse(*node, key, "must be true or false");
    }
  }

  template <typename Integer>
  void take(const char* key, Integer& value, std::int64_t low, std::int64_t high) {
    const auto* node = find(key);
    if (node == nullptr) return;
    const auto* number = node->as_integer();
    if (number != nullptr && number->get() >= low && number->get() <= high) {
      value = static_cast<Integer>(number->get());
    } else {
      refuse(*node, key, fmt::format("must be a whole number from {} to {}", low, high));
    }
  }

  void require(const char* key) {
    if (!error_ && table_.get(key) == nullptr) refuse(table_, key, "is missing");
  }

  // A rule over a value that was taken.
  void check(const char* key, bool holds, const std::string& rule) {
    if (const auto* node = find(key); node != nullptr && !holds) refuse(*node, key, rule);
  }

  [[nodiscard]] const toml::node* find(const char* key) {
    if (std::find(taken_.begin(), taken_.end(), key) == taken_.end()) taken_.emplace_back(key);
    return error_ ? nullptr : table_.get(key);
  }

  void refuse(const toml::node& node, const std::string& key, const std::string& why) {
    if (error_) return;
    const auto told =
        fmt::format("{}, line {}: {}{} {}", file_, node.source().begin.line, name_, key, why);
    error_ = Error{ErrorCode::invalid_argument, told, {}};
  }

  void finish() {
    for (const auto& [key, node] : table_) {
      const std::string name(key.str());
      if (std::find(taken_.begin(), taken_.end(), name) != taken_.end()) continue;
      std::string known;
      for (const auto& each : taken_) known += (known.empty() ? "" : ", ") + each;
      refuse(node, name, "is not known; what may stand here is " + known);
    }
  }

 private:
  const toml::table& table_;
  std::string name_;
  const std::string& file_;
  std::optional<Error>& error_;
  std::vector<std::string> taken_;
};

// What reads one file, with the first thing that is wrong in it.
struct Reading {
  const std::string& file;
  std::optional<Error> error = std::nullopt;
};

// TOML's integers end at 2^63 - 1; a seed beyond that stands in quotes.
void take_seed(Section& root, std::uint64_t& seed) {
  const auto* node = root.find("seed");
  if (node == nullptr) return;
  if (const auto* number = node->as_integer(); number != nullptr && number->get() >= 0) {
    seed = static_cast<std::uint64_t>(number->get());
    return;
  }
  if (const auto* text = node->as_string()) {
    const auto& digits = text->get();
    const char* const end = digits.data() + digits.size();
    const auto parsed = std::from_chars(digits.data(), end, seed);
    if (parsed.ec == std::errc{} && parsed.ptr == end) return;
  }
  root.refuse(*node, "seed",
              "must be a whole number from 0 to 18446744073709551615, in quotes beyond "
              "9223372036854775807");
}

void take_log(Section& root, LogKind& log) {
  std::string text = "memory";
  root.take("log", text);
  root.check("log", text == "memory" || text == "rocksdb", "must be \"memory\" or \"rocksdb\"");
  log = text == "rocksdb" ? LogKind::rocksdb : LogKind::memory;
}

void take_rates(Section& root, Reading& reading, Rates& rates) {
  const auto* node = root.find("rates");
  if (node == nullptr) return;
  if (node->as_table() == nullptr) {
    return root.refuse(*node, "rates", "must be a table: write [rates]");
  }
  Section section(*node->as_table(), "rates.", reading.file, reading.error);
  for (const auto& each : k_rates) section.take(each.key, rates.*each.rate, 0, 1000);
  section.take("buggify", rates.buggify);
  section.finish();
}

// Takes a key that only some kinds of steps read.
template <typename Value>
void take_used(Section& section, const char* key, bool used, const std::string& kind, Value& value,
               std::int64_t low, std::int64_t high) {
  section.take(key, value, low, high);
  section.check(key, used, "means nothing to \"" + kind + "\"; leave it out");
}

Step taken_step(Section& section, const Scenario& scenario) {
  Step step;
  section.require("at_us");
  section.take("at_us", step.at, 0, k_scenario_max);
  std::string kind;
  section.require("do");
  section.take("do", kind);
  const auto known = step_kind_named(kind);
  section.check("do", known.has_value(), "must be one of " + step_kind_names());
  step.kind = known.value_or(StepKind::push);
  const auto uses = use_of(step.kind);
  take_used(section, "project", uses.project, kind, step.project, 0, scenario.projects - 1);
  take_used(section, "value", uses.value, kind, step.value, 0, k_step_value_max);
  const auto shortest = step.kind == StepKind::clock_step ? -k_scenario_max : 0;
  take_used(section, "span_us", uses.span, kind, step.span, shortest, k_scenario_max);
  std::string app(name_of(AppKind::good));
  section.take("app", app);
  section.check("app", uses.app, "means nothing to \"" + kind + "\"; leave it out");
  const auto known_app = app_kind_named(app);
  section.check("app", known_app.has_value(), "must be one of " + app_kind_names());
  step.app = known_app.value_or(AppKind::good);
  section.finish();
  return step;
}

void take_steps(Section& root, Reading& reading, Scenario& scenario) {
  const auto* node = root.find("step");
  if (node == nullptr) return;
  const auto* list = node->as_array();
  if (list == nullptr) return root.refuse(*node, "step", "must be tables: write [[step]] for each");
  for (const auto& each : *list) {
    if (each.as_table() == nullptr) {
      return root.refuse(each, "step", "must be tables: write [[step]] for each");
    }
    Section section(*each.as_table(), "step.", reading.file, reading.error);
    scenario.steps.push_back(taken_step(section, scenario));
  }
  std::stable_sort(scenario.steps.begin(), scenario.steps.end(),
                   [](const Step& left, const Step& right) { return left.at < right.at; });
}

// A pair of a number and a choice; the number is not below `first`.
bool append_choice(const toml::node& node, std::vector<std::uint32_t>& choices) {
  const auto* pair = node.as_array();
  if (pair == nullptr || pair->size() != 2) return false;
  const auto* number = pair->get(0)->as_integer();
  const auto* choice = pair->get(1)->as_integer();
  if (number == nullptr || choice == nullptr) return false;
  const auto first = static_cast<std::int64_t>(choices.size());
  if (number->get() < first || number->get() >= k_choices_max) return false;
  if (choice->get() < 1 || choice->get() > UINT32_MAX) return false;
  choices.resize(static_cast<std::size_t>(number->get()), 0);
  choices.push_back(static_cast<std::uint32_t>(choice->get()));
  return true;
}

void take_choices(Section& root, std::optional<std::vector<std::uint32_t>>& choices) {
  const auto* node = root.find("choices");
  if (node == nullptr) return;
  const std::string rule = fmt::format(
      "must be a list of pairs [number, choice]: numbers from 0 to {}, each higher than the one "
      "before, and choices from 1 to {}",
      k_choices_max - 1, UINT32_MAX);
  const auto* list = node->as_array();
  if (list == nullptr) return root.refuse(*node, "choices", rule);
  choices.emplace();
  for (const auto& each : *list) {
    if (!append_choice(each, *choices)) return root.refuse(each, "choices", rule);
  }
}

void take_all(Section& root, Reading& reading, Scenario& scenario) {
  std::string format(Scenario::format());
  root.take("format", format);
  root.check("format", format == Scenario::format(),
             fmt::format("must be \"{}\", which is what this atlasflow reads", Scenario::format()));
  root.take("name", scenario.name);
  root.take("why", scenario.why);
  take_seed(root, scenario.seed);
  root.take("projects", scenario.projects, 1, k_projects_max);
  root.take("builders", scenario.builders, 1, k_machines_max);
  root.take("hosts", scenario.hosts, 1, k_machines_max);
  root.take("host_memory_mib", scenario.host_memory_mib, 64, 1 << 24U);
  root.take("rollbacks", scenario.rollbacks, 0, 1000);
  root.take("senders", scenario.senders, 1, k_machines_max);
  root.take("authorities", scenario.authorities, 1, 2);
  take_log(root, scenario.log);
  root.take("duration_us", scenario.duration, 1, k_scenario_max);
  take_rates(root, reading, scenario.rates);
  take_steps(root, reading, scenario);
  take_choices(root, scenario.choices);
  root.finish();
}

// ---- writing ----

// Text as TOML's basic strings have it.
std::string quoted(const std::string& text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
      out += fmt::format("\\u{:04X}", static_cast<unsigned>(static_cast<unsigned char>(c)));
    } else {
      out += c;
    }
  }
  return out + "\"";
}

// 12300000 as 12_300_000.
std::string grouped(std::int64_t number) {
  auto text = std::to_string(number);
  const std::size_t first = number < 0 ? 1 : 0;
  for (auto at = text.size(); at > first + 3;) {
    at -= 3;
    text.insert(at, "_");
  }
  return text;
}

void write_choices(std::ostringstream& out, std::vector<std::uint32_t> choices) {
  out << "choices = [";
  constexpr int k_per_line = 8;
  int on_line = 0;
  for (std::size_t i = 0; i < choices.size(); ++i) {
    if (choices[i] == 0) continue;
    out << (on_line++ % k_per_line == 0 ? "\n  " : " ");
    out << '[' << i << ", " << choices[i] << "],";
  }
  out << (on_line > 0 ? "\n]\n" : "]\n");
}

void write_step(std::ostringstream& out, const Step& step) {
  const Step plain;
  out << "\n[[step]]  # " << sentence_of(step) << "\nat_us = " << grouped(step.at) << "\ndo = \""
      << name_of(step.kind) << "\"\n";
  if (step.project != plain.project) out << "project = " << step.project << '\n';
  if (step.value != plain.value) out << "value = " << step.value << '\n';
  if (step.span != plain.span) out << "span_us = " << grouped(step.span) << '\n';
  if (step.app != plain.app) out << "app = \"" << name_of(step.app) << "\"\n";
}

void write_rates(std::ostringstream& out, const Rates& rates) {
  if (rates == Rates{}) return;
  out << "\n[rates]\n";
  for (const auto& each : k_rates) {
    if (rates.*each.rate != 0) out << each.key << " = " << rates.*each.rate << '\n';
  }
  if (rates.buggify) out << "buggify = true\n";
}

}  // namespace

Result<Scenario> parsed_scenario(const std::string& toml, const std::string& file) {
  toml::table parsed;
  try {
    parsed = toml::parse(toml, file);
  } catch (const toml::parse_error& error) {
    return fail(ErrorCode::invalid_argument,
                fmt::format("{}, line {} is not TOML: {}", file, error.source().begin.line,
                            error.description()));
  }
  Scenario scenario;
  Reading reading{file};
  Section root(parsed, "", file, reading.error);
  take_all(root, reading, scenario);
  if (reading.error) return tl::unexpected(*reading.error);
  return scenario;
}

std::string text_of(const Scenario& scenario) {
  std::ostringstream out;
  out << "format = " << quoted(std::string(Scenario::format())) << '\n';
  out << "name = " << quoted(scenario.name) << '\n';
  if (!scenario.why.empty()) out << "why = " << quoted(scenario.why) << '\n';
  const bool fits = scenario.seed <= static_cast<std::uint64_t>(INT64_MAX);
  const auto seed = std::to_string(scenario.seed);
  out << "seed = " << (fits ? seed : quoted(seed)) << '\n';
  out << "projects = " << scenario.projects << '\n';
  out << "builders = " << scenario.builders << '\n';
  out << "hosts = " << scenario.hosts << '\n';
  out << "host_memory_mib = " << scenario.host_memory_mib << '\n';
  out << "rollbacks = " << scenario.rollbacks << '\n';
  out << "senders = " << scenario.senders << '\n';
  if (scenario.authorities != 1) out << "authorities = " << scenario.authorities << '\n';
  out << "log = " << (scenario.log == LogKind::rocksdb ? "\"rocksdb\"" : "\"memory\"") << '\n';
  out << "duration_us = " << grouped(scenario.duration) << '\n';
  if (scenario.choices) write_choices(out, *scenario.choices);
  write_rates(out, scenario.rates);
  for (const auto& step : scenario.steps) write_step(out, step);
  return out.str();
}

}  // namespace atlasflow::sim
