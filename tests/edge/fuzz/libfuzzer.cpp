// The entry of libFuzzer for the target that FUZZ_TARGET names.
#include <cstddef>
#include <cstdint>

#include "tests/edge/fuzz/targets.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  atlasflow::edge::fuzz::FUZZ_TARGET({reinterpret_cast<const char*>(bytes), size});
  return 0;
}
