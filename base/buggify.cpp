#include "base/buggify.hpp"

extern "C" {
// The linker's names for the ends of the section; weak, as a binary may have no site.
extern atlasflow::Mark atlas_buggify_begin[] __asm__("__start_atlas_buggify")
    __attribute__((weak, visibility("hidden")));
extern atlasflow::Mark atlas_buggify_end[] __asm__("__stop_atlas_buggify")
    __attribute__((weak, visibility("hidden")));
}

namespace atlasflow {
namespace {

thread_local Buggify* installed = nullptr;

}  // namespace

void install_buggify(Buggify* source) { installed = source; }

bool buggify_fires(Mark& site) {
  if (installed == nullptr || !installed->fires(site.text)) return false;
  site.hit();
  return true;
}

std::vector<ProbeCount> buggify_sites() {
  return counts_of(atlas_buggify_begin, atlas_buggify_end);
}

void reset_buggify_sites() { reset_counts(atlas_buggify_begin, atlas_buggify_end); }

}  // namespace atlasflow
