#include "actors/runtime/support.hpp"

#include <caf/scheduler/test_coordinator.hpp>
#include <gmock/gmock.h>

#include "actors/runtime/messages.hpp"

namespace atlasflow::actors {
namespace {

TEST(Support, an_error_survives_the_way_through_a_message) {
  const Error error{ErrorCode::not_found, "there is no project 'x'", "cause"};
  const auto back = from_caf(to_caf(error));
  EXPECT_EQ(back.code, error.code);
  EXPECT_EQ(back.message, error.message);
  EXPECT_EQ(back.cause, error.cause);
}

// The reason of a down message is none when its actor was done: a null pointer within CAF's error.
TEST(Support, an_end_without_an_error_can_be_told_too) {
  EXPECT_EQ(to_string(from_caf(caf::error{caf::exit_reason::normal})), "it ended by itself");
  EXPECT_EQ(to_string(from_caf(caf::error{})), "it ended by itself");
}

using parker = caf::typed_actor<caf::replies_to<Flush>::with<AppendReply>>;

struct ParkerState {
  std::vector<PromiseGuard<AppendReply>> parked;
};

// CAF drops a promise in silence; the requester of one that is lost must hear of it.
TEST(Support, a_promise_that_is_dropped_is_answered_with_an_error) {
  caf::actor_system_config config;
  config.set("scheduler.policy", caf::atom("testing"));
  caf::actor_system system{config};
  auto& scheduler = dynamic_cast<caf::scheduler::test_coordinator&>(system.scheduler());
  std::vector<Error> errors;
  {
    const auto actor = system.spawn(
        [](parker::stateful_pointer<ParkerState> self, std::size_t room) -> parker::behavior_type {
          self->state.parked.reserve(room);
          return {[self](const Flush&) -> caf::result<AppendReply> {
            auto promise = self->make_response_promise<AppendReply>();
            self->state.parked.emplace_back(promise);
            return promise;
          }};
        },
        std::size_t{1});
    system.spawn(
        [&errors](caf::event_based_actor* self, const parker& receiver) {
          self->request(receiver, std::chrono::seconds(60), Flush{})
              .then([](const AppendReply&) {},
                    [&errors](const caf::error& error) { errors.push_back(from_caf(error)); });
        },
        actor);
    for (int i = 0; i < 3; ++i) scheduler.try_run_once();
    EXPECT_TRUE(errors.empty());
    caf::anon_send_exit(actor, caf::exit_reason::user_shutdown);
  }
  while (scheduler.try_run_once()) {
  }
  EXPECT_EQ(errors.size(), 1U);
  while (scheduler.try_run_once() || scheduler.trigger_timeout()) {
  }
}

}  // namespace
}  // namespace atlasflow::actors
