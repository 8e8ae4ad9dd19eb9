// What a request is answered with: the status, the head, and which bytes of which file follow. The
// rules of RFC 9110 sections 13 (conditions) and 14 (ranges). Pure; any thread.
#pragma once

#include <cstdint>
#include <string>

#include "builder/static_server/site.hpp"
#include "http/message.hpp"

namespace atlasflow::static_server {

struct Answer {
  std::string head;          // with the empty line, and a short text body where no file is
  FileDescriptor file;       // invalid: nothing follows the head
  std::uint64_t offset = 0;  // of the file's bytes that follow
  std::uint64_t size = 0;    //
  bool keep_alive = false;
};

[[nodiscard]] Answer answer_request(const Site& site, const http::RequestHead& request,
                                    bool keep_alive);
// For what is no request.
[[nodiscard]] Answer answer_error(int status);

// "Sun, 06 Nov 1994 08:49:37 GMT" (RFC 9110 section 5.6.7), and back; -1 for another form.
[[nodiscard]] std::string http_date(std::int64_t seconds);
[[nodiscard]] std::int64_t parse_http_date(std::string_view text);

}  // namespace atlasflow::static_server
