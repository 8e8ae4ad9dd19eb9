// damage_trial [--seed S] [--runs N]: damages event logs and opens them, each in a process of its
// own. Bits are flipped, blocks zeroed, files cut, doubled, deleted and appended to. What must come
// of each: the log is refused with nothing changed, or it opens and has every acknowledged event,
// or a read tells of the damage. What must not: events that are missing without a word, a crash, a
// hang, or a refused start that has changed a file.
//
// Prints a line per failure and a table at the end. Exit 0 when there was none.
#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <random>
#include <string>
#include <vector>

#include <spdlog/sinks/null_sink.h>
#include <spdlog/spdlog.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/digest.hpp"
#include "base/file.hpp"
#include "storage/log/rocksdb_options.hpp"
#include "tests/storage/log_fixture.hpp"

namespace atlasflow::storage {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t k_file_bytes_max = 64ULL << 20U;
constexpr unsigned k_seconds_max = 20;

// How a process with a damaged log ends.
enum Outcome : int { whole = 40, refused = 41, told_by_a_read = 42, silent_loss = 43 };

std::string read_whole(const fs::path& path) {
  return read_file(path, k_file_bytes_max).value_or("");
}
void write_whole(const fs::path& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
}

struct Log {
  std::string name;
  fs::path folder;
  std::uint64_t last = 0;
  ChainHash chain{};
};

// An idle server that was killed: its write-ahead log holds everything, or the newest part behind
// tables.
Log make_log(const fs::path& at, const std::string& name, std::uint64_t events,
             std::size_t write_buffer_bytes, bool clean_close) {
  Log made{name, at / name, 0, {}};
  const fs::path written = clean_close ? made.folder : at / (name + ".written");
  const std::shared_ptr<rocksdb::Env> env(rocksdb::Env::Default(), [](rocksdb::Env*) {});
  DatabaseTuning tuning;
  tuning.write_buffer_bytes = write_buffer_bytes;
  auto log = open_event_log({written, "build-a", false}, env, k_noon, tuning).value();
  if (!log->begin_epoch()) std::abort();
  for (std::uint64_t i = 0; i < events; ++i) {
    const std::string stream = "deployment/" + std::to_string(i % 7);
    append_one(*log, request(stream, i / 7, 1, "key " + std::to_string(i)),
               k_noon + static_cast<TimestampUs>(i) * 1'000'000);
  }
  if (!log->note_end(k_noon * 2)) std::abort();
  made.last = log->last_position().value();
  made.chain = log->read_at(log->last_position()).value().value().chain;
  if (!clean_close) fs::copy(written, made.folder, fs::copy_options::recursive);
  return made;
}

std::vector<fs::path> files_of(const fs::path& folder) {
  std::vector<fs::path> files;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    // The lock has no content.
    if (entry.is_regular_file() && entry.path().filename() != "LOCK") files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  return files;
}

std::string fingerprint(const fs::path& folder) {
  std::string text;
  for (const auto& file : files_of(folder)) {
    text += file.string() + " " + sha256_hex(read_whole(file)) + "\n";
  }
  return text;
}

class Damage {
 public:
  explicit Damage(std::uint64_t seed) : random_(seed) {}

  // Does it to a file of the folder, and says what.
  std::string apply(const fs::path& folder) {
    const auto files = files_of(folder);
    const fs::path& file = files[below(files.size())];
    std::string bytes = read_whole(file);
    const std::string name = fs::relative(file, folder).string();
    const auto size = bytes.size();
    switch (below(size == 0 ? 2 : 7)) {
      case 0:
        fs::remove(file);
        return name + " is deleted";
      case 1:
        write_whole(file,
                    bytes + std::string(1 + below(5'000), static_cast<char>(below(2) * 0x5A)));
        return name + " has bytes at its end";
      case 2: {
        const auto at = below(size);
        write_whole(file, bytes.substr(0, at));
        return name + " is cut at " + std::to_string(at) + " of " + std::to_string(size);
      }
      case 3:
        write_whole(file, bytes + bytes);
        return name + " is doubled";
      case 4: {
        const auto at = below(size);
        std::fill_n(bytes.begin() + static_cast<std::ptrdiff_t>(at),
                    std::min<std::size_t>(size - at, 1 + below(4'096)), '\0');
        write_whole(file, bytes);
        return name + " has zeros from " + std::to_string(at);
      }
      default: {
        const auto at = below(size);
        const auto bit = below(8);
        bytes[at] = static_cast<char>(static_cast<unsigned char>(bytes[at]) ^ (1U << bit));
        write_whole(file, bytes);
        return name + " has bit " + std::to_string(bit) + " of byte " + std::to_string(at) +
               " flipped";
      }
    }
  }

 private:
  std::size_t below(std::size_t end) {
    return std::uniform_int_distribution<std::size_t>(0, end - 1)(random_);
  }
  std::mt19937_64 random_;
};

int outcome_of(const Log& log, const fs::path& folder) {
  const auto opened = open_event_log({folder, "build-b", false});
  if (!opened) return refused;
  const auto verified = verify(**opened);
  if (!verified) return told_by_a_read;
  const auto newest = (*opened)->read_at(Position{log.last});
  if (!newest || !*newest || (*newest)->chain != log.chain) return silent_loss;
  return whole;
}

// In a process of its own, which may crash.
int outcome_apart(const Log& log, const fs::path& folder) {
  const pid_t child = ::fork();
  if (child == 0) {
    ::alarm(k_seconds_max);
    ::_exit(outcome_of(log, folder));
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

std::string name_of(int outcome) {
  switch (outcome) {
    case whole:
      return "opened whole";
    case refused:
      return "refused, nothing changed";
    case told_by_a_read:
      return "opened, a read tells";
    case silent_loss:
      return "LOST IN SILENCE";
    case -SIGALRM:
      return "HANGS";
    default:
      return outcome < 0 ? "CRASHES by signal " + std::to_string(-outcome)
                         : "ENDS with " + std::to_string(outcome);
  }
}

int trial(std::uint64_t seed, std::uint64_t runs) {
  const TemporaryDirectory directory;
  const std::array<Log, 3> logs = {make_log(directory.path(), "killed", 300, 0, false),
                                   make_log(directory.path(), "closed", 300, 0, true),
                                   make_log(directory.path(), "tables", 2'000, 64 << 10, false)};
  std::map<std::string, std::uint64_t> table;
  std::uint64_t failures = 0;
  for (std::uint64_t run = 0; run < runs; ++run) {
    const Log& log = logs[run % logs.size()];
    const fs::path copy = directory.path() / "damaged";
    fs::remove_all(copy);
    fs::copy(log.folder, copy, fs::copy_options::recursive);
    const auto what = Damage(seed + run).apply(copy);
    const auto before = fingerprint(copy);
    const int outcome = outcome_apart(log, copy);
    std::string name = name_of(outcome);
    if (outcome == refused && fingerprint(copy) != before) name = "REFUSED, AND CHANGED A FILE";
    const bool fine = outcome == whole || outcome == told_by_a_read ||
                      (outcome == refused && name == name_of(refused));
    ++table[name];
    if (fine) continue;
    ++failures;
    std::printf("seed %llu, log '%s': %s: %s\n", static_cast<unsigned long long>(seed + run),
                log.name.c_str(), what.c_str(), name.c_str());
  }
  for (const auto& [name, count] : table) {
    std::printf("%6llu  %s\n", static_cast<unsigned long long>(count), name.c_str());
  }
  return failures == 0 ? 0 : 1;
}

}  // namespace
}  // namespace atlasflow::storage

int main(int argc, char** argv) {
  std::uint64_t seed = 1;
  std::uint64_t runs = 1'000;
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string option = argv[i];
    (option == "--seed" ? seed : runs) = std::strtoull(argv[i + 1], nullptr, 10);
  }
  spdlog::set_default_logger(spdlog::create<spdlog::sinks::null_sink_mt>("none"));
  return atlasflow::storage::trial(seed, runs);
}
