// The name of a domain as a person types it, to the form in which DNS, certificates and the log
// have it (RFC 5890 A-labels), or why it can't be one. Free function; any thread.
#pragma once

#include <string>
#include <string_view>

#include "base/error.hpp"

namespace atlasflow::domains {

struct DomainName {
  std::string name;          // lower case, A-labels, no trailing dot
  std::string display_name;  // U-labels; the same for most
  // One label below a public suffix: no CNAME can stand there (RFC 1034 section 3.6.2).
  bool is_apex = false;
  std::string registered = {};  // the public suffix and one label, as "example.co.uk"
};

// invalid_argument: it is an address, a public suffix by Mozilla's list, a wildcard, too long, or
// no name at all.
[[nodiscard]] Result<DomainName> parse_domain_name(std::string_view typed);

}  // namespace atlasflow::domains
