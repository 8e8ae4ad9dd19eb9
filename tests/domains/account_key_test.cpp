// Another key for the account, at a CA that refuses it, has it already, or loses its answer; and
// what the next order makes of a change that was interrupted.
#include <atomic>
#include <chrono>
#include <filesystem>
#include <memory>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "domains/acme/issuer.hpp"
#include "domains/acme/jose.hpp"
#include "tests/domains/fake_ca.hpp"

namespace atlasflow::domains {
namespace {

using namespace std::chrono_literals;
using domains_test::FakeCa;
using domains_test::http_answer;
using domains_test::TestBoard;
using testing::HasSubstr;

class AccountKey : public testing::Test {
 protected:
  AccountKey() {
    std::string pattern = testing::TempDir() + "account-key-XXXXXX";
    folder_ = ::mkdtemp(pattern.data());
    open_store();
  }
  ~AccountKey() override { std::filesystem::remove_all(folder_); }

  // As another life of the server does.
  void open_store() {
    store_.reset();
    auto opened = CertificateStore::open(folder_ / "domains", folder_ / "secret.key");
    ASSERT_TRUE(opened.has_value()) << to_string(opened.error());
    store_ = std::move(*opened);
    AcmeConfig config;
    config.directory = ca_.directory();
    config.terms_agreed = true;
    config.request_timeout = 5s;
    config.poll_first = 20ms;
    issuer_ = std::make_unique<Issuer>(config, *store_, board_);
  }
  IssueResult order(const std::string& name) {
    return issuer_->order({EffectId(name + "-v1"), {name}, "", "", 20s}, {});
  }
  AcmeResult<std::string> change() { return issuer_->change_account_key(ca_.directory(), {}); }
  [[nodiscard]] StoredAccount account() { return store_->account(ca_.directory(), "").value(); }
  [[nodiscard]] std::string thumbprint() { return thumbprint_of(account().key.get()); }
  [[nodiscard]] std::size_t sealed_values() const {
    std::size_t count = 0;
    for (const auto& entry :
         std::filesystem::recursive_directory_iterator(folder_ / "domains" / "sealed")) {
      count += entry.is_regular_file() ? 1 : 0;
    }
    return count;
  }

  std::filesystem::path folder_;
  TestBoard board_;
  FakeCa ca_{board_};
  std::unique_ptr<CertificateStore> store_;
  std::unique_ptr<Issuer> issuer_;
};

TEST_F(AccountKey, is_another_one_afterwards_and_the_account_is_the_same) {
  ASSERT_TRUE(order("a.example").has_value());
  const auto before = thumbprint();
  const auto url = account().url;
  const auto sealed = sealed_values();
  const auto changed = change();
  ASSERT_TRUE(changed.has_value()) << changed.error().reason;
  EXPECT_NE(*changed, before);
  EXPECT_EQ(ca_.key_changes(), 1);
  open_store();
  EXPECT_EQ(thumbprint(), *changed);
  EXPECT_EQ(account().url, url);
  EXPECT_EQ(account().next_key, nullptr);
  EXPECT_EQ(sealed_values(), sealed) << "the old key is gone";
  const auto issued = order("b.example");
  ASSERT_TRUE(issued.has_value()) << issued.error().reason();
  EXPECT_EQ(ca_.accounts(), 1);
}

TEST_F(AccountKey, that_is_another_accounts_already_is_not_taken_and_the_next_try_has_another) {
  ASSERT_TRUE(order("a.example").has_value());
  const auto before = thumbprint();
  ca_.keys_are_taken = true;
  const auto refused = change();
  ASSERT_FALSE(refused.has_value());
  EXPECT_THAT(refused.error().reason, HasSubstr("knows another account by the new key"));
  EXPECT_EQ(refused.error().kind, pb::CERTIFICATE_PROBLEM_REFUSED);
  EXPECT_EQ(thumbprint(), before);
  EXPECT_EQ(account().next_key, nullptr);
  EXPECT_TRUE(order("b.example").has_value());
  ca_.keys_are_taken = false;
  const auto changed = change();
  ASSERT_TRUE(changed.has_value()) << changed.error().reason;
  EXPECT_EQ(thumbprint(), *changed);
  EXPECT_TRUE(order("c.example").has_value());
}

TEST_F(AccountKey, stays_where_the_authority_refuses_or_can_not_change_it) {
  ASSERT_TRUE(order("a.example").has_value());
  const auto before = thumbprint();
  ca_.instead = [](const std::string& part, int) {
    return part != "/key-change"
               ? std::string()
               : http_answer(403,
                             R"({"type":"urn:ietf:params:acme:error:unauthorized","detail":"no )"
                             R"(changes today"})",
                             "Replay-Nonce: n\r\n");
  };
  const auto refused = change();
  ASSERT_FALSE(refused.has_value());
  EXPECT_THAT(refused.error().reason, HasSubstr("no changes today"));
  ca_.instead = nullptr;
  ca_.changes_keys = false;
  const auto unknown = change();
  ASSERT_FALSE(unknown.has_value());
  EXPECT_THAT(unknown.error().reason, HasSubstr("its directory has no keyChange"));
  EXPECT_EQ(thumbprint(), before);
  EXPECT_EQ(account().next_key, nullptr);
  EXPECT_TRUE(order("b.example").has_value());
}

TEST_F(AccountKey, of_no_account_is_none_to_change) {
  const auto refused = change();
  ASSERT_FALSE(refused.has_value());
  EXPECT_THAT(refused.error().reason, HasSubstr("no account at " + ca_.directory() + " yet"));
  EXPECT_EQ(ca_.asked("/dir"), 0);
}

TEST_F(AccountKey, is_the_new_one_when_only_the_answer_was_lost) {
  ASSERT_TRUE(order("a.example").has_value());
  const auto before = thumbprint();
  ca_.loses_key_change_answer = true;
  const auto changed = change();
  ASSERT_TRUE(changed.has_value()) << changed.error().reason;
  EXPECT_NE(thumbprint(), before);
  EXPECT_TRUE(order("b.example").has_value());
  EXPECT_EQ(ca_.accounts(), 1);
}

TEST_F(AccountKey, that_the_authority_takes_after_it_knew_the_old_one_still_is_not_lost) {
  ASSERT_TRUE(order("a.example").has_value());
  const auto before = thumbprint();
  ca_.is_slow_to_change_keys = true;
  ASSERT_FALSE(change().has_value());
  EXPECT_EQ(thumbprint(), before);
  EXPECT_TRUE(order("b.example").has_value()) << "with the old key, which it knows";
  const auto next = thumbprint_of(account().next_key.get());
  ca_.end_slow_key_change();
  const auto issued = order("c.example");
  ASSERT_TRUE(issued.has_value()) << issued.error().reason();
  EXPECT_EQ(thumbprint(), next);
  EXPECT_EQ(account().next_key, nullptr);
  EXPECT_EQ(ca_.accounts(), 1);
}

// What an account was made with may have been for once.
TEST_F(AccountKey, is_asked_for_without_what_an_account_is_made_with) {
  ASSERT_TRUE(order("a.example").has_value());
  ASSERT_TRUE(store_->begin_key_change(ca_.directory(), "").has_value());
  EXPECT_TRUE(order("b.example").has_value());
  EXPECT_EQ(ca_.account_request(), (nlohmann::json{{"onlyReturnExisting", true}}));
}

// The authority is away after the request, whether that has come through or not.
TEST_F(AccountKey, is_found_out_by_the_next_order_in_another_life) {
  ASSERT_TRUE(order("first.example").has_value());
  for (const bool came_through : {true, false}) {
    SCOPED_TRACE(came_through ? "it came through" : "it did not");
    const auto before = thumbprint();
    std::atomic<bool> away{false};
    ca_.loses_key_change_answer = true;
    ca_.instead = [&](const std::string& part, int) {
      if (away.load()) return http_answer(503, "");
      away = part == "/key-change";
      return away.load() && !came_through ? http_answer(503, "") : std::string();
    };
    const auto unknown = change();
    ASSERT_FALSE(unknown.has_value());
    EXPECT_THAT(unknown.error().reason, HasSubstr("the next order finds out which of both"));
    EXPECT_EQ(thumbprint(), before);
    ASSERT_NE(account().next_key, nullptr);
    const auto next = thumbprint_of(account().next_key.get());
    open_store();
    ASSERT_TRUE(store_->keep_only({}, {}).has_value());
    const std::string host = came_through ? "b" : "c";
    const auto early = order(host + "0.example");
    ASSERT_FALSE(early.has_value()) << "nobody answers yet";
    EXPECT_EQ(early.error().problem(), pb::CERTIFICATE_PROBLEM_UNAVAILABLE);
    ASSERT_NE(account().next_key, nullptr) << "that no answer came says nothing of the keys";
    ca_.instead = nullptr;
    const auto issued = order(host + "1.example");
    ASSERT_TRUE(issued.has_value()) << issued.error().reason();
    EXPECT_EQ(thumbprint(), came_through ? next : before);
    EXPECT_EQ(account().next_key == nullptr, came_through) << "it may come through yet";
    EXPECT_EQ(ca_.accounts(), 1);
  }
}

TEST_F(AccountKey, that_was_changed_and_not_heard_of_is_not_changed_a_second_time) {
  ASSERT_TRUE(order("a.example").has_value());
  std::atomic<bool> away{false};
  ca_.loses_key_change_answer = true;
  ca_.instead = [&](const std::string& part, int) {
    if (away.load()) return http_answer(503, "");
    away = part == "/key-change";
    return std::string();
  };
  ASSERT_FALSE(change().has_value());
  const auto next = thumbprint_of(account().next_key.get());
  ca_.instead = nullptr;
  const auto changed = change();
  ASSERT_TRUE(changed.has_value()) << changed.error().reason;
  EXPECT_EQ(*changed, next);
  EXPECT_EQ(ca_.key_changes(), 1);
}

TEST_F(AccountKey, of_an_authority_that_was_set_up_anew_is_one_that_it_gets_to_know) {
  ASSERT_TRUE(order("a.example").has_value());
  ASSERT_TRUE(store_->begin_key_change(ca_.directory(), "").has_value());
  ca_.forget_accounts();
  const auto issued = order("b.example");
  ASSERT_TRUE(issued.has_value()) << issued.error().reason();
  EXPECT_EQ(ca_.accounts(), 1);
  EXPECT_TRUE(order("c.example").has_value());
  ASSERT_TRUE(change().has_value());
  EXPECT_EQ(account().next_key, nullptr);
}

TEST_F(AccountKey, is_not_changed_below_an_order_that_is_under_way) {
  ASSERT_TRUE(order("a.example").has_value());
  ca_.processing_polls = 4;
  const int certificates = ca_.certificates();
  std::jthread ordering([this] { EXPECT_TRUE(order("b.example").has_value()); });
  const auto until = std::chrono::steady_clock::now() + 20s;
  while (ca_.orders() < 2 && std::chrono::steady_clock::now() < until) {
    std::this_thread::sleep_for(1ms);
  }
  const auto changed = change();
  ASSERT_TRUE(changed.has_value()) << changed.error().reason;
  EXPECT_EQ(ca_.certificates(), certificates + 1) << "the order had its end before";
  EXPECT_EQ(ca_.key_changes(), 1);
}

}  // namespace
}  // namespace atlasflow::domains
