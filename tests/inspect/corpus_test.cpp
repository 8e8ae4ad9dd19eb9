// The corpus of every event version that was ever written: it only grows, and what a later build
// makes of it is what was made of it then. tests/storage/codec_test.cpp reads its bytes.
#include "tests/inspect/corpus.hpp"

#include <filesystem>
#include <set>

#include <gmock/gmock.h>
#include <google/protobuf/text_format.h>
#include <gtest/gtest.h>

#include "base/digest.hpp"
#include "storage/log/record_codec.hpp"

namespace atlasflow::inspect {
namespace {

constexpr const char* k_to_do =
    "write it in tests/storage/corpus, run record_corpus tests/storage/corpus (of the build) and "
    "commit what it makes: see the README there";

// Marks every field that is set, in messages within messages too: "EnvSet.name".
void mark_fields(const google::protobuf::Message& message, std::set<std::string>& marked) {
  std::vector<const google::protobuf::FieldDescriptor*> set;
  const auto* reflection = message.GetReflection();
  reflection->ListFields(message, &set);
  for (const auto* field : set) {
    marked.insert(field->full_name());
    if (field->cpp_type() != google::protobuf::FieldDescriptor::CPPTYPE_MESSAGE) continue;
    if (!field->is_repeated()) {
      mark_fields(reflection->GetMessage(message, field), marked);
      continue;
    }
    for (int i = 0; i < reflection->FieldSize(message, field); ++i) {
      mark_fields(reflection->GetRepeatedMessage(message, field, i), marked);
    }
  }
}

// Every field that a record can have.
void list_fields(const google::protobuf::Descriptor& type, std::set<std::string>& fields) {
  for (int i = 0; i < type.field_count(); ++i) {
    const auto* field = type.field(i);
    if (!fields.insert(field->full_name()).second) continue;
    if (field->message_type() != nullptr) list_fields(*field->message_type(), fields);
  }
}

TEST(EventCorpus, no_file_of_it_was_changed_or_removed) {
  const auto files = files_of(RECORD_CORPUS);
  const auto sums = read_sums(RECORD_CORPUS);
  ASSERT_GE(sums.size(), 300U);
  for (const auto& [name, sum] : sums) {
    const auto file = files.find(name);
    ASSERT_NE(file, files.end()) << name << " is gone: what was written once is read for ever";
    EXPECT_EQ(sha256_hex(file->second), sum)
        << name << " was changed: put it back; what is written otherwise by now is a new sample";
  }
  for (const auto& [name, bytes] : files) {
    EXPECT_TRUE(sums.contains(name)) << name << " is not in SHA256SUMS: run record_corpus "
                                     << "tests/storage/corpus and commit what it makes";
  }
}

TEST(EventCorpus, every_record_is_shown_as_it_was_when_it_was_written) {
  const auto files = files_of(RECORD_CORPUS);
  int records = 0;
  for (const auto& [name, bytes] : files) {
    if (!name.ends_with(".bin")) continue;
    ++records;
    const auto record = storage::RecordCodec::decode(bytes);
    ASSERT_TRUE(record) << name << ": " << to_string(record.error());
    const auto expected = files.find(name.substr(0, name.size() - 4) + ".json");
    ASSERT_NE(expected, files.end()) << name << " has no .json: run record_corpus";
    EXPECT_EQ(shown(*record), expected->second) << name;
  }
  EXPECT_GE(records, 100);
}

TEST(EventCorpus, no_record_shows_where_a_sealed_value_lies) {
  for (const auto& [name, bytes] : files_of(RECORD_CORPUS)) {
    if (!name.ends_with(".bin")) continue;
    const auto record = storage::RecordCodec::decode(bytes);
    ASSERT_TRUE(record) << name << ": " << to_string(record.error());
    EXPECT_THAT(shown(*record), testing::Not(testing::HasSubstr("_ref\""))) << name;
  }
}

// What is never written needs no sample; everything else is in some version of it.
TEST(EventCorpus, every_field_of_every_event_is_set_in_some_sample) {
  std::set<std::string> fields;
  list_fields(*pb::Event::descriptor(), fields);
  std::set<std::string> marked;
  for (const auto& [name, text] : files_of(RECORD_CORPUS)) {
    if (!name.ends_with(".txt")) continue;
    pb::Event event;
    ASSERT_TRUE(google::protobuf::TextFormat::ParseFromString(text, &event)) << name;
    mark_fields(event, marked);
  }
  for (const auto& field : fields) {
    EXPECT_TRUE(marked.contains(field))
        << field << " is in no sample, so nobody notices when its meaning changes: " << k_to_do;
  }
}

}  // namespace
}  // namespace atlasflow::inspect
