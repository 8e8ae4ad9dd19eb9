#include "cli/log_tail.hpp"

#include <algorithm>
#include <map>
#include <vector>

#include "cli/format.hpp"

namespace atlasflow::cli {
namespace {

constexpr char k_escape = '\x1b';
// As often a line may come before it is taken for one that repeats.
constexpr int k_repeats_max = 3;

bool is_digit(char c) { return c >= '0' && c <= '9'; }

// Behind the sequence that begins at `at`: ESC [ … final, ESC ] … BEL or ESC \, or ESC and one
// more.
std::size_t end_of_escape(std::string_view text, std::size_t at) {
  if (at + 1 >= text.size()) return text.size();
  const char kind = text[at + 1];
  std::size_t i = at + 2;
  if (kind == '[') {
    while (i < text.size() && (text[i] < '@' || text[i] > '~')) ++i;
    return std::min(i + 1, text.size());
  }
  if (kind == ']') {
    while (i < text.size() && text[i] != '\a' && text[i] != k_escape) ++i;
    if (i < text.size() && text[i] == k_escape) ++i;
    return std::min(i + 1, text.size());
  }
  return i;
}

// As access logs have them, whatever their format.
bool tells_of_request(const std::string& line) {
  for (const char* const mark : {"GET ", "HEAD ", "HTTP/1."}) {
    if (line.find(mark) != std::string::npos) return true;
  }
  return false;
}

std::string without_numbers(const std::string& line) {
  std::string text;
  std::copy_if(line.begin(), line.end(), std::back_inserter(text),
               [](char c) { return !is_digit(c); });
  return text;
}

}  // namespace

std::string plain_line(std::string_view line) {
  while (line.ends_with('\r')) line.remove_suffix(1);
  if (const auto back = line.rfind('\r'); back != std::string_view::npos) {
    line.remove_prefix(back + 1);
  }
  std::string text;
  for (std::size_t i = 0; i < line.size();) {
    if (line[i] == k_escape) {
      i = end_of_escape(line, i);
    } else {
      text += line[i++];
    }
  }
  return printable(text);
}

std::string readable_tail(std::string_view log, std::size_t lines_max) {
  std::vector<std::string> lines;
  while (!log.empty()) {
    const auto end = std::min(log.find('\n'), log.size());
    lines.push_back(plain_line(log.substr(0, end)));
    log.remove_prefix(std::min(end + 1, log.size()));
  }
  std::map<std::string, int> counts;
  for (const auto& line : lines) ++counts[without_numbers(line)];
  std::map<std::string, int> seen;
  std::vector<std::string> kept;
  for (const auto& line : lines) {
    const auto form = without_numbers(line);
    const int count = counts[form];
    const bool repeats = count > k_repeats_max && tells_of_request(line);
    if (repeats && ++seen[form] < count) continue;
    kept.push_back(repeats ? line + "  (" + std::to_string(count) + " lines like this)" : line);
  }
  if (kept.size() > lines_max) {
    kept.erase(kept.begin(), kept.end() - static_cast<std::ptrdiff_t>(lines_max));
  }
  std::string text;
  for (const auto& line : kept) text += line + "\n";
  return text;
}

}  // namespace atlasflow::cli
