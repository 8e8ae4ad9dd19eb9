// HTTPS: certificates by name from the local CA, alerts for foreign names, redirects, and the CA's
// files.
#include <filesystem>
#include <fstream>
#include <sstream>

#include <openssl/x509v3.h>
#include <sys/stat.h>

#include "edge/tls/local_ca.hpp"
#include "tests/edge/edge_fixture.hpp"

namespace atlasflow::edge {
namespace {

std::string read_file(const std::filesystem::path& path) {
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

class Tls : public EdgeTest {
 protected:
  void serve(const std::function<void(EdgeConfig&)>& change = {}) {
    start(change);
    upstream_ = std::make_unique<RecordingUpstream>([this](UpstreamSession& session) {
      UpstreamSession::Request request;
      while (session.read_request(request)) {
        {
          const std::lock_guard lock(mutex_);
          last_ = request;
        }
        session.write("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecret");
      }
    });
    route("shop.apps.test", {at(*upstream_)});
    route("deep.preview.apps.test", {at(*upstream_)});
    route("apps.test", {at(*upstream_)});
    route("custom.example", {at(*upstream_)});
    publish();
    ca_ = edge_->ca_certificate();
  }

  std::mutex mutex_;
  UpstreamSession::Request last_;
  std::unique_ptr<RecordingUpstream> upstream_;
  std::string ca_;
};

TEST_F(Tls, every_host_under_the_domain_verifies_against_the_local_ca) {
  serve();
  for (const char* host :
       {"shop.apps.test", "apps.test", "deep.preview.apps.test", "nobody.apps.test"}) {
    for (int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
      Client client;
      ASSERT_TRUE(client.connect(edge_->https_port()));
      ASSERT_TRUE(client.start_tls(host, ca_, version)) << host << ": " << client.tls_error();
      EXPECT_EQ(SSL_version(client.tls()), version);
      const ClientResponse response = client.get(host);
      EXPECT_EQ(response.status, host == std::string("nobody.apps.test") ? 404 : 200) << host;
    }
  }
  const std::lock_guard lock(mutex_);
  EXPECT_EQ(last_.fields["x-forwarded-proto"], "https");
  EXPECT_EQ(last_.fields["x-forwarded-port"], std::to_string(edge_->https_port()));
}

TEST_F(Tls, foreign_and_missing_names_get_an_alert_and_no_certificate) {
  serve();
  for (const char* name : {"custom.example", "evil.example", "xapps.test", ""}) {
    Client client;
    ASSERT_TRUE(client.connect(edge_->https_port()));
    EXPECT_FALSE(client.start_tls(name, ""));
    EXPECT_EQ(client.tls_error(), "tlsv1 unrecognized name") << name;
  }
}

TEST_F(Tls, browsers_are_kept_to_https_when_the_operator_asks_for_it) {
  const auto said = [&](const std::string& host, const std::string& name) {
    Client client;
    if (!client.connect(edge_->https_port()) || !client.start_tls(name, ""))
      return std::string("-");
    return client.get(host).field("strict-transport-security");
  };
  serve([](EdgeConfig& config) { config.hsts_max_age_s = 300; });
  EXPECT_EQ(said("shop.apps.test", "shop.apps.test"), "max-age=300");
  EXPECT_EQ(said("nobody.apps.test", "nobody.apps.test"), "max-age=300") << "the edge's own answer";
  EXPECT_EQ(said("custom.example", "shop.apps.test"), "") << "its owner has not asked";
  Client plain;
  ASSERT_TRUE(plain.connect(edge_->http_port()));
  EXPECT_EQ(plain.get("shop.apps.test").field("strict-transport-security"), "");

  RecordingUpstream own([](UpstreamSession& session) {
    UpstreamSession::Request request;
    while (session.read_request(request)) {
      session.write(
          "HTTP/1.1 200 OK\r\nStrict-Transport-Security: max-age=9\r\nContent-Length: 0\r\n\r\n");
    }
  });
  route("own.apps.test", {at(own)});
  publish();
  EXPECT_EQ(said("own.apps.test", "own.apps.test"), "max-age=9") << "the application knows better";
}

TEST_F(Tls, nobody_is_kept_to_https_unasked) {
  serve();
  Client client;
  ASSERT_TRUE(client.connect(edge_->https_port()));
  ASSERT_TRUE(client.start_tls("shop.apps.test", ca_));
  EXPECT_EQ(client.get("shop.apps.test").fields.count("strict-transport-security"), 0U);
}

TEST_F(Tls, old_protocol_versions_are_refused) {
  serve();
  Client client;
  ASSERT_TRUE(client.connect(edge_->https_port()));
  EXPECT_FALSE(client.start_tls("shop.apps.test", "", TLS1_1_VERSION));
}

TEST_F(Tls, a_host_of_another_certificate_is_misdirected) {
  serve();
  Client client;
  ASSERT_TRUE(client.connect(edge_->https_port()));
  ASSERT_TRUE(client.start_tls("shop.apps.test", ca_));
  EXPECT_EQ(client.get("apps.test").status, 200) << "the same certificate is for both";
  EXPECT_EQ(client.get("deep.preview.apps.test").status, 421);
  EXPECT_EQ(client.get("custom.example").status, 421);
}

TEST_F(Tls, big_responses_survive_encryption_and_back_pressure) {
  const std::string big(8 * 1024 * 1024, 'z');
  start();
  RecordingUpstream upstream(answer_with(big));
  route("shop.apps.test", {at(upstream)});
  publish();
  Client client;
  ASSERT_TRUE(client.connect(edge_->https_port()));
  ASSERT_TRUE(client.start_tls("shop.apps.test", edge_->ca_certificate()));
  for (int i = 0; i < 2; ++i) {
    ASSERT_TRUE(client.send("GET / HTTP/1.1\r\nHost: shop.apps.test\r\n\r\n"));
    std::this_thread::sleep_for(100ms);
    EXPECT_TRUE(client.receive().body == big);
  }
  ASSERT_TRUE(client.send("POST / HTTP/1.1\r\nHost: shop.apps.test\r\nContent-Length: " +
                          std::to_string(big.size()) + "\r\n\r\n"));
  ASSERT_TRUE(client.send(big));
  EXPECT_EQ(client.receive().status, 200);
}

TEST_F(Tls, plain_http_is_redirected_for_hosts_that_have_https) {
  serve([](EdgeConfig& config) { config.redirect_http = true; });
  Client client;
  ASSERT_TRUE(client.connect(edge_->http_port()));
  const ClientResponse get = client.get("shop.apps.test:80", "/a?b=c");
  EXPECT_EQ(get.status, 301);
  EXPECT_EQ(get.field("location"),
            "https://shop.apps.test:" + std::to_string(edge_->https_port()) + "/a?b=c");
  ASSERT_TRUE(
      client.send("POST /p HTTP/1.1\r\nHost: shop.apps.test\r\nContent-Length: 4\r\n\r\ndata"));
  EXPECT_EQ(client.receive().status, 308);
  EXPECT_EQ(client.get("nobody.apps.test").status, 404);
  EXPECT_EQ(client.get("custom.example").status, 200) << "it has no certificate to redirect to";
}

TEST_F(Tls, the_ca_outlives_a_restart_and_its_key_is_private) {
  start();
  const std::string before = read_file(edge_->ca_certificate());
  const std::string key = directory_ + "/ca/ca.key";
  struct stat status {};
  ASSERT_EQ(::stat(key.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777U, 0600U);
  edge_.reset();
  ASSERT_EQ(::chmod(key.c_str(), 0644), 0);
  start();
  EXPECT_EQ(read_file(edge_->ca_certificate()), before);
  ASSERT_EQ(::stat(key.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777U, 0600U);
}

TEST_F(Tls, a_first_start_that_died_halfway_is_repeated) {
  std::filesystem::create_directories(directory_ + "/ca");
  std::ofstream(directory_ + "/ca/ca.key") << "half a k";
  start();
  EXPECT_FALSE(read_file(edge_->ca_certificate()).empty());
}

TEST_F(Tls, a_damaged_or_foreign_ca_is_refused_with_what_to_do) {
  const std::filesystem::path dir = directory_ + "/ca";
  ASSERT_TRUE(LocalCa::open_or_create(dir, "apps.test").has_value());
  EXPECT_TRUE(LocalCa::open_or_create(dir, "sub.apps.test").has_value());
  const auto foreign = LocalCa::open_or_create(dir, "other.test");
  ASSERT_FALSE(foreign.has_value());
  EXPECT_EQ(foreign.error().code, ErrorCode::conflict);
  std::filesystem::rename(dir / "ca.key", dir / "kept");
  const auto keyless = LocalCa::open_or_create(dir, "apps.test");
  ASSERT_FALSE(keyless.has_value());
  EXPECT_EQ(keyless.error().code, ErrorCode::corrupt);
  std::ofstream(dir / "ca.key") << "nonsense";
  const auto damaged = LocalCa::open_or_create(dir, "apps.test");
  ASSERT_FALSE(damaged.has_value());
  EXPECT_EQ(damaged.error().code, ErrorCode::corrupt);
}

TEST_F(Tls, the_ca_cannot_vouch_for_names_outside_its_domain) {
  auto ca = LocalCa::open_or_create(directory_ + "/ca", "apps.test");
  ASSERT_TRUE(ca.has_value());
  const auto verifies = [&](const std::string& name) {
    const auto issued = ca->issue({name});
    std::unique_ptr<X509_STORE, OpensslFree<X509_STORE_free>> store(X509_STORE_new());
    std::unique_ptr<X509_STORE_CTX, OpensslFree<X509_STORE_CTX_free>> context(X509_STORE_CTX_new());
    EXPECT_EQ(X509_STORE_load_file(store.get(), ca->certificate_path().c_str()), 1);
    EXPECT_EQ(X509_STORE_CTX_init(context.get(), store.get(), (*issued)->leaf.get(), nullptr), 1);
    return X509_verify_cert(context.get()) == 1;
  };
  EXPECT_TRUE(verifies("shop.apps.test"));
  EXPECT_TRUE(verifies("*.apps.test"));
  EXPECT_FALSE(verifies("bank.example"));
}

TEST_F(Tls, a_domain_of_one_label_gets_exact_certificates) {
  start([](EdgeConfig& config) { config.domain = "localhost"; });
  RecordingUpstream upstream(answer_with("ok"));
  route("shop.localhost", {at(upstream)});
  publish();
  Client client;
  ASSERT_TRUE(client.connect(edge_->https_port()));
  ASSERT_TRUE(client.start_tls("shop.localhost", edge_->ca_certificate())) << client.tls_error();
  EXPECT_EQ(client.get("shop.localhost").body, "ok");
}

TEST_F(Tls, sessions_resume_on_any_worker) {
  serve();
  SSL_SESSION* session = nullptr;
  {
    Client first;
    ASSERT_TRUE(first.connect(edge_->https_port()));
    ASSERT_TRUE(first.start_tls("shop.apps.test", ca_, TLS1_2_VERSION));
    ASSERT_EQ(first.get("shop.apps.test").status, 200);
    session = SSL_get1_session(first.tls());
    SSL_shutdown(first.tls());  // else OpenSSL takes the session for a broken one
  }
  ASSERT_NE(session, nullptr);
  for (int i = 0; i < 8; ++i) {
    Client client;
    ASSERT_TRUE(client.connect(edge_->https_port()));
    SslContextPtr context(SSL_CTX_new(TLS_client_method()));
    SSL_CTX_set_max_proto_version(context.get(), TLS1_2_VERSION);
    SslPtr ssl(SSL_new(context.get()));
    SSL_set_tlsext_host_name(ssl.get(), "shop.apps.test");
    SSL_set_fd(ssl.get(), client.fd());
    ASSERT_EQ(SSL_set_session(ssl.get(), session), 1);
    ASSERT_EQ(SSL_connect(ssl.get()), 1);
    EXPECT_EQ(SSL_session_reused(ssl.get()), 1) << "connection " << i;
    SSL_shutdown(ssl.get());
  }
  SSL_SESSION_free(session);
}

TEST_F(Tls, bytes_that_are_no_tls_close_the_connection) {
  serve();
  Client client;
  ASSERT_TRUE(client.connect(edge_->https_port()));
  ASSERT_TRUE(client.send("\x01\x02 no handshake of any protocol"));
  EXPECT_TRUE(client.ended());
}

TEST_F(Tls, plain_http_is_told_to_speak_https) {
  serve();
  for (const std::string method : {"GET", "OPTIONS", "PROPFIND"}) {
    Client client;
    ASSERT_TRUE(client.connect(edge_->https_port()));
    ASSERT_TRUE(client.send(method + " / HTTP/1.1\r\nHost: shop.apps.test\r\n\r\n"));
    const ClientResponse response = client.receive();
    EXPECT_EQ(response.status, 400) << method;
    EXPECT_EQ(response.field("x-atlas-error"), "plain_http");
    EXPECT_NE(response.body.find("https://"), std::string::npos) << response.body;
    EXPECT_TRUE(client.ended());
  }
}

TEST_F(Tls, an_idle_connection_is_closed_with_a_close_notify) {
  serve([](EdgeConfig& config) { config.timeouts.keep_alive = 300ms; });
  Client client;
  ASSERT_TRUE(client.connect(edge_->https_port()));
  ASSERT_TRUE(client.start_tls("shop.apps.test", edge_->ca_certificate().string()));
  ASSERT_EQ(client.get("shop.apps.test").status, 200);
  char byte = 0;
  const int got = SSL_read(client.tls(), &byte, 1);
  EXPECT_EQ(SSL_get_error(client.tls(), got), SSL_ERROR_ZERO_RETURN);
}

}  // namespace
}  // namespace atlasflow::edge
