#include "builder/source/repository_config.hpp"

#include <algorithm>
#include <numeric>
#include <string>
#include <vector>

#include <toml++/toml.h>

#include "builder/source/source_file.hpp"
#include "builder/source/toml_depth.hpp"

namespace atlasflow::builder {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t k_config_bytes_max = 64U << 10U;
constexpr const char* k_build_args = "build_args";
constexpr const char* k_static = "static";  // a table whose keys are settings of that prefix

// The table of all build arguments is one key of the file.
std::string key_of(const KnownSetting& setting) {
  return setting.type == SettingType::texts ? k_build_args : std::string(setting.name);
}

// How many characters must be put in, taken out or changed to make one word of the other.
std::size_t distance(std::string_view from, std::string_view to) {
  std::vector<std::size_t> row(to.size() + 1);
  std::iota(row.begin(), row.end(), 0U);
  for (std::size_t i = 0; i < from.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i + 1;
    for (std::size_t j = 0; j < to.size(); ++j) {
      const std::size_t changed = diagonal + (from[i] == to[j] ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({row[j] + 1, row[j + 1] + 1, changed});
    }
  }
  return row.back();
}

// The key that was meant, when one is near enough; else all of them.
std::string advice_for(std::string_view key) {
  std::string nearest;
  std::size_t best = std::max<std::size_t>(2, key.size() / 3) + 1;
  std::string all;
  for (const auto& setting : known_settings()) {
    if (!setting.in_repository) continue;
    const auto known = key_of(setting);
    all += (all.empty() ? "" : ", ") + known;
    if (const auto steps = distance(key.substr(0, 64), known); steps < best) {
      best = steps;
      nearest = known;
    }
  }
  return nearest.empty() ? "there are " + all : "did you mean " + nearest + "?";
}

class Reader {
 public:
  Result<RepositoryConfig> read(const toml::table& file) {
    for (const auto& [key, node] : file) {
      const std::string name(key.str());
      const auto* table = node.as_table();
      if (table != nullptr && name == k_static) {
        for (const auto& [inner, value] : *table)
          take(name + "." + std::string(inner.str()), value);
      } else {
        take(name, node);
      }
    }
    if (first_error_) return fail(ErrorCode::user_error, first_error_->second);
    return std::move(config_);
  }

 private:
  void take(const std::string& key, const toml::node& node) {
    const auto& known = known_settings();
    const auto setting = std::find_if(
        known.begin(), known.end(), [&](const KnownSetting& each) { return key_of(each) == key; });
    if (setting == known.end()) {
      refuse(node, "'" + key.substr(0, 40) + "' is not known; " + advice_for(key));
    } else if (!setting->in_repository) {
      refuse(node, key + " is the project's alone; atlasflow project set changes it");
    } else {
      take(*setting, key, node);
    }
  }

  void take(const KnownSetting& setting, const std::string& key, const toml::node& node) {
    switch (setting.type) {
      case SettingType::text:
        take_one(key, node, node.is_string(), "must be text in quotes");
        break;
      case SettingType::number:
        take_one(key, node, node.is_integer(), "must be a whole number without quotes");
        break;
      case SettingType::duration:
        take_one(key, node, node.is_string(), "must be a duration in quotes, such as \"30s\"");
        break;
      case SettingType::flag:
        take_one(key, node, node.is_boolean(), "must be true or false");
        break;
      case SettingType::list:
        take_list(key, node);
        break;
      case SettingType::texts:
        take_build_args(node);
        break;
    }
  }

  static std::string text_of(const toml::node& node) {
    if (const auto* text = node.as_string()) return text->get();
    if (const auto* number = node.as_integer()) return std::to_string(number->get());
    if (const auto* flag = node.as_boolean()) return flag->get() ? "true" : "false";
    return {};
  }

  void take_one(const std::string& name, const toml::node& node, bool is_right_type,
                const std::string& rule) {
    if (!is_right_type) return refuse(node, name + " " + rule);
    auto value = text_of(node);
    if (check(node, name, value)) config_.changes.emplace_back(name, std::move(value));
  }

  void take_list(const std::string& name, const toml::node& node) {
    const auto* list = node.as_array();
    if (list == nullptr) {
      return refuse(node, name + " must be a list of texts, such as [\"src/**\"]");
    }
    std::string joined;
    for (const auto& entry : *list) {
      const auto text = text_of(entry);
      if (!entry.is_string() || text.empty()) {
        refuse(entry, name + " must hold texts in quotes, none of them empty");
      } else if (text.find(',') != std::string::npos) {
        // It would read as two.
        refuse(entry, name + " '" + text.substr(0, 40) + "' holds a comma; write '?' for it");
      } else if (check(entry, name, text)) {
        joined += (joined.empty() ? "" : ",") + text;
      }
    }
    if (check(node, name, joined)) config_.changes.emplace_back(name, std::move(joined));
  }

  void take_build_args(const toml::node& node) {
    const auto* args = node.as_table();
    if (args == nullptr) {
      return refuse(node,
                    "build_args must be a table: write [build_args], and NAME = \"value\" "
                    "in the lines below it");
    }
    for (const auto& [name, value] : *args) {
      const bool is_plain = value.is_string() || value.is_integer() || value.is_boolean();
      take_one("build_arg." + std::string(name.str()), value, is_plain,
               "must be text, a whole number, true or false");
    }
  }

  // Each by itself, on top of what is valid, so that what is wrong is told with its own line.
  bool check(const toml::node& node, const std::string& name, const std::string& value) {
    auto settings = default_settings();
    auto right = set_by_name(settings, name, value).and_then([&] { return validate(settings); });
    if (!right) refuse(node, right.error().message);
    return right.has_value();
  }

  // TOML's tables are sorted by key; users read from the top.
  void refuse(const toml::node& node, const std::string& why) {
    const auto line = node.source().begin.line;
    if (first_error_ && first_error_->first <= line) return;
    first_error_ = {
        line, std::string(k_repository_config) + ", line " + std::to_string(line) + ": " + why};
  }

  RepositoryConfig config_;
  std::optional<std::pair<toml::source_index, std::string>> first_error_;
};

}  // namespace

Result<RepositoryConfig> parse_repository_config(std::string_view text) {
  ATLAS_TRYV(refuse_deep_toml(text, std::string(k_repository_config)));
  toml::table parsed;
  try {
    parsed = toml::parse(text, std::string(k_repository_config));
  } catch (const toml::parse_error& error) {
    return fail(ErrorCode::user_error, std::string(k_repository_config) + ", line " +
                                           std::to_string(error.source().begin.line) +
                                           " is not TOML: " + std::string(error.description()));
  }
  return Reader().read(parsed);
}

Result<std::optional<RepositoryConfig>> read_repository_config(const fs::path& checkout) {
  const auto text = read_source_file(checkout, k_repository_config, k_config_bytes_max);
  if (!text && text.error().code == ErrorCode::too_large) {
    return fail(ErrorCode::user_error, text.error().message + "; it holds settings only");
  }
  if (!text) return tl::unexpected(text.error());
  if (*text) {
    return parse_repository_config(**text).map(
        [](RepositoryConfig config) { return std::optional(std::move(config)); });
  }
  std::error_code error;
  if (fs::exists(fs::symlink_status(checkout / k_repository_config, error))) {
    return fail(ErrorCode::user_error,
                std::string(k_repository_config) +
                    " is no file of the repository (a folder, or a link that leads out of it); "
                    "put a file there, or remove it");
  }
  return std::optional<RepositoryConfig>();
}

}  // namespace atlasflow::builder
