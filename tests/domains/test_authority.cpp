#include "tests/domains/test_authority.hpp"

#include <memory>

#include <openssl/rand.h>
#include <openssl/x509v3.h>

namespace atlasflow::domains_test {
namespace {

using ExtensionPtr = std::unique_ptr<X509_EXTENSION, OpensslFree<X509_EXTENSION_free>>;
using RequestPtr = std::unique_ptr<X509_REQ, OpensslFree<X509_REQ_free>>;

void add_extension(X509* certificate, X509* issuer, int nid, const std::string& value) {
  X509V3_CTX context;
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  X509V3_set_ctx_nodb(&context);
  const ExtensionPtr extension(X509V3_EXT_conf_nid(nullptr, &context, nid, value.c_str()));
  X509_add_ext(certificate, extension.get(), -1);
}

X509Ptr make(EVP_PKEY* subject_key, const std::string& name, long begins_in_s, long ends_in_s) {
  X509Ptr made(X509_new());
  X509_set_version(made.get(), X509_VERSION_3);
  std::uint64_t serial = 0;
  RAND_bytes(reinterpret_cast<unsigned char*>(&serial), sizeof serial);
  ASN1_INTEGER_set_uint64(X509_get_serialNumber(made.get()), serial);
  X509_gmtime_adj(X509_getm_notBefore(made.get()), begins_in_s);
  X509_gmtime_adj(X509_getm_notAfter(made.get()), ends_in_s);
  if (!name.empty()) {
    X509_NAME_add_entry_by_txt(X509_get_subject_name(made.get()), "CN", MBSTRING_UTF8,
                               reinterpret_cast<const unsigned char*>(name.c_str()), -1, -1, 0);
  }
  X509_set_pubkey(made.get(), subject_key);
  return made;
}

RequestPtr request_of(const std::string& der) {
  const auto* bytes = reinterpret_cast<const unsigned char*>(der.data());
  RequestPtr request(d2i_X509_REQ(nullptr, &bytes, static_cast<long>(der.size())));
  if (!request || X509_REQ_verify(request.get(), X509_REQ_get0_pubkey(request.get())) != 1) {
    return nullptr;
  }
  return request;
}

}  // namespace

TestAuthority::TestAuthority(const std::string& name)
    : root_key_(make_p256_key().value()),
      root_(make(root_key_.get(), name + " Root", -86'400, 86'400L * 3650)),
      intermediate_key_(make_p256_key().value()),
      intermediate_(
          make(intermediate_key_.get(), name + " Intermediate", -86'400, 86'400L * 1825)) {
  X509_set_issuer_name(root_.get(), X509_get_subject_name(root_.get()));
  X509_set_issuer_name(intermediate_.get(), X509_get_subject_name(root_.get()));
  for (X509* each : {root_.get(), intermediate_.get()}) {
    add_extension(each, root_.get(), NID_basic_constraints, "critical,CA:TRUE");
    add_extension(each, root_.get(), NID_key_usage, "critical,keyCertSign,cRLSign");
    add_extension(each, root_.get(), NID_subject_key_identifier, "hash");
    X509_sign(each, root_key_.get(), EVP_sha256());
  }
}

X509Ptr TestAuthority::sign(EVP_PKEY* public_key, const LeafWish& wish) const {
  auto leaf = make(public_key, "", wish.begins_in_s, wish.ends_in_s);
  X509_set_issuer_name(leaf.get(), X509_get_subject_name(intermediate_.get()));
  std::string names;
  for (const auto& name : wish.names) names += (names.empty() ? "DNS:" : ",DNS:") + name;
  add_extension(leaf.get(), intermediate_.get(), NID_basic_constraints, "critical,CA:FALSE");
  add_extension(leaf.get(), intermediate_.get(), NID_ext_key_usage, wish.purpose);
  if (wish.must_staple) {
    add_extension(leaf.get(), intermediate_.get(), NID_tlsfeature, "status_request");
  }
  add_extension(leaf.get(), intermediate_.get(), NID_authority_key_identifier, "keyid:always");
  if (!names.empty()) {
    add_extension(leaf.get(), intermediate_.get(), NID_subject_alt_name, "critical," + names);
  }
  X509_sign(leaf.get(), intermediate_key_.get(), EVP_sha256());
  return leaf;
}

KeyPtr TestAuthority::key_of_request(const std::string& der) {
  const auto request = request_of(der);
  return request ? KeyPtr(X509_REQ_get_pubkey(request.get())) : nullptr;
}

std::vector<std::string> TestAuthority::names_of_request(const std::string& der) {
  std::vector<std::string> names;
  const auto request = request_of(der);
  if (!request) return names;
  STACK_OF(X509_EXTENSION)* extensions = X509_REQ_get_extensions(request.get());
  auto* list = static_cast<GENERAL_NAMES*>(
      X509V3_get_d2i(extensions, NID_subject_alt_name, nullptr, nullptr));
  for (int i = 0; i < sk_GENERAL_NAME_num(list); ++i) {
    const auto* name = sk_GENERAL_NAME_value(list, i)->d.dNSName;
    names.emplace_back(reinterpret_cast<const char*>(ASN1_STRING_get0_data(name)),
                       static_cast<std::size_t>(ASN1_STRING_length(name)));
  }
  GENERAL_NAMES_free(list);
  sk_X509_EXTENSION_pop_free(extensions, X509_EXTENSION_free);
  return names;
}

Issued issue(const TestAuthority& authority, const LeafWish& wish) {
  Issued issued;
  issued.key = make_p256_key().value();
  issued.leaf_pem = to_pem(authority.sign(issued.key.get(), wish).get());
  issued.chain_pem = issued.leaf_pem + authority.intermediate_pem();
  issued.key_pem = to_pem(issued.key.get());
  return issued;
}

}  // namespace atlasflow::domains_test
