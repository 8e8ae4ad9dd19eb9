#include "tests/edge/heap_count.hpp"

#include <atomic>
#include <cstddef>
#include <cstdlib>
#include <new>
#include <string_view>

#include <pthread.h>

namespace {

std::atomic<bool> g_counting{false};
std::atomic<std::uint64_t> g_allocations{0};

// The edge's workers are "edge-0" and so on.
bool is_worker() {
  char name[16] = {};
  pthread_getname_np(pthread_self(), name, sizeof name);
  const std::string_view text(name);
  return text.starts_with("edge-") && text.size() == 6;
}

void* allocate(std::size_t size, std::size_t alignment) {
  if (g_counting.load(std::memory_order_relaxed) && is_worker()) ++g_allocations;
  void* memory = nullptr;
  if (alignment <= alignof(std::max_align_t)) {
    memory = std::malloc(size == 0 ? 1 : size);
  } else if (::posix_memalign(&memory, alignment, size) != 0) {
    memory = nullptr;
  }
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}

}  // namespace

// What is not named here (arrays, nothrow) is made of these.
// New because: it is the allocation that is counted.
void* operator new(std::size_t size) { return allocate(size, 1); }
// New because: as above, for types of a wider alignment.
void* operator new(std::size_t size, std::align_val_t alignment) {
  return allocate(size, static_cast<std::size_t>(alignment));
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept { std::free(memory); }

namespace atlasflow::edge {

void count_worker_allocations(bool on) { g_counting = on; }
std::uint64_t worker_allocations() { return g_allocations.load(); }

}  // namespace atlasflow::edge
