// A certificate authority of one test, over plain HTTP on loopback: it keeps the protocol (each
// signature and nonce is checked), and does what no real one does on request: it limits, fails,
// hesitates and talks nonsense.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "domains/acme/issuer.hpp"
#include "tests/base/http_peer.hpp"
#include "tests/domains/test_authority.hpp"

namespace atlasflow::domains_test {

// Keeps what an edge would answer.
class TestBoard final : public domains::ChallengeBoard {
 public:
  Result<void> put(const std::string& host, const std::string& token,
                   const std::string& key_authorization) override;
  Result<void> put_in_tls(const std::string& host, const std::string& token,
                          const std::string& key_authorization) override {
    ++puts_in_tls;
    return put(host, token, key_authorization);
  }
  void remove(const std::string& host, const std::string& token) override;
  [[nodiscard]] std::optional<std::string> answer(const std::string& host,
                                                  const std::string& token) const;
  [[nodiscard]] std::size_t size() const;
  [[nodiscard]] std::size_t puts() const;

  std::atomic<int> puts_in_tls{0};

 private:
  mutable std::mutex mutex_;
  std::map<std::pair<std::string, std::string>, std::string> answers_;
  std::size_t puts_ = 0;
};

class FakeCa {
 public:
  explicit FakeCa(const TestBoard& board);

  [[nodiscard]] std::string directory() const { return base() + "/dir"; }

  // ---- what it does; set before it is asked ----

  // The answer to the n-th request (from 1) of this path's first part, "/order"; empty: its own.
  std::function<std::string(const std::string& part, int number)> instead;
  int processing_polls = 0;           // of an order, before it is valid
  int pending_polls = 0;              // of an authorization
  std::string retry_after;            // with states that are no end
  bool over_http = true;              // whether it offers HTTP-01
  bool in_tls = false;                // and TLS-ALPN-01
  std::set<std::string> unreachable;  // by these challenges it can't connect
  std::set<std::string> profiles;     // that its directory names
  bool lists_orders = true;
  bool external_account_required = false;
  bool has_terms = false;
  bool changes_keys = true;              // of accounts
  bool keys_are_taken = false;           // each that an account wants is another account's by then
  bool loses_key_change_answer = false;  // it has changed it
  bool is_slow_to_change_keys = false;   // it does when end_slow_key_change() says so
  bool wrong_key = false;                // the certificate is for another one
  std::set<std::string> replaced;        // what a second order must not replace
  LeafWish leaf;                         // its times
  // TXT records at a name, as it sees them; it looks when a DNS-01 challenge is accepted.
  std::function<std::vector<std::string>(const std::string& name)> texts;
  // A whole answer to a question for the renewal of the certificate with that id.
  std::function<std::string(const std::string& id)> renewal;

  // ---- what it saw ----

  [[nodiscard]] int orders() const;
  [[nodiscard]] int accounts() const;
  [[nodiscard]] int key_changes() const;
  [[nodiscard]] int certificates() const;
  [[nodiscard]] int asked(const std::string& part) const;
  [[nodiscard]] std::vector<std::string> replaces() const;
  [[nodiscard]] std::vector<std::string> ordered_profiles() const;
  [[nodiscard]] nlohmann::json account_request() const;
  void forget_accounts();
  void end_slow_key_change();

 private:
  struct Order {
    std::vector<std::string> names;
    std::vector<std::string> statuses;  // of the authorizations
    std::vector<int> polls;
    std::vector<std::string> accepted;  // which type of challenge
    std::string status = "pending";
    std::string problem;  // of a challenge
    std::string chain;
    int processing = 0;
  };

  [[nodiscard]] std::string base() const { return "http://" + peer_->authority(); }
  [[nodiscard]] std::string answer(const std::string& request);
  [[nodiscard]] std::string own_answer(const std::string& part, std::size_t number,
                                       std::size_t member, const nlohmann::json& payload,
                                       const nlohmann::json& header);
  [[nodiscard]] std::string account_answer(const nlohmann::json& payload,
                                           const nlohmann::json& header);
  [[nodiscard]] std::string change_key(const nlohmann::json& inner, const nlohmann::json& outer);
  void set_key(std::size_t at, const std::string& thumbprint, const nlohmann::json& jwk);
  [[nodiscard]] std::string new_order(const nlohmann::json& payload);
  [[nodiscard]] std::string order_answer(std::size_t number);
  [[nodiscard]] std::string authorization_answer(std::size_t number, std::size_t member);
  void look_at_challenge(std::size_t number, std::size_t member);
  [[nodiscard]] bool is_proved(const Order& order, const std::string& token,
                               std::size_t member) const;
  [[nodiscard]] std::string finalize(std::size_t number, const nlohmann::json& payload);
  [[nodiscard]] std::string respond(int status, const std::string& body,
                                    const std::string& fields = {});
  [[nodiscard]] std::string problem(int status, const std::string& type, const std::string& detail);

  const TestBoard& board_;
  TestAuthority authority_;
  mutable std::mutex mutex_;
  std::vector<Order> orders_;
  std::map<std::string, int> asked_;
  std::vector<std::string> replaces_;
  std::vector<std::string> ordered_profiles_;
  std::set<std::string> nonces_;
  std::vector<std::string> thumbprints_;  // of the accounts
  std::vector<nlohmann::json> keys_;
  nlohmann::json account_request_;
  int nonce_count_ = 0;
  int key_changes_ = 0;
  std::function<void()> late_key_change_;
  std::unique_ptr<base_test::HttpPeer> peer_;  // last: it calls the rest
};

// A whole answer.
[[nodiscard]] std::string http_answer(int status, const std::string& body,
                                      const std::string& fields = {});

}  // namespace atlasflow::domains_test
