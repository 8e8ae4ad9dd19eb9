#include "builder/static_server/site.hpp"

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <optional>

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "builder/static_server/content_type.hpp"

namespace atlasflow::static_server {
namespace {

// openat2 (Linux 5.6) does the walk in the kernel and refuses to leave the folder by "..", by an
// absolute link and by /proc's magic ones, so there is no check that could be raced.
FileDescriptor open_beneath(int root, const std::string& path, int flags) {
  open_how how{};
  how.flags = static_cast<std::uint64_t>(O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY | flags);
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS;
  return FileDescriptor(static_cast<int>(
      ::syscall(SYS_openat2, root, path.empty() ? "." : path.c_str(), &how, sizeof how)));
}

std::optional<unsigned> hex_digit(char c) {
  if (c >= '0' && c <= '9') return static_cast<unsigned>(c - '0');
  if (c >= 'a' && c <= 'f') return static_cast<unsigned>(c - 'a' + 10);
  if (c >= 'A' && c <= 'F') return static_cast<unsigned>(c - 'A' + 10);
  return std::nullopt;
}

// RFC 3986 section 2.1, once. An encoded '/' or NUL has no file that it could mean.
std::optional<std::string> decoded(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out += text[i];
      continue;
    }
    if (i + 2 >= text.size()) return std::nullopt;
    const auto high = hex_digit(text[i + 1]);
    const auto low = hex_digit(text[i + 2]);
    if (!high || !low) return std::nullopt;
    const char c = static_cast<char>(*high * 16 + *low);
    if (c == '\0' || c == '/') return std::nullopt;
    out += c;
    i += 2;
  }
  return out;
}

std::string encoded(std::string_view text) {
  constexpr std::string_view k_plain = "-._~!$&'()*+,;=:@/";
  constexpr std::string_view k_hex = "0123456789ABCDEF";
  std::string out;
  for (const char c : text) {
    const bool is_plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                          (c >= '0' && c <= '9') || k_plain.find(c) != std::string_view::npos;
    if (is_plain) {
      out += c;
    } else {
      const auto byte = static_cast<unsigned char>(c);
      out += {'%', k_hex[byte >> 4U], k_hex[byte & 15U]};
    }
  }
  return out;
}

// The path below the root, without slashes at its ends and with one between names; nullopt when it
// has a name that is never shown. "//host/" becomes "host": no redirect leads away.
std::optional<std::string> tidied(std::string_view path) {
  std::string out;
  while (!path.empty()) {
    const auto end = std::min(path.find('/'), path.size());
    const auto name = path.substr(0, end);
    path.remove_prefix(std::min(end + 1, path.size()));
    if (name.empty()) continue;
    const bool is_well_known = out.empty() && name == ".well-known";
    if (name.front() == '.' && !is_well_known) return std::nullopt;
    if (!out.empty()) out += '/';
    out += name;
  }
  return out;
}

}  // namespace

std::unique_ptr<Site> Site::open(const SiteOptions& options, std::string& why) {
  FileDescriptor root(::open(options.root.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!root.valid()) {
    why = "cannot open the folder " + options.root + ": " + std::strerror(errno);
    return nullptr;
  }
  auto fallback = tidied(options.fallback);
  if (!fallback) {
    why = "the fallback page may not be a hidden file: " + options.fallback;
    return nullptr;
  }
  return std::unique_ptr<Site>(new Site(std::move(root), std::move(*fallback)));
}

bool Site::take_file(const std::string& path, Found& found) const {
  FileDescriptor file = open_beneath(root_.get(), path, 0);
  struct stat status {};
  if (!file.valid() || ::fstat(file.get(), &status) != 0 || !S_ISREG(status.st_mode)) return false;
  found.file = std::move(file);
  found.size = static_cast<std::uint64_t>(status.st_size);
  found.modified_s = status.st_mtim.tv_sec;
  std::array<char, 64> etag{};
  std::snprintf(etag.data(), etag.size(), "\"%llx-%lx-%llx\"",
                static_cast<unsigned long long>(status.st_mtim.tv_sec), status.st_mtim.tv_nsec,
                static_cast<unsigned long long>(status.st_size));
  found.etag = etag.data();
  found.content_type = content_type_of(path);
  return true;
}

bool Site::take_index(const std::string& folder, Found& found) const {
  const auto start = folder.empty() ? folder : folder + "/";
  found.status = 200;
  return take_file(start + "index.html", found) || take_file(start + "index.htm", found);
}

bool Site::is_folder(const std::string& path) const {
  return open_beneath(root_.get(), path, O_DIRECTORY).valid();
}

Found Site::find(std::string_view target) const {
  Found found;
  const auto question = std::min(target.find('?'), target.size());
  const auto path = target.substr(0, question);
  const auto plain = decoded(path);
  if (path.empty() || path.front() != '/' || !plain) {
    found.status = 400;
    return found;
  }
  if (const auto name = tidied(*plain)) {
    const bool asks_for_folder = path.back() == '/';
    found.status = 200;
    if (is_folder(*name)) {
      Found page;
      if (take_index(*name, page)) {
        if (asks_for_folder) return page;
        found.status = 301;
        found.location = "/" + encoded(*name) + "/" + std::string(target.substr(question));
        return found;
      }
    } else if (!asks_for_folder && (take_file(*name, found) || take_file(*name + ".html", found) ||
                                    take_file(*name + ".htm", found))) {
      return found;
    }
    if (!fallback_.empty() && !names_asset(*name) && take_file(fallback_, found)) return found;
  }
  found.status = 404;
  take_file("404.html", found);
  return found;
}

}  // namespace atlasflow::static_server
