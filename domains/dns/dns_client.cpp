#include "domains/dns/dns_client.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <memory>
#include <utility>

#include <ares.h>
#include <arpa/inet.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/assert.hpp"

namespace atlasflow::domains {
namespace {

using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;

constexpr std::uint16_t k_dns_port = 53;
constexpr int k_class_internet = 1;
constexpr int k_response_code_name_error = 3;
constexpr std::array k_codes = {"NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED"};
constexpr milliseconds k_stop_poll{200};

// c-ares' global set-up, which is never undone: threads may use it until the process ends.
bool library_is_ready() {
  static const bool ready = ares_library_init(ARES_LIB_INIT_ALL) == ARES_SUCCESS;
  return ready;
}

struct ChannelFree {
  void operator()(ares_channeldata* channel) const { ares_destroy(channel); }
};
using Channel = std::unique_ptr<ares_channeldata, ChannelFree>;

// One question under way. Not moved: c-ares has its address.
struct Exchange {
  DnsQuestion question;
  std::optional<DnsAnswer> answer;
  Channel channel;  // last: its end calls back
};

tl::unexpected<Error> no_answer(ErrorCode code, const DnsQuestion& question, const std::string& why,
                                std::string cause = {}) {
  return fail(code, question.server + " " + why, std::move(cause));
}

DnsAnswer answer_of(const DnsQuestion& question, int status, const unsigned char* bytes, int size) {
  if (bytes != nullptr) {
    auto message =
        read_dns_message({reinterpret_cast<const char*>(bytes), static_cast<std::size_t>(size)});
    if (!message) {
      return no_answer(ErrorCode::corrupt, question, "answered with what is no DNS message");
    }
    const auto code = static_cast<std::size_t>(message->response_code);
    if (code == 0 || code == k_response_code_name_error) return message;
    return no_answer(ErrorCode::unavailable, question,
                     "answered " +
                         (code < k_codes.size() ? k_codes[code] : "code " + std::to_string(code)) +
                         " for " + question.name);
  }
  if (status == ARES_ETIMEOUT || status == ARES_ECANCELLED || status == ARES_EDESTRUCTION) {
    return no_answer(ErrorCode::timed_out, question, "did not answer in time");
  }
  if (status == ARES_EBADNAME || status == ARES_EBADQUERY) {
    return fail(ErrorCode::invalid_argument, "'" + question.name + "' is no name in DNS");
  }
  return no_answer(ErrorCode::unavailable, question, "does not answer", ares_strerror(status));
}

void on_answer(void* user, int status, int, unsigned char* bytes, int size) {
  auto& exchange = *static_cast<Exchange*>(user);
  exchange.answer = answer_of(exchange.question, status, bytes, size);
}

// libraries' sockets must not get into programs that are started meanwhile.
ares_socket_t open_socket(int family, int type, int protocol, void*) {
  return ::socket(family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, protocol);
}
int close_socket(ares_socket_t fd, void*) { return ::close(fd); }
int connect_socket(ares_socket_t fd, const sockaddr* address, ares_socklen_t size, void*) {
  return ::connect(fd, address, size);
}
ares_ssize_t receive(ares_socket_t fd, void* bytes, size_t size, int flags, sockaddr* from,
                     ares_socklen_t* from_size, void*) {
  return ::recvfrom(fd, bytes, size, flags, from, from_size);
}
ares_ssize_t send_parts(ares_socket_t fd, const iovec* parts, int count, void*) {
  msghdr message{};
  message.msg_iov = const_cast<iovec*>(parts);
  message.msg_iovlen = static_cast<std::size_t>(count);
  return ::sendmsg(fd, &message, MSG_NOSIGNAL);
}

void begin(Exchange& exchange, const DnsPatience& patience) {
  static const ares_socket_functions functions{open_socket, close_socket, connect_socket, receive,
                                               send_parts};
  ares_options options{};
  // Every answer is handed on: which code it has is said to the user. A truncated one is asked for
  // by TCP, c-ares' default.
  options.flags = ARES_FLAG_NOSEARCH | ARES_FLAG_NOALIASES | ARES_FLAG_NOCHECKRESP |
                  (exchange.question.recursive ? 0 : ARES_FLAG_NORECURSE);
  options.timeout = static_cast<int>(patience.per_try.count());
  options.tries = patience.tries;
  options.ndomains = 0;
  char lookups[] = "b";
  options.lookups = lookups;
  ares_channel channel = nullptr;
  const int made = ares_init_options(
      &channel, &options,
      ARES_OPT_FLAGS | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_DOMAINS | ARES_OPT_LOOKUPS);
  if (made != ARES_SUCCESS) {
    exchange.answer =
        no_answer(ErrorCode::internal, exchange.question, "can't be asked", ares_strerror(made));
    return;
  }
  exchange.channel.reset(channel);
  ares_set_socket_functions(channel, &functions, nullptr);
  if (const int set = ares_set_servers_ports_csv(channel, exchange.question.server.c_str());
      set != ARES_SUCCESS) {
    exchange.answer =
        fail(ErrorCode::invalid_argument,
             "'" + exchange.question.server + "' is no name server's address", ares_strerror(set));
    return;
  }
  ares_query(channel, exchange.question.name.c_str(), k_class_internet,
             static_cast<int>(exchange.question.type), on_answer, &exchange);
}

struct Waiting {
  pollfd entry;
  ares_channeldata* channel;
};

// The sockets of all that are under way, and how long the nearest of their timers has.
std::vector<Waiting> sockets_of(const std::vector<std::unique_ptr<Exchange>>& exchanges,
                                milliseconds& wait) {
  std::vector<Waiting> sockets;
  for (const auto& exchange : exchanges) {
    if (exchange->answer) continue;
    std::array<ares_socket_t, ARES_GETSOCK_MAXNUM> own{};
    const int bits = ares_getsock(exchange->channel.get(), own.data(), ARES_GETSOCK_MAXNUM);
    for (int i = 0; i < ARES_GETSOCK_MAXNUM; ++i) {
      short events = 0;
      if (ARES_GETSOCK_READABLE(bits, i)) events |= POLLIN;
      if (ARES_GETSOCK_WRITABLE(bits, i)) events |= POLLOUT;
      if (events != 0) {
        sockets.push_back({{own[static_cast<std::size_t>(i)], events, 0}, exchange->channel.get()});
      }
    }
    timeval most{wait.count() / 1000, (wait.count() % 1000) * 1000};
    timeval next{};
    const timeval* nearest = ares_timeout(exchange->channel.get(), &most, &next);
    wait = std::min(wait, milliseconds(nearest->tv_sec * 1000 + nearest->tv_usec / 1000 + 1));
  }
  return sockets;
}

}  // namespace

std::vector<DnsAnswer> ask(const std::vector<DnsQuestion>& questions, const DnsPatience& patience,
                           const std::stop_token& stop) {
  ATLAS_ASSERT(library_is_ready(), "c-ares can't be started");
  const auto until = Clock::now() + patience.in_all;
  std::vector<std::unique_ptr<Exchange>> exchanges;
  for (const auto& question : questions) {
    exchanges.push_back(std::make_unique<Exchange>());
    exchanges.back()->question = question;
    begin(*exchanges.back(), patience);
  }
  while (!stop.stop_requested()) {
    const auto left = std::chrono::ceil<milliseconds>(until - Clock::now());
    const bool all_done =
        std::ranges::all_of(exchanges, [](const auto& each) { return each->answer.has_value(); });
    if (all_done || left <= milliseconds::zero()) break;
    milliseconds wait = std::min(left, k_stop_poll);
    const auto sockets = sockets_of(exchanges, wait);
    std::vector<pollfd> entries;
    for (const auto& each : sockets) entries.push_back(each.entry);
    (void)::poll(entries.data(), entries.size(), static_cast<int>(wait.count()));
    for (std::size_t i = 0; i < entries.size(); ++i) {
      const short got = entries[i].revents;
      const bool reads = (got & (POLLIN | POLLERR | POLLHUP)) != 0;
      const bool writes = (got & (POLLOUT | POLLERR | POLLHUP)) != 0;
      ares_process_fd(sockets[i].channel, reads ? entries[i].fd : ARES_SOCKET_BAD,
                      writes ? entries[i].fd : ARES_SOCKET_BAD);
    }
    // Also those without a socket: their timers.
    for (const auto& exchange : exchanges) {
      if (!exchange->answer) {
        ares_process_fd(exchange->channel.get(), ARES_SOCKET_BAD, ARES_SOCKET_BAD);
      }
    }
  }
  std::vector<DnsAnswer> answers;
  for (auto& exchange : exchanges) {
    exchange->channel.reset();  // calls back what has no answer yet
    answers.push_back(exchange->answer
                          ? std::move(*exchange->answer)
                          : DnsAnswer(no_answer(ErrorCode::timed_out, exchange->question,
                                                "did not answer in time")));
  }
  return answers;
}

Result<std::string> parse_dns_server(const std::string& text) {
  std::string address = text;
  std::string port = std::to_string(k_dns_port);
  if (text.starts_with('[')) {
    const auto end = std::min(text.find(']'), text.size());
    address = text.substr(1, end - 1);
    const auto rest = text.substr(end);
    if (rest != "]") port = rest.starts_with("]:") ? rest.substr(2) : "";
  } else if (std::ranges::count(text, ':') == 1) {
    address = text.substr(0, text.find(':'));
    port = text.substr(text.find(':') + 1);
  }
  std::array<unsigned char, sizeof(in6_addr)> bytes{};
  const bool six = ::inet_pton(AF_INET6, address.c_str(), bytes.data()) == 1;
  const bool four = ::inet_pton(AF_INET, address.c_str(), bytes.data()) == 1;
  std::uint16_t number = 0;
  const auto parsed = std::from_chars(port.data(), port.data() + port.size(), number);
  if ((!six && !four) || parsed.ec != std::errc{} || parsed.ptr != port.data() + port.size() ||
      number == 0) {
    return fail(ErrorCode::invalid_argument,
                "'" + text +
                    "' is no name server's address; write 192.0.2.53, 192.0.2.53:53 or "
                    "[2001:db8::53]:53");
  }
  return server_at(address, static_cast<std::uint16_t>(number));
}

std::string server_at(const std::string& address, std::uint16_t port) {
  const bool is_six = address.find(':') != address.npos;
  return (is_six ? "[" + address + "]" : address) + ":" + std::to_string(port);
}

std::vector<std::string> system_dns_servers() {
  ATLAS_ASSERT(library_is_ready(), "c-ares can't be started");
  ares_channel made = nullptr;
  if (ares_init(&made) != ARES_SUCCESS) return {};
  const Channel channel(made);
  ares_addr_port_node* list = nullptr;
  if (ares_get_servers_ports(made, &list) != ARES_SUCCESS) return {};
  std::vector<std::string> servers;
  for (const auto* each = list; each != nullptr; each = each->next) {
    std::array<char, INET6_ADDRSTRLEN> text{};
    const void* bytes = each->family == AF_INET ? static_cast<const void*>(&each->addr.addr4)
                                                : static_cast<const void*>(&each->addr.addr6);
    if (::inet_ntop(each->family, bytes, text.data(), text.size()) == nullptr) continue;
    const int port = each->udp_port != 0 ? each->udp_port : k_dns_port;
    servers.push_back(server_at(text.data(), static_cast<std::uint16_t>(port)));
  }
  ares_free_data(list);
  return servers;
}

}  // namespace atlasflow::domains
