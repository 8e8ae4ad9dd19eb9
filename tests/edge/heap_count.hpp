// How often the edge's workers ask the heap for memory. It replaces operator new of the whole test
// program, in a file of its own: the compiler must not see what it is made of.
#pragma once

#include <cstdint>

namespace atlasflow::edge {

void count_worker_allocations(bool on);
[[nodiscard]] std::uint64_t worker_allocations();

}  // namespace atlasflow::edge
