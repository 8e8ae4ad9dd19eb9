// Where hostnames lead, of users' own domains and of default ones, as the edge is told.
#include <functional>
#include <map>

#include <gtest/gtest.h>

#include "actors/domains/domain_keeper.hpp"

namespace atlasflow::actors {
namespace {

constexpr TimestampUs k_start = 1'800'000'000'000'000;
const std::string k_own = "apps.test";

TEST(DomainHosts, send_visitors_on_where_the_ledger_says) {
  DomainLedger ledger;
  const auto apply = [&](const std::string& name, const std::function<void(pb::Event&)>& fill) {
    pb::Event event;
    fill(event);
    ledger.apply(domain_stream(name), event, k_start);
  };
  for (const std::string name : {"shop.test", "www.shop.test"}) {
    apply(name, [](pb::Event& event) {
      event.mutable_domain_added()->set_project_id("id-web");
      event.mutable_domain_added()->set_project_name("web");
    });
    apply(name, [](pb::Event& event) { event.mutable_domain_verified(); });
    apply(name, [&](pb::Event& event) {
      event.mutable_certificate_uploaded()->mutable_certificate()->set_fingerprint(name);
    });
  }
  apply("www.shop.test",
        [](pb::Event& event) { event.mutable_domain_redirect_set()->set_to("shop.test"); });
  pb::Event primary;
  primary.mutable_settings_changed()->mutable_settings()->set_primary_domain("shop.test");
  ledger.apply(project_stream(ProjectId("id-web")), primary, k_start);
  const auto hosts = hosts_of(ledger, k_own);
  using Pairs = std::map<std::string, std::string>;
  EXPECT_EQ(hosts.targets,
            (Pairs{{"shop.test", "web.apps.test"}, {"www.shop.test", "web.apps.test"}}));
  EXPECT_EQ(hosts.redirects,
            (Pairs{{"web.apps.test", "shop.test"}, {"www.shop.test", "shop.test"}}));
}

}  // namespace
}  // namespace atlasflow::actors
