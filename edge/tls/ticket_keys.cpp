#include "edge/tls/ticket_keys.hpp"

#include <algorithm>
#include <cstring>
#include <ctime>
#include <string_view>

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>

#include "base/assert.hpp"

namespace atlasflow::edge {
namespace {

// A wrong clock may ask for more steps than this; then the keys are those of a period long ago for
// a while, which is as good.
constexpr std::int64_t k_steps_max = 10'000;

using Bytes = std::array<unsigned char, 32>;

Bytes derive(const Bytes& secret, std::string_view what) {
  Bytes made{};
  unsigned bytes = 0;
  const bool done = HMAC(EVP_sha256(), secret.data(), static_cast<int>(secret.size()),
                         reinterpret_cast<const unsigned char*>(what.data()), what.size(),
                         made.data(), &bytes) != nullptr;
  ATLAS_ASSERT(done && bytes == made.size(), "a digest that OpenSSL always has");
  return made;
}

TicketSecret next(const TicketSecret& secret) {
  return {derive(secret.bytes, "atlasflow ticket: next"), secret.period + 1};
}

TicketKey keys_of(const TicketSecret& secret) {
  TicketKey key;
  const Bytes name = derive(secret.bytes, "atlasflow ticket: name");
  std::copy_n(name.begin(), key.name.size(), key.name.begin());
  key.cipher = derive(secret.bytes, "atlasflow ticket: cipher");
  key.mac = derive(secret.bytes, "atlasflow ticket: mac");
  return key;
}

std::int64_t period_of(std::int64_t now_s) { return now_s / k_ticket_period_s; }

}  // namespace

bool advance(TicketSecret& secret, std::int64_t now_s) {
  const std::int64_t steps = period_of(now_s) - 1 - secret.period;
  if (steps <= 0) return false;
  for (std::int64_t step = std::min(steps, k_steps_max); step > 0; --step) secret = next(secret);
  return true;
}

Result<TicketSecret> ticket_secret_of_now(const std::optional<TicketSecret>& before) {
  const std::int64_t now_s = std::time(nullptr);
  TicketSecret secret;
  if (before) {
    secret = *before;
    advance(secret, now_s);
    return secret;
  }
  secret.period = period_of(now_s) - 1;
  if (RAND_bytes(secret.bytes.data(), static_cast<int>(secret.bytes.size())) != 1) {
    return fail(ErrorCode::internal, "the machine has no randomness for TLS ticket keys");
  }
  return secret;
}

KeptTicketSecret::~KeptTicketSecret() { OPENSSL_cleanse(&secret_, sizeof secret_); }

void KeptTicketSecret::set(const TicketSecret& secret) {
  const std::lock_guard lock(mutex_);
  secret_ = secret;
}

void KeptTicketSecret::advance(std::int64_t now_s) {
  const std::lock_guard lock(mutex_);
  edge::advance(secret_, now_s);
}

TicketSecret KeptTicketSecret::get() const {
  const std::lock_guard lock(mutex_);
  return secret_;
}

TicketKeys::TicketKeys(const TicketSecret& secret)
    : before_(secret), keys_before_(keys_of(secret)), keys_(keys_of(next(secret))) {}

TicketKeys::~TicketKeys() {
  OPENSSL_cleanse(&before_, sizeof before_);
  OPENSSL_cleanse(&keys_before_, sizeof keys_before_);
  OPENSSL_cleanse(&keys_, sizeof keys_);
}

bool TicketKeys::advance(std::int64_t now_s) {
  if (!edge::advance(before_, now_s)) return false;
  keys_before_ = keys_of(before_);
  keys_ = keys_of(next(before_));
  return true;
}

const TicketKey& TicketKeys::current(std::int64_t now_s) {
  advance(now_s);
  return keys_;
}

const TicketKey* TicketKeys::find(const unsigned char* name, std::int64_t now_s) {
  advance(now_s);
  for (const TicketKey* key : {&keys_, &keys_before_}) {
    if (std::memcmp(name, key->name.data(), key->name.size()) == 0) return key;
  }
  return nullptr;
}

}  // namespace atlasflow::edge
