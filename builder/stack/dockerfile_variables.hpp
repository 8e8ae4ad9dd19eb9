// Puts the values of variables into a word of a Dockerfile, by the rules of Docker's own builder:
// quotes, escapes, $NAME and the forms of ${NAME…}. Internal to builder/stack; pure, any thread.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"

namespace atlasflow::builder {

// A variable's value; nullptr: it has none.
using VariableLookup = std::function<const std::string*(const std::string& name)>;

struct ExpandedWord {
  std::string text;                  // without the quotes and escapes that were in the word
  std::vector<std::string> missing;  // variables without a value, which count as empty
};

// Takes ${X:-w} ${X-w} ${X:+w} ${X+w} ${X:?w} ${X?w} ${X#p} ${X##p} ${X%p} ${X%%p} ${X/p/w}
// ${X//p/w}; `escape` is the Dockerfile's. user_error, without a line: a quote or brace that does
// not end, a form that Docker does not know, ${X:?w} of a variable without a value, more than 64
// KiB.
[[nodiscard]] Result<ExpandedWord> expand_word(std::string_view word,
                                               const VariableLookup& variables, char escape);

// The words of an instruction's arguments with their quotes and variables as they are.
[[nodiscard]] std::vector<std::string> split_words(std::string_view text, char escape);

}  // namespace atlasflow::builder
