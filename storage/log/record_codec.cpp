#include "storage/log/record_codec.hpp"

#include <algorithm>
#include <utility>

#include "base/assert.hpp"
#include "base/probe.hpp"
#include "storage/log/record.pb.h"
#include "storage/utf8.hpp"

namespace atlasflow::storage {
namespace {

constexpr std::size_t k_chain_size = std::tuple_size_v<ChainHash>;

Error written_by_newer(const pb::StoredRecord& stored, const std::string& what) {
  return Error{ErrorCode::corrupt,
               "position " + std::to_string(stored.position()) +
                   " of the event log was written by a newer version of Atlasflow (build " +
                   stored.build_id() + ", " + what + "); start that version or a later one",
               {}};
}

// Bytes that are certain to parse again; changes the event's text when it was not UTF-8.
std::string serialise_readable(pb::Event& event) {
  std::string payload = event.SerializeAsString();
  pb::Event again;
  if (!again.ParseFromString(payload)) {
    ATLAS_PROBE(true, "an event held text that is not UTF-8");
    replace_invalid_utf8(event);
    payload = event.SerializeAsString();
    ATLAS_ASSERT(again.ParseFromString(payload), "an event does not survive its serialisation");
  }
  return payload;
}

Result<void> decode_envelope(std::string_view bytes, pb::StoredRecord& stored, Record& record) {
  const auto unreadable = [](std::string what) {
    return fail(ErrorCode::corrupt, "a record of the event log cannot be read: " + what);
  };
  if (bytes.size() <= k_chain_size) return unreadable("it is too short");
  const std::string_view envelope = bytes.substr(0, bytes.size() - k_chain_size);
  const std::string_view chain = bytes.substr(envelope.size());

  if (!stored.ParseFromArray(envelope.data(), static_cast<int>(envelope.size()))) {
    return unreadable("its envelope does not parse");
  }
  if (stored.compat_version() > k_record_format) {
    return tl::unexpected(
        written_by_newer(stored, "record format " + std::to_string(stored.format_version()) +
                                     ", this is " + std::to_string(k_record_format)));
  }
  if (!record.event.ParseFromString(stored.payload())) {
    return unreadable("the event of position " + std::to_string(stored.position()) +
                      " does not parse");
  }
  const auto kind = static_cast<std::uint32_t>(record.event.kind_case());
  if (kind == 0 && stored.type() != 0) {
    return tl::unexpected(written_by_newer(stored, "event type " + std::to_string(stored.type())));
  }
  if (kind != stored.type() || kind == 0) {
    return unreadable("position " + std::to_string(stored.position()) + " says event type " +
                      std::to_string(stored.type()) + " and holds " + std::to_string(kind));
  }
  record.position = Position(stored.position());
  record.stream = StreamId(stored.stream());
  record.stream_version = StreamVersion(stored.stream_version());
  record.recorded_at = stored.recorded_at_us();
  record.writer_epoch = Epoch(stored.writer_epoch());
  // Swapped, so that the buffers of both go on being used.
  record.event_id.swap(*stored.mutable_event_id());
  record.correlation_id.swap(*stored.mutable_correlation_id());
  record.causation_position = Position(stored.causation_position());
  record.build_id.swap(*stored.mutable_build_id());
  record.actor.swap(*stored.mutable_actor());
  record.dedupe_key.swap(*stored.mutable_dedupe_key());
  std::copy(chain.begin(), chain.end(), record.chain.begin());
  return {};
}

}  // namespace

std::string event_id_of(const StreamId& stream, StreamVersion version) {
  return stream.str() + "@" + std::to_string(version.value());
}

Error damaged(Position position, const std::string& what) {
  return Error{ErrorCode::corrupt,
               "the event log is damaged at position " + std::to_string(position.value()) + ": " +
                   what + "; restore it from a backup and check it with `atlasflow log verify`",
               {}};
}

Error damaged_index(std::optional<Position> position, const std::string& what) {
  const auto where = position ? " at position " + std::to_string(position->value()) : "";
  return Error{ErrorCode::corrupt,
               "an index of the event log is damaged" + where + ": " + what +
                   "; if the records are whole, atlasflow log rebuild makes it anew",
               {}};
}

Error at_position(Position position, Error error) {
  error.message += " (position " + std::to_string(position.value()) + ")";
  return error;
}

std::optional<ChainHash> chain_of(std::string_view stored) {
  if (stored.size() <= k_chain_size) return std::nullopt;
  ChainHash chain{};
  std::copy(stored.end() - k_chain_size, stored.end(), chain.begin());
  return chain;
}

Result<const Record*> RecordSequence::next(Position position, std::string_view stored) {
  if (!codec_.check_chain(stored, previous_)) {
    return tl::unexpected(damaged(position, "its hash does not follow from the one before"));
  }
  auto decoded = codec_.decode_into(stored, record_);
  if (!decoded) return tl::unexpected(at_position(position, std::move(decoded.error())));
  if (record_.position != position) {
    return tl::unexpected(damaged(position, "its key and its record disagree"));
  }
  previous_ = record_.chain;
  return &record_;
}

std::string RecordCodec::encode(Record& record, const ChainHash& previous) {
  ATLAS_ASSERT(record.event.kind_case() != pb::Event::KIND_NOT_SET, "an event without a kind");
  pb::StoredRecord stored;
  stored.set_format_version(k_record_format);
  stored.set_compat_version(k_record_compat);
  stored.set_position(record.position.value());
  stored.set_stream(record.stream.str());
  stored.set_stream_version(record.stream_version.value());
  stored.set_type(static_cast<std::uint32_t>(record.event.kind_case()));
  stored.set_recorded_at_us(record.recorded_at);
  stored.set_writer_epoch(record.writer_epoch.value());
  stored.set_event_id(record.event_id);
  stored.set_correlation_id(record.correlation_id);
  stored.set_causation_position(record.causation_position.value());
  stored.set_build_id(record.build_id);
  stored.set_actor(record.actor);
  stored.set_payload(serialise_readable(record.event));
  stored.set_dedupe_key(record.dedupe_key);

  std::string bytes = stored.SerializeAsString();
  record.chain = sha256_.of(bytes_of(previous), bytes);
  bytes.append(bytes_of(record.chain));
  // What decoding asks of it first.
  ATLAS_ASSERT(bytes.size() > k_chain_size, "a record without an envelope");
  return bytes;
}

RecordCodec::RecordCodec() : envelope_(std::make_unique<pb::StoredRecord>()) {}
RecordCodec::~RecordCodec() = default;

Result<void> RecordCodec::decode_into(std::string_view stored, Record& record) {
  return decode_envelope(stored, *envelope_, record);
}

Result<Record> RecordCodec::decode(std::string_view stored) {
  pb::StoredRecord envelope;
  Record record;
  ATLAS_TRYV(decode_envelope(stored, envelope, record));
  return record;
}

bool RecordCodec::check_chain(std::string_view stored, const ChainHash& previous) {
  if (stored.size() <= k_chain_size) return false;
  const std::string_view envelope = stored.substr(0, stored.size() - k_chain_size);
  return bytes_of(sha256_.of(bytes_of(previous), envelope)) == stored.substr(envelope.size());
}

}  // namespace atlasflow::storage
