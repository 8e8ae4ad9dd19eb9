#include "domains/domain_name.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace atlasflow::domains {
namespace {

using testing::HasSubstr;

TEST(DomainName, a_name_is_kept_in_lower_case_and_without_its_last_dot) {
  for (const auto* typed :
       {"www.example.com", "WWW.Example.COM", "www.example.com.", "  www.example.com "}) {
    const auto name = parse_domain_name(typed);
    ASSERT_TRUE(name) << typed << ": " << to_string(name.error());
    EXPECT_EQ(name->name, "www.example.com");
    EXPECT_EQ(name->display_name, "www.example.com");
    EXPECT_FALSE(name->is_apex);
  }
}

TEST(DomainName, an_international_name_is_the_same_both_ways) {
  for (const auto* typed : {"Bücher.example", "xn--bcher-kva.example", "XN--BCHER-KVA.EXAMPLE"}) {
    const auto name = parse_domain_name(typed);
    ASSERT_TRUE(name) << typed << ": " << to_string(name.error());
    EXPECT_EQ(name->name, "xn--bcher-kva.example");
    EXPECT_EQ(name->display_name, "bücher.example");
  }
  // IDNA 2008: the sharp s is a letter of its own.
  const auto name = parse_domain_name("faß.example");
  ASSERT_TRUE(name);
  EXPECT_EQ(name->name, "xn--fa-hia.example");
}

TEST(DomainName, what_was_registered_is_the_public_suffix_and_one_label) {
  EXPECT_EQ(parse_domain_name("example.com")->registered, "example.com");
  EXPECT_EQ(parse_domain_name("a.b.example.co.uk")->registered, "example.co.uk");
  EXPECT_EQ(parse_domain_name("docs.someone.github.io")->registered, "someone.github.io");
  EXPECT_EQ(parse_domain_name("WWW.Shop.Test")->registered, "shop.test");
}

TEST(DomainName, an_apex_is_one_label_below_a_public_suffix) {
  EXPECT_TRUE(parse_domain_name("example.com")->is_apex);
  EXPECT_TRUE(parse_domain_name("example.co.uk")->is_apex);
  EXPECT_TRUE(parse_domain_name("shop.test")->is_apex);
  EXPECT_FALSE(parse_domain_name("www.example.co.uk")->is_apex);
}

struct Refused {
  const char* typed;
  const char* why;
};

class RefusedDomainName : public testing::TestWithParam<Refused> {};

TEST_P(RefusedDomainName, is_refused_with_a_sentence) {
  const auto name = parse_domain_name(GetParam().typed);
  ASSERT_FALSE(name) << name->name;
  EXPECT_EQ(name.error().code, ErrorCode::invalid_argument);
  EXPECT_THAT(name.error().message, HasSubstr(GetParam().why));
}

const std::string k_label_63(63, 'a');
const std::string k_long_label = k_label_63 + "a.example.com";
const std::string k_long_name =
    k_label_63 + "." + k_label_63 + "." + k_label_63 + "." + k_label_63 + ".com";

INSTANTIATE_TEST_SUITE_P(
    Names, RefusedDomainName,
    testing::Values(Refused{"", "is missing"}, Refused{" . ", "is missing"},
                    Refused{"https://example.com/", "is a URL"},
                    Refused{"example.com/path", "is a URL"}, Refused{"*.example.com", "wildcard"},
                    Refused{"192.0.2.7", "is an address"}, Refused{"2001:db8::1", "is an address"},
                    Refused{"[2001:db8::1]", "is an address"},
                    Refused{"example.com:8443", "has a port"}, Refused{"com", "one label"},
                    Refused{"co.uk", "public suffix"}, Refused{"github.io", "public suffix"},
                    Refused{"exa_mple.com", "exa_mple"}, Refused{"-a.example.com", "hyphen"},
                    Refused{"a..example.com", ""}, Refused{"exam ple.com", ""},
                    Refused{"example.123", "ends in a number"}, Refused{"xn--a.example", ""},
                    Refused{k_long_label.c_str(), ""}, Refused{k_long_name.c_str(), ""},
                    Refused{"\xff\xfe.example", "is no domain"}, Refused{"\x1b[2J.com", "?[2J"}));

}  // namespace
}  // namespace atlasflow::domains
