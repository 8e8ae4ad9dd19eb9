// An API whose webhook is delivered to as GitHub does it, signed with any secret.
#pragma once

#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "api/signature.hpp"
#include "tests/api/api_fixture.hpp"

namespace atlasflow::api::testing {

inline constexpr const char* k_secret = "server-secret";
inline constexpr const char* k_before = "0000000000000000000000000000000000000000";
inline constexpr const char* k_after = "2222222222222222222222222222222222222222";

inline std::string hex(const Sha256& digest) {
  std::string text;
  for (const auto byte : digest) {
    text += "0123456789abcdef"[byte >> 4U];
    text += "0123456789abcdef"[byte & 15U];
  }
  return text;
}

inline nlohmann::json push_payload() {
  return {{"ref", "refs/heads/feature/x"},
          {"before", k_before},
          {"after", k_after},
          {"deleted", false},
          {"repository",
           {{"id", 1},
            {"clone_url", "https://github.com/acme/shop.git"},
            {"ssh_url", "git@github.com:acme/shop.git"},
            {"html_url", "https://github.com/acme/shop"},
            {"git_url", "git://github.com/acme/shop.git"},
            {"default_branch", "main"}}},
          {"pusher", {{"name", "ada"}}},
          {"sender", {{"login", "ada-lovelace"}}},
          {"head_commit", nullptr},
          {"commits", nlohmann::json::array()}};
}

class Webhook : public ApiTest {
 protected:
  Webhook() { config_.webhook_secret = k_secret; }

  static std::vector<std::string> fields_for(const std::string& body, const std::string& secret,
                                             const std::string& event,
                                             const std::string& content_type) {
    return {"X-GitHub-Event: " + event, "X-GitHub-Delivery: 72d3162e-cc78-11e3-81ab-4c9367dc0958",
            "Content-Type: " + content_type,
            "X-Hub-Signature-256: sha256=" + hex(hmac_sha256(secret, body))};
  }

  Answer deliver(const std::string& body, const std::string& secret = k_secret,
                 const std::string& event = "push",
                 const std::string& content_type = "application/json") {
    return deliver_with(fields_for(body, secret, event, content_type), body);
  }

  Answer deliver_with(const std::vector<std::string>& fields, const std::string& body) {
    auto answer = connect_webhook().ask(request_text("POST", "/webhooks/github", fields, body));
    EXPECT_TRUE(answer.has_value());
    return answer.value_or(Answer{});
  }

  static actors::PushReceipt deployed() {
    return {actors::PushReceipt::Verdict::deployed, "shop", DeploymentId("abcdefg2"), ""};
  }
};

}  // namespace atlasflow::api::testing
