#include "tests/base/http_peer.hpp"

#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <stdexcept>
#include <utility>

#include <netinet/in.h>
#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

namespace atlasflow::base_test {
namespace {

struct OpenSslDeleter {
  void operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }
  void operator()(X509* certificate) const { X509_free(certificate); }
  void operator()(BIO* bio) const { BIO_free(bio); }
  void operator()(SSL* ssl) const { SSL_free(ssl); }
  void operator()(SSL_CTX* context) const { SSL_CTX_free(context); }
  void operator()(X509_EXTENSION* extension) const { X509_EXTENSION_free(extension); }
};
template <typename T>
using Owned = std::unique_ptr<T, OpenSslDeleter>;

std::string text_in(BIO* bio) {
  char* bytes = nullptr;
  const long size = BIO_get_mem_data(bio, &bytes);
  return {bytes, static_cast<std::size_t>(size)};
}

FileDescriptor listen_on(const std::filesystem::path& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.c_str(), path.native().size() + 1);
  FileDescriptor listener(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (::bind(listener.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 ||
      ::listen(listener.get(), 16) != 0) {
    throw std::runtime_error("cannot listen on " + path.string());
  }
  return listener;
}

FileDescriptor listen_on_loopback(int& port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  FileDescriptor listener(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  socklen_t size = sizeof address;
  auto* any = reinterpret_cast<sockaddr*>(&address);
  if (::bind(listener.get(), any, size) != 0 || ::listen(listener.get(), 16) != 0 ||
      ::getsockname(listener.get(), any, &size) != 0) {
    throw std::runtime_error("cannot listen on loopback");
  }
  port = ntohs(address.sin_port);
  return listener;
}

// The bytes of one connection, with TLS or without.
struct Channel {
  std::function<int(char*, int)> read;
  std::function<int(const char*, int)> write;
};

// A head and as much body as it announces; empty when the client has gone.
std::string next_request(const Channel& channel, std::string& buffer) {
  std::size_t wanted = 0;
  while (true) {
    const auto head = buffer.find("\r\n\r\n");
    if (head != buffer.npos && wanted == 0) {
      const auto announced = buffer.find("Content-Length: ");
      wanted = head + 4 + (announced < head ? std::stoul(buffer.substr(announced + 16)) : 0);
    }
    if (wanted != 0 && buffer.size() >= wanted) {
      auto request = buffer.substr(0, wanted);
      buffer.erase(0, wanted);
      return request;
    }
    char bytes[4096];
    const int got = channel.read(bytes, sizeof bytes);
    if (got <= 0) return {};
    buffer.append(bytes, static_cast<std::size_t>(got));
  }
}

}  // namespace

PeerIdentity make_peer_identity() {
  const Owned<EVP_PKEY> key(EVP_EC_gen("P-256"));
  const Owned<X509> certificate(X509_new());
  X509_set_version(certificate.get(), X509_VERSION_3);
  ASN1_INTEGER_set(X509_get_serialNumber(certificate.get()), 1);
  X509_gmtime_adj(X509_getm_notBefore(certificate.get()), -60);
  X509_gmtime_adj(X509_getm_notAfter(certificate.get()), 3600);
  auto* name = X509_get_subject_name(certificate.get());
  X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
                             reinterpret_cast<const unsigned char*>("a test's peer"), -1, -1, 0);
  X509_set_issuer_name(certificate.get(), name);
  X509_set_pubkey(certificate.get(), key.get());
  for (const auto& [nid, value] : {std::pair{NID_subject_alt_name, "DNS:localhost"},
                                   std::pair{NID_basic_constraints, "critical,CA:TRUE"}}) {
    const Owned<X509_EXTENSION> extension(X509V3_EXT_conf_nid(nullptr, nullptr, nid, value));
    X509_add_ext(certificate.get(), extension.get(), -1);
  }
  X509_sign(certificate.get(), key.get(), EVP_sha256());
  const Owned<BIO> certificate_pem(BIO_new(BIO_s_mem()));
  const Owned<BIO> key_pem(BIO_new(BIO_s_mem()));
  PEM_write_bio_X509(certificate_pem.get(), certificate.get());
  PEM_write_bio_PrivateKey(key_pem.get(), key.get(), nullptr, nullptr, 0, nullptr, nullptr);
  return {text_in(certificate_pem.get()), text_in(key_pem.get())};
}

HttpPeer::HttpPeer(Answer answer, std::filesystem::path socket, PeerIdentity identity)
    : answer_(std::move(answer)),
      identity_(std::move(identity)),
      listener_(socket.empty() ? listen_on_loopback(port_) : listen_on(socket)),
      stop_(::eventfd(0, EFD_CLOEXEC)),
      thread_([this] { run(); }) {}

HttpPeer::~HttpPeer() {
  const std::uint64_t one = 1;
  static_cast<void>(::write(stop_.get(), &one, sizeof one));
  thread_.join();
}

std::vector<std::string> HttpPeer::requests() const {
  const std::lock_guard lock(mutex_);
  return requests_;
}

void HttpPeer::run() {
  // OpenSSL writes to a client that has gone, and the test goes on.
  sigset_t pipe;
  ::sigemptyset(&pipe);
  ::sigaddset(&pipe, SIGPIPE);
  ::pthread_sigmask(SIG_BLOCK, &pipe, nullptr);
  while (true) {
    pollfd both[] = {{listener_.get(), POLLIN, 0}, {stop_.get(), POLLIN, 0}};
    ::poll(both, 2, -1);
    if (both[1].revents != 0) return;
    const FileDescriptor client(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (!client) continue;
    ++connections_;
    serve(client.get());
  }
}

void HttpPeer::serve(int client) {
  // Waits for bytes or the end of the test.
  const auto readable = [&] {
    pollfd both[] = {{client, POLLIN, 0}, {stop_.get(), POLLIN, 0}};
    ::poll(both, 2, -1);
    return both[1].revents == 0;
  };
  Channel channel{[&](char* bytes, int size) {
                    return readable() ? static_cast<int>(::recv(client, bytes,
                                                                static_cast<std::size_t>(size), 0))
                                      : 0;
                  },
                  [&](const char* bytes, int size) {
                    return static_cast<int>(
                        ::send(client, bytes, static_cast<std::size_t>(size), MSG_NOSIGNAL));
                  }};
  Owned<SSL_CTX> context;
  Owned<SSL> ssl;
  if (!identity_.key.empty()) {
    context.reset(SSL_CTX_new(TLS_server_method()));
    const Owned<BIO> certificate_pem(BIO_new_mem_buf(identity_.certificate.data(), -1));
    const Owned<BIO> key_pem(BIO_new_mem_buf(identity_.key.data(), -1));
    const Owned<X509> certificate(
        PEM_read_bio_X509(certificate_pem.get(), nullptr, nullptr, nullptr));
    const Owned<EVP_PKEY> key(PEM_read_bio_PrivateKey(key_pem.get(), nullptr, nullptr, nullptr));
    SSL_CTX_use_certificate(context.get(), certificate.get());
    SSL_CTX_use_PrivateKey(context.get(), key.get());
    ssl.reset(SSL_new(context.get()));
    SSL_set_fd(ssl.get(), client);
    if (SSL_accept(ssl.get()) != 1) return;
    channel.read = [&](char* bytes, int size) { return SSL_read(ssl.get(), bytes, size); };
    channel.write = [&](const char* bytes, int size) { return SSL_write(ssl.get(), bytes, size); };
  }
  std::string buffer;
  while (true) {
    const auto request = next_request(channel, buffer);
    if (request.empty()) return;
    {
      const std::lock_guard lock(mutex_);
      requests_.push_back(request);
    }
    const auto answer = answer_(request);
    if (answer.empty()) return;
    for (std::size_t sent = 0; sent < answer.size();) {
      const int done = channel.write(answer.data() + sent, static_cast<int>(answer.size() - sent));
      if (done <= 0) return;
      sent += static_cast<std::size_t>(done);
    }
  }
}

std::string ok(std::string_view body) {
  return "HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" +
         std::string(body);
}

}  // namespace atlasflow::base_test
