#include "tests/domains/es256_verify.hpp"

#include <memory>
#include <string>

#include <openssl/ecdsa.h>

namespace atlasflow::domains_test {
namespace {

using BignumPtr = std::unique_ptr<BIGNUM, OpensslFree<BN_free>>;
using SignaturePtr = std::unique_ptr<ECDSA_SIG, OpensslFree<ECDSA_SIG_free>>;
using DigestContext = std::unique_ptr<EVP_MD_CTX, OpensslFree<EVP_MD_CTX_free>>;

constexpr int k_coordinate_bytes = 32;

const unsigned char* in(std::string_view bytes) {
  return reinterpret_cast<const unsigned char*>(bytes.data());
}

}  // namespace

bool es256_verifies(EVP_PKEY* key, std::string_view protected_part, std::string_view payload_part,
                    std::string_view signature) {
  if (signature.size() != 2 * k_coordinate_bytes) return false;
  const SignaturePtr pair(ECDSA_SIG_new());
  BignumPtr r(BN_bin2bn(in(signature), k_coordinate_bytes, nullptr));
  BignumPtr s(BN_bin2bn(in(signature) + k_coordinate_bytes, k_coordinate_bytes, nullptr));
  if (!pair || !r || !s || ECDSA_SIG_set0(pair.get(), r.get(), s.get()) != 1) return false;
  static_cast<void>(r.release());  // the pair's now
  static_cast<void>(s.release());
  unsigned char* bytes = nullptr;
  const int size = i2d_ECDSA_SIG(pair.get(), &bytes);
  if (size <= 0) return false;
  const std::string der(reinterpret_cast<const char*>(bytes), static_cast<std::size_t>(size));
  OPENSSL_free(bytes);
  const std::string input = std::string(protected_part) + "." + std::string(payload_part);
  const DigestContext context(EVP_MD_CTX_new());
  const bool right =
      context && EVP_DigestVerifyInit(context.get(), nullptr, EVP_sha256(), nullptr, key) == 1 &&
      EVP_DigestVerify(context.get(), in(der), der.size(), in(input), input.size()) == 1;
  static_cast<void>(take_openssl_error());
  return right;
}

}  // namespace atlasflow::domains_test
