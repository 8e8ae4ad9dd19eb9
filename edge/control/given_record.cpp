#include "edge/control/given_record.hpp"

#include <utility>

#include "edge/control/control_message.hpp"
#include "edge/tls/given_hosts.hpp"

namespace atlasflow::edge {

bool GivenRecord::take(const wire::Given& page) {
  for (const auto& each : page.challenges()) challenges_.push_back(from_wire(each));
  for (const auto& each : page.certificates()) {
    certificates_.insert_or_assign(each.host(), from_wire(each));
  }
  if (page.has_tickets()) tickets_ = from_wire(page.tickets());
  return page.certificates_size() != 0;
}

void GivenRecord::take(const wire::ChangeCertificates& change) {
  for (const auto& host : change.removed()) certificates_.erase(host);
  for (const auto& each : change.shown()) {
    certificates_.insert_or_assign(each.host(), from_wire(each));
  }
}

std::map<std::string, std::string> GivenRecord::fingerprints() const {
  std::map<std::string, std::string> fingerprints;
  for (const auto& [host, certificate] : certificates_) {
    fingerprints.emplace(host, certificate.fingerprint);
  }
  return fingerprints;
}

std::vector<wire::Given> GivenRecord::pages() const {
  std::vector<wire::Given> pages(1);
  for (const Challenge& each : challenges_) *pages.front().add_challenges() = to_wire(each);
  if (tickets_) *pages.front().mutable_tickets() = to_wire(*tickets_);
  std::string after;
  while (true) {
    const auto page = page_of(certificates_, after, k_given_page_bytes);
    if (page.empty()) return pages;
    for (const HostCertificate& each : page) *pages.back().add_certificates() = to_wire(each);
    after = page.back().host;
    pages.emplace_back();
  }
}

std::vector<HostCertificate> GivenRecord::certificates() const {
  std::vector<HostCertificate> all;
  all.reserve(certificates_.size());
  for (const auto& [host, certificate] : certificates_) all.push_back(certificate);
  return all;
}

Result<GivenRecord> fetch_given(const std::filesystem::path& control_socket, Deadline deadline) {
  GivenRecord record;
  std::string after;
  while (true) {
    ATLAS_TRY(const auto socket, connect_control(control_socket));
    wire::Request request;
    request.mutable_given()->set_after(after);
    const auto reply = call(socket, request, deadline);
    if (!reply && reply.error().code == ErrorCode::invalid_argument) return record;
    if (!reply) return tl::unexpected(reply.error());
    if (!record.take(reply->given())) return record;
    after = reply->given().certificates().rbegin()->host();
  }
}

Result<std::vector<wire::Request>> change_in_parts(const std::vector<HostCertificate>& shown,
                                                   const std::vector<std::string>& removed) {
  std::map<std::string, HostCertificate> wanted;
  for (const HostCertificate& each : shown) {
    ATLAS_TRYV(parse_certificate(each));
    wanted.insert_or_assign(each.host, each);
  }
  std::vector<wire::Request> calls(1);
  calls.front().mutable_change_certificates()->mutable_removed()->Add(removed.begin(),
                                                                      removed.end());
  std::string after;
  while (true) {
    const auto page = page_of(wanted, after, k_given_page_bytes);
    if (page.empty()) return calls;
    if (!after.empty()) calls.emplace_back();
    auto* part = calls.back().mutable_change_certificates();
    for (const HostCertificate& each : page) *part->add_shown() = to_wire(each);
    after = page.back().host;
  }
}

wire::Request to_set_challenges(const std::vector<Challenge>& challenges) {
  wire::Request request;
  auto* all = request.mutable_set_challenges();
  for (const Challenge& each : challenges) *all->add_challenges() = to_wire(each);
  return request;
}

}  // namespace atlasflow::edge
