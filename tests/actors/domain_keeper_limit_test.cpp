// The keeper of domains at the limits that all of them share: new certificates of one registered
// domain, and orders of the account.
#include <stdexcept>

#include "tests/actors/domain_keeper_fixture.hpp"

namespace atlasflow::actors {
namespace {

using testing::HasSubstr;

class KeeperAtLimit : public DomainKeeper {
 protected:
  KeeperAtLimit() {
    engine.registered = "shop.test";
    new_certificates_per_week = 3;
  }
  static std::string name(int i) { return "n" + std::to_string(i) + ".shop.test"; }
  void claim(int count) {
    for (int i = 0; i < count; ++i) record(domain_stream(name(i)), {added()});
  }
  [[nodiscard]] int active(int count) const {
    int found = 0;
    for (int i = 0; i < count; ++i) found += state(name(i)).installed ? 1 : 0;
    return found;
  }
  // All at once, as after a machine's sleep.
  void jump(TimestampUs time) {
    clock.now_us += time;
    scheduler->advance_time(std::chrono::microseconds(time));
    run();
  }
  void kill() {
    caf::anon_send_exit(keeper, caf::exit_reason::kill);
    run();
  }
  Result<DomainReply> ask_to_retry(const std::string& domain) {
    Result<DomainReply> answer = fail(ErrorCode::internal, "no answer");
    system->spawn([&](caf::event_based_actor* self) {
      self->request(
              keeper, caf::infinite,
              CommandDomain{domain, RetryCertificate{Principal::user()}, Principal::user(), {}})
          .then([&](const DomainReply& reply) { answer = reply; },
                [&](const caf::error& error) { answer = tl::unexpected(from_caf(error)); });
    });
    run();
    return answer;
  }
};

TEST_F(KeeperAtLimit, orders_as_many_as_it_allows_and_the_others_when_it_is_over) {
  claim(8);
  start();
  pass(seconds(30));
  EXPECT_EQ(engine.orders.size(), 3U);
  EXPECT_EQ(active(8), 3);
  jump(6 * k_day_us);
  pass(seconds(30));
  EXPECT_EQ(engine.orders.size(), 3U);
  jump(k_day_us);
  pass(seconds(30));
  EXPECT_EQ(engine.orders.size(), 6U);
  EXPECT_EQ(active(8), 6);
  EXPECT_EQ(death, "");
}

TEST_F(KeeperAtLimit, asks_no_name_server_again_and_again_while_it_waits) {
  claim(8);
  start();
  pass(seconds(30));
  const auto looks = engine.looks;
  pass(seconds(600));
  EXPECT_LE(engine.looks, looks + 1);
}

TEST_F(KeeperAtLimit, counts_on_from_the_log_after_a_start) {
  claim(8);
  start();
  pass(seconds(30));
  kill();
  start();
  pass(seconds(30));
  EXPECT_EQ(engine.orders.size(), 3U);
  kill();
  new_certificates_per_week = 5;
  start();
  pass(seconds(30));
  EXPECT_EQ(engine.orders.size(), 5U);
  kill();
  new_certificates_per_week = 0;
  start();
  pass(seconds(30));
  EXPECT_EQ(engine.orders.size(), 8U);
}

TEST_F(KeeperAtLimit, gives_what_a_failed_order_did_not_use_to_the_next) {
  new_certificates_per_week = 1;
  claim(2);
  // Its worker dies until it is given up, half a minute later: the other one waits by then.
  engine.on_order = [this] {
    if (engine.orders.size() <= 5) throw std::runtime_error("injected");
  };
  start();
  pass(seconds(20));
  EXPECT_EQ(count_of("CertificateOrdered"), 1U);
  pass(seconds(40));
  EXPECT_EQ(count_of("CertificateFailed"), 1U);
  EXPECT_EQ(count_of("CertificateOrdered"), 2U);
  EXPECT_EQ(active(2), 1);
}

TEST_F(KeeperAtLimit, leaves_names_of_others_and_renewals_alone) {
  engine.registered.clear();  // each of them is registered itself
  claim(8);
  start();
  pass(seconds(30));
  EXPECT_EQ(active(8), 8);
  kill();
  engine.registered = "shop.test";
  start();
  jump(80 * k_day_us);
  pass(seconds(60));
  EXPECT_GE(engine.orders.size(), 16U) << "all of them were renewed";
}

TEST_F(KeeperAtLimit, makes_not_one_order_more_than_the_account_may_however_many_are_due_at_once) {
  engine.registered.clear();
  orders_per_three_hours = 2;
  claim(8);
  start();
  pass(seconds(30));
  EXPECT_EQ(engine.orders.size(), 2U);
  jump(3 * k_hour_us);
  pass(seconds(30));
  EXPECT_EQ(engine.orders.size(), 4U);
}

TEST_F(KeeperAtLimit, tells_who_asks_for_another_try_when_it_is_ordered) {
  claim(4);
  start();
  pass(seconds(30));
  int refused = 0;
  for (int i = 0; i < 4; ++i) {
    if (state(name(i)).installed) continue;
    const auto answer = ask_to_retry(name(i));
    ASSERT_FALSE(answer);
    EXPECT_EQ(answer.error().code, ErrorCode::conflict);
    EXPECT_THAT(answer.error().message,
                HasSubstr("3 new certificates for names of 'shop.test' are all that ca.test"));
    EXPECT_THAT(answer.error().message, HasSubstr("is ordered in 7 days"));
    ++refused;
  }
  EXPECT_EQ(refused, 1);
}

}  // namespace
}  // namespace atlasflow::actors
