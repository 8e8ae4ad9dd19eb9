// What single hosts were given, certificates and challenges, and what session tickets are sealed
// with, on its way between processes: in pages that a message has room for. The record is what the
// control plane keeps for the process that comes next; whoever owns it guards it. The functions may
// be called from any thread.
#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "edge/control/control.pb.h"
#include "edge/control/control_channel.hpp"
#include "edge/tls/host_certificate.hpp"
#include "edge/tls/ticket_keys.hpp"

namespace atlasflow::edge {

// A message may have four times as much.
inline constexpr std::size_t k_given_page_bytes = std::size_t{4} << 20U;

class GivenRecord {
 public:
  // Adds what is in the page. False: it was the last.
  bool take(const wire::Given& page);
  void take(const wire::ChangeCertificates& change);
  void set_tickets(const TicketSecret& tickets) { tickets_ = tickets; }
  // From time to time, so that it is of now.
  void advance_tickets(std::int64_t now_s) {
    if (tickets_) advance(*tickets_, now_s);
  }
  void set_challenges(std::vector<Challenge> challenges) { challenges_ = std::move(challenges); }

  [[nodiscard]] std::map<std::string, std::string> fingerprints() const;  // by host
  // For a process that starts: the last one has no certificates.
  [[nodiscard]] std::vector<wire::Given> pages() const;
  [[nodiscard]] std::vector<HostCertificate> certificates() const;
  [[nodiscard]] const std::vector<Challenge>& challenges() const { return challenges_; }
  // None: of a build that has none, or nobody was asked yet.
  [[nodiscard]] const std::optional<TicketSecret>& tickets() const { return tickets_; }

 private:
  std::map<std::string, HostCertificate> certificates_;
  std::vector<Challenge> challenges_;
  std::optional<TicketSecret> tickets_;
};

// What the process behind the socket was given, by as many calls as it takes. One of a build that
// knows no such call was given nothing.
[[nodiscard]] Result<GivenRecord> fetch_given(const std::filesystem::path& control_socket,
                                              Deadline deadline);

// The calls that make the change. invalid_argument: a certificate is none, and nothing is to be
// asked then.
[[nodiscard]] Result<std::vector<wire::Request>> change_in_parts(
    const std::vector<HostCertificate>& shown, const std::vector<std::string>& removed);
[[nodiscard]] wire::Request to_set_challenges(const std::vector<Challenge>& challenges);

}  // namespace atlasflow::edge
