// The files below one folder, by the paths that clients ask for. Nothing outside of the folder is
// ever opened, whatever a path or a link in it says, and no name that begins with a dot but
// .well-known (RFC 8615) is shown. One thread; reads only.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/file_descriptor.hpp"

namespace atlasflow::static_server {

struct SiteOptions {
  std::string root = "/srv";
  std::string fallback;  // the page for paths that name no file, as in single-page apps; or empty
};

struct Found {
  int status = 404;               // 200; 301 with location; 400; 404
  FileDescriptor file;            // what to send with 200, and with 404 when there is a 404.html
  std::uint64_t size = 0;         // bytes
  std::int64_t modified_s = 0;    // since 1970
  std::string etag;               // strong, with its quotes
  std::string_view content_type;  //
  std::string location;           // a path, without a host
};

class Site {
 public:
  // nullptr: the folder can't be opened; `why` says so.
  [[nodiscard]] static std::unique_ptr<Site> open(const SiteOptions& options, std::string& why);

  // target: the request's path as sent, with its query.
  [[nodiscard]] Found find(std::string_view target) const;

 private:
  Site(FileDescriptor root, std::string fallback)
      : root_(std::move(root)), fallback_(std::move(fallback)) {}
  // Into `found` when `path` is a regular file.
  bool take_file(const std::string& path, Found& found) const;
  // Its index.html, or else its index.htm.
  bool take_index(const std::string& folder, Found& found) const;
  [[nodiscard]] bool is_folder(const std::string& path) const;

  FileDescriptor root_;
  std::string fallback_;
};

}  // namespace atlasflow::static_server
