// Making backups: what is in them, what a second one adds, what is refused.
#include <atomic>
#include <thread>

#include <gmock/gmock.h>

#include "backup/backup_folder.hpp"
#include "backup/log_contents.hpp"
#include "tests/backup/state_fixture.hpp"

namespace atlasflow::backup {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

class Making : public StateFixture {
 protected:
  void expect_refused(const BackupConfig& config, ErrorCode code, const std::string& said) {
    const auto made = make_backup(config);
    ASSERT_FALSE(made);
    EXPECT_EQ(made.error().code, code);
    EXPECT_THAT(made.error().message, HasSubstr(said));
  }

  [[nodiscard]] fs::path blob_path(const std::string& digest) const {
    return state_ / k_registry_folder / "blobs/sha256" / digest.substr(0, 2) / digest / "data";
  }

  // Nothing is missing then; the images' blobs, whose bytes nobody has, are damaged, so many.
  std::size_t make_all_that_is_reached() const {
    storage::Catalog catalog;
    const auto log = storage::open_event_log_for_reading(state_ / "events").value();
    EXPECT_TRUE(log->read_all(Position(1), [&](const storage::Record& record) {
      catalog.apply(record);
      return true;
    }));
    const auto needs = contents_of(catalog).worthwhile;
    for (const auto& ref : needs.sealed) {
      if (ref != sealed_.ref) write(state_ / "secrets" / ref, "sealed");
    }
    for (const auto& image : needs.images) {
      write(blob_path(image.str().substr(image.str().rfind(':') + 1)), "half of it");
    }
    return needs.images.size();
  }

  [[nodiscard]] std::map<std::uint64_t, fs::path> manifests() const {
    std::map<std::uint64_t, fs::path> files;
    for (const auto& entry : fs::directory_iterator(backups() / "backups")) {
      files.emplace(std::stoull(entry.path().filename()), entry.path());
    }
    return files;
  }
};

TEST_F(Making, holds_everything_that_cannot_be_made_again_and_nothing_that_is_half_made) {
  add_blob("a layer");
  const auto report = must_back_up();
  EXPECT_EQ(report.number, 1U);
  EXPECT_EQ(report.position, Position(48));
  EXPECT_EQ(report.events_added, 48U);
  EXPECT_THAT(report.missing, Not(IsEmpty()));  // the recorded server's images
  EXPECT_THAT(report.damaged, IsEmpty());
  const auto folder = BackupFolder::open_for_reading(backups()).value();
  const auto manifest = folder.manifest(1).value();
  std::vector<std::string> paths;
  for (const auto& file : manifest.files) paths.push_back(file.path);
  const auto digest = sha256_hex("a layer");
  EXPECT_THAT(paths, ElementsAre("ca/ca.key", "ca/ca.pem", "certificates/certificates/f00d.json",
                                 "certificates/sealed/" + sealed_certificate_.ref,
                                 "logs/n2kbbobu-v4.build.log", "logs/n2kbbobu-v8.run.log",
                                 std::string(k_registry_folder) + "/blobs/sha256/" +
                                     digest.substr(0, 2) + "/" + digest + "/data",
                                 "secret.key", "secrets/" + sealed_.ref));
  EXPECT_EQ(manifest.state,
            state_digest_of(**storage::open_event_log_for_reading(state_ / "events")).value());
  // Of the run log only what is behind its hole.
  EXPECT_LT(report.bytes_added, static_cast<std::uint64_t>(k_hole_bytes));
}

TEST_F(Making, holds_repositories_whatever_their_branches_are_called) {
  const auto in = [](std::string_view name) {
    std::string path = "git/ab2c/repository.git/";
    return path.append(name);
  };
  for (const char* kept : {"HEAD", "config", "refs/heads/main", "refs/heads/x.tmp",
                           "refs/heads/tmp_y", "refs/heads/z.new", "refs/heads/x/repository.new-ui",
                           "refs/heads/a/repository.git/objects/tmp_x", "refs/heads/.tmp-1",
                           "objects/pack/pack-1.pack"}) {
    write(state_ / in(kept), kept);
  }
  write(state_ / "git/ab2c/pending.json", "{}");
  for (const char* left :
       {"refs/heads/main.lock", "objects/pack/tmp_pack_1",
        "objects/tmp_objdir-incoming-1/pack/pack-2.pack", "objects/pack/.tmp-12-pack-1f.pack"}) {
    write(state_ / in(left), left);
  }
  write(state_ / "git/ab2c/pending.json.1-2.tmp", "half");
  write(state_ / "git/ab2c/repository.new/HEAD", "half");
  std::vector<std::string> saved;
  const auto files = files_to_save(state_, false);
  ASSERT_TRUE(files) << to_string(files.error());
  for (const auto& file : files->paths) {
    if (file.starts_with("git/")) saved.push_back(file.substr(9));
    EXPECT_TRUE(belongs_to_backup(file)) << file;
  }
  EXPECT_THAT(saved,
              testing::UnorderedElementsAre(
                  "pending.json", "repository.git/HEAD", "repository.git/config",
                  "repository.git/refs/heads/main", "repository.git/refs/heads/x.tmp",
                  "repository.git/refs/heads/tmp_y", "repository.git/refs/heads/z.new",
                  "repository.git/refs/heads/x/repository.new-ui",
                  "repository.git/refs/heads/a/repository.git/objects/tmp_x",
                  "repository.git/refs/heads/.tmp-1", "repository.git/objects/pack/pack-1.pack"));
  EXPECT_THAT(git_objects_to_save(state_).value(), ElementsAre(in("objects/pack/pack-1.pack")));
  EXPECT_FALSE(belongs_to_backup(in("../../../secret.key")));
  EXPECT_FALSE(belongs_to_backup(in("objects/tmp_objdir-1/a")));
  must_back_up();
  const auto restored_once = restore(restore_config());
  ASSERT_TRUE(restored_once) << to_string(restored_once.error());
  EXPECT_EQ(read(restored() / in("refs/heads/z.new")), "refs/heads/z.new");
}

TEST_F(Making, a_branch_whose_name_is_no_text_is_left_out_and_named) {
  const fs::path heads = "git/ab2c/repository.git/refs/heads";
  write(state_ / heads / "main", "a commit");
  write(state_ / heads / "caf\xE9", "a commit");
  write(state_ / heads / "f\xFCr" / "x", "a commit");
  const auto report = must_back_up();
  EXPECT_THAT(report.nameless, testing::UnorderedElementsAre((heads / "caf\xEF\xBF\xBD").string(),
                                                             (heads / "f\xEF\xBF\xBDr").string()));
  must_restore(restore_config());
  EXPECT_THAT(contents_below(restored() / heads), ElementsAre(testing::Key("main")));
  // Anywhere else it is nobody's choice.
  write(state_ / "logs" / "caf\xE9", "a log");
  expect_refused(backup_config(), ErrorCode::invalid_argument, "whose name is no text");
}

TEST_F(Making, a_file_in_the_place_of_a_folder_is_no_failure) {
  // As where a branch was removed and one with the name of its folder came.
  write(state_ / "git", "no folder");
  must_back_up();
}

TEST_F(Making, only_the_owner_can_read_it) {
  must_back_up();
  for (const auto& entry : fs::recursive_directory_iterator(backups())) {
    const auto mode = entry.status().permissions();
    EXPECT_EQ(mode & (fs::perms::group_all | fs::perms::others_all), fs::perms::none)
        << entry.path();
  }
  EXPECT_EQ(fs::status(backups()).permissions(), fs::perms::owner_all);
}

TEST_F(Making, a_second_one_adds_only_what_is_new) {
  add_blob(std::string(100'000, 'x'));
  const auto first = must_back_up();
  const auto again = must_back_up();
  EXPECT_EQ(again.number, 2U);
  EXPECT_EQ(again.events_added, 0U);
  EXPECT_EQ(again.objects_added, 0U);
  EXPECT_EQ(again.state, first.state);
  const auto other = storage::open_secret_store(state_ / "secrets", state_ / "secret.key")
                         .value()
                         ->seal("web/OTHER", "v");
  append(env_set("OTHER", *other));
  const auto third = must_back_up();
  EXPECT_EQ(third.events_added, 1U);
  EXPECT_EQ(third.objects_added, 2U);  // the event and the value
  EXPECT_LT(third.bytes_added, 1'000U);
  EXPECT_NE(third.state, first.state);
}

TEST_F(Making, a_file_that_changed_under_its_size_is_read_again) {
  must_back_up();
  write(state_ / "logs/n2kbbobu-v4.build.log", "STEP 1\nSTEP X\n");
  EXPECT_EQ(must_back_up().objects_added, 1U);
}

TEST_F(Making, old_ones_go_with_what_only_they_need) {
  must_back_up();
  write(state_ / "logs/n2kbbobu-v4.build.log", "another log\n");
  must_back_up();
  write(state_ / "logs/n2kbbobu-v4.build.log", "a third log\n");
  auto config = backup_config();
  config.keep = 1;
  const auto made = make_backup(config);
  ASSERT_TRUE(made) << to_string(made.error());
  EXPECT_THAT(made->removed, ElementsAre(1U, 2U));
  std::string all;
  for (const auto& [path, bytes] : contents_below(backups())) all += bytes;
  EXPECT_THAT(all, Not(HasSubstr("another log")));
  EXPECT_THAT(all, HasSubstr("a third log"));
  EXPECT_TRUE(check_backup(restore_config()));
}

TEST_F(Making, without_keys_it_holds_neither_the_key_nor_what_signs_certificates) {
  const auto key = read(state_ / "secret.key");
  auto config = backup_config();
  config.keys = false;
  ASSERT_TRUE(make_backup(config));
  for (const auto& [path, bytes] : contents_below(backups())) {
    EXPECT_THAT(bytes, Not(HasSubstr(key))) << path;
    EXPECT_THAT(bytes, Not(HasSubstr("PRIVATE KEY"))) << path;
    EXPECT_THAT(bytes, Not(HasSubstr(k_value))) << path;
  }
}

TEST_F(Making, beside_a_writer_it_has_what_was_acknowledged_before_it_began) {
  storage::EventLogConfig config;
  config.folder = state_ / "events";
  config.build_id = "build-a";
  const auto log = storage::open_event_log(config).value();
  ASSERT_TRUE(log->begin_epoch());
  std::atomic<std::uint64_t> acknowledged{0};
  std::atomic<bool> stop{false};
  std::thread writer([&] {
    for (std::uint64_t version = 0; !stop; ++version) {
      storage::append_one(*log, storage::request("deployment/busy", version));
      acknowledged = log->last_position().value();
    }
  });
  for (int i = 0; i < 5; ++i) {
    while (acknowledged == 0) std::this_thread::yield();
    const auto before = acknowledged.load();
    const auto report = must_back_up();
    EXPECT_GE(report.position.value(), before);
    EXPECT_TRUE(check_backup(restore_config()));
  }
  stop = true;
  writer.join();
}

TEST_F(Making, says_what_the_log_reaches_and_the_state_folder_lacks) {
  fs::remove(state_ / "secrets" / sealed_.ref);
  fs::remove_all(state_ / "registry");
  EXPECT_THAT(must_back_up().missing, Contains("the sealed value " + sealed_.ref));
}

TEST_F(Making, says_which_blob_is_not_what_its_name_says) {
  const auto digest = add_blob("a layer");
  const auto blob =
      state_ / k_registry_folder / "blobs/sha256" / digest.substr(0, 2) / digest / "data";
  write(blob, "A layer");
  EXPECT_THAT(must_back_up().damaged, ElementsAre(blob.string()));
  EXPECT_THAT(must_back_up().damaged, ElementsAre(blob.string()));  // as long as it is
}

TEST_F(Making, an_image_is_there_when_its_manifest_and_all_that_it_names_are) {
  const auto layer = add_blob("a layer");
  const auto manifest = add_blob(R"({"config":{"digest":"sha256:)" + sha256_hex("config") +
                                 R"("},"layers":[{"digest":"sha256:)" + layer + R"("}]})");
  must_back_up();
  const auto folder = BackupFolder::open_for_reading(backups()).value();
  LogNeeds needs;
  needs.images = {ImageRef("127.0.0.1:5000/web@sha256:" + manifest)};
  const auto missing = missing_of(needs, folder.manifest(1)->files, folder.objects(), true).value();
  ASSERT_EQ(missing.size(), 1U);
  EXPECT_THAT(missing[0], HasSubstr(sha256_hex("config")));
}

TEST_F(Making, is_refused_where_it_would_be_lost_with_the_state_folder) {
  auto config = backup_config();
  config.folder = state_ / "backups";
  expect_refused(config, ErrorCode::invalid_argument, "lie in each other");
  config.folder = state_.parent_path();
  expect_refused(config, ErrorCode::invalid_argument, "lie in each other");
  config.folder = backups();
  config.state = folder_.path() / "nothing";
  expect_refused(config, ErrorCode::invalid_argument, "no state folder");
  EXPECT_FALSE(fs::exists(backups()));
}

TEST_F(Making, a_folder_that_is_named_relative_to_the_state_folder_lies_in_it_too) {
  const auto before = fs::current_path();
  fs::current_path(state_);
  auto config = backup_config();
  config.folder = "backups";
  expect_refused(config, ErrorCode::invalid_argument, "lie in each other");
  fs::current_path(before);
  EXPECT_FALSE(fs::exists(state_ / "backups"));
}

TEST_F(Making, writes_segments_that_have_gone_again_and_heals_the_backups_before) {
  const auto first = must_back_up();
  append(env_set("MORE", sealed_));
  must_back_up();
  std::vector<fs::path> objects;
  {
    const auto folder = BackupFolder::open_for_reading(backups()).value();
    const auto manifest = folder.manifest(2).value();
    for (const auto& segment : manifest.log) {
      objects.push_back(folder.objects().path_of(segment.object.sha256));
    }
  }
  ASSERT_EQ(objects.size(), 2U);
  for (const auto& object : objects) {
    fs::remove(object);
    const auto report = must_back_up();
    EXPECT_EQ(report.events_added, object == objects[0] ? 49U : 1U);
    const auto checked = check_backup(restore_config());
    EXPECT_TRUE(checked) << to_string(checked.error());
  }
  auto config = restore_config();
  config.number = 1;
  EXPECT_EQ(check_backup(config)->chain, first.chain);
  must_restore(restore_config());
}

TEST_F(Making, of_another_log_is_refused_though_the_segments_have_gone) {
  append(env_set("MORE", sealed_));
  must_back_up();
  fs::remove_all(backups() / "objects");
  fs::remove_all(state_ / "events");
  fs::copy(RECORDED_LOG, state_ / "events", fs::copy_options::recursive);
  expect_refused(backup_config(), ErrorCode::invalid_argument, "of another event log");
}

TEST_F(Making, goes_on_behind_a_damaged_manifest_and_names_it) {
  must_back_up();
  must_back_up();
  const auto newest = manifests().at(2);
  const auto whole = read(newest);
  write(newest, whole.substr(0, whole.size() / 2));
  const auto report = must_back_up();
  EXPECT_EQ(report.number, 3U);
  EXPECT_EQ(report.objects_added, 0U);  // it goes on from the first
  EXPECT_THAT(report.damaged_manifests, ElementsAre(newest.string()));
  EXPECT_THAT(must_back_up().damaged_manifests, IsEmpty());
  EXPECT_TRUE(check_backup(restore_config()));
}

TEST_F(Making, keeps_so_many_whole_ones_and_no_object_goes_as_long_as_one_is_damaged) {
  must_back_up();
  must_back_up();
  write(manifests().at(2), "{}");
  fs::remove(state_ / "logs/n2kbbobu-v4.build.log");  // only the first needs it from here on
  auto config = backup_config();
  config.keep = 2;
  const auto objects = contents_below(backups() / "objects").size();
  EXPECT_THAT(make_backup(config)->removed, IsEmpty());
  config.keep = 1;
  EXPECT_THAT(make_backup(config)->removed, ElementsAre(1, 2, 3));
  EXPECT_LT(contents_below(backups() / "objects").size(), objects);
  must_back_up();
  write(manifests().at(5), "{}");
  fs::remove(state_ / "logs/n2kbbobu-v8.run.log");
  const auto before = contents_below(backups() / "objects").size();
  EXPECT_THAT(make_backup(config)->removed, ElementsAre(4, 5));
  EXPECT_LT(contents_below(backups() / "objects").size(), before);
}

TEST_F(Making, over_a_manifest_of_a_newer_format_is_refused) {
  must_back_up();
  const std::string newer = R"({"format": 2, "build": "build-z"})";
  write(backups() / "backups" / manifest_name(2, newer), newer);
  expect_refused(backup_config(), ErrorCode::corrupt, "made by a newer version of Atlasflow");
}

TEST_F(Making, what_vanishes_with_its_event_between_log_and_files_is_not_missing) {
  auto config = backup_config();
  int rounds = 0;
  config.between_log_and_files = [&] {
    if (++rounds != 1) return;
    pb::Event event;
    event.mutable_env_unset()->set_name("PASSPHRASE");
    append(event);
    fs::remove(state_ / "secrets" / sealed_.ref);
  };
  const auto made = make_backup(config);
  ASSERT_TRUE(made) << to_string(made.error());
  EXPECT_GE(rounds, 2);
  EXPECT_EQ(made->position, Position(49));
  EXPECT_THAT(made->missing, Not(Contains("the sealed value " + sealed_.ref)));
}

TEST_F(Making, what_is_damaged_is_looked_at_twice_though_nothing_is_missing) {
  const auto damaged = make_all_that_is_reached();
  ASSERT_GT(damaged, 0U);
  auto config = backup_config();
  int rounds = 0;
  config.between_log_and_files = [&] { ++rounds; };
  const auto made = make_backup(config);
  ASSERT_TRUE(made) << to_string(made.error());
  EXPECT_THAT(made->missing, IsEmpty());
  EXPECT_THAT(made->damaged, testing::SizeIs(damaged));
  EXPECT_EQ(rounds, 2);
}

TEST_F(Making, what_was_half_written_in_a_later_look_is_looked_at_again_too) {
  const auto damaged = make_all_that_is_reached();
  const std::string whole = "all of it";
  auto config = backup_config();
  int rounds = 0;
  fs::path blob;
  config.between_log_and_files = [&] {
    if (++rounds == 1) {
      pb::Event event;
      event.mutable_env_unset()->set_name("PASSPHRASE");
      append(event);
      fs::remove(state_ / "secrets" / sealed_.ref);
    } else if (rounds == 2) {
      blob = blob_path(sha256_hex(whole));
      write(blob, whole.substr(0, whole.size() / 2));
    } else {
      write(blob, whole);
    }
  };
  const auto made = make_backup(config);
  ASSERT_TRUE(made) << to_string(made.error());
  EXPECT_THAT(made->missing, IsEmpty());
  EXPECT_THAT(made->damaged, testing::SizeIs(damaged));
  EXPECT_GE(rounds, 3);
}

TEST_F(Making, an_image_that_names_itself_is_looked_at_once) {
  // A damaged blob may hold anything; a whole one cannot name itself.
  const std::string digest(64, 'a');
  std::string deep = R"({"layers":)" + std::string(200'000, '[') + std::string(200'000, ']') + "}";
  for (const auto& text : {R"({"manifests":[{"digest":"sha256:)" + digest +
                               R"("},{"digest":"sha256:)" + digest + R"("}]})",
                           deep}) {
    write(blob_path(digest), text);
    must_back_up();
    const auto folder = BackupFolder::open_for_reading(backups()).value();
    LogNeeds needs;
    needs.images = {ImageRef("127.0.0.1:5000/web@sha256:" + digest)};
    const auto files = folder.manifest(folder.numbers().back())->files;
    EXPECT_THAT(missing_of(needs, files, folder.objects(), true).value(), IsEmpty());
  }
}

TEST_F(Making, is_refused_in_a_folder_that_holds_something_else) {
  write(backups() / "letter.txt", "dear reader");
  expect_refused(backup_config(), ErrorCode::invalid_argument, "letter.txt");
  EXPECT_THAT(contents_below(backups()), testing::SizeIs(1));
  fs::remove(backups() / "letter.txt");
  ::chmod(backups().c_str(), 0777);
  expect_refused(backup_config(), ErrorCode::invalid_argument, "others may write into");
  ::chmod(backups().c_str(), 0755);
  write(backups() / "FORMAT", "atlasflow-backup 2\n");
  expect_refused(backup_config(), ErrorCode::corrupt, "made by a newer version");
}

TEST_F(Making, is_refused_while_another_one_works_in_the_folder) {
  must_back_up();
  const auto other = BackupFolder::open_for_writing(backups());
  ASSERT_TRUE(other);
  expect_refused(backup_config(), ErrorCode::conflict, "try again");
}

TEST_F(Making, is_refused_of_another_log_and_of_one_that_forked) {
  must_back_up();
  const auto before = contents_below(backups());
  fs::remove_all(state_);
  make_state(folder_.path() / "other");  // its last event is of another epoch's time
  append(env_set("MORE", sealed_));
  // The same length would do: the chain differs at the position that the backup ends with.
  auto config = backup_config();
  fs::remove_all(state_ / "events");
  fs::copy(RECORDED_LOG, state_ / "events", fs::copy_options::recursive);
  expect_refused(config, ErrorCode::invalid_argument, "of another event log");  // it is shorter
  append(env_set("DIFFERENT", sealed_));
  expect_refused(config, ErrorCode::invalid_argument, "of another event log");
  EXPECT_EQ(contents_below(backups()), before);
}

TEST_F(Making, is_refused_of_a_damaged_log_and_the_backup_before_stays) {
  must_back_up();
  write(state_ / "events/anchor", "atlasflow-anchor 1 position=9\n");
  expect_refused(backup_config(), ErrorCode::corrupt, "anchor");
  EXPECT_TRUE(check_backup(restore_config()));
}

TEST_F(Making, goes_on_where_one_that_was_ended_stopped) {
  // What a kill leaves: objects that no manifest names, half an object, half a manifest.
  must_back_up();
  fs::remove(fs::directory_iterator(backups() / "backups")->path());
  write(backups() / "objects/object.7-0.tmp", "half an obj");
  write(backups() / "backups/000001-0123456789abcdef.json.7-0.tmp", "{\"format\": 1, \"num");
  const auto nothing = restore(restore_config());
  ASSERT_FALSE(nothing);
  EXPECT_THAT(nothing.error().message, HasSubstr("no whole backup"));
  const auto report = must_back_up();
  EXPECT_EQ(report.number, 1U);
  EXPECT_EQ(report.objects_added, 0U);
  EXPECT_FALSE(fs::exists(backups() / "objects/object.7-0.tmp"));
  EXPECT_THAT(contents_below(backups() / "backups"), testing::SizeIs(1));
}

}  // namespace
}  // namespace atlasflow::backup
