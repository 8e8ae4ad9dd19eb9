// The access log: a line of JSON for each request, in a file for each project. Workers put records
// into rings and never wait; a thread turns them into lines and appends them. Each file keeps its
// newest bytes: its head is freed, offsets stay what they were (storage/instance_logs reads it).
// Owned by the edge server; put() is its worker's alone, lost() anybody's.
#pragma once

#include <atomic>
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

// In the order in which they stand in a record.
struct AccessTexts {
  std::string_view request_id;
  std::string_view client;
  std::string_view host;
  std::string_view method;
  std::string_view path;  // without its query, which may be a secret's
  std::string_view agent;
  std::string_view instance;  // empty: none was found
  std::string_view error;     // empty: none
};

// With its line's end. Without it: a byte beyond ASCII stands for itself in ISO 8859-1.
void append_access_line(const AccessRecord& record, const AccessTexts& texts, std::string& out);

// <folder>/<project>.http.log; empty for a name that could lead out of the folder.
[[nodiscard]] std::filesystem::path access_log_path(const std::filesystem::path& folder,
                                                    std::string_view project);

struct AccessLogConfig {
  std::filesystem::path folder;
  std::uint64_t bytes_max = 0;  // kept of each project's
  std::size_t ring_bytes = std::size_t{1} << 20U;
};

class AccessLog {
 public:
  [[nodiscard]] static Result<std::unique_ptr<AccessLog>> start(AccessLogConfig config,
                                                                const ProjectNumbers& projects,
                                                                std::size_t workers);
  ~AccessLog();  // writes what is there
  AccessLog(const AccessLog&) = delete;
  AccessLog& operator=(const AccessLog&) = delete;

  // Never waits. False: there was no room, and the record is lost.
  [[nodiscard]] bool put(std::size_t worker, const AccessRecord& record, const AccessTexts& texts);

  // Lines that could not be written.
  [[nodiscard]] std::uint64_t lost() const { return lost_.load(std::memory_order_relaxed); }

 private:
  AccessLog(AccessLogConfig config, const ProjectNumbers& projects, std::size_t workers);
  struct Batch {
    std::string text;
    std::uint64_t lines = 0;
    bool torn = false;  // the file's last line lacks its end
  };
  void run(const std::stop_token& stop);
  void wake();
  void look();
  void write(const std::string& project, Batch& batch);
  [[nodiscard]] bool append(const std::filesystem::path& path, Batch& batch) const;

  const AccessLogConfig config_;
  const ProjectNumbers& projects_;
  std::vector<std::unique_ptr<AccessRing>> rings_;  // by worker
  std::vector<std::string> names_;                  // the thread's: projects by number
  std::map<std::uint16_t, Batch> batches_;          // the thread's
  std::atomic<std::uint64_t> lost_{0};
  std::atomic<bool> wanted_{false};  // a ring is half full
  FileDescriptor wake_;              // an eventfd
  std::jthread thread_;              // last: it ends first
};

}  // namespace atlasflow::edge
