#include "builder/stack/base_image.hpp"

#include <algorithm>
#include <cctype>

namespace atlasflow::builder {
namespace {

bool is_lower_or_digit(char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); }
bool is_word(char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_'; }

bool is_path_part(std::string_view part) {
  return !part.empty() && is_lower_or_digit(part.front()) && is_lower_or_digit(part.back()) &&
         std::all_of(part.begin(), part.end(), [](char c) {
           return is_lower_or_digit(c) || c == '.' || c == '_' || c == '-';
         });
}

bool is_tag(std::string_view tag) {
  return !tag.empty() && tag.size() <= 128 && is_word(tag.front()) &&
         std::all_of(tag.begin(), tag.end(),
                     [](char c) { return is_word(c) || c == '.' || c == '-'; });
}

bool is_digest(std::string_view digest) {
  return digest.size() == 71 && digest.starts_with("sha256:") &&
         digest.find_first_not_of("0123456789abcdef", 7) == std::string_view::npos;
}

// buildah would find these in the local store before it asks docker.io: "atlasflow/p:b" is tried as
// localhost/atlasflow/p:b, and a word of hex digits as the start of an image id.
bool names_local_image(std::string_view full_name) {
  constexpr std::string_view k_library = "docker.io/library/";
  if (full_name.starts_with("docker.io/atlasflow/")) return true;
  if (!full_name.starts_with(k_library)) return false;
  const std::string_view name = full_name.substr(k_library.size());
  const std::string_view word = name.substr(0, name.find_first_of(":@"));
  return std::all_of(word.begin(), word.end(),
                     [](char c) { return std::isxdigit(static_cast<unsigned char>(c)) != 0; });
}

}  // namespace

std::string full_image_name(std::string_view name) {
  constexpr std::string_view k_hub = "docker.io/";
  std::string full(name);
  const auto slash = full.find('/');
  const std::string first = full.substr(0, slash);
  const bool has_registry =
      slash != std::string::npos &&
      (first == "localhost" || first.find_first_of(".:") != std::string::npos);
  if (!has_registry) full.insert(0, k_hub);
  if (first == "index.docker.io") full.erase(0, std::string_view("index.").size());
  if (full.starts_with(k_hub) && full.find('/', k_hub.size()) == std::string::npos) {
    full.insert(k_hub.size(), "library/");
  }
  const auto last = full.rfind('/') + 1;
  const auto digest = full.find('@', last);
  const auto tag = full.find(':', last);
  if (digest == std::string::npos) return tag == std::string::npos ? full + ":latest" : full;
  // With both, Docker takes the digest; buildah takes no such name.
  if (tag < digest) full.erase(tag, digest - tag);
  return full;
}

Result<void> check_image_name(std::string_view name) {
  const auto wrong = [&](const char* why) {
    return fail(ErrorCode::user_error,
                "'" + std::string(name) + "' is no name of an image: " + why);
  };
  auto rest = name;
  if (const auto at = rest.find('@'); at != std::string_view::npos) {
    if (!is_digest(rest.substr(at + 1))) return wrong("behind @ comes sha256: and 64 hex digits");
    rest = rest.substr(0, at);
  }
  const auto slash = rest.rfind('/');
  const auto last = rest.substr(slash == std::string_view::npos ? 0 : slash + 1);
  if (const auto colon = last.find(':'); colon != std::string_view::npos) {
    if (!is_tag(last.substr(colon + 1))) return wrong("there is no usable tag behind the colon");
    rest.remove_suffix(last.size() - colon);
  }
  const auto full = full_image_name(rest);
  const auto host_end = rest.find('/');
  if (host_end != std::string_view::npos && full.starts_with(rest))
    rest.remove_prefix(host_end + 1);
  while (true) {
    const auto end = std::min(rest.find('/'), rest.size());
    if (!is_path_part(rest.substr(0, end))) {
      return wrong("it has lower-case letters, digits and single . _ - / between them");
    }
    if (end == rest.size()) return {};
    rest.remove_prefix(end + 1);
  }
}

Result<void> check_base_image(std::string_view full_name) {
  if (full_name.starts_with("localhost/atlasflow-base/") &&
      full_name.find("..") == std::string_view::npos) {
    return {};
  }
  const std::string_view registry = full_name.substr(0, full_name.find('/'));
  const std::string_view host = registry.substr(0, registry.find(':'));
  const bool is_transport =
      full_name.find("://") != std::string_view::npos || full_name.starts_with("oci:") ||
      full_name.starts_with("dir:") || full_name.starts_with("docker-archive:") ||
      full_name.starts_with("oci-archive:") || full_name.starts_with("containers-storage:");
  const bool is_number =
      !host.empty() && (host.front() == '[' || std::all_of(host.begin(), host.end(), [](char c) {
                          return std::isdigit(static_cast<unsigned char>(c)) != 0 || c == '.';
                        }));
  if (is_transport || is_number || host == "localhost" || host.ends_with(".localhost") ||
      host.ends_with(".local") || host.ends_with(".internal") || names_local_image(full_name)) {
    return fail(ErrorCode::user_error, "the Dockerfile may not start from " +
                                           std::string(full_name) +
                                           ": name an image of a public registry by its host name");
  }
  return {};
}

}  // namespace atlasflow::builder
