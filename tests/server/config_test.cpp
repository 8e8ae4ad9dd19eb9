#include "server/config.hpp"

#include <regex>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace atlasflow::server {
namespace {

using testing::HasSubstr;

const std::filesystem::path k_file = "/etc/atlasflow/atlasflow.toml";

TEST(Config, an_empty_file_is_the_defaults) {
  const auto config = parse_config("", k_file);
  ASSERT_TRUE(config) << to_string(config.error());
  EXPECT_EQ(config->state_dir, "/var/lib/atlasflow");
  EXPECT_EQ(config->domain, "atlasflow.localhost");
  EXPECT_EQ(config->edge.http.port, 8080);
  EXPECT_EQ(config->edge.https.port, 8443);
  EXPECT_EQ(config->api.webhook.port, 7070);
  EXPECT_FALSE(config->builder.allow_chroot_isolation);
}

TEST(Config, the_printed_example_is_the_defaults_key_by_key) {
  const auto config = parse_config(example_config(), k_file);
  ASSERT_TRUE(config) << to_string(config.error());
  const ServerConfig defaults;
  EXPECT_EQ(config->state_dir, defaults.state_dir);
  EXPECT_EQ(config->edge.http.address, defaults.edge.http.address);
  EXPECT_EQ(config->edge.https.port, defaults.edge.https.port);
  EXPECT_EQ(config->api.webhook.port, defaults.api.webhook.port);
  EXPECT_EQ(config->builder.memory_limit_mib, defaults.builder.memory_limit_mib);
  EXPECT_EQ(config->builder.min_free_mib, defaults.builder.min_free_mib);
  EXPECT_EQ(config->keep.rollbacks, defaults.keep.rollbacks);
  EXPECT_EQ(config->keep.run_log_mib, defaults.keep.run_log_mib);
  EXPECT_EQ(config->keep.logs_mib, defaults.keep.logs_mib);
  EXPECT_EQ(config->keep.build_cache_mib, defaults.keep.build_cache_mib);
  EXPECT_EQ(config->keep.clones_mib, defaults.keep.clones_mib);
  EXPECT_EQ(config->keep.reserve_mib, defaults.keep.reserve_mib);
  EXPECT_EQ(config->vm.kernel_dir, defaults.vm.kernel_dir);
  EXPECT_EQ(config->vm.memory_mib, defaults.vm.memory_mib);
  EXPECT_EQ(config->log_level, defaults.log_level);
}

// The commented keys are part of the example's promise as well.
TEST(Config, every_commented_key_of_the_example_is_known) {
  auto text = std::regex_replace(example_config(), std::regex("\n# ([a-z_]+ = )"), "\n$1");
  text = std::regex_replace(text, std::regex("\nport = 0"), "");
  const auto config = parse_config(text, k_file);
  ASSERT_TRUE(config) << to_string(config.error());
  EXPECT_EQ(config->registry.address, "registry.example.com:5000");
  EXPECT_EQ(config->api.webhook_secret_file, "/etc/atlasflow/webhook-secret");
}

TEST(Config, base_images_are_named_by_language) {
  const auto config =
      parse_config("[builder.bases]\npython = 'registry.example.com/python:3.12'\n", k_file);
  ASSERT_TRUE(config) << to_string(config.error());
  EXPECT_EQ(config->builder.bases.at("python"), "registry.example.com/python:3.12");
  const auto unknown = parse_config("[builder.bases]\ncobol = 'x'\n", k_file);
  ASSERT_FALSE(unknown);
  EXPECT_NE(unknown.error().message.find("line 2: bases.cobol is not known"), std::string::npos);
}

TEST(Config, values_are_taken) {
  const auto config = parse_config(
      "domain = 'apps.example.com'\n[edge]\nhttps = '0.0.0.0:443'\nredirect_http = false\n"
      "[keep]\nrollbacks = 9\nlogs_mib = 7\nreserve_mib = 9\n[builder]\ncount = 4\nmin_free_mib = "
      "5\n[vm]\naccelerator = 'tcg'\nmemory_mib = 4096\n[log]\nlevel = "
      "'debug'\n",
      k_file);
  ASSERT_TRUE(config) << to_string(config.error());
  EXPECT_EQ(config->domain, "apps.example.com");
  EXPECT_EQ(config->edge.https.address, "0.0.0.0");
  EXPECT_EQ(config->edge.https.port, 443);
  EXPECT_FALSE(config->edge.redirect_http);
  EXPECT_EQ(config->keep.rollbacks, 9);
  EXPECT_EQ(config->keep.logs_mib, 7);
  EXPECT_EQ(config->keep.reserve_mib, 9);
  EXPECT_EQ(config->builder.min_free_mib, 5);
  EXPECT_EQ(config->builder.count, 4);
  EXPECT_EQ(config->vm.accelerator, AcceleratorChoice::tcg);
  EXPECT_EQ(config->vm.memory_mib, 4096);
}

TEST(Config, the_edges_limits_and_timeouts_are_taken) {
  const ServerConfig defaults;
  const auto example = parse_config(example_config(), k_file);
  ASSERT_TRUE(example) << to_string(example.error());
  EXPECT_EQ(example->edge.limits.url_bytes_max, defaults.edge.limits.url_bytes_max);
  EXPECT_EQ(example->edge.limits.request_body_rate_min, defaults.edge.limits.request_body_rate_min);
  EXPECT_EQ(example->edge.timeouts.response_head, defaults.edge.timeouts.response_head);
  EXPECT_EQ(example->edge.timeouts.half_closed, defaults.edge.timeouts.half_closed);
  const auto config = parse_config(
      "[edge]\nresponse_timeout_s = 300\nurl_bytes_max = 60000\nhead_bytes_max = 70000\n", k_file);
  ASSERT_TRUE(config) << to_string(config.error());
  EXPECT_EQ(config->edge.timeouts.response_head, std::chrono::seconds(300));
  EXPECT_EQ(config->edge.limits.url_bytes_max, 60'000);
  EXPECT_EQ(example->edge.access_log_mib, defaults.edge.access_log_mib);
  EXPECT_TRUE(example->edge.access_log);
  const auto unseen = parse_config("[edge]\naccess_log = false\naccess_log_mib = 3\n", k_file);
  ASSERT_TRUE(unseen) << to_string(unseen.error());
  EXPECT_FALSE(unseen->edge.access_log);
  EXPECT_EQ(unseen->edge.access_log_mib, 3);
  EXPECT_EQ(config->edge.hsts_max_age_s, 0) << "only who asks for it gets it";
  const auto hsts = parse_config("[edge]\nhsts_max_age_s = 300\n", k_file);
  ASSERT_TRUE(hsts) << to_string(hsts.error());
  EXPECT_EQ(hsts->edge.hsts_max_age_s, 300);
  for (const auto& [text, why] : std::initializer_list<std::pair<const char*, const char*>>{
           {"[edge]\nresponse_timeout_s = 0\n", "from 1 to 86400"},
           {"[edge]\nresponse_timeout_s = '60s'\n", "a whole number"},
           {"[edge]\naccess_log = 1\n", "must be true or false"},
           {"[edge]\naccess_log_mib = 0\n", "from 1 to 1048576"},
           {"[edge]\nhsts_max_age_s = -1\n", "from 0 to 63072000"},
           {"[edge]\nhsts_max_age_s = 300\nredirect_http = false\n", "needs redirect_http"},
           {"[edge]\nurl_bytes_max = 40000\n", "must be below head_bytes_max"},
           {"[edge]\nhead_bytes_max = 8000\n", "must be above url_bytes_max"}}) {
    const auto refused = parse_config(text, k_file);
    ASSERT_FALSE(refused) << text;
    EXPECT_THAT(refused.error().message, HasSubstr(why));
  }
}

TEST(Config, of_the_servers_own_certificate_is_taken) {
  const std::string head =
      "domain = 'apps.example.net'\n[domains]\nacme_directory = 'https://ca.example/dir'\n"
      "acme_terms_agreed = true\n";
  const std::filesystem::path file = "/etc/atlasflow/atlasflow.toml";
  EXPECT_FALSE(parse_config(head, file)->domains.orders_own());
  const auto hook = parse_config(head + "dns01_hook = 'hooks/txt'\n", file);
  ASSERT_TRUE(hook) << to_string(hook.error());
  EXPECT_TRUE(hook->domains.orders_own());
  EXPECT_EQ(hook->domains.dns01_hook, "/etc/atlasflow/hooks/txt");
  const auto update = parse_config(
      head + "dns01_server = '[2001:db8::53]:53'\ndns01_tsig_key_file = 'tsig.key'\n", file);
  ASSERT_TRUE(update) << to_string(update.error());
  EXPECT_TRUE(update->domains.orders_own());
  EXPECT_EQ(update->domains.dns01_tsig_key_file, "/etc/atlasflow/tsig.key");
}

TEST(Config, of_limits_on_certificates_is_taken) {
  EXPECT_EQ(parse_config("", k_file)->domains.new_certificates_per_week, 45);
  const auto config = parse_config(
      "[domains]\ncertificates_per_week = 0\nnew_certificates_per_week = 280\n", k_file);
  ASSERT_TRUE(config) << to_string(config.error());
  EXPECT_EQ(config->domains.certificates_per_week, 0);
  EXPECT_EQ(config->domains.new_certificates_per_week, 280);
  EXPECT_FALSE(parse_config("[domains]\nnew_certificates_per_week = -1\n", k_file));
}

TEST(Config, of_a_second_authority_is_taken) {
  const auto config = parse_config(
      "[domains]\nacme_directory = 'https://ca.example/dir'\nacme_terms_agreed = true\n"
      "acme_challenge = 'tls-alpn-01'\nacme_profile = 'shortlived'\n"
      "acme_preferred_chain = 'Example Root X1'\n"
      "acme_fallback_directory = 'https://second.example/dir'\n"
      "acme_fallback_terms_agreed = true\nacme_fallback_contact = 'ops@example.com'\n"
      "acme_fallback_external_key_id = 'kid-2'\n"
      "acme_fallback_external_mac_key_file = 'mac-key-2'\n"
      "acme_fallback_ca_certificate = 'second.pem'\nacme_fallback_profile = 'classic'\n",
      "/etc/atlasflow/atlasflow.toml");
  ASSERT_TRUE(config) << to_string(config.error());
  EXPECT_EQ(config->domains.acme_challenge, "tls-alpn-01");
  EXPECT_EQ(config->domains.acme_profile, "shortlived");
  EXPECT_EQ(config->domains.acme_preferred_chain, "Example Root X1");
  EXPECT_EQ(parse_config("", "/etc/atlasflow.toml")->domains.acme_challenge, "auto");
  const auto& second = config->domains.acme_fallback;
  EXPECT_EQ(second.directory, "https://second.example/dir");
  EXPECT_EQ(second.contact, "ops@example.com");
  EXPECT_TRUE(second.terms_agreed);
  EXPECT_EQ(second.external_key_id, "kid-2");
  EXPECT_EQ(second.external_mac_key_file, "/etc/atlasflow/mac-key-2");
  EXPECT_EQ(second.ca_certificate, "/etc/atlasflow/second.pem");
  EXPECT_EQ(second.profile, "classic");
}

TEST(Config, of_domains_is_taken) {
  const auto config = parse_config(
      "[domains]\nacme_external_key_id = 'kid-1'\nacme_external_mac_key_file = 'mac-key'\n"
      "resolvers = ['192.0.2.53', '192.0.2.53:5353', '[2001:db8::53]', '[2001:db8::53]:5353']\n",
      k_file);
  ASSERT_TRUE(config) << to_string(config.error());
  EXPECT_EQ(config->domains.acme_external_key_id, "kid-1");
  EXPECT_EQ(config->domains.acme_external_mac_key_file, "/etc/atlasflow/mac-key");
  EXPECT_EQ(config->domains.resolvers.size(), 4U);
}

TEST(Config, relative_paths_start_at_the_files_folder) {
  const auto config = parse_config("state_dir = 'state'\n", k_file);
  ASSERT_TRUE(config);
  EXPECT_EQ(config->state_dir, "/etc/atlasflow/state");
}

struct WrongCase {
  const char* text;
  const char* line;
  const char* says;
};

class WrongConfig : public testing::TestWithParam<WrongCase> {};

TEST_P(WrongConfig, is_refused_with_its_line_and_what_would_be_right) {
  const auto config = parse_config(GetParam().text, k_file);
  ASSERT_FALSE(config);
  EXPECT_EQ(config.error().code, ErrorCode::invalid_argument);
  EXPECT_THAT(config.error().message, HasSubstr(k_file.string() + ", line " + GetParam().line));
  EXPECT_THAT(config.error().message, HasSubstr(GetParam().says));
}

INSTANTIATE_TEST_SUITE_P(
    Keys, WrongConfig,
    testing::Values(
        WrongCase{"\ncolour = 'red'\n", "2", "colour is not known"},
        WrongCase{"[edge]\nhttp = '127.0.0.1:80'\nhttp2 = true\n", "3", "edge.http2 is not known"},
        WrongCase{"[edgy]\n", "1", "edgy is not known"},
        WrongCase{"domain = 5\n", "1", "text in quotes"},
        WrongCase{"domain = 'Not A Host'\n", "1", "hostname"},
        WrongCase{"edge = 1\n", "1", "write [edge]"},
        WrongCase{"[edge]\nhttp = 'localhost:80'\n", "2", "IPv4 address"},
        WrongCase{"[edge]\nhttp = '127.0.0.1:99999'\n", "2", "IPv4 address"},
        WrongCase{"[edge]\nredirect_http = 'yes'\n", "2", "true or false"},
        WrongCase{"[edge]\nconnections_per_address = 0\n", "2", "whole number from 1"},
        WrongCase{"[api]\nwebhook_listen = '0.0.0.0:7070'\n", "2", "loopback"},
        WrongCase{"[registry]\naddress = 'http://x:1/'\n", "2", "HOST:PORT"},
        WrongCase{"[registry]\naddress = 'x:1'\nport = 5000\n", "3", "can't stand beside"},
        WrongCase{"[builder]\ncount = 0\n", "2", "from 1 to 64"},
        WrongCase{"[builder]\ncount = 1.5\n", "2", "whole number"},
        WrongCase{"[vm]\naccelerator = 'hax'\n", "2", "auto, kvm, tcg"},
        WrongCase{"[domains]\nresolvers = ['2001:db8::53:53:']\n", "2", "list of name servers"},
        WrongCase{"[domains]\nresolvers = ['192.0.2.1', '192.0.2.2', '192.0.2.3', '192.0.2.4', "
                  "'192.0.2.5']\n",
                  "2", "at most 4 name servers"},
        WrongCase{"[domains]\ndns01_hook = '/bin/hook'\n", "2", "needs domains.acme_directory"},
        WrongCase{"[domains]\nacme_directory = 'https://ca.example/dir'\nacme_terms_agreed = true\n"
                  "dns01_hook = '/bin/hook'\n",
                  "4", "'atlasflow.localhost' is a name of this machine only"},
        WrongCase{"domain = 'co.uk'\n[domains]\nacme_directory = 'https://ca.example/dir'\n"
                  "acme_terms_agreed = true\ndns01_hook = '/bin/hook'\n",
                  "5", "is a public suffix"},
        WrongCase{"[domains]\ndns01_server = '192.0.2.53'\n", "2",
                  "needs domains.dns01_tsig_key_file"},
        WrongCase{"[domains]\ndns01_tsig_key_file = 'key'\n", "2", "needs domains.dns01_server"},
        WrongCase{"[domains]\ndns01_server = 'ns.example'\ndns01_tsig_key_file = 'key'\n", "2",
                  "must be a name server's address"},
        WrongCase{"domain = 'apps.example'\n[domains]\ndns01_server = '192.0.2.53'\n"
                  "dns01_tsig_key_file = 'key'\ndns01_hook = '/bin/hook'\n",
                  "5", "choose one of both"},
        WrongCase{"[domains]\nacme_fallback_directory = 'https://second.example/dir'\n"
                  "acme_fallback_terms_agreed = true\n",
                  "2", "needs domains.acme_directory"},
        WrongCase{"[domains]\nacme_directory = 'https://ca.example/dir'\nacme_terms_agreed = true\n"
                  "acme_fallback_directory = 'https://ca.example/dir'\n",
                  "4", "must be another authority"},
        WrongCase{"[domains]\nacme_directory = 'https://ca.example/dir'\nacme_terms_agreed = true\n"
                  "acme_fallback_directory = 'https://second.example/dir'\n",
                  "4", "needs domains.acme_fallback_terms_agreed = true"},
        WrongCase{"[domains]\nacme_fallback_contact = 'ops@example.com'\n", "2",
                  "needs domains.acme_fallback_directory"},
        WrongCase{"[domains]\nacme_fallback_profile = 'classic'\n", "2",
                  "needs domains.acme_fallback_directory"},
        WrongCase{"[edge]\nmemory_mib = 8\n", "2", "must be 0 or at least 16"},
        WrongCase{"[domains]\nacme_fallback_contact = 'nobody'\n", "2", "an e-mail address"},
        WrongCase{"[domains]\nacme_fallback_external_key_id = 'kid-2'\n", "2",
                  "needs domains.acme_fallback_external_mac_key_file"},
        WrongCase{"[domains]\nacme_challenge = 'dns-01'\n", "2",
                  "must be auto, http-01 or tls-alpn-01"},
        WrongCase{"[domains]\nacme_external_key_id = 'kid-1'\n", "2",
                  "needs domains.acme_external_mac_key_file"},
        WrongCase{"[domains]\nacme_external_mac_key_file = 'key'\n", "2",
                  "needs domains.acme_external_key_id"},
        WrongCase{"[log]\nlevel = 'loud'\n", "2", "debug, info, warn, error"},
        WrongCase{"a = 1\nb = = 2\n", "2", "not TOML"}));

TEST(Config, a_file_that_is_missing_is_named) {
  const auto config = load_config("/nonexistent/atlasflow.toml");
  ASSERT_FALSE(config);
  EXPECT_THAT(config.error().message, HasSubstr("/nonexistent/atlasflow.toml"));
}

}  // namespace
}  // namespace atlasflow::server
