// Pain 7: deliveries come late, doubled and out of order, and never put an older commit live.
#include "events/push_order.hpp"

#include <algorithm>
#include <set>

#include <gmock/gmock.h>

namespace atlasflow {
namespace {

using testing::HasSubstr;

pb::PushReceived push(char before, char after, std::int64_t at = 0) {
  pb::PushReceived made;
  made.set_before(std::string(40, before));
  made.set_after(std::string(40, after));
  made.set_pushed_at_s(at);
  return made;
}

PushOrder after(const std::vector<pb::PushReceived>& pushes) {
  PushOrder order;
  for (const auto& made : pushes) {
    if (reason_if_late(order, made).empty()) take(order, made);
  }
  return order;
}

TEST(PushOrder, a_push_that_a_later_one_replaced_is_late_whenever_it_comes) {
  const auto order = after({push('0', 'a'), push('b', 'c')});
  EXPECT_THAT(reason_if_late(order, push('a', 'b')), HasSubstr("replaced by a later push"));
}

TEST(PushOrder, of_a_push_that_tells_only_where_the_branch_stands_the_newest_commit_is_no_news) {
  const auto order = after({push('0', 'a'), push('a', 'b')});
  pb::PushReceived told;
  told.set_after(std::string(40, 'b'));
  EXPECT_THAT(reason_if_known(order, told), HasSubstr("bbbbbbb is known"));
  told.set_after(std::string(40, 'a'));
  EXPECT_EQ(reason_if_known(order, told), "") << "the branch was set back";
  EXPECT_EQ(reason_if_known(PushOrder{}, told), "");
  auto deleted = order;
  take(deleted, pb::BranchDeleted{});
  told.set_after(std::string(40, 'b'));
  EXPECT_EQ(reason_if_known(deleted, told), "") << "the branch was made anew";
}

TEST(PushOrder, every_order_of_a_chain_ends_at_its_last_commit) {
  std::vector<pb::PushReceived> chain{push('0', 'a', 10), push('a', 'b', 20), push('b', 'c', 30),
                                      push('c', 'd', 40)};
  std::vector<int> places{0, 1, 2, 3};
  do {
    std::vector<pb::PushReceived> shuffled;
    for (const int place : places) shuffled.push_back(chain[static_cast<std::size_t>(place)]);
    EXPECT_EQ(after(shuffled).head, std::string(40, 'd'));
  } while (std::next_permutation(places.begin(), places.end()));
}

TEST(PushOrder, without_times_neighbours_that_swap_end_at_the_later_commit) {
  EXPECT_EQ(after({push('0', 'a'), push('b', 'c'), push('a', 'b')}).head, std::string(40, 'c'));
}

TEST(PushOrder, a_force_push_back_to_an_earlier_commit_is_news) {
  const auto order = after({push('0', 'a'), push('a', 'b')});
  EXPECT_EQ(reason_if_late(order, push('b', 'a')), "");
  EXPECT_EQ(after({push('0', 'a'), push('a', 'b'), push('b', 'a')}).head, std::string(40, 'a'));
}

TEST(PushOrder, the_same_push_by_another_delivery_is_known) {
  const auto order = after({push('0', 'a'), push('a', 'b')});
  EXPECT_THAT(reason_if_late(order, push('a', 'b')), HasSubstr("pushed already"));
}

TEST(PushOrder, the_senders_time_tells_where_the_chain_has_a_gap) {
  const auto order = after({push('0', 'a', 10), push('x', 'y', 50)});
  EXPECT_THAT(reason_if_late(order, push('m', 'n', 30)), HasSubstr("late"));
  EXPECT_EQ(reason_if_late(order, push('m', 'n', 60)), "");
}

// Found by the simulator, with four pushes in one second of which two were lost.
TEST(PushOrder, the_push_that_made_the_branch_is_older_than_any_of_its_second) {
  const auto order = after({push('x', 'y', 50)});
  EXPECT_THAT(reason_if_late(order, push('0', 'a', 50)), HasSubstr("made the branch"));
  EXPECT_EQ(reason_if_late(order, push('0', 'a', 51)), "")
      << "deleted, never told of, and made anew";
}

TEST(PushOrder, the_late_push_that_made_a_deleted_branch_does_not_bring_it_back) {
  auto order = after({push('a', 'b', 20)});
  take(order, pb::BranchDeleted{});
  EXPECT_THAT(reason_if_late(order, push('0', 'a', 10)), HasSubstr("deleted"));
  EXPECT_EQ(reason_if_late(order, push('0', 'c', 30)), "");
}

TEST(PushOrder, a_sender_that_tells_no_commit_before_is_believed) {
  pb::PushReceived plain;
  plain.set_after(std::string(40, 'a'));
  const auto order = after({push('0', 'a'), push('a', 'b')});
  EXPECT_EQ(reason_if_late(order, plain), "");
}

TEST(PushOrder, a_deleted_branch_takes_no_late_push_but_a_new_beginning) {
  auto order = after({push('0', 'a', 10), push('a', 'b', 20)});
  pb::BranchDeleted deletion;
  deletion.set_before(std::string(40, 'b'));
  take(order, deletion);
  EXPECT_THAT(reason_if_late(order, push('a', 'b', 20)), HasSubstr("deleted"));
  EXPECT_EQ(reason_if_late(order, push('0', 'c', 30)), "");
  take(order, push('0', 'c', 30));
  EXPECT_EQ(reason_if_late(order, push('c', 'd', 40)), "");
}

// ---- a head that was found by comparison ----

pb::PushReceived found(char before, char after, std::int64_t at) {
  pb::PushReceived made;
  if (before != 0) made.set_before(std::string(40, before));
  made.set_after(std::string(40, after));
  made.set_inferred_at_s(at);
  return made;
}

TEST(FoundHead, is_news_over_what_was_known_then) {
  const auto order = after({push('0', 'a', 10)});
  EXPECT_EQ(reason_if_late(order, found('a', 'b', 100)), "");
  EXPECT_EQ(reason_if_late(PushOrder{}, found(0, 'b', 100)), "");
}

TEST(FoundHead, is_not_when_a_delivery_came_meanwhile) {
  EXPECT_THAT(reason_if_late(after({push('0', 'a', 10), push('a', 'b', 20)}), found('a', 'b', 100)),
              HasSubstr("is known"));
  EXPECT_THAT(
      reason_if_late(after({push('0', 'a', 10), push('b', 'c', 120)}), found('a', 'b', 100)),
      HasSubstr("while its head was compared"));
  // Without times, the commit that it took for the newest tells.
  EXPECT_THAT(reason_if_late(after({push('0', 'a'), push('b', 'c')}), found('a', 'b', 100)),
              HasSubstr("while its head was compared"));
  // And the other way round: there and back.
  EXPECT_THAT(reason_if_late(after({push('0', 'a', 10), push('a', 'b', 110), push('b', 'a', 120)}),
                             found('a', 'c', 100)),
              HasSubstr("while its head was compared"));
}

TEST(FoundHead, its_own_delivery_comes_too_late_whatever_it_says) {
  const auto order = after({push('0', 'a', 10), found('a', 'c', 100)});
  EXPECT_EQ(order.head, std::string(40, 'c'));
  for (const auto& late : {push('a', 'c', 50), push('b', 'c', 50), push('b', 'c', 100),
                           push('b', 'c'), push('0', 'c', 50)}) {
    EXPECT_NE(reason_if_late(order, late), "") << late.ShortDebugString();
  }
}

TEST(FoundHead, what_was_pushed_before_it_comes_too_late) {
  const auto order = after({push('0', 'a', 10), found('a', 'c', 100)});
  for (const std::int64_t at : {50, 99, 100}) {
    EXPECT_THAT(reason_if_late(order, push('a', 'b', at)), HasSubstr("late")) << at;
    EXPECT_THAT(reason_if_late(order, push('c', 'b', at)), HasSubstr("late"))
        << "there and back again, " << at;
  }
}

TEST(FoundHead, what_is_pushed_after_it_is_news) {
  const auto order = after({push('0', 'a', 10), found('a', 'c', 100)});
  EXPECT_EQ(reason_if_late(order, push('c', 'd', 130)), "");
  EXPECT_EQ(reason_if_late(order, push('x', 'y', 130)), "");
  EXPECT_EQ(reason_if_late(order, push('c', 'd')), "") << "the chain tells, without a time";
  EXPECT_EQ(reason_if_late(order, found('c', 'a', 300)), "") << "forced back, and nobody told";
  auto later = order;
  take(later, push('c', 'd', 130));
  EXPECT_FALSE(later.inferred);
  EXPECT_THAT(reason_if_late(later, push('a', 'c', 50)), HasSubstr("late"));
}

// Of a chain any one of whose deliveries may be lost, the others in any order, and the head found
// at last: it ends at the last commit, and each is deployed once.
TEST(FoundHead, ends_every_order_with_a_gap_at_the_last_commit) {
  const std::vector<pb::PushReceived> chain{push('0', 'a', 10), push('a', 'b', 20),
                                            push('b', 'c', 30), push('c', 'd', 40)};
  for (std::size_t lost = 0; lost < chain.size(); ++lost) {
    for (std::size_t found_at = 0; found_at <= chain.size(); ++found_at) {
      std::vector<int> places{0, 1, 2, 3};
      do {
        PushOrder order;
        std::multiset<std::string> deployed;
        const auto give = [&](const pb::PushReceived& made) {
          if (!reason_if_late(order, made).empty()) return;
          take(order, made);
          deployed.insert(made.after());
        };
        for (std::size_t i = 0; i <= places.size(); ++i) {
          if (i == found_at || i == places.size()) {
            auto head = found(0, 'd', 100);
            head.set_before(order.head);
            give(head);
          }
          if (i == places.size()) break;
          const auto place = static_cast<std::size_t>(places[i]);
          if (place != lost) give(chain[place]);
        }
        EXPECT_EQ(order.head, std::string(40, 'd'));
        for (const auto& each : deployed) EXPECT_EQ(deployed.count(each), 1U) << each;
      } while (std::next_permutation(places.begin(), places.end()));
    }
  }
}

}  // namespace
}  // namespace atlasflow
