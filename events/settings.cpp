#include "events/settings.hpp"

#include <algorithm>

namespace atlasflow {
namespace {

bool is_lower(char c) { return c >= 'a' && c <= 'z'; }
bool is_upper(char c) { return c >= 'A' && c <= 'Z'; }
bool is_digit(char c) { return c >= '0' && c <= '9'; }

Result<void> in_range(const char* name, std::int64_t value, std::int64_t low, std::int64_t high) {
  if (value >= low && value <= high) return {};
  return fail(ErrorCode::invalid_argument, std::string(name) + " is " + std::to_string(value) +
                                               "; it must be from " + std::to_string(low) + " to " +
                                               std::to_string(high));
}

}  // namespace

pb::Settings default_settings() {
  pb::Settings settings;
  settings.set_health_path("/");
  settings.set_port(3000);
  settings.set_health_deadline_us(120 * k_second_us);
  settings.set_clone_deadline_us(300 * k_second_us);
  settings.set_build_deadline_us(1800 * k_second_us);
  settings.set_drain_deadline_us(30 * k_second_us);
  settings.set_memory_mib(512);
  settings.set_vcpus(1);
  return settings;
}

Result<void> validate(const pb::Settings& settings) {
  if (settings.health_path().empty() || settings.health_path().front() != '/' ||
      settings.health_path().size() > 1024 ||
      std::any_of(settings.health_path().begin(), settings.health_path().end(),
                  [](char c) { return c <= ' ' || c > '~'; })) {
    return fail(ErrorCode::invalid_argument,
                "the health path must start with '/' and hold visible ASCII only");
  }
  constexpr std::int64_t k_day_us = 86'400 * k_second_us;
  if (auto ok = in_range("port", settings.port(), 1, 65535); !ok) return ok;
  if (auto ok =
          in_range("health_deadline_us", settings.health_deadline_us(), k_second_us, k_day_us);
      !ok) {
    return ok;
  }
  if (auto ok = in_range("clone_deadline_us", settings.clone_deadline_us(), k_second_us, k_day_us);
      !ok) {
    return ok;
  }
  if (auto ok = in_range("build_deadline_us", settings.build_deadline_us(), k_second_us, k_day_us);
      !ok) {
    return ok;
  }
  if (auto ok = in_range("drain_deadline_us", settings.drain_deadline_us(), 0, k_day_us); !ok) {
    return ok;
  }
  if (auto ok = in_range("memory_mib", settings.memory_mib(), 64, 1 << 20); !ok) return ok;
  return in_range("vcpus", settings.vcpus(), 1, 64);
}

namespace {

// Digits only, at most 12 of them: no setting is longer and none can overflow.
Result<std::int64_t> parsed_number(const std::string& name, const std::string& text) {
  if (text.empty() || text.size() > 12 || !std::all_of(text.begin(), text.end(), is_digit)) {
    return fail(ErrorCode::invalid_argument,
                name + " takes a whole number, not '" + text.substr(0, 40) + "'");
  }
  std::int64_t number = 0;
  for (const char c : text) number = number * 10 + (c - '0');
  return number;
}

Result<std::int64_t> parsed_duration_us(const std::string& name, const std::string& text) {
  const auto unit_at = text.find_first_not_of("0123456789");
  const auto unit = unit_at == std::string::npos ? std::string() : text.substr(unit_at);
  std::int64_t unit_us = 0;
  if (unit == "ms") unit_us = 1000;
  if (unit == "s") unit_us = k_second_us;
  if (unit == "m") unit_us = 60 * k_second_us;
  if (unit == "h") unit_us = 3600 * k_second_us;
  if (unit_us == 0 || unit_at == 0 || unit_at > 9) {
    return fail(ErrorCode::invalid_argument,
                name + " takes a duration such as 30s, 5m or 1h, not '" + text.substr(0, 40) + "'");
  }
  auto number = parsed_number(name, text.substr(0, unit_at));
  if (!number) return number;
  return *number * unit_us;
}

}  // namespace

Result<void> set_by_name(pb::Settings& settings, const std::string& name,
                         const std::string& value) {
  if (name == "health_path") {
    settings.set_health_path(value);
    return {};
  }
  const bool duration = name.ends_with("_deadline");
  const auto number = duration ? parsed_duration_us(name, value) : parsed_number(name, value);
  // What does not fit the field is clamped to a value that validate() refuses with the range.
  const auto narrow = [&] {
    return static_cast<std::int32_t>(std::min<std::int64_t>(*number, 2'000'000'000));
  };
  if (name == "port" && number) {
    settings.set_port(narrow());
  } else if (name == "memory_mib" && number) {
    settings.set_memory_mib(narrow());
  } else if (name == "vcpus" && number) {
    settings.set_vcpus(narrow());
  } else if (name == "health_deadline" && number) {
    settings.set_health_deadline_us(*number);
  } else if (name == "clone_deadline" && number) {
    settings.set_clone_deadline_us(*number);
  } else if (name == "build_deadline" && number) {
    settings.set_build_deadline_us(*number);
  } else if (name == "drain_deadline" && number) {
    settings.set_drain_deadline_us(*number);
  } else {
    for (const auto* known : {"port", "memory_mib", "vcpus", "health_deadline", "clone_deadline",
                              "build_deadline", "drain_deadline"}) {
      if (name == known) return tl::unexpected(number.error());
    }
    return fail(ErrorCode::invalid_argument,
                "there is no setting '" + name.substr(0, 40) +
                    "'; there are health_path, port, memory_mib, vcpus, health_deadline, "
                    "clone_deadline, build_deadline and drain_deadline");
  }
  return {};
}

Result<void> validate_project_name(const std::string& name) {
  const bool characters = std::all_of(
      name.begin(), name.end(), [](char c) { return is_lower(c) || is_digit(c) || c == '-'; });
  if (name.empty() || name.size() > 40 || !characters || !is_lower(name.front()) ||
      name.back() == '-') {
    return fail(ErrorCode::invalid_argument,
                "'" + name.substr(0, 60) +
                    "' is no project name: it takes 1 to 40 of a-z, 0-9 and '-', starting with a "
                    "letter and not ending with '-', as it becomes part of a hostname");
  }
  return {};
}

Result<void> validate_env_name(const std::string& name) {
  const bool characters = std::all_of(name.begin(), name.end(), [](char c) {
    return is_lower(c) || is_upper(c) || is_digit(c) || c == '_';
  });
  if (name.empty() || name.size() > 128 || !characters || is_digit(name.front())) {
    return fail(ErrorCode::invalid_argument,
                "'" + name.substr(0, 60) +
                    "' is no variable name: it takes 1 to 128 of A-Z, a-z, 0-9 and '_', not "
                    "starting with a digit");
  }
  if (name == "PORT" || name == "HOST") {
    return fail(ErrorCode::invalid_argument,
                name + " is set by Atlasflow (PORT=3000, HOST=0.0.0.0) and can't be changed");
  }
  return {};
}

bool is_commit_sha(const std::string& text) {
  return text.size() == 40 && std::all_of(text.begin(), text.end(), [](char c) {
           return is_digit(c) || (c >= 'a' && c <= 'f');
         });
}

}  // namespace atlasflow
