// A certificate authority for one test: a root, an intermediate, and the leaves that it signs for a
// key or a request, with the times and mistakes that the test wants.
#pragma once

#include <string>
#include <vector>

#include "base/x509.hpp"

namespace atlasflow::domains_test {

struct LeafWish {
  std::vector<std::string> names;
  long begins_in_s = -3600;
  long ends_in_s = 90L * 24 * 3600;
  std::string purpose = "serverAuth";
  bool must_staple = false;  // RFC 7633
};

class TestAuthority {
 public:
  explicit TestAuthority(const std::string& name = "Test");

  [[nodiscard]] X509Ptr sign(EVP_PKEY* public_key, const LeafWish& wish) const;
  // The public key of a request in DER; empty: it is none, or not signed by its key.
  [[nodiscard]] static KeyPtr key_of_request(const std::string& der);
  [[nodiscard]] static std::vector<std::string> names_of_request(const std::string& der);

  [[nodiscard]] std::string intermediate_pem() const { return to_pem(intermediate_.get()); }
  [[nodiscard]] std::string root_pem() const { return to_pem(root_.get()); }

 private:
  KeyPtr root_key_;
  X509Ptr root_;
  KeyPtr intermediate_key_;
  X509Ptr intermediate_;
};

// A leaf with its key and chain, as a CA would give it.
struct Issued {
  KeyPtr key;
  std::string leaf_pem;
  std::string chain_pem;  // leaf and intermediate
  std::string key_pem;
};
[[nodiscard]] Issued issue(const TestAuthority& authority, const LeafWish& wish);

}  // namespace atlasflow::domains_test
