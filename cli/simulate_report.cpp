#include "cli/simulate_report.hpp"

#include <algorithm>
#include <sstream>

#include <fmt/format.h>

#include "cli/format.hpp"

namespace atlasflow::cli {
namespace {

constexpr std::size_t k_lines_told = 25;
constexpr std::size_t k_columns_told = 160;

std::uint64_t per_second(std::uint64_t count, TimestampUs real_time) {
  return count * 1'000'000 / static_cast<std::uint64_t>(std::max<TimestampUs>(real_time, 1));
}

void print_end_of(const std::vector<std::string>& lines, const char* title, std::ostream& out) {
  if (lines.empty()) return;
  const auto skipped = lines.size() > k_lines_told ? lines.size() - k_lines_told : 0;
  out << title << (skipped > 0 ? fmt::format(", without the first {}", skipped) : "") << ":\n";
  for (auto i = skipped; i < lines.size(); ++i)
    out << "  " << shortened(printable(lines[i]), k_columns_told) << "\n";
}

void print_unreached(const std::vector<sim::Reached>& marks, const char* what, std::ostream& out) {
  std::vector<std::vector<std::string>> rows;
  for (const auto& mark : marks) {
    if (mark.count == 0) rows.push_back({fmt::format("  {}:{}", mark.file, mark.line), mark.text});
  }
  if (rows.empty()) return;
  out << what << "\n" << table(rows);
}

std::size_t count_reached(const std::vector<sim::Reached>& marks) {
  return static_cast<std::size_t>(
      std::ranges::count_if(marks, [](const auto& mark) { return mark.count > 0; }));
}

void print_marks(const SimulatePlan& plan, const sim::FleetReport& report, std::ostream& out) {
  out << fmt::format("{} of {} probes and {} of {} buggify sites were reached",
                     count_reached(report.probes), report.probes.size(),
                     count_reached(report.sites), report.sites.size())
      << (plan.probes ? "." : "; --probes lists the others.") << "\n";
  if (!plan.probes) return;
  print_unreached(report.probes, "Probes that no run reached:", out);
  print_unreached(report.sites, "Buggify sites that no run took:", out);
}

void print_totals(const sim::FleetReport& report, std::ostream& out) {
  if (report.lives == 0) {
    out << "none came to an end in " << duration(report.real_time) << "\n";
    return;
  }
  const auto factor = report.virtual_time / std::max<TimestampUs>(report.real_time, 1);
  out << fmt::format(
      "{} deployments ({} routed) over {} lives of the server, {} of virtual time in {}: {} "
      "deployments/s, {} × real time; at most {} per process\n",
      grouped(report.deployments), grouped(report.routed), grouped(report.lives),
      duration(report.virtual_time), duration(report.real_time),
      grouped(per_second(report.deployments, report.real_time)),
      grouped(static_cast<std::uint64_t>(factor)),
      byte_size(static_cast<std::int64_t>(report.memory_max_kib) * 1024));
}

}  // namespace

std::string grouped(std::uint64_t number) {
  const auto digits = std::to_string(number);
  std::string text;
  for (std::size_t i = 0; i < digits.size(); ++i) {
    if (i > 0 && (digits.size() - i) % 3 == 0) text += ',';
    text += digits[i];
  }
  return text;
}

void print_story(const sim::RunReport& report, std::ostream& out) {
  print_end_of(report.story, "What happened to it", out);
  print_end_of(report.events, "The last events of its log", out);
}

void print_failure(const SimulatePlan& plan, const sim::FleetFailure& failure,
                   const std::string& build_id, std::ostream& out) {
  out << "Seed " << failure.seed << " broke \"" << failure.violation.name
      << "\": " << printable(failure.violation.sentence) << "\n"
      << "(build " << build_id << ", " << name_of_scenario(plan) << ")\n\n";
  print_story(failure.report, out);
  std::istringstream output(failure.output);
  std::vector<std::string> lines;
  for (std::string line; std::getline(output, line);) lines.push_back(line);
  print_end_of(lines, "The last that it wrote", out);
  const auto repeat = command_that_repeats(plan, failure.seed);
  out << "\nRepeat it:         " << repeat << "\n";
  if (failure.report.violation) out << "Make it smaller:   " << repeat << " --shrink\n";
}

void print_report(const SimulatePlan& plan, const sim::FleetReport& report,
                  const std::string& build_id, std::ostream& out) {
  if (report.failures.empty()) {
    out << grouped(report.runs) << (report.runs == 1 ? " run held: " : " runs held: ");
  } else {
    print_failure(plan, report.failures.front(), build_id, out);
    out << "\n";
    for (std::size_t i = 1; i < report.failures.size(); ++i) {
      const auto& other = report.failures[i];
      out << "Seed " << other.seed << " broke \"" << other.violation.name
          << "\": " << printable(other.violation.sentence) << "\n";
    }
    out << grouped(report.failures.size()) << " of " << grouped(report.runs) << " runs failed: ";
  }
  print_totals(report, out);
  print_marks(plan, report, out);
}

}  // namespace atlasflow::cli
