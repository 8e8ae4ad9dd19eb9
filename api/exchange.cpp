#include "api/exchange.hpp"

#include <algorithm>

#include <nlohmann/json.hpp>

#include "http/message.hpp"

namespace atlasflow::api {

const std::string* Request::field(std::string_view name) const {
  for (const auto& [key, value] : fields) {
    if (http::equal_ignoring_case(key, name)) return &value;
  }
  return nullptr;
}

std::size_t Request::count_fields(std::string_view name) const {
  return static_cast<std::size_t>(
      std::count_if(fields.begin(), fields.end(),
                    [&](const auto& item) { return http::equal_ignoring_case(item.first, name); }));
}

const std::string* Request::query_value(std::string_view name) const {
  for (const auto& [key, value] : query) {
    if (key == name) return &value;
  }
  return nullptr;
}

Result<bool> flag_of(const Request& request, const char* name) {
  const auto* value = request.query_value(name);
  if (value == nullptr || *value == "0") return false;
  if (*value == "1") return true;
  return fail(ErrorCode::invalid_argument, "'" + std::string(name) + "' must be 0 or 1.");
}

int http_status_of(ErrorCode code) {
  switch (code) {
    case ErrorCode::invalid_argument:
      return 400;
    case ErrorCode::unauthorized:
      return 401;
    case ErrorCode::not_found:
      return 404;
    case ErrorCode::already_exists:
    case ErrorCode::conflict:
    case ErrorCode::cancelled:
      return 409;
    case ErrorCode::too_large:
      return 413;
    case ErrorCode::user_error:
      return 422;
    case ErrorCode::disk_full:
    case ErrorCode::no_capacity:
    case ErrorCode::unavailable:
      return 503;
    case ErrorCode::timed_out:
      return 504;
    case ErrorCode::corrupt:
    case ErrorCode::internal:
      return 500;
  }
  return 500;
}

// Somebody has to free room first.
constexpr std::chrono::seconds k_retry_after_full_disk{30};

Response error_response(const Error& error) {
  nlohmann::ordered_json content;
  content["code"] = name_of(error.code);
  content["message"] = error.message;
  if (!error.cause.empty()) content["cause"] = error.cause;
  nlohmann::ordered_json body;
  body["error"] = std::move(content);
  Response response;
  response.status = http_status_of(error.code);
  if (error.code == ErrorCode::disk_full) {
    response.fields.emplace_back("Retry-After", std::to_string(k_retry_after_full_disk.count()));
  }
  // A cause may quote bytes that are not UTF-8, such as a file's name.
  response.body =
      body.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
  return response;
}

Response error_response(int status, ErrorCode code, std::string message) {
  Response response = error_response(Error{code, std::move(message), {}});
  response.status = status;
  return response;
}

}  // namespace atlasflow::api
