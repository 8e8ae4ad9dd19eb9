// Updates of a zone, taken by a name server that checks each signature by itself.
#include "domains/dns/update.hpp"

#include <chrono>
#include <ctime>
#include <mutex>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <openssl/evp.h>

#include "tests/domains/name_server.hpp"

namespace atlasflow::domains {
namespace {

using namespace std::chrono_literals;
using domains_test::NameServer;
using domains_test::NameServerReply;
using domains_test::wire_name;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

const std::string k_secret = "0123456789abcdef0123456789abcdef";
const std::string k_name = "_acme-challenge.apps.example.net";

std::string two(unsigned number) {
  return {static_cast<char>(number >> 8U), static_cast<char>(number & 255U)};
}
unsigned two_at(const std::string& bytes, std::size_t at) {
  return static_cast<unsigned char>(bytes.at(at)) * 256U +
         static_cast<unsigned char>(bytes.at(at + 1));
}
std::size_t end_of_name(const std::string& bytes, std::size_t at) {
  while (bytes.at(at) != 0) at += 1 + static_cast<unsigned char>(bytes.at(at));
  return at + 1;
}
std::string mac_of(const std::string& secret, const std::string& text) {
  std::string mac(32, '\0');
  std::size_t size = 0;
  EVP_Q_mac(nullptr, "HMAC", nullptr, "SHA256", nullptr, secret.data(), secret.size(),
            reinterpret_cast<const unsigned char*>(text.data()), text.size(),
            reinterpret_cast<unsigned char*>(mac.data()), mac.size(), &size);
  return mac;
}

// The primary of example.net, which has two records at a name as well as one.
class Primary {
 public:
  Primary() {
    server_.take_updates(
        [this](const std::string& request, bool tcp) { return take(request, tcp); });
  }

  [[nodiscard]] ZoneUpdate update() const {
    return {.server = server_.server(), .key = {"atlas", k_secret}, .per_try = 300ms};
  }
  [[nodiscard]] std::vector<std::string> texts() const {
    const std::lock_guard lock(mutex_);
    return texts_;
  }

  bool udp_is_deaf = false;
  bool udp_is_cut = false;
  bool signs = true;
  std::string secret_of_answers = k_secret;
  unsigned code = 0;        // RFC 1035's, 2136's
  unsigned tsig_error = 0;  // with no signature then
  bool answers_another = false;
  int taken = 0;
  int by_tcp = 0;

 private:
  std::string take(const std::string& request, bool tcp) {
    const std::lock_guard lock(mutex_);
    ++taken;
    if (tcp) ++by_tcp;
    if (!tcp && udp_is_deaf) return {};
    if (!tcp && udp_is_cut) return request.substr(0, 2) + two(0xAA00) + std::string(8, '\0');
    // A zone, one record, and the signature.
    auto at = end_of_name(request, 12);
    EXPECT_EQ(request.substr(12, at - 12), wire_name("example.net"));
    at += 4;
    const auto record = at;
    at = end_of_name(request, at);
    EXPECT_EQ(request.substr(record, at - record), wire_name(k_name));
    const auto of_class = two_at(request, at + 2);
    const auto data = request.substr(at + 10, two_at(request, at + 8));
    const auto tsig = at + 10 + data.size();
    const auto mac = mac_in(request, tsig);
    if (!mac.empty() && code == 0 && tsig_error == 0) change(of_class, data.substr(1));
    return respond(request, mac);
  }

  // Empty: it is not this key's.
  std::string mac_in(const std::string& request, std::size_t tsig) const {
    auto at = end_of_name(request, tsig);
    const auto key_name = request.substr(tsig, at - tsig);
    const auto algorithm = at + 10;
    at = end_of_name(request, algorithm);
    const auto time_and_fudge = request.substr(at, 8);
    const auto mac = request.substr(at + 10, two_at(request, at + 8));
    const auto own = request.substr(0, 10) + two(0) + request.substr(12, tsig - 12) + key_name +
                     two(255) + std::string(4, '\0') + wire_name("hmac-sha256") + time_and_fudge +
                     two(0) + two(0);
    EXPECT_EQ(key_name, wire_name("atlas"));
    return mac == mac_of(k_secret, own) ? mac : std::string();
  }
  void change(unsigned of_class, const std::string& text) {
    std::erase(texts_, text);
    if (of_class == 1) texts_.push_back(text);
  }
  std::string respond(const std::string& request, const std::string& request_mac) const {
    const auto bad = request_mac.empty() ? 16U : tsig_error;
    const auto id = answers_another ? two(two_at(request, 0) ^ 1U) : request.substr(0, 2);
    const auto head = id + two(0xA800U | (bad != 0 ? 9U : code)) + std::string(6, '\0');
    if (!signs) return head + two(0);
    const auto now = static_cast<std::uint64_t>(std::time(nullptr));
    const auto time = two(0) + two(static_cast<unsigned>(now >> 16U) & 0xFFFFU) +
                      two(static_cast<unsigned>(now) & 0xFFFFU) + two(300);
    const auto variables = wire_name("atlas") + two(255) + std::string(4, '\0') +
                           wire_name("hmac-sha256") + time + two(bad) + two(0);
    const auto mac =
        bad != 0 ? std::string()
                 : mac_of(secret_of_answers, two(32) + request_mac + head + two(0) + variables);
    const auto data = wire_name("hmac-sha256") + time + two(static_cast<unsigned>(mac.size())) +
                      mac + id + two(bad) + two(0);
    return head + two(1) + wire_name("atlas") + two(250) + two(255) + std::string(4, '\0') +
           two(static_cast<unsigned>(data.size())) + data;
  }
  static NameServerReply say(const NameServer::Question& question) {
    NameServerReply reply{.authoritative = true};
    if (question.type == 6 && question.name == "example.net") {
      reply.answers = {{question.name, DnsType::soa, "ns.example.net"}};
    }
    return reply;
  }

  mutable std::mutex mutex_;
  std::vector<std::string> texts_;
  NameServer server_{say};
};

TEST(ZoneUpdate, two_texts_stand_at_one_name_and_each_goes_by_itself) {
  Primary primary;
  const auto update = primary.update();
  ASSERT_TRUE(add_text(update, k_name, "one", {}).has_value());
  ASSERT_TRUE(add_text(update, k_name, "two", {}).has_value());
  ASSERT_TRUE(add_text(update, k_name, "two", {}).has_value()) << "as after a crash";
  EXPECT_THAT(primary.texts(), ElementsAre("one", "two"));
  ASSERT_TRUE(remove_text(update, k_name, "one", {}).has_value());
  ASSERT_TRUE(remove_text(update, k_name, "one", {}).has_value());
  EXPECT_THAT(primary.texts(), ElementsAre("two"));
  EXPECT_EQ(primary.by_tcp, 0);
}

TEST(ZoneUpdate, goes_by_tcp_where_udp_is_not_answered_or_cut) {
  for (const bool cut : {false, true}) {
    Primary primary;
    (cut ? primary.udp_is_cut : primary.udp_is_deaf) = true;
    const auto added = add_text(primary.update(), k_name, "one", {});
    ASSERT_TRUE(added.has_value()) << to_string(added.error());
    EXPECT_EQ(primary.by_tcp, 1);
    EXPECT_THAT(primary.texts(), ElementsAre("one"));
  }
}

TEST(ZoneUpdate, a_refusal_is_told_with_what_to_do) {
  struct Case {
    unsigned code;
    unsigned tsig_error;
    ErrorCode error;
    std::string says;
  };
  for (const auto& each : std::vector<Case>{
           {5, 0, ErrorCode::unauthorized, "(REFUSED); its update policy must let the key 'atlas'"},
           {9, 0, ErrorCode::unauthorized, "(NOTAUTH)"},
           {10, 0, ErrorCode::not_found, "(NOTZONE)"},
           {2, 0, ErrorCode::unavailable, "with SERVFAIL"},
           {0, 17, ErrorCode::unauthorized, "does not know the key 'atlas' (BADKEY)"},
           {0, 18, ErrorCode::unauthorized, "has another time than this machine (BADTIME)"}}) {
    Primary primary;
    primary.code = each.code;
    primary.tsig_error = each.tsig_error;
    const auto added = add_text(primary.update(), k_name, "one", {});
    ASSERT_FALSE(added.has_value()) << each.says;
    EXPECT_EQ(added.error().code, each.error) << each.says;
    EXPECT_THAT(added.error().message, HasSubstr(each.says));
    EXPECT_THAT(added.error().message, HasSubstr("127.0.0.1:"));
    EXPECT_THAT(primary.texts(), IsEmpty());
  }
}

TEST(ZoneUpdate, another_secret_changes_nothing_and_is_told) {
  Primary primary;
  auto update = primary.update();
  update.key.secret = "another";
  const auto added = add_text(update, k_name, "one", {});
  ASSERT_FALSE(added.has_value());
  EXPECT_THAT(added.error().message, HasSubstr("another secret for the key 'atlas' (BADSIG)"));
  EXPECT_THAT(primary.texts(), IsEmpty());
}

// Whoever is between us and the server may say what they like.
TEST(ZoneUpdate, no_success_is_believed_that_is_not_signed) {
  for (const bool forged : {false, true}) {
    Primary primary;
    primary.signs = forged;
    primary.secret_of_answers = "a guess";
    const auto added = add_text(primary.update(), k_name, "one", {});
    ASSERT_FALSE(added.has_value());
    EXPECT_EQ(added.error().code, ErrorCode::corrupt);
    EXPECT_THAT(added.error().message, HasSubstr("signature"));
  }
}

TEST(ZoneUpdate, an_answer_to_another_question_is_passed_over) {
  Primary primary;
  primary.answers_another = true;
  const auto added = add_text(primary.update(), k_name, "one", {});
  ASSERT_FALSE(added.has_value());
  EXPECT_THAT(added.error().message, HasSubstr("answered another question"));
}

TEST(ZoneUpdate, a_server_that_has_not_the_zone_is_told) {
  Primary primary;
  const auto added = add_text(primary.update(), "_acme-challenge.apps.other.test", "one", {});
  ASSERT_FALSE(added.has_value());
  EXPECT_EQ(added.error().code, ErrorCode::not_found);
  EXPECT_THAT(added.error().message, HasSubstr("has no zone with _acme-challenge.apps.other.test"));
  EXPECT_EQ(primary.taken, 0);
}

TEST(ZoneUpdate, a_server_that_is_not_there_is_told_and_a_stop_ends_the_wait) {
  ZoneUpdate nowhere{.server = "127.0.0.1:1", .key = {"atlas", k_secret}, .per_try = 300ms};
  const auto added = add_text(nowhere, k_name, "one", {});
  ASSERT_FALSE(added.has_value());
  EXPECT_THAT(added.error().message, HasSubstr("127.0.0.1:1"));
  std::stop_source stop;
  stop.request_stop();
  EXPECT_EQ(add_text(nowhere, k_name, "one", stop.get_token()).error().code, ErrorCode::cancelled);
}

}  // namespace
}  // namespace atlasflow::domains
