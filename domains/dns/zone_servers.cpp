#include "domains/dns/zone_servers.hpp"

#include <algorithm>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "base/file_descriptor.hpp"
#include "domains/dns/lookup.hpp"

namespace atlasflow::domains {
namespace {

// Each is two questions to each resolver. A name may have 127 labels, and one of a site has not.
constexpr std::size_t k_climb_max = 10;
constexpr std::uint16_t k_dns_port = 53;

// Whether this machine would send to the address at all: one without IPv6 has no route to any of
// that kind. A datagram socket is connected, which sends nothing.
bool has_route_to(const std::string& address) {
  sockaddr_storage storage{};
  socklen_t size = 0;
  auto* four = reinterpret_cast<sockaddr_in*>(&storage);
  auto* six = reinterpret_cast<sockaddr_in6*>(&storage);
  if (::inet_pton(AF_INET, address.c_str(), &four->sin_addr) == 1) {
    four->sin_family = AF_INET;
    four->sin_port = htons(k_dns_port);
    size = sizeof *four;
  } else if (::inet_pton(AF_INET6, address.c_str(), &six->sin6_addr) == 1) {
    six->sin6_family = AF_INET6;
    six->sin6_port = htons(k_dns_port);
    size = sizeof *six;
  } else {
    return false;
  }
  const FileDescriptor socket(::socket(storage.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  return socket.valid() &&
         ::connect(socket.get(), reinterpret_cast<const sockaddr*>(&storage), size) == 0;
}

}  // namespace

std::vector<std::string> name_and_parents(const std::string& name) {
  std::vector<std::string> names{name};
  for (auto dot = name.find('.'); dot != name.npos && names.size() < k_climb_max;
       dot = name.find('.', dot + 1)) {
    names.push_back(name.substr(dot + 1));
  }
  return names;
}

std::vector<DnsRecord> records_at(const DnsMessage& message, const std::string& name,
                                  DnsType type) {
  std::vector<DnsRecord> found;
  for (const auto& each : message.answers) {
    if (each.name == name && each.type == type) found.push_back(each);
  }
  return found;
}

std::vector<std::string> zone_server_addresses(const std::vector<std::string>& names,
                                               bool private_too, const std::string& resolver,
                                               const AskServers& ask) {
  std::vector<DnsQuestion> questions;
  for (std::size_t i = 0; i < names.size() && i < k_zone_servers_max; ++i) {
    questions.push_back({resolver, names[i], DnsType::a});
    questions.push_back({resolver, names[i], DnsType::aaaa});
  }
  std::vector<std::string> addresses;
  const auto answers = ask(questions);
  bool has_one = false;  // the server whose addresses these are
  for (std::size_t i = 0; i < answers.size(); ++i) {
    const auto type = questions[i].type;
    if (type == DnsType::a) has_one = false;
    if (!answers[i]) continue;
    for (const auto& each : records_at(*answers[i], questions[i].name, type)) {
      const bool usable = !has_one && (private_too || is_public_address(each.value)) &&
                          std::ranges::find(addresses, each.value) == addresses.end() &&
                          has_route_to(each.value);
      if (!usable) continue;
      addresses.push_back(each.value);
      has_one = true;
    }
  }
  return addresses;
}

std::vector<std::string> servers_of_zone_with(const std::string& name,
                                              const std::vector<std::string>& resolvers,
                                              const DnsPatience& patience,
                                              const std::stop_token& stop) {
  const auto climb = name_and_parents(name);
  for (const auto& resolver : resolvers) {
    std::vector<DnsQuestion> questions;
    for (const auto& each : climb) questions.push_back({resolver, each, DnsType::ns});
    const auto answers = ask(questions, patience, stop);
    for (std::size_t k = 0; k < climb.size(); ++k) {
      // Not those of a top-level domain: they tell of no name below it.
      if (!answers[k] || climb[k].find('.') == std::string::npos) continue;
      std::vector<std::string> names;
      for (const auto& each : records_at(*answers[k], climb[k], DnsType::ns)) {
        names.push_back(each.value);
      }
      if (names.empty()) continue;
      return zone_server_addresses(names, true, resolver,
                                   [&](const auto& asked) { return ask(asked, patience, stop); });
    }
  }
  return {};
}

Result<std::string> end_of_aliases(const std::string& name,
                                   const std::vector<std::string>& resolvers,
                                   const DnsPatience& patience, const std::stop_token& stop) {
  std::string end = name;
  for (std::size_t links = 0; links <= k_cname_links_max; ++links) {
    std::vector<DnsQuestion> questions;
    for (const auto& resolver : resolvers) questions.push_back({resolver, end, DnsType::cname});
    const auto answers = ask(questions, patience, stop);
    const auto answered =
        std::ranges::find_if(answers, [](const auto& each) { return each.has_value(); });
    if (answered == answers.end()) {
      return fail(ErrorCode::unavailable,
                  "no name server says whether " + end + " is a CNAME to another name",
                  answers.empty() ? "none is known" : to_string(answers.front().error()));
    }
    const auto next = records_at(**answered, end, DnsType::cname);
    if (next.empty()) return end;
    end = next.front().value;
    // A program gets it as a word, and whoever has that zone may say what it likes.
    const bool is_plain =
        !end.empty() && end.front() != '-' && std::ranges::all_of(end, [](char c) {
          return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_' ||
                 c == '.';
        });
    if (!is_plain) {
      return fail(ErrorCode::conflict,
                  name + " is a CNAME to what is no host's name; let it lead to one");
    }
  }
  return fail(ErrorCode::conflict, name + " leads over more than " +
                                       std::to_string(k_cname_links_max) +
                                       " CNAMEs, and an authority follows no more: shorten that "
                                       "chain, or end its loop");
}

}  // namespace atlasflow::domains
