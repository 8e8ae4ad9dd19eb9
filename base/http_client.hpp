// Outgoing HTTP, by libcurl: one request and its whole answer, over TCP, TLS or a unix socket.
// Calls block. One HttpClient belongs to one thread at a time and keeps its connections between
// requests; send_http makes one for a single request. Nothing of a request, neither the path of its
// URL nor a field or the body, gets into an error: only the place that was asked (scheme, host and
// port).
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"

namespace atlasflow {

struct HttpField {
  std::string name;
  std::string value;
  friend bool operator==(const HttpField&, const HttpField&) = default;
};

struct HttpResponse {
  int status = 0;
  std::vector<HttpField> fields = {};  // of the last answer, when there were redirects
  std::string body = {};               // empty where on_body took it

  // The first field of that name, upper and lower case being alike; empty when there is none.
  [[nodiscard]] std::string_view field(std::string_view name) const;
};

struct HttpRequest {
  std::string method = "GET";          // a token, RFC 9110 section 9.1
  std::string url;                     // http:// or https://
  std::vector<HttpField> fields = {};  // User-Agent is ours unless it is among them
  std::optional<std::string> body = std::nullopt;

  // ---- the way ----
  std::filesystem::path unix_socket = {};  // connects there, whatever the URL's host is
  // "127.0.0.1:8443": connects there, while Host and the certificate's name stay the URL's.
  std::string connect_to = {};
  // The only authorities that are trusted (PEM); empty: the system's. A certificate is always
  // checked.
  std::filesystem::path ca_file = {};
  // How many redirects are followed, by GET and HEAD only. Never from https to http; Authorization
  // and Cookie go to no other host, any other field does.
  int redirects_max = 0;

  // ---- limits ----
  std::chrono::milliseconds timeout{30'000};  // for all of it; zero: none
  std::uint64_t body_bytes_max = 4U << 20U;   // of an answer's body that is kept in HttpResponse
  std::stop_token stop = {};                  // looked at about once a second

  // Takes the body as it comes, instead of HttpResponse::body and without its limit; status and
  // fields are known by then. False ends the exchange, which is no error. Must not throw.
  std::function<bool(const HttpResponse& so_far, std::string_view bytes)> on_body = {};
};

class HttpClient {
 public:
  HttpClient();
  ~HttpClient();
  HttpClient(HttpClient&&) noexcept;
  HttpClient& operator=(HttpClient&&) noexcept;

  // Whatever the status is, an answer is no error. Proxies are not used, compressed answers not
  // asked for. Errors:
  //   invalid_argument  the URL, the method or a field can't be sent
  //   unauthorized      this user may not open the unix socket
  //   unavailable       nobody answers there, by TLS or at all, or the connection broke
  //   timed_out         not all of it within the time
  //   cancelled         the stop token said so
  //   too_large         the body is larger than body_bytes_max, or the head than 64 KiB
  [[nodiscard]] Result<HttpResponse> send(const HttpRequest& request);

  // Whether the last request found somebody: after an error the other side may have acted on it.
  [[nodiscard]] bool reached() const { return reached_; }

 private:
  struct Handle;
  bool reached_ = false;
  std::unique_ptr<Handle> handle_;
};

// By a connection of its own.
[[nodiscard]] Result<HttpResponse> send_http(const HttpRequest& request);

}  // namespace atlasflow
