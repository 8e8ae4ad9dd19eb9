#include <filesystem>

#include <gmock/gmock.h>

#include "base/file.hpp"
#include "server/process_setup.hpp"

namespace atlasflow::server {
namespace {

using testing::HasSubstr;

TEST(ServiceManager, a_server_without_one_says_how_to_get_one) {
  EXPECT_EQ(service_hint(true), "");
  const auto hint = service_hint(false);
  EXPECT_THAT(hint, HasSubstr("packaging/atlasflow.service"));
  EXPECT_THAT(hint, HasSubstr("KillMode=process"));
  EXPECT_THAT(hint, HasSubstr("Restart=on-failure"));
}

TEST(ServiceManager, the_unit_lets_the_apps_run_on_and_starts_the_server_again) {
  const std::filesystem::path source = ATLASFLOW_SOURCE_DIR;
  const auto unit = read_file(source / "packaging/atlasflow.service", 65'536).value_or("");
  for (const char* line : {"\nKillMode=process\n", "\nRestart=on-failure\n", "\nDelegate=yes\n",
                           "\nExecStart=/usr/local/bin/atlasflow server"}) {
    EXPECT_THAT(unit, HasSubstr(line));
  }
}

}  // namespace
}  // namespace atlasflow::server
