// How long it takes to decide how a repository of 10,000 files is built: the usual one, one of
// whose folders is meant, and one in which nothing is found. Prints a table and BAR lines; see
// bench/README.md.
#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <unistd.h>

#include "builder/stack/detect.hpp"

namespace {

using namespace atlasflow;
namespace fs = std::filesystem;

constexpr int k_runs = 101;
constexpr double k_ms_max = 5;

void write(const fs::path& path, const std::string& text) {
  fs::create_directories(path.parent_path());
  std::ofstream(path) << text;
}

// 100 folders of 99 files each, in one folder or beside each other.
void fill(const fs::path& folder) {
  for (int i = 0; i < 100; ++i) {
    for (int j = 0; j < 99; ++j) {
      write(folder / fmt::format("part{}/file{}.txt", i, j), "text\n");
    }
  }
}

double median_ms(const fs::path& folder) {
  std::vector<double> times;
  for (int i = 0; i < k_runs; ++i) {
    const auto began = std::chrono::steady_clock::now();
    const auto stack = builder::detect_stack(folder, builder::StackBases{});
    times.push_back(
        std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - began)
            .count());
    // What is measured must have been found out.
    if (!stack && stack.error().code != ErrorCode::user_error) std::exit(1);
  }
  std::nth_element(times.begin(), times.begin() + k_runs / 2, times.end());
  return times[k_runs / 2];
}

}  // namespace

int main() {
  const fs::path root = fs::temp_directory_path() / fmt::format("atlasflow-detect-{}", ::getpid());
  fill(root / "root");
  write(root / "root/package.json", R"({"scripts": {"start": "node ."}})");
  fill(root / "nested");
  write(root / "nested/part50/requirements.txt", "flask\n");
  write(root / "nested/part50/app.py", "app = Flask(__name__)\n");
  fill(root / "nothing");
  for (int i = 0; i < 10'000; ++i) write(root / fmt::format("flat/file{}.txt", i), "");
  std::cout << fmt::format("{:<28} {:>10}\n", "10,000 files", "median ms");
  std::vector<std::pair<std::string, double>> bars;
  for (const char* name : {"root", "nested", "nothing", "flat"}) {
    const double ms = median_ms(root / name);
    std::cout << fmt::format("{:<28} {:>10.2f}\n", name, ms);
    bars.emplace_back(name, ms);
  }
  for (const auto& [name, ms] : bars) {
    std::cout << fmt::format("BAR {}_ms {:.2f} <= {}\n", name, ms, k_ms_max);
  }
  std::error_code error;
  fs::remove_all(root, error);
  return 0;
}
