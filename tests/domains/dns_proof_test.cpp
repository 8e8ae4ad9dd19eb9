// TXT records of DNS-01: by a program, at the end of CNAMEs, and until name servers show them.
#include "domains/acme/dns_proof.hpp"

#include <chrono>
#include <filesystem>
#include <fstream>
#include <map>
#include <mutex>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/file.hpp"
#include "tests/domains/name_server.hpp"

namespace atlasflow::domains {
namespace {

using namespace std::chrono_literals;
using domains_test::NameServer;
using domains_test::NameServerReply;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

const std::string k_name = "_acme-challenge.apps.example";

// RFC 8555 section 8.4; the digest is openssl's.
TEST(TxtProof, is_the_digest_of_the_key_authorization) {
  const auto proof = txt_proof("apps.example", "token.thumbprint");
  EXPECT_EQ(proof.name, k_name);
  EXPECT_EQ(proof.value, "61rBZ_4knHblO0MNoxFsXZ_eTFUHum0B6IVRbhvUn5I");
}

class Hook : public testing::Test {
 protected:
  Hook() {
    std::string pattern = testing::TempDir() + "hook-XXXXXX";
    folder_ = ::mkdtemp(pattern.data());
  }
  ~Hook() override { std::filesystem::remove_all(folder_); }

  [[nodiscard]] std::string program(const std::string& script) const {
    const auto path = folder_ / "hook";
    std::ofstream(path) << "#!/bin/sh\n" << script << "\n";
    std::filesystem::permissions(path, std::filesystem::perms::owner_all);
    return path;
  }
  [[nodiscard]] std::string written() const {
    return read_file(folder_ / "out", 4'096).value_or("");
  }
  std::filesystem::path folder_;
};

TEST_F(Hook, is_run_with_three_words_no_shell_and_a_bare_environment) {
  ::setenv("ATLASFLOW_HOOK_TEST", "secret", 1);
  HookProvider hook(program("printf '%s|' \"$#\" \"$@\" >" + (folder_ / "out").string() +
                            "; env >>" + (folder_ / "out").string()));
  const std::string odd = "a b;$(id)'\"*";
  ASSERT_TRUE(hook.present({k_name, odd}, {}).has_value());
  EXPECT_THAT(written(), testing::StartsWith("3|present|" + k_name + "|" + odd + "|"));
  EXPECT_THAT(written(), Not(HasSubstr("ATLASFLOW_HOOK_TEST")));
  EXPECT_THAT(written(), HasSubstr("PATH="));
  ASSERT_TRUE(hook.cleanup({k_name, "v"}, {}).has_value());
  EXPECT_THAT(written(), testing::StartsWith("3|cleanup|" + k_name + "|v|"));
}

TEST_F(Hook, that_fails_is_told_without_what_it_printed) {
  HookProvider hook(program("echo token-of-the-provider; echo token-of-the-provider >&2; exit 7"));
  const auto failed = hook.present({k_name, "value"}, {});
  ASSERT_FALSE(failed.has_value());
  EXPECT_THAT(failed.error().message, HasSubstr("exit code 7, expected is 0"));
  EXPECT_THAT(failed.error().message, HasSubstr("hook present " + k_name + " value"));
  EXPECT_THAT(to_string(failed.error()), Not(HasSubstr("token-of")));
}

TEST_F(Hook, that_does_not_end_is_ended) {
  HookProvider hook(program("sleep 60"), 200ms);
  const auto since = std::chrono::steady_clock::now();
  const auto failed = hook.present({k_name, "value"}, {});
  ASSERT_FALSE(failed.has_value());
  EXPECT_THAT(failed.error().message, HasSubstr("did not end within 1 s"));
  EXPECT_LT(std::chrono::steady_clock::now() - since, 10s);
}

TEST_F(Hook, is_done_when_it_exits_whatever_it_leaves_running) {
  HookProvider hook(program("sleep 20 &"), 5s);
  const auto since = std::chrono::steady_clock::now();
  EXPECT_TRUE(hook.present({k_name, "value"}, {}).has_value());
  EXPECT_LT(std::chrono::steady_clock::now() - since, 4s);
}

TEST_F(Hook, that_is_no_program_is_told) {
  const auto failed = HookProvider((folder_ / "none").string()).present({k_name, "value"}, {});
  ASSERT_FALSE(failed.has_value());
  EXPECT_THAT(failed.error().message, HasSubstr("domains.dns01_hook"));
}

// A zone whose records a test sets, and who tells of it: the resolver, and the zone's own server.
class World {
 public:
  std::map<std::string, std::string> aliases;
  std::vector<std::string> texts;          // as the zone's server has them, at any name
  std::vector<std::string> resolved;       // as the resolver has them
  std::string zone_address = "127.0.0.7";  // of IPv4; empty: it has none
  bool zone_is_known = true;
  bool lame = false;
  bool silent = false;
  int asked_zone = 0;

  NameServerReply resolve(const NameServer::Question& question) {
    const std::lock_guard lock(mutex);
    NameServerReply reply;
    const auto type = static_cast<DnsType>(question.type);
    if (silent) reply.silent = true;
    if (type == DnsType::cname && aliases.contains(question.name)) {
      reply.answers = {{question.name, type, aliases[question.name]}};
    } else if (type == DnsType::ns && zone_is_known && question.name == "apps.example") {
      reply.answers = {{question.name, type, "ns.apps.example"}};
    } else if (type == DnsType::a && question.name == "ns.apps.example") {
      if (!zone_address.empty()) reply.answers = {{question.name, type, zone_address}};
    } else if (type == DnsType::aaaa && question.name == "ns.apps.example") {
      reply.answers = {{question.name, type, "::1"}};
    } else if (type == DnsType::txt) {
      for (const auto& each : resolved) reply.answers.push_back({question.name, type, each});
    }
    return reply;
  }
  NameServerReply answer_for_zone(const NameServer::Question& question) {
    const std::lock_guard lock(mutex);
    ++asked_zone;
    NameServerReply reply{.authoritative = !lame};
    for (const auto& each : texts) reply.answers.push_back({question.name, DnsType::txt, each});
    return reply;
  }
  std::mutex mutex;
  NameServer resolver{[this](const auto& question) { return resolve(question); }};
  NameServer zone{[this](const auto& question) { return answer_for_zone(question); }, "127.0.0.7"};
};

class Recorder final : public TxtProvider {
 public:
  explicit Recorder(std::vector<std::string>& calls) : calls_(calls) {}
  Result<void> present(const TxtProof& proof, const std::stop_token&) override {
    calls_.push_back("present " + proof.name + " " + proof.value);
    return {};
  }
  Result<void> cleanup(const TxtProof& proof, const std::stop_token&) override {
    calls_.push_back("cleanup " + proof.name + " " + proof.value);
    return {};
  }

 private:
  std::vector<std::string>& calls_;
};

class Proof : public testing::Test {
 protected:
  [[nodiscard]] DnsProof proof() {
    return DnsProof({.resolvers = {world_.resolver.server()},
                     .zone_server_port = world_.zone.port(),
                     .patience = {.per_try = 300ms, .tries = 1, .in_all = 1s},
                     .poll = 20ms},
                    std::make_unique<Recorder>(calls_));
  }
  World world_;
  std::vector<std::string> calls_;
};

TEST_F(Proof, is_put_where_the_cnames_lead) {
  world_.aliases = {{k_name, "a.proof.example"}, {"a.proof.example", "b.proof.example"}};
  auto dns = proof();
  ASSERT_TRUE(dns.put({k_name, "one"}, {}).has_value());
  dns.remove({k_name, "one"});
  EXPECT_THAT(calls_, ElementsAre("present b.proof.example one", "cleanup b.proof.example one"));
}

TEST_F(Proof, a_loop_of_cnames_is_told) {
  world_.aliases = {{k_name, "a.proof.example"}, {"a.proof.example", k_name}};
  const auto put = proof().put({k_name, "one"}, {});
  ASSERT_FALSE(put.has_value());
  EXPECT_THAT(put.error().message, HasSubstr("more than 8 CNAMEs"));
  EXPECT_THAT(calls_, IsEmpty());
}

TEST_F(Proof, is_not_put_blindly_where_no_name_server_answers) {
  world_.silent = true;
  const auto put = proof().put({k_name, "one"}, {});
  ASSERT_FALSE(put.has_value());
  EXPECT_EQ(put.error().code, ErrorCode::unavailable);
  EXPECT_THAT(calls_, IsEmpty());
}

TEST_F(Proof, is_waited_for_until_the_zones_own_server_shows_both) {
  world_.resolved = {"one", "two"};  // who is no judge of it
  std::thread propagation([this] {
    for (const auto* value : {"one", "two"}) {
      std::this_thread::sleep_for(100ms);
      const std::lock_guard lock(world_.mutex);
      world_.texts.emplace_back(value);
    }
  });
  const auto since = std::chrono::steady_clock::now();
  const auto seen = proof().wait_until_seen({{k_name, "one"}, {k_name, "two"}}, 10s, {});
  EXPECT_TRUE(seen.has_value()) << to_string(seen.error());
  EXPECT_GE(std::chrono::steady_clock::now() - since, 200ms);
  propagation.join();
}

TEST_F(Proof, is_seen_at_a_server_that_has_ipv6_only) {
  const NameServer zone(
      [&](const NameServer::Question& question) {
        return NameServerReply{.answers = {{question.name, DnsType::txt, "one"}},
                               .authoritative = true};
      },
      "::1", world_.zone.port());
  world_.zone_address = {};
  const auto seen = proof().wait_until_seen({{k_name, "one"}}, 5s, {});
  EXPECT_TRUE(seen.has_value()) << to_string(seen.error());
  EXPECT_EQ(zone.questions().size(), 1U);
  EXPECT_EQ(world_.asked_zone, 0);
}

TEST_F(Proof, that_is_never_seen_is_told_with_what_was_found_and_expected) {
  world_.texts = {"old", "one"};
  const auto seen = proof().wait_until_seen({{k_name, "one"}, {k_name, "two"}}, 200ms, {});
  ASSERT_FALSE(seen.has_value());
  EXPECT_EQ(seen.error().code, ErrorCode::timed_out);
  EXPECT_THAT(seen.error().message, HasSubstr(world_.zone.server()));
  EXPECT_THAT(seen.error().message,
              HasSubstr("found are \"old\", \"one\", expected are \"one\", \"two\""));
}

TEST_F(Proof, a_server_that_does_not_answer_for_the_zone_is_not_believed) {
  world_.texts = {"one"};
  world_.lame = true;
  const auto seen = proof().wait_until_seen({{k_name, "one"}}, 100ms, {});
  ASSERT_FALSE(seen.has_value());
  EXPECT_THAT(seen.error().message, HasSubstr("does not answer for the zone"));
}

TEST_F(Proof, resolvers_are_asked_where_the_zones_servers_are_not_known) {
  world_.zone_is_known = false;
  world_.resolved = {"one"};
  EXPECT_TRUE(proof().wait_until_seen({{k_name, "one"}}, 5s, {}).has_value());
  EXPECT_EQ(world_.asked_zone, 0);
}

TEST_F(Proof, a_stop_ends_the_wait) {
  std::stop_source stop;
  std::thread stopping([&] {
    std::this_thread::sleep_for(50ms);
    stop.request_stop();
  });
  const auto seen = proof().wait_until_seen({{k_name, "one"}}, 60s, stop.get_token());
  stopping.join();
  ASSERT_FALSE(seen.has_value());
  EXPECT_EQ(seen.error().code, ErrorCode::cancelled);
}

}  // namespace
}  // namespace atlasflow::domains
