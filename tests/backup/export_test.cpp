// Events as lines of JSON and back: the same chain bit for bit, or a refusal that names the line.
#include <algorithm>
#include <sstream>

#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

#include "backup/event_export.hpp"
#include "backup/event_line.hpp"
#include "backup/log_contents.hpp"
#include "storage/log/record.pb.h"
#include "storage/log/record_codec.hpp"
#include "tests/backup/state_fixture.hpp"

namespace atlasflow::backup {
namespace {

using nlohmann::json;
using testing::AllOf;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::SizeIs;

class Exported : public StateFixture {
 protected:
  std::vector<std::string> exported(Position first = Position(1), Position last = Position(48)) {
    std::vector<std::string> lines;
    const auto log = storage::open_event_log_for_reading(state_ / "events").value();
    const auto done = export_events(*log, first, last, [&](std::string_view line) -> Result<void> {
      lines.emplace_back(line);
      return {};
    });
    EXPECT_TRUE(done) << to_string(done.error());
    return lines;
  }

  Result<TransferReport> import(const std::string& text) {
    std::istringstream lines(text);
    fs::create_directories(restored());
    return import_events(lines, restored());
  }
  static std::string joined(const std::vector<std::string>& lines) {
    std::string text;
    for (const auto& line : lines) text += line;
    return text;
  }
  void expect_refused(const std::vector<std::string>& lines, const std::string& said) {
    const auto done = import(joined(lines));
    ASSERT_FALSE(done) << said;
    EXPECT_EQ(done.error().code, ErrorCode::invalid_argument) << to_string(done.error());
    EXPECT_THAT(to_string(done.error()), HasSubstr(said));
    EXPECT_TRUE(fs::is_empty(restored())) << said;
  }

  // A whole log of one record.
  static std::string line_of(pb::StoredRecord envelope) {
    const auto bytes = envelope.SerializeAsString();
    const storage::ChainHash none{};
    const auto chain = Sha256().of(bytes_of(none), bytes);
    auto record = storage::RecordCodec::decode(bytes + std::string(bytes_of(chain)))
                      .value_or(storage::Record{});
    record.chain = chain;  // also of one that this version cannot read
    return event_line(record, bytes + std::string(bytes_of(chain)), source_of(chain));
  }
};

TEST_F(Exported, comes_back_as_the_same_log_bit_for_bit) {
  const auto done = import(joined(exported()));
  ASSERT_TRUE(done) << to_string(done.error());
  EXPECT_EQ(done->first, Position(1));
  EXPECT_EQ(done->last, Position(48));
  EXPECT_EQ(stored_records(restored() / "events"), stored_records(state_ / "events"));
  const auto verified = storage::verify_folder(restored() / "events");
  ASSERT_TRUE(verified) << to_string(verified.error());
  EXPECT_EQ(verified->chain, done->chain);
  EXPECT_EQ(state_digest_of(**storage::open_event_log_for_reading(restored() / "events")).value(),
            state_digest_of(**storage::open_event_log_for_reading(state_ / "events")).value());
  EXPECT_FALSE(fs::exists(restored() / "events.import.new"));
}

TEST_F(Exported, every_line_is_a_cloud_event) {
  const auto lines = exported();
  ASSERT_THAT(lines, SizeIs(48));
  std::string source;
  for (const auto& line : lines) {
    EXPECT_EQ(std::ranges::count(line, '\n'), 1);
    const auto event = json::parse(line);
    EXPECT_EQ(event.at("specversion"), "1.0");
    for (const auto* required : {"id", "source", "type"}) {
      EXPECT_THAT(event.at(required).get<std::string>(), Not(IsEmpty()));
    }
    if (source.empty()) source = event.at("source");
    EXPECT_EQ(event.at("source"), source);
    for (const auto& [name, value] : event.items()) {
      // Lower-case letters and digits; extensions are strings.
      EXPECT_EQ(name.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789"), std::string::npos);
      EXPECT_TRUE(value.is_string() || name == "data") << name;
    }
  }
  EXPECT_EQ(json::parse(lines[17]).at("type"), "atlasflow.PushReceived");
}

TEST_F(Exported, no_value_and_no_reference_to_one_can_be_read_in_it) {
  const auto text = joined(exported());
  EXPECT_THAT(text, Not(HasSubstr(k_value)));
  EXPECT_THAT(text, Not(HasSubstr(sealed_.ref)));
  EXPECT_THAT(text, HasSubstr("PASSPHRASE"));
  std::string bytes;
  for (const auto& record : stored_records(state_ / "events")) bytes += record;
  EXPECT_THAT(bytes, Not(HasSubstr(k_value)));
}

TEST_F(Exported, a_part_is_exported_and_not_imported) {
  const auto part = exported(Position(5), Position(7));
  ASSERT_THAT(part, SizeIs(3));
  EXPECT_EQ(json::parse(part[0]).at("position"), "5");
  expect_refused(part,
                 "line 1: its hash does not follow from the record before (a log is imported "
                 "whole, from position 1 on)");
}

TEST_F(Exported, what_breaks_the_chain_is_refused_with_its_line) {
  const auto lines = exported();
  auto missing = lines;
  missing.erase(missing.begin() + 6);
  expect_refused(missing, "line 7: its hash does not follow");
  auto swapped = lines;
  std::swap(swapped[20], swapped[21]);
  expect_refused(swapped, "line 21: its hash does not follow");
  auto twice = lines;
  twice.insert(twice.begin() + 9, lines[9]);
  expect_refused(twice, "line 11: its hash does not follow");
  auto cut = lines;
  cut.back().resize(cut.back().size() / 2);
  expect_refused(cut, "line 48: it is no JSON object, or only a part of one");
  expect_refused({}, "there is no line");
  expect_refused({"\n", "\n"}, "there is no line");
}

TEST_F(Exported, what_is_no_line_of_an_export_is_refused_with_what_it_lacks) {
  const auto line = exported()[0];
  const auto with = [&](const char* name, const json& value) {
    auto changed = json::parse(line);
    changed[name] = value;
    return changed.dump() + "\n";
  };
  const auto without = [&](const char* name) {
    auto changed = json::parse(line);
    changed.erase(name);
    return changed.dump() + "\n";
  };
  expect_refused({"hello\n"}, "line 1: it is no JSON object");
  expect_refused({"[]\n"}, "line 1: it is no JSON object");
  expect_refused({without("record")}, "line 1: it has no \"record\"");
  expect_refused({without("chain")}, "line 1: it has no \"chain\"");
  expect_refused({without("specversion")}, "line 1: it has no \"specversion\"");
  expect_refused({with("specversion", "2.0")}, "CloudEvents version 2.0; this reads 1.0");
  expect_refused({with("record", "!!!!")}, "\"record\" is not Base64");
  expect_refused({with("record", "")}, "\"record\" is not Base64");
  expect_refused({with("record", 7)}, "it has no \"record\"");
  expect_refused({with("chain", "ff")}, "64 lower-case hex digits");
  expect_refused({with("chain", std::string(64, 'f'))}, "its hash does not follow");
}

TEST_F(Exported, a_member_that_is_not_what_the_record_says_is_refused) {
  const auto lines = exported();
  for (const auto* name : {"id", "source", "type", "subject", "time", "position", "streamversion",
                           "correlationid", "actor", "build", "data", "datacontenttype"}) {
    auto changed = lines;
    auto event = json::parse(changed[17]);
    event[name] = "another";
    changed[17] = event.dump() + "\n";
    expect_refused(changed, "line 18: its \"" + std::string(name) + "\" is not what its record");
  }
  auto extended = lines;
  auto event = json::parse(extended[3]);
  event["note"] = "mine";
  extended[3] = event.dump() + "\n";
  expect_refused(extended, "line 4: its \"note\" is not");
}

TEST_F(Exported, members_may_be_sorted_or_left_out_by_a_tool) {
  std::string text;
  for (const auto& line : exported()) {
    auto event = json::parse(line);  // sorts the members, and those of data
    event.erase("data");
    event.erase("time");
    text += event.dump() + "\r\n\n";
  }
  const auto done = import(text);
  ASSERT_TRUE(done) << to_string(done.error());
  EXPECT_EQ(stored_records(restored() / "events"), stored_records(state_ / "events"));
  std::string sorted;
  for (const auto& line : exported()) sorted += json::parse(line).dump() + "\n";
  fs::remove_all(restored());
  EXPECT_TRUE(import(sorted));
}

// Each character of a line, changed: what is still taken is the same record.
TEST_F(Exported, no_changed_character_gets_in) {
  const auto line = exported(Position(1), Position(1)).at(0);
  const auto stored = stored_in(line).value();
  const auto record = storage::RecordCodec::decode(stored).value();
  const auto source = source_of(record.chain);
  storage::RecordCodec codec;
  for (std::size_t at = 0; at + 1 < line.size(); ++at) {
    for (const char with : {'A', '0', '"', '=', '\x01', '\xff'}) {
      if (line[at] == with) continue;
      auto changed = line;
      changed[at] = with;
      const auto got = stored_in(changed);
      if (!got || !codec.check_chain(*got, storage::ChainHash{})) continue;
      if (!compare_line(changed, record, *got, source)) continue;
      EXPECT_EQ(*got, stored) << at;
      EXPECT_EQ(json::parse(changed, nullptr, false), json::parse(line)) << at;
    }
  }
}

TEST_F(Exported, is_imported_into_a_log_without_events_only) {
  const auto text = joined(exported());
  ASSERT_TRUE(import(text));
  const auto before = stored_records(restored() / "events");
  const auto again = import(text);
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().code, ErrorCode::conflict);
  EXPECT_THAT(again.error().message, HasSubstr("has 48 events"));
  EXPECT_EQ(stored_records(restored() / "events"), before);
  fs::remove_all(restored());
  write(restored() / "events/letter.txt", "dear reader");
  EXPECT_EQ(import(text).error().code, ErrorCode::conflict);
  fs::remove_all(restored());
  // A log that was begun and has nothing yet.
  storage::EventLogConfig config;
  config.folder = restored() / "events";
  ASSERT_TRUE(storage::open_event_log(config));
  ASSERT_TRUE(import(text));
  EXPECT_THAT(stored_records(restored() / "events"), SizeIs(48));
}

TEST_F(Exported, an_event_of_a_newer_version_is_refused_with_the_build_that_wrote_it) {
  const auto stored = stored_in(exported()[0]).value();
  pb::StoredRecord envelope;
  ASSERT_TRUE(envelope.ParseFromString(stored.substr(0, stored.size() - 32)));
  pb::Event event;
  event.GetReflection()->MutableUnknownFields(&event)->AddLengthDelimited(9'999, "news");
  envelope.set_payload(event.SerializeAsString());
  envelope.set_type(9'999);
  envelope.set_build_id("build-z");
  expect_refused({line_of(envelope)}, "(build build-z, event type 9999)");
}

TEST_F(Exported, what_verify_would_find_is_refused_though_the_chain_holds) {
  const auto stored = stored_in(exported()[0]).value();
  pb::StoredRecord good;
  ASSERT_TRUE(good.ParseFromString(stored.substr(0, stored.size() - 32)));
  const auto refused = [&](const std::function<void(pb::StoredRecord&)>& change,
                           const std::string& said) {
    auto envelope = good;
    change(envelope);
    expect_refused({line_of(envelope)}, said);
  };
  refused([](auto& envelope) { envelope.set_position(2); }, "where position 1 belongs");
  refused([](auto& envelope) { envelope.set_stream_version(2); }, "where version 1 belongs");
  refused([](auto& envelope) { envelope.set_event_id("x@1"); }, "its event id is x@1");
  refused([](auto& envelope) { envelope.set_stream(""); }, "has no name");
  refused([](auto& envelope) { envelope.set_stream(std::string("a\0b", 3)); }, "has no name");
}

TEST_F(Exported, text_that_is_no_utf8_comes_back_as_it_was) {
  const auto stored = stored_in(exported()[0]).value();
  pb::StoredRecord envelope;
  ASSERT_TRUE(envelope.ParseFromString(stored.substr(0, stored.size() - 32)));
  envelope.set_correlation_id("caf\xe9");
  const auto done = import(line_of(envelope));
  ASSERT_TRUE(done) << to_string(done.error());
  const auto records = stored_records(restored() / "events");
  EXPECT_EQ(storage::RecordCodec::decode(records.at(0))->correlation_id, "caf\xe9");
}

}  // namespace
}  // namespace atlasflow::backup
