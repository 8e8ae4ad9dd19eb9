#include "events/domain_verdict.hpp"

#include <algorithm>
#include <optional>
#include <set>
#include <tuple>

namespace atlasflow {
namespace {

constexpr std::size_t k_cname_links_max = 8;
constexpr std::size_t k_values_told_max = 4;

std::string joined(const std::vector<std::string>& values, const char* between) {
  std::string text;
  for (std::size_t i = 0; i < values.size() && i < k_values_told_max; ++i) {
    text += (i == 0 ? "" : between) + values[i];
  }
  if (values.size() > k_values_told_max) text += " and more";
  return text;
}

// What one server says of the way to a domain.
struct Way {
  bool here = false;
  std::string found;  // what it found, for a sentence: "is a CNAME to x.example"
};

std::vector<std::string> values_of(const pb::DnsAnswers& answers, const std::string& type) {
  std::vector<std::string> values;
  for (const auto& record : answers.records()) {
    if (record.type() == type) values.push_back(record.value());
  }
  return values;
}

const std::string* cname_of(const pb::DnsAnswers& answers, const std::string& name) {
  for (const auto& record : answers.records()) {
    if (record.type() == "CNAME" && record.name() == name) return &record.value();
  }
  return nullptr;
}

Way way_of(const DomainExpectation& expected, const pb::DnsAnswers& answers) {
  std::string name = expected.name;
  for (std::size_t i = 0; i < k_cname_links_max; ++i) {
    const auto* next = cname_of(answers, name);
    if (next == nullptr) break;
    name = *next;
    if (name == expected.target) return {true, {}};
  }
  std::vector<std::string> foreign;
  bool any = false;
  for (const auto& record : answers.records()) {
    if (record.type() != "A" && record.type() != "AAAA") continue;
    any = true;
    const auto& ours = expected.addresses;
    if (std::find(ours.begin(), ours.end(), record.value()) == ours.end()) {
      foreign.push_back(record.type() + " " + record.value());
    }
  }
  if (any && foreign.empty()) return {true, {}};
  const auto alias = name == expected.name ? "" : "is a CNAME to " + name;
  if (!foreign.empty()) {
    return {false, (alias.empty() ? "" : alias + " and ") + "leads to " + joined(foreign, ", ")};
  }
  return {false, alias.empty() ? "has no address" : alias + ", which has no address"};
}

bool has_text(const pb::DnsAnswers& answers, const std::string& name, const std::string& value) {
  return std::any_of(answers.records().begin(), answers.records().end(), [&](const auto& record) {
    return record.type() == "TXT" && record.name() == name && record.value() == value;
  });
}

struct Answered {
  std::vector<const pb::DnsAnswers*> recursive;  // that answered
  std::vector<const pb::DnsAnswers*> own;        // the zone's own, that answered
  std::size_t asked = 0;                         // recursive ones
  std::string error;                             // of one that did not

  explicit Answered(const pb::DnsObservation& observed) {
    for (const auto& answers : observed.answers()) {
      if (!answers.authoritative()) ++asked;
      if (!answers.error().empty()) {
        if (error.empty()) error = answers.server() + ": " + answers.error();
        continue;
      }
      (answers.authoritative() ? own : recursive).push_back(&answers);
    }
  }
  [[nodiscard]] bool can_tell() const {
    return !recursive.empty() && recursive.size() >= std::min<std::size_t>(asked, 2);
  }
};

// The zone's own servers have what is true now; others may have an answer of an hour ago.
bool proves(const Answered& answered, const std::string& name, const std::string& proof) {
  const auto& judges = answered.own.empty() ? answered.recursive : answered.own;
  return !judges.empty() && std::all_of(judges.begin(), judges.end(), [&](const auto* answers) {
    return has_text(*answers, name, proof);
  });
}

std::string way_wanted(const DomainExpectation& expected) {
  std::string text = "a CNAME to " + expected.target;
  if (!expected.addresses.empty()) text += " or to " + joined(expected.addresses, ", ");
  return text;
}

std::string routing_reason(const DomainExpectation& expected, const Answered& answered) {
  std::set<std::string> found;
  for (const auto* answers : answered.recursive) {
    if (const auto way = way_of(expected, *answers); !way.here) found.insert(way.found);
  }
  if (found.empty()) return {};
  const bool agree =
      std::none_of(answered.recursive.begin(), answered.recursive.end(),
                   [&](const auto* answers) { return way_of(expected, *answers).here; });
  std::string reason =
      expected.name + " " + *found.begin() + "; expected is " + way_wanted(expected);
  if (!agree || found.size() > 1) {
    return reason + "; name servers do not agree yet, which lasts until old answers expire";
  }
  if (found.begin()->find("AAAA ") != std::string::npos) {
    return reason + "; an AAAA record that leads elsewhere wins over a right A record: remove it";
  }
  if (found.begin()->find("leads to") != std::string::npos) {
    return reason + "; if a proxy stands in front of it, let it lead here directly";
  }
  return reason;
}

// The CA's name in a CAA value like `0 issue "ca.example; account=1"` (RFC 8659 section 4.2);
// false when it is of another kind.
bool is_tagged(const std::string& value, const std::string& kind, std::string& ca) {
  const auto tag = value.find(" " + kind + " ");
  if (tag == std::string::npos) return false;
  const auto open = value.find('"', tag);
  const auto close = value.find_first_of(";\"", open == std::string::npos ? tag : open + 1);
  if (open == std::string::npos || close == std::string::npos) return false;
  ca = value.substr(open + 1, close - open - 1);
  while (!ca.empty() && ca.back() == ' ') ca.pop_back();
  while (!ca.empty() && ca.front() == ' ') ca.erase(0, 1);
  return true;
}

// By the records of one kind, "issue" or "issuewild". Nothing: there are none of it.
std::optional<std::string> caa_reason_of(const DomainExpectation& expected,
                                         const pb::DnsAnswers& answers, const std::string& kind) {
  std::vector<std::string> allowed;
  bool any = false;
  bool ours = false;
  for (const auto& value : values_of(answers, "CAA")) {
    std::string ca;
    if (!is_tagged(value, kind, ca)) continue;
    any = true;
    const auto& ids = expected.caa_identities;
    ours = ours || std::find(ids.begin(), ids.end(), ca) != ids.end();
    if (!ca.empty()) allowed.push_back(ca);
  }
  if (!any) return std::nullopt;
  if (ours) return "";
  return "the CAA records of " + expected.name + " let " +
         (allowed.empty() ? std::string("nobody") : "only " + joined(allowed, ", ")) + " issue " +
         (kind == "issuewild" ? "wildcard certificates" : "certificates") + "; add CAA 0 " + kind +
         " \"" + expected.caa_identities.front() + "\"";
}

std::string caa_reason(const DomainExpectation& expected, const Answered& answered) {
  if (expected.caa_identities.empty()) return {};
  for (const auto* answers : answered.recursive) {
    if (const auto why = caa_reason_of(expected, *answers, "issue"); why && !why->empty()) {
      return *why;
    }
    if (!expected.is_servers) continue;
    if (const auto why = caa_reason_of(expected, *answers, "issuewild"); why && !why->empty()) {
      return *why;
    }
  }
  return {};
}

}  // namespace

std::string ownership_name(const std::string& domain) { return "_atlas-verify." + domain; }

std::string ownership_proof(const ProjectId& project, const std::string& token) {
  return "atlas-verify=" + project.str() + ":" + token;
}

WantedRecords wanted_records(const DomainExpectation& expected, bool is_apex) {
  WantedRecords wanted;
  std::vector<WantedRecord> addresses;
  for (const auto& address : expected.addresses) {
    const bool is_v6 = address.find(':') != std::string::npos;
    addresses.push_back({expected.name, is_v6 ? "AAAA" : "A", address});
  }
  const std::vector<WantedRecord> alias = {{expected.name, "CNAME", expected.target}};
  if (is_apex && !addresses.empty()) {
    wanted.routing = std::move(addresses);
  } else {
    wanted.routing = alias;
    wanted.instead = std::move(addresses);
  }
  wanted.proof = {{ownership_name(expected.name), "TXT", expected.proof}};
  return wanted;
}

Judgement judge(const DomainExpectation& expected, const pb::DnsObservation& observed) {
  const Answered answered(observed);
  Judgement judgement;
  const auto proof_name = ownership_name(expected.name);
  if (!answered.can_tell()) {
    judgement.verdict = pb::DOMAIN_VERDICT_UNKNOWN;
    judgement.reason = "too few name servers answered (" +
                       (answered.error.empty() ? "none was asked" : answered.error) +
                       "); it is looked at again";
    return judgement;
  }
  judgement.take_over_proved =
      !expected.take_over_proof.empty() && proves(answered, proof_name, expected.take_over_proof);
  judgement.caa_reason = caa_reason(expected, answered);
  if (expected.is_servers) {
    judgement.verdict = pb::DOMAIN_VERDICT_READY;
    return judgement;
  }
  judgement.verdict = pb::DOMAIN_VERDICT_PENDING;
  judgement.reason = routing_reason(expected, answered);
  if (!judgement.reason.empty()) return judgement;
  if (expected.proof_required && !proves(answered, proof_name, expected.proof)) {
    judgement.reason =
        "it leads here; that it is its owner who asks is proved by a TXT record: set " +
        proof_name + " to \"" + expected.proof + "\"";
    return judgement;
  }
  judgement.verdict = pb::DOMAIN_VERDICT_READY;
  return judgement;
}

bool same_records(const pb::DnsObservation& a, const pb::DnsObservation& b) {
  using Row = std::tuple<std::string, std::string, std::string, std::string>;
  const auto rows = [](const pb::DnsObservation& observed) {
    std::set<Row> all;
    for (const auto& answers : observed.answers()) {
      if (!answers.error().empty()) continue;
      for (const auto& record : answers.records()) {
        all.emplace(answers.authoritative() ? "own" : "", record.name(), record.type(),
                    record.value());
      }
    }
    return all;
  };
  return rows(a) == rows(b);
}

}  // namespace atlasflow
