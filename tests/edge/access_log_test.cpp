// The access log by itself: the rings, the lines and the files.
#include "edge/observe/access_log.hpp"

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <nlohmann/json.hpp>

#include "tests/edge/observe_fixture.hpp"

namespace atlasflow::edge {
namespace {

TEST(AccessRing, gives_back_what_was_put_in_order_and_drops_when_full) {
  AccessRing ring(4096);
  const std::string long_text(300, 'x');
  std::uint64_t put = 0;
  std::uint64_t taken = 0;
  std::uint64_t dropped = 0;
  for (int round = 0; round < 1000; ++round) {
    // Of every length, so that the end of the ring is met in every way.
    for (int i = 0; i < 1 + round % 17; ++i) {
      AccessRecord record;
      record.request_bytes = put;
      const std::string_view text =
          std::string_view(long_text).substr(0, static_cast<std::size_t>((round * 7 + i) % 300));
      if (ring.put(record, {text, "b", {}, {}, {}, {}, {}, {}, {}, {}, "end"})) {
        ++put;
      } else {
        ++dropped;
      }
    }
    ring.drain([&](const AccessRecord& record, const AccessRing::Texts& texts) {
      ASSERT_EQ(record.request_bytes, taken);
      ASSERT_EQ(texts[1], "b");
      ASSERT_EQ(texts[10], "end");
      ASSERT_EQ(texts[0].find_first_not_of('x'), std::string_view::npos);
      ++taken;
    });
    ASSERT_EQ(taken, put);
  }
  EXPECT_GT(put, 1000U);
  EXPECT_GT(dropped, 0U);
}

TEST(AccessRing, is_read_by_another_thread_while_it_is_written) {
  AccessRing ring(16 << 10);
  constexpr std::uint64_t k_records = 200'000;
  std::atomic<bool> done{false};
  std::uint64_t next = 0;
  std::thread reader([&] {
    for (bool last = false; !last;) {
      last = done.load();
      ring.drain([&](const AccessRecord& record, const AccessRing::Texts& texts) {
        // Some are dropped, none comes twice, torn or out of order.
        ASSERT_GE(record.request_bytes, next);
        ASSERT_EQ(texts[0], std::to_string(record.request_bytes));
        next = record.request_bytes + 1;
      });
    }
  });
  for (std::uint64_t i = 0; i < k_records; ++i) {
    AccessRecord record;
    record.request_bytes = i;
    const std::string text = std::to_string(i);
    (void)ring.put(record, {text});
  }
  done.store(true);
  reader.join();
  EXPECT_GT(next, 0U);
}

TEST(AccessLog, no_name_leads_out_of_the_folder) {
  EXPECT_EQ(access_log_path("/f", "shop"), "/f/shop.http.log");
  for (const char* name : {"", ".", "..", "../x", "a/b", ".hidden", "a b", "a\n"}) {
    EXPECT_TRUE(access_log_path("/f", name).empty()) << name;
  }
}

class AccessLogFiles : public EdgeTest {
 protected:
  std::unique_ptr<AccessLog> start_log(const std::function<void(AccessLogConfig&)>& change = {}) {
    AccessLogConfig config;
    config.folder = directory_ + "/access";
    config.bytes_max = std::uint64_t{1} << 30U;
    if (change) change(config);
    auto log = AccessLog::start(config, 1);
    EXPECT_TRUE(log.has_value());
    return log ? std::move(*log) : nullptr;
  }
  static void put(AccessLog& log, std::string_view project, std::string_view path) {
    AccessTexts texts;
    texts.project = project;
    texts.path = path;
    log.put(0, {}, texts);
  }
  [[nodiscard]] std::string text(const std::string& project) const {
    return text_of(directory_ + "/access/" + project + ".http.log");
  }
};

std::size_t lines_in(const std::string& text) {
  return static_cast<std::size_t>(std::count(text.begin(), text.end(), '\n'));
}

TEST_F(AccessLogFiles, a_full_ring_drops_at_once_and_what_it_drops_is_counted) {
  constexpr std::uint64_t k_lines = 100'000;
  const std::string path(200, 'x');
  std::uint64_t lost = 0;
  {
    const auto log = start_log([](AccessLogConfig& config) { config.ring_bytes = 16 << 10; });
    for (std::uint64_t i = 0; i < k_lines; ++i) put(*log, "shop", path);
    EXPECT_TRUE(eventually([&] { return lines_in(text("shop")) + log->lost() == k_lines; }))
        << lines_in(text("shop")) << " " << log->lost();
    lost = log->lost();
  }
  EXPECT_GT(lost, 0U) << "nobody waited";
  EXPECT_EQ(lines_in(text("shop")) + lost, k_lines) << "each is a line or counted";
}

TEST_F(AccessLogFiles, on_a_full_disk_nothing_is_written_and_that_is_counted) {
  const auto log = start_log([](AccessLogConfig& config) { config.free_bytes_min = UINT64_MAX; });
  put(*log, "shop", "/1");
  EXPECT_TRUE(eventually([&] { return log->lost() == 1; }));
  EXPECT_EQ(text("shop"), "");
}

TEST_F(AccessLogFiles, what_is_there_at_the_end_is_written) {
  {
    const auto log = start_log();
    put(*log, "shop", "/1");
    put(*log, "", "/2");
    put(*log, "../../etc/x", "/3");
  }
  EXPECT_EQ(nlohmann::json::parse(text("shop")).at("path"), "/1");
  EXPECT_EQ(nlohmann::json::parse(text("_none")).at("path"), "/2");
  EXPECT_FALSE(std::filesystem::exists(directory_ + "/../etc"));
}

// Each of the 256 bytes in each text: a line stays one line, one object, and says what it should.
TEST(AccessLine, no_byte_breaks_out_of_its_text) {
  for (int byte = 0; byte < 256; ++byte) {
    const std::string text = std::string("a") + static_cast<char>(byte) + "\",\"status\":1,\"b";
    std::string line;
    append_access_line({}, {"shop", text, text, text, text, text, text, text, text, text, text},
                       line);
    ASSERT_EQ(lines_in(line), 1U) << byte;
    ASSERT_EQ(line.back(), '\n');
    for (const char c : line.substr(0, line.size() - 1)) {
      ASSERT_TRUE(c >= 0x20 && c <= 0x7E) << byte << " comes out as " << static_cast<int>(c);
    }
    const auto object = nlohmann::json::parse(line, nullptr, false);
    ASSERT_TRUE(object.is_object()) << line;
    EXPECT_EQ(object.at("status"), 0) << line;
    EXPECT_FALSE(object.contains("b"));
    for (const char* name : {"request_id", "client", "host", "method", "path", "agent", "instance",
                             "error", "client_request_id", "trace_id"}) {
      const auto said = object.at(name).get<std::string>();
      EXPECT_TRUE(said.ends_with("\",\"status\":1,\"b")) << name << " is " << said;
    }
  }
}

TEST(AccessLine, has_the_time_of_its_end_and_milliseconds_of_any_length) {
  AccessRecord record;
  record.ended_ms = 1'782'907'200'007;
  record.duration_us = 7'200'000'042;  // a websocket of two hours
  record.sent_us = 5;
  std::string line;
  append_access_line(record, {}, line);
  const auto object = nlohmann::json::parse(line);
  EXPECT_EQ(object.at("time"), "2026-07-01T12:00:00.007Z");
  EXPECT_NE(line.find("\"duration_ms\":7200000.042,\"sent_ms\":0.005,\"request_bytes\""),
            std::string::npos)
      << line;
  EXPECT_FALSE(object.contains("first_byte_ms")) << "none came";
}

TEST_F(Observe, a_log_keeps_its_newest_lines_and_its_offsets) {
  serve([](EdgeConfig& config) { config.access_log_bytes = 16 << 10; });
  Client client;
  ASSERT_TRUE(client.connect(edge_->http_port()));
  const std::string agent(900, 'a');
  for (int i = 0; i < 60; ++i) {
    ASSERT_EQ(client.get("shop.apps.test", "/" + std::to_string(i), "User-Agent: " + agent + "\r\n")
                  .status,
              200);
  }
  ASSERT_TRUE(logs("shop", "\"path\":\"/59\""));
  EXPECT_EQ(client.get("shop.apps.test", "/last").status, 200);
  ASSERT_TRUE(logs("shop", "\"path\":\"/last\""));
  const std::string text = log_of("shop");
  EXPECT_GT(text.size(), std::size_t{60} * 900) << "what is freed leaves the offsets as they were";
  EXPECT_EQ(text.find("\"path\":\"/0\""), std::string::npos) << "the oldest have gone";
}

}  // namespace
}  // namespace atlasflow::edge
