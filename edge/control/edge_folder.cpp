#include "edge/control/edge_folder.hpp"

#include <google/protobuf/util/json_util.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.hpp"
#include "edge/control/control.pb.h"

namespace atlasflow::edge {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds k_stop_grace{5'000};
constexpr std::uint64_t k_record_bytes_max = 1U << 20U;

std::optional<ProcessIdentity> still_there(std::int64_t pid, std::uint64_t start_ticks,
                                           const std::string& boot_id) {
  ProcessIdentity process{static_cast<pid_t>(pid), start_ticks, boot_id};
  if (!is_running(process)) return std::nullopt;
  return process;
}

}  // namespace

Result<void> write_json(const std::filesystem::path& path,
                        const google::protobuf::Message& message) {
  google::protobuf::util::JsonPrintOptions options;
  options.add_whitespace = true;
  options.preserve_proto_field_names = true;
  std::string text;
  const auto printed = google::protobuf::util::MessageToJsonString(message, &text, options);
  if (!printed.ok()) return fail(ErrorCode::internal, "can't write " + path.string());
  // Not synced: it tells of a process, which is gone after a power cut.
  if (auto written = replace_file(path, text, 0600, Sync::skipped); !written) {
    return fail(ErrorCode::unavailable, "can't write " + path.string() + "; is the disk full?",
                written.error().cause);
  }
  return {};
}

bool read_json(const std::filesystem::path& path, google::protobuf::Message& message) {
  google::protobuf::util::JsonParseOptions options;
  options.ignore_unknown_fields = true;  // of a newer version
  const std::string text = read_file(path, k_record_bytes_max).value_or("");
  return !text.empty() && google::protobuf::util::JsonStringToMessage(text, &message, options).ok();
}

bool wait_for_end(const FileDescriptor& process, pid_t pid, milliseconds at_most) {
  if (!atlasflow::wait_for_end(process, at_most)) return false;
  (void)::waitpid(pid, nullptr, WNOHANG);  // fails when it is no child of ours, and that is fine
  return true;
}

std::optional<ProcessIdentity> recorded_process(const EdgeFolder& folder) {
  wire::Record record;
  if (!read_json(folder.record(), record)) return std::nullopt;
  return still_there(record.pid(), record.start_ticks(), record.boot_id());
}

std::vector<ProcessIdentity> recorded_processes(const EdgeFolder& folder) {
  wire::Record record;
  if (!read_json(folder.record(), record)) return {};
  std::vector<ProcessIdentity> processes;
  const auto add = [&](std::int64_t pid, std::uint64_t start_ticks) {
    const auto process = still_there(pid, start_ticks, record.boot_id());
    if (process) processes.push_back(*process);
  };
  add(record.retiring_pid(), record.retiring_start_ticks());
  for (const auto& each : record.retiring()) add(each.pid(), each.start_ticks());
  add(record.pid(), record.start_ticks());
  return processes;
}

Result<pid_t> end_edge(const std::filesystem::path& state) {
  const EdgeFolder folder{state};
  pid_t ended_pid = 0;
  for (const ProcessIdentity& process : recorded_processes(folder)) {
    ATLAS_TRYV(end_process(process, k_stop_grace));
    ended_pid = process.pid;
  }
  if (ended_pid != 0) ::unlink(folder.socket().c_str());
  return ended_pid;
}

}  // namespace atlasflow::edge
