#include "vmm/guest/listeners.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace atlasflow::vmm::guest {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

// As Linux 6.1 on amd64 writes them.
constexpr const char* k_tcp =
    "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout\n"
    "   0: 0100007F:0BB8 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1\n"
    "   1: 00000000:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 2\n"
    "   2: 0F02000A:0BB8 0202000A:C350 01 00000000:00000000 00:00000000 00000000     0        0 "
    "3\n";
constexpr const char* k_tcp6 =
    "  sl  local_address                         remote_address                        st\n"
    "   0: 00000000000000000000000000000000:0050 00000000000000000000000000000000:0000 0A 0\n"
    "   1: 00000000000000000000000001000000:0051 00000000000000000000000000000000:0000 0A 0\n"
    "   2: 0000000000000000FFFF00000100007F:0052 00000000000000000000000000000000:0000 0A 0\n";

TEST(Listeners, are_read_from_the_kernels_tables) {
  std::vector<Listener> found;
  add_listeners(k_tcp, false, found);
  add_listeners(k_tcp6, true, found);
  EXPECT_THAT(
      found, ElementsAre(Listener{"0.0.0.0", 8080}, Listener{"127.0.0.1", 3000}, Listener{"::", 80},
                         Listener{"::1", 81}, Listener{"::ffff:127.0.0.1", 82}));
  EXPECT_FALSE(found[0].is_loopback());
  EXPECT_FALSE(found[2].is_loopback());
  for (const std::size_t inner : {1U, 3U, 4U}) EXPECT_TRUE(found[inner].is_loopback()) << inner;
  EXPECT_EQ(listeners_of(words_of(found)), found) << "what is told comes back";
}

TEST(Listeners, of_a_hostile_guest_are_addresses_and_nothing_else) {
  EXPECT_THAT(listeners_of(""), IsEmpty());
  EXPECT_THAT(listeners_of("hunter2 127.0.0.1 127.0.0.1: :80 x:80 1.2.3.4:99999 [::1:80 \x1b[2J:1"),
              IsEmpty());
  EXPECT_THAT(listeners_of("1.2.3.4:80 rubbish [fe80::1]:81"),
              ElementsAre(Listener{"1.2.3.4", 80}, Listener{"fe80::1", 81}));
  std::string many;
  for (int port = 1; port <= 500; ++port) many += "0.0.0.0:" + std::to_string(port) + " ";
  EXPECT_EQ(listeners_of(many).size(), k_listeners_max);
}

TEST(Listeners, of_a_table_that_is_cut_or_strange_are_passed_over) {
  std::vector<Listener> found;
  for (const char* table : {"", "\n\n", "   0:", "   0: 0100007F:0BB8", "   0: 01:0B 0:0 0A 0",
                            "   0: 0100007G:0BB8 00000000:0000 0A 0"}) {
    add_listeners(table, false, found);
    add_listeners(table, true, found);
  }
  EXPECT_THAT(found, IsEmpty());
}

TEST(Listeners, explain_why_nothing_answers) {
  struct Case {
    const char* listens;
    const char* sentence;
  };
  const std::vector<Case> cases = {
      {"", ""},
      {"0.0.0.0:3000", ""},
      {"[::]:3000 127.0.0.1:3000", ""},
      {"127.0.0.1:3000", "the app listens on 127.0.0.1:3000: listen on 0.0.0.0"},
      {"[::1]:3000 0.0.0.0:9229", "the app listens on [::1]:3000: listen on 0.0.0.0"},
      {"0.0.0.0:8080",
       "the app listens on 0.0.0.0:8080 and not on 3000: set port=8080, or listen on the port in "
       "PORT"},
      {"[::]:8080 127.0.0.1:9229",
       "the app listens on [::]:8080 and not on 3000: set port=8080, or listen on the port in "
       "PORT"},
      {"0.0.0.0:80 0.0.0.0:443",
       "the app listens on 0.0.0.0:80, 0.0.0.0:443 and not on 3000: set port to the right one, or "
       "listen on the port in PORT"},
      {"127.0.0.1:8080",
       "the app listens on 127.0.0.1:8080 and not on 3000: listen on 0.0.0.0, and set port=8080 or "
       "listen on the port in PORT"}};
  for (const auto& [listens, sentence] : cases) {
    EXPECT_EQ(explain_listeners(listeners_of(listens), 3000), sentence) << listens;
  }
  EXPECT_THAT(explain_listeners(listeners_of("1.1.1.1:1 1.1.1.1:2 1.1.1.1:3 1.1.1.1:4"), 3000),
              HasSubstr("1.1.1.1:3, …"));
}

}  // namespace
}  // namespace atlasflow::vmm::guest
