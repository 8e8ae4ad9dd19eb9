// A state of folds as one digest per field, by the field's name: so two builds whose states have
// other fields compare what both know, and say of the rest who knows it. Made of the encoded bytes
// and their shape (events/fold_shape.hpp), so those of an older build are read just as one's own.
// Pure; values, any thread.
//
// A field's name is its way from the state's root, with {} or [] for every member of a set, map or
// list, and what kind of value it is: "catalog.recent[].state.status enumeration". Members
// that hold nothing (0, "", false) are not in its digest: a state from before the field was there
// and one in which it was never set are the same. Of an enumeration the name counts.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"
#include "events/fields.hpp"
#include "events/fold_shape.hpp"

namespace atlasflow::storage {

// Of all that a state has under one name (storage/log/fingerprint.hpp).
struct FieldDigest {
  std::uint64_t entries = 0;
  std::uint64_t low = 0;
  std::uint64_t high = 0;
  friend bool operator==(const FieldDigest&, const FieldDigest&) = default;
};
ATLAS_FIELDS(FieldDigest, entries, low, high)

using FoldDigests = std::map<std::string, FieldDigest>;

// corrupt: the bytes are not of that shape.
[[nodiscard]] Result<FoldDigests> digests_of(const Shape& shape, std::string_view state);

struct DigestComparison {
  std::size_t equal = 0;
  std::vector<std::string> changed;      // both have them, and not the same
  std::vector<std::string> only_before;  // removed, renamed, or of another kind now
  std::vector<std::string> only_now;
};
[[nodiscard]] DigestComparison compare(const FoldDigests& before, const FoldDigests& now);

// One value that is not what it was: where ("catalog.recent[ab12].state.status") and both
// values as a user may see them. A text under a name of what may be, name or open a secret is not
// shown; "-": nothing is there.
struct ValueDifference {
  std::string path;
  std::string before;
  std::string now;
};
// The first by its path under one of the names; nothing: they are equal there.
[[nodiscard]] Result<std::optional<ValueDifference>> first_difference(const std::string& field,
                                                                      const Shape& shape_before,
                                                                      std::string_view before,
                                                                      const Shape& shape_now,
                                                                      std::string_view now);

}  // namespace atlasflow::storage
