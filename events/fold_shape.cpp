#include "events/fold_shape.hpp"

namespace atlasflow {
namespace {

using google::protobuf::FieldDescriptor;

// Deeper ones are texts of bytes: no event is nested so deep, unless it holds itself.
constexpr int k_depth_max = 8;

ShapeKind kind_of(const FieldDescriptor& field, int depth) {
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_BOOL:
      return ShapeKind::boolean;
    case FieldDescriptor::CPPTYPE_INT32:
    case FieldDescriptor::CPPTYPE_INT64:
      return ShapeKind::complement;
    case FieldDescriptor::CPPTYPE_ENUM:
      return ShapeKind::enumeration;
    case FieldDescriptor::CPPTYPE_MESSAGE:
      return depth < k_depth_max ? ShapeKind::message : ShapeKind::text;
    case FieldDescriptor::CPPTYPE_STRING:
      return ShapeKind::text;
    default:
      return ShapeKind::natural;
  }
}

Shape shape_of_fields(const google::protobuf::Descriptor& type, int depth) {
  Shape shape;
  shape.kind = ShapeKind::message;
  for (int i = 0; i < type.field_count(); ++i) {
    const auto& field = *type.field(i);
    const auto kind = kind_of(field, depth);
    Shape child;
    if (kind == ShapeKind::message) child = shape_of_fields(*field.message_type(), depth + 1);
    child.kind = kind;
    child.name = field.name();
    child.number = static_cast<std::uint64_t>(field.number());
    child.repeated = field.is_repeated();
    if (kind == ShapeKind::enumeration) {
      for (int value = 0; value < field.enum_type()->value_count(); ++value) {
        const auto& named = *field.enum_type()->value(value);
        child.names.emplace(static_cast<std::uint64_t>(named.number()), named.name());
      }
    }
    shape.children.push_back(std::move(child));
  }
  return shape;
}

}  // namespace

Shape shape_of_message(const google::protobuf::Descriptor& type) {
  return shape_of_fields(type, 0);
}

namespace fold_shape {

std::vector<std::string> names_in(std::string_view list) {
  std::vector<std::string> names;
  while (!list.empty()) {
    // A list that goes over several lines has more than one blank behind a comma.
    list.remove_prefix(std::min(list.find_first_not_of(", \n"), list.size()));
    const auto end = std::min(list.find(','), list.size());
    if (end > 0) names.emplace_back(list.substr(0, end));
    list.remove_prefix(end);
  }
  return names;
}

}  // namespace fold_shape
}  // namespace atlasflow
