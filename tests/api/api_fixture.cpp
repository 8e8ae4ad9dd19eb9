#include "tests/api/api_fixture.hpp"

#include <cstdlib>
#include <fstream>

#include "base/assert.hpp"

namespace atlasflow::api::testing {

TemporaryFolder::TemporaryFolder() {
  std::string name = "/tmp/atlasflow-api-XXXXXX";
  ATLAS_ASSERT(::mkdtemp(name.data()) != nullptr, "no temporary folder");
  path_ = name;
}

TemporaryFolder::~TemporaryFolder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

void ApiTest::start() {
  if (api_) return;
  config_.socket = folder_.path() / "api.sock";
  config_.log_dir = folder_.path();
  config_.version = "0.1.0";
  config_.build_id = "build-1";
  config_.https_port = 8443;
  auto started = start_api(config_, control_);
  ATLAS_ASSERT(started.has_value(), to_string(started.error()));
  api_ = std::move(*started);
}

Client ApiTest::connect() {
  start();
  return Client::on_unix_socket(config_.socket);
}

Client ApiTest::connect_webhook() {
  start();
  return Client::on_port(api_->webhook_port());
}

Answer ApiTest::ask(std::string_view method, std::string_view target, std::string_view body) {
  auto answer = connect().ask(request_text(method, target, {}, body));
  EXPECT_TRUE(answer.has_value()) << method << " " << target << " was not answered";
  return answer.value_or(Answer{});
}

nlohmann::json ApiTest::get(std::string_view target) {
  const auto answer = ask("GET", target);
  EXPECT_EQ(answer.status, 200) << answer.body;
  EXPECT_EQ(answer.field("Content-Type"), "application/json");
  return nlohmann::json::parse(answer.body);
}

void ApiTest::write_log(const std::string& name, std::string_view text) {
  std::ofstream(folder_.path() / name, std::ios::app) << text << std::flush;
}

}  // namespace atlasflow::api::testing
