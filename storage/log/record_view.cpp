#include "storage/log/record_view.hpp"

#include <cstring>
#include <map>
#include <memory>
#include <vector>

#include <google/protobuf/descriptor.h>

#include "base/assert.hpp"
#include "base/utf8.hpp"
#include "storage/log/record.pb.h"
#include "storage/log/record_codec.hpp"
#include "storage/log/wire.hpp"

namespace atlasflow::storage {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;

// ---- an event against its schema ----

class Shape;

enum class Content : std::uint8_t { unknown, varint, fixed32, fixed64, bytes, text, message };

struct Field {
  Content content = Content::unknown;
  const Shape* shape = nullptr;  // of a message
};

// What one message may hold.
class Shape {
 public:
  [[nodiscard]] Field field(std::uint32_t number) const {
    return number < fields_.size() ? fields_[number] : Field{};
  }
  void set(std::uint32_t number, Field field) {
    if (number >= fields_.size()) fields_.resize(number + 1);
    fields_[number] = field;
  }

 private:
  std::vector<Field> fields_;  // index = field number; the schema's are small
};

Content content_of(const FieldDescriptor& field) {
  switch (field.type()) {
    case FieldDescriptor::TYPE_INT64:
    case FieldDescriptor::TYPE_UINT64:
    case FieldDescriptor::TYPE_INT32:
    case FieldDescriptor::TYPE_UINT32:
    case FieldDescriptor::TYPE_SINT32:
    case FieldDescriptor::TYPE_SINT64:
    case FieldDescriptor::TYPE_BOOL:
    case FieldDescriptor::TYPE_ENUM:  // proto3: every number is a value
      return Content::varint;
    case FieldDescriptor::TYPE_FIXED32:
    case FieldDescriptor::TYPE_SFIXED32:
    case FieldDescriptor::TYPE_FLOAT:
      return Content::fixed32;
    case FieldDescriptor::TYPE_FIXED64:
    case FieldDescriptor::TYPE_SFIXED64:
    case FieldDescriptor::TYPE_DOUBLE:
      return Content::fixed64;
    case FieldDescriptor::TYPE_BYTES:
      return Content::bytes;
    case FieldDescriptor::TYPE_STRING:
      return Content::text;
    case FieldDescriptor::TYPE_MESSAGE:
      return Content::message;
    case FieldDescriptor::TYPE_GROUP:
      break;
  }
  return Content::unknown;
}

// The shapes of pb::Event and of all that it holds.
class Schema {
 public:
  static const Schema& get() {
    static const Schema schema;
    return schema;
  }

  [[nodiscard]] const Shape& event() const { return *event_; }

 private:
  Schema() : event_(&shape_of(*pb::Event::descriptor())) {
    const auto* kinds = pb::Event::descriptor();
    for (int i = 0; i < kinds->field_count(); ++i) {
      ATLAS_ASSERT(kinds->field(i)->containing_oneof() != nullptr,
                   "an event holds more than its kind");
    }
  }

  const Shape& shape_of(const Descriptor& message) {
    auto& made = shapes_[&message];
    if (made) return *made;
    made = std::make_unique<Shape>();
    Shape& shape = *made;  // stays where it is while others are made
    for (int i = 0; i < message.field_count(); ++i) {
      const auto& field = *message.field(i);
      const Content content = content_of(field);
      shape.set(
          static_cast<std::uint32_t>(field.number()),
          {content, content == Content::message ? &shape_of(*field.message_type()) : nullptr});
    }
    return shape;
  }

  std::map<const Descriptor*, std::unique_ptr<Shape>> shapes_;
  const Shape* event_;
};

bool is_ascii(std::string_view text) {
  constexpr std::uint64_t k_high_bits = 0x8080808080808080ULL;
  std::uint64_t word = 0;
  while (text.size() >= sizeof word) {
    std::memcpy(&word, text.data(), sizeof word);
    if ((word & k_high_bits) != 0) return false;
    text.remove_prefix(sizeof word);
  }
  word = 0;
  if (!text.empty()) std::memcpy(&word, text.data(), text.size());
  return (word & k_high_bits) == 0;
}

bool is_text(std::string_view text) { return is_ascii(text) || is_utf8(text); }

bool fits(std::string_view bytes, const Shape& shape, int depth_left) {
  WireReader in(bytes);
  while (!in.at_end()) {
    std::uint32_t number = 0;
    WireType type{};
    if (!in.tag(number, type)) return false;
    const Field field = shape.field(number);
    std::uint64_t ignored = 0;
    std::string_view inner;
    bool fine = false;
    switch (field.content) {
      case Content::varint:
        fine = type == WireType::varint && in.varint(ignored);
        break;
      case Content::fixed32:
        fine = type == WireType::fixed32 && in.skip(4);
        break;
      case Content::fixed64:
        fine = type == WireType::fixed64 && in.skip(8);
        break;
      case Content::bytes:
        fine = type == WireType::length && in.bytes(inner);
        break;
      case Content::text:
        fine = type == WireType::length && in.bytes(inner) && is_text(inner);
        break;
      case Content::message:
        fine = type == WireType::length && in.bytes(inner) && depth_left > 0 &&
               fits(inner, *field.shape, depth_left - 1);
        break;
      case Content::unknown:
        break;
    }
    if (!fine) return false;
  }
  return true;
}

}  // namespace

std::optional<std::uint32_t> kind_of_plain_event(std::string_view payload) {
  constexpr int k_depth = 16;  // Protobuf takes 100
  WireReader in(payload);
  std::uint32_t number = 0;
  WireType type{};
  std::string_view inner;
  if (!in.tag(number, type) || type != WireType::length || !in.bytes(inner) || !in.at_end()) {
    return std::nullopt;
  }
  const Field kind = Schema::get().event().field(number);
  if (kind.content != Content::message || !fits(inner, *kind.shape, k_depth)) return std::nullopt;
  return number;
}

// ---- the envelope ----

namespace {

// The fields of record.proto, by what they hold.
struct Envelope {
  std::uint64_t numbers[pb::StoredRecord::kDedupeKeyFieldNumber + 1] = {};
  std::string_view texts[pb::StoredRecord::kDedupeKeyFieldNumber + 1];

  [[nodiscard]] bool read(std::string_view bytes) {
    WireReader in(bytes);
    while (!in.at_end()) {
      std::uint32_t number = 0;
      WireType type{};
      if (!in.tag(number, type) || number > pb::StoredRecord::kDedupeKeyFieldNumber) return false;
      const bool fine = is_text(number) ? type == WireType::length && in.bytes(texts[number])
                                        : type == WireType::varint && in.varint(numbers[number]);
      if (!fine) return false;
    }
    return true;
  }

  static constexpr bool is_text(std::uint32_t number) {
    switch (number) {
      case pb::StoredRecord::kStreamFieldNumber:
      case pb::StoredRecord::kEventIdFieldNumber:
      case pb::StoredRecord::kCorrelationIdFieldNumber:
      case pb::StoredRecord::kBuildIdFieldNumber:
      case pb::StoredRecord::kActorFieldNumber:
      case pb::StoredRecord::kPayloadFieldNumber:
      case pb::StoredRecord::kDedupeKeyFieldNumber:
        return true;
      default:
        return false;
    }
  }
};

}  // namespace

RecordView view_of(const Record& record) {
  return {record.position,     record.stream.str(), record.stream_version,
          record.writer_epoch, record.event_id,     record.dedupe_key};
}

std::optional<std::uint32_t> type_said_by(std::string_view stored) {
  if (stored.size() <= std::tuple_size_v<ChainHash>) return std::nullopt;
  Envelope envelope;
  if (!envelope.read(stored.substr(0, stored.size() - std::tuple_size_v<ChainHash>))) {
    return std::nullopt;
  }
  const auto type = envelope.numbers[pb::StoredRecord::kTypeFieldNumber];
  if (type > UINT32_MAX) return std::nullopt;
  return static_cast<std::uint32_t>(type);
}

std::optional<RecordView> view_of_plain(std::string_view stored) {
  if (stored.size() <= std::tuple_size_v<ChainHash>) return std::nullopt;
  Envelope envelope;
  if (!envelope.read(stored.substr(0, stored.size() - std::tuple_size_v<ChainHash>))) {
    return std::nullopt;
  }
  if (envelope.numbers[pb::StoredRecord::kCompatVersionFieldNumber] > k_record_format) {
    return std::nullopt;
  }
  const auto kind = kind_of_plain_event(envelope.texts[pb::StoredRecord::kPayloadFieldNumber]);
  if (!kind || *kind != envelope.numbers[pb::StoredRecord::kTypeFieldNumber]) return std::nullopt;
  return RecordView{Position(envelope.numbers[pb::StoredRecord::kPositionFieldNumber]),
                    envelope.texts[pb::StoredRecord::kStreamFieldNumber],
                    StreamVersion(envelope.numbers[pb::StoredRecord::kStreamVersionFieldNumber]),
                    Epoch(envelope.numbers[pb::StoredRecord::kWriterEpochFieldNumber]),
                    envelope.texts[pb::StoredRecord::kEventIdFieldNumber],
                    envelope.texts[pb::StoredRecord::kDedupeKeyFieldNumber]};
}

}  // namespace atlasflow::storage
