#include "storage/snapshots/digest_store.hpp"

#include <algorithm>
#include <utility>

#include "base/log.hpp"
#include "base/probe.hpp"
#include "events/fold_codec.hpp"

namespace atlasflow::storage {
namespace {

constexpr std::string_view k_magic = "afdigs1\n";
constexpr std::string_view k_ending = ".digests";
// A build's id and a domain are shorter.
constexpr std::size_t k_head_bytes = 1'024;

}  // namespace

Result<void> expect_of_log(const EventLog& log, Position position, const ChainHash& chain) {
  if (position > log.last_position()) return fail(ErrorCode::conflict, "the log ends before it");
  ATLAS_TRY(const auto record, log.read_at(position));
  if (record && record->chain == chain) return {};
  ATLAS_PROBE(true, "a snapshot was of another log");
  return fail(ErrorCode::conflict, "it is of another log");
}

Result<FoldMaker> maker_in_head(rocksdb::Env& env, const CheckedFiles& files, Position position) {
  ATLAS_TRY(const auto head, read_head(env, files, position, k_head_bytes));
  FoldReader fields(head);
  FoldMaker maker;
  fields.take(maker);
  if (!fields.is_good()) return fail(ErrorCode::corrupt, "its bytes are damaged");
  return maker;
}

DigestStore::DigestStore(std::string folder, std::shared_ptr<rocksdb::Env> env)
    : files_{std::move(folder), k_ending, k_magic}, env_(std::move(env)) {}

Result<void> DigestStore::write(const RecordedDigests& recorded) const {
  FoldWriter body;
  body.put(recorded);
  ATLAS_TRYV(write_checked(*env_, files_, recorded.position, {}, std::move(body).take()));
  thin_out();
  return {};
}

std::vector<Position> DigestStore::positions() const { return positions_of(*env_, files_); }

Result<FoldMaker> DigestStore::maker_of(Position position) const {
  return maker_in_head(*env_, files_, position);
}

Result<RecordedDigests> DigestStore::read(Position position, const EventLog& log) const {
  ATLAS_TRY(const auto whole, read_checked(*env_, files_, position));
  FoldReader fields(content_of(files_, whole));
  RecordedDigests recorded;
  fields.take(recorded);
  if (!fields.is_whole() || recorded.position != position) {
    return fail(ErrorCode::corrupt, "its bytes are damaged");
  }
  ATLAS_TRYV(expect_of_log(log, position, recorded.chain));
  return recorded;
}

void DigestStore::drop(Position position, const std::string& why) const {
  const auto removed = env_->DeleteFile(files_.path_of(position));
  log_event(LogLevel::warn, "snapshots", "digests_dropped",
            {{"position", position.value()}, {"reason", why}, {"removed", removed.ok()}});
}

void DigestStore::thin_out() const {
  for (auto found = positions(); found.size() > k_kept;) {
    // Neither the newest nor the oldest.
    auto closest = found.begin() + 1;
    const auto gap = [](auto at) { return (at - 1)->value() - (at + 1)->value(); };
    for (auto at = closest; at + 1 != found.end(); ++at) {
      if (gap(at) < gap(closest)) closest = at;
    }
    static_cast<void>(env_->DeleteFile(files_.path_of(*closest)));
    found.erase(closest);
  }
}

}  // namespace atlasflow::storage
