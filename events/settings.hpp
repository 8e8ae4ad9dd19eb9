// A project's settings: their defaults and their limits. Pure.
#pragma once

#include "events/error.hpp"
#include "events/event.pb.h"

namespace atlasflow {

constexpr std::int64_t k_second_us = 1'000'000;

// GET / on port 3000 within 120 s; 5 min to clone, 30 min to build, 30 s to drain; 512 MiB, 1 vCPU.
[[nodiscard]] pb::Settings default_settings();

// invalid_argument names the setting, the value and the range.
[[nodiscard]] Result<void> validate(const pb::Settings& settings);

// Changes one setting by its name and text: health_path=/up, port=8080, memory_mib=256, vcpus=2,
// and the durations health_deadline, clone_deadline, build_deadline, drain_deadline=30s (ms, s, m
// or h). invalid_argument lists the names or says what the value must look like; limits are
// validate()'s.
[[nodiscard]] Result<void> set_by_name(pb::Settings& settings, const std::string& name,
                                       const std::string& value);

// A project's name becomes a hostname label: 1 to 40 of [a-z0-9-], a letter first, no '-' at an
// end.
[[nodiscard]] Result<void> validate_project_name(const std::string& name);

// A variable's name: 1 to 128 of [A-Za-z0-9_], no digit first; PORT and HOST are Atlasflow's own.
[[nodiscard]] Result<void> validate_env_name(const std::string& name);

// 40 hex digits in lower case.
[[nodiscard]] bool is_commit_sha(const std::string& text);

}  // namespace atlasflow
