#include "builder/registry/registry.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <csignal>
#include <cstring>
#include <future>
#include <mutex>
#include <optional>
#include <stop_token>
#include <thread>

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <nlohmann/json.hpp>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.hpp"
#include "base/http_client.hpp"
#include "base/log.hpp"
#include "base/process.hpp"
#include "base/process_identity.hpp"
#include "builder/registry/registry_store.hpp"

namespace atlasflow::builder {
namespace {

namespace fs = std::filesystem;
using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;

constexpr milliseconds k_start_deadline{20'000};
constexpr milliseconds k_start_poll{20};
constexpr milliseconds k_health_interval{2'000};
constexpr milliseconds k_health_timeout{1'000};
constexpr milliseconds k_stop_grace{3'000};
constexpr milliseconds k_backoff_min{100};
constexpr milliseconds k_backoff_max{10'000};
constexpr milliseconds k_steady{60'000};  // a registry that ran so long has earned a new backoff
constexpr std::uintmax_t k_log_bytes_max = 4U << 20U;
constexpr int k_port_attempts_max = 5;
constexpr milliseconds k_delete_timeout{30'000};
constexpr milliseconds k_collect_deadline{10 * 60'000};
constexpr std::uint64_t k_record_bytes_max = 4'096;
constexpr std::size_t k_collect_words = 400;  // of its output, for the error

fs::path config_path_in(const fs::path& state_dir) { return state_dir / "config.yml"; }
fs::path record_path_in(const fs::path& state_dir) { return state_dir / "registry.json"; }

struct Record {
  ProcessIdentity process;  // pid 0: none runs
  std::uint16_t port = 0;
};

std::optional<Record> read_record(const fs::path& path) {
  const auto text = read_file(path, k_record_bytes_max);
  const auto json = nlohmann::json::parse(text.value_or(""), nullptr, false);
  if (!json.is_object()) return std::nullopt;
  try {
    // A record of before there were boot ids in it: its port is good, its process is believed no
    // more.
    return Record{{json.at("pid"), json.at("start_time"), json.value("boot_id", "")},
                  json.at("port")};
  } catch (const nlohmann::json::exception&) {
    return std::nullopt;
  }
}

Result<void> write_record(const fs::path& path, const Record& record) {
  const nlohmann::json json = {{"pid", record.process.pid},
                               {"start_time", record.process.start_ticks},
                               {"boot_id", record.process.boot_id},
                               {"port", record.port}};
  // Not synced: after a power cut there is no process, and any port will do.
  return replace_file(path, json.dump() + "\n", 0600, Sync::skipped);
}

// Takes a port and gives it back: the registry must bind it itself.
std::optional<std::uint16_t> free_port(std::uint16_t wanted) {
  const FileDescriptor fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const int one = 1;
  ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);  // As Go's listeners do.
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(wanted);
  socklen_t size = sizeof address;
  auto* generic = reinterpret_cast<sockaddr*>(&address);
  if (::bind(fd.get(), generic, size) != 0 || ::listen(fd.get(), 1) != 0 ||
      ::getsockname(fd.get(), generic, &size) != 0) {
    return std::nullopt;
  }
  return ntohs(address.sin_port);
}

class DebianRegistry final : public Registry {
 public:
  explicit DebianRegistry(RegistryConfig config) : config_(std::move(config)) {}

  ~DebianRegistry() override {
    thread_.request_stop();
    if (thread_.joinable()) thread_.join();
  }

  std::string address() const override { return "127.0.0.1:" + std::to_string(port_); }
  bool healthy() const override { return healthy_.load(); }
  Result<std::vector<std::string>> collect(const RegistryKeep& keep, std::stop_token stop) override;

  // Returns when it answers.
  Result<void> start() {
    program_ = find_program("docker-registry");
    if (program_.empty()) {
      return fail(ErrorCode::unavailable,
                  "docker-registry is not installed; script/bootstrap installs it");
    }
    std::error_code error;
    fs::create_directories(config_.state_dir / "blobs", error);
    if (error) {
      return fail(ErrorCode::internal, "cannot make the registry's folder", error.message());
    }
    lock_ = FileDescriptor(
        ::open((config_.state_dir / "lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    if (!lock_.valid() || ::flock(lock_.get(), LOCK_EX | LOCK_NB) != 0) {
      return fail(ErrorCode::conflict,
                  "another server uses the registry's folder " + config_.state_dir.string());
    }
    const auto before = read_record(record_path());
    ATLAS_TRY(const auto ended, end_registry(config_.state_dir));
    if (ended != 0) log_event(LogLevel::warn, "builder", "registry_left_behind", {{"pid", ended}});
    std::promise<Result<void>> first;
    auto started = first.get_future();
    // The thread that spawns must live as long as the child: the child dies with it.
    thread_ = std::jthread([this, &first, before](const std::stop_token& stop) {
      auto process = start_first(before, stop);
      const bool ok = process.has_value();
      first.set_value(ok ? Result<void>{} : tl::unexpected(process.error()));
      if (ok) watch(std::move(*process), stop);
    });
    return started.get();
  }

 private:
  fs::path config_path() const { return config_path_in(config_.state_dir); }
  fs::path record_path() const { return record_path_in(config_.state_dir); }
  fs::path log_path() const { return config_.state_dir / "registry.log"; }

  Result<Process> start_first(const std::optional<Record>& before, const std::stop_token& stop) {
    Result<Process> process = fail(ErrorCode::unavailable, "no port was free for the registry");
    for (int attempt = 0; attempt < k_port_attempts_max && !stop.stop_requested(); ++attempt) {
      const std::uint16_t wanted = config_.port != 0
                                       ? config_.port
                                       : (attempt == 0 && before ? before->port : std::uint16_t{0});
      const auto port = free_port(wanted);
      if (!port) {
        if (config_.port != 0) {
          return fail(ErrorCode::unavailable, "port " + std::to_string(config_.port) +
                                                  " is taken; choose another for the registry");
        }
        continue;
      }
      port_ = *port;
      process = start_once(stop);
      if (process) return process;
    }
    return process;
  }

  Result<Process> start_once(const std::stop_token& stop) {
    // JSON strings are YAML strings: any path is quoted well.
    const std::string config =
        "version: 0.1\nlog: {level: warn, accesslog: {disabled: true}}\nstorage:\n  filesystem: "
        "{rootdirectory: " +
        nlohmann::json((config_.state_dir / "blobs").string()).dump() +
        "}\n  delete: {enabled: true}\nhttp: {addr: \"" + address() + "\"}\n";
    // Not synced: it is written anew before each start.
    ATLAS_TRYV(replace_file(config_path(), config, 0600, Sync::skipped));
    bound_log();
    const FileDescriptor log(
        ::open(log_path().c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640));
    SpawnRequest request;
    request.argv = {program_, "serve", config_path().string()};
    request.environment = {"PATH=/usr/bin:/bin", "LANG=C.UTF-8", "HOME=/nonexistent"};
    request.output = log.get();
    auto process = spawn_process(request);
    if (!process) return process;
    // One that is gone already is told below.
    const auto identity = identify_process(process->pid()).value_or(ProcessIdentity{});
    ATLAS_TRYV(write_record(record_path(), {identity, port_}));
    for (const auto until = Clock::now() + k_start_deadline; Clock::now() < until;) {
      if (stop.stop_requested())
        return fail(ErrorCode::cancelled, "the registry's start was stopped");
      if (process->wait(k_start_poll)) {
        return fail(ErrorCode::unavailable,
                    "the registry ended at its start; see " + log_path().string());
      }
      if (answers()) {
        healthy_ = true;
        log_event("builder", "registry_started", {{"address", address()}, {"pid", process->pid()}});
        return process;
      }
    }
    return fail(ErrorCode::unavailable, "the registry does not answer; see " + log_path().string());
  }

  bool answers() const {
    const auto answer =
        send_http({.url = "http://" + address() + "/v2/", .timeout = k_health_timeout});
    return answer && answer->status == 200;
  }

  void watch(Process process, const std::stop_token& stop) {
    auto backoff = k_backoff_min;
    auto started = Clock::now();
    while (!stop.stop_requested()) {
      if (wait_for(process, stop)) {
        healthy_ = answers();
        bound_log();
        if (Clock::now() - started > k_steady) backoff = k_backoff_min;
        continue;
      }
      if (stop.stop_requested()) break;
      healthy_ = false;
      log_event(LogLevel::warn, "builder", "registry_ended", {{"restart_in_ms", backoff.count()}});
      pause(backoff, stop);
      backoff = std::min(backoff * 2, k_backoff_max);
      if (auto again = start_once(stop)) {
        process = std::move(*again);
        started = Clock::now();
      } else {
        log_event(LogLevel::error, "builder", "registry_start_failed",
                  {{"reason", to_string(again.error())}});
      }
    }
    healthy_ = false;
    process.signal(SIGTERM);
    if (!process.wait(k_stop_grace)) process.kill();
    std::error_code ignored;
    // The port stays on record, the process does not.
    if (!write_record(record_path(), {{}, port_})) fs::remove(record_path(), ignored);
  }

  // false: the process ended, or a stop was asked for.
  bool wait_for(Process& process, const std::stop_token& stop) {
    for (const auto until = Clock::now() + k_health_interval; Clock::now() < until;) {
      if (!process.running()) return false;
      pause(milliseconds(100), stop);
      if (stop.stop_requested()) return false;
    }
    return true;
  }

  void pause(milliseconds time, const std::stop_token& stop) {
    std::unique_lock guard(mutex_);
    wake_.wait_for(guard, stop, time, [] { return false; });
  }

  // The registry appends by O_APPEND, so that a truncated file goes on at its new end.
  void bound_log() const {
    std::error_code error;
    if (fs::file_size(log_path(), error) <= k_log_bytes_max || error) return;
    fs::copy_file(log_path(), log_path().string() + ".1", fs::copy_options::overwrite_existing,
                  error);
    fs::resize_file(log_path(), 0, error);
  }

  RegistryConfig config_;
  std::string program_;
  FileDescriptor lock_;
  std::uint16_t port_ = 0;  // written by the thread before start() returns
  std::atomic<bool> healthy_{false};
  std::mutex collecting_;
  std::mutex mutex_;
  std::condition_variable_any wake_;
  std::jthread thread_;
};

// The mark is on disk from before the first deletion until the blobs are gone: a process that dies
// in between leaves blobs that no manifest names, and no manifest to find them by.
Result<std::vector<std::string>> DebianRegistry::collect(const RegistryKeep& keep,
                                                         std::stop_token stop) {
  const std::lock_guard one_at_a_time(collecting_);
  const fs::path blobs = config_.state_dir / "blobs";
  const fs::path mark = config_.state_dir / "collecting";
  std::vector<std::string> deleted;
  remove_empty_names(blobs);  // one of them can make the registry refuse the deletions below
  const auto unwanted = manifests_without_need(blobs, keep);
  std::error_code error;
  if (unwanted.empty() && !fs::exists(mark, error)) return deleted;
  if (!healthy()) return fail(ErrorCode::unavailable, "the registry does not answer");
  ATLAS_TRYV(replace_file(mark, "blobs without a manifest may be here\n", 0600));
  for (const auto& manifest : unwanted) {
    if (stop.stop_requested()) return fail(ErrorCode::cancelled, "collecting was stopped");
    ATLAS_TRY(const auto answer,
              send_http({.method = "DELETE",
                         .url = "http://" + address() + "/v2/" + manifest.repository +
                                "/manifests/" + manifest.digest,
                         .timeout = k_delete_timeout}));
    if (answer.status != 202 && answer.status != 404) {
      return fail(ErrorCode::internal, "the registry does not delete " + manifest.name(),
                  "HTTP " + std::to_string(answer.status));
    }
    deleted.push_back(manifest.name());
  }
  SpawnRequest request;
  request.argv = {program_, "garbage-collect", config_path().string()};
  request.environment = {"PATH=/usr/bin:/bin", "LANG=C.UTF-8", "HOME=/nonexistent"};
  std::string output;
  ATLAS_TRY(const auto ran,
            run_process(request, k_collect_deadline, stop, [&output](std::string_view text) {
              append_bounded(output, text, k_collect_words);
            }));
  if (ran.end != RunOutcome::End::exited || ran.exit_code != 0) {
    return fail(ran.end == RunOutcome::End::cancelled ? ErrorCode::cancelled : ErrorCode::internal,
                "the registry's garbage collection did not end well; it is tried again", output);
  }
  remove_empty_names(blobs);
  fs::remove(mark, error);
  return deleted;
}

}  // namespace

Result<std::unique_ptr<Registry>> start_registry(const RegistryConfig& config) {
  if (!config.state_dir.is_absolute()) {
    return fail(ErrorCode::invalid_argument, "the registry's folder must be an absolute path");
  }
  auto registry = std::make_unique<DebianRegistry>(config);
  ATLAS_TRYV(registry->start());
  return registry;
}

// It is ended rather than adopted: a child can be waited for and dies with the server, and a start
// takes a tenth of a second.
Result<pid_t> end_registry(const fs::path& state_dir) {
  const auto record = read_record(record_path_in(state_dir));
  if (!record || !is_running(record->process)) return 0;
  ATLAS_TRYV(end_process(record->process, k_stop_grace, k_stop_grace));
  return record->process.pid;
}

}  // namespace atlasflow::builder
