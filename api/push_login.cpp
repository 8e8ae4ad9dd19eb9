#include "api/push_login.hpp"

#include <algorithm>

#include <openssl/crypto.h>

#include "api/random.hpp"
#include "base/base64.hpp"
#include "base/digest.hpp"
#include "http/message.hpp"

namespace atlasflow::api {
namespace {

constexpr std::size_t k_token_bytes = 32;
constexpr std::string_view k_prefix = "afp_";  // tells people and scanners of secrets what it is
constexpr std::size_t k_login_bytes_max = 1'024;
constexpr std::size_t k_addresses_max = 4'096;

}  // namespace

std::string new_push_token() {
  return std::string(k_prefix) + base64url(random_bytes(k_token_bytes));
}

std::string push_token_digest(std::string_view token) { return sha256_hex(token); }

std::optional<BasicLogin> basic_login(const Request& request) {
  if (request.count_fields("Authorization") != 1) return std::nullopt;
  const std::string_view field = *request.field("Authorization");
  const auto space = field.find(' ');
  if (field.size() > k_login_bytes_max || space == std::string_view::npos ||
      !http::equal_ignoring_case(field.substr(0, space), "Basic")) {
    return std::nullopt;
  }
  auto text = field.substr(space + 1);
  text.remove_prefix(std::min(text.find_first_not_of(' '), text.size()));
  const auto plain = from_base64(text);
  if (!plain) return std::nullopt;
  const auto colon = plain->find(':');
  if (colon == std::string::npos) return std::nullopt;
  return BasicLogin{plain->substr(0, colon), plain->substr(colon + 1)};
}

bool is_push_token(const ProjectState* project, std::string_view token) {
  const auto kept = project == nullptr ? std::nullopt : digest_of_hex(project->push_token_digest);
  const auto given = Sha256().of(token);
  const auto& other = kept ? *kept : Digest{};
  const bool fits = CRYPTO_memcmp(given.data(), other.data(), given.size()) == 0;
  return fits && kept.has_value();
}

std::chrono::seconds FailedLogins::wait_of(const std::string& address, Clock::time_point now) {
  const std::lock_guard lock(mutex_);
  const auto found = counts_.find(address);
  if (found == counts_.end() || found->second.failures < k_failures_max) return {};
  const auto left = found->second.since + k_window - now;
  return std::max(std::chrono::ceil<std::chrono::seconds>(left), std::chrono::seconds(0));
}

void FailedLogins::note(const std::string& address, Clock::time_point now) {
  const std::lock_guard lock(mutex_);
  auto& count = counts_[address];
  if (count.failures == 0 || now - count.since >= k_window) count = {now, 0};
  ++count.failures;
  if (counts_.size() <= k_addresses_max) return;
  const auto oldest =
      std::ranges::min_element(counts_, {}, [](const auto& each) { return each.second.since; });
  counts_.erase(oldest);
}

}  // namespace atlasflow::api
