// ATLAS_BUGGIFY: a legal but unusual turn that production code takes when the simulator says so
// (FoundationDB's BUGGIFY). Without a source of such turns on the calling thread it is always
// false, and only the simulator installs one: a server never takes them. The simulator owns the
// source and keeps it alive until it has taken it out again; every call is of the thread's own
// source.
#pragma once

#include <string_view>
#include <vector>

#include "base/probe.hpp"

namespace atlasflow {

class Buggify {
 public:
  Buggify() = default;
  Buggify(const Buggify&) = delete;
  Buggify& operator=(const Buggify&) = delete;
  virtual ~Buggify() = default;
  // Whether the turn is taken now. site: the words of the place in the code.
  virtual bool fires(std::string_view site) = 0;
};

// From now on this thread's turns are the source's to decide; nullptr: no more.
void install_buggify(Buggify* source);

// Every site that is linked into this binary with how often it fired, sorted by file and line.
[[nodiscard]] std::vector<ProbeCount> buggify_sites();
void reset_buggify_sites();

// For the macro: asks this thread's source, and counts a yes.
[[nodiscard]] bool buggify_fires(Mark& site);

}  // namespace atlasflow

// if (ATLAS_BUGGIFY("the log writer waits another round before it flushes")) ...
// The text is a literal that says what happens then; for where it may stand see ATLAS_MARK.
#define ATLAS_BUGGIFY(words)                                \
  ([]() -> bool {                                           \
    ATLAS_MARK("atlas_buggify", atlas_buggify_site, words); \
    return ::atlasflow::buggify_fires(atlas_buggify_site);  \
  }())
