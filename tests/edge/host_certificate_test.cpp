// Certificates that single hosts are given: by name, at once, without a handshake that fails, and
// with challenges in the process that comes after this one.
#include <csignal>
#include <fstream>
#include <thread>

#include <openssl/rand.h>
#include <openssl/x509v3.h>

#include "base/file.hpp"
#include "edge/control/given_record.hpp"
#include "edge/tls/given_hosts.hpp"
#include "edge/tls/shown_certificate.hpp"
#include "tests/edge/remote_edge_fixture.hpp"

namespace atlasflow::edge {
namespace {

using std::chrono::steady_clock;

// Signed by an intermediate that the client gets from the chain only.
class TestIssuer {
 public:
  explicit TestIssuer(const std::string& folder) : root_file(folder + "/root.pem") {
    root_key_ = make_p256_key().value();
    root_ = make(root_key_.get(), "Root");
    sign(root_.get(), root_.get(), root_key_.get(), "critical,CA:TRUE");
    key_ = make_p256_key().value();
    intermediate_ = make(key_.get(), "Intermediate");
    sign(intermediate_.get(), root_.get(), root_key_.get(), "critical,CA:TRUE");
    std::ofstream(root_file) << to_pem(root_.get());
  }

  [[nodiscard]] HostCertificate issue(const std::string& host) const {
    return issue(host, make_p256_key().value());
  }
  [[nodiscard]] HostCertificate issue(const std::string& host, const KeyPtr& key) const {
    auto leaf = make(key.get(), "");
    X509_EXTENSION* names = X509V3_EXT_conf_nid(nullptr, nullptr, NID_subject_alt_name,
                                                ("critical,DNS:" + host).c_str());
    X509_add_ext(leaf.get(), names, -1);
    X509_EXTENSION_free(names);
    sign(leaf.get(), intermediate_.get(), key_.get(), "critical,CA:FALSE");
    return {host, certificate_fingerprint(leaf.get()),
            to_pem(leaf.get()) + to_pem(intermediate_.get()), to_pem(key.get())};
  }

  const std::string root_file;

 private:
  static X509Ptr make(EVP_PKEY* key, const char* name) {
    X509Ptr made(X509_new());
    X509_set_version(made.get(), X509_VERSION_3);
    std::uint64_t serial = 0;
    RAND_bytes(reinterpret_cast<unsigned char*>(&serial), sizeof serial);
    ASN1_INTEGER_set_uint64(X509_get_serialNumber(made.get()), serial);
    X509_gmtime_adj(X509_getm_notBefore(made.get()), -3600);
    X509_gmtime_adj(X509_getm_notAfter(made.get()), 3600);
    if (*name != '\0') {
      X509_NAME_add_entry_by_txt(X509_get_subject_name(made.get()), "CN", MBSTRING_UTF8,
                                 reinterpret_cast<const unsigned char*>(name), -1, -1, 0);
    }
    X509_set_pubkey(made.get(), key);
    return made;
  }
  static void sign(X509* certificate, X509* issuer, EVP_PKEY* key, const char* constraints) {
    X509_set_issuer_name(certificate, X509_get_subject_name(issuer));
    X509_EXTENSION* extension =
        X509V3_EXT_conf_nid(nullptr, nullptr, NID_basic_constraints, constraints);
    X509_add_ext(certificate, extension, -1);
    X509_EXTENSION_free(extension);
    X509_sign(certificate, key, EVP_sha256());
  }

  KeyPtr root_key_;
  X509Ptr root_;
  KeyPtr key_;
  X509Ptr intermediate_;
};

// The leaf's fingerprint, or what the handshake said.
std::string shown(const Edge& edge, const std::string& host, const std::string& ca_file) {
  Client client;
  if (!client.connect(edge.https_port())) return "no connection";
  if (!client.start_tls(host, ca_file)) return client.tls_error();
  const X509Ptr leaf(SSL_get1_peer_certificate(client.tls()));
  return certificate_fingerprint(leaf.get());
}

class HostCertificates : public EdgeTest {
 protected:
  void serve(const std::function<void(EdgeConfig&)>& change = {}) {
    start(change);
    route("shop.apps.test", {at(upstream_)});
    route("web.example", {at(upstream_)});
    route("a.web.example", {at(upstream_)});
    publish();
  }
  void show(const std::vector<HostCertificate>& certificates,
            const std::vector<std::string>& removed = {}) {
    const auto changed = edge_->change_certificates(certificates, removed);
    ASSERT_TRUE(changed.has_value()) << to_string(changed.error());
  }
  [[nodiscard]] std::string shown(const std::string& host) const {
    return edge::shown(*edge_, host, issuer_.root_file);
  }

  TestIssuer issuer_{directory_};
  RecordingUpstream upstream_{answer_with("served")};
};

TEST_F(HostCertificates, a_host_has_its_own_with_its_chain_and_nobody_else_has_it) {
  serve();
  EXPECT_EQ(shown("web.example"), "tlsv1 unrecognized name");
  const auto web = issuer_.issue("web.example");
  show({web});
  EXPECT_EQ(shown("web.example"), web.fingerprint) << "verified by its root alone";
  EXPECT_EQ(shown("a.web.example"), "tlsv1 unrecognized name");
  EXPECT_EQ(shown("example"), "tlsv1 unrecognized name");
  EXPECT_EQ(edge_->certificates(),
            (std::map<std::string, std::string>{{"web.example", web.fingerprint}}));
  Client client;
  ASSERT_TRUE(client.connect(edge_->https_port()));
  ASSERT_TRUE(client.start_tls("web.example", issuer_.root_file));
  EXPECT_EQ(client.get("web.example").body, "served");
  EXPECT_EQ(client.get("a.web.example").status, 421);
  Client own;
  ASSERT_TRUE(own.connect(edge_->https_port()));
  ASSERT_TRUE(own.start_tls("shop.apps.test", edge_->ca_certificate()));
  show({}, {"web.example"});
  EXPECT_EQ(shown("web.example"), "tlsv1 unrecognized name");
}

TEST_F(HostCertificates, the_exact_one_wins_then_the_wildcard_then_the_local_ca) {
  serve();
  const auto wildcard = issuer_.issue("*.web.example");
  const auto exact = issuer_.issue("a.web.example");
  const auto ours = issuer_.issue("shop.apps.test");
  show({wildcard, exact, ours});
  EXPECT_EQ(shown("a.web.example"), exact.fingerprint);
  EXPECT_EQ(shown("b.web.example"), wildcard.fingerprint);
  EXPECT_EQ(shown("b.a.web.example"), "tlsv1 unrecognized name");
  EXPECT_EQ(shown("shop.apps.test"), ours.fingerprint);
  EXPECT_NE(edge::shown(*edge_, "other.apps.test", edge_->ca_certificate()), ours.fingerprint);
  show({}, {"a.web.example", "shop.apps.test"});
  EXPECT_EQ(shown("a.web.example"), wildcard.fingerprint);
  EXPECT_EQ(edge::shown(*edge_, "shop.apps.test", edge_->ca_certificate()).size(), 64U);
}

TEST_F(HostCertificates, a_key_of_rsa_is_shown_to_old_and_new_clients) {
  serve();
  const auto web = issuer_.issue("web.example", KeyPtr(EVP_RSA_gen(2048)));
  show({web});
  for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
    Client client;
    ASSERT_TRUE(client.connect(edge_->https_port()));
    ASSERT_TRUE(client.start_tls("web.example", issuer_.root_file, version)) << client.tls_error();
  }
}

TEST_F(HostCertificates, a_handshake_tells_which_one_is_shown) {
  serve();
  const auto web = issuer_.issue("web.example");
  show({web});
  const auto port = edge_->https_port();
  EXPECT_EQ(shown_fingerprint("127.0.0.1", port, "web.example", 5s).value(), web.fingerprint);
  EXPECT_EQ(shown_fingerprint("0.0.0.0", port, "web.example", 5s).value(), web.fingerprint);
  EXPECT_EQ(shown_fingerprint("127.0.0.1", port, "other.example", 5s).error().code,
            ErrorCode::not_found);
  const FileDescriptor silent = listen_tcp("127.0.0.1", 0, false).value();
  EXPECT_EQ(shown_fingerprint("127.0.0.1", local_port(silent), "web.example", 200ms).error().code,
            ErrorCode::unavailable);
  EXPECT_EQ(shown_fingerprint("127.0.0.1", 1, "web.example", 5s).error().code,
            ErrorCode::unavailable);
}

TEST_F(HostCertificates, a_table_that_is_published_keeps_them) {
  serve();
  const auto web = issuer_.issue("web.example");
  show({web});
  publish();
  EXPECT_EQ(shown("web.example"), web.fingerprint);
}

TEST_F(HostCertificates, what_is_no_certificate_for_its_host_changes_nothing) {
  serve();
  const auto web = issuer_.issue("web.example");
  show({web});
  auto other_key = issuer_.issue("web.example");
  other_key.key_pem = web.key_pem;
  auto other_host = issuer_.issue("web.example");
  other_host.host = "bank.example";
  auto other_fingerprint = issuer_.issue("web.example");
  other_fingerprint.fingerprint = web.fingerprint;
  auto upper = issuer_.issue("web.example");
  upper.host = "WEB.example";
  auto garbage = web;
  garbage.chain_pem = "nothing";
  const auto weak = issuer_.issue("web.example", KeyPtr(EVP_RSA_gen(512)));
  for (const auto& each : {other_key, other_host, other_fingerprint, upper, garbage, weak}) {
    const auto changed =
        edge_->change_certificates({issuer_.issue("a.web.example"), each}, {"web.example"});
    ASSERT_FALSE(changed.has_value());
    EXPECT_EQ(changed.error().code, ErrorCode::invalid_argument);
    EXPECT_EQ(changed.error().message.find("PRIVATE"), std::string::npos);
  }
  EXPECT_EQ(shown("web.example"), web.fingerprint);
  EXPECT_EQ(edge_->certificates().size(), 1U);
}

TEST_F(HostCertificates, plain_http_is_redirected_once_there_is_one) {
  serve([](EdgeConfig& config) { config.redirect_http = true; });
  Client client;
  ASSERT_TRUE(client.connect(edge_->http_port()));
  EXPECT_EQ(client.get("web.example").status, 200);
  show({issuer_.issue("web.example")});
  EXPECT_EQ(client.get("web.example").status, 301);
}

// Handshakes without a pause on every worker, while the certificate changes fifty times.
TEST_F(HostCertificates, fifty_changes_under_load_fail_no_handshake_and_serve_at_once) {
  serve([](EdgeConfig& config) { config.limits.handshakes_per_address = 0; });
  show({issuer_.issue("web.example")});
  std::atomic<bool> stop{false};
  std::atomic<int> handshakes{0};
  std::vector<std::thread> visitors;
  for (int i = 0; i < 4; ++i) {
    visitors.emplace_back([&] {
      while (!stop.load()) {
        Client client;
        if (client.connect(edge_->https_port()) &&
            client.start_tls("web.example", issuer_.root_file) &&
            client.get("web.example").body == "served") {
          ++handshakes;
        } else {
          ADD_FAILURE() << client.tls_error();
        }
      }
    });
  }
  // One connection that is open all the time.
  Client kept;
  ASSERT_TRUE(kept.connect(edge_->https_port()));
  ASSERT_TRUE(kept.start_tls("web.example", issuer_.root_file));
  std::vector<HostCertificate> renewed;
  for (int i = 0; i < 50; ++i) renewed.push_back(issuer_.issue("web.example"));
  std::chrono::steady_clock::duration longest{};
  for (const auto& certificate : renewed) {
    const auto since = steady_clock::now();
    show({certificate});
    longest = std::max(longest, steady_clock::now() - since);
    ASSERT_EQ(shown("web.example"), certificate.fingerprint) << "the first handshake after it";
    ASSERT_EQ(kept.get("web.example").body, "served");
  }
  EXPECT_TRUE(eventually([&] { return handshakes.load() > 50; }));
  stop = true;
  for (auto& visitor : visitors) visitor.join();
  RecordProperty("handshakes", handshakes.load());
  RecordProperty(
      "longest_change_ms",
      static_cast<int>(std::chrono::duration_cast<std::chrono::milliseconds>(longest).count()));
}

TEST_F(HostCertificates, a_host_that_has_another_name_sends_everybody_there) {
  serve();
  table_.routes.push_back({"www.web.example", "shop", "d-1", {}, {}, "web.example"});
  publish();
  Client plain;
  ASSERT_TRUE(plain.connect(edge_->http_port()));
  EXPECT_EQ(plain.get("www.web.example", "/a?b=c").field("location"),
            "http://web.example:" + std::to_string(edge_->http_port()) + "/a?b=c")
      << "while it has no certificate";
  show({issuer_.issue("web.example"), issuer_.issue("www.web.example")});
  const auto there = "https://web.example:" + std::to_string(edge_->https_port()) + "/a?b=c";
  const auto redirected = plain.get("www.web.example", "/a?b=c");
  EXPECT_EQ(redirected.status, 308);
  EXPECT_EQ(redirected.field("location"), there);
  Client secure;
  ASSERT_TRUE(secure.connect(edge_->https_port()));
  ASSERT_TRUE(secure.start_tls("www.web.example", issuer_.root_file));
  ASSERT_TRUE(secure.send(
      "POST /a?b=c HTTP/1.1\r\nHost: www.web.example\r\nContent-Length: 4\r\n\r\ndata"));
  const auto post = secure.receive();
  EXPECT_EQ(post.status, 308);
  EXPECT_EQ(post.field("location"), there);
  table_.routes.back().redirect_to = "no host";
  ++table_.generation;
  EXPECT_FALSE(edge_->publish(table_).has_value());
  --table_.generation;
}

// A host that is given up makes room for one in the same change; what is too much changes nothing,
// and says so by another error than a certificate that is wrong: the certificates are good.
TEST_F(HostCertificates, hosts_have_a_limit_and_what_is_removed_makes_room) {
  GivenHosts given(2);
  const auto one = issuer_.issue("one.example");
  const auto two = issuer_.issue("two.example");
  const auto three = issuer_.issue("three.example");
  ASSERT_TRUE(given.change_certificates({one, two}, {}).has_value());
  const auto before = given.in_force();
  const auto renewed = issuer_.issue("one.example");
  const auto full = given.change_certificates({renewed, three}, {"none.example"});
  ASSERT_FALSE(full.has_value());
  EXPECT_EQ(full.error().code, ErrorCode::unavailable);
  EXPECT_EQ(full.error().message, "one edge shows certificates for at most 2 hosts");
  EXPECT_EQ(given.in_force(), before);
  EXPECT_EQ(given.parsed()->size(), 2U);
  ASSERT_TRUE(given.change_certificates({renewed, three}, {"two.example"}).has_value());
  EXPECT_EQ(given.in_force(),
            (std::map<std::string, std::string>{{"one.example", renewed.fingerprint},
                                                {"three.example", three.fingerprint}}));
}

class RemoteHostCertificates : public RemoteEdgeTest {
 protected:
  AttachConfig config(const std::string& build = "build-1") const {
    AttachConfig config = RemoteEdgeTest::config(build);
    config.edge.redirect_http = true;
    return config;
  }
  void show(const std::vector<HostCertificate>& certificates,
            const std::vector<std::string>& removed = {}) {
    const auto changed = edge_->change_certificates(certificates, removed);
    ASSERT_TRUE(changed.has_value()) << to_string(changed.error());
  }
  [[nodiscard]] std::string shown(const std::string& host) const {
    return edge::shown(*edge_, host, issuer_.root_file);
  }
  [[nodiscard]] std::string challenge_answer() const {
    Client client;
    if (!client.connect(edge_->http_port())) return "no connection";
    return client.get("new.example", "/.well-known/acme-challenge/tok").body;
  }

  TestIssuer issuer_{directory_};
};

TEST_F(RemoteHostCertificates, outlive_the_control_plane_the_process_and_its_replacement) {
  attach(config());
  const auto web = issuer_.issue("web.example");
  show({web, issuer_.issue("gone.example")});
  show({}, {"gone.example"});
  ASSERT_TRUE(edge_->set_challenges({{"new.example", "tok", "tok.print"}}).has_value());
  const auto expect_all = [&](const std::string& when) {
    EXPECT_EQ(shown("web.example"), web.fingerprint) << when;
    EXPECT_EQ(shown("gone.example"), "tlsv1 unrecognized name") << when;
    EXPECT_EQ(challenge_answer(), "tok.print") << when;
    EXPECT_EQ(edge_->certificates(),
              (std::map<std::string, std::string>{{"web.example", web.fingerprint}}))
        << when;
  };
  expect_all("as given");
  const auto first = pid();
  attach(config());
  EXPECT_EQ(pid(), first);
  expect_all("adopted by another control plane");
  ASSERT_EQ(::kill(first, SIGKILL), 0);
  EXPECT_TRUE(eventually([&] { return pid() != 0 && pid() != first; }));
  EXPECT_TRUE(eventually([&] { return shown("web.example") == web.fingerprint; }));
  expect_all("in the process that was started anew");
  attach(config("build-2"));
  expect_all("in the process that took over");
  // By the process alone: the control plane that began it is gone.
  ASSERT_TRUE(edge_->set_challenges({}).has_value());
  attach(config("build-3"));
  EXPECT_NE(challenge_answer(), "tok.print");
  EXPECT_EQ(shown("web.example"), web.fingerprint);
}

TEST_F(RemoteHostCertificates, a_replacement_fails_no_handshake) {
  attach(config());
  show({issuer_.issue("web.example")});
  const auto port = edge_->https_port();
  std::atomic<bool> stop{false};
  std::atomic<int> handshakes{0};
  std::thread visitor([&] {
    while (!stop.load()) {
      Client client;
      if (client.connect(port) && client.start_tls("web.example", issuer_.root_file)) {
        ++handshakes;
      } else {
        ADD_FAILURE() << client.tls_error();
      }
    }
  });
  for (const char* build : {"build-2", "build-3", "build-4"}) {
    attach(config(build));
    const int seen = handshakes.load();
    EXPECT_TRUE(eventually([&] { return handshakes.load() > seen + 20; }));
  }
  stop = true;
  visitor.join();
}

// 24 MiB, where a message has at most 16.
TEST_F(RemoteHostCertificates, more_than_a_message_holds_goes_from_process_to_process) {
  attach(config());
  std::vector<HostCertificate> many;
  for (int i = 0; i < 12; ++i) {
    auto each = issuer_.issue("h" + std::to_string(i) + ".example");
    each.chain_pem += std::string(2'000'000, '\n');
    many.push_back(std::move(each));
  }
  show(many);
  EXPECT_EQ(edge_->certificates().size(), 12U);
  const auto first = pid();
  ASSERT_EQ(::kill(first, SIGKILL), 0);
  EXPECT_TRUE(eventually([&] { return pid() != 0 && pid() != first; }));
  EXPECT_TRUE(eventually([&] { return shown("h11.example") == many[11].fingerprint; }));
  attach(config("build-2"));
  for (const auto& each : many) EXPECT_EQ(shown(each.host), each.fingerprint);
}

TEST_F(RemoteHostCertificates, no_key_is_in_the_log_or_on_disk) {
  attach(config());
  const auto web = issuer_.issue("web.example");
  show({web});
  auto wrong = issuer_.issue("web.example");
  wrong.fingerprint = web.fingerprint;
  EXPECT_FALSE(edge_->change_certificates({wrong}, {}).has_value());
  const auto secret = web.key_pem.substr(60, 40);
  for (const auto& each : std::filesystem::recursive_directory_iterator(directory_)) {
    if (!each.is_regular_file()) continue;
    const auto bytes = read_file(each.path(), 8U << 20U);
    ASSERT_TRUE(bytes.has_value());
    EXPECT_EQ(bytes->find(secret), std::string::npos) << each.path();
  }
}

}  // namespace
}  // namespace atlasflow::edge
