// The fields of an HTTP/2 message that is about to be sent, as nghttp2 takes them: names in lower
// case (RFC 9113 section 8.2.1). It is used for one message after the other, so that it takes
// nothing from the heap once it is warm. One thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <nghttp2/nghttp2.h>

namespace atlasflow::edge {

class FieldList {
 public:
  void clear() {
    text_.clear();
    slices_.clear();
  }

  void add(std::string_view name, std::string_view value,
           std::uint8_t flags = NGHTTP2_NV_FLAG_NONE) {
    slices_.push_back({text_.size(), name.size(), value.size(), flags});
    for (const char c : name) text_ += c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
    text_.append(value);
  }

  // nghttp2 copies them. Good until the next change.
  [[nodiscard]] const std::vector<nghttp2_nv>& finish() {
    fields_.clear();
    auto* text = reinterpret_cast<std::uint8_t*>(text_.data());
    for (const Slice& slice : slices_) {
      std::uint8_t* name = text + slice.at;
      fields_.push_back(
          {name, name + slice.name_size, slice.name_size, slice.value_size, slice.flags});
    }
    return fields_;
  }

 private:
  struct Slice {
    std::size_t at;
    std::size_t name_size;
    std::size_t value_size;  // the value follows the name
    std::uint8_t flags;
  };
  std::string text_;
  std::vector<Slice> slices_;
  std::vector<nghttp2_nv> fields_;
};

}  // namespace atlasflow::edge
