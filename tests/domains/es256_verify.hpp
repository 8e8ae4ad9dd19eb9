// Whether a signature as a CA gets it (ES256, RFC 7518 section 3.4) is the key's: what the CA of a
// test asks, and what signs is tested by. A free function; any thread.
#pragma once

#include <string_view>

#include "base/x509.hpp"

namespace atlasflow::domains_test {

[[nodiscard]] bool es256_verifies(EVP_PKEY* key, std::string_view protected_part,
                                  std::string_view payload_part, std::string_view signature);

}  // namespace atlasflow::domains_test
