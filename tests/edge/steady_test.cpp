// Of the heap the workers want nothing for a request like the one before it, with figures and
// access log on.
#include <algorithm>
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
  // Now and then a worker has something else to do, as to give back what an idle connection holds:
  // of some rounds one is without.
  constexpr int k_rounds = 20;
  constexpr int k_requests = 50;
  std::uint64_t fewest = UINT64_MAX;
  for (int round = 0; round < k_rounds && fewest != 0; ++round) {
    const std::uint64_t before = worker_allocations();
    count_worker_allocations(true);
    ask(client, k_requests);
    count_worker_allocations(false);
    fewest = std::min(fewest, worker_allocations() - before);
  }
  EXPECT_EQ(fewest, 0U) << "in " << k_requests << " requests";
  EXPECT_TRUE(says("atlasflow_edge_access_log_lines_dropped_total 0"));
}

}  // namespace
}  // namespace atlasflow::edge
