#include "server/upgrade.hpp"

#include <array>
#include <chrono>
#include <cstdlib>
#include <optional>
#include <string>
#include <utility>

#include <pwd.h>
#include <unistd.h>

#include "actors/runtime/shadow_replay.hpp"
#include "base/log.hpp"

namespace atlasflow::server {
namespace {

using std::chrono::steady_clock;

constexpr auto k_progress_period = std::chrono::seconds(2);

std::int64_t ms_since(steady_clock::time_point begin) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(steady_clock::now() - begin).count();
}

// Of the operating system: "root", and behind sudo who called it.
std::string name_of_caller() {
  constexpr std::size_t k_record_bytes = 16U << 10U;
  passwd record{};
  passwd* found = nullptr;
  std::array<char, k_record_bytes> buffer{};
  ::getpwuid_r(::getuid(), &record, buffer.data(), buffer.size(), &found);
  auto name = found == nullptr ? "uid " + std::to_string(::getuid()) : std::string(found->pw_name);
  constexpr std::size_t k_name_bytes_max = 64;
  if (const char* caller = std::getenv("SUDO_USER"); caller != nullptr && *caller != '\0') {
    name += " (sudo by " + std::string(caller).substr(0, k_name_bytes_max) + ")";
  }
  return name;
}

TimestampUs now_us() {
  return std::chrono::duration_cast<std::chrono::microseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

Result<void> record_acceptance(storage::EventLog& log, const actors::FoldDifference& difference,
                               const std::string& build) {
  ATLAS_TRYV(log.begin_epoch());
  storage::AppendRequest request;
  request.stream = node_stream();
  ATLAS_TRY(request.expected_version, log.version_of(request.stream));
  request.actor = Principal::user();
  auto& accepted = *request.events.emplace_back().mutable_new_fold_accepted();
  accepted.set_position(difference.position.value());
  accepted.set_field(difference.fields.front());
  accepted.set_earlier_build(difference.earlier_build);
  accepted.set_build_id(build);
  accepted.set_by(name_of_caller());
  ATLAS_TRY(const auto outcomes, log.append({request}, now_us()));
  if (std::holds_alternative<storage::Appended>(outcomes.front())) return {};
  return fail(ErrorCode::conflict, "another control plane writes to this log");
}

// Whether this very difference was accepted for this build by a start that got no further.
Result<bool> was_accepted(const storage::EventLog& log, const actors::FoldDifference& difference,
                          const std::string& build) {
  std::optional<pb::NewFoldAccepted> newest;
  ATLAS_TRYV(log.read_stream(node_stream(), StreamVersion(1), [&](const storage::Record& record) {
    if (record.event.has_new_fold_accepted()) newest = record.event.new_fold_accepted();
    return true;
  }));
  return newest && newest->build_id() == build &&
         newest->earlier_build() == difference.earlier_build &&
         newest->position() == difference.position.value() &&
         newest->field() == difference.fields.front();
}

std::string joined(const std::set<std::string>& texts) {
  std::string all;
  for (const auto& text : texts) all += (all.empty() ? "" : ",") + text;
  return all;
}

void tell_of(const actors::ShadowReport& report, std::int64_t took_ms) {
  for (const auto& passed : report.passed_over) {
    log_event(LogLevel::warn, "upgrade", "passed_over",
              {{"position", passed.position.value()}, {"reason", passed.reason}});
  }
  if (report.compared.empty() || report.fields == 0) {
    log_event(LogLevel::warn, "upgrade", "not_proven",
              {{"reason", "what the build before this one wrote down can't be compared with"}});
    return;
  }
  log_event(report.difference ? LogLevel::error : LogLevel::info, "upgrade",
            report.difference ? "differs" : "proven",
            {{"positions", report.compared.size()},
             {"from", report.compared.front().value()},
             {"to", report.compared.back().value()},
             {"fields", report.fields},
             {"fields_removed", report.only_before.size()},
             {"fields_added", report.only_now.size()},
             {"earlier_builds", joined(report.earlier_builds)},
             {"took_ms", took_ms}});
}

}  // namespace

Result<void> prove_fold(storage::EventLog& log, const storage::SnapshotStore& snapshots,
                        bool accept) {
  if (!actors::ShadowReplay::is_due(snapshots)) return {};
  const auto begin = steady_clock::now();
  auto told = begin;
  actors::ShadowReplay shadow(log, snapshots, actors::ShadowReplay::Of::other_builds);
  ATLAS_TRY(const auto report, shadow.run([&](Position folded, Position last) {
    if (steady_clock::now() - told < k_progress_period) return;
    told = steady_clock::now();
    log_event("upgrade", "comparing", {{"position", folded.value()}, {"of", last.value()}});
  }));
  tell_of(report, ms_since(begin));
  bool accepted = false;
  if (report.difference) {
    ATLAS_TRY(accepted, was_accepted(log, *report.difference, snapshots.maker().build));
  }
  if (report.difference && !accepted) {
    if (!accept) {
      return fail(ErrorCode::conflict,
                  sentence_of(*report.difference) +
                      ". Nothing was changed: start the earlier build again, or start with "
                      "--accept-new-fold to go on with what this build makes of the log");
    }
    ATLAS_TRYV(record_acceptance(log, *report.difference, snapshots.maker().build));
  }
  // It serves without that too: the next start compares once more.
  if (const auto settled = shadow.settle(); !settled) {
    log_event(LogLevel::warn, "upgrade", "not_written_down",
              {{"error", to_string(settled.error())}});
  }
  return {};
}

}  // namespace atlasflow::server
