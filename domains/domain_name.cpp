#include "domains/domain_name.hpp"

#include <algorithm>
#include <memory>

#include <arpa/inet.h>
#include <idn2.h>
#include <libpsl.h>

namespace atlasflow::domains {
namespace {

// RFC 1035 section 2.3.4, without the dots at both ends.
constexpr std::size_t k_name_bytes_max = 253;
constexpr std::size_t k_label_bytes_max = 63;
// What a person may type for such a name, in UTF-8.
constexpr std::size_t k_typed_bytes_max = 1'024;

struct PslFree {
  void operator()(psl_ctx_t* context) const { psl_free(context); }
};
struct IdnFree {
  void operator()(char* text) const { idn2_free(text); }
};
using IdnText = std::unique_ptr<char, IdnFree>;

// The system's list (Debian's publicsuffix), or the one that the library was built with.
const psl_ctx_t* public_suffixes() {
  static const std::unique_ptr<psl_ctx_t, PslFree> k_list(psl_latest(nullptr));
  return k_list.get();
}

bool is_address(const std::string& text) {
  in6_addr address{};
  auto plain = text;
  if (plain.size() > 2 && plain.front() == '[' && plain.back() == ']') {
    plain = plain.substr(1, plain.size() - 2);
  }
  return ::inet_pton(AF_INET, plain.c_str(), &address) == 1 ||
         ::inet_pton(AF_INET6, plain.c_str(), &address) == 1;
}

bool is_label(std::string_view label) {
  const auto allowed = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-';
  };
  return !label.empty() && label.size() <= k_label_bytes_max && label.front() != '-' &&
         label.back() != '-' && std::all_of(label.begin(), label.end(), allowed);
}

bool is_number(std::string_view label) {
  return std::all_of(label.begin(), label.end(), [](char c) { return c >= '0' && c <= '9'; });
}

// Without bytes that would steer a terminal or a log.
std::string quoted(std::string_view typed) {
  constexpr std::size_t k_shown = 80;
  std::string text(typed.substr(0, k_shown));
  std::replace_if(
      text.begin(), text.end(), [](char c) { return c >= 0 && c < ' '; }, '?');
  return "'" + text + (typed.size() > k_shown ? "…'" : "'");
}

tl::unexpected<Error> refused(std::string_view typed, const std::string& why) {
  return fail(ErrorCode::invalid_argument, quoted(typed) + " " + why);
}

Result<void> check_shape(std::string_view typed, const std::string& text) {
  if (text.empty()) {
    return fail(ErrorCode::invalid_argument, "a domain is missing; name one like www.example.com");
  }
  if (text.find("://") != std::string::npos || text.find('/') != std::string::npos) {
    return refused(typed, "is a URL; give the domain alone, like www.example.com");
  }
  if (text.find('*') != std::string::npos) {
    return refused(typed, "is a wildcard; add each name that is to be served");
  }
  if (is_address(text)) {
    return refused(typed, "is an address; a domain is a name, like www.example.com");
  }
  if (text.find(':') != std::string::npos) {
    return refused(typed, "has a port; give the domain alone, like www.example.com");
  }
  if (text.find('\0') != std::string::npos || text.size() > k_typed_bytes_max) {
    return refused(typed, "is no domain; name one like www.example.com");
  }
  return {};
}

Result<void> check_labels(std::string_view typed, const std::string& name) {
  if (name.size() > k_name_bytes_max) {
    return refused(typed, "has " + std::to_string(name.size()) + " bytes in DNS; at most " +
                              std::to_string(k_name_bytes_max) + " are allowed");
  }
  std::size_t begin = 0;
  std::string_view label;
  while (begin <= name.size()) {
    const auto end = std::min(name.find('.', begin), name.size());
    label = std::string_view(name).substr(begin, end - begin);
    if (!is_label(label)) {
      return refused(typed,
                     "has the label '" + std::string(label) +
                         "'; one takes 1 to 63 letters, digits and hyphens, none at its ends");
    }
    begin = end + 1;
  }
  if (is_number(label)) return refused(typed, "ends in a number; no top-level domain does");
  return {};
}

}  // namespace

Result<DomainName> parse_domain_name(std::string_view typed) {
  std::string text(typed);
  const auto is_blank = [](char c) { return c == ' ' || c == '\t'; };
  while (!text.empty() && is_blank(text.back())) text.pop_back();
  text.erase(text.begin(), std::find_if_not(text.begin(), text.end(), is_blank));
  if (text.ends_with('.')) text.pop_back();
  ATLAS_TRYV(check_shape(typed, text));
  char* raw = nullptr;
  auto code = idn2_to_ascii_8z(text.c_str(), &raw, IDN2_NFC_INPUT | IDN2_NONTRANSITIONAL);
  const IdnText ascii(raw);
  if (code != IDN2_OK) {
    return refused(typed, std::string("is no domain (") + idn2_strerror(code) + ")");
  }
  DomainName result;
  result.name = ascii.get();
  std::transform(result.name.begin(), result.name.end(), result.name.begin(), [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  });
  ATLAS_TRYV(check_labels(typed, result.name));
  raw = nullptr;
  code = idn2_to_unicode_8z8z(result.name.c_str(), &raw, 0);
  const IdnText shown(raw);
  if (code != IDN2_OK) {
    return refused(typed, std::string("has a label in xn-- form that stands for no name (") +
                              idn2_strerror(code) + ")");
  }
  result.display_name = shown.get();
  if (result.name.find('.') == std::string::npos) {
    return refused(typed, "is one label; a domain has at least two, like example.com");
  }
  const auto* list = public_suffixes();
  if (list == nullptr) {
    return fail(ErrorCode::internal,
                "the list of public suffixes can't be read; install "
                "Debian's package publicsuffix");
  }
  if (psl_is_public_suffix(list, result.name.c_str()) != 0) {
    return refused(typed,
                   "is a public suffix, under which everybody registers; name a domain "
                   "below it that is yours");
  }
  const char* registrable = psl_registrable_domain(list, result.name.c_str());
  result.registered = registrable == nullptr ? result.name : registrable;
  result.is_apex = registrable != nullptr && result.name == registrable;
  return result;
}

}  // namespace atlasflow::domains
