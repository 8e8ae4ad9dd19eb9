// Bytes that nobody can guess. A free function; any thread.
#pragma once

#include <cstddef>
#include <string>

namespace atlasflow::api {

[[nodiscard]] std::string random_bytes(std::size_t count);

}  // namespace atlasflow::api
