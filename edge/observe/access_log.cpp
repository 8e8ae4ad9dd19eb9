#include "edge/observe/access_log.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <ctime>

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/file.hpp"
#include "base/log.hpp"

namespace atlasflow::edge {
namespace {

constexpr int k_look_ms = 200;  // what a follower waits at most
// A text that is longer is cut. All of them together fit many times into a ring.
constexpr std::size_t k_text_bytes_max = 1024;
constexpr mode_t k_mode = 0640;
constexpr std::uint64_t k_block_bytes = 4096;
// Projects whose batches are kept for the next look.
constexpr std::size_t k_batches_max = 256;
constexpr auto k_tell_every = std::chrono::minutes(1);

constexpr std::array<std::string_view, 6> k_phases = {"none", "request",  "connect",
                                                      "wait", "response", "tunnel"};

void append_number(std::uint64_t number, std::string& out) {
  std::array<char, 24> text{};
  const auto end = std::to_chars(text.data(), text.data() + text.size(), number).ptr;
  out.append(text.data(), end);
}

void append_padded(std::uint64_t number, std::size_t digits, std::string& out) {
  std::array<char, 24> text{};
  const auto end = std::to_chars(text.data(), text.data() + text.size(), number).ptr;
  const auto size = static_cast<std::size_t>(end - text.data());
  out.append(digits > size ? digits - size : 0, '0');
  out.append(text.data(), size);
}

// "2026-07-01T12:00:00."
std::string text_of_second(std::time_t second) {
  std::tm utc{};
  ::gmtime_r(&second, &utc);
  std::string text;
  const auto append = [&](int number, std::size_t digits, char behind) {
    append_padded(static_cast<std::uint64_t>(number), digits, text);
    text += behind;
  };
  append(utc.tm_year + 1900, 4, '-');
  append(utc.tm_mon + 1, 2, '-');
  append(utc.tm_mday, 2, 'T');
  append(utc.tm_hour, 2, ':');
  append(utc.tm_min, 2, ':');
  append(utc.tm_sec, 2, '.');
  return text;
}

// "2026-07-01T12:00:00.123Z". One line's second is mostly that of the line before.
void append_time(std::int64_t ms, std::string& out) {
  thread_local std::time_t second = 0;
  thread_local std::string text = text_of_second(second);
  if (ms / 1000 != second) {
    second = ms / 1000;
    text = text_of_second(second);
  }
  out += text;
  append_padded(static_cast<std::uint64_t>(ms % 1000), 3, out);
  out += 'Z';
}

// Those that JSON has as they are (RFC 8259 section 7), of ASCII.
constexpr std::array<bool, 256> k_plain = [] {
  std::array<bool, 256> table{};
  for (std::size_t c = 0x20; c <= 0x7E; ++c) table[c] = c != '"' && c != '\\';
  return table;
}();
bool is_plain(char c) { return k_plain[static_cast<unsigned char>(c)]; }

void append_text(std::string_view name, std::string_view value, std::string& out) {
  static constexpr std::string_view k_hex = "0123456789abcdef";
  out += ",\"";
  out += name;
  out += "\":\"";
  std::size_t from = 0;
  for (std::size_t i = 0; i < value.size(); ++i) {
    const char c = value[i];
    if (is_plain(c)) continue;
    out += value.substr(from, i - from);
    from = i + 1;
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
      continue;
    }
    const auto byte = static_cast<unsigned char>(c);
    out += "\\u00";
    out += k_hex[byte >> 4U];
    out += k_hex[byte & 15U];
  }
  out += value.substr(from);
  out += '"';
}

void append_field(std::string_view name, std::uint64_t value, std::string& out) {
  out += ",\"";
  out += name;
  out += "\":";
  append_number(value, out);
}

// Microseconds as milliseconds.
void append_ms(std::string_view name, std::uint64_t us, std::string& out) {
  if (us == AccessRecord::k_never) return;
  append_field(name, us / 1000, out);
  out += '.';
  append_padded(us % 1000, 3, out);
}

void append_text_if_any(std::string_view name, std::string_view value, std::string& out) {
  if (!value.empty()) append_text(name, value, out);
}

std::string_view cut(std::string_view text) { return text.substr(0, k_text_bytes_max); }

AccessRing::Texts in_order(const AccessTexts& texts) {
  return {cut(texts.project), cut(texts.request_id),
          cut(texts.client),  cut(texts.host),
          cut(texts.method),  cut(texts.path),
          cut(texts.agent),   cut(texts.instance),
          cut(texts.error),   cut(texts.client_request_id),
          cut(texts.trace_id)};
}

AccessTexts named(const AccessRing::Texts& texts) {
  return {texts[0], texts[1], texts[2], texts[3], texts[4], texts[5],
          texts[6], texts[7], texts[8], texts[9], texts[10]};
}

}  // namespace

void append_access_line(const AccessRecord& record, const AccessTexts& texts, std::string& out) {
  out += "{\"time\":\"";
  append_time(record.ended_ms, out);
  out += '"';
  append_text("request_id", texts.request_id, out);
  append_text("client", texts.client, out);
  append_text("scheme", record.https ? "https" : "http", out);
  append_text("protocol", k_protocols[std::min<std::size_t>(record.protocol, 3)], out);
  append_text("host", texts.host, out);
  append_text("method", texts.method, out);
  append_text("path", texts.path, out);
  append_field("status", record.status, out);
  append_ms("duration_ms", record.duration_us, out);
  append_ms("sent_ms", record.sent_us, out);
  append_ms("first_byte_ms", record.first_byte_us, out);
  append_field("request_bytes", record.request_bytes, out);
  append_field("response_bytes", record.response_bytes, out);
  append_text_if_any("instance", texts.instance, out);
  if (record.attempts > 1) append_field("attempts", record.attempts, out);
  if (!texts.error.empty()) {
    append_text("error", texts.error, out);
    append_text("phase", k_phases[std::min<std::size_t>(record.phase, k_phases.size() - 1)], out);
  }
  append_text_if_any("agent", texts.agent, out);
  append_text_if_any("client_request_id", texts.client_request_id, out);
  append_text_if_any("trace_id", texts.trace_id, out);
  out += "}\n";
}

std::filesystem::path access_log_path(const std::filesystem::path& folder,
                                      std::string_view project) {
  static constexpr std::string_view k_allowed =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
  constexpr std::size_t k_name_bytes_max = 200;
  if (project.empty() || project.size() > k_name_bytes_max || project.front() == '.' ||
      project.find_first_not_of(k_allowed) != std::string_view::npos) {
    return {};
  }
  return folder / (std::string(project) + ".http.log");
}

AccessLog::AccessLog(AccessLogConfig config, std::size_t workers) : config_(std::move(config)) {
  for (std::size_t i = 0; i < workers; ++i) {
    workers_.push_back(std::make_unique<Worker>(config_.ring_bytes));
  }
}

Result<std::unique_ptr<AccessLog>> AccessLog::start(AccessLogConfig config, std::size_t workers) {
  ATLAS_TRYV(make_folder(config.folder));
  std::unique_ptr<AccessLog> log(new AccessLog(std::move(config), workers));
  log->wake_ = FileDescriptor(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
  if (!log->wake_.valid()) {
    return tl::unexpected(errno_error("can't start the edge's access log"));
  }
  // Signals are the main thread's business.
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  log->thread_ = std::jthread([own = log.get()](const std::stop_token& stop) { own->run(stop); });
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return log;
}

AccessLog::~AccessLog() {
  if (!thread_.joinable()) return;
  thread_.request_stop();
  wake();
  thread_.join();
}

void AccessLog::wake() {
  const std::uint64_t one = 1;
  (void)!::write(wake_.get(), &one, sizeof one);  // only fails when a wake is pending already
}

void AccessLog::put(std::size_t worker, const AccessRecord& record, const AccessTexts& texts) {
  Worker& own = *workers_[worker];
  if (!own.ring.put(record, in_order(texts))) own.dropped.add();
  if (own.ring.half_full() && !wanted_.exchange(true)) wake();
}

std::uint64_t AccessLog::lost() const {
  std::uint64_t lost = unwritten_.load(std::memory_order_relaxed);
  for (const auto& worker : workers_) lost += worker->dropped.get();
  return lost;
}

void AccessLog::run(const std::stop_token& stop) {
  pthread_setname_np(pthread_self(), "edge-access");
  while (!stop.stop_requested()) {
    pollfd waiting{wake_.get(), POLLIN, 0};
    (void)::poll(&waiting, 1, k_look_ms);
    std::uint64_t count = 0;
    (void)!::read(wake_.get(), &count, sizeof count);
    wanted_.store(false);
    look();
  }
  look();
}

void AccessLog::look() {
  for (const auto& worker : workers_) {
    worker->ring.drain([this](const AccessRecord& record, const AccessRing::Texts& taken) {
      const AccessTexts texts = named(taken);
      const std::string_view project = texts.project.empty() ? k_no_project : texts.project;
      auto batch = batches_.find(project);
      if (batch == batches_.end()) batch = batches_.emplace(project, Batch{}).first;
      ++batch->second.lines;
      append_access_line(record, texts, batch->second.text);
    });
  }
  for (auto& [project, batch] : batches_) {
    if (batch.lines != 0) write(project, batch);
  }
  if (batches_.size() > k_batches_max) {
    std::erase_if(batches_, [](const auto& each) { return !each.second.torn; });
  }
  tell_of_losses();
}

void AccessLog::tell_of_losses() {
  const std::uint64_t lost = this->lost();
  const auto now = std::chrono::steady_clock::now();
  if (lost == told_ || now < tell_at_) return;
  log_event(LogLevel::warn, "edge", "access_log",
            {{"result", "lines_lost"},
             {"lines", lost - told_},
             {"reason", "they came too fast, or the disk is full or cannot be written"}});
  told_ = lost;
  tell_at_ = now + k_tell_every;
}

void AccessLog::write(const std::string& project, Batch& batch) {
  const auto path = access_log_path(config_.folder, project);
  if (path.empty() || !append(path, batch)) unwritten_.fetch_add(batch.lines);
  batch.lines = 0;
  batch.text.clear();
  // One flood's is not kept for ever.
  if (batch.text.capacity() > config_.ring_bytes) batch.text.shrink_to_fit();
}

// Two processes may append for a while, when one takes the other's place: whole lines, by O_APPEND.
bool AccessLog::append(const std::filesystem::path& path, Batch& batch) const {
  const FileDescriptor file(::open(
      path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, k_mode));
  struct stat status {};
  if (!file.valid() || ::fstat(file.get(), &status) != 0 || !S_ISREG(status.st_mode)) return false;
  struct statvfs disk {};
  if (::fstatvfs(file.get(), &disk) == 0 &&
      std::uint64_t{disk.f_bavail} * disk.f_frsize < config_.free_bytes_min) {
    return false;
  }
  if (batch.torn) batch.text.insert(0, 1, '\n');
  const ssize_t written = ::write(file.get(), batch.text.data(), batch.text.size());
  const bool whole = written == static_cast<ssize_t>(batch.text.size());
  if (written > 0) batch.torn = !whole;
  if (::fstat(file.get(), &status) != 0) return whole;
  const auto used = static_cast<std::uint64_t>(status.st_blocks) * 512;
  if (used <= config_.bytes_max + config_.bytes_max / 4) return whole;
  // The head goes; a file system without holes begins anew.
  const auto size = static_cast<std::uint64_t>(status.st_size);
  const std::uint64_t freed =
      size > config_.bytes_max ? (size - config_.bytes_max) / k_block_bytes * k_block_bytes : 0;
  if (freed == 0) return whole;
  if (::fallocate(file.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
                  static_cast<off_t>(freed)) != 0) {
    (void)!::ftruncate(file.get(), 0);
  }
  return whole;
}

}  // namespace atlasflow::edge
