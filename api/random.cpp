#include "api/random.hpp"

#include <openssl/rand.h>

#include "base/assert.hpp"

namespace atlasflow::api {

std::string random_bytes(std::size_t count) {
  std::string bytes(count, '\0');
  ATLAS_ASSERT(RAND_bytes(reinterpret_cast<unsigned char*>(bytes.data()),
                          static_cast<int>(bytes.size())) == 1,
               "the system gives no random numbers");
  return bytes;
}

}  // namespace atlasflow::api
