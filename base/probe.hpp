// ATLAS_PROBE: marks that a rare path was reached, so that the simulator can report which ones no
// run has ever reached (FoundationDB's CODE_PROBE). A probe changes no result: it counts, and
// nothing but probes() reads the count, which no production code calls; so events/ stays pure with
// them. Any thread may hit a probe or read the counts; a hit is one relaxed increment.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace atlasflow {

struct ProbeCount {
  std::string file;  // from the repository's root
  int line = 0;
  std::string text;
  std::uint64_t count = 0;  // since the start, or since reset_probes()

  friend bool operator==(const ProbeCount&, const ProbeCount&) = default;
};

// Every probe that is linked into this binary, reached or not, sorted by file and line.
[[nodiscard]] std::vector<ProbeCount> probes();
void reset_probes();

// One place in the code, made by the compiler in a section of its own, where the linker puts them
// all in a row: so a list of them needs no registration, and knows those that were never reached.
struct alignas(32) Mark {
  const char* file;
  const char* text;
  std::uint64_t line;
  std::uint64_t count;

  // Relaxed: counts of different marks are not compared. A builtin, since a header of threads is no
  // business of events/.
  void hit() noexcept { __atomic_fetch_add(&count, 1U, __ATOMIC_RELAXED); }
};
// The entries of a section must have no gaps between them.
static_assert(sizeof(Mark) == 32);

// The marks of a section, from its first to behind its last, as probes() lists them.
[[nodiscard]] std::vector<ProbeCount> counts_of(const Mark* first, const Mark* last);
void reset_counts(Mark* first, Mark* last);

}  // namespace atlasflow

// A static variable `name` in the named section. Only where the function belongs to one object
// file: not in a header, a template or an inline member of a class with external linkage, whose
// variables the linker would choose from several (GCC: "section type conflict"; tests/house looks
// at headers).
#define ATLAS_MARK(section_name, name, words)                                                     \
  [[gnu::section(section_name), gnu::used]] alignas(32) static constinit ::atlasflow::Mark name { \
    __FILE__, "" words "", __LINE__, 0                                                            \
  }

// ATLAS_PROBE(condition, "a build's outcome came after the deployment was superseded");
// The text is a literal that says the state of affairs; no other mark has it (tests/house).
#define ATLAS_PROBE(condition, words)                      \
  do {                                                     \
    if (condition) {                                       \
      ATLAS_MARK("atlas_probes", atlas_probe_mark, words); \
      atlas_probe_mark.hit();                              \
    }                                                      \
  } while (false)
