#include "events/principal.hpp"

#include <gmock/gmock.h>

namespace atlasflow {
namespace {

TEST(Principal, its_text_leads_back_to_it) {
  struct Case {
    Principal principal;
    const char* text;
  };
  for (const auto& [principal, text] : std::vector<Case>{
           {Principal::user(), "user"},
           {Principal::webhook("github"), "webhook:github"},
           {Principal::system("vm_hosts"), "system:vm_hosts"},
           {Principal(), "system"},
       }) {
    EXPECT_EQ(principal.str(), text);
    const auto back = Principal::parsed(text);
    ASSERT_TRUE(back) << text;
    EXPECT_EQ(*back, principal);
  }
}

// An old log has "deployment" and "root" there, and an event's `by` may be a deployment's id or a
// reason: none of them passes for somebody.
TEST(Principal, any_other_text_is_nobody) {
  const std::string long_name(65, 'a');
  for (const std::string& text :
       {std::string(), std::string("deployment"), std::string("root"), std::string("abcdefg2"),
        std::string("user:"), std::string("user:ada"), std::string("webhook"),
        std::string("webhook:"), std::string("system:"), std::string("system:A"),
        std::string("system:a b"), std::string("system:a:b"), std::string("system:a\n"),
        std::string("User"), std::string(" user"), std::string("user\0x", 6), "system:" + long_name,
        std::string("token:ada")}) {
    const auto parsed = Principal::parsed(text);
    ASSERT_FALSE(parsed) << text;
    EXPECT_EQ(parsed.error().code, ErrorCode::invalid_argument);
    EXPECT_THAT(parsed.error().message, testing::HasSubstr("webhook:NAME"));
  }
}

TEST(Principal, those_of_different_kind_or_name_differ) {
  EXPECT_NE(Principal::webhook("github"), Principal::system("github"));
  EXPECT_NE(Principal::system("root"), Principal::system("edge"));
  EXPECT_NE(Principal::user(), Principal());
}

}  // namespace
}  // namespace atlasflow
