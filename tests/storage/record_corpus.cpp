// record_corpus FOLDER: for each <event>.txt (an Event in Protobuf's text format) without its
// <event>.bin, writes the record that this version stores for it. It never touches a .bin that
// exists: those are what past versions wrote, and every later one must read them.
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>

#include <google/protobuf/text_format.h>

#include "storage/log/record_codec.hpp"
#include "tests/storage/corpus_record.hpp"

int main(int argc, char** argv) {
  using namespace atlasflow;
  namespace fs = std::filesystem;
  if (argc != 2) {
    std::cerr << "usage: record_corpus FOLDER\n";
    return 2;
  }
  for (const auto& file : fs::directory_iterator(argv[1])) {
    if (file.path().extension() != ".txt") continue;
    fs::path target = file.path();
    target.replace_extension(".bin");
    if (fs::exists(target)) continue;
    std::ifstream text_file(file.path());
    const std::string text{std::istreambuf_iterator<char>(text_file), {}};
    pb::Event event;
    if (!google::protobuf::TextFormat::ParseFromString(text, &event)) {
      std::cerr << file.path() << " is not an Event in text format\n";
      return 1;
    }
    storage::Record record = storage::corpus_record(event);
    std::ofstream(target, std::ios::binary)
        << storage::RecordCodec().encode(record, storage::ChainHash{});
    std::cout << target.filename().string() << '\n';
  }
  return 0;
}
