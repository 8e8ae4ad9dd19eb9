// A stored record looked at in place, for a check of every record: its fields are read without a
// copy, and its event is held to the schema without being built. Only the plain form, in which
// every record is written, is taken; of any other RecordCodec has to say what it is. Pure; the
// tables of the schema are made once, any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "storage/log/event_log.hpp"

namespace atlasflow::storage {

// What a check compares. Its text is that of the bytes, or of the record, that it was made of.
struct RecordView {
  Position position;
  std::string_view stream;
  StreamVersion stream_version;
  Epoch writer_epoch;
  std::string_view event_id;
  std::string_view dedupe_key;
};

[[nodiscard]] RecordView view_of(const Record& record);

// Nothing: not the plain form, of a newer format, or its event is not of the type that it says.
// Whatever is answered is what RecordCodec::decode() would answer.
[[nodiscard]] std::optional<RecordView> view_of_plain(std::string_view stored);

// Of which type a record of the plain form says that its event is, whether it is one or not: enough
// for who looks for some types and decodes those. Nothing: it is of another form.
[[nodiscard]] std::optional<std::uint32_t> type_said_by(std::string_view stored);

// The event's kind, of bytes that are certain to parse as a pb::Event with this one set. Nothing:
// they may parse, or not.
[[nodiscard]] std::optional<std::uint32_t> kind_of_plain_event(std::string_view payload);

}  // namespace atlasflow::storage
