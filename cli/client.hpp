// The HTTP API over the server's unix socket, by libcurl. One object belongs to one thread at a
// time; calls block.
#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include <nlohmann/json_fwd.hpp>

#include "base/error.hpp"
#include "cli/command_line.hpp"

namespace atlasflow::cli {

// --socket, else $ATLASFLOW_SOCKET, else atlasflow.sock in the state folder.
[[nodiscard]] std::filesystem::path socket_path(const Connection& connection);
// --state-dir, else $ATLASFLOW_STATE_DIR, else nothing: the default or the configuration's.
[[nodiscard]] std::optional<std::filesystem::path> named_state_dir(const Connection& connection);

// One segment of a path, or a value of a query, percent-encoded (RFC 3986 section 2.1).
[[nodiscard]] std::string encoded(std::string_view text);

class ApiClient {
 public:
  explicit ApiClient(std::filesystem::path socket) : socket_(std::move(socket)) {}

  // The answer's JSON. An error of the server comes as that error; unavailable: nobody answers on
  // the socket. At most 60 s, for creating and deleting wait for what they set off.
  [[nodiscard]] Result<nlohmann::json> get(const std::string& path);
  [[nodiscard]] Result<nlohmann::json> post(const std::string& path, const nlohmann::json& body);
  [[nodiscard]] Result<nlohmann::json> put(const std::string& path, const nlohmann::json& body);
  [[nodiscard]] Result<nlohmann::json> remove(const std::string& path);

  // Hands the answer's bytes on as they come, without an end unless the server ends it.
  [[nodiscard]] Result<void> stream(const std::string& path,
                                    const std::function<void(std::string_view)>& take);

 private:
  [[nodiscard]] Result<nlohmann::json> call(const char* method, const std::string& path,
                                            const nlohmann::json* body);

  std::filesystem::path socket_;
};

}  // namespace atlasflow::cli
