#include "backup/event_line.hpp"

#include "base/base64.hpp"
#include "base/digest.hpp"
#include "base/json_depth.hpp"
#include "base/rfc3339.hpp"
#include "inspect/json.hpp"
#include "storage/readmodel/catalog.hpp"

namespace atlasflow::backup {
namespace {

using inspect::Json;

constexpr int k_depth_max = 64;  // of a line's objects and arrays in each other
constexpr std::size_t k_chain_bytes = std::tuple_size_v<storage::ChainHash>;

// Positions are strings: CloudEvents' integers have 32 bits, and so have those of many readers.
Json json_of(const storage::Record& record, std::string_view stored, const std::string& source) {
  const auto envelope = stored.substr(0, stored.size() - k_chain_bytes);
  return {{"specversion", "1.0"},
          {"id", record.event_id},
          {"source", source},
          {"type", "atlasflow." + storage::event_name(record.event)},
          {"subject", record.stream.str()},
          {"time", rfc3339(record.recorded_at)},
          {"position", std::to_string(record.position.value())},
          {"streamversion", std::to_string(record.stream_version.value())},
          {"causationposition", std::to_string(record.causation_position.value())},
          {"correlationid", record.correlation_id},
          {"actor", record.actor},
          {"build", record.build_id},
          {"datacontenttype", "application/json"},
          {"data", inspect::data_of(record.event)},
          {"chain", to_hex(bytes_of(record.chain))},
          {"record", base64(envelope)}};
}

// Ids from outside need not be UTF-8; JSON must be, and `record` has them as they are.
std::string text_of(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

Result<std::string> string_in(const Json& json, const char* name) {
  if (json.contains(name) && json[name].is_string()) return json[name].get<std::string>();
  return fail(ErrorCode::invalid_argument,
              std::string("it has no \"") + name + "\", so it is no line of atlasflow log export");
}

Result<Json> parsed(std::string_view line) {
  // Nlohmann compares and prints by recursion.
  if (nests_deeper_than(line, k_depth_max)) {
    return fail(ErrorCode::invalid_argument,
                "it is nested deeper than " + std::to_string(k_depth_max) +
                    " levels, so it is no line of atlasflow log export");
  }
  auto json = Json::parse(line, nullptr, false);
  if (json.is_object()) return json;
  return fail(ErrorCode::invalid_argument, "it is no JSON object, or only a part of one");
}

}  // namespace

std::string source_of(const storage::ChainHash& first) {
  constexpr std::size_t k_digits = 16;
  return "/atlasflow/log/" + to_hex(bytes_of(first)).substr(0, k_digits);
}

std::string event_line(const storage::Record& record, std::string_view stored,
                       const std::string& source) {
  return text_of(json_of(record, stored, source)) + "\n";
}

Result<std::string> stored_in(std::string_view line) {
  ATLAS_TRY(const auto json, parsed(line));
  ATLAS_TRY(const auto version, string_in(json, "specversion"));
  if (version != "1.0") {
    return fail(ErrorCode::invalid_argument,
                "it is of CloudEvents version " + version + "; this reads 1.0");
  }
  ATLAS_TRY(const auto record, string_in(json, "record"));
  ATLAS_TRY(const auto chain, string_in(json, "chain"));
  auto stored = from_base64(record);
  if (!stored || stored->empty()) {
    return fail(ErrorCode::invalid_argument, "its \"record\" is not Base64");
  }
  const auto hash = digest_of_hex(chain);
  if (!hash) {
    return fail(ErrorCode::invalid_argument, "its \"chain\" is not 64 lower-case hex digits");
  }
  *stored += bytes_of(*hash);
  return *std::move(stored);
}

Result<void> compare_line(std::string_view line, const storage::Record& record,
                          std::string_view stored, const std::string& source) {
  // As it was written, which nearly every line is, and is told without parsing it.
  auto written = event_line(record, stored, source);
  written.pop_back();
  if (line == written) return {};
  ATLAS_TRY(const auto json, parsed(line));
  // Through the same text, so that what is no UTF-8 compares as it was written.
  const auto expected = Json::parse(written);
  for (const auto& [name, value] : json.items()) {
    // Nlohmann's ordered objects are equal only in the same order; a tool may have sorted them.
    if (!expected.contains(name) ||
        nlohmann::json::parse(value.dump()) != nlohmann::json::parse(expected[name].dump())) {
      return fail(ErrorCode::invalid_argument,
                  "its \"" + name +
                      "\" is not what its record says. Events can't be changed: import what was "
                      "exported, or leave that member out");
    }
  }
  return {};
}

}  // namespace atlasflow::backup
