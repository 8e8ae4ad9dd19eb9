// Thousands of simulated servers have much to say, and a test that fails tells its own story.
#include <gtest/gtest.h>
#include <spdlog/spdlog.h>

namespace {

class QuietLog final : public testing::Environment {
 public:
  void SetUp() override { spdlog::set_level(spdlog::level::off); }
};

// New because: GoogleTest takes it over.
const auto* const k_quiet_log = testing::AddGlobalTestEnvironment(new QuietLog);

}  // namespace
