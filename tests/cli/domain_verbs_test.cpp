// The verbs of users' own domains over the real API, whose control plane records what it is asked.
#include <filesystem>
#include <fstream>
#include <sstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cli/verbs.hpp"
#include "tests/cli/verb_test.hpp"

namespace atlasflow::cli {
namespace {

using testing::HasSubstr;

class DomainVerbs : public VerbTest {
 protected:
  DomainVerbs() {
    control_.add_project("shop");
    control_.add_domain("www.shop.test", "shop");
  }
};

TEST_F(DomainVerbs, a_retry_says_what_it_leads_to_and_where_that_is_seen) {
  const auto ran = run(DomainRetryCommand{.domain = "WWW.Shop.Test"});
  EXPECT_EQ(ran.code, 0) << ran.err;
  EXPECT_THAT(ran.out, HasSubstr("The name servers of www.shop.test are asked within seconds"));
  EXPECT_THAT(ran.out, HasSubstr("if they say that it leads here"));
  EXPECT_THAT(ran.out, HasSubstr("'atlasflow domains cert www.shop.test'"));
}

TEST_F(DomainVerbs, an_order_that_waits_for_its_registered_domain_is_told_of_where_it_is_shown) {
  pb::Event verified;
  verified.mutable_domain_verified();
  control_.append_to_domain("www.shop.test", {verified});
  control_.held_order = HeldOrder{4'711, "three are all in seven days"};
  const auto shown = run(DomainCertCommand{.domain = "www.shop.test"});
  EXPECT_EQ(shown.code, 0) << shown.err;
  EXPECT_THAT(shown.out, HasSubstr("three are all in seven days"));
  EXPECT_THAT(run(DomainListCommand{}).out, HasSubstr("three are all in seven days"));
}

TEST_F(DomainVerbs, a_retry_that_is_refused_says_why_and_fails) {
  control_.domain_error = Error{ErrorCode::conflict, "its certificate is good", ""};
  const auto ran = run(DomainRetryCommand{.domain = "www.shop.test"});
  EXPECT_EQ(ran.code, 2);
  EXPECT_EQ(ran.out, "");
  EXPECT_THAT(ran.err, HasSubstr("its certificate is good"));
}

TEST_F(DomainVerbs, a_name_is_shown_and_given_up_however_it_is_typed) {
  const auto shown = run(DomainCertCommand{.domain = "WWW.Shop.Test"});
  EXPECT_EQ(shown.code, 0) << shown.err;
  EXPECT_THAT(shown.out, HasSubstr("www.shop.test"));
  const auto refused = run(DomainRemoveCommand{.domain = "WWW.Shop.Test"}, "another\n");
  EXPECT_EQ(refused.code, 1);
  EXPECT_THAT(refused.err, HasSubstr("nothing was removed"));
  const auto removed = run(DomainRemoveCommand{.domain = "WWW.Shop.Test"}, "WWW.Shop.Test\n");
  EXPECT_EQ(removed.code, 0) << removed.err;
  EXPECT_THAT(removed.out, HasSubstr("Removed www.shop.test"));
}

TEST_F(DomainVerbs, a_certificate_is_brought_from_files_and_its_key_is_shown_nowhere) {
  const auto folder = std::filesystem::temp_directory_path() / "atlasflow-upload-verb";
  std::filesystem::create_directories(folder);
  std::ofstream(folder / "chain.pem") << "chain";
  std::ofstream(folder / "key.pem") << "hush hush";
  const DomainCertUploadCommand upload{
      .domain = "WWW.Shop.Test", .cert_file = folder / "chain.pem", .key_file = folder / "key.pem"};
  const auto early = run(upload);
  EXPECT_EQ(early.code, 0) << early.err;
  EXPECT_THAT(early.out, HasSubstr("Took the certificate for www.shop.test.\nIt is shown as soon "
                                   "as the domain's records lead here"));
  pb::Event verified;
  verified.mutable_domain_verified();
  control_.append_to_domain("www.shop.test", {verified});
  const auto ran = run(upload);
  EXPECT_EQ(ran.code, 0) << ran.err;
  EXPECT_THAT(ran.out, HasSubstr("Took the certificate for www.shop.test: your own, by Shop CA"));
  EXPECT_THAT(ran.out, HasSubstr("Nobody renews it"));
  EXPECT_EQ((ran.out + ran.err).find("hush"), std::string::npos);
  const auto shown = run(DomainCertCommand{.domain = "www.shop.test"});
  EXPECT_THAT(shown.out, HasSubstr("nobody renews it"));
  EXPECT_THAT(shown.out, HasSubstr("fp-of-chain-with-9"));
  const auto status = run(StatusCommand{});
  EXPECT_THAT(status.out, HasSubstr("certificate of www.shop.test (project shop) ended"));
  const auto back = run(DomainCertRemoveCommand{.domain = "www.shop.test"});
  EXPECT_THAT(back.out, HasSubstr("yours is shown until that is there"));
  std::filesystem::remove_all(folder);
}

TEST_F(DomainVerbs, files_that_are_missing_and_two_of_stdin_are_a_wrong_usage) {
  const auto missing = run(DomainCertUploadCommand{
      .domain = "www.shop.test", .cert_file = "/nowhere/chain.pem", .key_file = "-"});
  EXPECT_EQ(missing.code, 2);
  EXPECT_THAT(missing.err, HasSubstr("can't read /nowhere/chain.pem"));
  const auto both =
      run(DomainCertUploadCommand{.domain = "www.shop.test", .cert_file = "-", .key_file = "-"});
  EXPECT_EQ(both.code, 2);
  EXPECT_THAT(both.err, HasSubstr("can't both be stdin"));
}

TEST_F(DomainVerbs, an_account_gets_another_key_or_it_is_said_why_not) {
  const auto first = run(DomainAccountRolloverCommand{});
  EXPECT_EQ(first.code, 0) << first.err;
  EXPECT_THAT(first.out, HasSubstr("of thumbprint first-thumbprint"));
  EXPECT_THAT(first.out, HasSubstr("Take a backup"));
  EXPECT_THAT(run(DomainAccountRolloverCommand{.fallback = true}).out,
              HasSubstr("second certificate authority has another key, of thumbprint second-"));
  control_.domain_error = Error{ErrorCode::conflict, "there is no account yet", ""};
  const auto refused = run(DomainAccountRolloverCommand{});
  EXPECT_EQ(refused.code, 2);
  EXPECT_THAT(refused.err, HasSubstr("no account yet"));
}

TEST_F(DomainVerbs, a_redirect_says_where_visitors_go) {
  const auto sent = run(DomainRedirectCommand{.domain = "www.shop.test", .to = "shop.test"});
  EXPECT_EQ(sent.code, 0) << sent.err;
  EXPECT_THAT(sent.out, HasSubstr("sends its visitors to shop.test"));
  const auto off = run(DomainRedirectCommand{.domain = "www.shop.test", .to = "", .off = true});
  EXPECT_THAT(off.out, HasSubstr("serves its project itself"));
}

}  // namespace
}  // namespace atlasflow::cli
