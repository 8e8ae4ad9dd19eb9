// The media type of a file by its name's extension. Pure; any thread.
#pragma once

#include <string_view>

namespace atlasflow::static_server {

// "text/html; charset=utf-8" for "a/INDEX.HTML"; "application/octet-stream" for what is not known.
[[nodiscard]] std::string_view content_type_of(std::string_view path);

// Whether the name ends in an extension of the table that is not a page's: a request for such a
// file that is not there must not be answered with a page.
[[nodiscard]] bool names_asset(std::string_view path);

}  // namespace atlasflow::static_server
