// The files of a repository that detection reads: as text, as TOML and JSON, by line, with errors
// that name the file, the line and the reason. Pure; any thread.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "base/error.hpp"
#include "builder/stack/source_tree.hpp"

namespace atlasflow::builder {

inline constexpr std::size_t k_source_text_bytes_max = 1U << 20U;

// nullopt: there is no such file. user_error: it is larger than 1 MiB, or a merge was left in it
// half done (a line that begins with <<<<<<<).
[[nodiscard]] Result<std::optional<std::string>> read_text(const SourceTree& tree,
                                                           const std::string& name);
// The same, or nothing on any failure: for a file that only may say something.
[[nodiscard]] std::string text_or_nothing(const SourceTree& tree, const std::string& name);

// As JSON, whose types are TOML's but for dates, which are left out. `shown` is for the message.
[[nodiscard]] Result<nlohmann::json> parse_toml(const std::string& text, const std::string& shown);
// null: there is no such file.
[[nodiscard]] Result<nlohmann::json> read_toml(const SourceTree& tree, const std::string& name);

// What is at a path of keys, as text; empty when it is not there or is no text.
[[nodiscard]] std::string text_at(const nlohmann::json& object,
                                  const std::vector<std::string>& keys);
// The object there; null when there is none.
[[nodiscard]] nlohmann::json object_at(const nlohmann::json& object,
                                       const std::vector<std::string>& keys);

// Without the line break, without white space at both ends.
[[nodiscard]] std::vector<std::string> lines_of(std::string_view text);
[[nodiscard]] std::string trimmed(std::string_view text);

// The group of the first match of an ECMAScript pattern in the first 64 KiB; empty without one.
[[nodiscard]] std::string first_match(const std::string& text, const std::string& pattern);

// The group of the first match in each line that has one.
[[nodiscard]] std::vector<std::string> matches_by_line(const std::string& text,
                                                       const std::string& pattern);

// Words of letters, digits, '.', '_', '-' and '/': safe to stand in a Dockerfile's command as they
// are. What a stranger's file names goes into a command only when this is true.
[[nodiscard]] bool is_plain_word(std::string_view word);

}  // namespace atlasflow::builder
