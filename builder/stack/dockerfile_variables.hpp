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

// The same text, with those forms put in that buildah does not know or has other rules for: all but
// $NAME, ${NAME}, ${NAME:-w} and ${NAME:+w}. user_error as above, and for a pattern on a variable
// that has no value here.
[[nodiscard]] Result<std::string> plain_variables(std::string_view text,
                                                  const VariableLookup& variables, char escape);
// A here-document of COPY or ADD, whose quotes stay and whose backslashes go, as in a word.
[[nodiscard]] Result<ExpandedWord> expand_document(std::string_view text,
                                                   const VariableLookup& variables);
// In quotes, in which nothing is put in.
[[nodiscard]] std::string quoted_value(std::string_view value);
// It can't stand in an instruction.
[[nodiscard]] bool has_line_break(std::string_view value);

// The words of an instruction's arguments with their quotes and variables as they are.
[[nodiscard]] std::vector<std::string> split_words(std::string_view text, char escape);

}  // namespace atlasflow::builder
