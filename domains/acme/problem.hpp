// What a certificate authority says when it refuses (RFC 8555 section 6.7, RFC 7807), as one
// sentence for who owns the domain, and as the kind of failure that decides what happens next.
// Values and free functions; any thread. Nothing of the CA's text can end a line.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"
#include "base/http_client.hpp"
#include "events/event.pb.h"

namespace atlasflow::domains {

// A failure of an exchange with a CA.
struct AcmeError {
  pb::CertificateProblem kind = pb::CERTIFICATE_PROBLEM_UNAVAILABLE;
  std::string reason;                       // a sentence, and what to do
  std::string type = {};                    // "rateLimited"; empty when no problem document came
  std::optional<std::int64_t> retry_at_us;  // when the CA named a time
  bool by_own_dns = false;                  // name servers of ours, and not the CA
  std::string unreached_by = {};            // by which challenge nothing could be proved
  int status = 0;  // of the answer; 0: there was none; 200: one that makes no sense
};

template <typename T>
using AcmeResult = tl::expected<T, AcmeError>;

[[nodiscard]] pb::CertificateFailed to_event(const AcmeError& error);

// No answer came, or none that could be read.
[[nodiscard]] AcmeError no_answer(const std::string& doing, const Error& error);
[[nodiscard]] AcmeError not_understood(const std::string& doing, const std::string& why);
// This machine's own failure.
[[nodiscard]] AcmeError local_failure(const Error& error);

// An answer that is no success. `doing` ends the sentence "The certificate authority refused …".
[[nodiscard]] AcmeError problem_of(const HttpResponse& response, const std::string& doing,
                                   std::int64_t now_us);
// The problem of a challenge or an order, as their objects carry it (RFC 8555 section 7.1.3).
[[nodiscard]] AcmeError problem_in(std::string_view json, const std::string& doing);

// Retry-After, RFC 9110 section 10.2.3: seconds or a date. Nothing: there is none, or it is none.
[[nodiscard]] std::optional<std::int64_t> retry_after_us(std::string_view field,
                                                         std::int64_t now_us);

}  // namespace atlasflow::domains
