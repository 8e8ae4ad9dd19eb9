// The verbs of time travel: state, diff, why, timeline, bisect, whatif.
#include "cli/verbs_inspect.hpp"

#include <algorithm>
#include <map>

#include <google/protobuf/util/json_util.h>

#include "base/rfc3339.hpp"
#include "cli/client.hpp"
#include "cli/format.hpp"
#include "cli/inspect_log.hpp"
#include "inspect/causes.hpp"
#include "inspect/predicate.hpp"
#include "inspect/state.hpp"
#include "inspect/timeline.hpp"

namespace atlasflow::cli {
namespace {

using inspect::Json;

// "path = value" for every field that says something.
std::string listing(const Json& json) {
  std::string text;
  std::size_t width = 0;
  const auto fields = inspect::fields_of(json);
  for (const auto& [path, value] : fields) width = std::max(width, path.size());
  for (const auto& [path, value] : fields) {
    if (value.empty() || value == "false" || value == "0") continue;
    auto name = path;
    name.resize(width, ' ');
    text += "  " + printable(name) + "  " + printable(value) + "\n";
  }
  return text;
}

std::string shown(const std::string& value) { return value.empty() ? "-" : printable(value); }

// A field that was at its default and has gone with what held it, or the other way round: no news
// beside the other fields.
bool says_nothing(const inspect::Change& change) {
  const auto plain = [](const std::string& value) {
    return value.empty() || value == "false" || value == "0";
  };
  return plain(change.before) && plain(change.after);
}

// One line per link: position, time, who, what.
std::string link_line(const inspect::Link& link) {
  const auto& record = link.record;
  return "  " + std::to_string(record.position.value()) + "  " + local_time(record.recorded_at) +
         "  " + record.actor + "  " + record.stream.str() + "  " + event_text(record) + "\n";
}

Json json_of(const inspect::Span& span) {
  return {{"step", span.step},
          {"begin", rfc3339(span.begin)},
          {"duration_us", span.end - span.begin},
          {"finished", span.finished},
          {"failed", span.failed},
          {"outcome", span.outcome},
          {"position", span.position.value()}};
}

// A bar of the span's place in the whole, in `columns` characters.
std::string bar(const inspect::Span& span, TimestampUs begin, TimestampUs end,
                std::size_t columns) {
  const auto whole = std::max<std::int64_t>(end - begin, 1);
  const auto place = [&](TimestampUs at) {
    return static_cast<std::size_t>((at - begin) * static_cast<std::int64_t>(columns) / whole);
  };
  const auto from = std::min(place(span.begin), columns - 1);
  const auto to = std::max(std::min(place(span.end), columns), from + 1);
  return std::string(from, ' ') + std::string(to - from, span.failed ? 'x' : '=') +
         std::string(columns - to, ' ');
}

// What comes after going live is as long as it likes: bars show the way there.
std::vector<inspect::Span> way_to_live(std::vector<inspect::Span> spans) {
  const auto serve = std::ranges::find(spans, "serve", &inspect::Span::step);
  spans.erase(serve, spans.end());
  return spans;
}

void print_timeline(const std::vector<inspect::Span>& all, const Terminal& terminal) {
  constexpr std::size_t k_bar_columns = 40;
  auto spans = way_to_live(all);
  if (spans.empty()) spans = all;
  const auto begin = spans.front().begin;
  auto end = begin;
  for (const auto& span : spans) end = std::max(end, span.end);
  for (const auto& span : spans) {
    auto step = span.step;
    step.resize(12, ' ');
    auto took = duration(span.end - span.begin);
    took.insert(0, took.size() < 10 ? 10 - took.size() : 0, ' ');
    const auto note = span.failed ? "  " + span.outcome : span.finished ? "" : "  goes on";
    terminal.out << step << "|" << bar(span, begin, end, k_bar_columns) << "|" << took << note
                 << "\n";
  }
  terminal.out << duration(end - begin) << " in all";
  if (spans.size() < all.size()) {
    terminal.out << ", until it was live; " << all.size() - spans.size()
                 << " more steps since (--json lists them)";
  }
  terminal.out << "\n";
}

void print_comparison(const std::vector<inspect::Span>& left,
                      const std::vector<inspect::Span>& right, const TimelineCommand& command,
                      const Terminal& terminal) {
  const auto totals = inspect::totals_of(way_to_live(left));
  const auto others = inspect::totals_of(way_to_live(right));
  std::vector<std::vector<std::string>> rows = {
      {"STEP", command.deployment, command.compare, "DIFFERENCE"}};
  std::string slower;
  std::int64_t most = 0;
  for (const auto& total : totals) {
    const auto other = std::ranges::find(others, total.step, &inspect::StepTotal::step);
    const bool there = other != others.end();
    const auto difference = there ? other->us - total.us : 0;
    rows.push_back({total.step, duration(total.us), there ? duration(other->us) : "-",
                    !there           ? ""
                    : difference < 0 ? "-" + duration(-difference)
                                     : "+" + duration(difference)});
    if (there && difference > most) {
      most = difference;
      slower = total.step;
    }
  }
  for (const auto& other : others) {
    if (std::ranges::find(totals, other.step, &inspect::StepTotal::step) != totals.end()) continue;
    rows.push_back({other.step, "-", duration(other.us), ""});
  }
  terminal.out << table(rows);
  if (slower.empty()) {
    terminal.out << "No step of " << command.compare << " took longer\n";
  } else {
    terminal.out << "Slower in " << command.compare << ": " << slower << ", by " << duration(most)
                 << "\n";
  }
}

Result<std::vector<inspect::Span>> timeline(const inspect::LogView& view, const std::string& id) {
  ATLAS_TRY(const auto records, view.stream(deployment_stream(DeploymentId(id)), view.end()));
  if (records.empty()) {
    return fail(ErrorCode::invalid_argument,
                "there is no deployment " + id + " in this log; atlasflow deployments lists them");
  }
  return inspect::timeline_of(records);
}

Result<pb::Event> event_from(const std::string& file, const Terminal& terminal) {
  ATLAS_TRY(const auto text, read_input(file, terminal.in));
  pb::Event event;
  const auto parsed = google::protobuf::util::JsonStringToMessage(text, &event);
  if (!parsed.ok() || event.kind_case() == pb::Event::KIND_NOT_SET) {
    return fail(ErrorCode::invalid_argument,
                file +
                    " is no event; write one as {\"build_failed\": {\"reason\": \"…\"}}, with the "
                    "names of events/event.proto",
                parsed.ok() ? "" : std::string(parsed.message()));
  }
  return event;
}

void print_changes(const std::vector<inspect::Change>& changes, const Terminal& terminal) {
  for (const auto& change : changes) {
    if (says_nothing(change)) continue;
    terminal.out << "  " << printable(change.path) << ": " << shown(change.before) << " -> "
                 << shown(change.after) << "\n";
  }
}

// A predicate is asked of each event itself, or of the folded state behind each event.
struct Found {
  std::optional<storage::Record> record;
  std::uint64_t looked_at = 0;
};

Result<Found> first_event(const inspect::LogView& view, const inspect::Predicate& predicate) {
  Found found;
  ATLAS_TRYV(view.walk(view.end(), [&](const storage::Record& record) {
    ++found.looked_at;
    if (predicate.holds(inspect::json_of(record))) found.record = record;
    return !found.record;
  }));
  return found;
}

template <typename State>
Result<Found> first_state(const inspect::LogView& view, const inspect::Subject& subject,
                          State state, const inspect::Predicate& predicate) {
  Found found;
  ATLAS_TRY(const auto records, inspect::records_of(view, subject, view.end()));
  for (const auto& record : records) {
    inspect::fold(state, record);
    ++found.looked_at;
    if (!predicate.holds(inspect::json_of(state))) continue;
    found.record = record;
    break;
  }
  return found;
}

Result<Found> first_of(const inspect::LogView& view, const std::string& of,
                       const inspect::Predicate& predicate) {
  if (of.empty()) return first_event(view, predicate);
  ATLAS_TRY(const auto subject, inspect::subject_of(view, of, view.end()));
  if (subject.kind == inspect::SubjectKind::deployment) {
    DeploymentState state;
    state.id = deployment_of(subject.stream);
    return first_state(view, subject, std::move(state), predicate);
  }
  if (subject.kind == inspect::SubjectKind::project) {
    ProjectState state;
    state.id = project_of(subject.stream);
    return first_state(view, subject, std::move(state), predicate);
  }
  return fail(ErrorCode::invalid_argument,
              "--of takes a deployment or a project; without it the events are looked at");
}

}  // namespace

int run(const StateCommand& command, const Connection& connection, const Terminal& terminal) {
  const auto view = open_log(command.log, connection);
  if (!view) return report(terminal, view.error());
  const auto position = resolved(*view, command.at);
  if (!position) return report(terminal, position.error());
  const auto subject = inspect::subject_of(*view, command.subject, *position);
  if (!subject) return report(terminal, subject.error());
  const auto state = inspect::state_at(*view, *subject, *position);
  if (!state) return report(terminal, state.error());
  if (command.json) {
    terminal.out << Json{{"position", position->value()}, {"state", *state}}.dump(2) << "\n";
    return k_exit_ok;
  }
  terminal.out << command.subject << " at position " << position->value() << "\n"
               << listing(*state);
  return k_exit_ok;
}

int run(const DiffCommand& command, const Connection& connection, const Terminal& terminal) {
  const auto view = open_log(command.log, connection);
  if (!view) return report(terminal, view.error());
  const auto from = resolved(*view, command.from);
  if (!from) return report(terminal, from.error());
  const auto to = resolved(*view, command.to);
  if (!to) return report(terminal, to.error());
  const auto subject = inspect::subject_of(*view, command.subject, std::max(*from, *to));
  if (!subject) return report(terminal, subject.error());
  const auto changes = inspect::diff(*view, *subject, *from, *to);
  if (!changes) return report(terminal, changes.error());
  auto list = Json::array();
  for (const auto& [change, by] : *changes) {
    if (command.json) {
      list.push_back({{"field", change.path}, {"before", change.before}, {"after", change.after}});
      if (by) list.back()["by"] = inspect::json_of(*by);
      continue;
    }
    if (says_nothing(change)) continue;
    terminal.out << printable(change.path) << ": " << shown(change.before) << " -> "
                 << shown(change.after);
    if (by) {
      terminal.out << "    (" << by->position.value() << " " << event_text(*by) << ")";
    }
    terminal.out << "\n";
  }
  if (command.json) {
    terminal.out << Json{{"from", from->value()}, {"to", to->value()}, {"changes", list}}.dump(2)
                 << "\n";
  } else if (changes->empty()) {
    terminal.out << "Nothing of " << command.subject << " changed between positions "
                 << from->value() << " and " << to->value() << "\n";
  }
  return k_exit_ok;
}

int run(const WhyCommand& command, const Connection& connection, const Terminal& terminal) {
  const auto view = open_log(command.log, connection);
  if (!view) return report(terminal, view.error());
  const auto position = resolved(*view, command.at);
  if (!position) return report(terminal, position.error());
  const auto explained = inspect::why(*view, command.subject, *position);
  if (!explained) return report(terminal, explained.error());
  if (command.json) {
    auto chain = Json::array();
    for (const auto& link : explained->chain) {
      chain.push_back(inspect::json_of(link.record));
      chain.back()["named_cause"] = link.named_cause;
    }
    terminal.out << Json{{"answer", explained->answer}, {"chain", chain}}.dump(2) << "\n";
    return k_exit_ok;
  }
  terminal.out << printable(explained->answer) << "\n";
  for (const auto& link : explained->chain) terminal.out << link_line(link);
  return k_exit_ok;
}

int run(const TimelineCommand& command, const Connection& connection, const Terminal& terminal) {
  const auto view = open_log(command.log, connection);
  if (!view) return report(terminal, view.error());
  const auto spans = timeline(*view, command.deployment);
  if (!spans) return report(terminal, spans.error());
  auto other = Result<std::vector<inspect::Span>>{};
  if (!command.compare.empty()) {
    other = timeline(*view, command.compare);
    if (!other) return report(terminal, other.error());
  }
  if (command.json) {
    auto json = Json::object();
    for (const auto& span : *spans) json[command.deployment].push_back(json_of(span));
    for (const auto& span : *other) json[command.compare].push_back(json_of(span));
    terminal.out << json.dump(2) << "\n";
  } else if (command.compare.empty()) {
    print_timeline(*spans, terminal);
  } else {
    print_comparison(*spans, *other, command, terminal);
  }
  return k_exit_ok;
}

int run(const BisectCommand& command, const Connection& connection, const Terminal& terminal) {
  const auto predicate = inspect::Predicate::parse(command.predicate);
  if (!predicate) return report(terminal, predicate.error());
  const auto view = open_log(command.log, connection);
  if (!view) return report(terminal, view.error());
  const auto found = first_of(*view, command.of, *predicate);
  if (!found) return report(terminal, found.error());
  if (command.json) {
    terminal.out << Json{{"looked_at", found->looked_at},
                         {"first", found->record ? inspect::json_of(*found->record) : Json()}}
                        .dump(2)
                 << "\n";
  } else if (found->record) {
    terminal.out << "First at position " << found->record->position.value() << ", "
                 << local_time(found->record->recorded_at) << ": " << event_text(*found->record)
                 << "\n(a scan of " << found->looked_at << " events)\n";
  } else {
    terminal.out << "It never holds (a scan of " << found->looked_at << " events)\n";
  }
  return found->record ? k_exit_ok : k_exit_failed;
}

int run(const WhatIfCommand& command, const Connection& connection, const Terminal& terminal) {
  if ((command.skip > 0) == !command.insert_file.empty()) {
    return report(terminal, {ErrorCode::invalid_argument,
                             "say what would be otherwise: --skip POSITION or --insert FILE", ""});
  }
  const auto view = open_log(command.log, connection);
  if (!view) return report(terminal, view.error());
  const DeploymentId id(command.deployment);
  auto what = Result<inspect::WhatIf>{};
  if (command.skip > 0) {
    what = inspect::without_event(*view, id, Position(static_cast<std::uint64_t>(command.skip)));
  } else {
    const auto event = event_from(command.insert_file, terminal);
    if (!event) return report(terminal, event.error());
    const auto at = resolved(*view, command.at);
    if (!at) return report(terminal, at.error());
    what = inspect::with_event(*view, id, *at, *event);
  }
  if (!what) return report(terminal, what.error());
  const auto state = inspect::changes_between(inspect::fields_of(inspect::json_of(what->before)),
                                              inspect::fields_of(inspect::json_of(what->after)));
  const auto effects_before = inspect::json_of(outstanding(what->before));
  const auto effects_after = inspect::json_of(outstanding(what->after));
  if (command.json) {
    auto list = Json::array();
    for (const auto& change : state) {
      list.push_back({{"field", change.path}, {"before", change.before}, {"after", change.after}});
    }
    terminal.out << Json{{"state", list},
                         {"outstanding_before", effects_before},
                         {"outstanding_after", effects_after}}
                        .dump(2)
                 << "\n";
    return k_exit_ok;
  }
  terminal.out << "State, as it is -> as it would be\n";
  print_changes(state, terminal);
  if (state.empty()) terminal.out << "  the same\n";
  terminal.out << "What the world owes, as it is -> as it would be\n";
  const auto effects = inspect::changes_between(inspect::fields_of(effects_before),
                                                inspect::fields_of(effects_after));
  print_changes(effects, terminal);
  if (effects.empty()) terminal.out << "  the same\n";
  return k_exit_ok;
}

}  // namespace atlasflow::cli
