#include "actors/runtime/shadow_replay.hpp"

#include <algorithm>
#include <utility>

#include "base/probe.hpp"

namespace atlasflow::actors {
namespace {

// "a.b[].c integer" without its kind.
std::string name_in(const std::string& field) { return field.substr(0, field.find(' ')); }

}  // namespace

std::string sentence_of(const FoldDifference& difference) {
  auto sentence = "this build makes another state of the log than build " +
                  difference.earlier_build + " did: at position " +
                  std::to_string(difference.position.value()) + " " +
                  name_in(difference.fields.front()) + " differs";
  if (difference.fields.size() > 1) {
    sentence += ", and " + std::to_string(difference.fields.size() - 1) + " more";
  }
  if (difference.value) {
    sentence += "; at position " + std::to_string(difference.value_position.value()) + " " +
                difference.value->path + " was " + difference.value->before + " and is " +
                difference.value->now;
  }
  return sentence;
}

ShadowReplay::ShadowReplay(const storage::EventLog& log, const storage::SnapshotStore& snapshots,
                           Of of)
    : log_(log), snapshots_(snapshots), digests_(snapshots.digests()), of_(of) {}

bool ShadowReplay::is_due(const storage::SnapshotStore& snapshots) {
  const auto& own = snapshots.maker().build;
  const auto digests = snapshots.digests();
  const auto is_own = [&](const Result<storage::FoldMaker>& maker) {
    return maker && maker->build == own;
  };
  return !std::ranges::all_of(digests.positions(),
                              [&](Position at) { return is_own(digests.maker_of(at)); }) ||
         !std::ranges::all_of(snapshots.positions(),
                              [&](Position at) { return is_own(snapshots.maker_of(at)); });
}

void ShadowReplay::pass_over(Position position, const std::string& what,
                             const std::string& reason) {
  ATLAS_PROBE(true, "what an earlier build wrote down of its state proves nothing");
  passed_over_.push_back({position, what + ": " + reason});
}

void ShadowReplay::look_at_digests() {
  for (const auto position : digests_.positions()) {
    const auto maker = digests_.maker_of(position);
    if (of_ == Of::other_builds && maker && maker->build == snapshots_.maker().build) continue;
    auto recorded = digests_.read(position, log_);
    if (recorded) {
      known_[position].digests = *std::move(recorded);
    } else {
      pass_over(position, "its digests", to_string(recorded.error()));
    }
  }
}

// A snapshot has more than its digests, which are made of it where they are missing.
void ShadowReplay::look_at_snapshots() {
  for (const auto position : snapshots_.positions()) {
    const auto maker = snapshots_.maker_of(position);
    if (of_ == Of::other_builds && maker && maker->build == snapshots_.maker().build) continue;
    auto snapshot = snapshots_.read_of_anyone(position, log_);
    if (!snapshot) {
      pass_over(position, "its snapshot", to_string(snapshot.error()));
      continue;
    }
    auto digests = storage::digests_of(snapshot->shape, snapshot->state);
    if (!digests) {
      pass_over(position, "its snapshot", to_string(digests.error()));
      continue;
    }
    auto& known = known_[position];
    if (!known.digests) {
      known.digests = storage::RecordedDigests{snapshot->made_by, position, snapshot->chain,
                                               *std::move(digests)};
    }
    known.has_snapshot = known.digests->made_by == snapshot->made_by;
  }
}

// The states depend on the domain. What was made for another one than at last is older.
void ShadowReplay::keep_one_domain() {
  if (known_.empty()) return;
  domain_ = known_.rbegin()->second.digests->made_by.domain;
  std::erase_if(known_, [&](const auto& entry) {
    const auto& domain = entry.second.digests->made_by.domain;
    if (domain == domain_) return false;
    pass_over(entry.first, "its digests", "they were made for the domain " + domain);
    return true;
  });
}

void ShadowReplay::look_for_known() {
  known_.clear();
  own_.clear();
  passed_over_.clear();
  look_at_digests();
  look_at_snapshots();
  keep_one_domain();
}

void ShadowReplay::show_value(const storage::Snapshot& now,
                              const storage::DigestComparison& comparison,
                              FoldDifference& difference) const {
  const auto before = snapshots_.read_of_anyone(now.position, log_);
  if (!before) return;
  // Of the earliest position's fields, where they still differ.
  auto field = std::ranges::find_if(difference.fields, [&](const auto& each) {
    return std::ranges::find(comparison.changed, each) != comparison.changed.end();
  });
  const auto& chosen = field == difference.fields.end() ? comparison.changed.front() : *field;
  auto value =
      storage::first_difference(chosen, before->shape, before->state, now.shape, now.state);
  if (!value || !*value) return;
  difference.value = **std::move(value);
  difference.value_position = now.position;
}

Result<void> ShadowReplay::compare_at(Position position, const Known& known, ShadowReport& report) {
  const auto now = folds_->written_down();
  ATLAS_TRY(auto digests, storage::digests_of(now.shape, now.state));
  auto comparison = storage::compare(known.digests->digests, digests);
  report.compared.push_back(position);
  report.earlier_builds.insert(known.digests->made_by.build);
  if (!comparison.changed.empty()) {
    ATLAS_PROBE(true, "a build makes another state of the log than the one before");
    if (!report.difference) {
      report.difference = FoldDifference{
          position, known.digests->made_by.build, comparison.changed, std::nullopt, {}};
    }
    if (known.has_snapshot && !report.difference->value) {
      show_value(now, comparison, *report.difference);
    }
  }
  report.fields = comparison.equal + comparison.changed.size();
  report.only_before = std::move(comparison.only_before);
  report.only_now = std::move(comparison.only_now);
  own_.push_back({{snapshots_.maker().build, domain_}, position, now.chain, std::move(digests)});
  return {};
}

Result<ShadowReport> ShadowReplay::run(const Progress& progress) {
  look_for_known();
  ShadowReport report;
  report.log_end = log_.last_position();
  if (!known_.empty()) {
    folds_.emplace(log_, domain_);
    const auto last = known_.rbegin()->first;
    const auto tell = [&] {
      if (progress) progress(folds_->position(), last);
      return false;
    };
    for (const auto& [position, known] : known_) {
      ATLAS_TRYV(folds_->fold_to(position, tell));
      ATLAS_TRYV(compare_at(position, known, report));
    }
  }
  report.passed_over = passed_over_;
  return report;
}

Result<void> ShadowReplay::settle() {
  for (const auto& recorded : own_) ATLAS_TRYV(digests_.write(recorded));
  const auto there = digests_.positions();
  for (const auto& passed : passed_over_) {
    // What was passed over may have been a snapshot without any.
    if (std::ranges::find(there, passed.position) == there.end()) continue;
    const auto maker = digests_.maker_of(passed.position);
    if (maker && maker->build == snapshots_.maker().build) continue;  // they stand there anew
    digests_.drop(passed.position, passed.reason);
  }
  if (folds_ && domain_ == snapshots_.maker().domain) {
    ATLAS_TRYV(folds_->fold_to(log_.last_position(), {}));
    ATLAS_TRYV(snapshots_.write(folds_->written_down()));
  }
  for (const auto position : snapshots_.positions()) {
    const auto maker = snapshots_.maker_of(position);
    if (!maker || maker->build != snapshots_.maker().build) {
      snapshots_.drop(position, "another build made it");
    }
  }
  return {};
}

}  // namespace atlasflow::actors
