// An HTTP client for tests that sends bytes as they are, however wrong, and reads responses with
// the edge's parser. Used by one thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/file.hpp"
#include "http/parser.hpp"

namespace atlasflow::api::testing {

struct Answer {
  int status = 0;
  std::vector<std::pair<std::string, std::string>> fields;
  std::string body;

  [[nodiscard]] std::string field(std::string_view name) const;  // empty when absent
};

class Client {
 public:
  static Client on_unix_socket(const std::filesystem::path& path);
  static Client on_port(std::uint16_t port);

  // False when the server has closed.
  bool send(std::string_view bytes);
  void close_sending();
  void reset_on_close();

  // A whole response, or nothing when the connection ends before that (or a generous deadline
  // passes).
  [[nodiscard]] std::optional<Answer> receive(bool to_head = false);
  // Body bytes of a response that is still being sent, until they contain the text.
  [[nodiscard]] std::optional<std::string> receive_body_until(std::string_view text);
  // Whether the server closes without another byte.
  [[nodiscard]] bool is_closed_by_server();

  [[nodiscard]] std::optional<Answer> ask(std::string_view bytes);

 private:
  enum class Progress : std::uint8_t { partly, whole, over };
  explicit Client(FileDescriptor fd) : fd_(std::move(fd)) {}
  [[nodiscard]] bool fill();
  [[nodiscard]] Progress advance();

  FileDescriptor fd_;
  std::string unread_;
  http::ResponseParser parser_;
  Answer answer_;
  bool to_head_ = false;
  bool at_end_ = false;
};

// "POST /path HTTP/1.1" with Host, the fields ("Name: value") and the body with its length.
[[nodiscard]] std::string request_text(std::string_view method, std::string_view target,
                                       const std::vector<std::string>& fields = {},
                                       std::string_view body = {});

}  // namespace atlasflow::api::testing
