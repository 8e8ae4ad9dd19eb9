// The head of an HTTP/2 request (RFC 9113 section 8.3), read as HTTP/1 would have said it: the
// pseudo-header and header fields are put together as an HTTP/1.1 head, which goes by the same
// guard as everybody's (http/guard.hpp), so that nothing reaches an application over HTTP/2 that
// could not have reached it over HTTP/1. One request at a time; its worker's thread only.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "http/message.hpp"

namespace atlasflow::edge {

class RequestBuilder {
 public:
  explicit RequestBuilder(const http::HttpLimits& limits) : limits_(limits) {}

  // In the order of the block; names in lower case.
  void add_field(std::string_view name, std::string_view value);
  // The block is whole. `has_body`: the stream goes on. An error otherwise; head() holds what could
  // be read of it even then.
  [[nodiscard]] std::optional<http::HttpError> finish(bool has_body);

  // After the head: the fields of a trailer section.
  void add_trailer(std::string_view name, std::string_view value);
  [[nodiscard]] std::vector<http::Field> trailers() const;

  // Its slices live until reset().
  [[nodiscard]] const http::RequestHead& head() const { return head_; }
  void reset();

 private:
  struct Slice {
    std::size_t name_at;
    std::size_t name_size;
    std::size_t value_size;  // the value follows the name
  };
  // Whether there is room for so much more.
  [[nodiscard]] bool take_room(std::size_t bytes);

  const http::HttpLimits& limits_;
  std::string method_;
  std::string scheme_;
  std::string path_;
  std::string authority_;
  std::string host_field_;
  std::string cookie_;
  std::string fields_;  // "name: value\r\n" for each
  bool has_length_ = false;
  bool several_hosts_ = false;
  bool breaks_line_ = false;
  std::size_t bytes_ = 0;
  bool too_large_ = false;

  std::string raw_;
  std::string host_text_;
  http::RequestHead head_;
  std::string trailer_text_;
  std::vector<Slice> trailers_;
};

}  // namespace atlasflow::edge
