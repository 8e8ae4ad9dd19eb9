// Restoring: everything is there again and goes on; nothing that is damaged, cut or hostile becomes
// a state folder.
#include <algorithm>

#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

#include "backup/backup_folder.hpp"
#include "backup/log_contents.hpp"
#include "backup/state_folder.hpp"
#include "tests/backup/state_fixture.hpp"

namespace atlasflow::backup {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

class Restoring : public StateFixture {
 protected:
  // The file is named, and nothing is left of the attempt.
  void expect_damage(const std::string& named) {
    const auto done = restore(restore_config());
    ASSERT_FALSE(done) << named;
    EXPECT_EQ(done.error().code, ErrorCode::corrupt) << to_string(done.error());
    EXPECT_THAT(to_string(done.error()), HasSubstr(named));
    EXPECT_FALSE(fs::exists(restored()));
    EXPECT_FALSE(check_backup(restore_config())) << named;
  }

  // A manifest that says something else, with a name that fits it.
  void forge(const std::function<void(nlohmann::ordered_json&)>& change) {
    const auto path = fs::directory_iterator(backups() / "backups")->path();
    auto json = nlohmann::ordered_json::parse(read(path));
    change(json);
    fs::remove(path);
    const auto text = json.dump(1) + "\n";
    write(backups() / "backups" / manifest_name(1, text), text);
  }
};

TEST_F(Restoring, gives_the_same_log_the_same_state_and_every_file) {
  add_blob("a layer");
  const auto made = must_back_up();
  const auto done = restore(restore_config());
  ASSERT_TRUE(done) << to_string(done.error());
  EXPECT_EQ(done->state, made.state);
  EXPECT_EQ(done->chain, made.chain);
  EXPECT_FALSE(done->folds_otherwise);
  EXPECT_FALSE(done->lacks_authority_key);
  EXPECT_EQ(stored_records(restored() / "events"), stored_records(state_ / "events"));
  const auto verified = storage::verify_folder(restored() / "events");
  ASSERT_TRUE(verified) << to_string(verified.error());
  EXPECT_EQ(state_digest_of(**storage::open_event_log_for_reading(restored() / "events")).value(),
            made.state);
  const auto files = files_to_save(state_, true).value().paths;
  EXPECT_EQ(files_to_save(restored(), true).value().paths, files);
  for (const auto& file : files) {
    EXPECT_EQ(read(restored() / file), read(state_ / file)) << file;
    struct stat was {};
    struct stat is {};
    ASSERT_EQ(::stat((state_ / file).c_str(), &was), 0);
    ASSERT_EQ(::stat((restored() / file).c_str(), &is), 0);
    EXPECT_EQ(is.st_mode, was.st_mode) << file;
    EXPECT_EQ(is.st_mtim.tv_nsec, was.st_mtim.tv_nsec) << file;
    EXPECT_LE(is.st_blocks, was.st_blocks) << file;  // a hole is a hole again
  }
  EXPECT_EQ(layout_of(restored()).value(), 1);
  EXPECT_FALSE(fs::exists(restored() / k_restoring));
  const auto secrets =
      storage::open_secret_store(restored() / "secrets", restored() / "secret.key").value();
  EXPECT_EQ(secrets->open(k_context, sealed_.ref).value(), k_value);
  const auto certificates =
      storage::open_secret_store(restored() / "certificates/sealed", restored() / "secret.key")
          .value();
  EXPECT_EQ(certificates->open("certificate/f00d", sealed_certificate_.ref).value(),
            "a key and its chain");
  EXPECT_EQ(read(restored() / "certificates/certificates/f00d.json"), "{}");
}

TEST_F(Restoring, the_log_goes_on_under_a_newer_epoch_and_knows_its_deliveries) {
  must_back_up();
  must_restore(restore_config());
  storage::EventLogConfig config;
  config.folder = restored() / "events";
  config.build_id = "build-b";
  const auto log = storage::open_event_log(config).value();
  storage::Record newest;
  std::string key;
  ASSERT_TRUE(log->read_all(Position(1), [&](const storage::Record& record) {
    newest = record;
    if (!record.dedupe_key.empty()) key = record.dedupe_key;
    return true;
  }));
  ASSERT_FALSE(key.empty());
  EXPECT_GT(log->begin_epoch().value(), newest.writer_epoch);
  const auto again = storage::append(*log, {storage::request("deployment/new", 0, 1, key)});
  EXPECT_TRUE(std::holds_alternative<storage::Duplicate>(again.front()));
  storage::fill(*log, "deployment/new", 0, 3);
  EXPECT_TRUE(storage::verify(*log));
}

TEST_F(Restoring, an_earlier_backup_by_its_number) {
  const auto first = must_back_up();
  append(env_set("MORE", sealed_));
  must_back_up();
  auto config = restore_config();
  config.number = 1;
  const auto done = restore(config);
  ASSERT_TRUE(done) << to_string(done.error());
  EXPECT_EQ(done->position, first.position);
  EXPECT_EQ(done->state, first.state);
  config.number = 3;
  config.state = folder_.path() / "third";
  const auto none = restore(config);
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().code, ErrorCode::invalid_argument);
  EXPECT_THAT(none.error().message, HasSubstr("there are: 1 2"));
}

TEST_F(Restoring, a_backup_of_a_restored_folder_goes_on_in_the_same_place) {
  must_back_up();
  must_restore(restore_config());
  state_ = restored();
  EXPECT_EQ(must_back_up().objects_added, 0U);
  append(env_set("MORE", sealed_));
  EXPECT_EQ(must_back_up().events_added, 1U);
}

TEST_F(Restoring, into_a_folder_that_is_named_with_a_slash_closes_nothing_above_it) {
  must_back_up();
  ASSERT_EQ(::chmod(folder_.path().c_str(), 0755), 0);
  auto config = restore_config();
  config.state = restored() / "";
  must_restore(config);
  struct stat above {};
  ASSERT_EQ(::stat(folder_.path().c_str(), &above), 0);
  EXPECT_EQ(above.st_mode & 0777U, 0755U);
  for (const auto* made : {"", "logs", "secrets", "ca"}) {
    EXPECT_EQ(fs::status(restored() / made).permissions(), fs::perms::owner_all) << made;
  }
  EXPECT_EQ(stored_records(restored() / "events"), stored_records(state_ / "events"));
}

TEST_F(Restoring, is_refused_where_something_is_and_changes_nothing_there) {
  must_back_up();
  write(restored() / "letter.txt", "dear reader");
  const auto done = restore(restore_config());
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().code, ErrorCode::conflict);
  EXPECT_THAT(done.error().message, HasSubstr("letter.txt"));
  EXPECT_THAT(contents_below(restored()), SizeIs(1));
}

TEST_F(Restoring, what_a_kill_left_is_no_state_folder) {
  must_back_up();
  write(restored() / "RESTORING", "");
  write(restored() / "secrets/half", "");
  const auto done = restore(restore_config());
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().code, ErrorCode::conflict);
  EXPECT_THAT(done.error().message, HasSubstr("remove what is in it"));
}

TEST_F(Restoring, without_keys_it_needs_the_key_that_sealed_the_values) {
  auto making = backup_config();
  making.keys = false;
  ASSERT_TRUE(make_backup(making));
  auto config = restore_config();
  const auto without = restore(config);
  ASSERT_FALSE(without);
  EXPECT_EQ(without.error().code, ErrorCode::invalid_argument);
  EXPECT_THAT(without.error().message, HasSubstr("--key"));
  config.key_file = folder_.path() / "wrong.key";
  write(config.key_file, std::string(32, 'k'));
  const auto wrong = restore(config);
  ASSERT_FALSE(wrong);
  EXPECT_THAT(wrong.error().message, HasSubstr("is not the one"));
  write(config.key_file, "short");
  EXPECT_THAT(restore(config).error().message, HasSubstr("32 bytes"));
  EXPECT_FALSE(fs::exists(restored()));
  config.key_file = state_ / "secret.key";
  const auto done = restore(config);
  ASSERT_TRUE(done) << to_string(done.error());
  EXPECT_TRUE(done->lacks_authority_key);
  const auto secrets =
      storage::open_secret_store(restored() / "secrets", restored() / "secret.key").value();
  EXPECT_EQ(secrets->open(k_context, sealed_.ref).value(), k_value);
}

TEST_F(Restoring, of_a_server_without_a_key_needs_none) {
  fs::remove(state_ / "secret.key");
  auto making = backup_config();
  making.keys = false;
  ASSERT_TRUE(make_backup(making));
  auto config = restore_config();
  config.key_file = folder_.path() / "some.key";
  write(config.key_file, std::string(32, 'k'));
  const auto done = restore(config);
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().code, ErrorCode::invalid_argument);
  EXPECT_THAT(done.error().message, HasSubstr("none is needed"));
  must_restore(restore_config());
}

TEST_F(Restoring, every_damaged_cut_or_missing_file_is_named) {
  must_back_up();
  for (const auto& [path, bytes] : contents_below(backups())) {
    if (path == "lock") continue;
    const auto file = backups() / path;
    auto flipped = bytes;
    flipped[bytes.size() / 2] = static_cast<char>(flipped[bytes.size() / 2] ^ 4);
    write(file, flipped);
    expect_damage(path == "FORMAT" ? backups().string() : file.filename().string());
    write(file, bytes.substr(0, bytes.size() - 1));
    if (path != "FORMAT") expect_damage(file.filename().string());
    write(file, bytes + "x");
    if (path != "FORMAT") expect_damage(file.filename().string());
    if (path.starts_with("objects")) {
      fs::remove(file);
      expect_damage(file.filename().string());
    }
    write(file, bytes);
  }
  must_restore(restore_config());
}

TEST_F(Restoring, of_a_newer_format_says_which_build_made_it) {
  must_back_up();
  forge([](auto& json) {
    json["format"] = 2;
    json["build"] = "build-z";
  });
  expect_damage("made by a newer version of Atlasflow (build build-z");
}

TEST_F(Restoring, no_manifest_leads_out_of_the_state_folder) {
  must_back_up();
  for (const auto* path :
       {"../outside", "/etc/outside", "logs/../../outside", "logs/..", "secrets", "events/anchor",
        "VERSION", "logs/x.tmp", "", "vm/x", "secret.key/x", "ca/other", "logs"}) {
    std::string before;
    forge([&](auto& json) {
      before = json["files"][0]["path"];
      json["files"][0]["path"] = path;
    });
    expect_damage("is no path of a state folder");
    forge([&](auto& json) { json["files"][0]["path"] = before; });
  }
  must_restore(restore_config());
}

TEST_F(Restoring, a_log_that_is_another_than_the_manifest_says_is_refused) {
  must_back_up();
  for (const auto* member : {"chain", "state"}) {
    std::string before;
    forge([&](auto& json) {
      before = json[member];
      json[member] = std::string(64, '0');
      if (std::string(member) == "chain") json["log"][0]["chain"] = json[member];
    });
    EXPECT_FALSE(restore(restore_config())) << member;
    EXPECT_FALSE(check_backup(restore_config())) << member;
    EXPECT_FALSE(fs::exists(restored()));
    forge([&](auto& json) {
      json[member] = before;
      if (std::string(member) == "chain") json["log"][0]["chain"] = before;
    });
  }
  forge([](auto& json) { json["position"] = 47; });
  expect_damage("does not end where it says");
}

TEST_F(Restoring, of_another_build_says_when_it_folds_otherwise_and_goes_on) {
  must_back_up();
  forge([](auto& json) {
    json["state"] = std::string(64, '0');
    json["build"] = "build-older";
  });
  const auto done = restore(restore_config());
  ASSERT_TRUE(done) << to_string(done.error());
  EXPECT_TRUE(done->folds_otherwise);
}

TEST_F(Restoring, garbage_for_a_manifest_never_crashes) {
  must_back_up();
  const auto path = fs::directory_iterator(backups() / "backups")->path();
  const auto text = read(path);
  fs::remove(path);
  for (std::size_t at = 0; at < text.size(); at += 7) {
    for (const char with : {'"', '9', '{', '\xff', '-'}) {
      auto changed = text;
      changed[at] = with;
      static_cast<void>(parse_manifest(changed, "file"));
      static_cast<void>(parse_manifest(changed.substr(0, at), "file"));
    }
  }
  EXPECT_TRUE(parse_manifest(text, "file"));
}

}  // namespace
}  // namespace atlasflow::backup
