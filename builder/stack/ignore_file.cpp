#include "builder/stack/ignore_file.hpp"

#include <algorithm>
#include <filesystem>

#include "builder/copy_parents/pattern.hpp"

namespace atlasflow::builder {
namespace {

constexpr std::string_view k_byte_order_mark = "\xEF\xBB\xBF";

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view k_spaces = " \t\n\v\f\r";
  const auto start = text.find_first_not_of(k_spaces);
  if (start == std::string_view::npos) return {};
  return text.substr(start, text.find_last_not_of(k_spaces) - start + 1);
}

// Without "." and "..", doubled slashes and slashes at the ends: a path from the context's root.
// Empty: it means nothing in it, as what begins above the root does.
std::string plain_path(std::string_view pattern) {
  auto path = std::filesystem::path(pattern).lexically_normal().generic_string();
  while (path.starts_with('/')) path.erase(0, 1);
  while (path.ends_with('/')) path.pop_back();
  return path == ".." || path.starts_with("../") ? std::string() : path;
}

}  // namespace

Result<std::string> plain_ignore_file(std::string_view text, const std::string& name) {
  if (text.starts_with(k_byte_order_mark)) text.remove_prefix(k_byte_order_mark.size());
  std::string plain;
  for (int number = 1; !text.empty(); ++number) {
    const auto end = std::min(text.find('\n'), text.size());
    const auto line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.starts_with('#')) continue;
    auto pattern = trimmed(line);
    if (pattern.empty()) continue;
    const bool takes_in = pattern.front() == '!';
    if (takes_in) pattern = trimmed(pattern.substr(1));
    if (pattern.empty() || !copy_parents::Pattern::read(pattern)) {
      return fail(ErrorCode::user_error, name + ", line " + std::to_string(number) + ": '" +
                                             std::string(trimmed(line).substr(0, 100)) +
                                             "' is no pattern: behind ! comes a path, [ needs its "
                                             "] behind letters or ranges like a-z, and \\ a "
                                             "character behind it");
    }
    const auto path = plain_path(pattern);
    if (path.empty() || path == ".") continue;  // The context itself is always there.
    plain += takes_in ? "!" : "";
    plain += path.front() == '#' && !takes_in ? "\\" : "";  // It would look like a comment.
    plain += path + "\n";
  }
  return plain;
}

}  // namespace atlasflow::builder
