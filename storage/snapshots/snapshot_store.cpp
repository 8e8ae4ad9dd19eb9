#include "storage/snapshots/snapshot_store.hpp"

#include <string_view>
#include <utility>

#include "base/log.hpp"
#include "base/probe.hpp"
#include "events/fold_codec.hpp"

namespace atlasflow::storage {
namespace {

constexpr std::string_view k_magic = "afsnap2\n";
constexpr std::string_view k_ending = ".snapshot";
constexpr std::size_t k_kept = 2;

std::string header_of(const FoldMaker& maker, const Snapshot& snapshot) {
  FoldWriter fields;
  fields.put(maker);
  fields.put(snapshot.position);
  fields.put(snapshot.chain);
  fields.put(snapshot.shape);
  fields.put(snapshot.state.size());
  return std::move(fields).take();
}

std::shared_ptr<rocksdb::Env> process_env() {
  return {rocksdb::Env::Default(), [](rocksdb::Env* /*of the process*/) {}};
}

}  // namespace

SnapshotStore::SnapshotStore(std::filesystem::path folder, FoldMaker maker)
    : SnapshotStore(std::move(folder), std::move(maker), process_env()) {}

SnapshotStore::SnapshotStore(std::filesystem::path folder, FoldMaker maker,
                             std::shared_ptr<rocksdb::Env> env)
    : files_{folder.string(), k_ending, k_magic}, maker_(std::move(maker)), env_(std::move(env)) {}

Result<void> SnapshotStore::write(const Snapshot& snapshot) const {
  ATLAS_TRYV(
      write_checked(*env_, files_, snapshot.position, header_of(maker_, snapshot), snapshot.state));
  remove_older();
  return {};
}

std::vector<Position> SnapshotStore::positions() const { return positions_of(*env_, files_); }

Result<Snapshot> SnapshotStore::read(Position position, const EventLog& log) const {
  ATLAS_TRY(auto snapshot, read_of_anyone(position, log));
  if (snapshot.made_by != maker_) return fail(ErrorCode::conflict, "another build made it");
  return snapshot;
}

Result<Snapshot> SnapshotStore::read_of_anyone(Position position, const EventLog& log) const {
  ATLAS_TRY(auto bytes, read_checked(*env_, files_, position));
  const auto content = content_of(files_, bytes);
  FoldReader fields(content);
  Snapshot snapshot;
  std::size_t size = 0;
  fields.take(snapshot.made_by);
  fields.take(snapshot.position);
  fields.take(snapshot.chain);
  fields.take(snapshot.shape);
  fields.take(size);
  if (!fields.is_good() || size != fields.rest().size() || snapshot.position != position) {
    return fail(ErrorCode::corrupt, "its bytes are damaged");
  }
  ATLAS_TRYV(expect_of_log(log, position, snapshot.chain));
  // The state may be large: it stays where it is.
  const auto begin = k_magic.size() + content.size() - size;
  bytes.resize(begin + size);
  bytes.erase(0, begin);
  snapshot.state = std::move(bytes);
  return snapshot;
}

Result<FoldMaker> SnapshotStore::maker_of(Position position) const {
  return maker_in_head(*env_, files_, position);
}

void SnapshotStore::drop(Position position, const std::string& why) const {
  ATLAS_PROBE(true, "a snapshot was dropped");
  const auto removed = env_->DeleteFile(files_.path_of(position));
  log_event(LogLevel::warn, "snapshots", "dropped",
            {{"position", position.value()}, {"reason", why}, {"removed", removed.ok()}});
}

void SnapshotStore::remove_older() const {
  const auto found = positions();
  for (std::size_t i = k_kept; i < found.size(); ++i) {
    static_cast<void>(env_->DeleteFile(files_.path_of(found[i])));
  }
}

}  // namespace atlasflow::storage
