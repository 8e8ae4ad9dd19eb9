// Orders that are proved by DNS-01, at an authority that looks at the records by itself.
#include <chrono>
#include <filesystem>
#include <map>
#include <memory>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "domains/acme/issuer.hpp"
#include "domains/acme/jose.hpp"
#include "tests/domains/fake_ca.hpp"

namespace atlasflow::domains {
namespace {

using namespace std::chrono_literals;
using domains_test::FakeCa;
using domains_test::TestBoard;
using testing::HasSubstr;
using testing::IsEmpty;

const std::string k_name = "_acme-challenge.apps.example";

// A zone, and how far it has come to be seen.
class Zone final : public TxtBoard {
 public:
  Result<void> put(const TxtProof& proof, const std::stop_token&) override {
    ++puts;
    if (put_fails) return tl::unexpected(*put_fails);
    records[proof.name].insert(proof.value);
    return {};
  }
  Result<void> wait_until_seen(const std::vector<TxtProof>& proofs,
                               std::chrono::milliseconds at_most, const std::stop_token&) override {
    waited_for = proofs;
    wait_max = at_most;
    if (on_wait) on_wait();
    if (wait_fails) return tl::unexpected(*wait_fails);
    return {};
  }
  void remove(const TxtProof& proof) override { records[proof.name].erase(proof.value); }

  std::map<std::string, std::set<std::string>> records;
  std::vector<TxtProof> waited_for;
  std::chrono::milliseconds wait_max{};
  std::function<void()> on_wait;
  std::optional<Error> put_fails;
  std::optional<Error> wait_fails;
  int puts = 0;
};

class DnsOrders : public testing::Test {
 protected:
  DnsOrders() {
    std::string pattern = testing::TempDir() + "dns-order-XXXXXX";
    folder_ = ::mkdtemp(pattern.data());
    store_ = CertificateStore::open(folder_ / "domains", folder_ / "secret.key").value();
    ca_.texts = [this](const std::string& name) {
      const auto& found = zone_.records[name];
      seen_by_ca_.push_back(found.size());
      return std::vector<std::string>(found.begin(), found.end());
    };
  }
  ~DnsOrders() override { std::filesystem::remove_all(folder_); }

  IssueResult order(const std::string& effect = "e-v1", const std::stop_token& stop = {},
                    std::chrono::microseconds remaining = 20s) {
    AcmeConfig config;
    config.directory = ca_.directory();
    config.terms_agreed = true;
    config.request_timeout = 5s;
    return Issuer(config, *store_, board_, &zone_)
        .order({EffectId(effect), {"apps.example", "*.apps.example"}, "", "", remaining}, stop);
  }

  std::filesystem::path folder_;
  TestBoard board_;
  FakeCa ca_{board_};
  Zone zone_;
  std::vector<std::size_t> seen_by_ca_;
  std::unique_ptr<CertificateStore> store_;
};

TEST_F(DnsOrders, a_name_and_its_wildcard_are_proved_by_two_records_that_stand_there_at_once) {
  const auto issued = order();
  ASSERT_TRUE(issued.has_value()) << issued.error().reason();
  EXPECT_THAT(issued->names(), testing::ElementsAre("apps.example", "*.apps.example"));
  ASSERT_EQ(zone_.waited_for.size(), 2U);
  EXPECT_EQ(zone_.waited_for[0].name, k_name);
  EXPECT_EQ(zone_.waited_for[1].name, k_name);
  EXPECT_THAT(seen_by_ca_, testing::Each(2U));
  EXPECT_THAT(zone_.records[k_name], IsEmpty()) << "and are taken away";
  EXPECT_EQ(board_.puts(), 0U);
  EXPECT_LE(zone_.wait_max, 10s) << "half of the order's time is the authority's";
}

TEST_F(DnsOrders, the_authority_is_not_asked_to_look_before_the_records_are_seen) {
  zone_.wait_fails = Error{ErrorCode::timed_out, "after 300 s found are none", ""};
  const auto failed = order();
  ASSERT_FALSE(failed.has_value());
  EXPECT_EQ(failed.error().problem(), pb::CERTIFICATE_PROBLEM_UNAVAILABLE)
      << "no failed validation: the authority counts none";
  EXPECT_THAT(failed.error().reason(), HasSubstr("found are none"));
  EXPECT_EQ(ca_.asked("/dns-challenge"), 0);
  EXPECT_THAT(zone_.records[k_name], IsEmpty());
}

TEST_F(DnsOrders, a_program_that_fails_is_this_servers_own_failure) {
  zone_.put_fails = Error{ErrorCode::internal, "the DNS hook ended with exit code 3", ""};
  const auto failed = order();
  ASSERT_FALSE(failed.has_value());
  EXPECT_EQ(failed.error().problem(), pb::CERTIFICATE_PROBLEM_LOCAL);
  EXPECT_THAT(failed.error().reason(), HasSubstr("exit code 3"));
  EXPECT_EQ(ca_.asked("/dns-challenge"), 0);
}

TEST_F(DnsOrders, a_record_that_the_authority_does_not_find_is_a_failed_validation) {
  zone_.on_wait = [this] { zone_.records.clear(); };
  const auto failed = order();
  ASSERT_FALSE(failed.has_value());
  EXPECT_EQ(failed.error().problem(), pb::CERTIFICATE_PROBLEM_VALIDATION);
}

// As kill -9 leaves it: the records stand, and another life goes on with the same order.
TEST_F(DnsOrders, one_that_was_stopped_goes_on_with_its_order_and_leaves_no_record) {
  std::stop_source stop;
  zone_.on_wait = [&] { stop.request_stop(); };
  zone_.wait_fails = Error{ErrorCode::cancelled, "stopped", ""};
  const auto stopped = order("e-v1", stop.get_token());
  ASSERT_FALSE(stopped.has_value());
  EXPECT_EQ(stopped.error().problem(), pb::CERTIFICATE_PROBLEM_ABANDONED);
  EXPECT_EQ(zone_.records[k_name].size(), 2U);
  zone_.on_wait = nullptr;
  zone_.wait_fails.reset();
  const auto issued = order();
  ASSERT_TRUE(issued.has_value()) << issued.error().reason();
  EXPECT_EQ(ca_.orders(), 1);
  EXPECT_THAT(zone_.records[k_name], IsEmpty());
}

// Killed between the proof and the end of the order, when only the clean-up was left undone.
TEST_F(DnsOrders, records_are_cleaned_up_by_the_life_that_finds_the_order_proved) {
  std::stop_source stop;
  ca_.instead = [&](const std::string& part, int) {
    if (part != "/finalize") return std::string();
    stop.request_stop();
    return domains_test::http_answer(503, "");
  };
  ASSERT_FALSE(order("e-v1", stop.get_token()).has_value());
  ca_.instead = nullptr;
  const auto key = store_->account(ca_.directory(), "").value();
  for (const auto* token : {"dns-token-0-0", "dns-token-0-1"}) {
    const auto left = txt_proof("apps.example", key_authorization(token, key.key.get()));
    zone_.records[left.name].insert(left.value);
  }
  const auto puts = zone_.puts;
  ASSERT_TRUE(order().has_value());
  EXPECT_EQ(zone_.puts, puts);
  EXPECT_EQ(ca_.orders(), 1);
  EXPECT_THAT(zone_.records[k_name], IsEmpty());
}

// As it is when a whole network comes up again: this server is there before the authority is.
TEST_F(DnsOrders, one_that_is_made_waits_for_an_authority_that_is_away_at_the_next_lifes_start) {
  std::stop_source stop;
  zone_.on_wait = [&] { stop.request_stop(); };
  zone_.wait_fails = Error{ErrorCode::cancelled, "stopped", ""};
  ASSERT_FALSE(order("e-v1", stop.get_token()).has_value());
  zone_.on_wait = nullptr;
  zone_.wait_fails.reset();
  int left = 3;
  ca_.instead = [&](const std::string& part, int) {
    return part == "/dir" && left-- > 0 ? domains_test::http_answer(503, "") : std::string();
  };
  const auto issued = order();
  ASSERT_TRUE(issued.has_value()) << issued.error().reason();
  EXPECT_EQ(ca_.orders(), 1);
  EXPECT_THAT(zone_.records[k_name], IsEmpty());
}

TEST_F(DnsOrders, one_that_is_given_up_with_its_authority_away_leaves_no_record_either) {
  std::stop_source stop;
  zone_.on_wait = [&] { stop.request_stop(); };
  zone_.wait_fails = Error{ErrorCode::cancelled, "stopped", ""};
  ASSERT_FALSE(order("e-v1", stop.get_token()).has_value());
  EXPECT_EQ(zone_.records[k_name].size(), 2U);
  ca_.instead = [&](const std::string&, int) { return domains_test::http_answer(503, ""); };
  const auto since = std::chrono::steady_clock::now();
  const auto failed = order("e-v1", {}, 1'200ms);
  ASSERT_FALSE(failed.has_value());
  EXPECT_EQ(failed.error().problem(), pb::CERTIFICATE_PROBLEM_UNAVAILABLE);
  EXPECT_GE(std::chrono::steady_clock::now() - since, 400ms) << "it was waited for";
  EXPECT_THAT(zone_.records[k_name], IsEmpty());
}

TEST_F(DnsOrders, one_that_is_not_made_yet_does_not_wait_for_its_authority) {
  ca_.instead = [&](const std::string&, int) { return domains_test::http_answer(503, ""); };
  ASSERT_FALSE(order().has_value());
  EXPECT_EQ(ca_.asked("/dir"), 1);
}

TEST_F(DnsOrders, one_whose_time_is_over_fails_without_a_record) {
  const auto failed = order("e-v1", {}, 500ms);
  ASSERT_FALSE(failed.has_value());
  EXPECT_EQ(zone_.puts, 0);
}

}  // namespace
}  // namespace atlasflow::domains
