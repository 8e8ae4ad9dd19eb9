#include "vmm/guest/listeners.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <optional>

#include <arpa/inet.h>
#include <netinet/in.h>

namespace atlasflow::vmm::guest {
namespace {

constexpr std::string_view k_state_listen = "0A";
constexpr std::size_t k_named_max = 3;  // in one sentence

std::string_view next_word(std::string_view& text) {
  text.remove_prefix(std::min(text.find_first_not_of(' '), text.size()));
  const std::string_view word = text.substr(0, text.find(' '));
  text.remove_prefix(word.size());
  return word;
}

template <typename Number>
std::optional<Number> number(std::string_view text, int base) {
  Number value = 0;
  const char* const end = text.data() + text.size();
  const auto [stop, code] = std::from_chars(text.data(), end, value, base);
  if (code != std::errc{} || stop != end || text.empty()) return std::nullopt;
  return value;
}

// "0100007F:0BB8": words of 32 bits as the machine has them in memory, so each in its byte order.
std::optional<Listener> parse_local_address(std::string_view text, bool ipv6) {
  const std::size_t digits = ipv6 ? 32 : 8;
  if (text.size() != digits + 5 || text[digits] != ':') return std::nullopt;
  std::array<unsigned char, 16> bytes{};
  for (std::size_t i = 0; i < digits; i += 8) {
    const auto word = number<std::uint32_t>(text.substr(i, 8), 16);
    if (!word) return std::nullopt;
    std::memcpy(bytes.data() + i / 2, &*word, sizeof *word);
  }
  const auto port = number<std::uint16_t>(text.substr(digits + 1), 16);
  if (!port) return std::nullopt;
  std::array<char, INET6_ADDRSTRLEN> name{};
  if (inet_ntop(ipv6 ? AF_INET6 : AF_INET, bytes.data(), name.data(), name.size()) == nullptr) {
    return std::nullopt;
  }
  return Listener{name.data(), *port};
}

std::string joined(const std::vector<Listener>& listeners) {
  std::string text;
  for (std::size_t i = 0; i < std::min(listeners.size(), k_named_max); ++i) {
    text += (i == 0 ? "" : ", ") + listeners[i].text();
  }
  return listeners.size() > k_named_max ? text + ", …" : text;
}

}  // namespace

bool Listener::is_loopback() const {
  return address.starts_with("127.") || address == "::1" || address.starts_with("::ffff:127.");
}

std::string Listener::text() const {
  const bool ipv6 = address.find(':') != std::string::npos;
  return (ipv6 ? "[" + address + "]" : address) + ":" + std::to_string(port);
}

void add_listeners(std::string_view table, bool ipv6, std::vector<Listener>& listeners) {
  while (!table.empty()) {
    const std::size_t end = std::min(table.find('\n'), table.size());
    std::string_view line = table.substr(0, end);
    table.remove_prefix(std::min(end + 1, table.size()));
    next_word(line);  // its number
    const std::string_view local = next_word(line);
    next_word(line);  // the remote address
    if (next_word(line) != k_state_listen) continue;
    if (auto listener = parse_local_address(local, ipv6)) listeners.push_back(*std::move(listener));
  }
  std::sort(listeners.begin(), listeners.end());
  listeners.erase(std::unique(listeners.begin(), listeners.end()), listeners.end());
}

std::string words_of(const std::vector<Listener>& listeners) {
  std::string words;
  for (std::size_t i = 0; i < std::min(listeners.size(), k_listeners_max); ++i) {
    words += (i == 0 ? "" : " ") + listeners[i].text();
  }
  return words;
}

std::vector<Listener> listeners_of(std::string_view words) {
  std::vector<Listener> listeners;
  for (auto word = next_word(words); !word.empty() && listeners.size() < k_listeners_max;
       word = next_word(words)) {
    const std::size_t colon = word.rfind(':');
    if (colon == std::string_view::npos) continue;
    std::string_view address = word.substr(0, colon);
    const bool ipv6 = address.size() > 2 && address.front() == '[' && address.back() == ']';
    if (ipv6) address = address.substr(1, address.size() - 2);
    std::array<unsigned char, 16> bytes{};
    const std::string name(address);
    const auto port = number<std::uint16_t>(word.substr(colon + 1), 10);
    if (!port || inet_pton(ipv6 ? AF_INET6 : AF_INET, name.c_str(), bytes.data()) != 1) continue;
    listeners.push_back({name, *port});
  }
  return listeners;
}

std::string explain_listeners(const std::vector<Listener>& listeners, std::uint16_t port) {
  std::vector<Listener> open;  // to the host, on another port
  std::vector<Listener> inner;
  const Listener* right_port = nullptr;
  for (const Listener& listener : listeners) {
    if (listener.port == port) {
      if (!listener.is_loopback()) return {};
      right_port = &listener;
    }
    (listener.is_loopback() ? inner : open).push_back(listener);
  }
  if (right_port != nullptr) {
    return "the app listens on " + right_port->text() + ": listen on 0.0.0.0";
  }
  const std::string not_on = " and not on " + std::to_string(port) + ": ";
  if (open.size() == 1) {
    return "the app listens on " + open[0].text() + not_on +
           "set port=" + std::to_string(open[0].port) + ", or listen on the port in PORT";
  }
  if (!open.empty()) {
    return "the app listens on " + joined(open) + not_on +
           "set port to the right one, or listen on the port in PORT";
  }
  if (inner.empty()) return {};
  return "the app listens on " + joined(inner) + not_on + "listen on 0.0.0.0" +
         (inner.size() == 1 ? ", and set port=" + std::to_string(inner[0].port) : "") +
         " or listen on the port in PORT";
}

}  // namespace atlasflow::vmm::guest
