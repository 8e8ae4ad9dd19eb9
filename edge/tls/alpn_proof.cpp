#include "edge/tls/alpn_proof.hpp"

#include <openssl/asn1.h>
#include <openssl/objects.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>

#include "base/digest.hpp"

namespace atlasflow::edge {
namespace {

constexpr long k_second_of_day = 86'400;
constexpr const char* k_identifier_oid = "1.3.6.1.5.5.7.1.31";  // id-pe-acmeIdentifier

using ObjectPtr = std::unique_ptr<ASN1_OBJECT, OpensslFree<ASN1_OBJECT_free>>;
using OctetsPtr = std::unique_ptr<ASN1_OCTET_STRING, OpensslFree<ASN1_OCTET_STRING_free>>;
using ExtensionPtr = std::unique_ptr<X509_EXTENSION, OpensslFree<X509_EXTENSION_free>>;

bool set_bytes(ASN1_OCTET_STRING* to, std::string_view bytes) {
  return to != nullptr &&
         ASN1_OCTET_STRING_set(to, reinterpret_cast<const unsigned char*>(bytes.data()),
                               static_cast<int>(bytes.size())) == 1;
}

// SubjectAltName and acmeIdentifier, each as the DER of what is in its extension.
bool add(X509* leaf, ASN1_OBJECT* type, bool critical, std::string_view der) {
  const OctetsPtr value(ASN1_OCTET_STRING_new());
  if (type == nullptr || !set_bytes(value.get(), der)) return false;
  const ExtensionPtr extension(
      X509_EXTENSION_create_by_OBJ(nullptr, type, critical ? 1 : 0, value.get()));
  return extension && X509_add_ext(leaf, extension.get(), -1) == 1;
}

// GeneralNames with one dNSName (RFC 5280 section 4.2.1.6). A host is at most 253 bytes long.
std::string names_der(const std::string& host) {
  const auto with_length = [](char tag, const std::string& content) {
    std::string der(1, tag);
    if (content.size() > 255)
      der += '\x82' + std::string(1, static_cast<char>(content.size() >> 8U));
    if (content.size() > 127 && content.size() <= 255) der += '\x81';
    return der + static_cast<char>(content.size() & 255U) + content;
  };
  return with_length('\x30', with_length('\x82', host));
}

}  // namespace

Result<std::shared_ptr<const Certificate>> make_alpn_proof(const std::string& host,
                                                           std::string_view key_authorization) {
  auto made = std::make_shared<Certificate>();
  ATLAS_TRY(made->key, make_p256_key());
  made->leaf.reset(X509_new());
  X509* leaf = made->leaf.get();
  std::uint64_t serial = 0;
  const bool has_serial = RAND_bytes(reinterpret_cast<unsigned char*>(&serial), sizeof serial) == 1;
  const std::string identifier =
      std::string("\x04\x20") + std::string(bytes_of(Sha256().of(key_authorization)));
  const ObjectPtr identifier_type(OBJ_txt2obj(k_identifier_oid, 1));
  if (leaf == nullptr || !has_serial || X509_set_version(leaf, X509_VERSION_3) != 1 ||
      ASN1_INTEGER_set_uint64(X509_get_serialNumber(leaf), serial >> 1U) != 1 ||
      X509_gmtime_adj(X509_getm_notBefore(leaf), -k_second_of_day) == nullptr ||
      X509_gmtime_adj(X509_getm_notAfter(leaf), 7 * k_second_of_day) == nullptr ||
      X509_set_pubkey(leaf, made->key.get()) != 1 ||
      !add(leaf, OBJ_nid2obj(NID_subject_alt_name), true, names_der(host)) ||
      !add(leaf, identifier_type.get(), true, identifier) ||
      X509_sign(leaf, made->key.get(), EVP_sha256()) <= 0) {
    return fail(ErrorCode::internal, "cannot make the proof for " + host, take_openssl_error());
  }
  return made;
}

bool offers_acme_alone(std::string_view extension) {
  // The list's length, then the name's, then the name (RFC 7301 section 3.1).
  constexpr std::string_view k_alone(
      "\0\x0b\x0a"
      "acme-tls/1",
      13);
  return extension == k_alone;
}

}  // namespace atlasflow::edge
