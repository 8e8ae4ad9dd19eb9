#include "cli/client.hpp"

#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <memory>

#include <curl/curl.h>
#include <nlohmann/json.hpp>

#include "server/config.hpp"

namespace atlasflow::cli {
namespace {

struct CurlDeleter {
  void operator()(CURL* handle) const { curl_easy_cleanup(handle); }
  void operator()(curl_slist* list) const { curl_slist_free_all(list); }
};
using CurlHandle = std::unique_ptr<CURL, CurlDeleter>;
using CurlHeaders = std::unique_ptr<curl_slist, CurlDeleter>;

constexpr std::array k_codes = {
    ErrorCode::invalid_argument, ErrorCode::unauthorized, ErrorCode::not_found,
    ErrorCode::already_exists,   ErrorCode::conflict,     ErrorCode::too_large,
    ErrorCode::user_error,       ErrorCode::unavailable,  ErrorCode::timed_out,
    ErrorCode::disk_full,        ErrorCode::cancelled,    ErrorCode::corrupt,
    ErrorCode::internal};

Error error_of(long status, const std::string& body) {
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

// What one transfer works on; lives as long as it.
struct Transfer {
  CURL* handle = nullptr;
  const std::function<void(std::string_view)>* take = nullptr;  // for bytes of a good answer
  std::string body;                                             // of a bad one, or of any
};

std::size_t on_bytes(char* bytes, std::size_t size, std::size_t count, void* user) {
  auto& transfer = *static_cast<Transfer*>(user);
  const std::string_view chunk(bytes, size * count);
  long status = 0;
  curl_easy_getinfo(transfer.handle, CURLINFO_RESPONSE_CODE, &status);
  if (transfer.take != nullptr && status < 400) {
    (*transfer.take)(chunk);
  } else {
    transfer.body += chunk;
  }
  return chunk.size();
}

Error unreachable(CURL* handle, CURLcode code, const std::filesystem::path& socket) {
  long os_error = 0;
  curl_easy_getinfo(handle, CURLINFO_OS_ERRNO, &os_error);
  if (code == CURLE_COULDNT_CONNECT && (os_error == EACCES || os_error == EPERM)) {
    return {ErrorCode::unauthorized,
            "may not open " + socket.string() + "; run this as the user that the server runs as",
            {}};
  }
  if (code == CURLE_COULDNT_CONNECT) {
    return {ErrorCode::unavailable,
            "no server answers on " + socket.string() +
                "; start it with 'atlasflow server', or name its socket with --socket or its state "
                "folder with --state-dir",
            {}};
  }
  if (code == CURLE_OPERATION_TIMEDOUT) {
    return {ErrorCode::timed_out,
            "the server did not answer in time; 'atlasflow status' shows its parts",
            {}};
  }
  return {ErrorCode::unavailable, "the connection to the server broke; try again",
          curl_easy_strerror(code)};
}

// Runs the transfer and returns the status.
Result<long> perform(const std::filesystem::path& socket, const char* method,
                     const std::string& path, const std::string* body, long timeout_s,
                     Transfer& transfer) {
  const CurlHandle handle(curl_easy_init());
  const CurlHeaders headers(curl_slist_append(nullptr, "Content-Type: application/json"));
  if (!handle || !headers) return fail(ErrorCode::internal, "libcurl can't be started");
  transfer.handle = handle.get();
  const auto url = "http://localhost" + path;
  curl_easy_setopt(handle.get(), CURLOPT_UNIX_SOCKET_PATH, socket.c_str());
  curl_easy_setopt(handle.get(), CURLOPT_URL, url.c_str());
  curl_easy_setopt(handle.get(), CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(handle.get(), CURLOPT_PROXY, "");
  curl_easy_setopt(handle.get(), CURLOPT_CUSTOMREQUEST, method);
  curl_easy_setopt(handle.get(), CURLOPT_TIMEOUT, timeout_s);
  curl_easy_setopt(handle.get(), CURLOPT_WRITEFUNCTION, on_bytes);
  curl_easy_setopt(handle.get(), CURLOPT_WRITEDATA, &transfer);
  if (body != nullptr) {
    curl_easy_setopt(handle.get(), CURLOPT_HTTPHEADER, headers.get());
    curl_easy_setopt(handle.get(), CURLOPT_POSTFIELDS, body->c_str());
    curl_easy_setopt(handle.get(), CURLOPT_POSTFIELDSIZE_LARGE,
                     static_cast<curl_off_t>(body->size()));
  }
  const auto code = curl_easy_perform(handle.get());
  if (code != CURLE_OK) return tl::unexpected(unreachable(handle.get(), code, socket));
  long status = 0;
  curl_easy_getinfo(handle.get(), CURLINFO_RESPONSE_CODE, &status);
  return status;
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
  constexpr long k_timeout_s = 60;
  Transfer transfer;
  std::string text;
  try {
    if (body != nullptr) text = body->dump();
  } catch (const nlohmann::json::exception&) {
    return fail(ErrorCode::invalid_argument,
                "the input is not UTF-8 text; encode it first, for example with base64");
  }
  const auto status =
      perform(socket_, method, path, body == nullptr ? nullptr : &text, k_timeout_s, transfer);
  if (!status) return tl::unexpected(status.error());
  if (*status >= 400) return tl::unexpected(error_of(*status, transfer.body));
  auto json = nlohmann::json::parse(transfer.body, nullptr, false);
  if (json.is_discarded()) {
    return fail(ErrorCode::internal,
                "the server's answer is not JSON; does --socket name Atlasflow's?",
                transfer.body.substr(0, 200));
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
  Transfer transfer;
  transfer.take = &take;
  const auto status = perform(socket_, "GET", path, nullptr, 0, transfer);
  if (!status) return tl::unexpected(status.error());
  if (*status >= 400) return tl::unexpected(error_of(*status, transfer.body));
  return {};
}

}  // namespace atlasflow::cli
