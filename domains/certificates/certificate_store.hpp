// Certificates with their keys, orders under way and accounts at CAs, on disk: keys and chains
// sealed with the same key file as environment values, everything else as JSON. Each file is whole
// after a crash. Owned by the composition root; any thread.
//
//   accounts/<digest of the directory's URL>.json   the account's URL, its sealed key, and the one
//                                                   that is about to take that one's place
//   orders/<digest of the effect>.json              the order's URL and the sealed key of the
//                                                   certificate; then which one came of it
//   certificates/<fingerprint>.json                 the sealed chain and key, and what the CA said
//                                                   of its renewal
//   sealed/                                         the values that these files name
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "base/error.hpp"
#include "base/x509.hpp"
#include "events/event.pb.h"
#include "events/ids.hpp"
#include "storage/secrets/secrets.hpp"

namespace atlasflow::domains {

struct StoredCertificate {
  std::string chain_pem;
  std::string key_pem;  // secret
  pb::CertificateIssued facts;
};

struct StoredAccount {
  KeyPtr key;
  std::string url;  // empty: the CA was not asked yet
  // That may take the key's place at the CA, which may have heard of it; null: none is to.
  KeyPtr next_key = {};
};

// A TXT record that proves a name: "_acme-challenge.<host>", and what it is to say.
struct TxtProof {
  std::string name;
  std::string value;
  friend bool operator==(const TxtProof&, const TxtProof&) = default;
};

struct StoredOrder {
  KeyPtr key;                          // of the certificate
  bool announced = false;              // the CA may have heard of it, whether it has a URL or not
  std::string url;                     // empty: none is known
  std::string fingerprint;             // empty: nothing was issued yet
  std::vector<TxtProof> records = {};  // that may be in a zone for it
};

struct StoredAdvice {
  std::optional<pb::RenewalAdvised> advised;  // nothing: it gave none
  std::int64_t ask_again_at_us = 0;
};

class CertificateStore {
 public:
  static constexpr std::chrono::minutes k_uploads_kept{10};

  // Makes the folder. The key file is the one of storage/secrets, with its errors.
  [[nodiscard]] static Result<std::unique_ptr<CertificateStore>> open(
      const std::filesystem::path& folder, const std::filesystem::path& key_file);

  // ---- accounts ----

  // The one at this directory; made with a new key when there is none. terms: what else makes it
  // another account, such as the external one's key id.
  [[nodiscard]] Result<StoredAccount> account(const std::string& directory,
                                              const std::string& terms);
  [[nodiscard]] Result<void> set_account_url(const std::string& directory, const std::string& terms,
                                             const std::string& url);

  // Makes the account's next key, where it has none; on disk before this returns, so that whatever
  // the CA hears of it, it is not lost. The account must be there.
  [[nodiscard]] Result<StoredAccount> begin_key_change(const std::string& directory,
                                                       const std::string& terms);
  // The next key is the account's from now on, or is dropped; the other one is removed. Nothing
  // happens where there is no next key.
  [[nodiscard]] Result<void> end_key_change(const std::string& directory, const std::string& terms,
                                            bool take_next);

  // ---- orders ----

  // The effect's; made with a new key, on disk before this returns, when there is none.
  [[nodiscard]] Result<StoredOrder> order(const EffectId& effect);
  [[nodiscard]] Result<void> announce_order(const EffectId& effect);
  [[nodiscard]] Result<void> set_order_url(const EffectId& effect, const std::string& url);
  // Before the first of them is in its zone.
  [[nodiscard]] Result<void> set_order_records(const EffectId& effect,
                                               const std::vector<TxtProof>& records);

  // ---- certificates ----

  // What came of the order: the chain and the order's key. Durable.
  [[nodiscard]] Result<void> put(const EffectId& effect, const StoredCertificate& certificate);
  // One that a user brings, and no order names. Durable.
  [[nodiscard]] Result<void> put_uploaded(const StoredCertificate& certificate);
  // not_found: there is none. corrupt: what is there is not what was written, and never will be.
  // Any other error: it can't be read now.
  [[nodiscard]] Result<StoredCertificate> certificate(const std::string& fingerprint);

  // What the CA said last of its renewal, and until when it is left alone; nothing: it was not
  // asked.
  [[nodiscard]] std::optional<StoredAdvice> advice(const std::string& fingerprint);
  // not_found: the certificate is gone.
  [[nodiscard]] Result<void> set_advice(const std::string& fingerprint, const StoredAdvice& advice);

  // Removes every other certificate and order, and the sealed values that nothing names. Accounts
  // stay, and so does what was uploaded within the last k_uploads_kept: who made the lists may not
  // have heard of it.
  [[nodiscard]] Result<void> keep_only(const std::set<std::string>& fingerprints,
                                       const std::set<EffectId>& effects);

 private:
  CertificateStore(std::filesystem::path folder, std::unique_ptr<storage::SecretStore> sealed)
      : folder_(std::move(folder)), sealed_(std::move(sealed)) {}

  [[nodiscard]] std::filesystem::path order_file(const EffectId& effect) const;
  [[nodiscard]] std::filesystem::path account_file(const std::string& directory,
                                                   const std::string& terms) const;
  [[nodiscard]] std::filesystem::path certificate_file(const std::string& fingerprint) const;
  [[nodiscard]] Result<void> change_order(const EffectId& effect, const char* name,
                                          const std::string& value);
  [[nodiscard]] Result<void> write_certificate(const StoredCertificate& certificate);
  [[nodiscard]] Result<KeyPtr> open_key(const std::string& context, const std::string& ref);
  [[nodiscard]] Result<StoredAccount> open_account(const std::filesystem::path& file,
                                                   const nlohmann::json& record);

  const std::filesystem::path folder_;
  const std::unique_ptr<storage::SecretStore> sealed_;
  std::map<std::string, std::chrono::steady_clock::time_point> uploaded_at_;  // by fingerprint
  std::mutex mutex_;  // a value is sealed and named under it, so that keep_only finds no other
};

}  // namespace atlasflow::domains
