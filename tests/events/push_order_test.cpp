// Pain 7: deliveries come late, doubled and out of order, and never put an older commit live.
#include "events/push_order.hpp"

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
  EXPECT_EQ(reason_if_late(order, push('0', 'a', 51)), "") << "deleted, untold, and made anew";
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

}  // namespace
}  // namespace atlasflow
