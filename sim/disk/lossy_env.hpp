// RocksDB's environment for one simulated process on a LossyDisk: its files are the disk's, its
// time stands still unless it is set, and its background jobs (flush, compaction) wait until
// run_background() runs them on the caller's thread. Shared by the process and its database, which
// keeps it alive; used from one thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <string>

#include <rocksdb/env.h>

#include "events/ids.hpp"
#include "sim/disk/lossy_disk.hpp"

namespace atlasflow::sim {

class LossyEnv final : public rocksdb::EnvWrapper {
 public:
  // A process that begins now, at this time.
  LossyEnv(const std::shared_ptr<LossyDisk>& disk, TimestampUs now);
  ~LossyEnv() override;

  // Runs what RocksDB has queued, and what that queues, and answers how many jobs ran. To be called
  // after opening a log and after each append, never from inside a call of the database. Without it
  // a database whose memtables fill up waits for ever at the third. A dead process runs nothing.
  std::size_t run_background();
  // Ends this process: it changes the disk no more, and its lock is free. The database is destroyed
  // whenever that suits.
  void revoke();
  [[nodiscard]] bool is_alive() const;
  void set_time(TimestampUs now);

  const char* Name() const override { return "LossyEnv"; }
  void Schedule(void (*function)(void*), void* argument, Priority priority, void* tag,
                void (*unscheduled)(void*)) override;
  int UnSchedule(void* tag, Priority priority) override;
  unsigned int GetThreadPoolQueueLen(Priority priority) const override;
  int ReserveThreads(int /*threads*/, Priority /*priority*/) override { return 0; }
  int ReleaseThreads(int /*threads*/, Priority /*priority*/) override { return 0; }
  void SetBackgroundThreads(int /*threads*/, Priority /*priority*/) override {}
  int GetBackgroundThreads(Priority /*priority*/) override { return 1; }
  void IncBackgroundThreadsIfNeeded(int /*threads*/, Priority /*priority*/) override {}
  void LowerThreadPoolIOPriority(Priority /*pool*/) override {}
  void LowerThreadPoolCPUPriority(Priority /*pool*/) override {}
  rocksdb::Status LowerThreadPoolCPUPriority(Priority /*pool*/,
                                             rocksdb::CpuPriority /*priority*/) override {
    return rocksdb::Status::OK();
  }

  std::uint64_t NowMicros() override;
  std::uint64_t NowNanos() override { return NowMicros() * 1000; }
  std::uint64_t NowCPUNanos() override { return 0; }
  void SleepForMicroseconds(int micros) override;
  rocksdb::Status GetCurrentTime(std::int64_t* unix_time) override;
  rocksdb::Status GetHostName(char* name, std::uint64_t size) override;
  std::string GenerateUniqueId() override;
  std::uint64_t GetThreadID() const override { return 1; }

 private:
  struct Job {
    void (*function)(void*);
    void* argument;
    Priority priority;
    void* tag;
    void (*unscheduled)(void*);
  };

  class StandingClock;

  LossyEnv(std::shared_ptr<LossyDisk> disk, LossyDisk::Process process, TimestampUs now);

  const std::shared_ptr<StandingClock> clock_;
  const std::shared_ptr<LossyDisk> disk_;
  const LossyDisk::Process process_;
  mutable std::mutex mutex_;
  std::deque<Job> jobs_;
};

}  // namespace atlasflow::sim
