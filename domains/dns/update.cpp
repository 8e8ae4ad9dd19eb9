#include "domains/dns/update.hpp"

#include <algorithm>
#include <array>
#include <optional>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <openssl/rand.h>
#include <poll.h>
#include <sys/socket.h>

#include "base/assert.hpp"
#include "base/file.hpp"
#include "base/file_descriptor.hpp"
#include "domains/dns/dns_wire.hpp"
#include "domains/dns/zone_servers.hpp"

namespace atlasflow::domains {
namespace {

using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;

constexpr std::uint16_t k_class_none = 254;
constexpr std::uint16_t k_opcode_update = 5U << 11U;
constexpr std::uint16_t k_response_bit = 0x8000U;
constexpr std::uint16_t k_opcode_mask = 0x7800U;
constexpr std::uint16_t k_truncated_bit = 0x0200U;
constexpr std::uint32_t k_lifetime_s = 60;
constexpr std::size_t k_text_bytes_max = 255;
constexpr std::size_t k_message_bytes_max = 65'535;
constexpr int k_udp_tries = 2;
constexpr milliseconds k_stop_poll{200};
constexpr std::array k_codes = {"NOERROR",  "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED",
                                "YXDOMAIN", "YXRRSET", "NXRRSET",  "NOTAUTH",  "NOTZONE"};
constexpr unsigned k_refused = 5;
constexpr unsigned k_not_auth = 9;
constexpr unsigned k_not_zone = 10;

std::uint64_t now_s() {
  return static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::seconds>(
                                        std::chrono::system_clock::now().time_since_epoch())
                                        .count());
}

tl::unexpected<Error> trouble(ErrorCode code, const ZoneUpdate& update, const std::string& why) {
  return fail(code, "the name server " + update.server + " " + why);
}

struct Address {
  sockaddr_storage storage{};
  socklen_t size = 0;
};

// Of parse_dns_server()'s form.
std::optional<Address> address_of(const std::string& server) {
  const auto colon = server.rfind(':');
  if (colon == std::string::npos) return std::nullopt;
  auto host = server.substr(0, colon);
  const auto port = htons(static_cast<std::uint16_t>(std::atoi(server.c_str() + colon + 1)));
  Address address;
  if (host.starts_with('[') && host.ends_with(']')) {
    auto& six = reinterpret_cast<sockaddr_in6&>(address.storage);
    six.sin6_family = AF_INET6;
    six.sin6_port = port;
    address.size = sizeof six;
    host = host.substr(1, host.size() - 2);
    if (::inet_pton(AF_INET6, host.c_str(), &six.sin6_addr) == 1) return address;
    return std::nullopt;
  }
  auto& four = reinterpret_cast<sockaddr_in&>(address.storage);
  four.sin_family = AF_INET;
  four.sin_port = port;
  address.size = sizeof four;
  if (::inet_pton(AF_INET, host.c_str(), &four.sin_addr) == 1) return address;
  return std::nullopt;
}

// One exchange with the server, by either protocol, until a time.
class Talk {
 public:
  Talk(const ZoneUpdate& update, int type, const std::stop_token& stop)
      : update_(update), type_(type), stop_(stop), until_(Clock::now() + update.per_try) {}

  // The first whole message with the request's id.
  Result<std::string> exchange(const std::string& request) {
    const auto address = address_of(update_.server);
    if (!address) return trouble(ErrorCode::invalid_argument, update_, "has no address");
    socket_ = FileDescriptor(
        ::socket(address->storage.ss_family, type_ | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!socket_) return tl::unexpected(errno_error("no socket for a name server"));
    const auto* to = reinterpret_cast<const sockaddr*>(&address->storage);
    if (::connect(socket_.get(), to, address->size) != 0 && errno != EINPROGRESS) return broken();
    const bool by_tcp = type_ == SOCK_STREAM;
    const auto bytes =
        by_tcp ? wire16(static_cast<std::uint16_t>(request.size())) + request : request;
    ATLAS_TRYV(send_all(bytes));
    while (true) {
      ATLAS_TRY(auto answer, by_tcp ? receive_framed() : receive_some(k_message_bytes_max));
      // Of another question, or of a liar who guesses: the right one may yet come.
      if (answer.size() >= k_dns_head_bytes && answer.starts_with(request.substr(0, 2))) {
        return answer;
      }
      if (by_tcp) return trouble(ErrorCode::corrupt, update_, "answered another question");
    }
  }

 private:
  tl::unexpected<Error> broken() const {
    return fail(ErrorCode::unavailable, "the name server " + update_.server + " is not reached",
                errno_error("the connection broke").message);
  }
  Result<void> wait_for(short events) {
    while (true) {
      if (stop_.stop_requested()) return fail(ErrorCode::cancelled, "the update was stopped");
      const auto left = std::chrono::ceil<milliseconds>(until_ - Clock::now());
      if (left <= milliseconds::zero()) {
        return trouble(ErrorCode::timed_out, update_, "does not answer an update in time");
      }
      pollfd entry{socket_.get(), events, 0};
      const auto wait = static_cast<int>(std::min(left, k_stop_poll).count());
      if (::poll(&entry, 1, wait) > 0) return {};
    }
  }
  Result<void> send_all(std::string_view bytes) {
    while (!bytes.empty()) {
      ATLAS_TRYV(wait_for(POLLOUT));
      const auto sent = ::send(socket_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (sent < 0 && errno != EAGAIN && errno != EINTR) return broken();
      if (sent > 0) bytes.remove_prefix(static_cast<std::size_t>(sent));
    }
    return {};
  }
  Result<std::string> receive_some(std::size_t at_most) {
    while (true) {
      ATLAS_TRYV(wait_for(POLLIN));
      std::string bytes(at_most, '\0');
      const auto got = ::recv(socket_.get(), bytes.data(), bytes.size(), 0);
      if (got < 0 && (errno == EAGAIN || errno == EINTR)) continue;
      if (got < 0) return broken();
      if (got == 0) return trouble(ErrorCode::unavailable, update_, "ended the connection");
      bytes.resize(static_cast<std::size_t>(got));
      return bytes;
    }
  }
  Result<std::string> receive_exactly(std::size_t size) {
    std::string bytes;
    while (bytes.size() < size) {
      ATLAS_TRY(const auto more, receive_some(size - bytes.size()));
      bytes += more;
    }
    return bytes;
  }
  Result<std::string> receive_framed() {
    ATLAS_TRY(const auto head, receive_exactly(2));
    return receive_exactly(WireReader(head).number16().value_or(0));
  }

  const ZoneUpdate& update_;
  const int type_;
  const std::stop_token& stop_;
  const Clock::time_point until_;
  FileDescriptor socket_;
};

std::uint16_t flags_of(const std::string& message) {
  WireReader reader(message);
  reader.go_to(2);
  return reader.number16().value_or(0);
}

Result<std::string> send_update(const ZoneUpdate& update, const std::string& request,
                                const std::stop_token& stop) {
  for (int tries = 0; tries < k_udp_tries; ++tries) {
    auto answer = Talk(update, SOCK_DGRAM, stop).exchange(request);
    if (!answer && answer.error().code == ErrorCode::cancelled) return answer;
    if (answer && (flags_of(*answer) & k_truncated_bit) == 0) return answer;
    if (answer || answer.error().code == ErrorCode::unavailable) break;
  }
  return Talk(update, SOCK_STREAM, stop).exchange(request);
}

// The closest zone above the name that the server answers for.
Result<std::string> zone_of(const ZoneUpdate& update, const std::string& name,
                            const std::stop_token& stop) {
  const auto climb = name_and_parents(name);
  std::vector<DnsQuestion> questions;
  for (const auto& each : climb) questions.push_back({update.server, each, DnsType::soa, false});
  const auto answers = ask(questions, {}, stop);
  std::optional<Error> failed;
  for (std::size_t i = 0; i < climb.size(); ++i) {
    if (!answers[i]) {
      if (!failed) failed = answers[i].error();
      continue;
    }
    const bool is_zone =
        answers[i]->authoritative && !records_at(*answers[i], climb[i], DnsType::soa).empty();
    if (is_zone) return climb[i];
  }
  if (stop.stop_requested()) return fail(ErrorCode::cancelled, "the update was stopped");
  const auto none =
      std::ranges::none_of(answers, [](const auto& each) { return each.has_value(); });
  if (none && failed) {
    return fail(failed->code, "the name server " + update.server + " can't be asked for its zones",
                to_string(*failed));
  }
  return trouble(ErrorCode::not_found, update,
                 "has no zone with " + name +
                     "; domains.dns01_server is to be the primary of the zone that has it");
}

Result<void> check_answer(const ZoneUpdate& update, const std::string& zone,
                          const std::string& answer, const std::string& mac) {
  const auto flags = flags_of(answer);
  const unsigned code = flags & 15U;
  const auto code_name = code < k_codes.size() ? std::string(k_codes[code]) : std::to_string(code);
  if ((flags & k_response_bit) == 0 || (flags & k_opcode_mask) != k_opcode_update) {
    return trouble(ErrorCode::corrupt, update, "answered an update with another kind of message");
  }
  const auto verified = verify_response(answer, update.key, mac, now_s());
  // A refusal needs no signature: nothing follows from it but another try.
  if (code == 0 && !verified) {
    return trouble(verified.error().code, update, verified.error().message);
  }
  if (code == 0) return {};
  if (!verified && verified.error().code == ErrorCode::unauthorized) {
    return trouble(ErrorCode::unauthorized, update, verified.error().message);
  }
  if (code == k_refused || code == k_not_auth) {
    return trouble(ErrorCode::unauthorized, update,
                   "refused an update of the zone " + zone + " (" + code_name +
                       "); its update policy must let the key '" + update.key.name +
                       "' change TXT records there");
  }
  if (code == k_not_zone) {
    return trouble(ErrorCode::not_found, update, "does not have the zone " + zone + " (NOTZONE)");
  }
  return trouble(ErrorCode::unavailable, update,
                 "answered an update of the zone " + zone + " with " + code_name);
}

Result<void> change_text(const ZoneUpdate& update, const std::string& name,
                         const std::string& value, TextChange change, const std::stop_token& stop) {
  if (value.empty() || value.size() > k_text_bytes_max) {
    return fail(ErrorCode::invalid_argument, "a TXT record's text has 1 to 255 bytes");
  }
  ATLAS_TRY(const auto zone, zone_of(update, name, stop));
  std::array<unsigned char, 2> random{};
  ATLAS_ASSERT(RAND_bytes(random.data(), random.size()) == 1, "no random numbers");
  const auto id = static_cast<std::uint16_t>((random[0] << 8U) | random[1]);
  const auto signed_update =
      sign_message(update_message(id, zone, name, value, change), update.key, now_s());
  ATLAS_TRY(const auto answer, send_update(update, signed_update.bytes, stop));
  return check_answer(update, zone, answer, signed_update.mac);
}

}  // namespace

std::string update_message(std::uint16_t id, const std::string& zone, const std::string& name,
                           const std::string& value, TextChange change) {
  const bool adds = change == TextChange::add;
  const auto type_text = wire16(static_cast<std::uint16_t>(DnsType::txt));
  const std::string data = std::string(1, static_cast<char>(value.size())) + value;
  return wire16(id) + wire16(k_opcode_update) + wire16(1) + wire16(0) + wire16(1) + wire16(0) +
         // The zone.
         wire_of_name(zone) + wire16(static_cast<std::uint16_t>(DnsType::soa)) +
         wire16(k_dns_class_internet) +
         // RFC 2136 sections 2.5.1 and 2.5.4.
         wire_of_name(name) + type_text + wire16(adds ? k_dns_class_internet : k_class_none) +
         wire32(adds ? k_lifetime_s : 0) + wire16(static_cast<std::uint16_t>(data.size())) + data;
}

Result<void> add_text(const ZoneUpdate& update, const std::string& name, const std::string& value,
                      const std::stop_token& stop) {
  return change_text(update, name, value, TextChange::add, stop);
}

Result<void> remove_text(const ZoneUpdate& update, const std::string& name,
                         const std::string& value, const std::stop_token& stop) {
  return change_text(update, name, value, TextChange::remove, stop);
}

}  // namespace atlasflow::domains
