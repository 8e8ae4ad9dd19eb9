// What a CA refuses with, as a sentence.
#include "domains/acme/problem.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace atlasflow::domains {
namespace {

using testing::HasSubstr;
using testing::Not;

constexpr std::int64_t k_now_us = 1'000'000'000'000'000;

AcmeError problem(int status, const std::string& body, const std::string& retry_after = {}) {
  HttpResponse response;
  response.status = status;
  response.body = body;
  if (!retry_after.empty()) response.fields = {{"Retry-After", retry_after}};
  return problem_of(response, "an order for web.example", k_now_us);
}

std::string document(const std::string& type, const std::string& rest = "") {
  return R"({"type":"urn:ietf:params:acme:error:)" + type + R"(","detail":"It says so.")" + rest +
         "}";
}

TEST(Problem, each_kind_has_a_sentence_with_the_detail_and_what_to_do) {
  const struct {
    const char* type;
    pb::CertificateProblem kind;
    const char* advice;
  } cases[] = {
      {"caa", pb::CERTIFICATE_PROBLEM_CAA, "add a CAA record"},
      {"connection", pb::CERTIFICATE_PROBLEM_VALIDATION, "is port 80 open"},
      {"dns", pb::CERTIFICATE_PROBLEM_VALIDATION, "check the domain's records"},
      {"unauthorized", pb::CERTIFICATE_PROBLEM_VALIDATION, "is there a proxy in front"},
      {"rateLimited", pb::CERTIFICATE_PROBLEM_RATE_LIMITED, "its limit is reached"},
      {"rejectedIdentifier", pb::CERTIFICATE_PROBLEM_REFUSED, "its policy"},
      {"userActionRequired", pb::CERTIFICATE_PROBLEM_ACCOUNT, "has to agree"},
      {"externalAccountRequired", pb::CERTIFICATE_PROBLEM_ACCOUNT, "set its key id"},
      {"serverInternal", pb::CERTIFICATE_PROBLEM_UNAVAILABLE, "the failure is its own"},
  };
  for (const auto& [type, kind, advice] : cases) {
    const auto made = problem(403, document(type));
    EXPECT_EQ(made.kind, kind) << type;
    EXPECT_EQ(made.type, type);
    EXPECT_THAT(made.reason, HasSubstr("refused an order for web.example: " + std::string(type) +
                                       ": It says so"));
    EXPECT_THAT(made.reason, HasSubstr(advice));
  }
  EXPECT_EQ(problem(400, document("news")).kind, pb::CERTIFICATE_PROBLEM_REFUSED);
  EXPECT_EQ(problem(500, document("news")).kind, pb::CERTIFICATE_PROBLEM_UNAVAILABLE);
}

// RFC 8555 section 6.7.1.
TEST(Problem, subproblems_are_told_by_name) {
  const auto made =
      problem(403, document("malformed",
                            R"(,"subproblems":[{"type":"urn:ietf:params:acme:error:malformed",
  "detail":"Invalid underscore","identifier":{"type":"dns","value":"_example.org"}},
  {"type":"urn:ietf:params:acme:error:rejectedIdentifier","detail":"This CA will not issue",
   "identifier":{"type":"dns","value":"example.net"}}, 7, {}])"));
  EXPECT_THAT(made.reason, HasSubstr("(_example.org: Invalid underscore (malformed); example.net: "
                                     "This CA will not issue (rejectedIdentifier)"));
}

TEST(Problem, a_time_is_obeyed_to_the_second_and_within_bounds) {
  EXPECT_EQ(problem(429, "{}", "120").retry_at_us, k_now_us + 120'000'000);
  EXPECT_EQ(problem(429, "{}").kind, pb::CERTIFICATE_PROBLEM_RATE_LIMITED);
  EXPECT_EQ(problem(503, "", "0").retry_at_us, k_now_us);
  // 1'000'000'000 s are 2001-09-09T01:46:40Z.
  EXPECT_EQ(problem(503, "", "Sun, 09 Sep 2001 01:47:00 GMT").retry_at_us, k_now_us + 20'000'000);
  EXPECT_EQ(problem(503, "", "Sun, 09 Sep 2001 01:46:00 GMT").retry_at_us, k_now_us);
  EXPECT_EQ(problem(503, "", "99999999999999").retry_at_us, k_now_us + 30LL * 86'400'000'000);
  for (const char* none : {"-5", "soon", "12 s", "99999999999999999999999", "Sun, 09 Sep"}) {
    EXPECT_EQ(problem(503, "", none).retry_at_us, std::nullopt) << none;
  }
}

TEST(Problem, text_of_a_stranger_ends_no_line_and_has_an_end) {
  const auto made =
      problem(400, R"({"type":"urn:ietf:params:acme:error:dns\nx","detail":"a\r\nlevel=error )" +
                       std::string(100'000, 'y') + R"(ö"})");
  EXPECT_THAT(made.reason, Not(HasSubstr("\n")));
  EXPECT_LT(made.reason.size(), 1'600U);
}

// What to do stands at the end, and is not what a long list of names takes the place of.
TEST(Problem, the_advice_stays_behind_however_much_the_authority_says) {
  std::string names;
  for (int i = 0; i < 8; ++i) {
    names += (i > 0 ? "," : "") + std::string(R"({"detail":")") + std::string(500, 'y') +
             R"(","identifier":{"type":"dns","value":"web.example"}})";
  }
  const auto made = problem(403, document("dns", R"(,"subproblems":[)" + names + "]"));
  EXPECT_THAT(made.reason, HasSubstr(std::string(400, 'y')));
  EXPECT_THAT(made.reason, testing::EndsWith("check the domain's records and its DNSSEC"));
  EXPECT_LT(made.reason.size(), 1'600U);
}

TEST(Problem, a_text_is_cut_between_two_characters) {
  std::string detail;
  for (int i = 0; i < 300; ++i) detail += "字";  // 3 bytes each
  const auto made =
      problem(403, R"({"type":"urn:ietf:params:acme:error:dns","detail":")" + detail + R"("})");
  EXPECT_THAT(made.reason, HasSubstr(": dns: " + detail.substr(0, 399) + ". That means: "));
}

TEST(Problem, an_answer_without_a_reason_is_told_by_its_status) {
  for (const char* body : {"", "<html>Bad gateway</html>", "[1]", "{\"detail\":1}"}) {
    const auto made = problem(502, body);
    EXPECT_THAT(made.reason, HasSubstr("with HTTP 502 and no reason")) << body;
    EXPECT_EQ(made.kind, pb::CERTIFICATE_PROBLEM_UNAVAILABLE);
  }
}

}  // namespace
}  // namespace atlasflow::domains
