#include "domains/certificates/upload.hpp"

#include <memory>
#include <utility>

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>

#include "domains/certificates/chain.hpp"

namespace atlasflow::domains {
namespace {

using StorePtr = std::unique_ptr<X509_STORE, OpensslFree<X509_STORE_free>>;
using VerifyPtr = std::unique_ptr<X509_STORE_CTX, OpensslFree<X509_STORE_CTX_free>>;

constexpr int k_rsa_bits_min = 2048;
// A signature with more takes a worker of the edge several milliseconds, all of its other clients
// waiting.
constexpr int k_rsa_bits_max = 4096;
// 112 bits of security for every key and signature of the chain (OpenSSL's auth level 2).
constexpr int k_auth_level = 2;
constexpr std::int64_t k_second_us = 1'000'000;

// The bytes of the certificates stay the parsed chain's.
struct Borrowed {
  Borrowed() : stack(sk_X509_new_null()) {}
  ~Borrowed() { sk_X509_free(stack); }
  Borrowed(const Borrowed&) = delete;
  Borrowed& operator=(const Borrowed&) = delete;
  STACK_OF(X509) * stack;
};

tl::unexpected<Error> wrong(std::string sentence) {
  return fail(ErrorCode::invalid_argument, std::move(sentence));
}

// Browsers offer signatures of RSA and of ECDSA on these two curves, and no others that count.
Result<void> check_key(EVP_PKEY* key) {
  constexpr std::string_view k_expected =
      "; take a key on P-256 or P-384, or RSA of 2048 to 4096 bits";
  const std::string expected(k_expected);
  if (EVP_PKEY_is_a(key, "RSA") == 1) {
    const int bits = EVP_PKEY_get_bits(key);
    if (bits >= k_rsa_bits_min && bits <= k_rsa_bits_max) return {};
    return wrong("The private key is RSA of " + std::to_string(bits) + " bits, which is too " +
                 (bits < k_rsa_bits_min ? "weak" : "slow for every handshake") + expected);
  }
  if (EVP_PKEY_is_a(key, "EC") != 1) {
    const char* type = EVP_PKEY_get0_type_name(key);
    return wrong("The private key is of type " + std::string(type == nullptr ? "?" : type) +
                 ", which browsers do not take" + expected);
  }
  std::string curve(80, '\0');
  std::size_t size = 0;
  if (EVP_PKEY_get_group_name(key, curve.data(), curve.size(), &size) != 1) size = 0;
  ERR_clear_error();
  curve.resize(size);
  if (curve == "prime256v1" || curve == "P-256" || curve == "secp384r1" || curve == "P-384") {
    return {};
  }
  return wrong("The private key is on the curve " + (curve.empty() ? "?" : curve) +
               ", which not all browsers take" + expected);
}

bool is_by_itself(X509* certificate) {
  const bool itself = X509_check_issued(certificate, certificate) == X509_V_OK;
  ERR_clear_error();
  return itself;
}

bool is_about_a_missing_issuer(int error) {
  return error == X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT ||
         error == X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY ||
         error == X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE;
}

Result<StorePtr> known_roots(const std::string& file) {
  StorePtr store(X509_STORE_new());
  const bool loaded =
      store && (file.empty() ? X509_STORE_set_default_paths(store.get()) == 1
                             : X509_STORE_load_file(store.get(), file.c_str()) == 1);
  if (!loaded) {
    return fail(ErrorCode::internal, "the authorities that this machine knows can't be read",
                take_openssl_error());
  }
  ERR_clear_error();
  return store;
}

// As a browser builds it: to a root that is known, or to the one that was given with it.
Result<void> check_path(const UploadQuestion& question, const std::vector<X509Ptr>& chain) {
  ATLAS_TRY(const auto roots, known_roots(question.roots_file));
  X509* last = chain.back().get();
  if (is_by_itself(last)) X509_STORE_add_cert(roots.get(), last);
  const Borrowed untrusted;
  for (std::size_t i = 1; i < chain.size(); ++i) sk_X509_push(untrusted.stack, chain[i].get());
  const VerifyPtr verify(X509_STORE_CTX_new());
  if (!verify ||
      X509_STORE_CTX_init(verify.get(), roots.get(), chain.front().get(), untrusted.stack) != 1) {
    return fail(ErrorCode::internal, "OpenSSL verifies no chain", take_openssl_error());
  }
  X509_STORE_CTX_set_purpose(verify.get(), X509_PURPOSE_SSL_SERVER);
  X509_VERIFY_PARAM* rules = X509_STORE_CTX_get0_param(verify.get());
  X509_VERIFY_PARAM_set_auth_level(rules, k_auth_level);
  X509_VERIFY_PARAM_set_time(rules, question.now_us / k_second_us);
  const bool verified = X509_verify_cert(verify.get()) == 1;
  ERR_clear_error();
  if (verified) return {};
  const int error = X509_STORE_CTX_get_error(verify.get());
  if (is_about_a_missing_issuer(error)) {
    return wrong("The chain is not complete: it ends with " + subject_of(last) +
                 ", and its issuer, " + issuer_of(last) +
                 ", is no authority that this machine knows; append the issuer's certificate, up "
                 "to the root when that is one of your own");
  }
  const int depth = X509_STORE_CTX_get_error_depth(verify.get());
  X509* at = X509_STORE_CTX_get_current_cert(verify.get());
  return wrong("The chain is none that browsers take: of certificate " + std::to_string(depth + 1) +
               (at == nullptr ? "" : ", " + subject_of(at)) + ", OpenSSL says '" +
               X509_verify_cert_error_string(error) +
               "'; it takes a certificate for servers, whose issuers are authorities, with keys "
               "and signatures of 112 bits of security or more");
}

}  // namespace

Result<StoredCertificate> check_upload(const UploadQuestion& question) {
  const auto key = parse_private_key(question.key_pem);
  if (!key) return wrong("The private key can't be taken: " + key.error().message);
  auto chain = parse_certificates(question.chain_pem);
  if (!chain) return wrong("The certificate can't be taken: " + chain.error().message);
  ATLAS_TRYV(check_key(key->get()));
  ChainQuestion asked;
  asked.chain_pem = question.chain_pem;
  asked.key = key->get();
  asked.hosts = {question.host};
  asked.now_us = question.now_us;
  ATLAS_TRY(auto checked, check_chain(asked));
  ATLAS_TRYV(check_path(question, *chain));
  if (X509_get_ext_by_NID(chain->front().get(), NID_tlsfeature, -1) >= 0) {
    return wrong(
        "The certificate demands OCSP stapling (must-staple, RFC 7633), which this server does "
        "not do; browsers would refuse it: get one without that extension");
  }
  return StoredCertificate{std::move(checked.chain_pem), to_pem(key->get()),
                           std::move(checked.facts)};
}

}  // namespace atlasflow::domains
