#include "storage/log/anchor.hpp"

#include <charconv>
#include <memory>
#include <sstream>
#include <utility>

#include "base/assert.hpp"
#include "base/digest.hpp"
#include "base/probe.hpp"

namespace atlasflow::storage {
namespace {

constexpr std::string_view k_format_name = "atlasflow-event-log";

std::filesystem::path format_path(const std::filesystem::path& folder) { return folder / "FORMAT"; }

rocksdb::Status sync_folder(rocksdb::Env& env, const std::filesystem::path& folder) {
  std::unique_ptr<rocksdb::Directory> directory;
  auto status = env.NewDirectory(folder.string(), &directory);
  return status.ok() ? directory->Fsync() : status;
}

// Readers see the old bytes or the new ones, whatever happens in between.
Result<void> replace_file(rocksdb::Env& env, const std::filesystem::path& path,
                          const std::string& bytes) {
  const std::string temporary = path.string() + ".new";
  auto status = rocksdb::WriteStringToFile(&env, bytes, temporary, /*should_sync=*/true);
  if (status.ok()) status = env.RenameFile(temporary, path.string());
  if (status.ok()) status = sync_folder(env, path.parent_path());
  if (status.ok()) return {};
  return fail(status.IsNoSpace() ? ErrorCode::disk_full : ErrorCode::internal,
              "cannot write " + path.string() + "; check the disk's space and health",
              status.ToString());
}

// Nothing when there is no such file.
Result<std::optional<std::string>> read_file(rocksdb::Env& env, const std::filesystem::path& path) {
  if (env.FileExists(path.string()).IsNotFound()) return std::optional<std::string>{};
  std::string bytes;
  const auto status = rocksdb::ReadFileToString(&env, path.string(), &bytes);
  if (status.ok()) return std::optional<std::string>{std::move(bytes)};
  return fail(ErrorCode::internal, "cannot read " + path.string() + "; check its permissions",
              status.ToString());
}

template <typename Number>
bool parse_number(std::string_view text, Number& number) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc{} && end == text.data() + text.size();
}

// The line without its sum.
std::string anchor_text(const Anchor& anchor) {
  return "atlasflow-anchor 1 position=" + std::to_string(anchor.position.value()) +
         " chain=" + to_hex(bytes_of(anchor.chain)) +
         " epoch=" + std::to_string(anchor.epoch.value());
}

std::string anchor_line(const Anchor& anchor) {
  const std::string text = anchor_text(anchor);
  return text + " sum=" + sha256_hex(text).substr(0, 16) + "\n";
}

bool parse_hex(std::string_view hex, ChainHash& chain) {
  if (hex.size() != chain.size() * 2) return false;
  for (std::size_t i = 0; i < chain.size(); ++i) {
    const std::string_view byte = hex.substr(i * 2, 2);
    const auto [end, error] = std::from_chars(byte.data(), byte.data() + byte.size(), chain[i], 16);
    if (error != std::errc{} || end != byte.data() + byte.size()) return false;
  }
  return true;
}

std::optional<Anchor> parse_anchor(const std::string& line) {
  std::istringstream words(line);
  std::string name;
  std::string version;
  std::string position;
  std::string chain;
  std::string epoch;
  if (!(words >> name >> version >> position >> chain >> epoch)) return std::nullopt;
  if (!position.starts_with("position=") || !chain.starts_with("chain=") ||
      !epoch.starts_with("epoch=")) {
    return std::nullopt;
  }
  std::uint64_t position_number = 0;
  std::uint64_t epoch_number = 0;
  Anchor anchor;
  if (!parse_number(std::string_view(position).substr(9), position_number) ||
      !parse_number(std::string_view(epoch).substr(6), epoch_number) ||
      !parse_hex(std::string_view(chain).substr(6), anchor.chain)) {
    return std::nullopt;
  }
  anchor.position = Position(position_number);
  anchor.epoch = Epoch(epoch_number);
  // One comparison covers the name, the version, the sum and stray bytes.
  if (anchor_line(anchor) != line) return std::nullopt;
  return anchor;
}

// Makes the folder and its parents, and each one's entry in its parent durable.
rocksdb::Status make_folder(rocksdb::Env& env, const std::filesystem::path& folder) {
  if (env.FileExists(folder.string()).ok()) return rocksdb::Status::OK();
  const auto parent = folder.parent_path();
  if (!parent.empty() && parent != folder) {
    auto status = make_folder(env, parent);
    if (!status.ok()) return status;
  }
  auto status = env.CreateDirIfMissing(folder.string());
  if (status.ok() && !parent.empty()) status = sync_folder(env, parent);
  return status;
}

}  // namespace

std::filesystem::path anchor_path(const std::filesystem::path& folder) { return folder / "anchor"; }

Result<std::optional<Anchor>> read_anchor(rocksdb::Env& env, const std::filesystem::path& folder) {
  ATLAS_TRY(auto bytes, read_file(env, anchor_path(folder)));
  if (!bytes) return std::optional<Anchor>{};
  if (auto anchor = parse_anchor(*bytes)) return anchor;
  ATLAS_PROBE(true, "a damaged anchor was found");
  return fail(
      ErrorCode::corrupt,
      "the anchor " + anchor_path(folder).string() +
          " is damaged, so it cannot be told whether the event log is whole; restore it from "
          "a backup, or start with --accept-loss to take the log as it is");
}

Result<void> write_anchor(rocksdb::Env& env, const std::filesystem::path& folder,
                          const Anchor& anchor) {
  const auto line = anchor_line(anchor);
  // A start that cannot read it refuses the log: it is read here first.
  const auto again = parse_anchor(line);
  ATLAS_ASSERT(again && again->position == anchor.position && again->chain == anchor.chain &&
                   again->epoch == anchor.epoch,
               line);
  return replace_file(env, anchor_path(folder), line);
}

Result<void> check_folder_format(rocksdb::Env& env, const std::filesystem::path& folder) {
  ATLAS_TRY(auto bytes, read_file(env, format_path(folder)));
  if (!bytes) {
    return fail(ErrorCode::not_found, "there is no event log in " + folder.string() +
                                          "; check the data folder, or start the server once");
  }
  std::istringstream words(*bytes);
  std::string name;
  int version = 0;
  if (!(words >> name >> version) || name != k_format_name || version < 1) {
    return fail(ErrorCode::corrupt, format_path(folder).string() +
                                        " is not the mark of an event log; check the data folder");
  }
  if (version > k_folder_format) {
    return fail(ErrorCode::corrupt,
                "the event log in " + folder.string() + " has format " + std::to_string(version) +
                    ", made by a newer version of Atlasflow; this one reads up to format " +
                    std::to_string(k_folder_format) + ": start the newer version");
  }
  return {};
}

Result<void> prepare_folder(rocksdb::Env& env, const std::filesystem::path& folder) {
  if (const auto status = make_folder(env, folder); !status.ok()) {
    return fail(ErrorCode::internal,
                "cannot make the folder " + folder.string() + "; check its owner and permissions",
                status.ToString());
  }
  auto checked = check_folder_format(env, folder);
  if (checked || checked.error().code != ErrorCode::not_found) return checked;
  if (env.FileExists((folder / "db" / "CURRENT").string()).ok()) {
    return fail(ErrorCode::corrupt, format_path(folder).string() +
                                        " is missing beside a database; restore it from a backup");
  }
  return replace_file(env, format_path(folder),
                      std::string(k_format_name) + " " + std::to_string(k_folder_format) + "\n");
}

}  // namespace atlasflow::storage
