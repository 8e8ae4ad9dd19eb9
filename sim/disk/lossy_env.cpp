#include "sim/disk/lossy_env.hpp"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <iterator>
#include <string_view>
#include <utility>
#include <vector>

#include <rocksdb/system_clock.h>

#include "sim/disk/lossy_file_system.hpp"

namespace atlasflow::sim {
// A sleep moves it on: RocksDB slows a writer down by sleeping until a time has come.
class LossyEnv::StandingClock final : public rocksdb::SystemClock {
 public:
  explicit StandingClock(TimestampUs now) { set(now); }

  void set(TimestampUs now) { now_ = static_cast<std::uint64_t>(std::max<TimestampUs>(now, 0)); }

  const char* Name() const override { return "StandingClock"; }
  std::uint64_t NowMicros() override { return now_; }
  void SleepForMicroseconds(int micros) override {
    now_ += static_cast<std::uint64_t>(std::max(micros, 0));
  }
  rocksdb::Status GetCurrentTime(std::int64_t* unix_time) override {
    *unix_time = static_cast<std::int64_t>(now_ / 1'000'000);
    return rocksdb::Status::OK();
  }
  std::string TimeToString(std::uint64_t time) override { return std::to_string(time); }

 private:
  std::atomic<std::uint64_t> now_{0};
};

LossyEnv::LossyEnv(const std::shared_ptr<LossyDisk>& disk, TimestampUs now)
    : LossyEnv(disk, disk->start_process(), now) {}

LossyEnv::LossyEnv(std::shared_ptr<LossyDisk> disk, LossyDisk::Process process, TimestampUs now)
    : EnvWrapper(rocksdb::NewCompositeEnv(make_lossy_file_system(disk, process))),
      clock_(std::make_shared<StandingClock>(now)),
      disk_(std::move(disk)),
      process_(process) {
  system_clock_ = clock_;
}

LossyEnv::~LossyEnv() { revoke(); }

std::size_t LossyEnv::run_background() {
  std::size_t count = 0;
  while (is_alive()) {
    Job job{};
    {
      const std::lock_guard lock(mutex_);
      if (jobs_.empty()) break;
      // Flushes first, as a pool of their own would have it: writers wait for those.
      auto next = std::ranges::find(jobs_, HIGH, &Job::priority);
      if (next == jobs_.end()) next = jobs_.begin();
      job = *next;
      jobs_.erase(next);
    }
    job.function(job.argument);
    ++count;
  }
  return count;
}

void LossyEnv::revoke() { disk_->end_process(process_); }

bool LossyEnv::is_alive() const { return disk_->is_alive(process_); }

void LossyEnv::set_time(TimestampUs now) { clock_->set(now); }

void LossyEnv::Schedule(void (*function)(void*), void* argument, Priority priority, void* tag,
                        void (*unscheduled)(void*)) {
  const std::lock_guard lock(mutex_);
  jobs_.push_back({function, argument, priority, tag, unscheduled});
}

// How a database that closes gets rid of the jobs that it would else wait for.
int LossyEnv::UnSchedule(void* tag, Priority priority) {
  std::vector<Job> removed;
  {
    const std::lock_guard lock(mutex_);
    const auto mine = [&](const Job& job) { return job.tag == tag && job.priority == priority; };
    std::ranges::copy_if(jobs_, std::back_inserter(removed), mine);
    std::erase_if(jobs_, mine);
  }
  for (const Job& job : removed) {
    if (job.unscheduled != nullptr) job.unscheduled(job.argument);
  }
  return static_cast<int>(removed.size());
}

unsigned int LossyEnv::GetThreadPoolQueueLen(Priority priority) const {
  const std::lock_guard lock(mutex_);
  return static_cast<unsigned int>(std::ranges::count(jobs_, priority, &Job::priority));
}

std::uint64_t LossyEnv::NowMicros() { return clock_->NowMicros(); }

void LossyEnv::SleepForMicroseconds(int micros) { clock_->SleepForMicroseconds(micros); }

rocksdb::Status LossyEnv::GetCurrentTime(std::int64_t* unix_time) {
  return clock_->GetCurrentTime(unix_time);
}

rocksdb::Status LossyEnv::GetHostName(char* name, std::uint64_t size) {
  static constexpr std::string_view k_name = "simulated";
  if (size <= k_name.size()) return rocksdb::Status::InvalidArgument("the host's name is longer");
  std::memcpy(name, k_name.data(), k_name.size());
  name[k_name.size()] = '\0';
  return rocksdb::Status::OK();
}

// The identity of the database, drawn once when it is made: a disk has one.
std::string LossyEnv::GenerateUniqueId() { return "00000000-0000-4000-8000-000000000001"; }

}  // namespace atlasflow::sim
