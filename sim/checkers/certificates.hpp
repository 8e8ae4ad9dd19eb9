// What must hold of users' own domains, told from the log's records, the CA's orders and what the
// edge shows; a model of its own that knows no status, fold or ledger of the control plane.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "actors/domains/domain_engine.hpp"
#include "sim/world/world.hpp"
#include "storage/log/event_log.hpp"

namespace atlasflow::sim {

class Certificates {
 public:
  // The records of the log in their order. Which limit of an authority one breaks, as a sentence;
  // empty: none.
  std::string take(const storage::Record& record);

  // What is wrong with it, as a sentence; empty: nothing.
  [[nodiscard]] std::string wrong_order(const World& world, const std::string& domain,
                                        const EffectId& effect, const std::string& directory) const;
  [[nodiscard]] std::string wrong_table(const World& world,
                                        const std::vector<actors::CertificateChoice>& table) const;

  // Why it is no rest yet, as a sentence; empty when it is. domain: the server's own.
  [[nodiscard]] std::string unrest(const World& world,
                                   const std::map<std::string, std::string>& routes,
                                   const std::string& domain) const;

 private:
  struct Domain {
    std::string project;
    std::string project_id;
    std::optional<EffectId> order;  // under way, by the log
    std::string directory;          // that it is from
    std::string newest;             // fingerprint of what was issued last and not lost
    std::string installed;
    bool uploaded = false;              // the newest is one that the project brought
    std::optional<EffectId> given_up;   // an order, for it
    std::map<std::string, int> warned;  // by fingerprint, the stage that was told last
    TimestampUs not_after = 0;          // of the newest
    bool proof_required = false;
    bool was_refused = false;  // by the CA, since the last certificate
    TimestampUs retry_at = 0;
  };
  // What one authority has counted of a name, whoever had that since.
  struct Counted {
    std::vector<TimestampUs> failed_validations;
    TimestampUs asked_to_wait_until = 0;
  };
  void take_certificate(const std::string& name, const storage::Record& record);
  std::string take_counted(const std::string& name, const storage::Record& record);
  [[nodiscard]] bool is_proved(const std::string& name, const Domain& domain) const;

  std::map<std::pair<std::string, std::string>, Counted> counted_;  // by name and directory
  std::map<std::string, Domain> domains_;                           // that are claimed
  std::map<std::string, std::string> owners_of_certificates_;       // domain by fingerprint
  std::map<std::string, std::string>
      proved_;  // by domain, the project whose records were there last
};

}  // namespace atlasflow::sim
