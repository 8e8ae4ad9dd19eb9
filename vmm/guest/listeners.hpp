// Where something listens for TCP inside of a guest: read from /proc/net/tcp and tcp6 there, told
// to the host in one line of words, and explained by the host when nothing answers on the app's
// port. Pure functions; built for the guest and for the host.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace atlasflow::vmm::guest {

inline constexpr std::size_t k_listeners_max = 16;  // of one line; what is beyond is left out

struct Listener {
  std::string address;  // "0.0.0.0", "127.0.0.1", "::", "::1"; as inet_ntop writes it
  std::uint16_t port = 0;
  friend auto operator<=>(const Listener&, const Listener&) = default;

  // Only the guest itself reaches it.
  [[nodiscard]] bool is_loopback() const;
  [[nodiscard]] std::string text() const;  // "127.0.0.1:3000", "[::1]:3000"
};

// The sockets in state LISTEN of a table of the kernel's (proc_net_tcp.txt in its documentation),
// appended to what is there, sorted, each once.
void add_listeners(std::string_view table, bool ipv6, std::vector<Listener>& listeners);

// "127.0.0.1:3000 [::]:8080", and back. A word that is no such address is passed over.
[[nodiscard]] std::string words_of(const std::vector<Listener>& listeners);
[[nodiscard]] std::vector<Listener> listeners_of(std::string_view words);

// Why nothing answers on that port, and what to do about it: "the app listens on 127.0.0.1:3000:
// listen on 0.0.0.0". Empty when something does listen where it should, or nothing does at all.
[[nodiscard]] std::string explain_listeners(const std::vector<Listener>& listeners,
                                            std::uint16_t port);

}  // namespace atlasflow::vmm::guest
