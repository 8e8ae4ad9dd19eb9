// record_golden FOLDER: writes the golden log of each scenario that has one, NAME.txt. What changed
// is reviewed like code: it is what the server decides and asks for.
#include <filesystem>
#include <fstream>
#include <iostream>

#include <spdlog/spdlog.h>

#include "tests/sim/golden_log.hpp"
#include "tests/sim/small_scenarios.hpp"

int main(int argc, char** argv) {
  using namespace atlasflow::sim;
  if (argc != 2 || !std::filesystem::is_directory(argv[1])) {
    std::cerr << "usage: record_golden FOLDER\n";
    return 2;
  }
  spdlog::set_level(spdlog::level::off);
  for (const auto& name : golden_names()) {
    const auto file = std::filesystem::path(argv[1]) / (name + ".txt");
    std::ofstream(file, std::ios::binary) << golden_log(small_scenario(name));
    std::cout << file.filename().string() << '\n';
  }
  return 0;
}
