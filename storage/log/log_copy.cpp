#include "storage/log/log_copy.hpp"

#include <algorithm>
#include <map>
#include <set>
#include <utility>
#include <vector>

#include <rocksdb/write_batch.h>

#include "base/file.hpp"
#include "storage/log/anchor.hpp"
#include "storage/log/log_keys.hpp"
#include "storage/log/record_codec.hpp"
#include "storage/log/rocksdb_options.hpp"
#include "storage/log/rocksdb_reader.hpp"

namespace atlasflow::storage {
namespace {

// Of one write: large enough to cost little per record, small enough to cost no memory.
constexpr std::size_t k_batch_bytes = 4ULL << 20U;

rocksdb::Slice slice_of(std::string_view bytes) { return {bytes.data(), bytes.size()}; }

tl::unexpected<Error> broken(std::string what) { return fail(ErrorCode::corrupt, std::move(what)); }

}  // namespace

class LogCopy::Writer {
 public:
  Writer(std::filesystem::path folder, std::unique_ptr<Database> database)
      : folder_(std::move(folder)), database_(std::move(database)) {}

  Result<void> add(std::string_view stored) {
    if (!codec_.check_chain(stored, tip_.chain)) {
      return broken("its hash does not follow from the record before");
    }
    ATLAS_TRYV(codec_.decode_into(stored, record_));
    ATLAS_TRYV(check());
    const auto position = u64_bytes(record_.position.value());
    put(Family::events, position, stored);
    put(Family::streams, stream_key(record_.stream, record_.stream_version), position);
    if (!record_.dedupe_key.empty()) {
      put(Family::dedupe, record_.dedupe_key, dedupe_value(record_.position, record_.stream));
    }
    heads_[record_.stream] = {record_.stream_version, record_.position};
    tip_ = {record_.position, record_.chain};
    epoch_ = record_.writer_epoch;
    return batch_.GetDataSize() < k_batch_bytes ? Result<void>{} : write();
  }

  [[nodiscard]] const Record& last() const { return record_; }

  Result<LogTip> finish(Epoch newest) {
    for (const auto& [stream, head] : heads_) put(Family::heads, stream.str(), head_value(head));
    newest = std::max(newest, epoch_);
    put(Family::meta, k_tip_key, tip_value(tip_));
    put(Family::meta, k_epoch_key, u64_bytes(newest.value()));
    ATLAS_TRYV(write());
    std::vector<rocksdb::ColumnFamilyHandle*> families;
    for (std::size_t i = 0; i < k_family_count; ++i) {
      families.push_back(database_->family(static_cast<Family>(i)));
    }
    if (const auto flushed = database_->db().Flush(rocksdb::FlushOptions(), families);
        !flushed.ok()) {
      return tl::unexpected(storage_error(flushed, "writing " + folder_.string()));
    }
    database_.reset();
    auto& env = *rocksdb::Env::Default();
    // A database with events and no anchor is refused, so this is what makes it a log.
    ATLAS_TRYV(write_anchor(env, folder_, {tip_.last, tip_.chain, newest}));
    return tip_;
  }

 private:
  // What verify() would find, before it is in.
  Result<void> check() {
    if (record_.position != tip_.last.next()) {
      return broken("it is position " + text(record_.position) + ", where position " +
                    text(tip_.last.next()) + " belongs");
    }
    if (record_.stream.empty() || record_.stream.str().find('\0') != std::string::npos) {
      return broken("its stream has no name that a log may hold");
    }
    const auto head = heads_.find(record_.stream);
    const auto version = head == heads_.end() ? StreamVersion{} : head->second.version;
    if (record_.stream_version != version.next()) {
      return broken("it is version " + text(record_.stream_version) + " of stream " +
                    record_.stream.str() + ", where version " + text(version.next()) + " belongs");
    }
    if (record_.event_id != event_id_of(record_.stream, record_.stream_version)) {
      return broken("its event id is " + record_.event_id);
    }
    if (record_.writer_epoch < epoch_) {
      return broken("epoch " + text(record_.writer_epoch) + " wrote it after epoch " +
                    text(epoch_));
    }
    if (!record_.dedupe_key.empty() && !dedupe_keys_.insert(record_.dedupe_key).second) {
      return broken("an earlier record has its dedupe key");
    }
    return {};
  }

  // Put into a batch fails only for a wrong family, which cannot be; Write reports it.
  void put(Family family, std::string_view key, std::string_view value) {
    (void)batch_.Put(database_->family(family), slice_of(key), slice_of(value));
  }

  // Nothing is durable before finish(), so no write-ahead log is kept.
  Result<void> write() {
    rocksdb::WriteOptions options;
    options.disableWAL = true;
    const auto status = database_->db().Write(options, &batch_);
    batch_.Clear();
    if (status.ok()) return {};
    return tl::unexpected(storage_error(status, "writing " + folder_.string()));
  }

  template <typename Number>
  static std::string text(Number number) {
    return std::to_string(number.value());
  }

  std::filesystem::path folder_;
  std::unique_ptr<Database> database_;
  rocksdb::WriteBatch batch_;
  RecordCodec codec_;
  Record record_;
  LogTip tip_;
  Epoch epoch_;
  std::map<StreamId, StreamHead> heads_;
  std::set<std::string> dedupe_keys_;
};

LogCopy::LogCopy(std::unique_ptr<Writer> writer) : writer_(std::move(writer)) {}
LogCopy::~LogCopy() = default;
LogCopy::LogCopy(LogCopy&&) noexcept = default;
LogCopy& LogCopy::operator=(LogCopy&&) noexcept = default;

Result<LogCopy> LogCopy::begin(const std::filesystem::path& folder) {
  if (!names_if_any(folder).empty()) {
    return fail(ErrorCode::conflict, folder.string() + " is not empty; name an empty folder");
  }
  auto& env = *rocksdb::Env::Default();
  ATLAS_TRYV(prepare_folder(env, folder));
  const auto path = (folder / "db").string();
  if (const auto made = env.CreateDirIfMissing(path); !made.ok()) {
    return tl::unexpected(storage_error(made, "making " + path));
  }
  std::vector<rocksdb::ColumnFamilyHandle*> handles;
  rocksdb::DB* opened = nullptr;
  const auto status =
      rocksdb::DB::Open(database_options(&env), path, family_descriptors(), &handles, &opened);
  if (!status.ok()) return tl::unexpected(storage_error(status, "making " + path));
  return LogCopy(std::make_unique<Writer>(
      folder, std::make_unique<Database>(std::unique_ptr<rocksdb::DB>(opened), handles, nullptr)));
}

Result<void> LogCopy::add(std::string_view stored) { return writer_->add(stored); }
const Record& LogCopy::last() const { return writer_->last(); }
Result<LogTip> LogCopy::finish(Epoch newest) { return writer_->finish(newest); }

}  // namespace atlasflow::storage
