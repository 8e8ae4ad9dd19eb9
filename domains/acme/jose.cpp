#include "domains/acme/jose.hpp"

#include <memory>

#include <openssl/core_names.h>
#include <openssl/ecdsa.h>
#include <openssl/hmac.h>

#include "base/assert.hpp"
#include "base/base64.hpp"
#include "base/digest.hpp"

namespace atlasflow::domains {
namespace {

using BignumPtr = std::unique_ptr<BIGNUM, OpensslFree<BN_free>>;
using SignaturePtr = std::unique_ptr<ECDSA_SIG, OpensslFree<ECDSA_SIG_free>>;
using DigestContext = std::unique_ptr<EVP_MD_CTX, OpensslFree<EVP_MD_CTX_free>>;

constexpr int k_coordinate_bytes = 32;

const unsigned char* in(std::string_view bytes) {
  return reinterpret_cast<const unsigned char*>(bytes.data());
}
unsigned char* out(std::string& bytes) { return reinterpret_cast<unsigned char*>(bytes.data()); }

std::string coordinate(EVP_PKEY* key, const char* name) {
  BIGNUM* number = nullptr;
  ATLAS_ASSERT(EVP_PKEY_get_bn_param(key, name, &number) == 1, "an account's key is on P-256");
  const BignumPtr owned(number);
  std::string bytes(k_coordinate_bytes, '\0');
  ATLAS_ASSERT(BN_bn2binpad(number, out(bytes), k_coordinate_bytes) == k_coordinate_bytes,
               "a coordinate on P-256 has 32 bytes");
  return base64url(bytes);
}

std::string signing_input(std::string_view protected_part, std::string_view payload_part) {
  std::string input(protected_part);
  input += '.';
  input += payload_part;
  return input;
}

nlohmann::ordered_json flattened(std::string protected_part, std::string payload_part,
                                 std::string_view signature) {
  nlohmann::ordered_json jws;
  jws["protected"] = std::move(protected_part);
  jws["payload"] = std::move(payload_part);
  jws["signature"] = base64url(signature);
  return jws;
}

}  // namespace

nlohmann::ordered_json jwk_of(EVP_PKEY* key) {
  nlohmann::ordered_json jwk;
  jwk["crv"] = "P-256";
  jwk["kty"] = "EC";
  jwk["x"] = coordinate(key, OSSL_PKEY_PARAM_EC_PUB_X);
  jwk["y"] = coordinate(key, OSSL_PKEY_PARAM_EC_PUB_Y);
  return jwk;
}

std::string thumbprint_of(EVP_PKEY* key) {
  return base64url(bytes_of(Sha256().of(jwk_of(key).dump())));
}

std::string key_authorization(std::string_view token, EVP_PKEY* account_key) {
  return std::string(token) + "." + thumbprint_of(account_key);
}

std::string es256(EVP_PKEY* key, std::string_view protected_part, std::string_view payload_part) {
  const std::string input = signing_input(protected_part, payload_part);
  const DigestContext context(EVP_MD_CTX_new());
  std::size_t size = 0;
  std::string der;
  bool done = context &&
              EVP_DigestSignInit(context.get(), nullptr, EVP_sha256(), nullptr, key) == 1 &&
              EVP_DigestSign(context.get(), nullptr, &size, in(input), input.size()) == 1;
  if (done) {
    der.resize(size);
    done = EVP_DigestSign(context.get(), out(der), &size, in(input), input.size()) == 1;
  }
  ATLAS_ASSERT(done, "OpenSSL signs nothing with a key on P-256");
  const unsigned char* begin = in(der);
  const SignaturePtr signature(d2i_ECDSA_SIG(nullptr, &begin, static_cast<long>(size)));
  std::string raw(2 * k_coordinate_bytes, '\0');
  ATLAS_ASSERT(signature &&
                   BN_bn2binpad(ECDSA_SIG_get0_r(signature.get()), out(raw), k_coordinate_bytes) ==
                       k_coordinate_bytes &&
                   BN_bn2binpad(ECDSA_SIG_get0_s(signature.get()), out(raw) + k_coordinate_bytes,
                                k_coordinate_bytes) == k_coordinate_bytes,
               "a signature on P-256 is two numbers of 32 bytes");
  return raw;
}

std::string sign_es256(EVP_PKEY* key, const nlohmann::ordered_json& header,
                       std::string_view payload) {
  auto protected_part = base64url(header.dump());
  auto payload_part = base64url(payload);
  const auto signature = es256(key, protected_part, payload_part);
  return flattened(std::move(protected_part), std::move(payload_part), signature).dump();
}

nlohmann::ordered_json sign_hs256(std::string_view hmac_key, const nlohmann::ordered_json& header,
                                  std::string_view payload) {
  auto protected_part = base64url(header.dump());
  auto payload_part = base64url(payload);
  const auto input = signing_input(protected_part, payload_part);
  Digest digest{};
  unsigned size = 0;
  ATLAS_ASSERT(HMAC(EVP_sha256(), hmac_key.data(), static_cast<int>(hmac_key.size()), in(input),
                    input.size(), digest.data(), &size) != nullptr,
               "HMAC failed");
  return flattened(std::move(protected_part), std::move(payload_part), bytes_of(digest));
}

}  // namespace atlasflow::domains
