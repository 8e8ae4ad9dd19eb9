// What session tickets are sealed with: the same for all workers and for the next process, anew
// each period, and the old ones out of reach.
#include "edge/tls/ticket_keys.hpp"

#include <ctime>

#include <gtest/gtest.h>

namespace atlasflow::edge {
namespace {

constexpr std::int64_t k_now_s = 1'800'000'000 - 1'800'000'000 % k_ticket_period_s;

TicketSecret some_secret() {
  TicketSecret secret;
  secret.bytes.fill(7);
  secret.period = k_now_s / k_ticket_period_s - 1;
  return secret;
}

bool same(const TicketKey& a, const TicketKey& b) {
  return a.name == b.name && a.cipher == b.cipher && a.mac == b.mac;
}

TEST(TicketKeys, are_the_same_for_all_who_start_from_the_same_secret) {
  TicketKeys early(some_secret());
  TicketKeys late(some_secret());
  const std::int64_t much_later = k_now_s + 7 * k_ticket_period_s;
  for (int period = 1; period < 7; ++period) {
    (void)early.current(k_now_s + period * k_ticket_period_s);
  }
  EXPECT_TRUE(same(early.current(much_later), late.current(much_later)));
  TicketSecret handed_on = some_secret();
  EXPECT_TRUE(advance(handed_on, much_later));
  EXPECT_FALSE(advance(handed_on, much_later));
  TicketKeys successor(handed_on);
  EXPECT_TRUE(same(successor.current(much_later), late.current(much_later)));
}

TEST(TicketKeys, change_each_period_and_those_of_one_before_still_open_tickets) {
  TicketKeys keys(some_secret());
  const TicketKey first = keys.current(k_now_s);
  EXPECT_TRUE(same(first, keys.current(k_now_s + k_ticket_period_s - 1)));
  const TicketKey second = keys.current(k_now_s + k_ticket_period_s);
  EXPECT_FALSE(same(first, second));
  EXPECT_NE(first.name, second.name);
  EXPECT_NE(first.cipher, first.mac);

  const std::int64_t in_second = k_now_s + k_ticket_period_s + k_ticket_lifetime_s;
  const TicketKey* found = keys.find(first.name.data(), in_second);
  ASSERT_NE(found, nullptr) << "its tickets are good until then";
  EXPECT_TRUE(same(*found, first));
  EXPECT_EQ(keys.find(first.name.data(), k_now_s + 2 * k_ticket_period_s), nullptr);
  static_assert(k_ticket_lifetime_s <= k_ticket_period_s);
}

TEST(TicketKeys, a_successor_opens_what_its_predecessor_sealed_a_period_ago) {
  TicketKeys keys(some_secret());
  const TicketKey first = keys.current(k_now_s);
  const std::int64_t later = k_now_s + k_ticket_period_s;
  TicketSecret handed_on = some_secret();
  EXPECT_TRUE(advance(handed_on, later));
  TicketKeys successor(handed_on);
  EXPECT_NE(successor.find(first.name.data(), later), nullptr);
}

TEST(TicketKeys, of_a_process_that_hands_them_on_are_kept_no_longer_than_two_periods) {
  KeptTicketSecret kept;
  kept.set(some_secret());
  kept.advance(k_now_s + 5 * k_ticket_period_s);
  EXPECT_NE(kept.get().bytes, some_secret().bytes);
  EXPECT_EQ(kept.get().period, k_now_s / k_ticket_period_s + 4);
}

TEST(TicketKeys, do_not_go_back_with_the_clock) {
  TicketKeys keys(some_secret());
  const TicketKey ahead = keys.current(k_now_s + 3 * k_ticket_period_s);
  EXPECT_TRUE(same(ahead, keys.current(k_now_s)));
  EXPECT_TRUE(same(ahead, keys.current(-1)));
}

TEST(TicketKeys, a_clock_that_is_centuries_off_costs_little) {
  TicketKeys keys(some_secret());
  const TicketKey key = keys.current(k_now_s * 1'000);
  EXPECT_NE(key.name, TicketKeys(some_secret()).current(k_now_s).name);
}

TEST(TicketKeys, the_first_secret_is_random_and_of_now) {
  const auto one = ticket_secret_of_now({});
  const auto other = ticket_secret_of_now({});
  ASSERT_TRUE(one && other);
  EXPECT_NE(one->bytes, other->bytes);
  EXPECT_NEAR(static_cast<double>(one->period),
              static_cast<double>(std::time(nullptr) / k_ticket_period_s - 1), 1);
  const auto kept = ticket_secret_of_now(*one);
  ASSERT_TRUE(kept);
  EXPECT_TRUE(kept->bytes == one->bytes || kept->period > one->period);
}

}  // namespace
}  // namespace atlasflow::edge
