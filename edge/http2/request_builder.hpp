// The head of an HTTP/2 request (RFC 9113 section 8.3), read as HTTP/1 would have said it: the
// pseudo-header and header fields are put together as an HTTP/1.1 head, which goes by the same
// guard as everybody's (http/guard.hpp), so that nothing reaches an application over HTTP/2 that
// could not have reached it over HTTP/1. A CONNECT for a websocket (RFC 8441) becomes the GET that
// asks an HTTP/1.1 server for one (RFC 6455 section 4.1). One request at a time; its worker's
// thread only.
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
  // Whether the block asks for a websocket: finish() wants the key for it then.
  [[nodiscard]] bool asks_for_websocket() const { return protocol_ == "websocket"; }
  void give_websocket_key(std::string_view key) { websocket_key_ = key; }
  [[nodiscard]] const std::string& websocket_key() const { return websocket_key_; }
  // The block is whole. `has_body`: the stream goes on. An error otherwise; head() holds what could
  // be read of it even then.
  [[nodiscard]] std::optional<http::HttpError> finish(bool has_body);

  // After the head: the fields of a trailer section.
  void add_trailer(std::string_view name, std::string_view value);
  // Empty when any of them is malformed.
  [[nodiscard]] std::vector<http::Field> trailers() const;

  // Its slices live until reset().
  [[nodiscard]] const http::RequestHead& head() const { return head_; }
  void reset();

 private:
  [[nodiscard]] std::optional<http::HttpError> check() const;
  // Whether there is room for so much more.
  [[nodiscard]] bool take_room(std::size_t bytes);

  const http::HttpLimits& limits_;
  std::string method_;
  std::string scheme_;
  std::string path_;
  std::string protocol_;  // of an extended CONNECT
  std::string websocket_key_;
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
  std::string trailer_text_;  // "name: value\r\n" for each
};

}  // namespace atlasflow::edge
