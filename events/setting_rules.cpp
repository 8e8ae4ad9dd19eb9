#include "events/setting_rules.hpp"

#include <algorithm>

#include "events/settings.hpp"

namespace atlasflow {
namespace {

bool is_lower(char c) { return c >= 'a' && c <= 'z'; }
bool is_upper(char c) { return c >= 'A' && c <= 'Z'; }
bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_word(char c) { return is_lower(c) || is_upper(c) || is_digit(c) || c == '_'; }
bool is_control(char c) { return static_cast<unsigned char>(c) < ' ' || c == '\x7f'; }
bool is_visible(char c) { return c > ' ' && c <= '~'; }

// Below the repository's root or the root folder, so never out of it.
bool is_relative_path(const std::string& path) {
  std::size_t start = 0;
  while (start <= path.size()) {
    const auto end = std::min(path.find('/', start), path.size());
    const auto part = path.substr(start, end - start);
    if (part.empty() || part == "." || part == "..") return false;
    start = end + 1;
  }
  return std::none_of(path.begin(), path.end(), is_control);
}

bool is_host(const std::string& host) {
  if (host.starts_with('[')) {
    return host.size() > 4 && host.ends_with(']') &&
           host.find_first_not_of("0123456789abcdefABCDEF:.", 1) == host.size() - 1;
  }
  return !host.empty() && host.size() <= 253 && host.front() != '.' && host.front() != '-' &&
         host.find("..") == std::string::npos && std::all_of(host.begin(), host.end(), [](char c) {
           return is_word(c) || c == '-' || c == '.';
         });
}

bool is_port(const std::string& text) {
  if (text.empty() || text.size() > 5 || !std::all_of(text.begin(), text.end(), is_digit)) {
    return false;
  }
  const auto port = std::stoi(text);
  return port >= 1 && port <= 65535;
}

}  // namespace

std::string health_path_rule(const std::string& path) {
  const bool right = !path.empty() && path.front() == '/' && path.size() <= 1024 &&
                     std::all_of(path.begin(), path.end(), is_visible);
  if (right || path == k_no_health_path) return "";
  return "must start with '/' and hold at most 1024 characters of visible ASCII, or be none for an "
         "app that listens nowhere";
}

std::string app_protocol_rule(const std::string& protocol) {
  if (protocol.empty() || protocol == k_http1 || protocol == k_h2c) return "";
  return "must be http1, or h2c for an app that speaks HTTP/2 without TLS, as gRPC servers do";
}

std::string path_rule(const std::string& path) {
  const bool right = path.empty() || (path.size() <= 512 && is_relative_path(path));
  return right ? "" : "must be a path inside of the repository, such as apps/web, without '..'";
}

std::string dockerfile_rule(const std::string& path) {
  const auto below = path.starts_with('/') ? path.substr(1) : path;
  if (path != "/" && path_rule(below).empty()) return "";
  return "must be a path below the root folder, such as docker/Dockerfile, or with / before it "
         "below the repository's root, such as /docker/Dockerfile, without '..'";
}

std::string site_rule(const std::string& path) {
  const bool right =
      path.empty() || path == "." ||
      (path.size() <= 512 && is_relative_path(path) && path.front() != '-' &&
       std::all_of(path.begin(), path.end(), [](char c) {
         return is_word(c) || std::string_view("./-@ ").find(c) != std::string_view::npos;
       }));
  return right ? ""
               : "must be a path inside of the repository, such as dist/index.html, of letters, "
                 "digits and any of ./-_@";
}

std::string target_rule(const std::string& target) {
  const bool characters = std::all_of(target.begin(), target.end(),
                                      [](char c) { return is_word(c) || c == '.' || c == '-'; });
  const bool right =
      target.empty() || (target.size() <= 128 && characters && is_word(target.front()));
  return right ? "" : "must be the name or the number of one of the Dockerfile's stages";
}

std::string command_rule(const std::string& command) {
  if (command.size() > 4096) return "must not be longer than 4 KiB; put it into a script";
  return command.find('\0') == std::string::npos ? "" : "must not hold a NUL byte";
}

std::string command_line_rule(const std::string& command) {
  if (auto rule = command_rule(command); !rule.empty()) return rule;
  const auto breaks = [](char c) { return is_control(c) && c != '\t'; };
  if (std::any_of(command.begin(), command.end(), breaks)) {
    return "must be one line without control characters, such as 'make && make install'; put more "
           "into a script";
  }
  const bool is_blank = !command.empty() && command.find_first_not_of(" \t") == std::string::npos;
  return is_blank ? "is blank; an empty text takes it away" : "";
}

std::string message_rule(const std::string& message) {
  const bool is_right =
      message.size() <= 500 && std::none_of(message.begin(), message.end(), is_control);
  return is_right ? ""
                  : "must be one line of at most 500 bytes without control characters, such as "
                    "'Back at 14:00'; it is shown as plain text";
}

std::string url_rule(const std::string& url) {
  if (url.empty()) return "";
  std::string rule =
      "must be an http:// or https:// URL with a host, without user name and password, such as "
      "https://example.com/hook";
  const bool schemed = url.starts_with("https://") || url.starts_with("http://");
  // Some take a '\\' for a '/', and would find another host.
  if (!schemed || url.size() > 2048 || !std::all_of(url.begin(), url.end(), is_visible) ||
      url.find('\\') != std::string::npos) {
    return rule;
  }
  const auto start = url.find("://") + 3;
  const auto authority = url.substr(start, url.find_first_of("/?#", start) - start);
  const auto colon = authority.find(':', authority.starts_with('[') ? authority.find(']') : 0);
  if (!is_host(authority.substr(0, colon))) return rule;  // An '@' is in no host.
  if (colon == std::string::npos) return "";
  return is_port(authority.substr(colon + 1)) ? "" : rule;
}

std::string domain_rule(const std::string& domain) {
  constexpr std::size_t k_name_max = 253;  // RFC 1035 section 2.3.4, as text
  if (domain.empty()) return "";
  const bool fits =
      domain.size() <= k_name_max && domain.find('.') != std::string::npos &&
      !domain.starts_with('.') && !domain.ends_with('.') &&
      domain.find("..") == std::string::npos &&
      domain.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789-.") == std::string::npos;
  return fits ? ""
              : "must be one of the project's own domains as 'atlasflow domains list' shows it, in "
                "lower case and with xn-- for an international one, such as www.example.com";
}

std::string glob_rule(const std::string& glob) {
  if (glob.size() > 256) return "is longer than 256 bytes";
  if (glob.starts_with('!')) return "starts with '!', but paths can't be taken out again";
  if (!is_relative_path(glob)) {
    return "must be a path from the repository's root, such as src/** or package.json, without a "
           "'/' at its start or end and without '..'";
  }
  if (glob.find(',') != std::string::npos) return "holds a comma; write '?' for it";
  for (auto at = glob.find("**"); at != std::string::npos; at = glob.find("**", at + 2)) {
    const bool starts = at == 0 || glob[at - 1] == '/';
    const bool ends = at + 2 == glob.size() || glob[at + 2] == '/';
    if (!starts || !ends)
      return "holds a '**' that is not the whole name of a folder, as in src/**";
  }
  return "";
}

}  // namespace atlasflow
