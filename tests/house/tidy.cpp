#include "tests/house/tidy.hpp"

#include <algorithm>
#include <array>
#include <cctype>
#include <optional>
#include <span>

// Long because: each rule is a few lines, and a rule in another file is one that is not found.
namespace atlasflow::house {
namespace {

constexpr std::size_t k_columns_max = 100;
constexpr std::size_t k_lines_max = 500;

// docs/architecture.md's folder list: what a folder may include from the others.
struct FolderRule {
  std::string_view folder;
  std::string_view may_include;  // separated by spaces
};
constexpr std::array k_folders = {
    FolderRule{"base", "base"},
    FolderRule{"http", "http base"},
    FolderRule{"events", "events base"},
    FolderRule{"github", "github base"},
    FolderRule{"receive", "receive base"},
    FolderRule{"storage", "storage events base"},
    FolderRule{"edge", "edge http events base"},
    FolderRule{"vmm", "vmm http events base"},
    FolderRule{"builder", "builder http events base"},
    FolderRule{"domains", "domains storage http events base"},
    FolderRule{"inspect", "inspect storage events base"},
    FolderRule{"backup", "backup inspect storage events base"},
    FolderRule{"actors", "actors storage events base"},
    FolderRule{"api", "api actors edge github receive http storage events base"},
    FolderRule{"sim", "sim api actors edge http storage events base"},
    FolderRule{
        "server",
        "server backup api actors domains builder vmm edge github receive http storage events "
        "base"},
    FolderRule{
        "cli",
        "cli server sim backup inspect api actors domains builder vmm edge github receive http "
        "storage events base"},
};

// Libraries that only some folders may know. The prefix is of the name between < and >.
struct LibraryRule {
  std::string_view prefix;
  std::string_view folders;
};
constexpr std::array k_libraries = {
    LibraryRule{"caf/", "actors sim server cli"},
    LibraryRule{"rocksdb/", "storage sim"},
    LibraryRule{"curl/", "base"},
    LibraryRule{"git2", "builder"},
    LibraryRule{"llhttp", "http"},
    LibraryRule{"nghttp2/", "edge"},
    LibraryRule{"ares", "domains"},
    LibraryRule{"idn2", "domains"},
    LibraryRule{"libpsl", "domains"},
    LibraryRule{"CLI/", "cli"},
    LibraryRule{"toml++/", "builder sim server"},
};

// events/ is pure: no clock, randomness, I/O, float, nor an order that differs between two runs.
constexpr std::array<std::string_view, 26> k_impure_words = {
    "system_clock",  "steady_clock",  "high_resolution_clock",
    "clock_gettime", "gettimeofday",  "localtime",
    "gmtime",        "random_device", "mt19937",
    "mt19937_64",    "srand",         "getrandom",
    "getenv",        "secure_getenv", "fopen",
    "ifstream",      "ofstream",      "fstream",
    "filesystem",    "unordered_map", "unordered_set",
    "float",         "double",        "thread",
    "mutex",         "socket"};
constexpr std::array<std::string_view, 13> k_impure_headers = {"chrono",
                                                               "random",
                                                               "filesystem",
                                                               "fstream",
                                                               "thread",
                                                               "mutex",
                                                               "future",
                                                               "atomic",
                                                               "unordered_map",
                                                               "unordered_set",
                                                               "ctime",
                                                               "cmath",
                                                               "condition_variable"};

// What events/ may include of base/: the rest of it reads files, clocks and processes.
constexpr std::array<std::string_view, 4> k_base_of_events = {
    "base/assert.hpp", "base/duration.hpp", "base/error.hpp", "base/probe.hpp"};

constexpr std::array<std::string_view, 6> k_empty_suffixes = {"Manager", "Helper", "Helpers",
                                                              "Util",    "Utils",  "Info"};

bool is_word_char(char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_'; }

bool is_cpp(std::string_view path) { return path.ends_with(".cpp") || path.ends_with(".hpp"); }

std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  while (true) {
    const auto end = text.find(separator);
    parts.push_back(text.substr(0, end));
    if (end == std::string_view::npos) return parts;
    text.remove_prefix(end + 1);
  }
}

bool lists(std::string_view list, std::string_view word) {
  return std::ranges::any_of(split(list, ' '), [&](auto each) { return each == word; });
}

std::string_view trim_left(std::string_view text) {
  const auto begin = text.find_first_not_of(" \t");
  return begin == std::string_view::npos ? std::string_view{} : text.substr(begin);
}

// Where the word stands by itself in the line, from the position on.
std::size_t find_word(std::string_view line, std::string_view word, std::size_t from = 0) {
  for (auto at = line.find(word, from); at != std::string_view::npos;
       at = line.find(word, at + 1)) {
    const auto end = at + word.size();
    const bool starts = at == 0 || !is_word_char(line[at - 1]);
    const bool ends = end == line.size() || !is_word_char(line[end]);
    if (starts && ends) return at;
  }
  return std::string_view::npos;
}

bool has_word(std::string_view line, std::string_view word) {
  return find_word(line, word) != std::string_view::npos;
}

// Code points, not bytes: an arrow in a comment is one column.
std::size_t columns(std::string_view line) {
  return static_cast<std::size_t>(std::ranges::count_if(
      line, [](char c) { return (static_cast<unsigned char>(c) & 0xC0U) != 0x80U; }));
}

// Of "tests/storage/x.cpp" storage's rules count; end-to-end tests and benchmarks use everything.
std::string_view ruling_folder(std::string_view path) {
  const auto parts = split(path, '/');
  if (parts.size() >= 3 && parts[0] == "tests") return parts[1];
  return parts[0];
}

std::optional<std::string_view> allowed_includes(std::string_view folder) {
  for (const auto& rule : k_folders) {
    if (rule.folder == folder) return rule.may_include;
  }
  return std::nullopt;
}

struct Include {
  std::string_view name;
  bool quoted = false;
};

std::optional<Include> parse_include(std::string_view line) {
  line = trim_left(line);
  if (!line.starts_with('#')) return std::nullopt;
  line = trim_left(line.substr(1));
  if (!line.starts_with("include")) return std::nullopt;
  line = trim_left(line.substr(7));
  if (line.empty() || (line[0] != '"' && line[0] != '<')) return std::nullopt;
  const bool quoted = line[0] == '"';
  const auto end = line.find(quoted ? '"' : '>', 1);
  if (end == std::string_view::npos) return std::nullopt;
  return Include{line.substr(1, end - 1), quoted};
}

// One file on its way through the rules.
class Check {
 public:
  explicit Check(const SourceFile& file)
      : file_(file),
        code_(code_only(file.text)),
        lines_(split(file.text, '\n')),
        code_lines_(split(code_, '\n')),
        folder_(ruling_folder(file.path)) {}

  std::vector<Finding> run() && {
    layout();
    marks();
    if (is_cpp(file_.path)) {
      header_guard();
      includes();
      ownership();
      names();
      log_lines();
    }
    if (file_.path.starts_with("events/")) purity();
    return std::move(findings_);
  }

 private:
  void add(std::size_t index, std::string message) {
    findings_.push_back({file_.path, index + 1, std::move(message)});
  }

  void layout() {
    for (std::size_t i = 0; i < lines_.size(); ++i) {
      const auto width = columns(lines_[i]);
      if (width > k_columns_max) add(i, std::to_string(width) + " columns, 100 are the limit");
      if (lines_[i].ends_with(' ')) add(i, "space at the end of the line");
      if (lines_[i].find('\t') != std::string_view::npos) add(i, "tab");
    }
    // A text that ends in a line break, as it should, splits into one empty line more.
    const auto count = lines_.size() - (file_.text.ends_with('\n') ? 1 : 0);
    const bool excused = std::ranges::any_of(
        lines_, [](auto line) { return trim_left(line).starts_with("// Long because: "); });
    if (count > k_lines_max && !excused) {
      findings_.push_back(
          {file_.path, 0,
           std::to_string(count) +
               " lines: split it by noun, or say why in a line \"// Long because: …\""});
    }
  }

  // The words are put together here so that this file does not hold them.
  void marks() {
    static const std::array<std::string, 2> words = {std::string("TO") + "DO",
                                                     std::string("FIX") + "ME"};
    for (std::size_t i = 0; i < lines_.size(); ++i) {
      for (const auto& word : words) {
        if (has_word(lines_[i], word)) add(i, word + ": finish it or write an issue");
      }
    }
  }

  void header_guard() {
    if (!file_.path.ends_with(".hpp")) return;
    const auto first =
        std::ranges::find_if(code_lines_, [](auto line) { return !trim_left(line).empty(); });
    if (first == code_lines_.end() || !first->starts_with("#pragma once")) {
      add(0, "a header's first line after its opening comment is #pragma once");
    }
    if (!file_.text.starts_with("//")) {
      add(0,
          "a header opens with a paragraph: what this is, who owns it, which thread may call it");
    }
  }

  void includes() {
    for (std::size_t i = 0; i < lines_.size(); ++i) {
      // Literals are blanked in the code, so the name comes from the line as it was written.
      if (!trim_left(code_lines_[i]).starts_with('#')) continue;
      const auto include = parse_include(lines_[i]);
      if (!include) continue;
      if (include->quoted) {
        own_include(i, include->name);
      } else {
        library_include(i, include->name);
      }
    }
  }

  void own_include(std::size_t i, std::string_view name) {
    const auto slash = name.find('/');
    if (slash == std::string_view::npos || name.starts_with('.')) {
      add(i, "include from the repository's root: \"folder/file.hpp\"");
      return;
    }
    const auto target = name.substr(0, slash);
    const bool in_tests = file_.path.starts_with("tests/");
    if ((target == "tests" || target == "sim") && in_tests) return;
    const auto allowed = allowed_includes(folder_);
    if (allowed && !lists(*allowed, target)) {
      add(i, std::string(folder_) + "/ may not use " + std::string(target) +
                 "/ (the folder list of docs/architecture.md)");
    }
    if (target == "base" && file_.path.starts_with("events/") &&
        std::ranges::find(k_base_of_events, name) == k_base_of_events.end()) {
      add(i, "events/ is pure: of base/ it uses assert, duration, error and probe only");
    }
    if (target == "tests" && !in_tests && folder_ != "bench") {
      add(i, "only tests and benchmarks may use tests/");
    }
  }

  void library_include(std::size_t i, std::string_view name) {
    for (const auto& rule : k_libraries) {
      if (!name.starts_with(rule.prefix) || !allowed_includes(folder_)) continue;
      if (!lists(rule.folders, folder_)) {
        add(i, "<" + std::string(name) + "> belongs to " + std::string(rule.folders) + " only");
      }
    }
    if (!file_.path.starts_with("events/")) return;
    const bool known_library = name.starts_with("tl/") || name.starts_with("google/protobuf/");
    const bool standard = name.find('/') == std::string_view::npos && !name.ends_with(".h");
    if (!known_library && !standard) {
      add(i, "events/ uses Protobuf, tl::expected and the standard library only");
    }
    if (std::ranges::find(k_impure_headers, name) != k_impure_headers.end()) {
      add(i, "events/ is pure: no <" + std::string(name) + ">");
    }
  }

  void ownership() {
    for (std::size_t i = 0; i < code_lines_.size(); ++i) {
      const auto line = code_lines_[i];
      if (trim_left(line).starts_with('#')) continue;
      if (line.find(".detach()") != std::string_view::npos ||
          line.find("->detach()") != std::string_view::npos) {
        add(i, "no detached std::thread: join it, std::jthread does");
      }
      if (excused_allocation(i)) continue;
      if (naked_new(line)) add(i, "naked new: std::make_unique, or \"// New because: …\"");
      if (naked_delete(line)) add(i, "naked delete: give the object an owner");
    }
  }

  // The one excuse, on the line or the one before: a library takes ownership of the pointer.
  [[nodiscard]] bool excused_allocation(std::size_t i) const {
    constexpr std::string_view k_excuse = "// New because: ";
    return lines_[i].find(k_excuse) != std::string_view::npos ||
           (i > 0 && lines_[i - 1].find(k_excuse) != std::string_view::npos);
  }

  // What goes straight into a smart pointer has an owner: make_unique reaches no private one.
  static bool naked_new(std::string_view line) {
    const auto at = find_word(line, "new");
    if (at == std::string_view::npos) return false;
    const auto before = line.substr(0, at);
    return before.find("_ptr<") == std::string_view::npos && !before.ends_with(".reset(");
  }

  // "= delete" and "operator delete" are declarations.
  static bool naked_delete(std::string_view line) {
    const auto at = find_word(line, "delete");
    if (at == std::string_view::npos) return false;
    const auto before = line.substr(0, at);
    const auto last = before.find_last_not_of(' ');
    return last == std::string_view::npos ||
           (before[last] != '=' && !before.substr(0, last + 1).ends_with("operator"));
  }

  void names() {
    for (std::size_t i = 0; i < code_lines_.size(); ++i) {
      const auto line = code_lines_[i];
      for (const std::string_view keyword : {"class", "struct"}) {
        auto at = find_word(line, keyword);
        if (at == std::string_view::npos) continue;
        auto name = trim_left(line.substr(at + keyword.size()));
        name = name.substr(0, static_cast<std::size_t>(
                                  std::ranges::find_if_not(name, is_word_char) - name.begin()));
        for (const auto suffix : k_empty_suffixes) {
          if (name.ends_with(suffix)) {
            add(i, "the name " + std::string(name) + " says nothing: use the field's noun");
          }
        }
      }
    }
  }

  // A line that is put together by a format can be ended, or its value, by what is put in.
  void log_lines() {
    const bool may = file_.path == "base/log.cpp" || file_.path.starts_with("tests/") ||
                     file_.path.starts_with("bench/");
    for (std::size_t i = 0; i < code_lines_.size() && !may; ++i) {
      for (const auto* call : {"log(", "debug(", "info(", "warn(", "error(", "critical("}) {
        if (code_lines_[i].find(std::string("spdlog::") + call) == std::string_view::npos) continue;
        add(i, "log lines are written by log_event (base/log.hpp), which escapes their values");
      }
    }
  }

  void purity() {
    for (std::size_t i = 0; i < code_lines_.size(); ++i) {
      const auto line = code_lines_[i];
      if (trim_left(line).starts_with("#")) continue;
      for (const auto word : k_impure_words) {
        if (has_word(line, word)) add(i, "events/ is pure: no " + std::string(word));
      }
      if (file_.path.ends_with(".proto") && line.find("map<") != std::string_view::npos) {
        add(i, "no map in a message: its order on the wire is not defined");
      }
    }
  }

  const SourceFile& file_;
  std::string code_;
  std::vector<std::string_view> lines_;
  std::vector<std::string_view> code_lines_;
  std::string_view folder_;
  std::vector<Finding> findings_;
};

// Walks C++ text and remembers whether it stands in code, a comment or a literal.
class Blanker {
 public:
  explicit Blanker(std::string_view text) : in_(text), out_(text) {}

  std::string run() && {
    while (at_ < in_.size()) step();
    return std::move(out_);
  }

 private:
  void step() {
    if (starts("//")) {
      blank_until(in_.find('\n', at_));
    } else if (starts("/*")) {
      const auto end = in_.find("*/", at_ + 2);
      blank_until(end == std::string_view::npos ? end : end + 2);
    } else if (starts("R\"") && (at_ == 0 || !is_word_char(in_[at_ - 1]))) {
      raw_string();
    } else if (in_[at_] == '"') {
      literal('"');
    } else if (in_[at_] == '\'' && !digit_separator()) {
      literal('\'');
    } else {
      ++at_;
    }
  }

  [[nodiscard]] bool starts(std::string_view prefix) const {
    return in_.substr(at_).starts_with(prefix);
  }

  // In 1'000 the quote opens no character.
  [[nodiscard]] bool digit_separator() const {
    return at_ > 0 && std::isxdigit(static_cast<unsigned char>(in_[at_ - 1])) != 0;
  }

  void blank_until(std::size_t end) {
    end = std::min(end, in_.size());
    for (; at_ < end; ++at_) {
      if (in_[at_] != '\n') out_[at_] = ' ';
    }
  }

  void raw_string() {
    const auto open = in_.find('(', at_);
    if (open == std::string_view::npos) return blank_until(open);
    const auto close = ")" + std::string(in_.substr(at_ + 2, open - at_ - 2)) + "\"";
    const auto end = in_.find(close, open);
    blank_until(end == std::string_view::npos ? end : end + close.size());
  }

  // Ends at the line's end at the latest: an apostrophe in a .proto or a macro must not eat the
  // file.
  void literal(char quote) {
    auto end = at_ + 1;
    while (end < in_.size() && in_[end] != quote && in_[end] != '\n')
      end += in_[end] == '\\' ? 2 : 1;
    blank_until(end + 1 <= in_.size() && end < in_.size() && in_[end] == quote ? end + 1 : end);
  }

  std::string_view in_;
  std::string out_;
  std::size_t at_ = 0;
};

// File names between backticks, "`ids.hpp`".
std::vector<std::string_view> quoted_file_names(std::string_view line) {
  std::vector<std::string_view> names;
  const auto parts = split(line, '`');
  for (std::size_t i = 1; i + 1 < parts.size(); i += 2) {
    const auto name = parts[i];
    const bool file = is_cpp(name) || name.ends_with(".proto");
    if (file && std::ranges::all_of(name, [](char c) { return is_word_char(c) || c == '.'; })) {
      names.push_back(name);
    }
  }
  return names;
}

}  // namespace

std::string code_only(std::string_view text) { return Blanker(text).run(); }

std::vector<Finding> check(const SourceFile& file) { return Check(file).run(); }

std::vector<Finding> check_readme(const SourceFile& readme, const std::vector<std::string>& files) {
  std::vector<Finding> findings;
  const auto lines = split(readme.text, '\n');
  const bool table =
      std::ranges::any_of(lines, [](auto line) { return line.starts_with("|--"); }) ||
      std::ranges::any_of(lines, [](auto line) { return line.starts_with("| --"); });
  if (!table) {
    findings.push_back({readme.path, 0, "no table of what lives in the folder"});
  }
  for (std::size_t i = 0; i < lines.size(); ++i) {
    for (const auto name : quoted_file_names(lines[i])) {
      if (std::ranges::find(files, name) == files.end()) {
        findings.push_back({readme.path, i + 1, "there is no file " + std::string(name) + " here"});
      }
    }
  }
  return findings;
}

std::string to_string(const std::vector<Finding>& findings) {
  std::string text;
  for (const auto& finding : findings) {
    text += finding.path + ":" + std::to_string(finding.line) + ": " + finding.message + "\n";
  }
  return text;
}

}  // namespace atlasflow::house
