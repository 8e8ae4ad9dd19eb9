#include "vmm/hypervisor/record.hpp"

#include <algorithm>
#include <sstream>

#include <fcntl.h>
#include <nlohmann/json.hpp>
#include <unistd.h>

#include "base/file.hpp"

namespace atlasflow::vmm {
namespace {

constexpr std::size_t k_sentence_bytes_max = 500;
constexpr std::size_t k_end_bytes_max = 256U << 10U;

// The guest's text goes to users and logs: one line, printable, bounded.
std::string printable(std::string_view text) {
  std::string clean(text.substr(0, k_sentence_bytes_max));
  for (char& c : clean) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = '?';
  }
  return clean;
}

VmExit describe_exit(int code, int signal, bool out_of_memory) {
  VmExit exit{code, signal, out_of_memory, false, {}};
  if (out_of_memory) {
    exit.reason = "the app was killed because the VM ran out of memory";
  } else if (signal != 0) {
    exit.reason = "the app was ended by signal " + std::to_string(signal);
  } else {
    exit.reason = "the app exited with code " + std::to_string(code);
  }
  return exit;
}

void take_line(GuestEvents& events, const std::string& line) {
  std::istringstream words(line);
  std::string word;
  words >> word;
  if (word == "hello") {
    events.hello = true;
  } else if (word == "started") {
    events.started = true;
  } else if (word == "failed" && !events.failed) {
    std::string blame;
    std::string sentence;
    words >> blame;
    std::getline(words >> std::ws, sentence);
    if (blame == "user") {
      events.failed = Error{ErrorCode::user_error, printable(sentence), {}};
    } else {
      events.failed =
          Error{ErrorCode::internal, "the microVM could not boot the image", printable(sentence)};
    }
  } else if (word == "exit" && !events.exit) {
    int code = 0;
    int signal = 0;
    int out_of_memory = 0;
    if (words >> code >> signal >> out_of_memory && code >= 0 && code <= 255 && signal >= 0 &&
        signal <= 64) {
      events.exit = describe_exit(code, signal, out_of_memory == 1);
      std::string why;
      std::getline(words >> std::ws, why);
      if (!why.empty()) events.exit->reason += ": " + printable(why);
    }
  } else if (word == "listens") {
    std::string rest;
    std::getline(words >> std::ws, rest);
    events.listeners = guest::listeners_of(rest);
  } else if (word == "disk") {
    std::string state;
    words >> state;
    events.disk_full = state == "full";
  }
}

}  // namespace

Result<void> write_record(const std::filesystem::path& vm_dir, const VmRecord& record) {
  const nlohmann::json document = {
      {"format", 1},
      {"vm_id", record.vm_id},
      {"image", record.image},
      {"boot_id", record.boot_id},
      {"address", record.endpoint.address},
      {"port", record.endpoint.port},
      {"pid", record.process.pid},
      {"start_ticks", record.process.start_ticks},
      {"guest_port", record.guest_port},
      {"stop_grace_ms", record.stop_grace.count()},
      {"notices", record.notices},
  };
  return replace_file(vm_dir / "vm.json", document.dump(2) + "\n", 0600);
}

std::optional<VmRecord> read_record(const std::filesystem::path& vm_dir) {
  const auto text = read_file(vm_dir / "vm.json", 64 * 1024);
  if (!text) return std::nullopt;
  try {
    const auto document = nlohmann::json::parse(*text);
    if (document.at("format") != 1) return std::nullopt;
    VmRecord record;
    record.vm_id = document.at("vm_id").get<std::string>();
    record.image = document.at("image").get<std::string>();
    record.boot_id = document.at("boot_id").get<std::string>();
    record.endpoint.address = document.at("address").get<std::string>();
    record.endpoint.port = document.at("port").get<std::uint16_t>();
    record.process.pid = document.at("pid").get<pid_t>();
    record.process.start_ticks = document.at("start_ticks").get<std::uint64_t>();
    record.process.boot_id = record.boot_id;
    // A VM that an earlier version of the server started has none of these.
    record.guest_port = document.value("guest_port", std::uint16_t{0});
    record.stop_grace =
        std::chrono::milliseconds(document.value("stop_grace_ms", k_default_stop_grace.count()));
    record.notices = document.value("notices", std::vector<std::string>{});
    return record;
  } catch (const nlohmann::json::exception&) {
    return std::nullopt;
  }
}

GuestEvents parse_guest_events(std::string_view text) {
  GuestEvents events;
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    if (end == std::string_view::npos) break;  // still being written
    take_line(events, std::string(text.substr(0, end)));
    text.remove_prefix(end + 1);
  }
  return events;
}

std::string read_end(const std::filesystem::path& path) {
  const FileDescriptor fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  const off_t size = fd ? ::lseek(fd.get(), 0, SEEK_END) : 0;
  if (size <= 0) return {};
  const auto from = std::max<std::int64_t>(size - static_cast<off_t>(k_end_bytes_max), 0);
  return read_at_most(fd.get(), static_cast<std::uint64_t>(from), k_end_bytes_max, path.string())
      .value_or("");
}

GuestEvents read_guest_events(const std::filesystem::path& vm_dir) {
  // Only the beginning counts: a guest that writes on and on gains nothing.
  const FileDescriptor fd(::open((vm_dir / "guest.events").c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return {};
  const auto text = read_at_most(fd.get(), 0, k_events_bytes_max, "guest.events").value_or("");
  return parse_guest_events(text);
}

}  // namespace atlasflow::vmm
