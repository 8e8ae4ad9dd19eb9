#include "cli/format.hpp"

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <ctime>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/rfc3339.hpp"
#include "events/principal.hpp"

namespace atlasflow::cli {
namespace {

constexpr std::int64_t k_second = 1'000'000;

std::string formatted_time(TimestampUs at, const char* format) {
  const auto seconds = static_cast<std::time_t>(at / k_second);
  std::tm parts{};
  ::localtime_r(&seconds, &parts);
  char buffer[64];
  const auto size = std::strftime(buffer, sizeof buffer, format, &parts);
  return {buffer, size};
}

// "1.2": one decimal of value / unit.
std::string tenths(std::int64_t value, std::int64_t unit) {
  const auto rounded = (value * 10 + unit / 2) / unit;
  return std::to_string(rounded / 10) + "." + std::to_string(rounded % 10);
}

bool continues_character(char c) { return (static_cast<unsigned char>(c) & 0xC0U) == 0x80U; }

std::size_t columns_of(std::string_view text) {
  return static_cast<std::size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return !continues_character(c); }));
}

std::string joined(const nlohmann::json& object, const char* key) {
  std::string list;
  const auto found = object.find(key);
  if (found == object.end() || !found->is_array()) return list;
  for (const auto& item : *found) {
    if (item.is_string()) list += (list.empty() ? "" : ", ") + item.get<std::string>();
  }
  return list;
}

// "STEP_PUSH_IMAGE" as users see it.
std::string step_name(const std::string& step) {
  if (step == "STEP_CLONE") return "clone";
  if (step == "STEP_BUILD") return "build";
  if (step == "STEP_PUSH_IMAGE") return "image push";
  if (step == "STEP_START_VM") return "VM start";
  if (step == "STEP_HEALTH") return "health check";
  if (step == "STEP_ROUTE") return "route";
  if (step == "STEP_RELEASE") return "release command";
  return step;
}

// An event without words of its own: its plain fields.
std::string plain_fields(const nlohmann::json& data) {
  std::string line;
  if (!data.is_object()) return line;
  for (const auto& [key, value] : data.items()) {
    if (value.is_object() || value.is_array() || key.ends_with("_us")) continue;
    const auto text = text_of(data, key.c_str());
    if (text.empty()) continue;
    line.append(line.empty() ? "" : " ").append(key).append("=").append(text);
  }
  return line;
}

std::string branch_of(const std::string& ref) {
  constexpr std::string_view k_heads = "refs/heads/";
  return ref.starts_with(k_heads) ? ref.substr(k_heads.size()) : ref;
}

// The branch that was pushed to, or the pull request.
std::string source_of(const nlohmann::json& data) {
  const auto of = data.value("pull_request", nlohmann::json());
  if (!of.is_object()) return branch_of(text_of(data, "ref"));
  auto line = "pull request " + text_of(of, "number");
  if (!of.value("from_fork", false)) return line;
  line += " of the fork " + text_of(of, "repository");
  const auto by = text_of(of, "approved_by");
  return by.empty() ? line : line + ", approved by " + by;
}

// "instance 2": the first one has no name of its own where there is only one.
std::string instance_name(const nlohmann::json& data) {
  return "instance " + std::to_string(number_of(data, "slot"));
}

// Of a push or a command whose build is to take nothing of an earlier one.
std::string without_cache(const nlohmann::json& push) {
  return push.value("no_cache", false) ? " without the layer cache" : "";
}

// What owners ask for, and what became of it.
std::string life_detail(const std::string& type, const nlohmann::json& data) {
  const auto by = text_of(data, "by");
  const auto asked_by = by.empty() ? "" : " by " + by;
  if (type == "RollbackRequested") return "to " + text_of(data, "to") + asked_by;
  if (type == "RedeployRequested") {
    const auto kind = text_of(data, "kind");
    const auto* word = kind == "REDEPLOYMENT_PROMOTE"   ? "promote of "
                       : kind == "REDEPLOYMENT_RESTART" ? "restart of "
                                                        : "redeploy of ";
    return word + text_of(data, "of") +
           without_cache(data.value("push", nlohmann::json::object())) + asked_by;
  }
  if (type == "ScaleRequested") return "to " + text_of(data, "replicas") + asked_by;
  if (type == "VMRestarting") return instance_name(data) + ", crash " + text_of(data, "attempt");
  if (type == "CrashLoopDetected") {
    return instance_name(data) + ", " + text_of(data, "crashes") + " crashes in a row";
  }
  if (type == "ReleaseSucceeded") return "in " + duration(number_of(data, "duration_us"));
  return {};
}

std::string health_detail(const std::string& type, const nlohmann::json& data) {
  if (type == "Healthy") {
    // An app without a health path is not asked.
    if (number_of(data, "status") == 0)
      return "it ran for " + duration(number_of(data, "after_us"));
    return "status " + text_of(data, "status") + " after " + duration(number_of(data, "after_us"));
  }
  const auto status = number_of(data, "last_status");
  auto detail = text_of(data, "last_error");
  if (detail.empty()) detail = "status " + std::to_string(status);
  if (type == "HealthDeadlineExceeded") {
    detail = "no 2xx in " + duration(number_of(data, "limit_us")) + ", last: " + detail;
  }
  return detail;
}

}  // namespace

std::string local_time(TimestampUs at) { return formatted_time(at, "%Y-%m-%d %H:%M:%S"); }

std::string clock_time(TimestampUs at) {
  char milliseconds[8];
  std::snprintf(milliseconds, sizeof milliseconds, ".%03d",
                static_cast<int>((at % k_second) / 1000));
  return formatted_time(at, "%H:%M:%S") + milliseconds;
}

std::string age(TimestampUs now, TimestampUs then) {
  const auto seconds = std::max<std::int64_t>(0, now - then) / k_second;
  if (seconds < 1) return "just now";
  if (seconds < 60) return std::to_string(seconds) + " s ago";
  if (seconds < 3600) return std::to_string(seconds / 60) + " min ago";
  if (seconds < 2L * 86'400) return std::to_string(seconds / 3600) + " h ago";
  return std::to_string(seconds / 86'400) + " days ago";
}

std::string duration(std::int64_t us) {
  if (us < 0) us = 0;
  if (us < k_second) return std::to_string(us / 1000) + " ms";
  if (us < 60 * k_second) return tenths(us, k_second) + " s";
  const auto seconds = us / k_second;
  if (seconds < 3600) {
    return std::to_string(seconds / 60) + " min" +
           (seconds % 60 == 0 ? "" : " " + std::to_string(seconds % 60) + " s");
  }
  return std::to_string(seconds / 3600) + " h " + std::to_string(seconds / 60 % 60) + " min";
}

std::string byte_size(std::int64_t bytes) {
  constexpr std::int64_t k_kib = 1024;
  if (bytes < k_kib) return std::to_string(bytes) + " B";
  if (bytes < k_kib * k_kib) return tenths(bytes, k_kib) + " KiB";
  if (bytes < k_kib * k_kib * k_kib) return tenths(bytes, k_kib * k_kib) + " MiB";
  return tenths(bytes, k_kib * k_kib * k_kib) + " GiB";
}

std::string short_sha(std::string_view sha) { return std::string(sha.substr(0, 7)); }

std::string printable(std::string_view text) {
  std::string result;
  result.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    // The control characters of ISO 6429: C0, DEL, and C1 as UTF-8 writes it (0xC2 0x80 to 0x9F).
    const bool is_c1 =
        byte == 0xC2 && i + 1 < text.size() && static_cast<unsigned char>(text[i + 1]) < 0xA0;
    if (byte < 0x20 || byte == 0x7F || is_c1) {
      result += byte == '\t' ? ' ' : '?';
      if (is_c1) ++i;
    } else {
      result += text[i];
    }
  }
  return result;
}

std::string shortened(std::string_view text, std::size_t columns) {
  if (columns_of(text) <= columns) return std::string(text);
  std::size_t taken = 0;
  std::size_t end = 0;
  for (; end < text.size(); ++end) {
    if (!continues_character(text[end]) && ++taken == columns) break;
  }
  return std::string(text.substr(0, end)) + "…";
}

std::string table(const std::vector<std::vector<std::string>>& rows) {
  std::vector<std::size_t> widths;
  for (const auto& row : rows) {
    widths.resize(std::max(widths.size(), row.size()));
    for (std::size_t i = 0; i < row.size(); ++i) {
      widths[i] = std::max(widths[i], columns_of(row[i]));
    }
  }
  std::string text;
  for (const auto& row : rows) {
    std::string line;
    for (std::size_t i = 0; i < row.size(); ++i) {
      line += row[i] + std::string(widths[i] - columns_of(row[i]) + 2, ' ');
    }
    line.erase(line.find_last_not_of(' ') + 1);
    text += line + "\n";
  }
  return text;
}

std::string event_detail(const std::string& type, const nlohmann::json& data) {
  std::string detail;
  if (type == "PushReceived") {
    detail = short_sha(text_of(data, "after")) + " on " + source_of(data) + without_cache(data);
    if (number_of(data, "inferred_at_s") != 0) detail += ", found by comparison";
    if (const auto pusher = text_of(data, "pusher"); !pusher.empty()) detail += " by " + pusher;
  } else if (type == "Cloned") {
    detail = "“" + text_of(data, "subject") + "” by " + text_of(data, "author") + ", " +
             byte_size(number_of(data, "size_bytes"));
  } else if (type == "Built") {
    detail = text_of(data, "stack") + " in " + duration(number_of(data, "duration_us"));
    if (const auto from = text_of(data, "reused_from"); !from.empty()) {
      detail += ", with the image of " + from + ": " + text_of(data, "reuse_reason");
    }
    const auto bases = data.value("base_images", nlohmann::json::array());
    for (std::size_t i = 0; i < bases.size(); ++i) {
      detail += (i == 0 ? ", from " : " and ") + text_of(bases[i], "name") + " (" +
                text_of(bases[i], "digest").substr(0, 19) + ")";
    }
  } else if (type == "ImagePushed") {
    detail =
        text_of(data, "digest").substr(0, 19) + ", " + byte_size(number_of(data, "size_bytes"));
  } else if (type == "VMStarted") {
    detail =
        text_of(data, "vm_id") + " at " + text_of(data, "address") + ":" + text_of(data, "port");
    for (const auto& notice : data.value("notices", nlohmann::json::array())) {
      detail += "; " + notice.get<std::string>();
    }
  } else if (type == "Healthy" || type == "HealthCheckFailed" || type == "HealthDeadlineExceeded" ||
             type == "BecameUnhealthy") {
    detail = health_detail(type, data);
  } else if (type == "Routed" || type == "RouteChangeRequested") {
    detail = joined(data, "hostnames");
  } else if (type == "DeploymentFailed") {
    detail = step_name(text_of(data, "step")) + ": " + text_of(data, "reason");
  } else if (type == "BuildTimedOut" || type == "UnhealthyTooLong") {
    detail = "limit " + duration(number_of(data, "limit_us"));
  } else if (type == "RetryScheduled" || type == "TimerFired") {
    detail = step_name(text_of(data, "step")) + ", attempt " + text_of(data, "attempt");
  } else if (type == "PushIgnored") {
    detail = source_of(data) + ": " + text_of(data, "reason");
  } else if (type == "PullRequestHeld" || type == "PullRequestClosed") {
    detail = source_of(data) + " at " + short_sha(text_of(data, "head"));
    if (data.value("merged", false)) detail += ", merged";
  } else if (type == "RepositoryConnected") {
    detail = text_of(data, "url");
  } else if (type == "RepositoryMoved") {
    detail = text_of(data, "from") + " is " + text_of(data, "url") + " now";
  } else if (type == "DeployKeySet") {
    detail = text_of(data, "fingerprint");
  } else if (type == "HostKeyPinned") {
    detail = text_of(data, "host") + " is " + text_of(data, "fingerprint") +
             (data.value("accepted", false) ? ", accepted" : "");
  } else if (type == "RepositoryLoginSet" || type == "WebhookSecretSet") {
    detail = "";
  } else if (type == "EnvSet" || type == "EnvUnset" || type == "BuildSecretSet" ||
             type == "BuildSecretUnset" || type == "ProjectCreated") {
    detail = text_of(data, "name");
  } else if (type == "CertificateOrdered" && !text_of(data, "fallback_reason").empty()) {
    detail = "from " + text_of(data, "directory") + ", as " + text_of(data, "fallback_reason");
  } else if (type == "CertificateUploaded") {
    const auto certificate = data.value("certificate", nlohmann::json::object());
    detail = text_of(certificate, "fingerprint") + " by " + text_of(certificate, "issuer");
  } else if (type == "CertificateExpiring") {
    detail = text_of(data, "fingerprint") + ": " + text_of(data, "reason");
  } else if (type == "RenewalAdvised") {
    const auto why = text_of(data, "explanation_url");
    detail = "between " + local_time(number_of(data, "start_us")) + " and " +
             local_time(number_of(data, "end_us")) + (why.empty() ? "" : ": " + why);
  } else if (type == "DomainRedirectSet") {
    const auto to = text_of(data, "to");
    detail = to.empty() ? "to nowhere" : "to " + to;
  } else if (detail = life_detail(type, data); !detail.empty()) {
    return printable(detail);
  } else if (const auto reason = text_of(data, "reason"); !reason.empty()) {
    detail = reason;
  } else {
    detail = plain_fields(data);
  }
  return printable(detail);
}

std::string asker_mark(const std::string& actor, const std::string& detail) {
  const auto principal = Principal::parsed(actor);
  if (!principal || principal->kind() == Principal::Kind::system) return {};
  return detail.find(actor) == std::string::npos ? "  [" + actor + "]" : "";
}

std::string made_by(const nlohmann::json& deployment) {
  const auto kind = text_of(deployment, "kind");
  const auto source = text_of(deployment, "source");
  const auto by = text_of(deployment, "requested_by");
  std::string line = kind;
  if (!source.empty()) line += (kind == "rollback" ? " to " : " of ") + source;
  const auto of = deployment.value("pull_request", nlohmann::json());
  if (of.is_object() && of.value("from_fork", false)) {
    line += " of a fork, approved by " + text_of(of, "approved_by");
  }
  // That a user asked for it is the rule; what happens by itself comes with its reason.
  if (by.empty() || by == Principal::user().str()) return printable(line);
  line += source.empty() ? " by " + by : " (" + by + ")";
  return printable(line);
}

std::optional<DeploymentStatus> status_of(const nlohmann::json& deployment) {
  const auto name = text_of(deployment, "status");
  for (auto i = 0; i <= static_cast<int>(DeploymentStatus::retired); ++i) {
    const auto status = static_cast<DeploymentStatus>(i);
    if (name == name_of(status)) return status;
  }
  return std::nullopt;
}

std::string healthy_share(const nlohmann::json& deployment) {
  int healthy = 0;
  for (const auto& instance : deployment.value("instances", nlohmann::json::array())) {
    if (text_of(instance, "state") == "healthy") ++healthy;
  }
  return std::to_string(healthy) + "/" + text_of(deployment, "replicas");
}

std::string wait_line(const nlohmann::json& wait, TimestampUs now) {
  const auto slot = text_of(wait, "slot");
  return text_of(wait, "step") + (slot.empty() ? "" : " of instance " + slot) + ": attempt " +
         text_of(wait, "attempt") + ", due in " + duration(number_of(wait, "due_us") - now);
}

std::string progress_bar(std::uint64_t done, std::uint64_t total) {
  constexpr std::uint64_t k_columns = 40;
  const auto of = [&](std::uint64_t whole) {
    return total == 0 ? whole : std::min(done, total) * whole / total;
  };
  const auto drawn = static_cast<std::size_t>(of(k_columns));
  return fmt::format("[{}{}] {:3} %", std::string(drawn, '='), std::string(k_columns - drawn, ' '),
                     of(100));
}

std::string request_line(const nlohmann::json& request) {
  const auto ended = parse_rfc3339_us(text_of(request, "time"));
  const auto status = number_of(request, "status");
  std::string line = (ended ? clock_time(*ended) : text_of(request, "time")) + "  " +
                     (status == 0 ? "---" : std::to_string(status)) + "  " +
                     text_of(request, "method") + " " + text_of(request, "host") +
                     text_of(request, "path") + "  ";
  const auto took = request.find("duration_ms");
  const double ms = took != request.end() && took->is_number() ? took->get<double>() : 0;
  line += duration(static_cast<std::int64_t>(ms * 1000)) + ", " +
          byte_size(number_of(request, "response_bytes")) + "  to " + text_of(request, "client");
  if (const auto error = text_of(request, "error"); !error.empty()) {
    line += "  " + error + " (" + text_of(request, "phase") + ")";
  }
  return printable(line);
}

std::string text_of(const nlohmann::json& object, const char* key) {
  if (!object.is_object()) return {};
  const auto found = object.find(key);
  if (found == object.end() || found->is_null()) return {};
  return found->is_string() ? found->get<std::string>() : found->dump();
}

std::int64_t number_of(const nlohmann::json& object, const char* key) {
  const auto text = text_of(object, key);
  std::int64_t number = 0;
  std::from_chars(text.data(), text.data() + text.size(), number);
  return number;
}

}  // namespace atlasflow::cli
