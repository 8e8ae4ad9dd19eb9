#include "domains/certificates/chain.hpp"

#include <algorithm>
#include <ctime>
#include <memory>
#include <utility>

#include <openssl/err.h>
#include <openssl/x509v3.h>

#include "base/assert.hpp"
#include "base/base64.hpp"
#include "base/digest.hpp"
#include "base/rfc3339.hpp"

namespace atlasflow::domains {
namespace {

using NamesPtr = std::unique_ptr<GENERAL_NAMES, OpensslFree<GENERAL_NAMES_free>>;
using BignumPtr = std::unique_ptr<BIGNUM, OpensslFree<BN_free>>;
using AuthorityPtr = std::unique_ptr<AUTHORITY_KEYID, OpensslFree<AUTHORITY_KEYID_free>>;
using RequestPtr = std::unique_ptr<X509_REQ, OpensslFree<X509_REQ_free>>;

constexpr std::int64_t k_second_us = 1'000'000;
constexpr std::size_t k_names_max = 100;
// NIST SP 800-57 part 1, table 2: RSA of 2048 bits. OpenSSL shows nothing weaker.
constexpr int k_security_bits_min = 112;

std::string text_of(const ASN1_STRING* string) {
  return {reinterpret_cast<const char*>(ASN1_STRING_get0_data(string)),
          static_cast<std::size_t>(ASN1_STRING_length(string))};
}

// What people know a certificate by: its common name, or the organisation.
std::string name_of(const X509_NAME* name) {
  for (const int nid : {NID_commonName, NID_organizationName}) {
    const int at = X509_NAME_get_index_by_NID(name, nid, -1);
    if (at < 0) continue;
    std::string text = text_of(X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, at)));
    std::erase_if(text, [](unsigned char c) { return c < 0x20 || c == 0x7F; });
    return text.substr(0, 100);
  }
  return "(no name)";
}

std::vector<std::string> names_in(X509* certificate) {
  const NamesPtr names(static_cast<GENERAL_NAMES*>(
      X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr)));
  std::vector<std::string> found;
  const int count = names ? sk_GENERAL_NAME_num(names.get()) : 0;
  for (int i = 0; i < count && found.size() < k_names_max; ++i) {
    const GENERAL_NAME* name = sk_GENERAL_NAME_value(names.get(), i);
    if (name->type != GEN_DNS) continue;
    auto text = text_of(name->d.dNSName);
    for (char& c : text) {
      if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    }
    found.push_back(std::move(text));
  }
  return found;
}

// Of the number without its sign; empty for zero.
std::string serial_of(X509* certificate) {
  const BignumPtr serial(ASN1_INTEGER_to_BN(X509_get0_serialNumber(certificate), nullptr));
  if (!serial) return {};
  std::string bytes(static_cast<std::size_t>(BN_num_bytes(serial.get())), '\0');
  BN_bn2bin(serial.get(), reinterpret_cast<unsigned char*>(bytes.data()));
  return bytes;
}

std::int64_t moment_of(const ASN1_TIME* time) {
  std::tm parts{};
  if (time == nullptr || ASN1_TIME_to_tm(time, &parts) != 1) return 0;
  return static_cast<std::int64_t>(::timegm(&parts)) * k_second_us;
}

std::string day_of(std::int64_t at_us) { return rfc3339(at_us).substr(0, 10); }

std::string listed(const std::vector<std::string>& names) {
  std::string text;
  for (const auto& name : names) text += (text.empty() ? "" : ", ") + name;
  return text.empty() ? "no name" : text;
}

tl::unexpected<Error> wrong(std::string sentence) {
  return fail(ErrorCode::invalid_argument, std::move(sentence));
}

bool issued_by_itself(X509* certificate) {
  const bool itself = X509_check_issued(certificate, certificate) == X509_V_OK;
  ERR_clear_error();
  return itself;
}

Result<void> check_leaf(const ChainQuestion& question, X509* leaf,
                        const pb::CertificateIssued& facts) {
  const bool matches = X509_check_private_key(leaf, question.key) == 1;
  ERR_clear_error();
  if (!matches) {
    return wrong(
        "The certificate belongs to another private key; give the key that it was made "
        "for, and the certificate of the server first");
  }
  if (EVP_PKEY_get_security_bits(question.key) < k_security_bits_min) {
    return wrong("The private key is too weak, " + std::to_string(EVP_PKEY_get_bits(question.key)) +
                 " bits: take a key on P-256, or one of RSA with 2048 bits or more");
  }
  if (X509_check_ca(leaf) == 1 && !issued_by_itself(leaf)) {
    return wrong("The first certificate, " + subject_of(leaf) +
                 ", is an authority's; the server's comes first");
  }
  if (facts.not_before_us() >= facts.not_after_us()) {
    return wrong("The certificate is never valid: it begins on " + rfc3339(facts.not_before_us()) +
                 " and ends on " + rfc3339(facts.not_after_us()));
  }
  if (question.now_us >= facts.not_after_us()) {
    return wrong("The certificate has expired on " + day_of(facts.not_after_us()) +
                 "; give one that is valid now");
  }
  if (question.now_us + question.clock_behind_us < facts.not_before_us()) {
    return wrong("The certificate is valid from " + rfc3339(facts.not_before_us()) +
                 " on only; is this machine's clock right?");
  }
  const std::vector<std::string> names(facts.names().begin(), facts.names().end());
  for (const auto& host : question.hosts) {
    const bool covered =
        std::ranges::any_of(names, [&](const auto& name) { return covers(name, host); });
    if (!covered) {
      return wrong("The certificate is for " + listed(names) + " and does not cover " + host);
    }
  }
  return {};
}

// Each one's signature by the next, and its time.
Result<void> check_links(const std::vector<X509Ptr>& chain, std::int64_t now_us) {
  for (std::size_t i = 0; i + 1 < chain.size(); ++i) {
    X509* below = chain[i].get();
    X509* above = chain[i + 1].get();
    const bool linked = X509_check_issued(above, below) == X509_V_OK &&
                        X509_verify(below, X509_get0_pubkey(above)) == 1;
    ERR_clear_error();
    if (!linked) {
      return wrong("The chain is not in order: certificate " + std::to_string(i + 2) + ", " +
                   subject_of(above) + ", did not issue certificate " + std::to_string(i + 1) +
                   ", whose issuer is " + issuer_of(below) +
                   "; each certificate is followed by its issuer");
    }
    if (now_us >= moment_of(X509_get0_notAfter(above))) {
      return wrong("The issuer's certificate, " + subject_of(above) + ", has expired on " +
                   day_of(moment_of(X509_get0_notAfter(above))));
    }
  }
  return {};
}

}  // namespace

pb::CertificateIssued facts_of(X509* leaf) {
  pb::CertificateIssued facts;
  facts.set_fingerprint(certificate_fingerprint(leaf));
  facts.set_serial(to_hex(serial_of(leaf)));
  facts.set_issuer(issuer_of(leaf));
  facts.set_not_before_us(moment_of(X509_get0_notBefore(leaf)));
  facts.set_not_after_us(moment_of(X509_get0_notAfter(leaf)));
  for (auto& name : names_in(leaf)) facts.add_names(std::move(name));
  return facts;
}

std::string subject_of(X509* certificate) { return name_of(X509_get_subject_name(certificate)); }
std::string issuer_of(X509* certificate) { return name_of(X509_get_issuer_name(certificate)); }

bool covers(std::string_view certificate_name, std::string_view host) {
  if (certificate_name == host) return true;
  if (!certificate_name.starts_with("*.")) return false;
  const auto dot = host.find('.');
  return dot != host.npos && dot > 0 && host.substr(dot) == certificate_name.substr(1);
}

Result<CheckedChain> check_chain(const ChainQuestion& question) {
  ATLAS_ASSERT(question.key != nullptr, "a chain is checked with its key");
  ATLAS_TRY(auto chain, parse_certificates(question.chain_pem));
  CheckedChain checked;
  checked.facts = facts_of(chain.front().get());
  ATLAS_TRYV(check_leaf(question, chain.front().get(), checked.facts));
  ATLAS_TRYV(check_links(chain, question.now_us));
  if (chain.size() > 1 && issued_by_itself(chain.back().get())) chain.pop_back();
  for (const auto& certificate : chain) checked.chain_pem += to_pem(certificate.get());
  return checked;
}

Result<std::string> make_csr(EVP_PKEY* key, const std::vector<std::string>& names) {
  std::string alternative;
  for (const auto& name : names) alternative += (alternative.empty() ? "DNS:" : ",DNS:") + name;
  const RequestPtr request(X509_REQ_new());
  STACK_OF(X509_EXTENSION)* extensions = sk_X509_EXTENSION_new_null();
  X509_EXTENSION* extension =
      X509V3_EXT_conf_nid(nullptr, nullptr, NID_subject_alt_name, alternative.c_str());
  const bool made = request && extensions != nullptr && extension != nullptr &&
                    sk_X509_EXTENSION_push(extensions, extension) > 0;
  if (!made) X509_EXTENSION_free(extension);
  const bool signed_now = made && X509_REQ_set_version(request.get(), X509_REQ_VERSION_1) == 1 &&
                          X509_REQ_set_pubkey(request.get(), key) == 1 &&
                          X509_REQ_add_extensions(request.get(), extensions) == 1 &&
                          X509_REQ_sign(request.get(), key, EVP_sha256()) > 0;
  sk_X509_EXTENSION_pop_free(extensions, X509_EXTENSION_free);
  unsigned char* bytes = nullptr;
  const int size = signed_now ? i2d_X509_REQ(request.get(), &bytes) : -1;
  if (size <= 0) {
    return fail(ErrorCode::internal, "OpenSSL makes no certificate request for " + listed(names),
                take_openssl_error());
  }
  std::string der(reinterpret_cast<const char*>(bytes), static_cast<std::size_t>(size));
  OPENSSL_free(bytes);
  return der;
}

std::string renewal_id_of(X509* leaf) {
  const AuthorityPtr authority(static_cast<AUTHORITY_KEYID*>(
      X509_get_ext_d2i(leaf, NID_authority_key_identifier, nullptr, nullptr)));
  if (!authority || authority->keyid == nullptr) return {};
  // The serial's DER content: a leading zero keeps a number positive, and is part of it.
  std::string bytes = serial_of(leaf);
  if (bytes.empty() || (static_cast<unsigned char>(bytes.front()) & 0x80U) != 0) {
    bytes.insert(bytes.begin(), '\0');
  }
  return base64url(text_of(authority->keyid)) + "." + base64url(bytes);
}

}  // namespace atlasflow::domains
