// What name servers say, also those that are slow, broken, lame or liars.
#include <chrono>
#include <map>
#include <random>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "domains/dns/lookup.hpp"
#include "tests/domains/name_server.hpp"

namespace atlasflow::domains {
namespace {

using namespace std::chrono_literals;
using domains_test::NameServer;
using domains_test::NameServerReply;
using domains_test::wire_name;
using std::chrono::steady_clock;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr int k_name_error = 3;
constexpr int k_server_failure = 2;
constexpr int k_refused = 5;

// A resolver over these records, which follows CNAMEs as resolvers do.
class Zone {
 public:
  std::vector<DnsRecord> records;
  std::map<int, NameServerReply> for_type;  // instead
  bool chases = true;

  NameServerReply operator()(const NameServer::Question& question) const {
    if (const auto own = for_type.find(question.type); own != for_type.end()) return own->second;
    NameServerReply reply;
    std::string name = question.name;
    bool exists = false;
    for (int links = 0; links < 20; ++links) {
      std::string next;
      for (const auto& each : records) {
        if (each.name != name) continue;
        exists = true;
        const bool wanted = static_cast<int>(each.type) == question.type;
        if (wanted || each.type == DnsType::cname) reply.answers.push_back(each);
        if (!wanted && each.type == DnsType::cname) next = each.value;
      }
      if (next.empty() || !chases) break;
      name = next;
    }
    if (!exists) reply.response_code = k_name_error;
    return reply;
  }
};

std::vector<std::string> lines(const pb::DnsAnswers& answers) {
  std::vector<std::string> texts;
  for (const auto& each : answers.records()) {
    texts.push_back(each.name() + " " + each.type() + " " + each.value());
  }
  return texts;
}

class Lookup : public testing::Test {
 protected:
  pb::DnsObservation look(const std::vector<std::string>& resolvers,
                          const std::string& domain = "web.example") {
    LookupConfig config;
    config.resolvers = resolvers;
    config.patience = {.per_try = 300ms, .tries = 2, .in_all = 1'500ms};
    config.private_zone_servers = true;
    config.zone_server_port = zone_port_;
    const auto made = DomainLookup::make(config);
    EXPECT_TRUE(made.has_value());
    return made->look_up(domain, "_atlasflow." + domain, {});
  }
  std::uint16_t zone_port_ = 53;
  Zone zone_{.records = {{"web.example", DnsType::a, "192.0.2.7"},
                         {"web.example", DnsType::aaaa, "2001:db8::7"},
                         {"_atlasflow.web.example", DnsType::txt, "atlasflow=abc"},
                         {"example", DnsType::caa, "0 issue \"ca.example\""}},
             .for_type = {},
             .chases = true};
};

TEST_F(Lookup, all_that_was_asked_for_is_told_of_each_resolver) {
  const NameServer one(zone_);
  const NameServer two(zone_);
  const auto observed = look({one.server(), two.server()});
  ASSERT_EQ(observed.answers_size(), 2);
  for (const auto& answers : observed.answers()) {
    EXPECT_EQ(answers.error(), "");
    EXPECT_FALSE(answers.authoritative());
    EXPECT_THAT(lines(answers),
                ElementsAre("_atlasflow.web.example TXT atlasflow=abc",
                            "example CAA 0 issue \"ca.example\"", "web.example A 192.0.2.7",
                            "web.example AAAA 2001:db8::7"));
  }
  EXPECT_EQ(observed.answers(0).server(), one.server());
}

TEST_F(Lookup, a_name_that_does_not_exist_is_an_answer) {
  const NameServer server(Zone{});
  const auto observed = look({server.server()});
  EXPECT_EQ(observed.answers(0).error(), "");
  EXPECT_THAT(observed.answers(0).records(), IsEmpty());
}

TEST_F(Lookup, who_fails_refuses_or_is_silent_is_told_by_name_and_in_time) {
  const NameServer good(zone_);
  const NameServer failing(
      [](const auto&) { return NameServerReply{.response_code = k_server_failure}; });
  const NameServer refusing(
      [](const auto&) { return NameServerReply{.response_code = k_refused}; });
  const NameServer silent([](const auto&) { return NameServerReply{.silent = true}; });
  const auto since = steady_clock::now();
  const auto observed = look({failing.server(), refusing.server(), silent.server(), good.server()});
  EXPECT_LT(steady_clock::now() - since, 8s);
  EXPECT_THAT(observed.answers(0).error(),
              HasSubstr(failing.server() + " answered SERVFAIL for web.example"));
  EXPECT_THAT(observed.answers(1).error(), HasSubstr("answered REFUSED"));
  EXPECT_THAT(observed.answers(2).error(), HasSubstr(silent.server() + " did not answer in time"));
  EXPECT_EQ(observed.answers(3).error(), "");
  EXPECT_THAT(observed.answers(3).records(), testing::SizeIs(4));
}

TEST_F(Lookup, nobody_there_is_told_at_once) {
  std::string gone;
  {
    const NameServer server(zone_);
    gone = server.server();
  }
  const auto observed = look({gone});
  EXPECT_THAT(observed.answers(0).error(), HasSubstr(gone));
}

TEST_F(Lookup, a_truncated_answer_is_asked_for_by_tcp) {
  std::vector<DnsRecord> many;
  for (int i = 1; i <= 20; ++i) {
    many.push_back({"_atlasflow.web.example", DnsType::txt,
                    "value " + std::string(100, 'x') + std::to_string(i)});
  }
  zone_.for_type[static_cast<int>(DnsType::txt)] = {.answers = many, .truncated = true};
  const NameServer server(zone_);
  const auto observed = look({server.server()});
  EXPECT_EQ(observed.answers(0).error(), "");
  EXPECT_EQ(observed.answers(0).records_size(), 20 + 3);
  EXPECT_TRUE(std::ranges::any_of(server.questions(), [](const auto& each) { return each.tcp; }));
}

TEST_F(Lookup, a_chain_of_aliases_is_followed_link_by_link) {
  for (const bool chases : {true, false}) {
    Zone zone{.records = {{"web.example", DnsType::cname, "edge.host.example"},
                          {"edge.host.example", DnsType::cname, "shop.apps.example"},
                          {"shop.apps.example", DnsType::a, "192.0.2.9"}},
              .for_type = {},
              .chases = chases};
    const NameServer server(zone);
    EXPECT_THAT(lines(look({server.server()}).answers(0)),
                ElementsAre("edge.host.example CNAME shop.apps.example",
                            "shop.apps.example A 192.0.2.9", "web.example CNAME edge.host.example"))
        << chases;
  }
}

TEST_F(Lookup, aliases_in_a_circle_or_without_end_end) {
  Zone circle{.records = {{"web.example", DnsType::cname, "b.example"},
                          {"b.example", DnsType::cname, "web.example"}},
              .for_type = {},
              .chases = false};
  const NameServer round(circle);
  EXPECT_THAT(lines(look({round.server()}).answers(0)),
              ElementsAre("b.example CNAME web.example", "web.example CNAME b.example"));
  const NameServer endless([](const NameServer::Question& question) {
    return NameServerReply{.answers = {{question.name, DnsType::cname, "x" + question.name}}};
  });
  EXPECT_LE(look({endless.server()}).answers(0).records_size(), 8);
}

// What was not asked for is not believed, whoever says it.
TEST_F(Lookup, a_liar_adds_nothing) {
  const NameServer liar([](const NameServer::Question&) {
    return NameServerReply{.answers = {{"bank.example", DnsType::a, "192.0.2.66"},
                                       {"_atlasflow.bank.example", DnsType::txt, "stolen"},
                                       {"bank.example", DnsType::cname, "web.example"}}};
  });
  EXPECT_THAT(lines(look({liar.server()}).answers(0)), IsEmpty());
  const NameServer other([](const NameServer::Question& question) {
    return NameServerReply{.answers = {{question.name, DnsType::a, "192.0.2.66"}},
                           .other_question = true};
  });
  const auto observed = look({other.server()});
  EXPECT_NE(observed.answers(0).error(), "") << "an answer to another question is none";
  EXPECT_THAT(observed.answers(0).records(), IsEmpty());
}

// "*.web.example CNAME stranger.example" would make the stranger's TXT record the owner's.
TEST_F(Lookup, an_alias_proves_no_ownership) {
  Zone zone{.records = {{"_atlasflow.web.example", DnsType::cname, "x.stranger.example"},
                        {"x.stranger.example", DnsType::txt, "atlasflow=abc"}},
            .for_type = {},
            .chases = true};
  const NameServer server(zone);
  EXPECT_THAT(lines(look({server.server()}).answers(0)), IsEmpty());
}

TEST_F(Lookup, the_zones_own_servers_are_asked_for_the_proof) {
  Zone own;
  own.records = {{"_atlasflow.web.example", DnsType::txt, "fresh"}};
  const NameServer zone_server(
      [&](const NameServer::Question& question) {
        auto reply = own(question);
        reply.authoritative = true;
        return reply;
      },
      "127.0.0.9");
  zone_port_ = zone_server.port();
  const NameServer lame([](const auto&) { return NameServerReply{}; }, "127.0.0.10", zone_port_);
  zone_.records.push_back({"web.example", DnsType::ns, "ns1.example"});
  zone_.records.push_back({"web.example", DnsType::ns, "ns2.example"});
  zone_.records.push_back({"ns1.example", DnsType::a, "127.0.0.9"});
  zone_.records.push_back({"ns2.example", DnsType::a, "127.0.0.10"});
  const NameServer resolver(zone_);
  const auto observed = look({resolver.server()});
  ASSERT_EQ(observed.answers_size(), 3);
  EXPECT_TRUE(observed.answers(1).authoritative());
  EXPECT_EQ(observed.answers(1).server(), zone_server.server());
  EXPECT_THAT(lines(observed.answers(1)), ElementsAre("_atlasflow.web.example TXT fresh"));
  EXPECT_FALSE(zone_server.questions().front().recursive);
  EXPECT_THAT(observed.answers(2).error(), HasSubstr("does not answer for it"));
  EXPECT_THAT(observed.answers(2).records(), IsEmpty());
}

TEST_F(Lookup, a_zones_own_server_that_has_ipv6_only_is_asked_as_well) {
  const NameServer zone_server(
      [&](const NameServer::Question& question) {
        return NameServerReply{.answers = {{question.name, DnsType::txt, "fresh"}},
                               .authoritative = true};
      },
      "::1");
  zone_port_ = zone_server.port();
  const NameServer four(
      [&](const NameServer::Question& question) {
        return NameServerReply{.answers = {{question.name, DnsType::txt, "fresh too"}},
                               .authoritative = true};
      },
      "127.0.0.12", zone_port_);
  zone_.records.push_back({"web.example", DnsType::ns, "ns1.example"});
  zone_.records.push_back({"web.example", DnsType::ns, "ns2.example"});
  zone_.records.push_back({"ns1.example", DnsType::aaaa, "::1"});
  zone_.records.push_back({"ns2.example", DnsType::a, "127.0.0.12"});
  zone_.records.push_back({"ns2.example", DnsType::aaaa, "::1"});  // which is not asked beside it
  const NameServer resolver(zone_);
  const auto observed = look({resolver.server()});
  ASSERT_EQ(observed.answers_size(), 3);
  EXPECT_EQ(observed.answers(1).server(), "[::1]:" + std::to_string(zone_port_));
  EXPECT_EQ(observed.answers(1).error(), "");
  EXPECT_THAT(lines(observed.answers(1)), ElementsAre("_atlasflow.web.example TXT fresh"));
  EXPECT_EQ(observed.answers(2).server(), four.server());
  EXPECT_EQ(zone_server.questions().size(), 1U);
}

// As on a machine with one kind only: the broadcast address is no host's, and nothing is sent
// there.
TEST_F(Lookup, an_address_that_this_machine_has_no_route_to_gives_way_to_the_other_kind) {
  const NameServer zone_server(
      [&](const NameServer::Question& question) {
        return NameServerReply{.answers = {{question.name, DnsType::txt, "fresh"}},
                               .authoritative = true};
      },
      "::1");
  zone_port_ = zone_server.port();
  zone_.records.push_back({"web.example", DnsType::ns, "ns1.example"});
  zone_.records.push_back({"ns1.example", DnsType::a, "255.255.255.255"});  // no host's
  zone_.records.push_back({"ns1.example", DnsType::aaaa, "::1"});
  const NameServer resolver(zone_);
  const auto observed = look({resolver.server()});
  ASSERT_EQ(observed.answers_size(), 2);
  EXPECT_EQ(observed.answers(1).server(), zone_server.server());
}

TEST_F(Lookup, servers_that_only_this_machine_reaches_are_not_asked) {
  int asked = 0;
  const NameServer inside(
      [&](const auto&) {
        ++asked;
        return NameServerReply{};
      },
      "127.0.0.11");
  zone_.records.push_back({"web.example", DnsType::ns, "ns1.example"});
  zone_.records.push_back({"ns1.example", DnsType::a, "127.0.0.11"});
  const NameServer resolver(zone_);
  LookupConfig config;
  config.resolvers = {resolver.server()};
  config.zone_server_port = inside.port();
  const auto observed =
      DomainLookup::make(config)->look_up("web.example", "_atlasflow.web.example", {});
  EXPECT_EQ(observed.answers_size(), 1);
  EXPECT_EQ(asked, 0);
}

TEST_F(Lookup, a_name_of_a_hundred_labels_is_asked_for_with_few_questions) {
  std::string name = "example";
  for (int i = 0; i < 100; ++i) name = "x." + name;
  const NameServer server(zone_);
  EXPECT_EQ(look({server.server()}, name).answers(0).error(), "");
  EXPECT_LE(server.questions().size(), 3U + 2 * 10);
}

TEST_F(Lookup, records_have_bounds) {
  Zone zone;
  for (int i = 0; i < 100; ++i) {
    zone.records.push_back({"web.example", DnsType::a, "192.0.2." + std::to_string(i)});
  }
  zone.records.push_back({"_atlasflow.web.example", DnsType::txt, std::string(600, 'x')});
  const NameServer server([&](const NameServer::Question& question) {
    auto reply = zone(question);
    reply.truncated = true;
    return reply;
  });
  const auto answers = look({server.server()}).answers(0);
  EXPECT_EQ(answers.records_size(), 32);
  EXPECT_EQ(answers.records(0).value(), std::string(255, 'x'));
}

TEST_F(Lookup, text_that_is_none_is_written_with_its_numbers) {
  zone_.records = {{"_atlasflow.web.example", DnsType::txt, "a\n\"b\\\xC3"}};
  const NameServer server(zone_);
  EXPECT_THAT(lines(look({server.server()}).answers(0)),
              ElementsAre("_atlasflow.web.example TXT a\\010\"b\\092\\195"));
}

TEST_F(Lookup, a_stop_ends_it_at_once) {
  const NameServer silent([](const auto&) { return NameServerReply{.silent = true}; });
  LookupConfig config;
  config.resolvers = {silent.server()};
  config.patience = {.per_try = 10s, .tries = 2, .in_all = 20s};
  std::stop_source source;
  source.request_stop();
  const auto since = steady_clock::now();
  const auto observed = DomainLookup::make(config)->look_up("web.example", "_atlasflow.web.example",
                                                            source.get_token());
  EXPECT_LT(steady_clock::now() - since, 3s);
  EXPECT_NE(observed.answers(0).error(), "");
}

TEST(DnsServers, are_addresses_with_a_port_or_without) {
  const std::map<std::string, std::string> good = {{"192.0.2.53", "192.0.2.53:53"},
                                                   {"192.0.2.53:5353", "192.0.2.53:5353"},
                                                   {"2001:db8::53", "[2001:db8::53]:53"},
                                                   {"[2001:db8::53]", "[2001:db8::53]:53"},
                                                   {"[2001:db8::53]:5353", "[2001:db8::53]:5353"}};
  for (const auto& [text, address] : good) EXPECT_EQ(parse_dns_server(text).value(), address);
  for (const char* wrong : {"", "dns.example", "192.0.2.53:", "192.0.2.53:0", "192.0.2.53:99999",
                            "192.0.2.53:53x", "[2001:db8::53", "[2001:db8::53]53", "1.2.3"}) {
    const auto parsed = parse_dns_server(wrong);
    ASSERT_FALSE(parsed.has_value()) << wrong;
    EXPECT_EQ(parsed.error().code, ErrorCode::invalid_argument);
  }
  LookupConfig config;
  config.resolvers = {"dns.example"};
  EXPECT_FALSE(DomainLookup::make(config).has_value());
}

TEST(Addresses, of_the_internet_are_told_from_those_inside) {
  for (const char* each : {"192.0.2.1", "8.8.8.8", "2001:db8::1", "100.63.0.1", "172.32.0.1"}) {
    EXPECT_TRUE(is_public_address(each)) << each;
  }
  for (const char* each : {"127.0.0.1",         "10.1.2.3",      "172.16.0.1",
                           "172.31.255.255",    "192.168.0.1",   "169.254.169.254",
                           "100.64.0.1",        "0.0.0.0",       "224.0.0.1",
                           "255.255.255.255",   "::1",           "::",
                           "fe80::1",           "fd00::1",       "ff02::1",
                           "64:ff9b::10.0.0.1", "2002:a00:1::1", "::ffff:10.0.0.1",
                           "::ffff:8.8.8.8",    "web.example",   ""}) {
    EXPECT_FALSE(is_public_address(each)) << each;
  }
}

// Every prefix of an answer, every bit of it, and noise: an error or values, never anything else.
TEST(DnsMessages, broken_ones_are_refused_or_read_and_nothing_else) {
  const auto record = [](const std::string& name, int type, const std::string& data) {
    return name +
           std::string(
               {0, static_cast<char>(type), 0, 1, 0, 0, 0, 60, 0, static_cast<char>(data.size())}) +
           data;
  };
  const std::string pointer("\xC0\x0C", 2);
  const std::string four("\xC0\0\2\7", 4);
  const std::string message =
      std::string("\0\0\x84\0\0\1\0\4\0\0\0\0", 12) + wire_name("web.example") +
      std::string("\0\1\0\1", 4) + record(pointer, 1, four) + record(pointer, 5, pointer) +
      record(pointer, 16, "\3abc\2de") + record(pointer, 2, wire_name("ns.example"));
  const auto read = read_dns_message(message);
  ASSERT_TRUE(read.has_value());
  ASSERT_EQ(read->answers.size(), 4U);
  EXPECT_EQ(read->answers[0], (DnsRecord{"web.example", DnsType::a, "192.0.2.7"}));
  EXPECT_EQ(read->answers[2].value, "abcde");
  EXPECT_EQ(read->answers[3].value, "ns.example");
  for (std::size_t size = 0; size < message.size(); ++size) {
    EXPECT_FALSE(read_dns_message(message.substr(0, size)).has_value()) << size;
  }
  for (std::size_t bit = 0; bit < message.size() * 8; ++bit) {
    auto changed = message;
    changed[bit / 8] = static_cast<char>(changed[bit / 8] ^ (1 << (bit % 8)));
    static_cast<void>(read_dns_message(changed));
  }
  std::mt19937 random(7);
  for (int i = 0; i < 20'000; ++i) {
    std::string noise(random() % 200, '\0');
    for (char& c : noise) c = static_cast<char>(random());
    static_cast<void>(read_dns_message(noise));
  }
}

}  // namespace
}  // namespace atlasflow::domains
