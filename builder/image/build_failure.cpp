#include "builder/image/build_failure.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <string>

#include "builder/image/image_builder.hpp"

namespace atlasflow::builder {
namespace {

constexpr std::string_view k_exit_code_cause = "exit code ";
constexpr std::size_t k_sentence_bytes_max = 400;

bool contains(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

template <std::size_t N>
bool contains_any(std::string_view text, const std::array<std::string_view, N>& parts) {
  return std::any_of(parts.begin(), parts.end(),
                     [text](std::string_view part) { return contains(text, part); });
}

// One line, printable, not endless: it becomes part of an event and of a commit status.
std::string clipped(std::string_view text) {
  std::string out;
  for (const char c : text.substr(0, k_sentence_bytes_max)) {
    out += static_cast<unsigned char>(c) < 0x20 || c == 0x7f ? ' ' : c;
  }
  if (text.size() > k_sentence_bytes_max) {
    while (!out.empty() && (static_cast<unsigned char>(out.back()) & 0xC0U) == 0x80U)
      out.pop_back();
    if (!out.empty() && static_cast<unsigned char>(out.back()) >= 0xC0U) out.pop_back();
    out += "…";
  }
  return out;
}

// What stands after the last "Error: " that starts a line.
std::string_view error_line(std::string_view output) {
  constexpr std::string_view k_mark = "Error: ";
  for (auto at = output.rfind(k_mark); at != std::string_view::npos;
       at = output.rfind(k_mark, at - 1)) {
    if (at == 0 || output[at - 1] == '\n') {
      const std::string_view rest = output.substr(at + k_mark.size());
      return rest.substr(0, rest.find('\n'));
    }
    if (at == 0) break;
  }
  return {};
}

// The instruction in: building at STEP "RUN npm ci": while running runtime: exit status 1
// buildah does not escape the instruction, which may hold the mark that ends it: a RUN step ends at
// the last.
struct StepFailure {
  std::string_view step;
  std::string_view reason;
};

StepFailure step_of(std::string_view line) {
  constexpr std::string_view k_before = "building at STEP \"";
  constexpr std::string_view k_runtime = "\": while running runtime";
  constexpr std::string_view k_after = "\": ";
  const auto start = line.find(k_before);
  if (start == std::string_view::npos) return {};
  const std::string_view rest = line.substr(start + k_before.size());
  auto end = rest.rfind(k_runtime);
  if (end == std::string_view::npos) end = rest.find(k_after);
  if (end == std::string_view::npos) return {};
  return {rest.substr(0, end), rest.substr(end + k_after.size())};
}

std::optional<int> number_after(std::string_view text, std::string_view mark) {
  const auto at = text.rfind(mark);
  if (at == std::string_view::npos) return std::nullopt;
  const std::string_view digits = text.substr(at + mark.size());
  int value = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  return error == std::errc{} ? std::optional(value) : std::nullopt;
}

// The builder's machine, not the user's files, is at fault.
constexpr std::array<std::string_view, 6> k_machine_faults = {
    "no space left on device", "cannot allocate memory", "too many open files",
    "input/output error",      "read-only file system",  "disk quota exceeded"};

}  // namespace

Error build_failure(std::string_view output, int exit_code, bool out_of_memory,
                    std::int64_t memory_limit_mib) {
  const std::string_view line = error_line(output);
  const StepFailure failure = step_of(line);
  const std::string step = clipped(failure.step);
  const std::string cause = clipped(
      line.empty() ? output.substr(output.size() - std::min<std::size_t>(output.size(), 300))
                   : line);
  const std::string named = step.empty() ? "the build" : "step '" + step + "'";
  if (out_of_memory) {
    return {
        ErrorCode::user_error,
        named + " ran out of memory: a build may use " + std::to_string(memory_limit_mib) + " MiB",
        std::string(k_exit_code_cause) + "137"};
  }
  // crun's words when it could not begin, of its own and not of the step's program.
  const bool not_created = contains(output, "error running container: from /usr/bin/crun");
  if ((not_created && contains(output, "executable file `")) ||
      contains(output, "\nexec container process `")) {
    return {ErrorCode::user_error,
            named + " could not start: the image has no such program for this machine",
            std::string(k_exit_code_cause) + "127"};
  }
  if (not_created) {
    return {ErrorCode::internal, named + " could not be isolated by crun; the log has its words",
            cause};
  }
  if (!step.empty() && failure.reason.starts_with("while running runtime")) {
    if (const auto code = number_after(line, "exit status ")) {
      return {ErrorCode::user_error, named + " failed with exit code " + std::to_string(*code),
              std::string(k_exit_code_cause) + std::to_string(*code)};
    }
    return {ErrorCode::user_error, named + " was ended by a signal", cause};
  }
  if (contains_any(line, k_machine_faults)) {
    return {ErrorCode::unavailable, "the build failed for want of a resource of this machine",
            cause};
  }
  if (line.empty()) {
    return {ErrorCode::internal, "buildah ended with exit code " + std::to_string(exit_code),
            cause};
  }
  if (!step.empty()) {
    return {ErrorCode::user_error, named + " failed: " + clipped(failure.reason), cause};
  }
  return {ErrorCode::user_error, "the Dockerfile does not build: " + clipped(line), cause};
}

Error pull_failure(std::string_view image, std::string_view output) {
  const std::string_view line = error_line(output);
  const std::string name(image);
  constexpr std::array<std::string_view, 6> k_absent = {"manifest unknown", "name unknown",
                                                        "not found",        "unauthorized",
                                                        "denied",           "invalid reference"};
  if (contains_any(line, k_absent)) {
    return {ErrorCode::user_error,
            "the Dockerfile starts from " + name +
                ", which its registry does not give: see its name, and "
                "that it is public",
            clipped(line)};
  }
  return {ErrorCode::unavailable,
          "the base image " + name +
              " is not on this machine and could not be pulled; script/base-images "
              "makes the usual ones from Debian's packages",
          clipped(line.empty() ? output : line)};
}

std::optional<int> step_exit_code(const Error& error) {
  if (error.code != ErrorCode::user_error || !error.cause.starts_with(k_exit_code_cause)) {
    return std::nullopt;
  }
  return number_after(error.cause, k_exit_code_cause);
}

}  // namespace atlasflow::builder
