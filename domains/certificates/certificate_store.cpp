#include "domains/certificates/certificate_store.hpp"

#include <algorithm>
#include <cerrno>
#include <sstream>
#include <utility>

#include <nlohmann/json.hpp>
#include <openssl/crypto.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/digest.hpp"
#include "base/file.hpp"
#include "domains/certificates/chain.hpp"
#include "domains/json_object.hpp"

namespace atlasflow::domains {
namespace {

using nlohmann::json;
namespace fs = std::filesystem;

constexpr std::uint64_t k_record_bytes_max = 64U << 10U;
constexpr mode_t k_record_mode = 0600;
constexpr std::string_view k_suffix = ".json";

Result<json> read_record(const fs::path& path) {
  ATLAS_TRY(const auto text, read_file(path, k_record_bytes_max));
  auto record = parse_object(text);
  if (!record.is_object()) {
    return fail(ErrorCode::corrupt, path.string() + " is damaged; restore it from a backup");
  }
  return record;
}

Result<void> write_record(const fs::path& path, const json& record) {
  return replace_file(path, record.dump(1) + "\n", k_record_mode);
}

// The bytes of a string, wiped when it goes.
class WipedText {
 public:
  explicit WipedText(std::string secret) : text(std::move(secret)) {}
  ~WipedText() { OPENSSL_cleanse(text.data(), text.size()); }
  WipedText(const WipedText&) = delete;
  WipedText& operator=(const WipedText&) = delete;
  std::string text;
};

bool is_fingerprint(std::string_view text) {
  return text.size() == 64 && text.find_first_not_of("0123456789abcdef") == text.npos;
}

std::string account_context(const fs::path& file) { return "acme-account/" + file.stem().string(); }
std::string order_context(const fs::path& file) { return "acme-order/" + file.stem().string(); }
std::string certificate_context(const std::string& fingerprint) {
  return "certificate/" + fingerprint;
}

std::string digest_name(std::string_view text) { return sha256_hex(text).substr(0, 32); }

// "NAME VALUE" a line: neither has a blank.
std::vector<TxtProof> records_in(const std::string& lines) {
  std::vector<TxtProof> records;
  std::istringstream text(lines);
  for (TxtProof each; text >> each.name >> each.value;) records.push_back(each);
  return records;
}

std::int64_t number_of(const json& object, const char* name) {
  const auto found = object.find(name);
  return found != object.end() && found->is_number_integer() ? found->get<std::int64_t>() : 0;
}

// Names of a folder's records without their suffix.
Result<std::vector<std::string>> stems_in(const fs::path& folder) {
  ATLAS_TRY(auto names, names_in(folder));
  std::erase_if(names, [](const auto& name) { return !name.ends_with(k_suffix); });
  for (auto& name : names) name.resize(name.size() - k_suffix.size());
  return names;
}

}  // namespace

Result<std::unique_ptr<CertificateStore>> CertificateStore::open(const fs::path& folder,
                                                                 const fs::path& key_file) {
  for (const char* name : {"accounts", "orders", "certificates"}) {
    ATLAS_TRYV(make_folder(folder / name));
  }
  if (::chmod(folder.c_str(), 0700) != 0) {
    return tl::unexpected(errno_error("cannot protect the folder " + folder.string()));
  }
  ATLAS_TRY(auto sealed, storage::open_secret_store(folder / "sealed", key_file));
  // Else a power cut could take along what an event says is here; a brought key is nowhere else.
  ATLAS_TRYV(sync_folder(folder));
  ATLAS_TRYV(sync_folder(folder.has_parent_path() ? folder.parent_path() : fs::path(".")));
  return std::unique_ptr<CertificateStore>(new CertificateStore(folder, std::move(sealed)));
}

fs::path CertificateStore::order_file(const EffectId& effect) const {
  return folder_ / "orders" / (digest_name(effect.str()) + ".json");
}

fs::path CertificateStore::account_file(const std::string& directory,
                                        const std::string& terms) const {
  return folder_ / "accounts" / (digest_name(directory + "\n" + terms) + ".json");
}

fs::path CertificateStore::certificate_file(const std::string& fingerprint) const {
  return folder_ / "certificates" / (fingerprint + ".json");
}

Result<KeyPtr> CertificateStore::open_key(const std::string& context, const std::string& ref) {
  ATLAS_TRY(auto opened, sealed_->open(context, ref));
  const WipedText pem(std::move(opened));
  return parse_private_key(pem.text);
}

// ---- accounts -----------------------------------------------------------------------------------

Result<StoredAccount> CertificateStore::open_account(const fs::path& file, const json& record) {
  StoredAccount account;
  ATLAS_TRY(account.key, open_key(account_context(file), text_of(record, "key")));
  account.url = text_of(record, "url");
  const auto next = text_of(record, "next_key");
  if (!next.empty()) {
    ATLAS_TRY(account.next_key, open_key(account_context(file), next));
  }
  return account;
}

Result<StoredAccount> CertificateStore::account(const std::string& directory,
                                                const std::string& terms) {
  const std::lock_guard lock(mutex_);
  const auto file = account_file(directory, terms);
  const auto record = read_record(file);
  if (record) return open_account(file, *record);
  if (record.error().code != ErrorCode::not_found) return tl::unexpected(record.error());
  ATLAS_TRY(auto key, make_p256_key());
  const WipedText pem(to_pem(key.get()));
  ATLAS_TRY(const auto sealed, sealed_->seal(account_context(file), pem.text));
  ATLAS_TRYV(write_record(file, {{"key", sealed.ref}, {"url", ""}}));
  return StoredAccount{std::move(key), ""};
}

Result<void> CertificateStore::set_account_url(const std::string& directory,
                                               const std::string& terms, const std::string& url) {
  const std::lock_guard lock(mutex_);
  const auto file = account_file(directory, terms);
  ATLAS_TRY(auto record, read_record(file));
  record["url"] = url;
  return write_record(file, record);
}

Result<StoredAccount> CertificateStore::begin_key_change(const std::string& directory,
                                                         const std::string& terms) {
  const std::lock_guard lock(mutex_);
  const auto file = account_file(directory, terms);
  ATLAS_TRY(auto record, read_record(file));
  if (text_of(record, "next_key").empty()) {
    ATLAS_TRY(const auto key, make_p256_key());
    const WipedText pem(to_pem(key.get()));
    ATLAS_TRY(const auto sealed, sealed_->seal(account_context(file), pem.text));
    record["next_key"] = sealed.ref;
    ATLAS_TRYV(write_record(file, record));
  }
  return open_account(file, record);
}

Result<void> CertificateStore::end_key_change(const std::string& directory,
                                              const std::string& terms, bool take_next) {
  const std::lock_guard lock(mutex_);
  const auto file = account_file(directory, terms);
  ATLAS_TRY(auto record, read_record(file));
  auto other = text_of(record, "next_key");
  if (other.empty()) return {};
  if (take_next) {
    const auto next = std::exchange(other, text_of(record, "key"));
    record["key"] = next;
  }
  record.erase("next_key");
  ATLAS_TRYV(write_record(file, record));
  // Nothing names it any more; keep_only() removes what can't be removed now.
  static_cast<void>(sealed_->remove({other}));
  return {};
}

// ---- orders -------------------------------------------------------------------------------------

Result<StoredOrder> CertificateStore::order(const EffectId& effect) {
  const std::lock_guard lock(mutex_);
  const auto file = order_file(effect);
  const auto record = read_record(file);
  if (record) {
    ATLAS_TRY(auto key, open_key(order_context(file), text_of(*record, "key")));
    return StoredOrder{std::move(key), text_of(*record, "announced") == "yes",
                       text_of(*record, "url"), text_of(*record, "fingerprint"),
                       records_in(text_of(*record, "records"))};
  }
  if (record.error().code != ErrorCode::not_found) return tl::unexpected(record.error());
  ATLAS_TRY(auto key, make_p256_key());
  const WipedText pem(to_pem(key.get()));
  ATLAS_TRY(const auto sealed, sealed_->seal(order_context(file), pem.text));
  ATLAS_TRYV(write_record(file, {{"key", sealed.ref}}));
  return StoredOrder{std::move(key), false, "", "", {}};
}

Result<void> CertificateStore::change_order(const EffectId& effect, const char* name,
                                            const std::string& value) {
  const std::lock_guard lock(mutex_);
  const auto file = order_file(effect);
  ATLAS_TRY(auto record, read_record(file));
  record[name] = value;
  return write_record(file, record);
}

Result<void> CertificateStore::announce_order(const EffectId& effect) {
  return change_order(effect, "announced", "yes");
}

Result<void> CertificateStore::set_order_records(const EffectId& effect,
                                                 const std::vector<TxtProof>& records) {
  std::string lines;
  for (const auto& each : records) lines += each.name + " " + each.value + "\n";
  return change_order(effect, "records", lines);
}

Result<void> CertificateStore::set_order_url(const EffectId& effect, const std::string& url) {
  return change_order(effect, "url", url);
}

// ---- certificates -------------------------------------------------------------------------------

Result<void> CertificateStore::write_certificate(const StoredCertificate& certificate) {
  const auto& fingerprint = certificate.facts.fingerprint();
  const WipedText bundle(certificate.key_pem + certificate.chain_pem);
  ATLAS_TRY(const auto sealed, sealed_->seal(certificate_context(fingerprint), bundle.text));
  return write_record(certificate_file(fingerprint), {{"sealed", sealed.ref}});
}

Result<void> CertificateStore::put(const EffectId& effect, const StoredCertificate& certificate) {
  {
    const std::lock_guard lock(mutex_);
    ATLAS_TRYV(write_certificate(certificate));
  }
  // From here on the order is over, whatever becomes of the CA.
  return change_order(effect, "fingerprint", certificate.facts.fingerprint());
}

Result<void> CertificateStore::put_uploaded(const StoredCertificate& certificate) {
  const std::lock_guard lock(mutex_);
  uploaded_at_[certificate.facts.fingerprint()] = std::chrono::steady_clock::now();
  return write_certificate(certificate);
}

Result<StoredCertificate> CertificateStore::certificate(const std::string& fingerprint) {
  if (!is_fingerprint(fingerprint)) {
    return fail(ErrorCode::not_found, "there is no certificate '" + fingerprint + "'");
  }
  const std::lock_guard lock(mutex_);
  auto record = read_record(certificate_file(fingerprint));
  if (!record && record.error().code == ErrorCode::not_found) {
    return fail(ErrorCode::not_found, "the certificate " + fingerprint + " is not in the store");
  }
  if (!record) return tl::unexpected(std::move(record.error()));
  // corrupt ends with another order, so it is said only of what will never be read: a disk that
  // fails or a process without a descriptor to spare reads it later.
  const auto broken = [&](const Error& error) {
    const bool for_good = error.code == ErrorCode::not_found || error.code == ErrorCode::corrupt ||
                          error.code == ErrorCode::invalid_argument;
    return fail(for_good ? ErrorCode::corrupt : error.code,
                "the certificate " + fingerprint + " can't be opened", to_string(error));
  };
  auto opened = sealed_->open(certificate_context(fingerprint), text_of(*record, "sealed"));
  if (!opened) return broken(opened.error());
  const WipedText bundle(std::move(*opened));
  const auto key = parse_private_key(bundle.text);
  if (!key) return broken(key.error());
  const auto chain = parse_certificates(bundle.text);
  if (!chain) return broken(chain.error());
  X509* leaf = chain->front().get();
  StoredCertificate found;
  found.key_pem = to_pem(key->get());
  for (const auto& each : *chain) found.chain_pem += to_pem(each.get());
  found.facts = facts_of(leaf);
  if (found.facts.fingerprint() != fingerprint || X509_check_private_key(leaf, key->get()) != 1) {
    static_cast<void>(take_openssl_error());
    return fail(ErrorCode::corrupt, "the certificate " + fingerprint + " is not what was stored");
  }
  return found;
}

std::optional<StoredAdvice> CertificateStore::advice(const std::string& fingerprint) {
  if (!is_fingerprint(fingerprint)) return std::nullopt;
  const std::lock_guard lock(mutex_);
  const auto record = read_record(certificate_file(fingerprint));
  if (!record) return std::nullopt;
  StoredAdvice stored;
  stored.ask_again_at_us = number_of(*record, "ask_again_at_us");
  if (stored.ask_again_at_us == 0) return std::nullopt;
  if (const auto start = number_of(*record, "renew_start_us"); start != 0) {
    auto& advised = stored.advised.emplace();
    advised.set_fingerprint(fingerprint);
    advised.set_start_us(start);
    advised.set_end_us(number_of(*record, "renew_end_us"));
    advised.set_explanation_url(text_of(*record, "renew_explanation_url"));
  }
  return stored;
}

Result<void> CertificateStore::set_advice(const std::string& fingerprint,
                                          const StoredAdvice& advice) {
  const std::lock_guard lock(mutex_);
  const auto file = certificate_file(fingerprint);
  ATLAS_TRY(auto record, read_record(file));
  record["ask_again_at_us"] = advice.ask_again_at_us;
  if (advice.advised) {
    record["renew_start_us"] = advice.advised->start_us();
    record["renew_end_us"] = advice.advised->end_us();
    record["renew_explanation_url"] = advice.advised->explanation_url();
  }
  return write_record(file, record);
}

Result<void> CertificateStore::keep_only(const std::set<std::string>& fingerprints,
                                         const std::set<EffectId>& effects) {
  const std::lock_guard lock(mutex_);
  std::set<std::string> orders;
  for (const auto& effect : effects) orders.insert(digest_name(effect.str()));
  std::set<std::string> named;
  // What came of an order that is kept stays as well: nobody may know of it yet.
  std::set<std::string> certificates = fingerprints;
  const auto kept_since = std::chrono::steady_clock::now() - k_uploads_kept;
  std::erase_if(uploaded_at_, [&](const auto& each) { return each.second < kept_since; });
  for (const auto& [fingerprint, at] : uploaded_at_) certificates.insert(fingerprint);
  // A record goes before the value that it names: no record names what is gone.
  const auto sweep = [&](const char* kind, const char* ref, const auto& stays) -> Result<void> {
    ATLAS_TRY(const auto stems, stems_in(folder_ / kind));
    for (const auto& stem : stems) {
      const auto path = folder_ / kind / (stem + std::string(k_suffix));
      if (!stays(stem)) {
        if (::unlink(path.c_str()) != 0 && errno != ENOENT) {
          return tl::unexpected(errno_error("cannot remove " + path.string()));
        }
        continue;
      }
      const auto record = read_record(path);
      // What can't be read may name any value: then none goes.
      if (!record) return tl::unexpected(record.error());
      named.insert(text_of(*record, ref));
      named.insert(text_of(*record, "next_key"));
      certificates.insert(text_of(*record, "fingerprint"));
    }
    return sync_folder(folder_ / kind);
  };
  ATLAS_TRYV(sweep("accounts", "key", [](const auto&) { return true; }));
  ATLAS_TRYV(sweep("orders", "key", [&](const auto& stem) { return orders.contains(stem); }));
  ATLAS_TRYV(sweep("certificates", "sealed",
                   [&](const auto& stem) { return certificates.contains(stem); }));
  ATLAS_TRY(auto refs, sealed_->refs());
  std::erase_if(refs, [&](const auto& ref) { return named.contains(ref); });
  return sealed_->remove(refs);
}

}  // namespace atlasflow::domains
