#include "backup/event_line.hpp"

#include <openssl/evp.h>

#include "base/digest.hpp"
#include "base/rfc3339.hpp"
#include "inspect/json.hpp"
#include "storage/readmodel/catalog.hpp"

namespace atlasflow::backup {
namespace {

using inspect::Json;

constexpr std::size_t k_chain_bytes = std::tuple_size_v<storage::ChainHash>;

std::string base64(std::string_view bytes) {
  std::string text(4 * ((bytes.size() + 2) / 3) + 1, '\0');  // the call writes a NUL behind it
  EVP_EncodeBlock(reinterpret_cast<unsigned char*>(text.data()),
                  reinterpret_cast<const unsigned char*>(bytes.data()),
                  static_cast<int>(bytes.size()));
  text.pop_back();
  return text;
}

// Nothing but what base64() gives is taken; OpenSSL takes more.
Result<std::string> bytes_of_base64(const std::string& text) {
  std::string bytes(text.size(), '\0');
  const int size = text.empty()
                       ? -1
                       : EVP_DecodeBlock(reinterpret_cast<unsigned char*>(bytes.data()),
                                         reinterpret_cast<const unsigned char*>(text.data()),
                                         static_cast<int>(text.size()));
  if (size < 0) return fail(ErrorCode::invalid_argument, "its \"record\" is not Base64");
  bytes.resize(static_cast<std::size_t>(size));
  // The bytes that padding stands for are counted by OpenSSL.
  for (std::size_t i = 0; i < 2 && text.size() > i && text[text.size() - 1 - i] == '='; ++i) {
    bytes.pop_back();
  }
  if (base64(bytes) != text)
    return fail(ErrorCode::invalid_argument, "its \"record\" is not Base64");
  return bytes;
}

// Lower-case, as to_hex() writes them.
Result<std::string> bytes_of_hex(const std::string& text) {
  constexpr std::string_view k_digits = "0123456789abcdef";
  std::string bytes;
  for (std::size_t i = 0; i + 1 < text.size(); i += 2) {
    const auto high = k_digits.find(text[i]);
    const auto low = k_digits.find(text[i + 1]);
    if (high == std::string_view::npos || low == std::string_view::npos) break;
    bytes.push_back(static_cast<char>(high << 4U | low));
  }
  if (bytes.size() == k_chain_bytes && text.size() == 2 * k_chain_bytes) return bytes;
  return fail(ErrorCode::invalid_argument, "its \"chain\" is not 64 lower-case hex digits");
}

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
  ATLAS_TRY(auto stored, bytes_of_base64(record));
  ATLAS_TRY(const auto hash, bytes_of_hex(chain));
  stored += hash;
  return stored;
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
