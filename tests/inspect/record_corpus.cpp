// record_corpus FOLDER (tests/storage/corpus): for each <version>/<event>.txt (an Event in
// Protobuf's text format) that has none, writes
//
//   <event>.bin   the record that this version stores for it,
//   <event>.json  how it is shown: {"type", "data"},
//
// and enters all three in SHA256SUMS. It never touches a file that is there or a line of
// SHA256SUMS: those are what past versions wrote, and every later one must read them.
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <map>
#include <set>

#include <google/protobuf/text_format.h>

#include "base/digest.hpp"
#include "inspect/json.hpp"
#include "storage/log/record_codec.hpp"
#include "tests/inspect/corpus.hpp"
#include "tests/storage/corpus_record.hpp"

namespace {

namespace fs = std::filesystem;

void write_if_missing(const fs::path& path, const std::string& bytes) {
  if (fs::exists(path)) return;
  std::ofstream(path, std::ios::binary) << bytes;
  std::cout << path.filename().string() << '\n';
}

}  // namespace

int main(int argc, char** argv) {
  using namespace atlasflow;
  if (argc != 2 || !fs::is_directory(fs::path(argv[1]) / "v1")) {
    std::cerr << "usage: record_corpus tests/storage/corpus\n";
    return 2;
  }
  const fs::path corpus = argv[1];
  auto sums = inspect::read_sums(corpus);
  for (const auto& [name, text] : inspect::files_of(corpus)) {
    const fs::path path = corpus / name;
    if (path.extension() != ".txt") continue;
    pb::Event event;
    if (!google::protobuf::TextFormat::ParseFromString(text, &event)) {
      std::cerr << path << " is not an Event in text format\n";
      return 1;
    }
    auto record = storage::corpus_record(event);
    write_if_missing(fs::path(path).replace_extension(".bin"),
                     storage::RecordCodec().encode(record, storage::ChainHash{}));
    write_if_missing(fs::path(path).replace_extension(".json"), inspect::shown(record));
  }
  for (const auto& [name, bytes] : inspect::files_of(corpus)) {
    sums.emplace(name, sha256_hex(bytes));
  }
  std::ofstream file(corpus / "SHA256SUMS");
  for (const auto& [name, sum] : sums) file << sum << "  " << name << '\n';
  return 0;
}
