// The inputs that are kept, and some thousand variations of them, run by every target: what once
// broke a rule stays found. script/fuzz looks for more.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "tests/edge/fuzz/targets.hpp"

namespace atlasflow::edge::fuzz {
namespace {

constexpr int k_variations = 200;  // of each input

std::vector<std::string> inputs_of(std::string_view target) {
  std::vector<std::filesystem::path> paths;
  const auto folder = std::filesystem::path(ATLASFLOW_FUZZ_CORPUS) / target;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    paths.push_back(entry.path());
  }
  std::sort(paths.begin(), paths.end());
  std::vector<std::string> inputs;
  for (const auto& path : paths) {
    std::ifstream file(path, std::ios::binary);
    inputs.emplace_back(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
  }
  return inputs;
}

// One byte changed, taken out or put in, among them those that end lines and split fields.
void vary(std::string& input, std::mt19937& random) {
  constexpr std::string_view k_telling("\r\n\0 \t:;,0aF\x7f\x80\"", 15);
  if (input.empty()) return;
  const std::size_t at = random() % input.size();
  const char byte =
      random() % 4 == 0 ? static_cast<char>(random()) : k_telling[random() % k_telling.size()];
  switch (random() % 3) {
    case 0:
      input[at] = byte;
      break;
    case 1:
      input.erase(at, 1);
      break;
    default:
      input.insert(at, 1, byte);
      break;
  }
}

TEST(FuzzCorpus, no_input_breaks_a_rule_however_it_is_varied) {
  for (const Target& target : k_targets) {
    const auto inputs = inputs_of(target.name);
    EXPECT_GE(inputs.size(), 10U) << target.name;
    std::mt19937 random(1);  // the same ones each time
    for (const std::string& input : inputs) {
      target.run(input);
      std::string varied = input;
      for (int i = 0; i < k_variations; ++i) {
        if (i % 8 == 0) varied = input;
        vary(varied, random);
        target.run(varied);
      }
    }
  }
}

}  // namespace
}  // namespace atlasflow::edge::fuzz
