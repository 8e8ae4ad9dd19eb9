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
