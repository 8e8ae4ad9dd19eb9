#include "backup/manifest.hpp"

#include <algorithm>
#include <stdexcept>

#include <nlohmann/json.hpp>

#include "backup/state_files.hpp"
#include "backup/state_folder.hpp"
#include "base/digest.hpp"
#include "base/rfc3339.hpp"
#include "inspect/json.hpp"

namespace atlasflow::backup {
namespace {

using inspect::Json;

Json json_of(const Object& object) { return {{"sha256", object.sha256}, {"bytes", object.bytes}}; }

bool is_sha256(const std::string& text) {
  return text.size() == 64 && text.find_first_not_of("0123456789abcdef") == std::string::npos;
}

// Throws what nlohmann throws; parse_manifest() turns that into an error.
Object object_in(const Json& json) {
  Object object{json.at("sha256").get<std::string>(), json.at("bytes").get<std::uint64_t>()};
  if (!is_sha256(object.sha256)) throw std::runtime_error("an object has no SHA-256 for a name");
  return object;
}

SavedFile file_in(const Json& json) {
  SavedFile file;
  file.path = json.at("path").get<std::string>();
  file.mode = json.at("mode").get<std::uint32_t>();
  file.size = json.at("size").get<std::uint64_t>();
  file.hole = json.at("hole").get<std::uint64_t>();
  file.mtime_ns = json.at("mtime_ns").get<std::int64_t>();
  file.object = object_in(json);
  if (!belongs_to_backup(file.path)) {
    throw std::runtime_error("'" + file.path + "' is no path of a state folder");
  }
  if (file.hole > file.size || file.object.bytes != file.size - file.hole) {
    throw std::runtime_error("the sizes of '" + file.path + "' do not fit each other");
  }
  return file;
}

Manifest manifest_in(const Json& json) {
  Manifest manifest;
  manifest.number = json.at("number").get<std::uint64_t>();
  manifest.made_at = json.at("made_at_us").get<TimestampUs>();
  manifest.build = json.at("build").get<std::string>();
  manifest.layout = json.at("layout").get<int>();
  if (manifest.layout < 1 || manifest.layout > k_state_layout) {
    throw std::runtime_error("it is of a layout of state folders that this version does not know");
  }
  manifest.position = Position(json.at("position").get<std::uint64_t>());
  manifest.chain = json.at("chain").get<std::string>();
  manifest.epoch = Epoch(json.at("epoch").get<std::uint64_t>());
  manifest.state = json.at("state").get<std::string>();
  manifest.keys = json.at("keys").get<bool>();
  manifest.key_digest = json.at("key_digest").get<std::string>();
  Position last;
  for (const auto& each : json.at("log")) {
    LogSegment segment;
    segment.first = Position(each.at("first").get<std::uint64_t>());
    segment.last = Position(each.at("last").get<std::uint64_t>());
    segment.chain = each.at("chain").get<std::string>();
    segment.object = object_in(each);
    if (segment.first != last.next() || segment.last < segment.first) {
      throw std::runtime_error("its log has a gap");
    }
    last = segment.last;
    manifest.log.push_back(std::move(segment));
  }
  if (last != manifest.position || manifest.log.empty() ||
      manifest.log.back().chain != manifest.chain) {
    throw std::runtime_error("its log does not end where it says");
  }
  for (const auto& each : json.at("files")) manifest.files.push_back(file_in(each));
  return manifest;
}

}  // namespace

std::string text_of(const Manifest& manifest) {
  auto log = Json::array();
  for (const auto& segment : manifest.log) {
    auto json = Json{
        {"first", segment.first.value()}, {"last", segment.last.value()}, {"chain", segment.chain}};
    json.update(json_of(segment.object));
    log.push_back(std::move(json));
  }
  auto files = Json::array();
  for (const auto& file : manifest.files) {
    auto json = Json{{"path", file.path},
                     {"mode", file.mode},
                     {"size", file.size},
                     {"hole", file.hole},
                     {"mtime_ns", file.mtime_ns}};
    json.update(json_of(file.object));
    files.push_back(std::move(json));
  }
  const auto json = Json{{"format", k_backup_format},
                         {"number", manifest.number},
                         {"made_at", rfc3339(manifest.made_at)},
                         {"made_at_us", manifest.made_at},
                         {"build", manifest.build},
                         {"layout", manifest.layout},
                         {"position", manifest.position.value()},
                         {"chain", manifest.chain},
                         {"epoch", manifest.epoch.value()},
                         {"state", manifest.state},
                         {"keys", manifest.keys},
                         {"key_digest", manifest.key_digest},
                         {"log", std::move(log)},
                         {"files", std::move(files)}};
  // A file's name need not be UTF-8; such a one would come back under another name, so it is
  // refused before (state_files.cpp).
  return json.dump(1) + "\n";
}

Result<Manifest> parse_manifest(const std::string& text, const std::filesystem::path& file) {
  const auto json = Json::parse(text, nullptr, false);
  if (json.is_object() && json.contains("format") && json["format"].is_number_integer() &&
      json["format"].get<int>() > k_backup_format) {
    const auto build = json.contains("build") && json["build"].is_string()
                           ? json["build"].get<std::string>()
                           : "unknown";
    return fail(ErrorCode::corrupt,
                "the backup " + file.string() +
                    " was made by a newer version of Atlasflow (build " + build + ", format " +
                    std::to_string(json["format"].get<int>()) + ", this one reads up to " +
                    std::to_string(k_backup_format) + "); use that version or a later one");
  }
  try {
    return manifest_in(json);
  } catch (const std::exception& error) {
    return fail(ErrorCode::corrupt,
                "the backup is damaged: " + file.string() + " is not what was written",
                error.what());
  }
}

std::string manifest_name(std::uint64_t number, const std::string& text) {
  constexpr std::size_t k_digits = 6;
  constexpr std::size_t k_digest_digits = 16;
  auto digits = std::to_string(number);
  if (digits.size() < k_digits) digits.insert(0, k_digits - digits.size(), '0');
  return digits + "-" + sha256_hex(text).substr(0, k_digest_digits) + ".json";
}

}  // namespace atlasflow::backup
