// Who may push: a token per project, which is random and of which only the SHA-256 is kept, sent as
// the password of HTTP's Basic authentication (RFC 7617). Any thread.
#pragma once

#include <chrono>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>

#include "api/exchange.hpp"
#include "events/project.hpp"

namespace atlasflow::api {

// 256 random bits as text that a URL takes as it is.
[[nodiscard]] std::string new_push_token();
[[nodiscard]] std::string push_token_digest(std::string_view token);

struct BasicLogin {
  std::string user;
  std::string password;
};
// Of the field Authorization; nothing: it is missing, twice there or malformed.
[[nodiscard]] std::optional<BasicLogin> basic_login(const Request& request);

// Whether the token is that project's. `project` null: there is none, which takes as long to say.
[[nodiscard]] bool is_push_token(const ProjectState* project, std::string_view token);

// Counts failed logins by the address that they came from: too many of them are answered at once,
// and write no line into the log. A correct token is taken from there all the same, since 256
// random bits can't be guessed, and behind a proxy everybody has one address.
class FailedLogins {
 public:
  using Clock = std::chrono::steady_clock;
  // How long its wrong tokens count no more; 0: they do.
  [[nodiscard]] std::chrono::seconds wait_of(const std::string& address, Clock::time_point now);
  void note(const std::string& address, Clock::time_point now);

  static constexpr int k_failures_max = 10;  // in a window
  static constexpr std::chrono::seconds k_window{60};

 private:
  struct Count {
    Clock::time_point since;
    int failures = 0;
  };
  std::mutex mutex_;
  std::map<std::string, Count> counts_;  // bounded: of the newest addresses
};

}  // namespace atlasflow::api
