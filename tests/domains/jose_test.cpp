// JSON Web Signatures by the vectors of their RFCs.
#include "domains/acme/jose.hpp"

#include <gtest/gtest.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/param_build.h>

#include "base/base64.hpp"
#include "base/digest.hpp"
#include "tests/domains/es256_verify.hpp"

namespace atlasflow::domains {
namespace {

using domains_test::es256_verifies;
using ParameterBuilder = std::unique_ptr<OSSL_PARAM_BLD, OpensslFree<OSSL_PARAM_BLD_free>>;
using Parameters = std::unique_ptr<OSSL_PARAM, OpensslFree<OSSL_PARAM_free>>;
using KeyContext = std::unique_ptr<EVP_PKEY_CTX, OpensslFree<EVP_PKEY_CTX_free>>;
using BignumPtr = std::unique_ptr<BIGNUM, OpensslFree<BN_free>>;

// Of the members of a JWK.
KeyPtr key_of(const std::string& x, const std::string& y, const std::string& d) {
  const auto point = "\x04" + from_base64url(x).value() + from_base64url(y).value();
  const auto secret = from_base64url(d).value();
  const BignumPtr number(BN_bin2bn(reinterpret_cast<const unsigned char*>(secret.data()),
                                   static_cast<int>(secret.size()), nullptr));
  const ParameterBuilder builder(OSSL_PARAM_BLD_new());
  OSSL_PARAM_BLD_push_utf8_string(builder.get(), OSSL_PKEY_PARAM_GROUP_NAME, "P-256", 0);
  OSSL_PARAM_BLD_push_octet_string(builder.get(), OSSL_PKEY_PARAM_PUB_KEY, point.data(),
                                   point.size());
  OSSL_PARAM_BLD_push_BN(builder.get(), OSSL_PKEY_PARAM_PRIV_KEY, number.get());
  const Parameters parameters(OSSL_PARAM_BLD_to_param(builder.get()));
  const KeyContext context(EVP_PKEY_CTX_new_from_name(nullptr, "EC", nullptr));
  EVP_PKEY* key = nullptr;
  EVP_PKEY_fromdata_init(context.get());
  EVP_PKEY_fromdata(context.get(), &key, EVP_PKEY_KEYPAIR, parameters.get());
  return KeyPtr(key);
}

// RFC 7515 appendix A.3.1.
constexpr const char* k_x = "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU";
constexpr const char* k_y = "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0";
constexpr const char* k_d = "jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI";
constexpr const char* k_header = "eyJhbGciOiJFUzI1NiJ9";
constexpr const char* k_payload =
    "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFt"
    "cGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
constexpr const char* k_signature =
    "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";

TEST(Jose, the_signature_of_rfc_7515_a_3_verifies_and_one_bit_more_does_not) {
  const auto key = key_of(k_x, k_y, k_d);
  ASSERT_TRUE(key);
  const auto signature = from_base64url(k_signature).value();
  EXPECT_TRUE(es256_verifies(key.get(), k_header, k_payload, signature));
  auto changed = signature;
  changed[40] = static_cast<char>(changed[40] ^ 1);
  EXPECT_FALSE(es256_verifies(key.get(), k_header, k_payload, changed));
  EXPECT_FALSE(es256_verifies(key.get(), k_header, k_payload, signature.substr(1)));
  EXPECT_FALSE(es256_verifies(key.get(), k_payload, k_header, signature));
}

TEST(Jose, what_is_signed_with_the_key_of_rfc_7515_a_3_verifies) {
  const auto key = key_of(k_x, k_y, k_d);
  for (int i = 0; i < 300; ++i) {  // among them numbers that begin with zeros
    const auto signature = es256(key.get(), k_header, k_payload);
    ASSERT_EQ(signature.size(), 64U);
    ASSERT_TRUE(es256_verifies(key.get(), k_header, k_payload, signature));
  }
}

// RFC 7515 appendix A.1: an HMAC key, and what it makes of header and payload.
TEST(Jose, hs256_is_that_of_rfc_7515_a_1) {
  const auto mac_key =
      from_base64url(
          "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow")
          .value();
  nlohmann::ordered_json header;
  header["alg"] = "HS256";
  const auto jws = sign_hs256(mac_key, header, "{}");
  EXPECT_EQ(jws["protected"], "eyJhbGciOiJIUzI1NiJ9");
  EXPECT_EQ(jws["payload"], "e30");
  // By Python's hmac over "eyJhbGciOiJIUzI1NiJ9.e30": the RFC's own payload has line breaks.
  EXPECT_EQ(jws["signature"], "kV_0TaAytE8UYEw3uFsmhDVFEgvnO6S_dA8UnWQoxmU");
}

TEST(Jose, a_jwk_has_its_members_in_the_order_that_a_thumbprint_needs) {
  const auto key = key_of(k_x, k_y, k_d);
  EXPECT_EQ(jwk_of(key.get()).dump(),
            std::string(R"({"crv":"P-256","kty":"EC","x":")") + k_x + R"(","y":")" + k_y + R"("})");
  EXPECT_EQ(thumbprint_of(key.get()), "oKIywvGUpTVTyxMQ3bwIIeQUudfr_CkLMjCE19ECD-U");
  EXPECT_EQ(key_authorization("token", key.get()), "token." + thumbprint_of(key.get()));
}

// RFC 7638 section 3.1: its RSA key, as the section's step 2 writes it.
TEST(Jose, the_digest_of_rfc_7638_3_1_is_the_same) {
  const std::string jwk =
      R"({"e":"AQAB","kty":"RSA","n":"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAt)"
      R"(VT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl)"
      R"(93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5)"
      R"(hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1j)"
      R"(F44-csFCur-kEgU)"
      R"(8awapJzKnqDKgw"})";
  EXPECT_EQ(base64url(bytes_of(Sha256().of(jwk))), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
}

}  // namespace
}  // namespace atlasflow::domains
