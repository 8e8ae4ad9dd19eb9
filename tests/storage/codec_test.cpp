// Stored bytes: the corpus of every event type as past versions wrote it, and what damage and newer
// versions look like to the codec.
#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>

#include <gmock/gmock.h>
#include <google/protobuf/stubs/logging.h>
#include <google/protobuf/text_format.h>
#include <google/protobuf/util/message_differencer.h>
#include <gtest/gtest.h>

#include "storage/log/record.pb.h"
#include "storage/log/record_codec.hpp"
#include "tests/storage/corpus_record.hpp"

namespace atlasflow::storage {
namespace {

namespace fs = std::filesystem;
using google::protobuf::util::MessageDifferencer;

std::string read_file(const fs::path& path) {
  std::ifstream stream(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), {}};
}

// All files of the corpus with that ending, over all versions, in a fixed order.
std::set<fs::path> corpus_files(const std::string& extension) {
  std::set<fs::path> files;
  for (const auto& file : fs::recursive_directory_iterator(RECORD_CORPUS)) {
    if (file.path().extension() == extension) files.insert(file.path());
  }
  return files;
}

pb::Event sample_of(fs::path binary) {
  pb::Event event;
  EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(
      read_file(binary.replace_extension(".txt")), &event))
      << binary;
  return event;
}

pb::StoredRecord envelope_of(const std::string& stored) {
  pb::StoredRecord envelope;
  EXPECT_TRUE(envelope.ParseFromString(stored.substr(0, stored.size() - sizeof(ChainHash))));
  return envelope;
}

std::string with_chain(const pb::StoredRecord& envelope) {
  return envelope.SerializeAsString() + std::string(sizeof(ChainHash), '\0');
}

TEST(Corpus, every_record_that_was_ever_written_is_read_as_what_it_was) {
  const auto files = corpus_files(".bin");
  ASSERT_GE(files.size(), 57U);
  for (const auto& file : files) {
    const std::string stored = read_file(file);
    const auto record = RecordCodec::decode(stored);
    ASSERT_TRUE(record) << file << ": " << to_string(record.error());
    EXPECT_TRUE(MessageDifferencer::Equals(record->event, sample_of(file))) << file;
    const Record expected = corpus_record(record->event);
    EXPECT_EQ(record->position, expected.position);
    EXPECT_EQ(record->stream, expected.stream);
    EXPECT_EQ(record->stream_version, expected.stream_version);
    EXPECT_EQ(record->recorded_at, expected.recorded_at);
    EXPECT_EQ(record->writer_epoch, expected.writer_epoch);
    EXPECT_EQ(record->event_id, expected.event_id);
    EXPECT_EQ(record->correlation_id, expected.correlation_id);
    EXPECT_EQ(record->causation_position, expected.causation_position);
    EXPECT_EQ(record->build_id, expected.build_id);
    EXPECT_EQ(record->actor, expected.actor);
    EXPECT_EQ(record->dedupe_key, expected.dedupe_key);
    EXPECT_TRUE(RecordCodec().check_chain(stored, ChainHash{})) << file;
  }
}

TEST(Corpus, what_this_version_writes_for_a_sample_means_the_same_to_every_reader) {
  for (const auto& file : corpus_files(".bin")) {
    const pb::StoredRecord old = envelope_of(read_file(file));
    Record again = corpus_record(sample_of(file));
    const pb::StoredRecord now = envelope_of(RecordCodec().encode(again, ChainHash{}));
    EXPECT_EQ(now.type(), old.type()) << file;
    // Compared as messages: the encoding is not canonical, only its meaning has to stay.
    pb::Event old_event;
    pb::Event new_event;
    ASSERT_TRUE(old_event.ParseFromString(old.payload()));
    ASSERT_TRUE(new_event.ParseFromString(now.payload()));
    EXPECT_TRUE(MessageDifferencer::Equals(old_event, new_event)) << file;
  }
}

TEST(Corpus, has_a_record_of_every_event_type) {
  std::set<std::string> names;
  for (const auto& file : corpus_files(".bin")) names.insert(file.stem().string());
  const auto* kinds = pb::Event::descriptor()->oneof_decl(0);
  for (int i = 0; i < kinds->field_count(); ++i) {
    EXPECT_TRUE(names.contains(kinds->field(i)->name()))
        << kinds->field(i)->name() << " has no sample: write <version>/" << kinds->field(i)->name()
        << ".txt in tests/storage/corpus with every field set, run record_corpus "
           "tests/storage/corpus and commit what it makes (see the README there)";
  }
}

TEST(Corpus, every_sample_is_of_the_event_that_its_file_names) {
  for (const auto& file : corpus_files(".txt")) {
    const pb::Event event = sample_of(file);
    const auto* kind = event.GetReflection()->GetOneofFieldDescriptor(
        event, pb::Event::descriptor()->oneof_decl(0));
    ASSERT_NE(kind, nullptr) << file;
    EXPECT_EQ(kind->name(), file.stem().string());
  }
}

TEST(RecordCodec, no_cut_and_no_flipped_byte_passes_the_chain_or_crashes_the_decoder) {
  const std::string stored = read_file(fs::path(RECORD_CORPUS) / "v1" / "push_received.bin");
  ASSERT_GT(stored.size(), 200U);
  const google::protobuf::LogSilencer one_line_per_flipped_byte_is_too_many;
  RecordCodec codec;
  for (std::size_t size = 0; size < stored.size(); ++size) {
    const auto decoded = RecordCodec::decode(stored.substr(0, size));
    if (!decoded) {
      EXPECT_EQ(decoded.error().code, ErrorCode::corrupt);
    }
    EXPECT_FALSE(codec.check_chain(stored.substr(0, size), ChainHash{})) << size;
  }
  for (std::size_t at = 0; at < stored.size(); ++at) {
    for (const int bit : {0x01, 0x10, 0x80}) {
      std::string changed = stored;
      changed[at] = static_cast<char>(changed[at] ^ bit);
      const auto decoded = RecordCodec::decode(changed);
      if (!decoded) {
        EXPECT_EQ(decoded.error().code, ErrorCode::corrupt);
      }
      EXPECT_FALSE(codec.check_chain(changed, ChainHash{})) << at;
    }
  }
}

TEST(RecordCodec, a_field_that_a_newer_version_added_is_no_obstacle) {
  pb::StoredRecord envelope = envelope_of(read_file(fs::path(RECORD_CORPUS) / "v1" / "built.bin"));
  envelope.set_format_version(k_record_format + 1);
  envelope.GetReflection()->MutableUnknownFields(&envelope)->AddVarint(500, 1);
  pb::Event event;
  ASSERT_TRUE(event.ParseFromString(envelope.payload()));
  auto* built = event.mutable_built();
  built->GetReflection()->MutableUnknownFields(built)->AddLengthDelimited(77, "new");
  envelope.set_payload(event.SerializeAsString());
  const auto record = RecordCodec::decode(with_chain(envelope));
  ASSERT_TRUE(record) << to_string(record.error());
  EXPECT_EQ(record->event.built().stack(), "node");
}

TEST(RecordCodec, a_record_that_needs_a_newer_reader_is_refused_with_the_build_that_wrote_it) {
  pb::StoredRecord envelope = envelope_of(read_file(fs::path(RECORD_CORPUS) / "v1" / "built.bin"));
  envelope.set_format_version(9);
  envelope.set_compat_version(k_record_format + 1);
  const auto record = RecordCodec::decode(with_chain(envelope));
  ASSERT_FALSE(record);
  EXPECT_EQ(record.error().code, ErrorCode::corrupt);
  EXPECT_THAT(record.error().message,
              testing::AllOf(testing::HasSubstr("newer version"), testing::HasSubstr("9f98d75"),
                             testing::HasSubstr("start that version or a later one")));
}

}  // namespace
}  // namespace atlasflow::storage
