// Of the heap the workers want nothing for a request like the one before it, with figures and
// access log on.
#include <cstdint>

#include "tests/edge/heap_count.hpp"
#include "tests/edge/observe_fixture.hpp"

namespace atlasflow::edge {
namespace {

class Steady : public Observe {
 protected:
  // Over one kept connection.
  void ask(Client& client, int times) {
    for (int i = 0; i < times; ++i) {
      ASSERT_EQ(client
                    .get("shop.apps.test", "/a?b=c",
                         "User-Agent: a browser with a name of some length/1.0\r\nAccept: */*\r\n"
                         "X-Request-Id: theirs\r\nTraceparent: "
                         "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n")
                    .status,
                200);
    }
  }
};

TEST_F(Steady, a_request_takes_nothing_from_the_heap) {
  serve();
  Client client;
  ASSERT_TRUE(client.connect(edge_->http_port()));
  ask(client, 50);
  constexpr int k_requests = 500;
  count_worker_allocations(true);
  ask(client, k_requests);
  count_worker_allocations(false);
  // Now and then a turn has something else to do, as to look after deadlines.
  EXPECT_LT(worker_allocations(), static_cast<std::uint64_t>(k_requests) / 20);
  (void)lines_of("shop", 50 + k_requests);
}

}  // namespace
}  // namespace atlasflow::edge
