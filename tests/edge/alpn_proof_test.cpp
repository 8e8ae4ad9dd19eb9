// TLS-ALPN-01 (RFC 8737): who comes for a proof is shown that and nothing else, and nobody else is
// shown it.
#include "edge/tls/alpn_proof.hpp"

#include <csignal>
#include <fstream>

#include <gmock/gmock.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>

#include "base/digest.hpp"
#include "edge/control/lone_edge.hpp"
#include "tests/edge/remote_edge_fixture.hpp"

namespace atlasflow::edge {
namespace {

const std::string k_answer = "tok-1.print";

// What a CA looks at (RFC 8737 section 3), as one line; what is wrong otherwise.
std::string proof_in(SSL* tls, const std::string& host) {
  const unsigned char* protocol = nullptr;
  unsigned bytes = 0;
  SSL_get0_alpn_selected(tls, &protocol, &bytes);
  if (std::string(reinterpret_cast<const char*>(protocol), bytes) != k_acme_protocol) {
    return "another protocol";
  }
  const X509Ptr leaf(SSL_get1_peer_certificate(tls));
  if (!leaf) return "no certificate";
  if (X509_verify(leaf.get(), X509_get0_pubkey(leaf.get())) != 1) return "not signed by itself";
  auto* names = static_cast<GENERAL_NAMES*>(
      X509_get_ext_d2i(leaf.get(), NID_subject_alt_name, nullptr, nullptr));
  if (names == nullptr || sk_GENERAL_NAME_num(names) != 1) return "not one name";
  const auto* name = sk_GENERAL_NAME_value(names, 0);
  const bool is_it =
      name->type == GEN_DNS &&
      std::string(reinterpret_cast<const char*>(ASN1_STRING_get0_data(name->d.dNSName)),
                  static_cast<std::size_t>(ASN1_STRING_length(name->d.dNSName))) == host;
  GENERAL_NAMES_free(names);
  if (!is_it) return "another name";
  ASN1_OBJECT* type = OBJ_txt2obj("1.3.6.1.5.5.7.1.31", 1);
  const int at = X509_get_ext_by_OBJ(leaf.get(), type, -1);
  ASN1_OBJECT_free(type);
  if (at < 0) return "no acmeIdentifier";
  auto* extension = X509_get_ext(leaf.get(), at);
  if (X509_EXTENSION_get_critical(extension) != 1) return "it is not critical";
  const auto* value = X509_EXTENSION_get_data(extension);
  return to_hex({reinterpret_cast<const char*>(ASN1_STRING_get0_data(value)),
                 static_cast<std::size_t>(ASN1_STRING_length(value))});
}

std::string wanted(const std::string& key_authorization) {
  return "0420" + sha256_hex(key_authorization);
}

// As a CA comes; what is wrong, or the extension's value in hex.
std::string ask(const Edge& edge, const std::string& host, const std::string& offer = "acme-tls/1",
                int version = 0) {
  Client client;
  client.offer_protocol(offer);
  if (!client.connect(edge.https_port())) return "no connection";
  if (!client.start_tls(host, "", version)) return client.tls_error();
  auto found = proof_in(client.tls(), host);
  // Nothing else is served on it, and it has ended by now.
  ::signal(SIGPIPE, SIG_IGN);
  client.send("GET / HTTP/1.1\r\nHost: " + host + "\r\n\r\n");
  return client.receive().status == 0 ? found : "it was served";
}

TEST(AlpnProof, names_hosts_of_every_length) {
  for (const std::size_t label : {1U, 100U, 123U, 124U, 126U, 130U, 240U}) {
    std::string host;
    while (host.size() < label) host += std::string(std::min<std::size_t>(40, label), 'a') + ".";
    host += "example";
    const auto made = make_alpn_proof(host, k_answer);
    ASSERT_TRUE(made.has_value()) << to_string(made.error());
    EXPECT_EQ(X509_check_host((*made)->leaf.get(), host.data(), host.size(), 0, nullptr), 1)
        << host.size();
    EXPECT_EQ(X509_check_private_key((*made)->leaf.get(), (*made)->key.get()), 1);
  }
}

TEST(AlpnProof, is_for_who_offers_that_protocol_alone) {
  EXPECT_TRUE(
      offers_acme_alone({"\0\x0b\x0a"
                         "acme-tls/1",
                         13}));
  EXPECT_FALSE(
      offers_acme_alone({"\0\x0e\x0a"
                         "acme-tls/1\x02h2",
                         16}));
  EXPECT_FALSE(
      offers_acme_alone({"\0\x0e\x02h2\x0a"
                         "acme-tls/1",
                         16}));
  EXPECT_FALSE(offers_acme_alone({"\0\x03\x02h2", 5}));
  EXPECT_FALSE(
      offers_acme_alone({"\0\x0b\x0a"
                         "ACME-TLS/1",
                         13}));
  EXPECT_FALSE(
      offers_acme_alone({"\0\x0b\x0a"
                         "acme-tls/",
                         12}));
  EXPECT_FALSE(offers_acme_alone({}));
}

class AlpnProofs : public EdgeTest {
 protected:
  AlpnProofs() {
    start([](EdgeConfig& config) { config.workers = 3; });
    route("shop.apps.test", {at(upstream_)});
    publish();
  }
  void set(const std::vector<Challenge>& challenges) {
    const auto done = edge_->set_challenges(challenges);
    ASSERT_TRUE(done.has_value()) << to_string(done.error());
  }
  RecordingUpstream upstream_{answer_with("served")};
};

TEST_F(AlpnProofs, are_shown_on_every_worker_by_tls_of_both_versions_and_serve_nothing) {
  set({{"new.example", "tok-1", k_answer, true}, {"shop.apps.test", "tok-2", "tok-2.print", true}});
  for (int i = 0; i < 12; ++i) {
    const int version = i % 2 == 0 ? TLS1_2_VERSION : TLS1_3_VERSION;
    EXPECT_EQ(ask(*edge_, "new.example", "acme-tls/1", version), wanted(k_answer));
    EXPECT_EQ(ask(*edge_, "shop.apps.test", "acme-tls/1", version), wanted("tok-2.print"));
  }
  EXPECT_EQ(upstream_.connections(), 0);
}

TEST_F(AlpnProofs, are_refused_for_names_that_nobody_has_asked_for) {
  const std::string refused = "tlsv1 alert no application protocol";
  for (const char* name : {"new.example", "shop.apps.test", "apps.test"}) {
    EXPECT_EQ(ask(*edge_, name), refused) << name;
  }
  // HTTP-01 of the same name is no proof of this kind.
  set({{"new.example", "tok-1", k_answer}, {"other.example", "tok-1", k_answer, true}});
  EXPECT_EQ(ask(*edge_, "new.example"), refused);
  EXPECT_EQ(ask(*edge_, "other.example"), wanted(k_answer));
  EXPECT_EQ(ask(*edge_, "sub.other.example"), refused);
  set({});
  EXPECT_EQ(ask(*edge_, "other.example"), refused) << "its order is over";
}

TEST_F(AlpnProofs, are_nothing_to_clients_that_offer_what_they_always_do) {
  set({{"shop.apps.test", "tok-1", k_answer, true}, {"new.example", "tok-1", k_answer, true}});
  for (const std::string offer : {"http/1.1", ""}) {
    Client client;
    if (!offer.empty()) client.offer_protocol(offer);
    ASSERT_TRUE(client.connect(edge_->https_port()));
    ASSERT_TRUE(client.start_tls("shop.apps.test", edge_->ca_certificate())) << client.tls_error();
    EXPECT_EQ(client.get("shop.apps.test").body, "served") << offer;
  }
  Client h2;
  h2.offer_protocol("h2");
  ASSERT_TRUE(h2.connect(edge_->https_port()));
  ASSERT_TRUE(h2.start_tls("shop.apps.test", edge_->ca_certificate()));
  const unsigned char* protocol = nullptr;
  unsigned bytes = 0;
  SSL_get0_alpn_selected(h2.tls(), &protocol, &bytes);
  EXPECT_EQ(std::string(reinterpret_cast<const char*>(protocol), bytes), "h2");
  Client foreign;
  foreign.offer_protocol("http/1.1");
  ASSERT_TRUE(foreign.connect(edge_->https_port()));
  EXPECT_FALSE(foreign.start_tls("new.example", "")) << "the proof is no certificate for visitors";
  EXPECT_EQ(foreign.tls_error(), "tlsv1 unrecognized name");
}

// Who offers it among others speaks one of the others: no CA does that.
TEST_F(AlpnProofs, are_not_for_who_offers_other_protocols_too) {
  set({{"shop.apps.test", "tok-1", k_answer, true}});
  Client client;
  client.offer_protocol("acme-tls/1,http/1.1");
  ASSERT_TRUE(client.connect(edge_->https_port()));
  ASSERT_TRUE(client.start_tls("shop.apps.test", edge_->ca_certificate())) << client.tls_error();
  EXPECT_EQ(client.get("shop.apps.test").body, "served");
}

TEST_F(AlpnProofs, the_last_of_a_host_is_the_one) {
  set({{"new.example", "tok-1", "tok-1.print", true},
       {"new.example", "tok-2", "tok-2.print", true}});
  EXPECT_EQ(ask(*edge_, "new.example"), wanted("tok-2.print"));
}

// No session is left that a visitor, or the CA's next look, could go on with.
TEST_F(AlpnProofs, leave_no_session_behind) {
  set({{"new.example", "tok-1", k_answer, true}});
  for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
    Client client;
    client.offer_protocol("acme-tls/1");
    ASSERT_TRUE(client.connect(edge_->https_port()));
    ASSERT_TRUE(client.start_tls("new.example", "", version));
    EXPECT_EQ(client.receive().status, 0);
    EXPECT_EQ(SSL_SESSION_has_ticket(SSL_get_session(client.tls())), 0);
    EXPECT_EQ(SSL_session_reused(client.tls()), 0);
  }
}

using RemoteAlpnProofs = RemoteEdgeTest;

TEST_F(RemoteAlpnProofs, outlive_the_control_plane_the_process_and_its_replacement) {
  attach();
  ASSERT_TRUE(edge_->set_challenges({{"new.example", "tok-1", k_answer, true}}).has_value());
  EXPECT_EQ(ask(*edge_, "new.example"), wanted(k_answer));
  attach();
  EXPECT_EQ(ask(*edge_, "new.example"), wanted(k_answer)) << "by another control plane's edge";
  ASSERT_EQ(::kill(pid(), SIGKILL), 0);
  EXPECT_TRUE(eventually([&] { return ask(*edge_, "new.example") == wanted(k_answer); }));
  attach(config("build-2"));
  EXPECT_EQ(ask(*edge_, "new.example"), wanted(k_answer)) << "in the process that took over";
  ASSERT_TRUE(edge_->set_challenges({}).has_value());
  EXPECT_EQ(ask(*edge_, "new.example"), "tlsv1 alert no application protocol");
}

TEST_F(EdgeTest, a_lone_edge_has_no_proof_for_anybody) {
  LoneConfig config;
  config.edge.domain = "apps.test";
  config.edge.ca_dir = directory_ + "/ca";
  config.edge.workers = 1;
  config.routes = directory_ + "/routes.json";
  std::ofstream(config.routes) << R"({"routes": [{"host": "shop.apps.test",)"
                               << R"( "targets": ["127.0.0.1:1"]}]})";
  auto lone = LoneEdge::start(config);
  ASSERT_TRUE(lone.has_value()) << to_string(lone.error());
  EXPECT_EQ(ask((*lone)->edge(), "shop.apps.test"), "tlsv1 alert no application protocol");
}

}  // namespace
}  // namespace atlasflow::edge
