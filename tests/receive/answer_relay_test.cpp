#include "receive/answer_relay.hpp"

#include <gmock/gmock.h>

namespace atlasflow::receive {
namespace {

constexpr std::string_view k_head = "Content-Type: x\r\nCache-Control: no-cache\r\n\r\n";

struct Relayed {
  std::string sent;
  int status = 0;
  bool has_sideband = false;
  std::string rest;  // that was sent by finish()
};

Relayed relayed(std::string_view answer, std::size_t piece) {
  Relayed out;
  AnswerRelay relay([&](std::string_view bytes) { out.sent += bytes; });
  for (std::size_t at = 0; at < answer.size(); at += piece) relay.take(answer.substr(at, piece));
  out.status = relay.status();
  out.has_sideband = relay.has_sideband();
  const auto sent = out.sent.size();
  relay.finish();
  out.rest = out.sent.substr(sent);
  out.sent.resize(sent);
  return out;
}

TEST(AnswerRelay, the_end_of_the_answer_is_held_back_however_it_comes) {
  constexpr std::string_view report =
      "000a\2work\n"
      "000e\1unpack ok"
      "0000";
  for (const std::size_t piece : {1UL, 3UL, 1000UL}) {
    const auto out = relayed(std::string(k_head).append(report), piece);
    EXPECT_EQ(out.sent + out.rest, report);
    EXPECT_EQ(out.rest, "0000");
    EXPECT_EQ(out.status, 200);
    EXPECT_TRUE(out.has_sideband);
  }
}

TEST(AnswerRelay, an_end_that_was_none_goes_on) {
  constexpr std::string_view refs = "001f# service=git-receive-pack\n00000008abcd0000";
  const auto out = relayed(std::string(k_head).append(refs), 7);
  EXPECT_EQ(out.sent + out.rest, refs);
  EXPECT_EQ(out.rest, "0000");
  EXPECT_FALSE(out.has_sideband);
}

TEST(AnswerRelay, what_is_no_pkt_line_goes_on_as_it_is) {
  const auto out = relayed("Status: 403 Forbidden\r\n\r\nno such service", 4);
  EXPECT_EQ(out.status, 403);
  EXPECT_EQ(out.sent + out.rest, "no such service");
}

TEST(AnswerRelay, a_head_without_end_is_not_kept) {
  const auto out = relayed(std::string(1 << 20, 'x'), 4096);
  EXPECT_EQ(out.sent + out.rest, "");
}

TEST(AnswerRelay, a_line_of_ours_has_no_control_characters_and_an_end) {
  EXPECT_EQ(remote_line("live\x1b[1m\r\n"), std::string("0010\2live?[1m??\n"));
  EXPECT_EQ(refused_answer("no"), std::string("0008\3no\n0000"));
  EXPECT_EQ(still_here(), std::string("0005\2"));
  EXPECT_EQ(remote_line(std::string(5000, 'x')).size(), 4U + 1 + 900 + 1);
}

}  // namespace
}  // namespace atlasflow::receive
