// What a build's log must not show, in whatever pieces it comes.
#include "builder/image/log_mask.hpp"

#include <algorithm>
#include <chrono>
#include <random>

#include <gmock/gmock.h>

#include "builder/image/build_log.hpp"
#include "tests/builder/scratch.hpp"

namespace atlasflow::builder {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

std::string masked(const std::vector<std::string_view>& values, std::string_view text) {
  return LogMask(values).masked(text);
}

TEST(LogMask, a_value_is_hidden_wherever_the_text_is_cut) {
  const std::string text = "token=npm_abcdefghij, again npm_abcdefghijnpm_abcdefghij! npm_abc";
  const std::string wanted = "token=***, again ***! npm_abc";
  for (std::size_t first = 0; first <= text.size(); ++first) {
    for (std::size_t second = first; second <= text.size(); ++second) {
      LogMask mask({"npm_abcdefghij"});
      auto shown = mask.take(text.substr(0, first));
      shown += mask.take(text.substr(first, second - first));
      shown += mask.take(text.substr(second));
      ASSERT_EQ(shown + mask.rest(), wanted) << first << " " << second;
    }
  }
}

TEST(LogMask, only_what_may_be_the_beginning_of_a_value_is_kept_back) {
  LogMask mask({"npm_abcdefghij"});
  EXPECT_EQ(mask.take("password? "), "password? ");
  EXPECT_EQ(mask.take("npm_abc"), "");
  EXPECT_EQ(mask.take("x"), "npm_abcx");
  EXPECT_EQ(mask.take("npm"), "");
  EXPECT_EQ(mask.rest(), "npm");
  // A line of a megabyte of beginnings is kept back no longer than a value is.
  EXPECT_GE(mask.take(std::string(1 << 20, 'n')).size(), (1U << 20U) - 64);
}

TEST(LogMask, values_that_overlap_are_hidden_as_a_whole) {
  EXPECT_EQ(masked({"abcdefgh", "efghijkl"}, "-abcdefghijkl-"), "-***-");
  EXPECT_EQ(masked({"abcdefgh", "bcdefghij"}, "-abcdefghij-"), "-***-");
  EXPECT_EQ(masked({"aaaaaaaa"}, "-aaaaaaaaaaa-"), "-***-");
  EXPECT_EQ(masked({"abcdefghXYZ", "cdefghij"}, "-abcdefghij-"), "-ab***-");
}

TEST(LogMask, a_value_of_less_than_eight_bytes_is_no_secret_that_could_be_hidden) {
  EXPECT_EQ(masked({"1234567", ""}, "1234567"), "1234567");
  EXPECT_EQ(masked({"12345678"}, "12345678"), "***");
}

TEST(LogMask, base64_of_a_value_is_hidden_wherever_it_begins) {
  // By base64(1): of the value, "u:" and "me:" before it, and both ways of the letters 62 and 63.
  const std::string value = "p>a?ss~word";
  for (const std::string text :
       {"cD5hP3NzfndvcmQ=", "cD5hP3NzfndvcmQK", "dTpwPmE/c3N+d29yZA==", "dTpwPmE_c3N-d29yZA==",
        "bWU6cD5hP3NzfndvcmQ=", "bWU6cD5hP3NzfndvcmRt"}) {
    const auto shown = masked({value}, "Authorization: Basic " + text + "\n");
    EXPECT_THAT(shown, ::testing::StartsWith("Authorization: Basic ")) << text;
    EXPECT_THAT(shown, HasSubstr("***")) << text;
    // What is left of it are letters that have bits of what is around the value.
    EXPECT_LE(shown.size(), std::string("Authorization: Basic ***\n").size() + 6) << shown;
  }
}

TEST(LogMask, a_long_value_is_hidden_raw_and_in_base64_with_line_breaks) {
  std::string value;
  std::string encoded;  // as base64(1) writes it
  for (int i = 0; i < 40; ++i) value += "0123456789";
  for (int i = 0; i < 5; ++i) {
    encoded += "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2";
    encoded += "\n";
  }
  EXPECT_EQ(masked({value}, "<" + value + ">"), "<***>");
  EXPECT_THAT(masked({value}, encoded), ::testing::StartsWith("***\n"));
}

TEST(LogMask, each_line_of_a_key_is_hidden) {
  const std::string key =
      "-----BEGIN KEY-----\r\nMIIEvQIBADANBgkqh\r\nkiG9w0BAQEFAASCB\r\n-----END KEY-----\r\n";
  EXPECT_EQ(masked({key}, "a\n" + key + "b"), "a\n***b");
  EXPECT_EQ(masked({key}, "  1 MIIEvQIBADANBgkqh\n  2 kiG9w0BAQEFAASCB\n"), "  1 ***\n  2 ***\n");
  EXPECT_EQ(masked({"a-token-of-one-line\n"}, "a-token-of-one-line."), "***.");
}

// Against the definition: a byte is hidden when it is part of a value that stands there.
TEST(LogMask, hides_just_what_it_should_of_any_text) {
  std::mt19937 random(11);
  const auto letters = [&](std::size_t size) {
    std::string text(size, 'a');
    for (auto& c : text) c = static_cast<char>('a' + random() % 2);
    return text;
  };
  for (int run = 0; run < 300; ++run) {
    std::vector<std::string> values;
    for (std::size_t i = 0; i <= random() % 3; ++i) values.push_back(letters(8 + random() % 6));
    std::string text = letters(200);
    for (const auto& value : values) text.replace(random() % 150, value.size(), value);
    std::vector<bool> hidden(text.size());
    for (const auto& value : values) {
      for (auto at = text.find(value); at != std::string::npos; at = text.find(value, at + 1)) {
        std::fill_n(hidden.begin() + static_cast<std::ptrdiff_t>(at), value.size(), true);
      }
    }
    std::string wanted;
    for (std::size_t i = 0; i < text.size(); ++i) {
      if (!hidden[i]) wanted += text[i];
      if (hidden[i] && (i == 0 || !hidden[i - 1])) wanted += "***";
    }
    LogMask mask({values.begin(), values.end()});
    std::string shown;
    for (std::size_t at = 0; at < text.size();) {
      const auto size = 1 + random() % 9;
      shown += mask.take(std::string_view(text).substr(at, size));
      at += size;
    }
    ASSERT_EQ(shown + mask.rest(), wanted) << text;
  }
}

// A step that prints beginnings of a value over and over must not hold up who reads its output.
TEST(LogMask, takes_time_in_proportion_to_the_text_whatever_it_is) {
  const std::string value = std::string(128 * 1024 - 1, 'a') + "b";
  LogMask mask({value});
  const std::string text(4U << 20U, 'a');
  const auto began = std::chrono::steady_clock::now();
  EXPECT_EQ(mask.take(text), "***");
  // Comparing anew at each byte would take hours.
  EXPECT_LT(std::chrono::steady_clock::now() - began, std::chrono::seconds(60));
}

TEST(BuildLog, shows_a_value_neither_in_output_nor_in_a_note_nor_in_what_errors_are_made_of) {
  const Scratch scratch;
  auto log = BuildLog::open(scratch.path(), "b-1");
  ASSERT_TRUE(log);
  log->hide(LogMask({"npm_abcdefghij"}));
  log->heading("Building with npm_abcdefghij");
  log->output("fetch npm_abcd");
  log->output("efghij\nlast words: npm_abc");
  EXPECT_EQ(log->tail(), "fetch ***\nlast words: npm_abc");
  log->note("npm_abcdefghij");
  EXPECT_EQ(read(scratch.path() / "b-1.build.log"),
            "-----> Building with ***\nfetch ***\nlast words: npm_abc\n       ***\n");
}

}  // namespace
}  // namespace atlasflow::builder
