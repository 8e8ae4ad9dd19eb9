#include "vmm/hypervisor/ending.hpp"

namespace atlasflow::vmm {
namespace {

constexpr std::size_t k_message_bytes_max = 300;
constexpr std::string_view k_guests_own_end = "\"SHUTDOWN\", \"data\": {\"guest\": true";
constexpr std::string_view k_panic = "Kernel panic - not syncing";

// The guest's and QEMU's text goes to users and logs.
std::string printable(std::string_view line) {
  while (!line.empty() && (line.back() == '\r' || line.back() == ' ')) line.remove_suffix(1);
  std::string text(line.substr(0, k_message_bytes_max));
  for (char& c : text) {
    if (c < ' ' || c > '~') c = '?';
  }
  return text;
}

// What follows the words in the last line that has them; nothing when none has.
std::string_view behind(std::string_view log, std::string_view words, bool& found) {
  const std::size_t at = log.rfind(words);
  found = at != std::string_view::npos;
  if (!found) return {};
  const std::string_view rest = log.substr(at + words.size());
  return rest.substr(0, rest.find('\n'));
}

}  // namespace

std::string last_message(std::string_view log) {
  while (!log.empty()) {
    const std::size_t end = log.find_last_not_of("\r\n");
    if (end == std::string_view::npos) break;
    const std::size_t before = log.rfind('\n', end);
    const std::size_t begin = before == std::string_view::npos ? 0 : before + 1;
    const std::string_view line = log.substr(begin, end + 1 - begin);
    if (!line.starts_with('{')) return printable(line);
    log = log.substr(0, begin);
  }
  return {};
}

VmExit explain_end(const LastSigns& signs) {
  VmExit exit;
  bool panicked = false;
  std::string_view why = behind(signs.kernel_log, k_panic, panicked);
  if (why.starts_with(": ")) why.remove_prefix(2);
  const std::string message = last_message(signs.qemu_log);
  const bool own_end = signs.qemu_log.find(k_guests_own_end) != std::string_view::npos;
  if (signs.out_of_memory) {
    exit.out_of_memory = true;
    exit.reason = "the host ended the microVM, which took more memory than it may have";
  } else if (signs.qemu_log.find("terminating on signal") != std::string_view::npos) {
    exit.lost = true;
    exit.reason = "the microVM was ended from outside: " + message;
  } else if (panicked) {
    exit.reason = "the guest's kernel panicked" + (why.empty() ? "" : ": " + printable(why));
  } else if (own_end) {
    exit.reason = "the guest reset itself";
  } else if (!message.empty()) {
    exit.reason = "QEMU ended: " + message;
  } else {
    exit.lost = true;
    exit.reason = "the microVM ended without a word: it was killed";
  }
  return exit;
}

}  // namespace atlasflow::vmm
