#include "base/buggify.hpp"

#include <algorithm>
#include <set>
#include <string>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace atlasflow {
namespace {

constexpr std::string_view k_words = "the sites' test turns off the road";

bool turns() { return ATLAS_BUGGIFY("the sites' test turns off the road"); }

// Says yes to one site every second time that it is asked.
class EverySecond final : public Buggify {
 public:
  bool fires(std::string_view site) override {
    asked.emplace_back(site);
    return site == k_words && asked.size() % 2 == 0;
  }
  std::vector<std::string> asked;
};

class Installed {
 public:
  explicit Installed(Buggify& source) { install_buggify(&source); }
  ~Installed() { install_buggify(nullptr); }
  Installed(const Installed&) = delete;
  Installed& operator=(const Installed&) = delete;
};

std::uint64_t times_fired() {
  const auto sites = buggify_sites();
  const auto own = std::find_if(sites.begin(), sites.end(),
                                [](const auto& site) { return site.text == k_words; });
  return own == sites.end() ? ~0ULL : own->count;
}

TEST(Buggify, never_fires_where_nobody_installed_a_source) {
  reset_buggify_sites();
  for (int i = 0; i < 1'000; ++i) EXPECT_FALSE(turns());
  EXPECT_EQ(times_fired(), 0U);
}

TEST(Buggify, fires_as_the_source_says_and_counts_it) {
  reset_buggify_sites();
  EverySecond source;
  const Installed installed(source);
  EXPECT_FALSE(turns());
  EXPECT_TRUE(turns());
  EXPECT_FALSE(turns());
  EXPECT_THAT(source.asked, testing::Each(std::string(k_words)));
  EXPECT_EQ(times_fired(), 1U);
}

TEST(Buggify, a_source_is_out_once_it_is_taken_out) {
  EverySecond source;
  { const Installed installed(source); }
  EXPECT_FALSE(turns());
  EXPECT_THAT(source.asked, testing::IsEmpty());
}

TEST(Buggify, a_source_decides_for_its_own_thread_only) {
  EverySecond source;
  const Installed installed(source);
  bool other = false;
  std::jthread([&other] { other = turns() || turns(); }).join();
  EXPECT_FALSE(other);
  EXPECT_THAT(source.asked, testing::IsEmpty());
}

TEST(Buggify, no_two_sites_or_probes_in_this_binary_say_the_same) {
  auto marks = buggify_sites();
  const auto all_probes = probes();
  marks.insert(marks.end(), all_probes.begin(), all_probes.end());
  std::set<std::string> texts;
  for (const auto& mark : marks) {
    EXPECT_TRUE(texts.insert(mark.text).second)
        << mark.file << ":" << mark.line << " repeats: " << mark.text;
  }
}

}  // namespace
}  // namespace atlasflow
