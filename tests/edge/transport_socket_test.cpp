// A socket under TLS, step by step, without a worker.
#include "edge/proxy/transport_socket.hpp"

#include <array>
#include <filesystem>
#include <string>

#include <gtest/gtest.h>
#include <openssl/bio.h>
#include <sys/socket.h>

#include "edge/tls/local_ca.hpp"
#include "edge/tls/tls_context.hpp"

namespace atlasflow::edge {
namespace {

class TlsSocket : public testing::Test {
 protected:
  TlsSocket() {
    char made[] = "/tmp/atlasflow-socket-XXXXXX";
    folder_ = ::mkdtemp(made);
    const auto ca = LocalCa::open_or_create(folder_, "apps.test");
    EXPECT_TRUE(ca);
    auto certificate = ca->issue({"*.apps.test", "apps.test"});
    EXPECT_TRUE(certificate);
    certificates_.domain = "apps.test";
    certificates_.wildcard = *certificate;
    keys_ = std::make_unique<TicketKeys>(*ticket_secret_of_now({}));
    auto context = make_tls_context(&current_, *keys_);
    EXPECT_TRUE(context);
    server_context_ = std::move(*context);
    client_context_.reset(SSL_CTX_new(TLS_client_method()));
    std::array<int, 2> ends{};
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends.data()), 0);
    client_socket_ = FileDescriptor(ends[0]);
    socket_ = std::make_unique<TransportSocket>(FileDescriptor(ends[1]));
    EXPECT_TRUE(socket_->start_tls(server_context_.get()));
    client_.reset(SSL_new(client_context_.get()));
    // The client's bytes go by way of memory, so that the test decides what is sent together.
    from_server_ = BIO_new(BIO_s_mem());
    to_server_ = BIO_new(BIO_s_mem());
    SSL_set_bio(client_.get(), from_server_, to_server_);
    SSL_set_connect_state(client_.get());
    SSL_set_tlsext_host_name(client_.get(), "shop.apps.test");
  }
  ~TlsSocket() override { std::filesystem::remove_all(folder_); }

  void send_what_the_client_wrote() {
    char* bytes = nullptr;
    const long size = BIO_get_mem_data(to_server_, &bytes);
    ASSERT_EQ(::send(client_socket_.get(), bytes, static_cast<std::size_t>(size), MSG_NOSIGNAL),
              size);
    (void)BIO_reset(to_server_);
  }
  void take_what_the_server_sent() {
    std::array<char, 16384> bytes{};
    ssize_t got = 0;
    while ((got = ::recv(client_socket_.get(), bytes.data(), bytes.size(), 0)) > 0) {
      ASSERT_EQ(BIO_write(from_server_, bytes.data(), static_cast<int>(got)), got);
    }
  }

  std::string folder_;
  CertificateMap certificates_;
  const CertificateMap* current_ = &certificates_;
  std::unique_ptr<TicketKeys> keys_;
  SslContextPtr server_context_;
  SslContextPtr client_context_;
  FileDescriptor client_socket_;
  std::unique_ptr<TransportSocket> socket_;
  SslPtr client_;
  BIO* from_server_ = nullptr;  // the SSL's
  BIO* to_server_ = nullptr;
};

TEST_F(TlsSocket, is_readable_when_the_first_request_came_with_the_end_of_the_handshake) {
  EXPECT_LE(SSL_do_handshake(client_.get()), 0);
  send_what_the_client_wrote();
  EXPECT_EQ(socket_->handshake(), IoStatus::would_block);
  EXPECT_FALSE(socket_->readable());
  take_what_the_server_sent();
  ASSERT_EQ(SSL_do_handshake(client_.get()), 1);
  ASSERT_EQ(SSL_write(client_.get(), "GET /", 5), 5);
  send_what_the_client_wrote();
  // Stepped by a report of room to write, as it happens after an accept: no report of bytes comes,
  // since these are read by then.
  ASSERT_EQ(socket_->handshake(), IoStatus::ok);
  ASSERT_TRUE(socket_->readable());
  std::array<char, 64> bytes{};
  const IoResult read = socket_->read(bytes.data(), bytes.size());
  EXPECT_EQ(read.status, IoStatus::ok);
  EXPECT_EQ(std::string(bytes.data(), read.bytes), "GET /");
}

}  // namespace
}  // namespace atlasflow::edge
