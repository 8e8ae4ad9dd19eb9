#include "storage/log/wal_check.hpp"

#include <algorithm>
#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/assert.hpp"

namespace atlasflow::storage {
namespace {

// A physical record (RocksDB's db/log_format.h): masked CRC-32C of type and payload, length of the
// payload, type, payload. The integers are little-endian. A block's last bytes are zero when no
// header fits into them.
constexpr std::size_t k_header_bytes = 7;
constexpr std::size_t k_type_at = 6;
// A batch is one record of the first type, or one each of the others in this order; recycled logs,
// which ours are not, have further types.
constexpr std::uint8_t k_full = 1;
constexpr std::uint8_t k_first = 2;
constexpr std::uint8_t k_last = 4;

constexpr std::array<std::uint32_t, 256> crc32c_table() {
  std::array<std::uint32_t, 256> table{};
  for (std::uint32_t i = 0; i < table.size(); ++i) {
    std::uint32_t value = i;
    for (int bit = 0; bit < 8; ++bit) {
      value = (value >> 1U) ^ ((value & 1U) != 0 ? 0x82F63B78U : 0U);
    }
    table[i] = value;
  }
  return table;
}

std::uint32_t masked_crc32c(std::uint8_t type, std::string_view payload) {
  static constexpr auto k_table = crc32c_table();
  std::uint32_t crc = 0xFFFFFFFFU;
  crc = k_table[(crc ^ type) & 0xFFU] ^ (crc >> 8U);
  for (const char byte : payload) {
    crc = k_table[(crc ^ static_cast<unsigned char>(byte)) & 0xFFU] ^ (crc >> 8U);
  }
  crc = ~crc;
  return ((crc >> 15U) | (crc << 17U)) + 0xA282EAD8U;
}

struct Header {
  std::uint32_t crc = 0;
  std::size_t length = 0;
  std::uint8_t type = 0;
};

Header header_at(std::string_view block, std::size_t at) {
  ATLAS_ASSERT(at + k_header_bytes <= block.size(),
               "byte " + std::to_string(at) + " of " + std::to_string(block.size()));
  const auto byte = [&](std::size_t i) {
    return static_cast<std::uint32_t>(static_cast<unsigned char>(block[at + i]));
  };
  return {byte(0) | byte(1) << 8U | byte(2) << 16U | byte(3) << 24U, byte(4) | byte(5) << 8U,
          static_cast<std::uint8_t>(byte(k_type_at))};
}

bool fits(std::string_view block, std::size_t at, std::size_t length) {
  return at + k_header_bytes + length <= block.size();
}
bool has_checksum(std::string_view block, std::size_t at, std::size_t length, std::uint8_t type) {
  return masked_crc32c(type, block.substr(at + k_header_bytes, length)) == header_at(block, at).crc;
}

// Whether a whole record stands there, but for its type or its length, one of which is wrong.
bool is_spoilt_record(std::string_view block, std::size_t at) {
  const Header header = header_at(block, at);
  if (header.crc == 0 && header.type == 0) return false;  // zeros
  const std::size_t rest = block.size() - at - k_header_bytes;
  if (header.type >= k_full && header.type <= k_last &&
      has_checksum(block, at, rest, header.type)) {
    return true;
  }
  if (header.length == 0 || !fits(block, at, header.length)) return false;
  for (std::uint8_t type = k_full; type <= k_last; ++type) {
    if (has_checksum(block, at, header.length, type)) return true;
  }
  return false;
}

Result<void> check_wal(rocksdb::Env& env, const std::string& path) {
  const auto failed = [&](const rocksdb::Status& status) {
    return fail(ErrorCode::internal, "cannot read " + path + "; check the disk's health",
                status.ToString());
  };
  std::unique_ptr<rocksdb::SequentialFile> file;
  auto status = env.NewSequentialFile(path, &file, rocksdb::EnvOptions());
  if (!status.ok()) return failed(status);
  WalCheck check;
  std::string block(k_wal_block_bytes, '\0');
  for (;;) {
    // A read may answer less than is there.
    std::size_t size = 0;
    rocksdb::Slice got;
    do {
      status = file->Read(block.size() - size, &got, block.data() + size);
      if (!status.ok()) return failed(status);
      if (got.data() != block.data() + size) std::copy_n(got.data(), got.size(), &block[size]);
      size += got.size();
    } while (!got.empty() && size < block.size());
    if (size != 0) check.take(std::string_view(block).substr(0, size));
    if (size < block.size()) break;
  }
  if (!check.damage()) return {};
  return fail(ErrorCode::corrupt,
              "the event log is damaged (" + path +
                  "); nothing was changed: restore it from a backup, and check the disk",
              "byte " + std::to_string(*check.damage()) +
                  ": a record's head is wrong, and records follow it");
}

}  // namespace

// A part of a batch may follow what a power cut left of its beginning: pages of one write reach the
// disk in any order. The beginning of another batch may not.
bool WalCheck::batch_begins_behind(std::string_view block, std::size_t from) {
  for (std::size_t at = from; at + k_header_bytes <= block.size(); ++at) {
    const Header header = header_at(block, at);
    if (header.type != k_full && header.type != k_first) continue;
    if (header.length == 0 || !fits(block, at, header.length)) continue;
    if (has_checksum(block, at, header.length, header.type)) return true;
  }
  return false;
}

void WalCheck::take(std::string_view block) {
  ATLAS_ASSERT(block.size() <= k_wal_block_bytes, std::to_string(block.size()) + " bytes");
  std::size_t at = 0;
  while (!stop_ && at + k_header_bytes <= block.size()) {
    const Header header = header_at(block, at);
    const bool known = header.type >= k_full && header.type <= k_last;
    if (known && fits(block, at, header.length)) {
      at += k_header_bytes + header.length;
      continue;
    }
    stop_ = begun_ + at;
    if (is_spoilt_record(block, at)) damage_ = stop_;
    ++at;
  }
  if (stop_ && !damage_ && batch_begins_behind(block, at)) damage_ = stop_;
  begun_ += block.size();
  ATLAS_ASSERT(!damage_ || *damage_ < begun_, "damage is told of behind what was read");
}

Result<void> check_wals(rocksdb::Env& env, const std::filesystem::path& database) {
  std::vector<std::string> names;
  const auto status = env.GetChildren(database.string(), &names);
  if (status.IsNotFound()) return {};
  if (!status.ok()) {
    return fail(ErrorCode::internal, "cannot list " + database.string() + "; check the disk",
                status.ToString());
  }
  for (const auto& name : names) {
    if (name.ends_with(".log")) ATLAS_TRYV(check_wal(env, (database / name).string()));
  }
  return {};
}

}  // namespace atlasflow::storage
