#include "tests/domains/name_server.hpp"

#include <array>
#include <stdexcept>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

namespace atlasflow::domains_test {
namespace {

using domains::DnsType;

std::string number16(unsigned value) {
  return {static_cast<char>(value >> 8U), static_cast<char>(value & 255U)};
}

struct Address {
  sockaddr_storage storage{};
  socklen_t size = 0;
  [[nodiscard]] sockaddr* any() { return reinterpret_cast<sockaddr*>(&storage); }
};

Address address_of(const std::string& text, std::uint16_t port) {
  Address address;
  auto* six = reinterpret_cast<sockaddr_in6*>(&address.storage);
  auto* four = reinterpret_cast<sockaddr_in*>(&address.storage);
  if (::inet_pton(AF_INET6, text.c_str(), &six->sin6_addr) == 1) {
    six->sin6_family = AF_INET6;
    six->sin6_port = htons(port);
    address.size = sizeof *six;
  } else {
    four->sin_family = AF_INET;
    four->sin_port = htons(port);
    ::inet_pton(AF_INET, text.c_str(), &four->sin_addr);
    address.size = sizeof *four;
  }
  return address;
}

// "\3web\7example\0" from there on, and where it ends. Queries have no pointers.
std::string read_name(const std::string& bytes, std::size_t& at) {
  std::string name;
  while (at < bytes.size() && bytes[at] != 0) {
    const auto size = static_cast<std::size_t>(static_cast<unsigned char>(bytes[at]));
    name += (name.empty() ? "" : ".") + bytes.substr(at + 1, size);
    at += 1 + size;
  }
  ++at;
  return name;
}

}  // namespace

std::string wire_name(const std::string& name) {
  std::string wire;
  std::size_t begin = 0;
  while (begin < name.size()) {
    auto end = name.find('.', begin);
    if (end == name.npos) end = name.size();
    wire += static_cast<char>(end - begin);
    wire += name.substr(begin, end - begin);
    begin = end + 1;
  }
  return wire + '\0';
}

std::string wire_data(const domains::DnsRecord& record) {
  const std::string& value = record.value;
  std::array<char, 16> bytes{};
  switch (record.type) {
    case DnsType::a:
      ::inet_pton(AF_INET, value.c_str(), bytes.data());
      return {bytes.data(), 4};
    case DnsType::aaaa:
      ::inet_pton(AF_INET6, value.c_str(), bytes.data());
      return {bytes.data(), 16};
    case DnsType::cname:
    case DnsType::ns:
      return wire_name(value);
    case DnsType::soa:  // with a mailbox, and five numbers
      return wire_name(value) + wire_name("hostmaster." + value) + std::string(20, '\1');
    case DnsType::txt: {
      std::string data;
      for (std::size_t i = 0; i < value.size(); i += 255) {
        const auto part = value.substr(i, 255);
        data += static_cast<char>(part.size()) + part;
      }
      return data;
    }
    case DnsType::caa: {
      const auto tag = value.substr(2, value.find(' ', 2) - 2);
      const auto quote = value.find('"');
      return std::string(1, static_cast<char>(std::stoi(value))) + static_cast<char>(tag.size()) +
             tag + value.substr(quote + 1, value.size() - quote - 2);
    }
  }
  return {};
}

NameServer::NameServer(Say say, const std::string& address, std::uint16_t port)
    : say_(std::move(say)), address_(address), stop_(::eventfd(0, EFD_CLOEXEC)) {
  // A port that is free for UDP may be taken for TCP: another one then.
  for (int tries = 0; tries < 20 && port_ == 0; ++tries) {
    auto bound = address_of(address, port);
    const int family = bound.storage.ss_family;
    udp_ = FileDescriptor(::socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    socklen_t size = bound.size;
    if (::bind(udp_.get(), bound.any(), size) != 0 ||
        ::getsockname(udp_.get(), bound.any(), &size) != 0) {
      continue;
    }
    tcp_ = FileDescriptor(::socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const int one = 1;
    ::setsockopt(tcp_.get(), SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (::bind(tcp_.get(), bound.any(), size) != 0 || ::listen(tcp_.get(), 16) != 0) continue;
    // At the same place in both kinds of addresses.
    port_ = ntohs(reinterpret_cast<sockaddr_in*>(&bound.storage)->sin_port);
  }
  if (port_ == 0) throw std::runtime_error("no port for a name server");
  thread_ = std::thread([this] { run(); });
}

NameServer::~NameServer() {
  const std::uint64_t one = 1;
  static_cast<void>(::write(stop_.get(), &one, sizeof one));
  thread_.join();
}

std::vector<NameServer::Question> NameServer::questions() const {
  const std::lock_guard lock(mutex_);
  return questions_;
}

void NameServer::run() {
  while (true) {
    pollfd all[] = {{udp_.get(), POLLIN, 0}, {tcp_.get(), POLLIN, 0}, {stop_.get(), POLLIN, 0}};
    ::poll(all, 3, -1);
    if (all[2].revents != 0) return;
    if (all[0].revents != 0) {
      Address from;
      socklen_t size = sizeof from.storage;
      std::string query(4096, '\0');
      const auto got = ::recvfrom(udp_.get(), query.data(), query.size(), 0, from.any(), &size);
      if (got <= 0) continue;
      query.resize(static_cast<std::size_t>(got));
      const auto reply = reply_to(query, false);
      if (!reply.empty()) {
        ::sendto(udp_.get(), reply.data(), reply.size(), 0, from.any(), size);
      }
    }
    if (all[1].revents != 0) {
      const FileDescriptor client(::accept4(tcp_.get(), nullptr, nullptr, SOCK_CLOEXEC));
      if (client) serve_tcp(client.get());
    }
  }
}

void NameServer::serve_tcp(int client) {
  std::array<unsigned char, 2> size{};
  if (::recv(client, size.data(), 2, MSG_WAITALL) != 2) return;
  std::string query(static_cast<std::size_t>(size[0]) * 256 + size[1], '\0');
  if (::recv(client, query.data(), query.size(), MSG_WAITALL) !=
      static_cast<ssize_t>(query.size())) {
    return;
  }
  const auto reply = reply_to(query, true);
  if (reply.empty()) return;
  const auto message = number16(static_cast<unsigned>(reply.size())) + reply;
  ::send(client, message.data(), message.size(), MSG_NOSIGNAL);
  // Until the client has it all: an end with bytes unread would be a reset.
  char byte = 0;
  static_cast<void>(::recv(client, &byte, 1, 0));
}

std::string NameServer::reply_to(const std::string& query, bool tcp) {
  if (query.size() < 12) return {};
  constexpr int k_opcode_update = 5;
  if (((static_cast<unsigned char>(query[2]) >> 3) & 15) == k_opcode_update) {
    TakeUpdate take;
    {
      const std::lock_guard lock(mutex_);
      take = take_update_;
    }
    return take ? take(query, tcp) : std::string();
  }
  std::size_t at = 12;
  Question question;
  question.name = read_name(query, at);
  if (at + 4 > query.size()) return {};
  question.type =
      static_cast<unsigned char>(query[at]) * 256 + static_cast<unsigned char>(query[at + 1]);
  question.recursive = (query[2] & 1) != 0;
  question.tcp = tcp;
  {
    const std::lock_guard lock(mutex_);
    questions_.push_back(question);
  }
  const auto said = say_(question);
  if (said.silent) return {};
  const auto id = query.substr(0, 2);
  if (!said.raw.empty()) return id + said.raw;
  const bool cut = said.truncated && !tcp;
  const unsigned flags = 0x8000U | (said.authoritative ? 0x0400U : 0U) | (cut ? 0x0200U : 0U) |
                         (question.recursive ? 0x0180U : 0U) |
                         static_cast<unsigned>(said.response_code);
  std::string reply = id + number16(flags) + number16(1) +
                      number16(cut ? 0 : static_cast<unsigned>(said.answers.size())) + number16(0) +
                      number16(0);
  reply += said.other_question ? wire_name("other.example") : wire_name(question.name);
  reply += number16(static_cast<unsigned>(question.type)) + number16(1);
  if (cut) return reply;
  for (const auto& record : said.answers) {
    const auto data = wire_data(record);
    reply += wire_name(record.name) + number16(static_cast<unsigned>(record.type)) + number16(1) +
             number16(0) + number16(60) + number16(static_cast<unsigned>(data.size())) + data;
  }
  return reply;
}

}  // namespace atlasflow::domains_test
