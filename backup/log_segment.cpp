#include "backup/log_segment.hpp"

#include <cstdint>

namespace atlasflow::backup {
namespace {

constexpr std::size_t k_length_bytes = 4;
// Far above any event; a length above it is damage, and must not take the machine's memory.
constexpr std::uint32_t k_record_bytes_max = 256U << 20U;

}  // namespace

std::string framed(std::string_view stored) {
  std::string bytes;
  bytes.reserve(k_length_bytes + stored.size());
  const auto size = static_cast<std::uint32_t>(stored.size());
  for (unsigned shift = 0; shift < 32; shift += 8) {
    bytes.push_back(static_cast<char>((size >> shift) & 0xFFU));
  }
  bytes.append(stored);
  return bytes;
}

Result<void> RecordSplitter::take(std::string_view piece,
                                  const std::function<Result<void>(std::string_view)>& visit) {
  rest_.append(piece);
  std::string_view left = rest_;
  while (left.size() >= k_length_bytes) {
    std::uint32_t size = 0;
    for (unsigned i = 0; i < k_length_bytes; ++i) {
      size |= static_cast<std::uint32_t>(static_cast<unsigned char>(left[i])) << (8 * i);
    }
    if (size > k_record_bytes_max) {
      return fail(ErrorCode::corrupt, "a record of " + std::to_string(size) + " bytes");
    }
    if (left.size() - k_length_bytes < size) break;
    if (auto visited = visit(left.substr(k_length_bytes, size)); !visited) return visited;
    left.remove_prefix(k_length_bytes + size);
  }
  rest_.erase(0, rest_.size() - left.size());
  return {};
}

}  // namespace atlasflow::backup
