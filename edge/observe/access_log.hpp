// The access log: a line of JSON for each request, in a file for each project. Workers put records
// into rings and never wait; a thread turns them into lines and appends them. Each file keeps its
// newest bytes: its head is freed, offsets stay what they were (storage/instance_logs reads it).
// Owned by the edge server; put() is its worker's alone, lost() anybody's.
//
// What is nobody's business is not in it: no query of a URL, no field of a request but its
// User-Agent, the id that it came with and its trace's, no body.
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "base/error.hpp"
#include "base/file_descriptor.hpp"
#include "edge/observe/access_ring.hpp"
#include "edge/observe/metrics.hpp"

namespace atlasflow::edge {

// In what a request was when it ended, in order.
enum class AccessPhase : std::uint8_t { none, request, connect, wait, response, tunnel };

// In the order in which they stand in a record. What is empty but the first six is left out.
struct AccessTexts {
  std::string_view project;  // whose file; none: that of requests to nobody
  std::string_view request_id;
  std::string_view client;
  std::string_view host;
  std::string_view method;
  std::string_view path;  // without its query, which may be a secret's
  std::string_view agent;
  std::string_view instance;
  std::string_view error;
  std::string_view client_request_id;
  std::string_view trace_id;
};

// The project of requests whose host has no route, or that could not be read. No project's name
// begins with '_'.
inline constexpr std::string_view k_no_project = "_none";

// With its line's end. Without it: a byte beyond ASCII stands for itself in ISO 8859-1.
void append_access_line(const AccessRecord& record, const AccessTexts& texts, std::string& out);

// <folder>/<project>.http.log; empty for a name that could lead out of the folder.
[[nodiscard]] std::filesystem::path access_log_path(const std::filesystem::path& folder,
                                                    std::string_view project);

struct AccessLogConfig {
  std::filesystem::path folder;
  std::uint64_t bytes_max = 0;  // kept of each project's
  std::size_t ring_bytes = std::size_t{1} << 20U;
  // The disk is also the event log's: with less room on it nothing is written for the sight's sake.
  std::uint64_t free_bytes_min = std::uint64_t{64} << 20U;
};

class AccessLog {
 public:
  [[nodiscard]] static Result<std::unique_ptr<AccessLog>> start(AccessLogConfig config,
                                                                std::size_t workers);
  ~AccessLog();  // writes what is there
  AccessLog(const AccessLog&) = delete;
  AccessLog& operator=(const AccessLog&) = delete;

  // Never waits. Where there is no room the record is lost.
  void put(std::size_t worker, const AccessRecord& record, const AccessTexts& texts);

  // Lines for which a ring had no room, and lines that could not be written.
  [[nodiscard]] std::uint64_t lost() const;

 private:
  AccessLog(AccessLogConfig config, std::size_t workers);
  struct Batch {
    std::string text;
    std::uint64_t lines = 0;
    bool torn = false;  // the file's last line lacks its end
  };
  void run(const std::stop_token& stop);
  void wake();
  void look();
  void tell_of_losses();
  void write(const std::string& project, Batch& batch);
  [[nodiscard]] bool append(const std::filesystem::path& path, Batch& batch) const;

  struct Worker {
    explicit Worker(std::size_t ring_bytes) : ring(ring_bytes) {}
    AccessRing ring;
    Counter dropped;
  };

  const AccessLogConfig config_;
  std::vector<std::unique_ptr<Worker>> workers_;
  std::atomic<std::uint64_t> unwritten_{0};
  std::atomic<bool> wanted_{false};  // a ring is half full
  FileDescriptor wake_;              // an eventfd

  // The thread's.
  std::map<std::string, Batch, std::less<>> batches_;  // by project
  std::uint64_t told_ = 0;                             // of so many losses
  std::chrono::steady_clock::time_point tell_at_{};    // not of more before then

  std::jthread thread_;  // last: it ends first
};

}  // namespace atlasflow::edge
