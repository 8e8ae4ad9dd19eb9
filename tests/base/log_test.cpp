#include "base/log.hpp"

#include <memory>
#include <sstream>
#include <string>
#include <utility>

#include <gtest/gtest.h>
#include <spdlog/sinks/ostream_sink.h>
#include <spdlog/spdlog.h>

namespace atlasflow {
namespace {

using namespace std::string_literals;

TEST(Log, a_line_is_a_part_an_event_and_its_values) {
  EXPECT_EQ(
      log_line("vm", "started", {{"vm", "ab12cd34"s}, {"port", 3000}, {"ok", true}, {"left", -1}}),
      "part=vm event=started vm=ab12cd34 port=3000 ok=true left=-1");
}

TEST(Log, a_value_of_outside_is_one_value_of_one_line) {
  const std::pair<std::string, std::string> cases[] = {
      {"https://a.example:8443/x?", "\"https://a.example:8443/x?\""},
      {"sha256:abc/def_1.2~3%20", "sha256:abc/def_1.2~3%20"},
      {"", "\"\""},
      {"two words", "\"two words\""},
      {"x\nlevel=error part=server event=forged", "\"x\\nlevel=error part=server event=forged\""},
      {"a\" event=forged b=\"", "\"a\\\" event=forged b=\\\"\""},
      {"C:\\x", "\"C:\\\\x\""},
      {"\x1b[2J\r\t\x7f", "\"\\x1b[2J\\r\\t\\x7f\""},
      {"nul\0l"s, "\"nul\\x00l\""},
      {"Grüße → 𝄞", "\"Grüße → 𝄞\""},
      {"\xc2\x9b"
       "2J",
       "\"\\xc2\\x9b2J\""},
      {"cut \xe2\x82", "\"cut \\xe2\\x82\""},
      {"\xff\xc0\x80\xed\xa0\x80\xf5", "\"\\xff\\xc0\\x80\\xed\\xa0\\x80\\xf5\""},
      {"{} {0} %s", "\"{} {0} %s\""},
  };
  for (const auto& [text, written] : cases) EXPECT_EQ(log_value(text), written);
}

TEST(Log, a_long_value_is_cut_and_says_so) {
  const auto value = log_value(std::string(1'000'000, 'x'));
  EXPECT_LT(value.size(), k_log_value_bytes_max + 40);
  EXPECT_TRUE(value.ends_with("… of 1000000 bytes\"")) << value.substr(value.size() - 40);
  EXPECT_EQ(log_value(std::string(k_log_value_bytes_max, 'x')).size(), k_log_value_bytes_max);
}

TEST(Log, an_event_goes_to_the_logger_of_the_process_at_its_level) {
  std::ostringstream lines;
  const auto before = spdlog::default_logger();
  auto logger = std::make_shared<spdlog::logger>(
      "test", std::make_shared<spdlog::sinks::ostream_sink_mt>(lines));
  logger->set_pattern("level=%l %v");
  spdlog::set_default_logger(logger);
  log_event("edge", "adopted", {{"pid", 7}});
  log_event(LogLevel::error, "edge", "died", {{"reason", "{} braces"}});
  log_event(LogLevel::debug, "edge", "beat");
  spdlog::set_default_logger(before);
  EXPECT_EQ(lines.str(),
            "level=info part=edge event=adopted pid=7\n"
            "level=error part=edge event=died reason=\"{} braces\"\n");
}

}  // namespace
}  // namespace atlasflow
