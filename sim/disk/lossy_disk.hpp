// A disk in memory that loses what was not synced, tears writes, fails and fills up. It outlives
// the processes that use it (sim/disk/lossy_env.hpp opens it for one), a copy of it is another disk
// with the same content, and nothing on it depends on a clock, an address or a thread. Owned by the
// simulated world and its processes together; any thread may call it, though a run uses one.
//
// What a power cut leaves, strict but no worse than POSIX lets a file system be:
// - Of a file, the bytes up to its last sync, then a part of what was written since, cut at any
//   byte. A file that was emptied without a sync since may have its old bytes again.
// - Of a folder, its entries as of its last sync, then the first few of the changes made since, in
//   their order, as in a journal. Syncing a file does not make its name durable, and one folder's
//   sync says nothing about another's.
// - A sync that failed has lost what it was for: later ones of that file succeed and keep nothing
//   more, as Linux does with pages whose write failed.
// A process that is killed leaves everything it wrote, synced or not.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace atlasflow::sim {

// Answers one of 0 … n-1, n ≥ 1. 0 is always the choice that harms least, so that shrinking a list
// of choices towards zeros makes a run calmer.
using Chooser = std::function<std::uint64_t(std::uint64_t n)>;

enum class DiskStatus { ok, not_found, exists, failed, full, dead, unsupported };

// A file's content, which lives as long as a name or an open handle leads to it. Belongs to the
// disk that made it and is read and changed through it only.
struct DiskFile {
  std::string bytes;
  std::uint64_t synced = 0;           // of the bytes, how many at the head survive a power cut
  std::optional<std::string> before;  // what was durable when it was emptied; until the next sync
  bool sync_lost = false;             // a sync failed: later ones keep nothing more
};
using DiskFilePtr = std::shared_ptr<DiskFile>;

enum class TornSector {
  cut,      // a torn file ends where the write was cut
  garbage,  // or goes on with arbitrary bytes to the end of the 512-byte sector, if the write did
};

// How a process finds out that the disk is full.
enum class FullDisk {
  known,     // it is told when it asks, and a write that goes beyond fails
  racing,    // others take the room between its look and its write: the first to know is the write
  deferred,  // room is given out late: the write succeeds and its sync fails, for good
};

class LossyDisk {
 public:
  using Process = std::uint64_t;

  LossyDisk() = default;
  LossyDisk(const LossyDisk& other);  // content and faults; processes stay with the other one
  LossyDisk& operator=(const LossyDisk&) = delete;

  // Ends ---------------------------------------------------------------------------------------

  // The power fails: every process dies, and what was not synced is kept or lost as chosen.
  void crash(const Chooser& choose, TornSector torn = TornSector::cut);
  // kill -9 of every process: they change nothing from here on, and nothing is lost.
  void process_crash();
  // The process that makes the count-th change (write, sync, change of a folder) from now on is
  // dead in front of it, and every other one with it: how a crash gets into the middle of an
  // append. 0: the next one.
  void kill_after(std::uint64_t count);
  [[nodiscard]] bool kill_is_pending() const;  // armed, and not come yet
  // Changes that were made or tried so far.
  [[nodiscard]] std::uint64_t operations() const;
  [[nodiscard]] bool has_living_process() const;
  // Makes everything durable, as a long time without a crash would.
  void settle();

  // Faults -------------------------------------------------------------------------------------

  void fail_next_sync();  // of a file or a folder
  void fail_syncs(bool on);
  void fail_writes(bool on);  // of bytes, and every change of a folder
  void fail_reads(bool on);
  // Bytes that fit; a write that goes beyond stores what fits and then fails. None: no limit.
  void set_capacity(std::optional<std::uint64_t> bytes, FullDisk kind = FullDisk::known);
  // What a process is told that asks. Nothing: there is no limit.
  [[nodiscard]] std::optional<std::uint64_t> free_bytes() const;
  [[nodiscard]] std::uint64_t used_bytes() const;
  void heal();  // switches all of the above off; damage that was done stays

  // Flips one bit, as a disk that rots. False: there is no such byte.
  bool flip(std::string_view path, std::uint64_t offset);
  // The same in a chosen file whose path holds the text, at a chosen byte. The path and the offset;
  // nothing when no such file has a byte.
  std::optional<std::pair<std::string, std::uint64_t>> flip(const Chooser& choose,
                                                            std::string_view path_part = {});

  // Looking at it -----------------------------------------------------------------------------

  [[nodiscard]] std::vector<std::string> files() const;  // sorted
  [[nodiscard]] std::optional<std::string> read(std::string_view path) const;
  // SHA-256 of names, bytes and what of them is durable, as hex. Equal for two runs of the same
  // operations. Left out is what RocksDB draws from a source of its own in each DB::Open, the
  // session id: the end of a table from that id on, and the manifest's bytes; their sizes count.
  [[nodiscard]] std::string digest() const;

  // For the processes on it (sim/disk/lossy_env.cpp)
  // ------------------------------------------------

  [[nodiscard]] Process start_process();
  void end_process(Process process);  // like a kill of this one
  [[nodiscard]] bool is_alive(Process process) const;

  // The file, made when there is none and emptied when there is one.
  DiskStatus open_for_writing(Process process, std::string_view path, DiskFilePtr& file);
  DiskStatus open_for_reading(Process process, std::string_view path, DiskFilePtr& file);
  DiskStatus append(Process process, DiskFile& file, std::string_view bytes);
  DiskStatus truncate(Process process, DiskFile& file, std::uint64_t size);
  DiskStatus sync(Process process, DiskFile& file);
  // Copies to out; answers how many bytes there were.
  DiskStatus read(const DiskFile& file, std::uint64_t offset, std::size_t count, char* out,
                  std::size_t& copied) const;
  [[nodiscard]] std::uint64_t size_of(const DiskFile& file) const;

  DiskStatus make_folder(Process process, std::string_view path);
  DiskStatus remove_folder(Process process, std::string_view path);  // an empty one
  DiskStatus sync_folder(Process process, std::string_view path);
  DiskStatus remove(Process process, std::string_view path);
  // Within one folder: how two of them would keep one rename is not modelled.
  DiskStatus rename(Process process, std::string_view from, std::string_view to);
  [[nodiscard]] bool is_folder(std::string_view path) const;
  [[nodiscard]] DiskFilePtr find(std::string_view path) const;  // null: none
  // Names in a folder, sorted.
  DiskStatus list(std::string_view path, std::vector<std::string>& names) const;
  // One living process at a time has the lock of a path.
  DiskStatus lock(Process process, std::string_view path);
  void unlock(Process process, std::string_view path);

 private:
  // One change of a folder that its sync has not made durable: what the names led to before.
  struct FolderChange {
    std::string folder;
    std::vector<std::pair<std::string, DiskFilePtr>> before;  // null: no such name
    std::optional<std::string> made_folder;
    std::optional<std::string> removed_folder;
  };

  // In front of every change; dead when it may not be made. The mutex is held in all of these.
  DiskStatus begin_change(Process process);
  void kill_all();
  void undo(const FolderChange& change);
  void lose_folder_changes(const Chooser& choose);
  static void tear(DiskFile& file, const Chooser& choose, TornSector torn);
  [[nodiscard]] std::uint64_t used() const;
  [[nodiscard]] bool sync_fails();
  [[nodiscard]] bool is_full() const;

  mutable std::mutex mutex_;
  std::map<std::string, DiskFilePtr, std::less<>> files_;
  std::set<std::string, std::less<>> folders_{"/"};
  std::vector<FolderChange> changes_;
  std::set<Process> alive_;
  Process last_process_ = 0;
  std::map<std::string, Process, std::less<>> locks_;

  std::uint64_t operations_ = 0;
  std::optional<std::uint64_t> kill_at_;  // the number of the operation
  bool next_sync_fails_ = false;
  bool syncs_fail_ = false;
  bool writes_fail_ = false;
  bool reads_fail_ = false;
  std::optional<std::uint64_t> capacity_bytes_;
  FullDisk full_kind_ = FullDisk::known;
};

}  // namespace atlasflow::sim
