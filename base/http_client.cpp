#include "base/http_client.hpp"

#include <algorithm>
#include <array>
#include <cctype>
#include <cerrno>
#include <cstring>
#include <utility>

#include <curl/curl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/version.hpp"

namespace atlasflow {
namespace {

constexpr std::size_t k_head_bytes_max = 64U << 10U;

struct CurlDeleter {
  void operator()(CURL* handle) const { curl_easy_cleanup(handle); }
  void operator()(curl_slist* list) const { curl_slist_free_all(list); }
  void operator()(CURLU* url) const { curl_url_cleanup(url); }
  void operator()(char* text) const { curl_free(text); }
};
using CurlHandle = std::unique_ptr<CURL, CurlDeleter>;
using CurlList = std::unique_ptr<curl_slist, CurlDeleter>;
using CurlUrl = std::unique_ptr<CURLU, CurlDeleter>;
using CurlText = std::unique_ptr<char, CurlDeleter>;

// libcurl's global set-up, which is never undone: threads may use it until the process ends.
bool libcurl_is_ready() {
  static const bool ready = curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK;
  return ready;
}

bool same_name(std::string_view a, std::string_view b) {
  return std::ranges::equal(
      a, b, [](unsigned char x, unsigned char y) { return std::tolower(x) == std::tolower(y); });
}

// RFC 9110 section 5.6.2.
bool is_token(std::string_view text) {
  constexpr std::string_view k_marks = "!#$%&'*+-.^_`|~";
  return !text.empty() && std::ranges::all_of(text, [&](unsigned char c) {
    return (c < 0x80 && std::isalnum(c) != 0) || k_marks.find(static_cast<char>(c)) != k_marks.npos;
  });
}

// One line of the head, whatever is in it: else a value could add fields of its own.
bool is_field_value(std::string_view text) {
  return text.find_first_of(std::string_view("\r\n\0", 3)) == std::string_view::npos;
}

std::string part_of(CURLU* url, CURLUPart part) {
  char* text = nullptr;
  if (curl_url_get(url, part, &text, 0) != CURLUE_OK) return {};
  return CurlText(text).get();
}

// OpenSSL writes to a peer that has gone as to a pipe, and the signal would end a program that does
// not expect it; libcurl leaves that to its caller (CURLOPT_NOSIGNAL).
class PipeSignalBlocked {
 public:
  PipeSignalBlocked() {
    sigset_t pending;
    ::sigpending(&pending);
    was_pending_ = ::sigismember(&pending, SIGPIPE) == 1;
    ::sigemptyset(&pipe_);
    ::sigaddset(&pipe_, SIGPIPE);
    ::pthread_sigmask(SIG_BLOCK, &pipe_, &before_);
  }
  ~PipeSignalBlocked() {
    // One that came meanwhile is this thread's own doing.
    const timespec at_once{};
    while (!was_pending_ && ::sigtimedwait(&pipe_, nullptr, &at_once) == SIGPIPE) {
    }
    ::pthread_sigmask(SIG_SETMASK, &before_, nullptr);
  }
  PipeSignalBlocked(const PipeSignalBlocked&) = delete;
  PipeSignalBlocked& operator=(const PipeSignalBlocked&) = delete;

 private:
  bool was_pending_ = false;
  sigset_t pipe_{};
  sigset_t before_{};
};

// What an error may name: scheme, host and port, for users, paths and queries can be secrets.
Result<std::string> place_of(const HttpRequest& request) {
  const CurlUrl url(curl_url());
  if (!url) return fail(ErrorCode::internal, "libcurl can't be started");
  const auto parsed = curl_url_set(url.get(), CURLUPART_URL, request.url.c_str(), 0);
  const auto scheme = parsed == CURLUE_OK ? part_of(url.get(), CURLUPART_SCHEME) : "";
  if (scheme != "http" && scheme != "https") {
    return fail(ErrorCode::invalid_argument, "the URL is none of http:// or https://",
                parsed == CURLUE_OK ? "" : curl_url_strerror(parsed));
  }
  if (!request.unix_socket.empty()) return request.unix_socket.string();
  const auto port = part_of(url.get(), CURLUPART_PORT);
  return scheme + "://" + part_of(url.get(), CURLUPART_HOST) + (port.empty() ? "" : ":" + port);
}

Result<void> check(const HttpRequest& request) {
  if (!is_token(request.method)) {
    return fail(ErrorCode::invalid_argument, "the method of an HTTP request is one word");
  }
  if (request.redirects_max > 0 && request.method != "GET" && request.method != "HEAD") {
    return fail(ErrorCode::invalid_argument, "only GET and HEAD follow redirects");
  }
  for (const auto& field : request.fields) {
    if (!is_token(field.name) || !is_field_value(field.value)) {
      return fail(ErrorCode::invalid_argument,
                  "a header field's name is one word and its value one line");
    }
  }
  if (request.unix_socket.native().size() >= sizeof(sockaddr_un::sun_path)) {
    return fail(ErrorCode::invalid_argument,
                request.unix_socket.string() + " is too long for a socket's path: at most " +
                    std::to_string(sizeof(sockaddr_un::sun_path) - 1) + " bytes");
  }
  return {};
}

bool append(CurlList& list, const std::string& line) {
  auto* longer = curl_slist_append(list.get(), line.c_str());
  if (longer == nullptr) return false;
  static_cast<void>(list.release());
  list.reset(longer);
  return true;
}

// libcurl's own way to write a header line: "Name;" is a field without a value, "Name:" is none of
// those that libcurl would add by itself.
bool append_fields(CurlList& list, const HttpRequest& request) {
  // A receiver that knows no 100-continue would cost a second, and a body need not be a form.
  constexpr std::array k_own = {"Expect", "Content-Type"};
  bool complete = true;
  for (const auto* own : k_own) {
    const bool given = std::ranges::any_of(
        request.fields, [&](const auto& field) { return same_name(field.name, own); });
    if (!given) complete = append(list, std::string(own) + ":") && complete;
  }
  for (const auto& [name, value] : request.fields) {
    std::string field = name;
    field += value.empty() ? ";" : ": ";
    field += value;
    complete = append(list, field) && complete;
  }
  return complete;
}

// What one exchange works on; lives as long as it.
struct Exchange {
  const HttpRequest* request = nullptr;
  HttpResponse response = {};
  std::size_t head_bytes = 0;
  bool head_too_large = false;
  bool body_too_large = false;
  bool taken_enough = false;  // on_body ended it
  bool body_begun = false;    // fields behind it are trailers, which are passed over
};

constexpr std::string_view without_spaces(std::string_view text) {
  constexpr std::string_view k_spaces = " \t\r\n";
  const auto begin = text.find_first_not_of(k_spaces);
  if (begin == text.npos) return {};
  return text.substr(begin, text.find_last_not_of(k_spaces) + 1 - begin);
}

// Called with each line of each head, those of redirects and of 1xx included.
std::size_t on_head(char* bytes, std::size_t size, std::size_t count, void* user) {
  auto& exchange = *static_cast<Exchange*>(user);
  const std::string_view line(bytes, size * count);
  if (exchange.body_begun && !line.starts_with("HTTP/")) return line.size();
  exchange.head_bytes += line.size();
  if (exchange.head_bytes > k_head_bytes_max) {
    exchange.head_too_large = true;
    return 0;
  }
  if (line.starts_with("HTTP/")) {
    exchange.response = {};
    exchange.body_begun = false;
  } else if (const auto colon = line.find(':'); colon != line.npos) {
    exchange.response.fields.push_back(
        {std::string(line.substr(0, colon)), std::string(without_spaces(line.substr(colon + 1)))});
  }
  return line.size();
}

int status_of(CURL* curl) {
  long status = 0;
  curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
  return static_cast<int>(status);
}

// The exchange and its handle, for the callback that needs both.
struct BodyTaker {
  Exchange* exchange = nullptr;
  CURL* curl = nullptr;
};

std::size_t on_body(char* bytes, std::size_t size, std::size_t count, void* user) {
  auto& [exchange, curl] = *static_cast<BodyTaker*>(user);
  const std::string_view chunk(bytes, size * count);
  exchange->body_begun = true;
  exchange->response.status = status_of(curl);
  if (const auto& take = exchange->request->on_body) {
    if (take(exchange->response, chunk)) return chunk.size();
    exchange->taken_enough = true;
    return 0;
  }
  auto& body = exchange->response.body;
  if (chunk.size() > exchange->request->body_bytes_max - body.size()) {
    exchange->body_too_large = true;
    return 0;
  }
  body += chunk;
  return chunk.size();
}

// Anything but 0 ends the transfer.
int on_progress(void* user, curl_off_t, curl_off_t, curl_off_t, curl_off_t) {
  return static_cast<const Exchange*>(user)->request->stop.stop_requested() ? 1 : 0;
}

// libcurl 7.88 lets a program that is started meanwhile inherit its sockets.
curl_socket_t open_socket(void*, curlsocktype, curl_sockaddr* address) {
  return ::socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

void set_way(CURL* curl, const HttpRequest& request, curl_slist* connect_to) {
  curl_easy_setopt(curl, CURLOPT_URL, request.url.c_str());
  curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
  // Neither ours nor one of the environment's.
  curl_easy_setopt(curl, CURLOPT_PROXY, "");
  curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(curl, CURLOPT_REDIR_PROTOCOLS_STR,
                   request.url.starts_with("http:") ? "http,https" : "https");
  curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, request.redirects_max > 0 ? 1L : 0L);
  curl_easy_setopt(curl, CURLOPT_MAXREDIRS, static_cast<long>(request.redirects_max));
  curl_easy_setopt(curl, CURLOPT_OPENSOCKETFUNCTION, open_socket);
  if (!request.unix_socket.empty()) {
    curl_easy_setopt(curl, CURLOPT_UNIX_SOCKET_PATH, request.unix_socket.c_str());
  }
  if (connect_to != nullptr) curl_easy_setopt(curl, CURLOPT_CONNECT_TO, connect_to);
  if (!request.ca_file.empty()) {
    curl_easy_setopt(curl, CURLOPT_CAINFO, request.ca_file.c_str());
    // Else the system's folder would be trusted beside the file.
    curl_easy_setopt(curl, CURLOPT_CAPATH, nullptr);
  }
}

void set_message(CURL* curl, const HttpRequest& request, curl_slist* fields) {
  curl_easy_setopt(curl, CURLOPT_USERAGENT, (std::string("atlasflow/") + k_version).c_str());
  curl_easy_setopt(curl, CURLOPT_HTTPHEADER, fields);
  // A body, or a method that has one: without this a POST of nothing would announce no length.
  if (request.body || request.method == "POST" || request.method == "PUT" ||
      request.method == "PATCH") {
    const std::string_view body = request.body ? std::string_view(*request.body) : "";
    curl_easy_setopt(curl, CURLOPT_POST, 1L);
    curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(body.size()));
    curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body.data());
  }
  if (request.method == "HEAD") {
    curl_easy_setopt(curl, CURLOPT_NOBODY, 1L);
  } else {
    curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, request.method.c_str());
  }
}

void set_callbacks(CURL* curl, const HttpRequest& request, Exchange& exchange, BodyTaker& taker) {
  curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, static_cast<long>(request.timeout.count()));
  curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, on_head);
  curl_easy_setopt(curl, CURLOPT_HEADERDATA, &exchange);
  curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
  curl_easy_setopt(curl, CURLOPT_WRITEDATA, &taker);
  curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
  curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, on_progress);
  curl_easy_setopt(curl, CURLOPT_XFERINFODATA, &exchange);
}

// libcurl's words and the operating system's. Neither names the URL or what was sent.
std::string cause_of(CURLcode code, long os_error) {
  std::string cause = curl_easy_strerror(code);
  if (os_error != 0) cause += std::string(": ") + std::strerror(static_cast<int>(os_error));
  return cause;
}

Error error_of(CURL* curl, CURLcode code, const Exchange& exchange, const std::string& place) {
  const auto& request = *exchange.request;
  if (exchange.head_too_large || exchange.body_too_large) {
    const auto what = exchange.head_too_large
                          ? "head of more than " + std::to_string(k_head_bytes_max)
                          : "body of more than " + std::to_string(exchange.request->body_bytes_max);
    return {ErrorCode::too_large, place + " answered with a " + what + " bytes", {}};
  }
  long os_error = 0;
  curl_easy_getinfo(curl, CURLINFO_OS_ERRNO, &os_error);
  switch (code) {
    case CURLE_URL_MALFORMAT:
    case CURLE_UNSUPPORTED_PROTOCOL:
      return {ErrorCode::invalid_argument, "the URL is none of http:// or https://",
              cause_of(code, 0)};
    case CURLE_ABORTED_BY_CALLBACK:
      return {ErrorCode::cancelled, "the request to " + place + " was stopped", {}};
    case CURLE_OPERATION_TIMEDOUT:
      return {ErrorCode::timed_out,
              place + " did not answer within " + std::to_string(request.timeout.count()) + " ms",
              {}};
    case CURLE_TOO_MANY_REDIRECTS:
      return {ErrorCode::unavailable,
              place + " redirects more than " + std::to_string(request.redirects_max) + " times",
              {}};
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
      return {ErrorCode::unavailable, place + " has no certificate that can be trusted",
              cause_of(code, 0)};
    case CURLE_COULDNT_CONNECT:
      if (!request.unix_socket.empty() && (os_error == EACCES || os_error == EPERM)) {
        return {ErrorCode::unauthorized, "may not open " + place, cause_of(code, os_error)};
      }
      return {ErrorCode::unavailable, place + " does not answer", cause_of(code, os_error)};
    default:
      return {ErrorCode::unavailable, place + " does not answer", cause_of(code, 0)};
  }
}

}  // namespace

std::string_view HttpResponse::field(std::string_view name) const {
  const auto found =
      std::ranges::find_if(fields, [&](const auto& field) { return same_name(field.name, name); });
  return found == fields.end() ? std::string_view{} : std::string_view(found->value);
}

struct HttpClient::Handle {
  CurlHandle curl;
};

HttpClient::HttpClient() : handle_(std::make_unique<Handle>()) {
  if (libcurl_is_ready()) handle_->curl.reset(curl_easy_init());
}
HttpClient::~HttpClient() = default;
HttpClient::HttpClient(HttpClient&&) noexcept = default;
HttpClient& HttpClient::operator=(HttpClient&&) noexcept = default;

Result<HttpResponse> HttpClient::send(const HttpRequest& request) {
  reached_ = false;
  CURL* curl = handle_->curl.get();
  if (curl == nullptr) return fail(ErrorCode::internal, "libcurl can't be started");
  ATLAS_TRYV(check(request));
  ATLAS_TRY(const auto place, place_of(request));
  CurlList fields;
  CurlList connect_to;
  // "::" stands for every host and port of the URL (CURLOPT_CONNECT_TO).
  if (!append_fields(fields, request) ||
      (!request.connect_to.empty() && !append(connect_to, "::" + request.connect_to))) {
    return fail(ErrorCode::internal, "no memory for the header of a request");
  }
  Exchange exchange{.request = &request};
  BodyTaker taker{&exchange, curl};
  set_way(curl, request, connect_to.get());
  set_message(curl, request, fields.get());
  set_callbacks(curl, request, exchange, taker);
  const CURLcode code = [&] {
    const PipeSignalBlocked blocked;
    return curl_easy_perform(curl);
  }();
  // The one is set when the connection stands, by TLS where that is asked for, and a request was
  // handed to it; the other counts what was sent, though it was given up right behind that.
  curl_off_t until_sending_us = 0;
  long sent_bytes = 0;
  curl_easy_getinfo(curl, CURLINFO_PRETRANSFER_TIME_T, &until_sending_us);
  curl_easy_getinfo(curl, CURLINFO_REQUEST_SIZE, &sent_bytes);
  reached_ = until_sending_us > 0 || sent_bytes > 0;
  auto answer = [&]() -> Result<HttpResponse> {
    if (code != CURLE_OK && !exchange.taken_enough) {
      return tl::unexpected(error_of(curl, code, exchange, place));
    }
    exchange.response.status = status_of(curl);
    return std::move(exchange.response);
  }();
  // Keeps the connections and forgets everything of the request, whose memory is the caller's.
  curl_easy_reset(curl);
  return answer;
}

Result<HttpResponse> send_http(const HttpRequest& request) { return HttpClient().send(request); }

}  // namespace atlasflow
