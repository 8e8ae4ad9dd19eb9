// Which image the stages of a language start from: public ones by version, and those at hand, by
// what the app asks for. Pure; any thread.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "builder/stack/languages.hpp"

namespace atlasflow::builder {

// What there is to start from on this machine.
struct StackBases {
  std::set<std::string> present;                  // full names, in the store of base images
  std::map<std::string, std::string> configured;  // by language: builder.bases, which decide
  // false: the registry did not answer, so what is here is taken, with another version if need be.
  bool may_pull = true;
};

struct VersionWish {
  std::string range;  // npm's notation: version_range.hpp; "22", ">=3.9 <3.13"
  std::string why;    // "requires-python in pyproject.toml"
  // The app's own tools refuse another version; else it is a wish that a notice may answer.
  bool is_strict = false;
};

struct ChosenBase {
  std::string image;
  std::string version;        // "3.12"; empty: the image's name does not tell
  std::string why;            // "requires-python in pyproject.toml", "the default"
  bool is_own = false;        // made by script/base-images from Debian's packages
  std::string unmet;          // see Plan
  bool has_fallback = false;  // see Plan
  std::vector<std::string> notices;
};

// The public image of the first version that has all that is asked for, if it is here; else one
// that script/base-images made and that has it; else that public image, which is to be pulled.
// Without such, one that has what is strictly asked for, with a notice. user_error when none has
// that: it names the versions. What builder.bases names is the only candidate.
[[nodiscard]] Result<ChosenBase> choose_base(const StackBases& bases, const Language& language,
                                             const std::vector<VersionWish>& wishes);

}  // namespace atlasflow::builder
