// Where the TXT records of DNS-01 (RFC 8555 section 8.4) are put and seen: by a program of the
// server's owner, or by updates of the zone (RFC 2136). Owned by the composition root; any thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"
#include "domains/certificates/certificate_store.hpp"
#include "domains/dns/dns_client.hpp"
#include "domains/dns/update.hpp"

namespace atlasflow::domains {

// key_authorization: RFC 8555 section 8.1.
[[nodiscard]] TxtProof txt_proof(const std::string& host, std::string_view key_authorization);

// Where an order's records are put. Called from the threads of orders. Errors: cancelled, where the
// stop was asked for; unavailable or timed_out, where name servers are to blame; any other is this
// server's own.
class TxtBoard {
 public:
  virtual ~TxtBoard() = default;
  // Adds the record beside others of the same name. May be called again with the same.
  [[nodiscard]] virtual Result<void> put(const TxtProof& proof, const std::stop_token& stop) = 0;
  // Returns when the servers that the CA asks show all of them.
  [[nodiscard]] virtual Result<void> wait_until_seen(const std::vector<TxtProof>& proofs,
                                                     std::chrono::milliseconds at_most,
                                                     const std::stop_token& stop) = 0;
  // Takes it away; what can't be is logged, and proves nothing any more.
  virtual void remove(const TxtProof& proof) = 0;
};

// Who changes the zone.
class TxtProvider {
 public:
  virtual ~TxtProvider() = default;
  [[nodiscard]] virtual Result<void> present(const TxtProof& proof,
                                             const std::stop_token& stop) = 0;
  [[nodiscard]] virtual Result<void> cleanup(const TxtProof& proof,
                                             const std::stop_token& stop) = 0;
};

// PROGRAM present|cleanup NAME VALUE, without a shell and with nothing of this process' environment
// but a usual PATH. What it prints goes nowhere: it may be a secret.
class HookProvider final : public TxtProvider {
 public:
  explicit HookProvider(std::string program, std::chrono::milliseconds deadline = k_deadline)
      : program_(std::move(program)), deadline_(deadline) {}
  Result<void> present(const TxtProof& proof, const std::stop_token& stop) override;
  Result<void> cleanup(const TxtProof& proof, const std::stop_token& stop) override;

  static constexpr std::chrono::milliseconds k_deadline{120'000};
  static constexpr std::chrono::milliseconds k_cleanup_deadline{25'000};

 private:
  [[nodiscard]] Result<void> run(const char* what, const TxtProof& proof,
                                 std::chrono::milliseconds deadline,
                                 const std::stop_token& stop) const;
  const std::string program_;
  const std::chrono::milliseconds deadline_;
};

class UpdateProvider final : public TxtProvider {
 public:
  explicit UpdateProvider(ZoneUpdate update) : update_(std::move(update)) {}
  Result<void> present(const TxtProof& proof, const std::stop_token& stop) override {
    return add_text(update_, proof.name, proof.value, stop);
  }
  Result<void> cleanup(const TxtProof& proof, const std::stop_token& stop) override {
    return remove_text(update_, proof.name, proof.value, stop);
  }

 private:
  const ZoneUpdate update_;
};

struct DnsProofConfig {
  std::vector<std::string> resolvers;  // "192.0.2.53:53"; empty: the system's
  std::uint16_t zone_server_port = 53;
  DnsPatience patience = {};
  std::chrono::milliseconds poll{2'000};
};

// Puts a record where the CNAMEs from its name lead (section 8.4 lets the CA follow them), and asks
// the servers of the zone there; where none of them is known, the resolvers.
class DnsProof final : public TxtBoard {
 public:
  DnsProof(DnsProofConfig config, std::unique_ptr<TxtProvider> provider)
      : config_(std::move(config)), provider_(std::move(provider)) {}

  Result<void> put(const TxtProof& proof, const std::stop_token& stop) override;
  Result<void> wait_until_seen(const std::vector<TxtProof>& proofs,
                               std::chrono::milliseconds at_most,
                               const std::stop_token& stop) override;
  void remove(const TxtProof& proof) override;

 private:
  // The resolvers that are asked, anew each time: /etc/resolv.conf changes while a server runs.
  [[nodiscard]] Result<std::vector<std::string>> resolvers() const;
  [[nodiscard]] Result<TxtProof> placed(const TxtProof& proof, const std::stop_token& stop) const;

  const DnsProofConfig config_;
  const std::unique_ptr<TxtProvider> provider_;
};

}  // namespace atlasflow::domains
