// A small language of conditions over JSON, for finding when something came to hold:
//
//   condition := term { "or" term }        term := factor { "and" factor }
//   factor    := "not" factor | "(" condition ")" | value [ operator value ]
//   operator  := == != < <= > >= ~          (~: contains, as text)
//   value     := "text" | 42 | true | false | null | field | count(field)
//   field     := name { "." name }          instances.0.crashes
//
// Numbers compare as numbers, all else as text; a field that is not there is null, which equals
// null alone. A value alone holds unless it is null, false, 0 or empty. count(field)
// is the number of members of a list or an object, 0 when it is not there. Pure.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "base/error.hpp"
#include "inspect/json.hpp"

namespace atlasflow::inspect {

class Predicate {
 public:
  // invalid_argument names the column and what was expected there.
  [[nodiscard]] static Result<Predicate> parse(std::string_view text);

  [[nodiscard]] bool holds(const Json& json) const;

  struct Node;

 private:
  explicit Predicate(std::shared_ptr<const Node> root) : root_(std::move(root)) {}

  std::shared_ptr<const Node> root_;
};

}  // namespace atlasflow::inspect
