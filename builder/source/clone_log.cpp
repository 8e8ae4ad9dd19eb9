#include "builder/source/clone_log.hpp"

#include <algorithm>
#include <string_view>
#include <utility>

namespace atlasflow::builder {
namespace {

constexpr auto k_between_lines = std::chrono::seconds(1);
constexpr auto k_silence_max = std::chrono::seconds(10);

std::string size_text(std::uint64_t bytes) {
  constexpr std::uint64_t k_kib = 1ULL << 10U;
  constexpr std::uint64_t k_mib = 1ULL << 20U;
  if (bytes < k_kib) return std::to_string(bytes) + " bytes";
  if (bytes < k_mib) return std::to_string(bytes / k_kib) + " KiB";
  return std::to_string(bytes / k_mib) + " MiB";
}

std::uint64_t percent_of(std::uint64_t part, std::uint64_t whole) {
  return whole == 0 ? 0 : std::min(part, whole) * 100 / whole;
}

// Of a stranger: the last line of it that says anything, as printable ASCII.
std::string line_of_remote(std::string_view text) {
  constexpr std::size_t k_letters_max = 80;
  const auto end = text.find_last_not_of("\r\n");
  if (end == std::string_view::npos) return {};
  text = text.substr(0, end + 1);
  if (const auto start = text.find_last_of("\r\n"); start != std::string_view::npos) {
    text.remove_prefix(start + 1);
  }
  std::string line;
  for (const char c : text.substr(0, k_letters_max)) line += c >= ' ' && c <= '~' ? c : '?';
  return line;
}

}  // namespace

CloneLog::CloneLog(const std::filesystem::path& folder, const std::string& effect,
                   const std::string& what, std::function<Clock::time_point()> now)
    : now_(std::move(now)), started_(now_()), told_at_(started_) {
  if (folder.empty() || effect.empty()) return;
  auto log = BuildLog::open(folder, effect);
  if (!log) return;
  log_.emplace(*std::move(log));
  log_->heading("Cloning " + what);
}

bool CloneLog::is_due(std::uint64_t tenth) const {
  const auto silence = now_() - told_at_;
  return silence >= k_silence_max || (silence >= k_between_lines && tenth > told_tenth_);
}

void CloneLog::write(const std::string& line) {
  told_at_ = now_();
  if (log_) log_->note(line);
}

void CloneLog::tell(const FetchProgress& progress) {
  if (!log_) return;
  if (progress.objects_total == 0) {
    const auto line = line_of_remote(progress.remote);
    if (is_due(0) && !line.empty()) write("the remote: " + line);
    return;
  }
  const bool is_of_deltas = progress.objects == progress.objects_total && progress.deltas_total > 0;
  if (is_of_deltas && !told_of_deltas_) {
    told_of_deltas_ = true;
    told_tenth_ = 0;
  }
  const auto done = is_of_deltas ? progress.deltas : progress.objects;
  const auto total = is_of_deltas ? progress.deltas_total : progress.objects_total;
  const auto percent = percent_of(done, total);
  if (!is_due(percent / 10)) return;
  told_tenth_ = percent / 10;
  const auto share = std::to_string(done) + " of " + std::to_string(total);
  const auto end = " (" + std::to_string(percent) + " %)";
  write(is_of_deltas ? "put together " + share + " deltas" + end
                     : "received " + share + " objects" + end + ", " + size_text(progress.bytes));
}

std::string CloneLog::duration() const {
  const auto tenths =
      std::chrono::duration_cast<std::chrono::milliseconds>(now_() - started_).count() / 100;
  return std::to_string(tenths / 10) + "." + std::to_string(tenths % 10) + " s";
}

void CloneLog::done(const Checkout& checkout) {
  if (!log_) return;
  const auto came = checkout.received_objects == 0
                        ? std::string("nothing was new")
                        : std::to_string(checkout.received_objects) + " objects, " +
                              size_text(checkout.received_bytes) + " received";
  write("done in " + duration() + ": " + came + "; the commit's files have " +
        size_text(checkout.size_bytes));
}

void CloneLog::failed(const Error& error) {
  if (log_) write("failed after " + duration() + ": " + error.message);
}

}  // namespace atlasflow::builder
