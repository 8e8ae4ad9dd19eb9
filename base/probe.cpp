#include "base/probe.hpp"

#include <algorithm>
#include <tuple>

extern "C" {
// The linker's names for the ends of the section; weak, as a binary may have no probe.
extern atlasflow::Mark atlas_probes_begin[] __asm__("__start_atlas_probes")
    __attribute__((weak, visibility("hidden")));
extern atlasflow::Mark atlas_probes_end[] __asm__("__stop_atlas_probes")
    __attribute__((weak, visibility("hidden")));
}

namespace atlasflow {
namespace {

// __FILE__ is as the build called the compiler, so this file's own tells where the root is.
std::string_view from_root(std::string_view file) {
  constexpr std::string_view k_own = __FILE__;
  constexpr std::string_view k_own_from_root = "base/probe.cpp";
  static_assert(k_own.ends_with(k_own_from_root));
  constexpr auto k_root = k_own.substr(0, k_own.size() - k_own_from_root.size());
  if (file.starts_with(k_root)) file.remove_prefix(k_root.size());
  return file;
}

}  // namespace

std::vector<ProbeCount> counts_of(const Mark* first, const Mark* last) {
  std::vector<ProbeCount> counts;
  for (const Mark* mark = first; mark != last; ++mark) {
    counts.push_back({std::string(from_root(mark->file)), static_cast<int>(mark->line), mark->text,
                      __atomic_load_n(&mark->count, __ATOMIC_RELAXED)});
  }
  std::sort(counts.begin(), counts.end(), [](const ProbeCount& a, const ProbeCount& b) {
    return std::tie(a.file, a.line, a.text) < std::tie(b.file, b.line, b.text);
  });
  return counts;
}

void reset_counts(Mark* first, Mark* last) {
  for (Mark* mark = first; mark != last; ++mark)
    __atomic_store_n(&mark->count, 0U, __ATOMIC_RELAXED);
}

std::vector<ProbeCount> probes() { return counts_of(atlas_probes_begin, atlas_probes_end); }

void reset_probes() { reset_counts(atlas_probes_begin, atlas_probes_end); }

}  // namespace atlasflow
