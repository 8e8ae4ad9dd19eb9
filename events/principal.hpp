// Who asked for something: a user of the API, a webhook's sender, or a part of the system by
// itself. Stands in every command, in the `by` of events and as the actor in a record's envelope.
// Pure value; any thread.
//
// Its text is its kind, and behind a colon who of that kind: "user", "webhook:github",
// "system:reconciler", "system". A name is 1 to 64 of [a-z0-9_-].
#pragma once

#include <cstdint>
#include <ostream>
#include <string>
#include <string_view>

#include "base/error.hpp"

namespace atlasflow {

class Principal {
 public:
  enum class Kind : std::uint8_t { user, webhook, system };

  // The system, no part of it in particular.
  Principal() = default;
  // Whoever may open the API's socket.
  [[nodiscard]] static Principal user() { return {Kind::user, ""}; }
  // The names of these two must be of the characters above.
  [[nodiscard]] static Principal webhook(std::string_view sender);
  [[nodiscard]] static Principal system(std::string_view part);

  // The value back from its text; invalid_argument for any other text.
  [[nodiscard]] static Result<Principal> parsed(std::string_view text);
  [[nodiscard]] std::string str() const;

  [[nodiscard]] Kind kind() const { return kind_; }
  [[nodiscard]] const std::string& name() const { return name_; }

  friend bool operator==(const Principal&, const Principal&) = default;
  friend std::ostream& operator<<(std::ostream& out, const Principal& principal) {
    return out << principal.str();
  }

 private:
  Principal(Kind kind, std::string name) : kind_(kind), name_(std::move(name)) {}

  Kind kind_ = Kind::system;
  std::string name_;  // empty: the kind says all
};

}  // namespace atlasflow
