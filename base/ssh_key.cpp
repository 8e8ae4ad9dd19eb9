#include "base/ssh_key.hpp"

#include <array>
#include <cstdint>

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>

#include "base/base64.hpp"
#include "base/digest.hpp"
#include "base/x509.hpp"

namespace atlasflow {
namespace {

constexpr std::size_t k_key_bytes = 32;
constexpr std::string_view k_type = "ssh-ed25519";
constexpr std::size_t k_padded_to = 8;  // the block size of the cipher "none"
constexpr std::size_t k_line_characters = 70;

// A text that is wiped. Room for all that is put together here is made at once, so that it never
// grows and leaves a copy behind.
struct Wiped {
  Wiped() { text.reserve(4096); }
  ~Wiped() { OPENSSL_cleanse(text.data(), text.size()); }
  Wiped(const Wiped&) = delete;
  Wiped& operator=(const Wiped&) = delete;
  std::string text;
};

void put_number(std::string& out, std::uint32_t number) {
  for (const unsigned shift : {24U, 16U, 8U, 0U}) {
    out.push_back(static_cast<char>((number >> shift) & 0xffU));
  }
}

// A "string" of RFC 4251 section 5.
void put(std::string& out, std::string_view bytes) {
  put_number(out, static_cast<std::uint32_t>(bytes.size()));
  out += bytes;
}

std::string wire_form(std::string_view public_bytes) {
  std::string out;
  put(out, k_type);
  put(out, public_bytes);
  return out;
}

tl::unexpected<Error> no_key() {
  return fail(ErrorCode::internal, "no SSH key could be made; see whether OpenSSL works here");
}

struct Halves {
  std::array<unsigned char, k_key_bytes> seed{};
  std::array<unsigned char, k_key_bytes> open{};
  Halves() = default;
  ~Halves() { OPENSSL_cleanse(seed.data(), seed.size()); }
  Halves(const Halves&) = delete;
  Halves& operator=(const Halves&) = delete;
};

bool generate(Halves& halves) {
  const KeyPtr key(EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519"));
  std::size_t seed_bytes = halves.seed.size();
  std::size_t open_bytes = halves.open.size();
  return key != nullptr &&
         EVP_PKEY_get_raw_private_key(key.get(), halves.seed.data(), &seed_bytes) == 1 &&
         EVP_PKEY_get_raw_public_key(key.get(), halves.open.data(), &open_bytes) == 1 &&
         seed_bytes == k_key_bytes && open_bytes == k_key_bytes;
}

template <std::size_t Size>
std::string_view text_of(const std::array<unsigned char, Size>& bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace

Result<SshKey> make_ssh_key(std::string_view comment) {
  Halves halves;
  std::array<unsigned char, 4> check{};
  if (!generate(halves) || RAND_bytes(check.data(), check.size()) != 1) return no_key();
  const auto wire = wire_form(text_of(halves.open));

  // What a passphrase would encrypt. The number that stands there twice tells whether it was right.
  Wiped secret;
  secret.text += text_of(check);
  secret.text += text_of(check);
  put(secret.text, k_type);
  put(secret.text, text_of(halves.open));
  put_number(secret.text, 2 * k_key_bytes);
  secret.text += text_of(halves.seed);
  secret.text += text_of(halves.open);
  put(secret.text, comment);
  for (char pad = 1; secret.text.size() % k_padded_to != 0; ++pad) secret.text.push_back(pad);

  Wiped whole;
  whole.text += std::string_view("openssh-key-v1\0", 15);
  put(whole.text, "none");  // cipher
  put(whole.text, "none");  // key derivation
  put(whole.text, "");      // its options
  put_number(whole.text, 1);
  put(whole.text, wire);
  put(whole.text, secret.text);

  Wiped encoded;
  encoded.text = base64(whole.text);  // made in one piece
  Wiped pem;
  pem.text += "-----BEGIN OPENSSH PRIVATE KEY-----\n";
  for (std::size_t at = 0; at < encoded.text.size(); at += k_line_characters) {
    pem.text += std::string_view(encoded.text).substr(at, k_line_characters);
    pem.text += '\n';
  }
  pem.text += "-----END OPENSSH PRIVATE KEY-----\n";
  return SshKey{std::string(k_type) + " " + base64(wire) + " " + std::string(comment),
                ssh_fingerprint(wire), Secret(std::string(pem.text))};
}

std::string ssh_fingerprint(std::string_view key) {
  Sha256 hash;
  auto text = base64(bytes_of(hash.of(key)));
  text.resize(text.find('='));
  return "SHA256:" + text;
}

}  // namespace atlasflow
