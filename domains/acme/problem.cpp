#include "domains/acme/problem.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <ctime>

#include <nlohmann/json.hpp>

#include "domains/json_object.hpp"

namespace atlasflow::domains {
namespace {

using nlohmann::json;

constexpr std::string_view k_namespace = "urn:ietf:params:acme:error:";
constexpr std::size_t k_detail_bytes_max = 400;
constexpr std::size_t k_told_bytes_max = 1'300;  // of a reason, before our advice
constexpr std::size_t k_subproblems_max = 8;
constexpr std::int64_t k_second_us = 1'000'000;
constexpr std::int64_t k_retry_after_s_max = 30LL * 24 * 3600;

struct Kind {
  std::string_view type;
  pb::CertificateProblem problem;
  std::string_view advice;  // what the domain's or the server's owner can do
};

// RFC 8555 section 6.7, RFC 9773 section 7.4.
constexpr std::array k_kinds = {
    Kind{"accountDoesNotExist", pb::CERTIFICATE_PROBLEM_ACCOUNT,
         "it does not know this server's account, and the next order makes one anew"},
    Kind{"alreadyReplaced", pb::CERTIFICATE_PROBLEM_UNAVAILABLE,
         "the certificate has been renewed before, and the next order does not name it"},
    Kind{"badCSR", pb::CERTIFICATE_PROBLEM_REFUSED, "it has no certificate for these names"},
    Kind{"caa", pb::CERTIFICATE_PROBLEM_CAA,
         "add a CAA record that allows this authority, or remove those that forbid it"},
    Kind{"connection", pb::CERTIFICATE_PROBLEM_VALIDATION,
         "it could not connect; is port 80 open to the internet, and do all A and AAAA records "
         "lead here?"},
    Kind{"dns", pb::CERTIFICATE_PROBLEM_VALIDATION,
         "its name servers found no answer; check the domain's records and its DNSSEC"},
    Kind{"externalAccountRequired", pb::CERTIFICATE_PROBLEM_ACCOUNT,
         "it wants an external account: set its key id and MAC key in the server's configuration"},
    Kind{"incorrectResponse", pb::CERTIFICATE_PROBLEM_VALIDATION,
         "something else answered; is there a proxy in front, or a record that leads elsewhere?"},
    Kind{"invalidContact", pb::CERTIFICATE_PROBLEM_ACCOUNT,
         "it does not take the contact: set an e-mail address in the server's configuration"},
    Kind{"invalidProfile", pb::CERTIFICATE_PROBLEM_ACCOUNT,
         "it has no such profile: name another one, or none, in the server's configuration"},
    Kind{"orderNotReady", pb::CERTIFICATE_PROBLEM_UNAVAILABLE, "the order is not ready yet"},
    Kind{"rateLimited", pb::CERTIFICATE_PROBLEM_RATE_LIMITED,
         "its limit is reached, and it is asked again when it says"},
    Kind{"rejectedIdentifier", pb::CERTIFICATE_PROBLEM_REFUSED,
         "its policy has no certificate for this name"},
    Kind{"serverInternal", pb::CERTIFICATE_PROBLEM_UNAVAILABLE, "the failure is its own"},
    Kind{"tls", pb::CERTIFICATE_PROBLEM_VALIDATION, "its connection by TLS failed"},
    Kind{"unauthorized", pb::CERTIFICATE_PROBLEM_VALIDATION,
         "it did not find its token; is there a proxy in front, or a record that leads elsewhere?"},
    Kind{"unsupportedContact", pb::CERTIFICATE_PROBLEM_ACCOUNT,
         "it does not take the contact: set an e-mail address in the server's configuration"},
    Kind{"unsupportedIdentifier", pb::CERTIFICATE_PROBLEM_REFUSED,
         "it has no certificates for names of this kind"},
    Kind{"userActionRequired", pb::CERTIFICATE_PROBLEM_ACCOUNT,
         "its terms have changed; the server's owner has to agree to them"},
};

const Kind* kind_of(std::string_view type) {
  const auto found = std::ranges::find(k_kinds, type, &Kind::type);
  return found == k_kinds.end() ? nullptr : &*found;
}

// One line, of a bounded length, without what would end a sentence of ours.
std::string one_line(std::string_view text, std::size_t bytes_max = k_detail_bytes_max) {
  std::size_t end = std::min(text.size(), bytes_max);
  // A character that is cut in half is none: what follows its first byte is 10xxxxxx (RFC 3629).
  while (end > 0 && end < text.size() && (static_cast<unsigned char>(text[end]) & 0xC0U) == 0x80U) {
    --end;
  }
  std::string line;
  for (const char c : text.substr(0, end)) {
    const auto byte = static_cast<unsigned char>(c);
    line += byte < 0x20 || byte == 0x7F ? ' ' : c;
  }
  while (!line.empty() && (line.back() == ' ' || line.back() == '.')) line.pop_back();
  return line;
}

std::string short_type(const json& document) {
  auto type = text_of(document, "type");
  if (type.starts_with(k_namespace)) type.erase(0, k_namespace.size());
  return one_line(type);
}

// "web.example: no valid A records (dns); …"
std::string subproblems_of(const json& document) {
  const auto list = document.find("subproblems");
  if (list == document.end() || !list->is_array()) return {};
  std::string text;
  std::size_t count = 0;
  for (const json& each : *list) {
    if (!each.is_object() || ++count > k_subproblems_max) continue;
    const auto identifier = each.find("identifier");
    const auto name = identifier != each.end() && identifier->is_object()
                          ? one_line(text_of(*identifier, "value"))
                          : std::string();
    text += text.empty() ? "" : "; ";
    text += (name.empty() ? "one of the names" : name) + ": " + one_line(text_of(each, "detail")) +
            " (" + short_type(each) + ")";
  }
  if (count > k_subproblems_max) {
    text += "; and " + std::to_string(count - k_subproblems_max) + " more";
  }
  return text;
}

AcmeError from_document(const json& document, const std::string& doing, int status) {
  AcmeError error;
  error.status = status;
  error.type = short_type(document);
  error.reason = "The certificate authority refused " + doing + ": " +
                 (error.type.empty() ? "no reason given" : error.type);
  const auto detail = one_line(text_of(document, "detail"));
  const auto names = subproblems_of(document);
  if (!detail.empty()) error.reason += ": " + detail;
  if (!names.empty()) error.reason += " (" + names + ")";
  if (error.reason.size() > k_told_bytes_max) {
    error.reason = one_line(error.reason, k_told_bytes_max) + " …";
  }
  if (const Kind* kind = kind_of(error.type)) {
    error.kind = kind->problem;
    error.reason += ". That means: " + std::string(kind->advice);
  } else {
    error.kind = status >= 400 && status < 500 ? pb::CERTIFICATE_PROBLEM_REFUSED
                                               : pb::CERTIFICATE_PROBLEM_UNAVAILABLE;
  }
  return error;
}

}  // namespace

pb::CertificateFailed to_event(const AcmeError& error) {
  pb::CertificateFailed failed;
  failed.set_problem(error.kind);
  failed.set_reason(error.reason);
  failed.set_retry_at_us(error.retry_at_us.value_or(0));
  failed.set_by_own_dns(error.by_own_dns);
  failed.set_unreached_by(error.unreached_by);
  return failed;
}

AcmeError no_answer(const std::string& doing, const Error& error) {
  AcmeError made;
  made.kind = error.code == ErrorCode::cancelled ? pb::CERTIFICATE_PROBLEM_ABANDONED
                                                 : pb::CERTIFICATE_PROBLEM_UNAVAILABLE;
  if (error.code == ErrorCode::too_large) made.status = 200;  // it would be as large again
  made.reason =
      "The certificate authority could not be asked for " + doing + ": " + to_string(error);
  return made;
}

AcmeError not_understood(const std::string& doing, const std::string& why) {
  AcmeError made;
  made.status = 200;
  made.reason = "The certificate authority's answer to " + doing +
                " makes no sense, and it is asked again later: " + why;
  return made;
}

AcmeError local_failure(const Error& error) {
  AcmeError made;
  made.kind = error.code == ErrorCode::cancelled ? pb::CERTIFICATE_PROBLEM_ABANDONED
                                                 : pb::CERTIFICATE_PROBLEM_LOCAL;
  made.reason = to_string(error);
  return made;
}

AcmeError problem_of(const HttpResponse& response, const std::string& doing, std::int64_t now_us) {
  const auto document = parse_object(response.body);
  AcmeError error;
  if (document.is_object() && document.contains("type")) {
    error = from_document(document, doing, response.status);
  } else {
    error.status = response.status;
    error.reason = "The certificate authority answered " + doing + " with HTTP " +
                   std::to_string(response.status) + " and no reason; it is asked again later";
  }
  // Some say so by the status alone.
  if (response.status == 429) error.kind = pb::CERTIFICATE_PROBLEM_RATE_LIMITED;
  error.retry_at_us = retry_after_us(response.field("Retry-After"), now_us);
  return error;
}

AcmeError problem_in(std::string_view text, const std::string& doing) {
  const auto document = parse_object(text);
  if (document.is_object()) return from_document(document, doing, 403);
  return from_document(json::object(), doing, 403);
}

std::optional<std::int64_t> retry_after_us(std::string_view field, std::int64_t now_us) {
  if (field.empty()) return std::nullopt;
  std::int64_t seconds = 0;
  const char* end = field.data() + field.size();
  if (const auto parsed = std::from_chars(field.data(), end, seconds);
      parsed.ec == std::errc{} && parsed.ptr == end && seconds >= 0) {
    return now_us + std::min(seconds, k_retry_after_s_max) * k_second_us;
  }
  // An IMF-fixdate, "Sun, 06 Nov 1994 08:49:37 GMT": ours is the C locale's reading of it.
  std::tm moment{};
  const std::string text(field);
  const char* rest = ::strptime(text.c_str(), "%a, %d %b %Y %H:%M:%S GMT", &moment);
  if (rest == nullptr || *rest != '\0') return std::nullopt;
  const std::int64_t at_us = static_cast<std::int64_t>(::timegm(&moment)) * k_second_us;
  return std::clamp(at_us, now_us, now_us + k_retry_after_s_max * k_second_us);
}

}  // namespace atlasflow::domains
