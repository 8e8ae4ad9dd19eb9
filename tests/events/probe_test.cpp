#include "base/probe.hpp"

#include <algorithm>
#include <set>
#include <thread>
#include <tuple>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace atlasflow {
namespace {

void pass(bool rare) { ATLAS_PROBE(rare, "the probes' test passed the rare place"); }

// Nobody calls it; the compiler must not know.
void pass_never(int arguments) {
  ATLAS_PROBE(arguments < 0, "the probes' test passed the place that nobody reaches");
}
void (*volatile const k_never)(int) = &pass_never;

ProbeCount probe_saying(const std::string& part) {
  const auto all = probes();
  const auto found = std::find_if(all.begin(), all.end(), [&](const ProbeCount& probe) {
    return probe.text.find(part) != std::string::npos;
  });
  return found == all.end() ? ProbeCount{} : *found;
}

TEST(Probe, one_that_was_never_reached_is_listed_with_its_place) {
  ASSERT_NE(k_never, nullptr);
  const auto never = probe_saying("nobody reaches");
  EXPECT_EQ(never.text, "the probes' test passed the place that nobody reaches");
  EXPECT_EQ(never.file, "tests/events/probe_test.cpp");
  EXPECT_EQ(never.line, 18);
  EXPECT_EQ(never.count, 0U);
}

TEST(Probe, counts_how_often_its_condition_held) {
  reset_probes();
  pass(false);
  EXPECT_EQ(probe_saying("the rare place").count, 0U);
  pass(true);
  pass(true);
  EXPECT_EQ(probe_saying("the rare place").count, 2U);
  reset_probes();
  EXPECT_EQ(probe_saying("the rare place").count, 0U);
}

TEST(Probe, loses_no_hit_between_threads) {
  reset_probes();
  const auto hit_often = [] {
    for (int i = 0; i < 10'000; ++i) pass(true);
  };
  {
    const std::jthread one(hit_often);
    const std::jthread other(hit_often);
  }
  EXPECT_EQ(probe_saying("the rare place").count, 20'000U);
}

// The section has no gaps and nothing else in it, and every object file's probes are in it.
TEST(Probe, the_list_is_in_the_order_of_files_and_lines_and_holds_every_file) {
  const auto all = probes();
  EXPECT_TRUE(std::is_sorted(all.begin(), all.end(), [](const auto& a, const auto& b) {
    return std::tie(a.file, a.line) < std::tie(b.file, b.line);
  }));
  std::set<std::string> files;
  for (const auto& probe : all) {
    EXPECT_FALSE(probe.text.empty());
    EXPECT_GT(probe.line, 0);
    files.insert(probe.file);
  }
  EXPECT_THAT(files,
              testing::IsSupersetOf({"events/deployment_reports.cpp", "events/push_order.cpp",
                                     "tests/events/probe_test.cpp"}));
}

TEST(Probe, no_two_in_this_binary_say_the_same) {
  std::set<std::string> texts;
  for (const auto& probe : probes()) {
    EXPECT_TRUE(texts.insert(probe.text).second)
        << probe.file << ":" << probe.line << " repeats: " << probe.text;
  }
}

}  // namespace
}  // namespace atlasflow
