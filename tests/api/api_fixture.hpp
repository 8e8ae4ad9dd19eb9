// An API over a recording control plane, on a unix socket and a loopback port of its own.
#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "api/api.hpp"
#include "tests/api/client.hpp"
#include "tests/api/recording_control_plane.hpp"

namespace atlasflow::api::testing {

// A folder that goes with its owner, short enough for a unix socket's path.
class TemporaryFolder {
 public:
  TemporaryFolder();
  ~TemporaryFolder();
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;

  [[nodiscard]] const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

class ApiTest : public ::testing::Test {
 protected:
  // Starts with the first use, so that a test can set up the control plane and the config before.
  void start();
  void stop() { api_.reset(); }

  [[nodiscard]] Client connect();          // to the unix socket
  [[nodiscard]] Client connect_webhook();  // to the TCP port
  [[nodiscard]] Answer ask(std::string_view method, std::string_view target,
                           std::string_view body = {});
  [[nodiscard]] nlohmann::json get(std::string_view target);       // the JSON of a 200
  void write_log(const std::string& name, std::string_view text);  // appends

  TemporaryFolder folder_;
  RecordingControlPlane control_;
  ApiConfig config_;
  std::unique_ptr<Api> api_;
};

}  // namespace atlasflow::api::testing
