#include "tests/edge/edge_fixture.hpp"

#include <algorithm>
#include <array>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <sstream>

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <unistd.h>

namespace atlasflow::edge {
namespace {

class BlockedSigpipe {
 public:
  BlockedSigpipe() {
    ::sigemptyset(&pipe_);
    ::sigaddset(&pipe_, SIGPIPE);
    ::pthread_sigmask(SIG_BLOCK, &pipe_, &before_);
  }
  ~BlockedSigpipe() {
    const timespec now{};
    (void)::sigtimedwait(&pipe_, nullptr, &now);
    ::pthread_sigmask(SIG_SETMASK, &before_, nullptr);
  }
  BlockedSigpipe(const BlockedSigpipe&) = delete;
  BlockedSigpipe& operator=(const BlockedSigpipe&) = delete;

 private:
  sigset_t pipe_{};
  sigset_t before_{};
};

std::string lower(std::string_view text) {
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return out;
}

void set_socket_timeout(int fd, std::chrono::milliseconds patience) {
  timeval limit{};
  limit.tv_sec = static_cast<time_t>(patience.count() / 1000);
  limit.tv_usec = static_cast<suseconds_t>(patience.count() % 1000 * 1000);
  ::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  ::setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
}

}  // namespace

bool eventually(const std::function<bool()>& holds) {
  const auto until = std::chrono::steady_clock::now() + k_patience;
  while (!holds()) {
    if (std::chrono::steady_clock::now() > until) return false;
    std::this_thread::sleep_for(5ms);
  }
  return true;
}

bool UpstreamSession::receive() {
  std::array<char, 65536> bytes{};
  const ssize_t got = ::recv(socket_.get(), bytes.data(), bytes.size(), 0);
  if (got <= 0) return false;
  input_.append(bytes.data(), static_cast<std::size_t>(got));
  if (received_.size() < 1024 * 1024) received_.append(bytes.data(), static_cast<std::size_t>(got));
  return true;
}

bool UpstreamSession::read_head(Request& request) {
  request = {};
  parser_.reset();
  for (;;) {
    const std::string before = input_;
    const http::ParseStep step = parser_.next(input_);
    request.raw_head += input_.substr(0, step.consumed);
    input_.erase(0, step.consumed);
    if (step.event == http::ParseEvent::error) return false;
    if (step.event == http::ParseEvent::head) {
      request.method = parser_.head().method;
      request.path = parser_.head().path;
      for (const http::Field& field : parser_.head().fields) {
        request.fields[lower(field.name)] = field.value;
      }
      return true;
    }
    if (!receive()) return false;
  }
}

bool UpstreamSession::read_body(Request& request) {
  for (;;) {
    const http::ParseStep step = parser_.next(input_);
    request.body.append(step.body);
    input_.erase(0, step.consumed);
    if (step.event == http::ParseEvent::complete) return true;
    if (step.event == http::ParseEvent::error) return false;
    if (step.event == http::ParseEvent::need_more && !receive()) return false;
  }
}

bool UpstreamSession::read_request(Request& request) {
  return read_head(request) && read_body(request);
}

bool UpstreamSession::write(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = ::send(socket_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent <= 0) return false;
    bytes.remove_prefix(static_cast<std::size_t>(sent));
  }
  return true;
}

std::string UpstreamSession::read_some() {
  if (input_.empty() && !receive()) return {};
  return std::exchange(input_, {});
}

void UpstreamSession::reset() {
  const linger hard{1, 0};
  ::setsockopt(socket_.get(), SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
}

void UpstreamSession::shutdown() { ::shutdown(socket_.get(), SHUT_RDWR); }

RecordingUpstream::RecordingUpstream(Handler handler, const std::string& unix_path)
    : handler_(std::move(handler)) {
  const auto address =
      parse_socket_address(unix_path.empty() ? "127.0.0.1" : "unix:" + unix_path, 0).value();
  listener_ = FileDescriptor(::socket(address.family(), SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (::bind(listener_.get(), address.get(), address.bytes) != 0 ||
      ::listen(listener_.get(), 512) != 0) {
    std::abort();
  }
  if (unix_path.empty()) port_ = local_port(listener_);
  acceptor_ = std::thread([this] { accept_loop(); });
}

void RecordingUpstream::accept_loop() {
  for (;;) {
    FileDescriptor socket(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (stopping_.load()) return;
    if (!socket.valid()) continue;
    const int on = 1;  // of a unix socket it is refused, which has no such delay
    (void)::setsockopt(socket.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    ++connections_;
    const std::lock_guard lock(mutex_);
    auto session = std::make_shared<UpstreamSession>(std::move(socket));
    sessions_.push_back(session);
    threads_.emplace_back([this, session] {
      handler_(*session);
      const std::lock_guard inner(mutex_);
      received_ += session->received();
      std::erase(sessions_, session);  // the last reference: closes the socket
    });
  }
}

void RecordingUpstream::stop() {
  if (stopping_.exchange(true)) return;
  ::shutdown(listener_.get(), SHUT_RDWR);  // ends accept()
  acceptor_.join();
  listener_.reset();
  std::vector<std::thread> threads;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& session : sessions_) session->shutdown();
    threads.swap(threads_);
  }
  for (auto& thread : threads) thread.join();
}

std::string RecordingUpstream::received() {
  const std::lock_guard lock(mutex_);
  return received_;
}

RecordingUpstream::Handler answer_with(std::string body) {
  return [body = std::move(body)](UpstreamSession& session) {
    UpstreamSession::Request request;
    while (session.read_request(request)) {
      session.write("HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(body.size()) +
                    "\r\n\r\n" + (request.method == "HEAD" ? "" : body));
    }
  };
}

bool Client::connect(std::uint16_t port, const std::string& from) {
  const auto address = parse_socket_address("127.0.0.1", port).value();
  socket_ = FileDescriptor(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  set_socket_timeout(socket_.get(), k_patience);
  // As clients do that speak HTTP/2: small frames would wait for the ACK of those before them.
  const int on = 1;
  (void)::setsockopt(socket_.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  if (!from.empty()) {
    const auto own = parse_socket_address(from, 0).value();
    if (::bind(socket_.get(), own.get(), own.bytes) != 0) return false;
  }
  return ::connect(socket_.get(), address.get(), address.bytes) == 0;
}

void Client::set_patience(std::chrono::milliseconds patience) {
  set_socket_timeout(socket_.get(), patience);
}

bool Client::start_tls(const std::string& server_name, const std::string& ca_file,
                       int version_max) {
  context_.reset(SSL_CTX_new(TLS_client_method()));
  if (!ca_file.empty()) {
    if (SSL_CTX_load_verify_locations(context_.get(), ca_file.c_str(), nullptr) != 1) return false;
    SSL_CTX_set_verify(context_.get(), SSL_VERIFY_PEER, nullptr);
  }
  if (version_max != 0) SSL_CTX_set_max_proto_version(context_.get(), version_max);
  ssl_.reset(SSL_new(context_.get()));
  if (!server_name.empty()) {
    SSL_set_tlsext_host_name(ssl_.get(), server_name.c_str());
    if (!ca_file.empty()) SSL_set1_host(ssl_.get(), server_name.c_str());
  }
  if (!protocol_.empty()) {
    std::string offer;
    std::istringstream names(protocol_);
    for (std::string name; std::getline(names, name, ',');) {
      offer += static_cast<char>(name.size()) + name;
    }
    SSL_set_alpn_protos(ssl_.get(), reinterpret_cast<const unsigned char*>(offer.data()),
                        static_cast<unsigned>(offer.size()));
  }
  SSL_set_fd(ssl_.get(), socket_.get());
  ERR_clear_error();
  if (SSL_connect(ssl_.get()) == 1) return true;
  const char* reason = ERR_reason_error_string(ERR_peek_last_error());
  tls_error_ = reason == nullptr ? "" : reason;
  ssl_.reset();
  return false;
}

bool Client::send(std::string_view bytes) {
  // OpenSSL writes without MSG_NOSIGNAL. Only this thread's signal is held back: the edge, which
  // runs in the same process, has to do without.
  const BlockedSigpipe blocked;
  while (!bytes.empty()) {
    const ssize_t sent = ssl_ ? SSL_write(ssl_.get(), bytes.data(), static_cast<int>(bytes.size()))
                              : ::send(socket_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent <= 0) return false;
    bytes.remove_prefix(static_cast<std::size_t>(sent));
  }
  return true;
}

std::string Client::read_some() {
  if (!input_.empty()) return std::exchange(input_, {});
  std::string bytes(65536, '\0');
  const ssize_t got = ssl_ ? SSL_read(ssl_.get(), bytes.data(), static_cast<int>(bytes.size()))
                           : ::recv(socket_.get(), bytes.data(), bytes.size(), 0);
  bytes.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
  return bytes;
}

bool Client::ended() {
  while (!read_some().empty()) {
  }
  // Told apart from a time-out, which is no end.
  char byte = 0;
  return ::recv(socket_.get(), &byte, 1, MSG_DONTWAIT) == 0 || errno == ECONNRESET;
}

void Client::close() {
  ssl_.reset();
  socket_.reset();
  input_.clear();
}

ClientResponse Client::receive(bool to_head) {
  ClientResponse response;
  http::ResponseParser parser;
  parser.reset(to_head);
  for (;;) {
    const http::ParseStep step = parser.next(input_);
    response.body.append(step.body);
    input_.erase(0, step.consumed);
    if (step.event == http::ParseEvent::head) {
      if (parser.head().status < 200 && parser.head().status != 101) {
        response.interim.push_back(parser.head().status);
      } else {
        response.status = parser.head().status;
        for (const http::Field& field : parser.head().fields) {
          response.fields[lower(field.name)] = field.value;
        }
      }
    } else if (step.event == http::ParseEvent::complete) {
      if (response.status == 0) {
        parser.reset(to_head);
        continue;
      }
      for (const http::Field& field : parser.trailers()) {
        response.fields["trailer " + lower(field.name)] = field.value;
      }
      response.complete = true;
      return response;
    } else if (step.event == http::ParseEvent::error) {
      return response;
    } else if (step.event == http::ParseEvent::need_more) {
      input_ = read_some();
      if (input_.empty()) {
        const bool clean = ended();
        response.complete = clean && parser.finish().event == http::ParseEvent::complete;
        return response;
      }
    }
  }
}

ClientResponse Client::get(const std::string& host, const std::string& path,
                           const std::string& fields) {
  if (!send("GET " + path + " HTTP/1.1\r\nHost: " + host + "\r\n" + fields + "\r\n")) return {};
  return receive();
}

EdgeTest::EdgeTest() {
  std::string pattern = (std::filesystem::temp_directory_path() / "edge-test-XXXXXX").string();
  if (::mkdtemp(pattern.data()) == nullptr) std::abort();
  directory_ = pattern;
}

EdgeTest::~EdgeTest() {
  edge_.reset();
  std::filesystem::remove_all(directory_);
}

void EdgeTest::start(std::function<void(EdgeConfig&)> change) {
  EdgeConfig config;
  config.domain = "apps.test";
  config.ca_dir = directory_ + "/ca";
  config.redirect_http = false;
  config.workers = 2;
  config.timeouts.connect_retry = 1500ms;
  if (change) change(config);
  auto started = start_edge(config);
  ASSERT_TRUE(started.has_value()) << to_string(started.error());
  edge_ = std::move(*started);
}

void EdgeTest::route(const std::string& host, std::vector<Upstream> upstreams, std::string reason) {
  std::erase_if(table_.routes, [&](const Route& known) { return known.host == host; });
  table_.routes.push_back({host, "shop", "d-1", std::move(upstreams), std::move(reason)});
}

void EdgeTest::publish() {
  ++table_.generation;
  const auto published = edge_->publish(table_);
  ASSERT_TRUE(published.has_value()) << to_string(published.error());
  ASSERT_EQ(edge_->generation(), table_.generation);
}

Upstream EdgeTest::at(const RecordingUpstream& upstream, const std::string& vm_id) {
  return {vm_id, "127.0.0.1", upstream.port()};
}

}  // namespace atlasflow::edge
