#include "storage/utf8.hpp"

#include <vector>

#include <google/protobuf/descriptor.h>

#include "base/utf8.hpp"

namespace atlasflow::storage {

void replace_invalid_utf8(google::protobuf::Message& message) {
  using google::protobuf::FieldDescriptor;
  const auto* reflection = message.GetReflection();
  std::vector<const FieldDescriptor*> fields;
  reflection->ListFields(message, &fields);
  for (const FieldDescriptor* field : fields) {
    if (field->type() == FieldDescriptor::TYPE_STRING) {
      if (field->is_repeated()) {
        for (int i = 0; i < reflection->FieldSize(message, field); ++i) {
          const std::string text = reflection->GetRepeatedString(message, field, i);
          reflection->SetRepeatedString(&message, field, i, to_valid_utf8(text));
        }
      } else {
        const std::string text = reflection->GetString(message, field);
        reflection->SetString(&message, field, to_valid_utf8(text));
      }
    } else if (field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE) {
      if (field->is_repeated()) {
        for (int i = 0; i < reflection->FieldSize(message, field); ++i) {
          replace_invalid_utf8(*reflection->MutableRepeatedMessage(&message, field, i));
        }
      } else {
        replace_invalid_utf8(*reflection->MutableMessage(&message, field));
      }
    }
  }
}

}  // namespace atlasflow::storage
