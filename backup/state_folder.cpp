#include "backup/state_folder.hpp"

#include <charconv>

#include "base/digest.hpp"
#include "base/file.hpp"

namespace atlasflow::backup {
namespace {

constexpr std::uint64_t k_version_bytes_max = 1'024;
constexpr std::uint64_t k_key_bytes = 32;  // of secrets.cpp

}  // namespace

Result<int> layout_of(const std::filesystem::path& state) {
  const auto text = read_file(state / "VERSION", k_version_bytes_max);
  if (!text) {
    return fail(ErrorCode::invalid_argument,
                state.string() +
                    " is no state folder of Atlasflow that can be read; name the one that the "
                    "server has by --state-dir, and run it as the server's user",
                text.error().cause);
  }
  int layout = 0;
  const auto parsed = std::from_chars(text->data(), text->data() + text->size(), layout);
  if (parsed.ec == std::errc{} && layout >= 1 && layout <= k_state_layout) return layout;
  return fail(ErrorCode::corrupt,
              state.string() + " has a layout that this version does not know (it knows " +
                  std::to_string(k_state_layout) + "); use the version of Atlasflow that wrote it");
}

Result<std::string> key_digest_of(const std::filesystem::path& key_file) {
  constexpr std::size_t k_digits = 16;
  ATLAS_TRY(const auto key, read_file(key_file, k_key_bytes));
  if (key.size() != k_key_bytes) {
    return fail(ErrorCode::corrupt,
                "the key file " + key_file.string() + " does not hold 32 bytes");
  }
  const auto digest = Sha256().of("atlasflow key digest 1", key);
  return to_hex(bytes_of(digest)).substr(0, k_digits);
}

}  // namespace atlasflow::backup
