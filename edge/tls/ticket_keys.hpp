// The keys that session tickets are sealed with (RFC 5077 section 4). One set a period, each made
// of the one before by a step that nobody can take back: all workers, and the process that comes
// next, have the same at the same time without telling each other, and who learns today's cannot
// read what was recorded two periods ago.
#pragma once

#include <array>
#include <cstdint>
#include <mutex>
#include <optional>

#include "base/error.hpp"

namespace atlasflow::edge {

// At least as long as a ticket is good for, as the keys of two periods are known at a time.
inline constexpr std::int64_t k_ticket_period_s = 4 * 3600;
inline constexpr std::int64_t k_ticket_lifetime_s = 2 * 3600;

// What the keys of a period, and the secrets of all later ones, are made of. Never to be logged.
struct TicketSecret {
  std::array<unsigned char, 32> bytes{};
  std::int64_t period = 0;  // since the epoch
};

// On to the period before that of now, so that the keys of this one and of the last are made of it;
// what was before is gone then. False: it was there. `now_s` may go backwards, the secret never
// does; an hour that is wrong costs resumptions and nothing else.
bool advance(TicketSecret& secret, std::int64_t now_s);

// By the machine's clock; a random one where there was none before. internal: the machine has no
// randomness.
[[nodiscard]] Result<TicketSecret> ticket_secret_of_now(const std::optional<TicketSecret>& before);

// What a process hands on. Any thread.
class KeptTicketSecret {
 public:
  KeptTicketSecret() = default;
  ~KeptTicketSecret();
  KeptTicketSecret(const KeptTicketSecret&) = delete;
  KeptTicketSecret& operator=(const KeptTicketSecret&) = delete;

  void set(const TicketSecret& secret);
  void advance(std::int64_t now_s);
  [[nodiscard]] TicketSecret get() const;

 private:
  mutable std::mutex mutex_;
  TicketSecret secret_;
};

struct TicketKey {
  std::array<unsigned char, 16> name{};  // as a ticket begins, in the clear
  std::array<unsigned char, 32> cipher{};
  std::array<unsigned char, 32> mac{};
};

// Those of the period and of the one before. One for each worker: used on its thread only.
class TicketKeys {
 public:
  explicit TicketKeys(const TicketSecret& secret);
  ~TicketKeys();
  TicketKeys(const TicketKeys&) = delete;
  TicketKeys& operator=(const TicketKeys&) = delete;
  TicketKeys(TicketKeys&&) = delete;
  TicketKeys& operator=(TicketKeys&&) = delete;

  [[nodiscard]] const TicketKey& current(std::int64_t now_s);
  // The one with that name (16 bytes), or nullptr. A ticket by another than current() is renewed.
  [[nodiscard]] const TicketKey* find(const unsigned char* name, std::int64_t now_s);
  // To be called now and then also when nobody asks, or old keys stay in memory. False: nothing
  // has changed.
  bool advance(std::int64_t now_s);

 private:
  TicketSecret before_;
  TicketKey keys_before_;
  TicketKey keys_;
};

}  // namespace atlasflow::edge
