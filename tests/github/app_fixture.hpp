// An App at the GitHub on loopback, which finds no fault in what it is asked.
#pragma once

#include <memory>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "github/app_client.hpp"
#include "tests/github/local_github.hpp"

namespace atlasflow::github {

class AppTest : public testing::Test {
 protected:
  ~AppTest() override { EXPECT_THAT(github_.violations(), testing::IsEmpty()); }

  const RepositoryName web_{"octo", "web"};
  LocalGitHub github_;
  std::shared_ptr<AppClient> app_ =
      *make_app_client(LocalGitHub::k_app_id, Secret(github_.private_key()), github_.base_url());
};

}  // namespace atlasflow::github
