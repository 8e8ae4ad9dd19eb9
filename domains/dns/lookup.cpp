#include "domains/dns/lookup.hpp"

#include <algorithm>
#include <array>
#include <tuple>
#include <utility>

#include <arpa/inet.h>

#include "domains/dns/zone_servers.hpp"

namespace atlasflow::domains {
namespace {

using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;

// What one resolver says, put together over several rounds.
struct View {
  std::string server;
  std::string error;
  std::vector<DnsRecord> records;
  std::string end;  // of the chain of CNAMEs, as far as it is known
  std::size_t links = 0;
  bool addresses_found = false;
  bool more = true;  // the chain's end has not been asked yet

  void fail(const Error& reason) {
    if (error.empty()) error = to_string(reason);
  }
  void add(const std::vector<DnsRecord>& more_records) {
    for (const auto& each : more_records) {
      if (std::ranges::find(records, each) == records.end()) records.push_back(each);
    }
  }
  // Follows the chain as far as these answers go. What else they say was not asked for.
  void follow(const DnsMessage& message) {
    while (links < k_cname_links_max) {
      const auto next = records_at(message, end, DnsType::cname);
      if (next.empty()) break;
      add({next.front()});
      end = next.front().value;
      ++links;
    }
    for (const DnsType type : {DnsType::a, DnsType::aaaa}) {
      const auto found = records_at(message, end, type);
      addresses_found = addresses_found || !found.empty();
      add(found);
    }
  }
};

class Look {
 public:
  Look(const LookupConfig& config, const std::vector<std::string>& resolvers, std::string domain,
       std::string ownership_name, const std::stop_token& stop)
      : config_(config),
        domain_(std::move(domain)),
        ownership_name_(std::move(ownership_name)),
        stop_(stop),
        until_(Clock::now() + config.in_all) {
    for (const auto& resolver : resolvers) {
      views_.push_back({.server = resolver, .error = {}, .records = {}, .end = domain_});
    }
  }

  pb::DnsObservation run() {
    first_round();
    for (std::size_t round = 0; round < k_cname_links_max; ++round) {
      if (!follow_chains()) break;
    }
    ask_zone();
    pb::DnsObservation observed;
    for (const auto& view : views_) add_to(observed, view, false);
    for (const auto& view : zone_views_) add_to(observed, view, true);
    return observed;
  }

 private:
  std::vector<DnsAnswer> ask_now(const std::vector<DnsQuestion>& questions) const {
    DnsPatience patience = config_.patience;
    const auto left = std::chrono::ceil<milliseconds>(until_ - Clock::now());
    patience.in_all = std::clamp(left, milliseconds::zero(), patience.in_all);
    return ask(questions, patience, stop_);
  }

  void first_round();
  bool follow_chains();
  void ask_zone();
  static void add_to(pb::DnsObservation& observed, const View& view, bool authoritative);

  const LookupConfig& config_;
  const std::string domain_;
  const std::string ownership_name_;
  const std::stop_token& stop_;
  const Clock::time_point until_;
  std::vector<View> views_;
  std::vector<View> zone_views_;
  std::vector<std::string> name_servers_;  // names, of the closest zone
};

void Look::first_round() {
  const auto climb = name_and_parents(domain_);
  std::vector<DnsQuestion> questions;
  for (const auto& view : views_) {
    questions.push_back({view.server, domain_, DnsType::a});
    questions.push_back({view.server, domain_, DnsType::aaaa});
    questions.push_back({view.server, ownership_name_, DnsType::txt});
    for (const auto& name : climb) questions.push_back({view.server, name, DnsType::caa});
    for (const auto& name : climb) questions.push_back({view.server, name, DnsType::ns});
  }
  const auto answers = ask_now(questions);
  const std::size_t of_each = 3 + 2 * climb.size();
  for (std::size_t i = 0; i < views_.size(); ++i) {
    View& view = views_[i];
    const auto* own = &answers[i * of_each];
    for (std::size_t k = 0; k < 3; ++k) {
      if (!own[k]) view.fail(own[k].error());
    }
    view.more = false;
    for (std::size_t k = 0; k < 2; ++k) {
      if (!own[k]) continue;
      const auto before = view.links;
      view.follow(*own[k]);
      view.more = view.more || view.links > before;
    }
    if (own[2]) view.add(records_at(*own[2], ownership_name_, DnsType::txt));
    // A server that knows no CAA hinders nobody here: the authority will say so itself.
    for (std::size_t k = 0; k < climb.size(); ++k) {
      const auto& answer = own[3 + k];
      // A name that is an alias has its target's (RFC 8659 section 3): those of the answer.
      std::vector<DnsRecord> found;
      if (answer) {
        std::ranges::copy_if(answer->answers, std::back_inserter(found),
                             [](const auto& each) { return each.type == DnsType::caa; });
      }
      if (found.empty()) continue;
      for (auto& each : found) each.name = climb[k];
      view.add(found);
      break;
    }
    for (std::size_t k = 0; k < climb.size() && name_servers_.empty(); ++k) {
      const auto& answer = own[3 + climb.size() + k];
      // Not those of a top-level domain: they tell of no name below it.
      if (!answer || climb[k].find('.') == std::string::npos) continue;
      for (const auto& each : records_at(*answer, climb[k], DnsType::ns)) {
        name_servers_.push_back(each.value);
      }
    }
  }
}

// A resolver that names an alias and leaves its target to whoever asks. False: nobody does.
bool Look::follow_chains() {
  std::vector<DnsQuestion> questions;
  std::vector<View*> asked;
  for (auto& view : views_) {
    if (!view.more || view.addresses_found || !view.error.empty()) continue;
    questions.push_back({view.server, view.end, DnsType::a});
    questions.push_back({view.server, view.end, DnsType::aaaa});
    asked.push_back(&view);
  }
  if (asked.empty()) return false;
  const auto answers = ask_now(questions);
  for (std::size_t i = 0; i < asked.size(); ++i) {
    View& view = *asked[i];
    const auto before = view.links;
    for (std::size_t k = 0; k < 2; ++k) {
      const auto& answer = answers[2 * i + k];
      if (answer) {
        view.follow(*answer);
      } else {
        view.fail(answer.error());
      }
    }
    view.more = view.links > before && view.links < k_cname_links_max;
  }
  return true;
}

void Look::ask_zone() {
  if (name_servers_.empty()) return;
  std::vector<DnsQuestion> questions;
  const auto addresses =
      zone_server_addresses(name_servers_, config_.private_zone_servers, views_.front().server,
                            [&](const auto& each) { return ask_now(each); });
  for (const auto& address : addresses) {
    questions.push_back(
        {server_at(address, config_.zone_server_port), ownership_name_, DnsType::txt, false});
  }
  if (questions.empty()) return;
  const auto answers = ask_now(questions);
  for (std::size_t i = 0; i < answers.size(); ++i) {
    View view{.server = questions[i].server, .error = {}, .records = {}, .end = {}};
    if (!answers[i]) {
      view.fail(answers[i].error());
    } else if (!answers[i]->authoritative) {
      view.error = view.server + " is named as a server of the zone and does not answer for it";
    } else {
      view.add(records_at(*answers[i], ownership_name_, DnsType::txt));
    }
    zone_views_.push_back(std::move(view));
  }
}

void Look::add_to(pb::DnsObservation& observed, const View& view, bool authoritative) {
  auto* answers = observed.add_answers();
  answers->set_server(view.server);
  answers->set_authoritative(authoritative);
  answers->set_error(view.error);
  auto records = view.records;
  std::ranges::sort(records, {}, [](const DnsRecord& each) {
    return std::tuple(each.name, std::string(name_of(each.type)), each.value);
  });
  for (const auto& each : records) {
    if (static_cast<std::size_t>(answers->records_size()) >= k_records_max) break;
    auto* record = answers->add_records();
    record->set_name(each.name);
    record->set_type(std::string(name_of(each.type)));
    record->set_value(each.value.substr(0, k_record_bytes_max));
  }
}

}  // namespace

Result<DomainLookup> DomainLookup::make(LookupConfig config) {
  auto servers = config.resolvers.empty() ? system_dns_servers() : config.resolvers;
  DomainLookup made(std::move(config));
  for (const auto& server : servers) {
    ATLAS_TRY(auto address, parse_dns_server(server));
    if (made.resolvers_.size() < k_resolvers_max) made.resolvers_.push_back(std::move(address));
  }
  if (made.resolvers_.empty()) {
    return fail(
        ErrorCode::not_found,
        "no name server is known: /etc/resolv.conf has none; name some in domains.resolvers "
        "of the server's configuration");
  }
  return made;
}

pb::DnsObservation DomainLookup::look_up(const std::string& domain,
                                         const std::string& ownership_name,
                                         const std::stop_token& stop) const {
  return Look(config_, resolvers_, domain, ownership_name, stop).run();
}

bool is_public_address(const std::string& address) {
  struct Range {
    std::array<unsigned char, 16> prefix;
    unsigned bits;
  };
  // RFC 6890's tables, as far as they are not reachable from everywhere.
  static constexpr std::array<Range, 12> k_four = {{{{0}, 8},
                                                    {{10}, 8},
                                                    {{100, 64}, 10},
                                                    {{127}, 8},
                                                    {{169, 254}, 16},
                                                    {{172, 16}, 12},
                                                    {{192, 0, 0}, 24},
                                                    {{192, 168}, 16},
                                                    {{198, 18}, 15},
                                                    {{224}, 4},
                                                    {{240}, 4},
                                                    {{255}, 8}}};
  static constexpr std::array<Range, 7> k_six = {{{{0}, 96},  // unspecified, loopback, mapped
                                                  // An IPv4 address in another's clothes (RFC 6052,
                                                  // RFC 3056), private ones too.
                                                  {{0x00, 0x64, 0xFF, 0x9B}, 96},
                                                  {{0x20, 0x02}, 16},
                                                  {{0xFC}, 7},  // unique local
                                                  {{0xFE, 0x80}, 10},
                                                  {{0xFE, 0xC0}, 10},
                                                  {{0xFF}, 8}}};
  std::array<unsigned char, 16> bytes{};
  const auto inside = [&](const Range& range) {
    for (unsigned bit = 0; bit < range.bits; ++bit) {
      const unsigned mask = 0x80U >> (bit % 8);
      if ((bytes[bit / 8] & mask) != (range.prefix[bit / 8] & mask)) return false;
    }
    return true;
  };
  if (::inet_pton(AF_INET, address.c_str(), bytes.data()) == 1) {
    return std::ranges::none_of(k_four, inside);
  }
  if (::inet_pton(AF_INET6, address.c_str(), bytes.data()) != 1) return false;
  const bool mapped = std::all_of(bytes.begin(), bytes.begin() + 10, [](auto b) { return b == 0; });
  return !mapped && std::ranges::none_of(k_six, inside);
}

}  // namespace atlasflow::domains
