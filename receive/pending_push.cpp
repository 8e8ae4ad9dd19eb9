#include "receive/pending_push.hpp"

#include <nlohmann/json.hpp>

#include "base/file.hpp"

namespace atlasflow::receive {
namespace {

constexpr std::uint64_t k_bytes_max = 16U << 20U;  // more than read_refs() answers with

}  // namespace

Result<void> write_pending(const std::filesystem::path& file, const PendingPush& push) {
  const nlohmann::json json = {{"id", push.id},
                               {"pusher", push.pusher},
                               {"at_s", push.at_s},
                               {"before", push.before},
                               {"only", push.only}};
  const auto text = json.dump(1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
  if (replace_file(file, text, 0600)) return {};
  return fail(ErrorCode::disk_full,
              "the push can't be written down; is the disk of the state folder full?");
}

Result<std::optional<PendingPush>> read_pending(const std::filesystem::path& file) {
  const auto text = read_file(file, k_bytes_max);
  if (!text) {
    if (text.error().code == ErrorCode::not_found) return std::nullopt;
    return tl::unexpected(text.error());
  }
  try {
    const auto json = nlohmann::json::parse(*text);
    return PendingPush{json.at("id"), json.at("pusher"), json.at("at_s"), json.at("before"),
                       json.value("only", std::string())};
  } catch (const nlohmann::json::exception& error) {
    return fail(ErrorCode::corrupt, file.string() + " does not say what a push began with",
                error.what());
  }
}

Result<void> remove_pending(const std::filesystem::path& file) {
  std::error_code error;
  std::filesystem::remove(file, error);
  if (error) return fail(ErrorCode::internal, "can't remove " + file.string(), error.message());
  return sync_folder(file.parent_path());
}

}  // namespace atlasflow::receive
