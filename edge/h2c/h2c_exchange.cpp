#include "edge/h2c/h2c_exchange.hpp"

#include <charconv>

namespace atlasflow::edge {
namespace {

// What RFC 9113 section 6.5.2 counts for a field beside its bytes.
constexpr std::size_t k_field_overhead = 32;

}  // namespace

bool H2cFields::add(std::string_view name, std::string_view value, const http::HttpLimits& limits) {
  if (name == ":status") {
    std::from_chars(value.data(), value.data() + value.size(), status_);
    return true;
  }
  const std::size_t bytes = text_.size() + name.size() + value.size();
  if (slices_.size() >= limits.fields_max ||
      bytes + k_field_overhead * (slices_.size() + 1) > limits.head_bytes_max) {
    return false;
  }
  slices_.push_back({text_.size(), name.size(), value.size()});
  text_.append(name).append(value);
  return true;
}

void H2cFields::finish() {
  head_.fields.clear();
  const std::string_view text = text_;
  for (const Slice& slice : slices_) {
    head_.fields.push_back({text.substr(slice.at, slice.name_size),
                            text.substr(slice.at + slice.name_size, slice.value_size)});
  }
}

const http::ResponseHead& H2cFields::finish_head(bool to_head, bool end) {
  finish();
  head_.status = status_;
  head_.reason = http::reason_phrase(status_);
  head_.keep_alive = true;
  const http::Field* length = http::find_field(head_.fields, "content-length");
  if (length != nullptr) {
    // nghttp2 lets a number through only, and compares it with the body.
    const std::string_view digits = length->value;
    std::from_chars(digits.data(), digits.data() + digits.size(), head_.content_length);
  }
  const bool no_body = end || to_head || status_ < 200 || status_ == 204 || status_ == 304;
  if (no_body) {
    head_.framing = http::Framing::none;
  } else {
    head_.framing = length != nullptr ? http::Framing::length : http::Framing::chunked;
  }
  return head_;
}

const std::vector<http::Field>& H2cFields::finish_trailers() {
  finish();
  return head_.fields;
}

}  // namespace atlasflow::edge
