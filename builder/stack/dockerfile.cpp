#include "builder/stack/dockerfile.hpp"

#include <algorithm>
#include <cctype>
#include <map>
#include <optional>
#include <set>

namespace atlasflow::builder {
namespace {

using Variables = std::map<std::string, std::string, std::less<>>;

bool is_space(char c) { return c == ' ' || c == '\t' || c == '\r'; }
bool is_name_char(char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_'; }

std::string lower(std::string_view text) {
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return out;
}

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && is_space(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_space(text.back())) text.remove_suffix(1);
  return text;
}

// Instructions with their continuation lines joined, comments and empty lines taken out.
std::vector<std::string> instructions_of(std::string_view text) {
  std::vector<std::string> instructions;
  std::string current;
  bool continues = false;
  while (!text.empty()) {
    const auto end = std::min(text.find('\n'), text.size());
    std::string_view line = trimmed(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.empty() || line.front() == '#') continue;
    const bool more = line.back() == '\\' || line.back() == '`';
    if (more) line.remove_suffix(1);
    if (!continues) current.clear();
    current += line;
    current += ' ';
    continues = more;
    if (!more) instructions.push_back(current);
  }
  if (continues) instructions.push_back(current);
  return instructions;
}

std::vector<std::string> words_of(std::string_view text) {
  std::vector<std::string> words;
  std::string word;
  for (const char c : text) {
    if (is_space(c)) {
      if (!word.empty()) words.push_back(std::move(word));
      word.clear();
    } else if (c != '"' && c != '\'') {
      word += c;
    }
  }
  if (!word.empty()) words.push_back(std::move(word));
  return words;
}

// $NAME, ${NAME}, ${NAME:-default} and ${NAME:+other}; nullopt when a value is missing.
std::optional<std::string> expanded(std::string_view text, const Variables& variables) {
  std::string out;
  while (!text.empty()) {
    if (text.front() != '$') {
      out += text.front();
      text.remove_prefix(1);
      continue;
    }
    text.remove_prefix(1);
    const bool braces = !text.empty() && text.front() == '{';
    if (braces) text.remove_prefix(1);
    const auto name_end = static_cast<std::size_t>(
        std::find_if_not(text.begin(), text.end(), is_name_char) - text.begin());
    const auto found = variables.find(text.substr(0, name_end));
    std::optional<std::string> value;
    if (found != variables.end() && !found->second.empty()) value = found->second;
    text.remove_prefix(name_end);
    if (braces) {
      const auto close = text.find('}');
      if (close == std::string_view::npos) return std::nullopt;
      const std::string_view rule = text.substr(0, close);
      text.remove_prefix(close + 1);
      if (rule.starts_with(":-") && !value) value = std::string(rule.substr(2));
      if (rule.starts_with(":+")) value = value ? std::string(rule.substr(2)) : std::string{};
    }
    if (!value) return std::nullopt;
    out += *value;
  }
  return out;
}

class ImageNames {
 public:
  explicit ImageNames(const std::vector<std::pair<std::string, std::string>>& build_args)
      : build_args_(build_args.begin(), build_args.end()) {}

  void take(const std::string& instruction) {
    const auto words = words_of(instruction);
    if (words.empty()) return;
    const std::string verb = lower(words.front());
    if (verb == "arg" && !in_stage_) {
      for (std::size_t i = 1; i < words.size(); ++i) declare(words[i]);
    } else if (verb == "from") {
      take_from(words);
    } else if (verb == "copy" || verb == "add" || verb == "run") {
      for (const std::string& word : words) take_flag(word);
    }
  }

  std::vector<std::string> result() && { return std::move(names_); }
  std::vector<std::string> stage_names() && { return std::move(stage_names_); }

 private:
  void declare(const std::string& word) {
    const auto equals = word.find('=');
    const std::string name = word.substr(0, equals);
    if (const auto given = build_args_.find(name); given != build_args_.end()) {
      variables_[name] = given->second;
    } else if (equals != std::string::npos) {
      if (auto value = expanded(std::string_view(word).substr(equals + 1), variables_)) {
        variables_[name] = *value;
      }
    }
  }

  void take_from(const std::vector<std::string>& words) {
    in_stage_ = true;
    std::size_t i = 1;
    while (i < words.size() && words[i].starts_with("--")) ++i;
    if (i < words.size()) add(words[i]);
    const std::string number = std::to_string(stage_names_.size());
    const bool has_name = i + 2 < words.size() && lower(words[i + 1]) == "as";
    if (has_name) stages_.insert(lower(words[i + 2]));
    stages_.insert(number);
    stage_names_.push_back(has_name ? words[i + 2] : number);
  }

  // --from=x, and from=x in --mount=type=bind,from=x,…
  void take_flag(const std::string& word) {
    if (word.starts_with("--from=")) add(word.substr(7));
    if (!word.starts_with("--mount=")) return;
    std::string_view options = std::string_view(word).substr(8);
    while (!options.empty()) {
      const auto end = std::min(options.find(','), options.size());
      const std::string_view option = options.substr(0, end);
      if (option.starts_with("from=")) add(option.substr(5));
      options.remove_prefix(std::min(end + 1, options.size()));
    }
  }

  void add(std::string_view word) {
    const auto name = expanded(word, variables_);
    if (!name || name->empty() || lower(*name) == "scratch" || stages_.contains(lower(*name)))
      return;
    if (std::find(names_.begin(), names_.end(), *name) == names_.end()) names_.push_back(*name);
  }

  std::map<std::string, std::string> build_args_;
  Variables variables_;
  std::set<std::string> stages_;
  std::vector<std::string> stage_names_;
  bool in_stage_ = false;
  std::vector<std::string> names_;
};

}  // namespace

std::vector<std::string> images_named_by(
    std::string_view dockerfile,
    const std::vector<std::pair<std::string, std::string>>& build_args) {
  ImageNames names(build_args);
  for (const std::string& instruction : instructions_of(dockerfile)) names.take(instruction);
  return std::move(names).result();
}

std::vector<std::string> stages_of(std::string_view dockerfile) {
  ImageNames names({});
  for (const std::string& instruction : instructions_of(dockerfile)) names.take(instruction);
  return std::move(names).stage_names();
}

Result<std::string> find_stage(std::string_view dockerfile, const std::string& name) {
  const auto stages = stages_of(dockerfile);
  std::string list;
  for (std::size_t i = 0; i < stages.size(); ++i) {
    if (lower(stages[i]) == lower(name) || std::to_string(i) == name) return stages[i];
    list += (list.empty() ? "" : ", ") + stages[i];
  }
  return fail(ErrorCode::user_error, "build_target is '" + name +
                                         "', and the Dockerfile has no such stage; it has " +
                                         (list.empty() ? "none" : list));
}

namespace {

// buildah would find these in the local store before it asks docker.io: "atlasflow/p:b" is tried as
// localhost/atlasflow/p:b, and a word of hex digits as the start of an image id.
bool names_local_image(std::string_view full_name) {
  constexpr std::string_view k_library = "docker.io/library/";
  if (full_name.starts_with("docker.io/atlasflow/")) return true;
  if (!full_name.starts_with(k_library)) return false;
  const std::string_view name = full_name.substr(k_library.size());
  const std::string_view word = name.substr(0, name.find_first_of(":@"));
  return std::all_of(word.begin(), word.end(),
                     [](char c) { return std::isxdigit(static_cast<unsigned char>(c)) != 0; });
}

}  // namespace

std::string full_image_name(std::string_view name) {
  std::string full(name);
  const auto slash = full.find('/');
  const std::string first = full.substr(0, slash);
  const bool has_registry =
      slash != std::string::npos &&
      (first == "localhost" || first.find_first_of(".:") != std::string::npos);
  if (!has_registry)
    full = (slash == std::string::npos ? "docker.io/library/" : "docker.io/") + full;
  const auto last = full.substr(full.rfind('/') + 1);
  if (last.find_first_of(":@") == std::string::npos) full += ":latest";
  return full;
}

Result<void> check_base_image(std::string_view full_name) {
  if (full_name.starts_with("localhost/atlasflow-base/") &&
      full_name.find("..") == std::string_view::npos) {
    return {};
  }
  const std::string_view registry = full_name.substr(0, full_name.find('/'));
  const std::string_view host = registry.substr(0, registry.find(':'));
  const bool is_transport =
      full_name.find("://") != std::string_view::npos || full_name.starts_with("oci:") ||
      full_name.starts_with("dir:") || full_name.starts_with("docker-archive:") ||
      full_name.starts_with("oci-archive:") || full_name.starts_with("containers-storage:");
  const bool is_number =
      !host.empty() && (host.front() == '[' || std::all_of(host.begin(), host.end(), [](char c) {
                          return std::isdigit(static_cast<unsigned char>(c)) != 0 || c == '.';
                        }));
  if (is_transport || is_number || host == "localhost" || host.ends_with(".localhost") ||
      host.ends_with(".local") || host.ends_with(".internal") || names_local_image(full_name)) {
    return fail(ErrorCode::user_error, "the Dockerfile may not start from " +
                                           std::string(full_name) +
                                           ": name an image of a public registry by its host name");
  }
  return {};
}

}  // namespace atlasflow::builder
