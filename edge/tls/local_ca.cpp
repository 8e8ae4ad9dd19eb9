#include "edge/tls/local_ca.hpp"

#include <array>
#include <cerrno>
#include <system_error>

#include <fcntl.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.hpp"
#include "edge/proxy/socket.hpp"

namespace atlasflow::edge {
namespace {

using ExtensionPtr = std::unique_ptr<X509_EXTENSION, OpensslFree<X509_EXTENSION_free>>;
namespace fs = std::filesystem;

constexpr std::uint64_t k_pem_bytes_max = 1U << 20U;
constexpr long k_day_s = 24L * 3600;
constexpr long k_ca_days = 3650;
constexpr long k_leaf_days = 397;  // what browsers accept of a leaf
constexpr int k_leaf_renew_days = 30;
constexpr long k_backdate_s = 3600;  // clocks of clients may be behind

tl::unexpected<Error> openssl_failure(const std::string& what) {
  return fail(ErrorCode::internal, what, take_openssl_error());
}

bool add_extension(X509* certificate, X509* issuer, int nid, const std::string& value) {
  X509V3_CTX context;
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  X509V3_set_ctx_nodb(&context);
  const ExtensionPtr extension(X509V3_EXT_conf_nid(nullptr, &context, nid, value.c_str()));
  return extension && X509_add_ext(certificate, extension.get(), -1) == 1;
}

bool set_random_serial(X509* certificate) {
  std::array<unsigned char, 16> bytes{};
  if (RAND_bytes(bytes.data(), static_cast<int>(bytes.size())) != 1) return false;
  bytes[0] &= 0x7F;  // a positive number
  const std::unique_ptr<BIGNUM, OpensslFree<BN_free>> number(
      BN_bin2bn(bytes.data(), static_cast<int>(bytes.size()), nullptr));
  return number && BN_to_ASN1_INTEGER(number.get(), X509_get_serialNumber(certificate)) != nullptr;
}

bool set_subject(X509_NAME* name, const char* key, const std::string& value) {
  const auto* bytes = reinterpret_cast<const unsigned char*>(value.data());
  return X509_NAME_add_entry_by_txt(name, key, MBSTRING_UTF8, bytes, static_cast<int>(value.size()),
                                    -1, 0) == 1;
}

bool set_common_parts(X509* certificate, EVP_PKEY* key, long days) {
  return X509_set_version(certificate, 2) == 1 && set_random_serial(certificate) &&
         X509_gmtime_adj(X509_getm_notBefore(certificate), -k_backdate_s) != nullptr &&
         X509_gmtime_adj(X509_getm_notAfter(certificate), days * k_day_s) != nullptr &&
         X509_set_pubkey(certificate, key) == 1;
}

Result<X509Ptr> make_ca_certificate(EVP_PKEY* key, const std::string& domain) {
  X509Ptr certificate(X509_new());
  if (!certificate || !set_common_parts(certificate.get(), key, k_ca_days)) {
    return openssl_failure("cannot make the local CA's certificate");
  }
  X509_NAME* name = X509_get_subject_name(certificate.get());
  X509* self = certificate.get();
  // Critical, so that a stolen key can sign nothing outside the domain.
  const bool made =
      set_subject(name, "O", "Atlasflow") &&
      set_subject(name, "CN", "Atlasflow local CA for " + domain) &&
      X509_set_issuer_name(self, name) == 1 &&
      add_extension(self, self, NID_basic_constraints, "critical,CA:TRUE,pathlen:0") &&
      add_extension(self, self, NID_key_usage, "critical,keyCertSign,cRLSign") &&
      add_extension(self, self, NID_subject_key_identifier, "hash") &&
      add_extension(self, self, NID_name_constraints, "critical,permitted;DNS:" + domain) &&
      X509_sign(self, key, EVP_sha256()) > 0;
  if (!made) return openssl_failure("cannot make the local CA's certificate");
  return certificate;
}

Result<std::string> read_text(const fs::path& path) {
  auto text = read_file(path, k_pem_bytes_max);
  if (text) return text;
  return fail(ErrorCode::unavailable, "cannot read " + path.string() + "; check its permissions",
              to_string(text.error()));
}

Result<void> write_text(const fs::path& path, std::string_view text, mode_t mode) {
  const auto written = replace_file(path, text, mode);
  if (written) return {};
  return fail(ErrorCode::unavailable, "cannot write " + path.string() + "; check the folder",
              to_string(written.error()));
}

Result<void> create_files(const fs::path& key_path, const fs::path& certificate_path,
                          const std::string& domain) {
  const KeyPtr key(EVP_EC_gen("P-256"));
  if (!key) return openssl_failure("cannot make the local CA's key");
  ATLAS_TRY(auto certificate, make_ca_certificate(key.get(), domain));
  if (auto written = write_text(key_path, to_pem(key.get()), 0600); !written) return written;
  return write_text(certificate_path, to_pem(certificate.get()), 0644);
}

Result<void> check_constraint(X509* certificate, const std::string& domain, const fs::path& dir) {
  std::unique_ptr<NAME_CONSTRAINTS, OpensslFree<NAME_CONSTRAINTS_free>> constraints(
      static_cast<NAME_CONSTRAINTS*>(
          X509_get_ext_d2i(certificate, NID_name_constraints, nullptr, nullptr)));
  const int count = constraints ? sk_GENERAL_SUBTREE_num(constraints->permittedSubtrees) : 0;
  for (int i = 0; i < count; ++i) {
    const GENERAL_NAME* base = sk_GENERAL_SUBTREE_value(constraints->permittedSubtrees, i)->base;
    if (base->type != GEN_DNS) continue;
    const auto* bytes = reinterpret_cast<const char*>(ASN1_STRING_get0_data(base->d.dNSName));
    const std::string_view permitted(bytes,
                                     static_cast<std::size_t>(ASN1_STRING_length(base->d.dNSName)));
    if (CertificateMap::is_under(domain, permitted)) return {};
  }
  return fail(ErrorCode::conflict, "the local CA in " + dir.string() + " is not for " + domain +
                                       "; move ca.key and ca.pem away to have a new one made, "
                                       "which clients must then trust");
}

}  // namespace

Result<LocalCa> LocalCa::open_or_create(const fs::path& ca_dir, const std::string& domain) {
  std::error_code code;
  fs::create_directories(ca_dir, code);
  if (code) {
    return fail(ErrorCode::unavailable, "cannot make the folder " + ca_dir.string(),
                code.message());
  }
  const fs::path key_path = ca_dir / "ca.key";
  const fs::path certificate_path = ca_dir / "ca.pem";
  // Two first starts at once must not mix one's key with the other's certificate.
  const FileDescriptor lock(
      ::open((ca_dir / "ca.lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!lock.valid() || ::flock(lock.get(), LOCK_EX) != 0) {
    return fail(ErrorCode::unavailable, "cannot lock the folder " + ca_dir.string(),
                std::generic_category().message(errno));
  }
  if (!fs::exists(certificate_path, code)) {
    ATLAS_TRYV(create_files(key_path, certificate_path, domain));
  } else if (!fs::exists(key_path, code)) {
    return fail(ErrorCode::corrupt, key_path.string() +
                                        " is missing; restore it, or remove ca.pem to have a new "
                                        "local CA made, which clients must then trust");
  }
  if (::chmod(key_path.c_str(), 0600) != 0) {
    return fail(ErrorCode::unavailable, "cannot protect " + key_path.string(),
                std::generic_category().message(errno));
  }
  ATLAS_TRY(auto key_text, read_text(key_path));
  ATLAS_TRY(auto certificate_text, read_text(certificate_path));

  LocalCa ca;
  ca.certificate_path_ = certificate_path;
  auto key = parse_private_key(key_text);
  auto certificates = parse_certificates(certificate_text);
  if (key && certificates) {
    ca.key_ = std::move(*key);
    ca.certificate_ = std::move(certificates->front());
  }
  if (!ca.key_ || !ca.certificate_ ||
      X509_check_private_key(ca.certificate_.get(), ca.key_.get()) != 1) {
    return fail(ErrorCode::corrupt,
                "the local CA in " + ca_dir.string() +
                    " is damaged; restore ca.key and ca.pem, or remove both to have a new one made",
                take_openssl_error());
  }
  if (X509_cmp_current_time(X509_get0_notAfter(ca.certificate_.get())) < 0) {
    return fail(ErrorCode::conflict, "the local CA in " + ca_dir.string() +
                                         " has expired; remove ca.key and ca.pem to have a new "
                                         "one made, which clients must then trust");
  }
  ATLAS_TRYV(check_constraint(ca.certificate_.get(), domain, ca_dir));
  return ca;
}

Result<std::shared_ptr<const Certificate>> LocalCa::issue(
    const std::vector<std::string>& names) const {
  std::string alternative_names;
  for (const std::string& name : names) {
    alternative_names += (alternative_names.empty() ? "DNS:" : ",DNS:") + name;
  }
  auto made = std::make_shared<Certificate>();
  made->key.reset(EVP_EC_gen("P-256"));
  made->leaf.reset(X509_new());
  X509* leaf = made->leaf.get();
  // The subject stays empty (its common name could not hold a long host), so the names are
  // critical.
  if (!made->key || leaf == nullptr || !set_common_parts(leaf, made->key.get(), k_leaf_days) ||
      X509_set_issuer_name(leaf, X509_get_subject_name(certificate_.get())) != 1 ||
      !add_extension(leaf, certificate_.get(), NID_basic_constraints, "critical,CA:FALSE") ||
      !add_extension(leaf, certificate_.get(), NID_key_usage, "critical,digitalSignature") ||
      !add_extension(leaf, certificate_.get(), NID_ext_key_usage, "serverAuth") ||
      !add_extension(leaf, certificate_.get(), NID_subject_alt_name,
                     "critical," + alternative_names) ||
      !add_extension(leaf, certificate_.get(), NID_subject_key_identifier, "hash") ||
      !add_extension(leaf, certificate_.get(), NID_authority_key_identifier, "keyid:always") ||
      X509_sign(leaf, key_.get(), EVP_sha256()) <= 0) {
    return openssl_failure("cannot sign a certificate for " + alternative_names);
  }
  made->renew_at = std::chrono::system_clock::now() + std::chrono::hours(24 * k_leaf_renew_days);
  return made;
}

// The wildcard covers the usual hosts; only deeper names under the domain need one of their own.
Result<std::shared_ptr<const CertificateMap>> certificates_for(
    const std::vector<std::string_view>& hosts, const LocalCa& ca, const std::string& domain,
    std::shared_ptr<const Certificates> given, std::shared_ptr<const Certificates> proofs,
    const CertificateMap* before) {
  const auto now = std::chrono::system_clock::now();
  const auto fresh = [&](const std::shared_ptr<const Certificate>& certificate) {
    return certificate != nullptr && certificate->renew_at > now;
  };
  auto map = std::make_shared<CertificateMap>();
  map->domain = domain;
  map->given = std::move(given);
  map->proofs = std::move(proofs);
  if (before != nullptr && fresh(before->wildcard)) {
    map->wildcard = before->wildcard;
  } else {
    ATLAS_TRY(map->wildcard, ca.issue({"*." + domain, domain}));
  }
  for (const std::string_view host : hosts) {
    if (!CertificateMap::is_under(host, domain) || CertificateMap::wildcard_covers(host, domain)) {
      continue;
    }
    const auto known =
        before == nullptr ? Certificates::const_iterator{} : before->exact.find(host);
    if (before != nullptr && known != before->exact.end() && fresh(known->second)) {
      map->exact.emplace(host, known->second);
      continue;
    }
    ATLAS_TRY(auto issued, ca.issue({std::string(host)}));
    map->exact.emplace(host, std::move(issued));
  }
  return map;
}

}  // namespace atlasflow::edge
