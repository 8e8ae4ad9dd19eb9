// The quick look at a stored record against RecordCodec, which is the one that counts: whatever the
// quick look takes, the codec takes, and reads the same of it.
#include "storage/log/record_view.hpp"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include <google/protobuf/stubs/logging.h>
#include <gtest/gtest.h>

#include "storage/log/record.pb.h"
#include "storage/log/record_codec.hpp"
#include "storage/log/wire.hpp"

namespace atlasflow::storage {
namespace {

namespace fs = std::filesystem;

// Every record of the corpus that this build reads.
std::vector<std::string> corpus() {
  std::vector<fs::path> files;
  for (const auto& file : fs::recursive_directory_iterator(RECORD_CORPUS)) {
    if (file.path().extension() == ".bin") files.push_back(file.path());
  }
  std::sort(files.begin(), files.end());
  std::vector<std::string> records;
  for (const auto& file : files) {
    std::ifstream stream(file, std::ios::binary);
    records.emplace_back(std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>());
  }
  return records;
}

// Empty when the two agree as far as they must.
std::string disagreement(const std::string& stored) {
  const auto quick = view_of_plain(stored);
  const auto record = RecordCodec::decode(stored);
  const auto type = type_said_by(stored);
  if (record && type && *type != static_cast<std::uint32_t>(record->event.kind_case())) {
    return "it says another type than its event has";
  }
  if (!quick) return "";
  if (!type) return "it is taken, and its type is not known";
  if (!record) return "it is taken, and does not decode: " + to_string(record.error());
  const auto whole = view_of(*record);
  const bool same = quick->position == whole.position && quick->stream == whole.stream &&
                    quick->stream_version == whole.stream_version &&
                    quick->writer_epoch == whole.writer_epoch &&
                    quick->event_id == whole.event_id && quick->dedupe_key == whole.dedupe_key;
  return same ? "" : "its fields differ";
}

TEST(RecordView, takes_every_record_that_was_ever_written) {
  const auto records = corpus();
  ASSERT_GE(records.size(), 57U);
  for (const auto& stored : records) {
    EXPECT_TRUE(view_of_plain(stored));
    EXPECT_EQ(disagreement(stored), "");
  }
}

TEST(RecordView, takes_no_damaged_record_that_the_codec_does_not_take) {
  const google::protobuf::LogSilencer silencer;  // Protobuf tells of each that is not UTF-8
  std::mt19937_64 random(1);
  const auto below = [&](std::size_t end) {
    return std::uniform_int_distribution<std::size_t>(0, end - 1)(random);
  };
  std::size_t taken = 0;
  for (const auto& whole : corpus()) {
    for (int i = 0; i < 400; ++i) {
      std::string stored = whole;
      const std::size_t damages = 1 + below(3);
      for (std::size_t d = 0; d < damages; ++d) {
        const auto at = below(stored.size() - sizeof(ChainHash));
        switch (below(4)) {
          case 0:
            stored[at] = static_cast<char>(below(256));
            break;
          case 1:
            stored.insert(at, 1, static_cast<char>(below(256)));
            break;
          case 2:
            stored.erase(at, 1);
            break;
          default:
            stored[at] =
                static_cast<char>(static_cast<unsigned char>(stored[at]) ^ (1U << below(8)));
        }
      }
      ASSERT_EQ(disagreement(stored), "") << testing::PrintToString(stored);
      if (view_of_plain(stored)) ++taken;
    }
  }
  EXPECT_GT(taken, 1'000U) << "the trial has not met what it is about";
}

TEST(RecordView, leaves_what_is_not_plain_to_the_codec) {
  pb::Event event;
  event.mutable_cloned()->set_subject("naïve");
  const std::string plain = event.SerializeAsString();
  EXPECT_EQ(kind_of_plain_event(plain), static_cast<std::uint32_t>(event.kind_case()));

  // A byte below 128 as a varint of that many bytes.
  const auto overlong = [](char byte, std::size_t size) {
    std::string made(size, '\x80');
    made.front() = static_cast<char>(static_cast<unsigned char>(byte) | 0x80U);
    made.back() = '\0';
    return made;
  };
  const std::string rest = plain.substr(2);
  ASSERT_TRUE(kind_of_plain_event(overlong(plain[0], 5) + overlong(plain[1], 5) + rest));
  std::string no_utf8 = plain;
  no_utf8.back() = '\xC3';
  const std::vector<std::pair<std::string, std::string>> others = {
      {"no kind", ""},
      {"two kinds", plain + plain},
      {"an unknown field", plain + "\x80\x7D\x01"},
      {"a kind that is a number", "\x10\x01"},
      {"text that is not UTF-8", no_utf8},
      {"a cut end", plain.substr(0, plain.size() - 1)},
      {"an unknown kind", "\xBA\x3E\x02\x08\x01"},
      {"the field 0", std::string("\0\0", 2)},
      {"a tag of six bytes", overlong(plain[0], 6) + plain.substr(1)},
      {"a length of six bytes", plain.substr(0, 1) + overlong(plain[1], 6) + rest},
  };
  for (const auto& [what, bytes] : others) {
    EXPECT_FALSE(kind_of_plain_event(bytes)) << what;
  }
  EXPECT_FALSE(view_of_plain(""));
  EXPECT_FALSE(view_of_plain(std::string(32, 'x')));
}

TEST(WireReader, reads_numbers_of_any_length_and_none_that_are_too_long) {
  const auto number = [](std::string_view bytes) -> std::optional<std::uint64_t> {
    WireReader in(bytes);
    std::uint64_t value = 0;
    if (!in.varint(value) || !in.at_end()) return std::nullopt;
    return value;
  };
  EXPECT_EQ(number(std::string_view("\0", 1)), 0U);
  EXPECT_EQ(number("\x7F"), 127U);
  EXPECT_EQ(number("\x80\x01"), 128U);
  EXPECT_EQ(number("\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x7F"), UINT64_MAX >> 1U);
  EXPECT_EQ(number("\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x01"), UINT64_MAX);
  EXPECT_EQ(number("\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x03"), std::nullopt);
  EXPECT_EQ(number("\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF"), std::nullopt);
  EXPECT_EQ(number("\x80"), std::nullopt);
  EXPECT_EQ(number(""), std::nullopt);
}

}  // namespace
}  // namespace atlasflow::storage
