// A domain of a user's own from its claim to its renewal: the real server, Debian's pebble as the
// certificate authority, and its name server.

#include <atomic>
#include <thread>

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/domains/pebble.hpp"
#include "tests/domains/test_authority.hpp"
#include "tests/end_to_end/server_fixture.hpp"

namespace atlasflow::end_to_end {
namespace {

using namespace std::chrono_literals;
using domains_test::Pebble;
using testing::ElementsAre;
using testing::HasSubstr;

const std::string k_shop = "www.shop.test";

// A port that nobody has at this moment: the authority must know it before the server starts.
std::uint16_t unused_port() {
  const int socket = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  EXPECT_EQ(::bind(socket, reinterpret_cast<sockaddr*>(&address), size), 0);
  EXPECT_EQ(::getsockname(socket, reinterpret_cast<sockaddr*>(&address), &size), 0);
  ::close(socket);
  return ntohs(address.sin_port);
}

class Domains : public ServerFixture {
 protected:
  void SetUp() override {
    ServerFixture::SetUp();
    if (IsSkipped()) return;
    if (!Pebble::installed()) GTEST_SKIP() << "needs Debian's packages pebble and its test server";
  }

  void set_up(domains_test::PebbleWish wish) {
    wish.http_port = unused_port();
    pebble_ = std::make_unique<Pebble>(wish);
    std::string account;
    if (!wish.external_key_id.empty()) {
      write_file(folder() / "mac-key", wish.external_mac_key + "\n");
      std::filesystem::permissions(folder() / "mac-key", std::filesystem::perms::owner_read);
      account = "acme_external_key_id = \"" + wish.external_key_id +
                "\"\nacme_external_mac_key_file = \"mac-key\"\n";
    }
    write_file(folder() / "atlasflow.toml",
               "[edge]\nhttp = \"127.0.0.1:" + std::to_string(wish.http_port) +
                   "\"\nhttps = \"127.0.0.1:0\"\n[api]\nwebhook_listen = \"127.0.0.1:0\"\n"
                   "[domains]\nacme_directory = \"" +
                   pebble_->directory() + "\"\nacme_ca_certificate = \"" +
                   pebble_->ca_bundle().string() +
                   "\"\nacme_contact = \"ops@shop.test\"\nacme_terms_agreed = true\n"
                   "public_addresses = [\"127.0.0.1\"]\nresolvers = [\"" +
                   pebble_->name_server() + "\"]\ncertificates_per_week = 0\n" + account);
  }
  void lead_elsewhere(const std::string& domain) const {
    pebble_->tell_name_server("/add-a",
                              R"({"host":")" + domain + R"(.","addresses":["192.0.2.1"]})");
  }
  void lead_here(const std::string& domain) const {
    pebble_->tell_name_server("/clear-a", R"({"host":")" + domain + R"(."})");
  }

  nlohmann::json domain(const std::string& name = k_shop) {
    return atlasflow_json({"domains", "cert", name});
  }
  bool becomes(const std::string& status, std::chrono::seconds limit = 60s) {
    return eventually(limit, [&] { return domain().at("status") == status; });
  }
  std::vector<std::string> history(const std::string& name = k_shop) {
    const auto shown = domain(name);
    std::vector<std::string> types;
    for (const auto& event : shown.at("history")) types.push_back(event.at("type"));
    return types;
  }
  // As a visitor whose browser trusts the authority.
  HttpAnswer visit(const std::string& host, const std::string& path = "/") {
    if (root_.empty()) {
      root_ = folder() / "root.pem";
      write_file(root_, pebble_->root());
    }
    const auto port = std::to_string(https_port());
    const auto answer = send_http({.url = "https://" + host + ":" + port + path,
                                   .connect_to = "127.0.0.1:" + port,
                                   .ca_file = root_});
    if (!answer) return {0, "", to_string(answer.error())};
    return {answer->status, answer->body, ""};
  }

  std::unique_ptr<Pebble> pebble_;
  std::filesystem::path root_;
};

TEST_F(Domains, a_domain_is_claimed_verified_certified_served_and_renewed_under_load) {
  set_up({.nonces_refused = 50, .certificate_seconds = 60});
  lead_elsewhere(k_shop);
  write_app("hello shop\n");
  repository().commit_all("Say hello");
  start_server();
  create_project("web");
  ASSERT_EQ(atlasflow({"deploy", "web", "--wait"}).code, 0);

  const auto added = atlasflow({"domains", "add", "web", k_shop});
  ASSERT_EQ(added.code, 0) << added.err;
  EXPECT_THAT(added.out, HasSubstr("www.shop.test  CNAME  web." + k_domain));
  EXPECT_THAT(added.out, HasSubstr("www.shop.test  A     127.0.0.1"));
  ASSERT_TRUE(eventually(30s, [&] { return domain().at("verdict") == "pending"; }));
  EXPECT_THAT(domain().at("reason"), HasSubstr("leads to A 192.0.2.1"));
  EXPECT_EQ(domain().at("status"), "pending_dns");
  EXPECT_EQ(visit(k_shop).status, 0);  // no certificate, and nobody else's

  lead_here(k_shop);
  const auto right_at = std::chrono::steady_clock::now();
  ASSERT_TRUE(eventually(60s, [&] { return visit(k_shop).status == 200; })) << domain().dump(2);
  const auto took = std::chrono::duration_cast<std::chrono::milliseconds>(
      std::chrono::steady_clock::now() - right_at);
  RecordProperty("ms_from_dns_to_serving", static_cast<int>(took.count()));
  EXPECT_EQ(visit(k_shop).body, "hello shop\n");
  ASSERT_TRUE(becomes("active"));
  EXPECT_THAT(domain().at("certificate").at("issuer"), HasSubstr("Pebble"));

  std::atomic<bool> stop = false;
  std::atomic<int> served = 0;
  std::atomic<int> failed = 0;
  std::string failure;
  std::thread visitor([&] {
    while (!stop) {
      const auto answer = visit(k_shop);
      if (answer.status == 200) {
        ++served;
      } else if (++failed == 1) {
        failure = answer.error + answer.body;
      }
      std::this_thread::sleep_for(20ms);
    }
  });
  const auto first = domain().at("certificate").at("fingerprint");
  const bool renewed = eventually(90s, [&] {
    const auto now = domain();
    return now.at("certificate").at("fingerprint") != first && now.at("order").is_null() &&
           now.at("history").back().at("type") == "CertificateInstalled";
  });
  stop = true;
  visitor.join();
  EXPECT_TRUE(renewed) << domain().dump(2);
  EXPECT_EQ(failed, 0) << failure;
  EXPECT_GT(served, 100);
  EXPECT_THAT(history(),
              ElementsAre("CertificateOrdered", "CertificateIssued", "CertificateInstalled",
                          "CertificateOrdered", "CertificateIssued", "CertificateInstalled"));

  const auto removed = atlasflow({"domains", "remove", k_shop, "--yes"});
  EXPECT_EQ(removed.code, 0) << removed.err;
  EXPECT_TRUE(eventually(10s, [&] { return visit(k_shop).status == 0; }));
  EXPECT_EQ(get("web." + k_domain).status, 200);
}

TEST_F(Domains, a_server_killed_in_any_state_of_a_domain_orders_once_and_serves_it) {
  set_up({});
  start_server();
  create_project("web");
  stop_server();
  const std::vector<std::string> states = {"DomainAdded", "DomainVerified", "CertificateOrdered",
                                           "CertificateIssued", "CertificateInstalled"};
  for (std::size_t i = 0; i < states.size(); ++i) {
    SCOPED_TRACE("killed after " + states[i]);
    const auto name = "www" + std::to_string(i) + ".shop.test";
    start_server({{"ATLASFLOW_TEST_CRASH_AFTER", states[i]}});
    static_cast<void>(atlasflow({"domains", "add", "web", name}));
    ASSERT_EQ(signal_that_ended_server(), SIGKILL);
    start_server();
    EXPECT_TRUE(eventually(60s, [&] { return domain(name).at("status") == "active"; }))
        << domain(name).dump(2);
    EXPECT_THAT(history(name),
                ElementsAre("CertificateOrdered", "CertificateIssued", "CertificateInstalled"));
    // There is no deployment, and the edge says so under the domain's own certificate.
    EXPECT_EQ(visit(name).status, 404) << visit(name).error;
    stop_server();
    if (HasFailure()) return;
  }
  EXPECT_EQ(atlasflow({"log", "verify"}).code, 0);
  start_server();
  // The account of all of them gets another key, with which the next is ordered.
  const auto rolled = atlasflow({"domains", "account", "rollover"});
  EXPECT_EQ(rolled.code, 0) << rolled.err;
  EXPECT_EQ(atlasflow({"domains", "add", "web", "after.shop.test"}).code, 0);
  EXPECT_TRUE(eventually(60s, [&] { return domain("after.shop.test").at("status") == "active"; }))
      << domain("after.shop.test").dump(2);
  const auto second = atlasflow({"domains", "account", "rollover", "--fallback"});
  EXPECT_EQ(second.code, 2);
  EXPECT_THAT(second.err, HasSubstr("no second certificate authority"));
  // The server's own authority, as another machine would trust it.
  const auto exported = atlasflow({"ca", "export"});
  EXPECT_EQ(exported.code, 0) << exported.err;
  EXPECT_EQ(exported.out, read_file(ca_certificate()));
}

TEST_F(Domains, a_certificate_of_ones_own_serves_and_redirects_keep_path_and_query) {
  set_up({});
  write_app("hello shop\n");
  repository().commit_all("Say hello");
  start_server();
  create_project("web");
  ASSERT_EQ(atlasflow({"deploy", "web", "--wait"}).code, 0);
  ASSERT_EQ(atlasflow({"domains", "add", "web", "shop.test"}).code, 0);
  const auto refused = atlasflow({"domains", "add", "web", k_shop, "--redirect-to", "other.test"});
  EXPECT_EQ(refused.code, 2);
  EXPECT_THAT(refused.err, HasSubstr("claim it first"));
  ASSERT_EQ(atlasflow({"domains", "add", "web", k_shop, "--redirect-to", "shop.test"}).code, 0);
  ASSERT_TRUE(becomes("active")) << domain().dump(2);
  ASSERT_TRUE(eventually(30s, [&] { return domain("shop.test").at("status") == "active"; }));

  const domains_test::TestAuthority authority("Shop");
  const auto brought = domains_test::issue(authority, {.names = {"shop.test"}, .ends_in_s = 1'800});
  write_file(folder() / "chain.pem", brought.chain_pem + authority.root_pem());
  write_file(folder() / "key.pem", brought.key_pem);
  const auto upload = [&](const std::string& name) {
    return atlasflow({"domains", "cert", "upload", name, "--cert", folder() / "chain.pem", "--key",
                      folder() / "key.pem"});
  };
  const auto wrong = upload(k_shop);
  EXPECT_EQ(wrong.code, 2);
  EXPECT_THAT(wrong.err, HasSubstr("is for shop.test and does not cover www.shop.test"));
  const auto taken = upload("shop.test");
  ASSERT_EQ(taken.code, 0) << taken.err;
  const auto since = std::chrono::steady_clock::now();
  // As a visitor who trusts nobody but this authority.
  const auto serves_by = [&](const domains_test::TestAuthority& trusted) {
    const auto file = folder() / "trusted.pem";
    write_file(file, trusted.root_pem());
    const auto port = std::to_string(https_port());
    return send_http({.url = "https://shop.test:" + port + "/",
                      .connect_to = "127.0.0.1:" + port,
                      .ca_file = file})
        .has_value();
  };
  ASSERT_TRUE(eventually(5s, [&] { return serves_by(authority); }));
  const auto took = std::chrono::duration_cast<std::chrono::milliseconds>(
      std::chrono::steady_clock::now() - since);
  RecordProperty("ms_from_upload_to_serving", static_cast<int>(took.count()));
  // Who brings one of half an hour hears of it, as nobody renews it.
  EXPECT_TRUE(eventually(10s, [&] {
    return atlasflow({"status"}).out.find("certificate of shop.test (project web) ends in") !=
           std::string::npos;
  }));
  EXPECT_TRUE(eventually(10s, [&] {
    return testing::Value(history("shop.test"), testing::Contains("CertificateExpiring"));
  }));

  root_ = folder() / "roots.pem";
  write_file(root_, pebble_->root() + authority.root_pem());
  EXPECT_EQ(visit("shop.test").body, "hello shop\n");
  const auto where = [&](const std::string& host) {
    const auto port = std::to_string(https_port());
    const auto answer = send_http({.url = "https://" + host + ":" + port + "/a?b=c",
                                   .connect_to = "127.0.0.1:" + port,
                                   .ca_file = host.ends_with(k_domain) ? ca_certificate() : root_});
    if (!answer) return to_string(answer.error());
    return std::to_string(answer->status) + " " + std::string(answer->field("location"));
  };
  const auto there = "308 https://shop.test:" + std::to_string(https_port()) + "/a?b=c";
  EXPECT_TRUE(eventually(10s, [&] { return where(k_shop) == there; })) << where(k_shop);
  EXPECT_EQ(atlasflow({"project", "set", "web", "primary_domain=nobody.test"}).code, 2);
  ASSERT_EQ(atlasflow({"project", "set", "web", "primary_domain=shop.test"}).code, 0);
  EXPECT_TRUE(eventually(10s, [&] { return where("web." + k_domain) == there; }))
      << where("web." + k_domain);

  // A server that dies right behind the record has the certificate, and serves it.
  stop_server();
  start_server({{"ATLASFLOW_TEST_CRASH_AFTER", "CertificateUploaded"}});
  const domains_test::TestAuthority successor("Successor");
  const auto second = domains_test::issue(successor, {.names = {"shop.test"}});
  write_file(folder() / "chain.pem", second.chain_pem + successor.root_pem());
  write_file(folder() / "key.pem", second.key_pem);
  static_cast<void>(upload("shop.test"));
  ASSERT_EQ(signal_that_ended_server(), SIGKILL);
  start_server();
  EXPECT_TRUE(eventually(30s, [&] { return serves_by(successor); }));
  EXPECT_EQ(atlasflow({"domains", "cert", "remove", "shop.test"}).code, 0);
  EXPECT_TRUE(eventually(30s, [&] {
    return domain("shop.test").at("certificate").at("source") == "ordered";
  })) << domain("shop.test").dump(2);
}

TEST_F(Domains, an_authority_that_is_away_is_told_and_asked_again) {
  set_up({.external_key_id = "kid-1",
          .external_mac_key = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W"});
  pebble_->stop();
  start_server();
  create_project("web");
  ASSERT_EQ(atlasflow({"domains", "add", "web", k_shop}).code, 0);
  ASSERT_TRUE(eventually(60s, [&] { return domain().at("failure").is_object(); }))
      << domain().dump(2);
  EXPECT_EQ(domain().at("failure").at("problem"), "unavailable") << domain().dump(2);
  EXPECT_EQ(domain().at("status"), "verified");
  pebble_->restart();
  EXPECT_EQ(domain("WWW.Shop.Test").at("domain"), k_shop);
  const auto retried = atlasflow({"domains", "retry", "WWW.Shop.Test"});
  EXPECT_EQ(retried.code, 0) << retried.err;
  ASSERT_TRUE(becomes("active")) << domain().dump(2);
  EXPECT_EQ(visit(k_shop).status, 404) << visit(k_shop).error;  // there is no deployment
  const auto again = atlasflow({"domains", "retry", k_shop});
  EXPECT_EQ(again.code, 2);
  EXPECT_THAT(again.err, HasSubstr("is good, and is renewed by itself"));
}

TEST_F(Domains, a_name_that_the_authority_refuses_and_names_that_are_none_are_told) {
  set_up({.blocked = {"blocked.test"}});
  start_server();
  create_project("web");
  ASSERT_EQ(atlasflow({"domains", "add", "web", "www.blocked.test"}).code, 0);
  ASSERT_TRUE(eventually(30s, [&] { return domain("www.blocked.test").at("failure").is_object(); }))
      << domain("www.blocked.test").dump(2);
  const auto refused = domain("www.blocked.test").at("failure");
  EXPECT_EQ(refused.at("problem"), "refused") << refused.dump(2);
  EXPECT_GT(refused.at("retry_at_us").get<std::int64_t>(),
            refused.at("at_us").get<std::int64_t>() + 3'599'000'000);
  const auto told = atlasflow({"domains", "list"});
  EXPECT_THAT(told.out, HasSubstr("www.blocked.test"));
  EXPECT_EQ(atlasflow({"domains", "retry", "www.blocked.test"}).code, 0);

  // One of which not every letter is ASCII, as people type it.
  const std::string books = "B\u00fccher.test";
  EXPECT_EQ(atlasflow({"domains", "add", "web", books}).code, 0);
  EXPECT_EQ(domain(books).at("domain"), "xn--bcher-kva.test");
  EXPECT_EQ(atlasflow({"domains", "remove", books, "--yes"}).code, 0);
  EXPECT_EQ(domain(books).at("status"), "removed");

  // The wrong kinds of names, each with its sentence.
  for (const auto& [name, why] :
       std::vector<std::pair<std::string, std::string>>{{"co.uk", "public suffix"},
                                                        {"192.0.2.1", "is an address"},
                                                        {"shop." + k_domain, "own domain"},
                                                        {"https://shop.test/", "is a URL"}}) {
    const auto ran = atlasflow({"domains", "add", "web", name});
    EXPECT_EQ(ran.code, 2) << name;
    EXPECT_THAT(ran.err, HasSubstr(why));
  }
  const auto nobodys = atlasflow({"domains", "check", "nobody.test"});
  EXPECT_EQ(nobodys.code, 1) << nobodys.err;
  EXPECT_THAT(nobodys.err, HasSubstr("is no domain of any project"));
}

}  // namespace
}  // namespace atlasflow::end_to_end
