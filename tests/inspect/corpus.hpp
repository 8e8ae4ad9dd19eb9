// The corpus of records as past versions wrote them (tests/storage/corpus), as its recorder and its
// test see it.
#pragma once

#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <string>

#include "inspect/json.hpp"
#include "storage/readmodel/catalog.hpp"

namespace atlasflow::inspect {

// Every sample with its bytes, by its path in the corpus: "v1/built.bin".
inline std::map<std::string, std::string> files_of(const std::filesystem::path& corpus) {
  std::map<std::string, std::string> files;
  for (const auto& file : std::filesystem::recursive_directory_iterator(corpus)) {
    const auto ending = file.path().extension();
    if (ending != ".txt" && ending != ".bin" && ending != ".json") continue;
    std::ifstream stream(file.path(), std::ios::binary);
    files[file.path().lexically_relative(corpus).string()] = {
        std::istreambuf_iterator<char>(stream), {}};
  }
  return files;
}

// SHA256SUMS, as sha256sum(1) writes it: by path, the digest.
inline std::map<std::string, std::string> read_sums(const std::filesystem::path& corpus) {
  std::map<std::string, std::string> sums;
  std::ifstream file(corpus / "SHA256SUMS");
  std::string sum;
  std::string name;
  while (file >> sum >> name) sums[name] = sum;
  return sums;
}

// How the verbs and an export show the event.
inline std::string shown(const storage::Record& record) {
  return Json{{"type", storage::event_name(record.event)}, {"data", data_of(record.event)}}.dump(
             1) +
         "\n";
}

}  // namespace atlasflow::inspect
