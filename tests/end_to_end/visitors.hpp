// Visitors of an app who never stop asking: some on one connection that they keep, some on a new
// one each time, all over TLS with the certificate checked. Owned by the test's thread.
#pragma once

#include <atomic>
#include <chrono>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "tests/end_to_end/server_fixture.hpp"

namespace atlasflow::end_to_end {

class Visitors {
 public:
  // How many there are, and how long each waits after an answer: the app is emulated, and not what
  // is measured.
  struct Pace {
    int of_each_kind = 2;
    std::chrono::milliseconds pause{5};
  };
  // Any answer but 200 with this body is a failure, and so is none.
  Visitors(const ServerFixture& server, std::string host, std::string body, Pace pace);
  Visitors(const ServerFixture& server, std::string host, std::string body)
      : Visitors(server, std::move(host), std::move(body), Pace()) {}
  ~Visitors();
  Visitors(const Visitors&) = delete;
  Visitors& operator=(const Visitors&) = delete;

  [[nodiscard]] int served() const { return served_.load(); }

  struct Outcome {
    int served = 0;
    int failed = 0;
    std::string first_failure;
  };
  [[nodiscard]] Outcome leave();

 private:
  void visit(bool keep_connection);

  const std::string host_;
  const std::string body_;
  const std::string port_;
  const std::string ca_certificate_;
  const std::chrono::milliseconds pause_;
  std::atomic<bool> leaving_{false};
  std::atomic<int> served_{0};
  std::mutex mutex_;
  int failed_ = 0;
  std::string first_failure_;
  std::vector<std::thread> threads_;
};

}  // namespace atlasflow::end_to_end
