#include "cli/client.hpp"

#include <array>
#include <cstdlib>

#include <nlohmann/json.hpp>

#include "base/http_client.hpp"
#include "server/config.hpp"

namespace atlasflow::cli {
namespace {

constexpr std::uint64_t k_answer_bytes_max = 1ULL << 30U;
constexpr std::size_t k_error_bytes_max = 64U << 10U;

constexpr std::array k_codes = {
    ErrorCode::invalid_argument, ErrorCode::unauthorized, ErrorCode::not_found,
    ErrorCode::already_exists,   ErrorCode::conflict,     ErrorCode::too_large,
    ErrorCode::user_error,       ErrorCode::unavailable,  ErrorCode::timed_out,
    ErrorCode::disk_full,        ErrorCode::cancelled,    ErrorCode::corrupt,
    ErrorCode::internal};

Error error_of(int status, const std::string& body) {
  const auto json = nlohmann::json::parse(body, nullptr, false);
  if (json.is_object() && json.contains("error") && json["error"].is_object()) {
    const auto& told = json["error"];
    Error error{ErrorCode::internal, told.value("message", ""), told.value("cause", "")};
    for (const auto code : k_codes) {
      if (told.value("code", "") == name_of(code)) error.code = code;
    }
    if (!error.message.empty()) return error;
  }
  const auto code = status == 400   ? ErrorCode::invalid_argument
                    : status == 404 ? ErrorCode::not_found
                                    : ErrorCode::internal;
  return {code,
          "the server answered with status " + std::to_string(status) + "; its log tells more",
          body.substr(0, 200)};
}

// The same failure in the words of somebody who wants to know what to do about the server.
Error unreachable(const Error& error, bool reached, const std::filesystem::path& socket) {
  switch (error.code) {
    case ErrorCode::unauthorized:
      return {error.code,
              "may not open " + socket.string() + "; run this as the user that the server runs as",
              {}};
    case ErrorCode::timed_out:
      return {
          error.code, "the server did not answer in time; 'atlasflow status' shows its parts", {}};
    case ErrorCode::unavailable:
      if (reached) break;
      return {error.code,
              "no server answers on " + socket.string() +
                  "; start it with 'atlasflow server', or name its socket with --socket or its "
                  "state folder with --state-dir",
              {}};
    case ErrorCode::invalid_argument:
    case ErrorCode::too_large:
      return error;
    default:
      break;
  }
  return {ErrorCode::unavailable, "the connection to the server broke; try again", error.cause};
}

Result<HttpResponse> send(const HttpRequest& request) {
  HttpClient client;
  auto answer = client.send(request);
  if (answer) return answer;
  return tl::unexpected(unreachable(answer.error(), client.reached(), request.unix_socket));
}

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

}  // namespace

std::optional<std::filesystem::path> named_state_dir(const Connection& connection) {
  if (!connection.state_dir.empty()) return connection.state_dir;
  if (auto named = environment("ATLASFLOW_STATE_DIR"); !named.empty()) return named;
  return std::nullopt;
}

std::filesystem::path socket_path(const Connection& connection) {
  if (!connection.socket.empty()) return connection.socket;
  // A folder on the command line is nearer to the user's will than a socket in the environment.
  if (connection.state_dir.empty()) {
    if (auto named = environment("ATLASFLOW_SOCKET"); !named.empty()) return named;
  }
  return named_state_dir(connection).value_or(server::k_default_state_dir) / "atlasflow.sock";
}

std::string encoded(std::string_view text) {
  constexpr std::string_view k_hex = "0123456789ABCDEF";
  std::string result;
  for (const char c : text) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       c == '-' || c == '_' || c == '.' || c == '~';
    if (plain && text != "." && text != "..") {
      result += c;
    } else {
      const auto byte = static_cast<unsigned char>(c);
      result += {'%', k_hex[byte >> 4U], k_hex[byte & 0xFU]};
    }
  }
  return result;
}

Result<nlohmann::json> ApiClient::call(const char* method, const std::string& path,
                                       const nlohmann::json* body) {
  HttpRequest request{.method = method,
                      .url = "http://localhost" + path,
                      .unix_socket = socket_,
                      .timeout = std::chrono::seconds(60),
                      .body_bytes_max = k_answer_bytes_max};
  try {
    if (body != nullptr) {
      request.fields = {{"Content-Type", "application/json"}};
      request.body = body->dump();
    }
  } catch (const nlohmann::json::exception&) {
    return fail(ErrorCode::invalid_argument,
                "the input is not UTF-8 text; encode it first, for example with base64");
  }
  ATLAS_TRY(const auto answer, send(request));
  if (answer.status >= 400) return tl::unexpected(error_of(answer.status, answer.body));
  auto json = nlohmann::json::parse(answer.body, nullptr, false);
  if (json.is_discarded()) {
    return fail(ErrorCode::internal,
                "the server's answer is not JSON; does --socket name Atlasflow's?",
                answer.body.substr(0, 200));
  }
  return json;
}

Result<nlohmann::json> ApiClient::get(const std::string& path) {
  return call("GET", path, nullptr);
}
Result<nlohmann::json> ApiClient::post(const std::string& path, const nlohmann::json& body) {
  return call("POST", path, &body);
}
Result<nlohmann::json> ApiClient::put(const std::string& path, const nlohmann::json& body) {
  return call("PUT", path, &body);
}
Result<nlohmann::json> ApiClient::remove(const std::string& path) {
  return call("DELETE", path, nullptr);
}

Result<void> ApiClient::stream(const std::string& path,
                               const std::function<void(std::string_view)>& take) {
  std::string error;
  const auto on_body = [&](const HttpResponse& so_far, std::string_view bytes) {
    if (so_far.status < 400) {
      take(bytes);
      return true;
    }
    error += bytes;
    return error.size() < k_error_bytes_max;
  };
  ATLAS_TRY(const auto answer, send({.url = "http://localhost" + path,
                                     .unix_socket = socket_,
                                     .timeout = std::chrono::milliseconds::zero(),
                                     .on_body = on_body}));
  if (answer.status >= 400) return tl::unexpected(error_of(answer.status, error));
  return {};
}

}  // namespace atlasflow::cli
