// The log of one build: a text file that is appended to, bounded, and kept after the build.
// Internal to builder/; one thread per object.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

#include "base/error.hpp"
#include "base/file_descriptor.hpp"
#include "builder/image/log_mask.hpp"

namespace atlasflow::builder {

class BuildLog {
 public:
  [[nodiscard]] static Result<BuildLog> open(const std::filesystem::path& folder,
                                             const std::string& build_id);

  // From here on these are shown as "***", whoever writes them.
  void hide(const LogMask& mask) { mask_ = mask; }
  // "-----> Building web (Dockerfile in the root folder)". Written even when the log is full.
  void heading(std::string_view text);
  // "       a line of ours"
  void note(std::string_view text);
  // Output of the build, as it comes; dropped (and said so, once) after 8 MiB.
  void output(std::string_view text);
  // The last 64 KiB of output(), in which the error is; hidden like the log. Ends what came so far.
  [[nodiscard]] const std::string& tail() {
    end_output();
    return tail_;
  }

 private:
  explicit BuildLog(FileDescriptor file, std::uint64_t size)
      : file_(std::move(file)), size_(size) {}
  void end_output() { append(mask_.rest()); }
  void append(std::string_view output);
  void line(const char* mark, std::string_view text);
  void write(std::string_view text);

  FileDescriptor file_;
  std::uint64_t size_ = 0;
  bool full_ = false;
  bool at_line_start_ = true;
  std::string tail_;
  LogMask mask_;
};

}  // namespace atlasflow::builder
