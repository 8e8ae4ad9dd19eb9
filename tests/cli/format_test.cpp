#include "cli/format.hpp"

#include <cstdlib>
#include <ctime>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace atlasflow::cli {
namespace {

constexpr TimestampUs k_second = 1'000'000;

TEST(Format, columns_are_aligned_by_characters_and_end_without_spaces) {
  EXPECT_EQ(table({{"NAME", "URL"}, {"hé", "x"}, {"longer", ""}}),
            "NAME    URL\n"
            "hé      x\n"
            "longer\n");
}

TEST(Format, an_age_is_told_in_the_largest_unit_that_fits) {
  const TimestampUs now = 100 * 86'400 * k_second;
  EXPECT_EQ(age(now, now), "just now");
  EXPECT_EQ(age(now, now + k_second), "just now");  // clocks differ
  EXPECT_EQ(age(now, now - 59 * k_second), "59 s ago");
  EXPECT_EQ(age(now, now - 60 * k_second), "1 min ago");
  EXPECT_EQ(age(now, now - 3600 * k_second), "1 h ago");
  EXPECT_EQ(age(now, now - 3 * 86'400 * k_second), "3 days ago");
}

TEST(Format, durations_and_sizes_carry_their_units) {
  EXPECT_EQ(duration(850'000), "850 ms");
  EXPECT_EQ(duration(12'340'000), "12.3 s");
  EXPECT_EQ(duration(243 * k_second), "4 min 3 s");
  EXPECT_EQ(duration(120 * k_second), "2 min");
  EXPECT_EQ(byte_size(17), "17 B");
  EXPECT_EQ(byte_size(4'400'000), "4.2 MiB");
}

TEST(Format, a_progress_bar_is_as_long_as_what_is_done) {
  EXPECT_EQ(progress_bar(0, 3), "[" + std::string(40, ' ') + "]   0 %");
  EXPECT_EQ(progress_bar(1, 2), "[" + std::string(20, '=') + std::string(20, ' ') + "]  50 %");
  EXPECT_EQ(progress_bar(3, 3), "[" + std::string(40, '=') + "] 100 %");
  EXPECT_EQ(progress_bar(9, 3), progress_bar(3, 3));
  EXPECT_EQ(progress_bar(0, 0), progress_bar(3, 3));  // of nothing, all is done
}

TEST(Format, times_are_local) {
  ::setenv("TZ", "UTC-2", 1);
  ::tzset();
  EXPECT_EQ(local_time(0), "1970-01-01 02:00:00");
  EXPECT_EQ(clock_time(1'234'567), "02:00:01.234");
  ::unsetenv("TZ");
  ::tzset();
}

TEST(Format, text_from_a_repository_cannot_steer_the_terminal) {
  EXPECT_EQ(printable("a\x1b[31mb\n\x7f"), "a?[31mb??");
  EXPECT_EQ(printable("x\xC2\x9By"), "x?y");
  EXPECT_EQ(printable("naïve"), "naïve");
}

TEST(Format, an_event_that_somebody_asked_for_says_who_once) {
  EXPECT_EQ(asker_mark("user", "KEY"), "  [user]");
  EXPECT_EQ(asker_mark("webhook:github", "b719b03 on main by ada"), "  [webhook:github]");
  EXPECT_EQ(asker_mark("user", "by=user"), "");
  EXPECT_EQ(asker_mark("system:vm_hosts", "crashed"), "");
  EXPECT_EQ(asker_mark("project", "of an older build"), "");
  EXPECT_EQ(asker_mark("\x1b[31m", "no principal"), "");
}

TEST(Format, long_text_is_cut_between_characters) {
  EXPECT_EQ(shortened("äöü", 3), "äöü");
  EXPECT_EQ(shortened("äöüx", 3), "äö…");
}

TEST(Format, the_seven_events_read_as_sentences_of_what_happened) {
  EXPECT_EQ(event_detail("PushReceived", {{"after", "0123456789abcdef"},
                                          {"ref", "refs/heads/feature/x"},
                                          {"pusher", "ada"}}),
            "0123456 on feature/x by ada");
  EXPECT_EQ(event_detail("PushReceived", {{"after", "0123456789abcdef"},
                                          {"ref", "refs/heads/main"},
                                          {"no_cache", true},
                                          {"pusher", "user"}}),
            "0123456 on main without the layer cache by user");
  EXPECT_EQ(event_detail("PushReceived", {{"after", "0123456789abcdef"},
                                          {"ref", "refs/heads/main"},
                                          {"inferred_at_s", "1700000000"}}),
            "0123456 on main, found by comparison");
  const nlohmann::json fork = {{"number", "7"}, {"from_fork", true}, {"repository", "mallory/web"}};
  EXPECT_EQ(event_detail("PullRequestHeld", {{"pull_request", fork}, {"head", "0123456789abcdef"}}),
            "pull request 7 of the fork mallory/web at 0123456");
  EXPECT_EQ(event_detail("PullRequestClosed", {{"pull_request", {{"number", "7"}}},
                                               {"head", "0123456789abcdef"},
                                               {"merged", true}}),
            "pull request 7 at 0123456, merged");
  EXPECT_EQ(event_detail("RepositoryMoved", {{"from", "https://github.com/acme/web.git"},
                                             {"url", "https://github.com/acme/shop.git"}}),
            "https://github.com/acme/web.git is https://github.com/acme/shop.git now");
  EXPECT_EQ(event_detail("RedeployRequested",
                         {{"of", "abcdefg2"}, {"by", "user"}, {"push", {{"no_cache", true}}}}),
            "redeploy of abcdefg2 without the layer cache by user");
  EXPECT_EQ(event_detail("Cloned", {{"subject", "Fix"}, {"author", "Ada"}, {"size_bytes", "2048"}}),
            "“Fix” by Ada, 2.0 KiB");
  EXPECT_EQ(event_detail("Built", {{"stack", "dockerfile"}, {"duration_us", "1200000"}}),
            "dockerfile in 1.2 s");
  EXPECT_EQ(
      event_detail("VMStarted", {{"vm_id", "d-v9"}, {"address", "127.0.0.1"}, {"port", 4000}}),
      "d-v9 at 127.0.0.1:4000");
  EXPECT_EQ(event_detail("VMStarted", {{"vm_id", "d-v9"},
                                       {"address", "127.0.0.1"},
                                       {"port", 4000},
                                       {"notices", {"volumes are not kept"}}}),
            "d-v9 at 127.0.0.1:4000; volumes are not kept");
  EXPECT_EQ(event_detail("Healthy", {{"status", 200}, {"after_us", "1500000"}}),
            "status 200 after 1.5 s");
  EXPECT_EQ(event_detail("Healthy", {{"status", 0}, {"after_us", "10000000"}}),
            "it ran for 10.0 s");
  EXPECT_EQ(event_detail("Routed", {{"hostnames", {"a.localhost", "b.localhost"}}}),
            "a.localhost, b.localhost");
}

TEST(Format, a_failure_tells_its_step_and_reason) {
  EXPECT_EQ(event_detail("DeploymentFailed", {{"step", "STEP_BUILD"}, {"reason", "exit 1"}}),
            "build: exit 1");
  EXPECT_EQ(event_detail("HealthDeadlineExceeded",
                         {{"limit_us", "5000000"}, {"last_status", 500}, {"last_error", ""}}),
            "no 2xx in 5.0 s, last: status 500");
  EXPECT_EQ(
      event_detail("HealthCheckFailed",
                   {{"last_status", 301}, {"last_error", "answers 301 to /x: set health_path"}}),
      "answers 301 to /x: set health_path");
}

TEST(Format, what_an_owner_asked_for_reads_as_such) {
  EXPECT_EQ(event_detail("RollbackRequested", {{"to", "d7k2m9qa"}, {"by", "user"}}),
            "to d7k2m9qa by user");
  EXPECT_EQ(event_detail("RedeployRequested",
                         {{"of", "d7k2m9qa"}, {"kind", "REDEPLOYMENT_PROMOTE"}, {"by", "user"}}),
            "promote of d7k2m9qa by user");
  EXPECT_EQ(event_detail("ScaleRequested", {{"replicas", 3}, {"by", "user"}}), "to 3 by user");
  EXPECT_EQ(event_detail("CrashLoopDetected", {{"slot", 1}, {"crashes", 10}}),
            "instance 1, 10 crashes in a row");
  EXPECT_EQ(event_detail("VMRestarting", {{"slot", 0}, {"attempt", 2}}), "instance 0, crash 2");
  EXPECT_EQ(event_detail("ReleaseSucceeded", {{"duration_us", "1200000"}}), "in 1.2 s");
  EXPECT_EQ(event_detail("DeploymentFailed", {{"step", "STEP_RELEASE"}, {"reason", "exit 1"}}),
            "release command: exit 1");
}

TEST(Format, what_made_a_deployment_names_its_source_and_who_but_for_the_user) {
  EXPECT_EQ(made_by({{"kind", "push"}, {"source", nullptr}, {"requested_by", "ada"}}),
            "push by ada");
  EXPECT_EQ(made_by({{"kind", "deploy"}}), "deploy");
  EXPECT_EQ(made_by({{"kind", "rollback"}, {"source", "d7k2m9qa"}, {"requested_by", "user"}}),
            "rollback to d7k2m9qa");
  EXPECT_EQ(made_by({{"kind", "rollback"}, {"source", "d7k2"}, {"requested_by", "d9 crashed"}}),
            "rollback to d7k2 (d9 crashed)");
  EXPECT_EQ(made_by({{"kind", "restart"}, {"source", "d7k2m9qa"}, {"requested_by", "user"}}),
            "restart of d7k2m9qa");
}

TEST(Format, every_status_is_known_by_its_name) {
  EXPECT_EQ(status_of({{"status", "queued"}}), DeploymentStatus::queued);
  EXPECT_EQ(status_of({{"status", "skipped"}}), DeploymentStatus::skipped);
  EXPECT_EQ(status_of({{"status", "retired"}}), DeploymentStatus::retired);
  EXPECT_EQ(status_of({{"status", "of a later version"}}), std::nullopt);
}

TEST(Format, a_wait_tells_step_attempt_and_time_left) {
  EXPECT_EQ(wait_line({{"step", "clone"}, {"attempt", 2}, {"due_us", 5'000'000}, {"slot", nullptr}},
                      1'000'000),
            "clone: attempt 2, due in 4.0 s");
  EXPECT_EQ(wait_line({{"step", "VM start"}, {"attempt", 1}, {"due_us", 1}, {"slot", 0}}, 5),
            "VM start of instance 0: attempt 1, due in 0 ms");
}

TEST(Format, an_event_without_words_of_its_own_shows_its_fields) {
  EXPECT_EQ(event_detail("NodeStarted", {{"epoch", "3"}, {"version", "0.1.0"}}),
            "epoch=3 version=0.1.0");
  EXPECT_EQ(event_detail("ProjectDeleted", nlohmann::json::object()), "");
}

TEST(Format, numbers_come_as_numbers_or_as_protobufs_text) {
  EXPECT_EQ(number_of({{"n", 5}}, "n"), 5);
  EXPECT_EQ(number_of({{"n", "5"}}, "n"), 5);
  EXPECT_EQ(number_of({{"n", nullptr}}, "n"), 0);
  EXPECT_EQ(number_of({{"m", 5}}, "n"), 0);
}

}  // namespace
}  // namespace atlasflow::cli
