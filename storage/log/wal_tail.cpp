#include "storage/log/wal_tail.hpp"

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace atlasflow::storage {
namespace {

// A physical record (RocksDB's db/log_format.h): masked CRC-32C of type and payload, length of the
// payload, type, payload. The integers are little-endian. A block's last bytes are zero when no
// header fits into them.
constexpr std::size_t k_header_bytes = 7;
constexpr std::size_t k_type_at = 6;
constexpr std::uint8_t k_last_type = 4;  // full, first, middle, last; recycled logs have others

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

std::uint32_t masked_crc32c(std::string_view bytes) {
  static constexpr auto k_table = crc32c_table();
  std::uint32_t crc = 0xFFFFFFFFU;
  for (const char byte : bytes) {
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
  const auto byte = [&](std::size_t i) {
    return static_cast<std::uint32_t>(static_cast<unsigned char>(block[at + i]));
  };
  return {byte(0) | byte(1) << 8U | byte(2) << 16U | byte(3) << 24U, byte(4) | byte(5) << 8U,
          static_cast<std::uint8_t>(byte(k_type_at))};
}

// Whether the header at the place belongs to a payload of this length.
bool is_record(std::string_view block, std::size_t at, std::size_t length) {
  const Header header = header_at(block, at);
  if (header.type == 0 || header.type > k_last_type) return false;
  return masked_crc32c(block.substr(at + k_type_at, 1 + length)) == header.crc;
}

Result<std::string> read_last_block(rocksdb::Env& env, const std::string& path) {
  const auto failed = [&](const rocksdb::Status& status) {
    return fail(ErrorCode::internal, "cannot read " + path + "; check the disk's health",
                status.ToString());
  };
  std::uint64_t size = 0;
  if (auto status = env.GetFileSize(path, &size); !status.ok()) return failed(status);
  // A file that ends with a block is no exception: RocksDB has read it whole and forgives nothing.
  std::string block(size % k_wal_block_bytes, '\0');
  if (block.empty()) return block;
  std::unique_ptr<rocksdb::RandomAccessFile> file;
  auto status = env.NewRandomAccessFile(path, &file, rocksdb::EnvOptions());
  rocksdb::Slice got;
  if (status.ok()) status = file->Read(size - block.size(), block.size(), &got, block.data());
  if (!status.ok()) return failed(status);
  return got.ToString();
}

}  // namespace

bool ends_like_a_cut_write(std::string_view last_block) {
  std::size_t at = 0;
  while (at + k_header_bytes <= last_block.size()) {
    const Header header = header_at(last_block, at);
    const std::size_t end = at + k_header_bytes + header.length;
    const bool nothing = header.type == 0 && header.length == 0;
    if (!nothing && end <= last_block.size()) {
      at = end;  // RocksDB compares its checksum
      continue;
    }
    // Here RocksDB stops. Everything of this record may be there but its length, or other records.
    if (is_record(last_block, at, last_block.size() - at - k_header_bytes)) return false;
    for (std::size_t i = at + 1; i + k_header_bytes <= last_block.size(); ++i) {
      const std::size_t length = header_at(last_block, i).length;
      if (length == 0 || i + k_header_bytes + length > last_block.size()) continue;
      if (is_record(last_block, i, length)) return false;
    }
    return true;
  }
  return true;
}

Result<void> check_wal_tails(rocksdb::Env& env, const std::filesystem::path& database) {
  std::vector<std::string> names;
  const auto status = env.GetChildren(database.string(), &names);
  if (status.IsNotFound()) return {};
  if (!status.ok()) {
    return fail(ErrorCode::internal, "cannot list " + database.string() + "; check the disk",
                status.ToString());
  }
  for (const auto& name : names) {
    if (!name.ends_with(".log")) continue;
    const std::string path = (database / name).string();
    const auto block = read_last_block(env, path);
    if (!block) return tl::unexpected(block.error());
    if (ends_like_a_cut_write(*block)) continue;
    return fail(ErrorCode::corrupt,
                "the event log is damaged (the end of " + path +
                    "); nothing was changed: restore it from a backup, and check the disk",
                "a record's length is wrong, and records follow it");
  }
  return {};
}

}  // namespace atlasflow::storage
