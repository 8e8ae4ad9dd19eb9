#include "builder/image/build_failure.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <string>

#include "builder/image/image_builder.hpp"
#include "builder/stack/dockerfile.hpp"

namespace atlasflow::builder {
namespace {

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

// What stands after "Error: " in the last line that starts with it or that has buildah's verdict on
// a step: one whose output ends without a line break (Maven's, with a colour's end) has the verdict
// on its own last line. The first in that line is the verdict; another is in the step's own text.
std::string_view error_line(std::string_view output) {
  constexpr std::string_view k_mark = "Error: ";
  constexpr std::string_view k_verdict = "Error: building at STEP \"";
  std::string_view found;
  while (!output.empty()) {
    const auto end = std::min(output.find('\n'), output.size());
    const std::string_view line = output.substr(0, end);
    output.remove_prefix(std::min(end + 1, output.size()));
    if (const auto verdict = line.find(k_verdict); verdict != std::string_view::npos) {
      found = line.substr(verdict + k_mark.size());
    } else if (line.starts_with(k_mark)) {
      found = line.substr(k_mark.size());
    }
  }
  return found;
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

// Words of buildah about itself: where it mounted what, whose ids, and Go's structures. They tell a
// user nothing; the part between colons that has one is left out, and all from a structure on.
std::string without_internals(std::string_view text) {
  constexpr std::array<std::string_view, 4> k_structures = {"&{", "&imagebuilder.", "map[",
                                                            "[]string{"};
  for (const auto mark : k_structures) text = text.substr(0, text.find(mark));
  std::string out;
  while (!text.empty()) {
    const auto end = std::min(text.find(": "), text.size());
    const std::string_view part = text.substr(0, end);
    text.remove_prefix(std::min(end + 2, text.size()));
    const bool is_internal = contains(part, "/mnt/") || contains(part, "/var/lib/containers") ||
                             contains(part, "container \"") || contains(part, "copier");
    if (part.empty() || is_internal) continue;
    out += (out.empty() ? "" : ": ") + std::string(part);
  }
  return out;
}

// `stat: "/a": no such file or directory` of a COPY: the file's name.
std::string absent_source(std::string_view reason) {
  constexpr std::string_view k_before = "stat: \"/";
  constexpr std::string_view k_after = "\": no such file or directory";
  const auto end = reason.rfind(k_after);
  if (end == std::string_view::npos) return {};
  const auto start = reason.rfind(k_before, end);
  if (start == std::string_view::npos) return {};
  return std::string(reason.substr(start + k_before.size(), end - start - k_before.size()));
}

// Without the names that we gave to the parts of the context that it mounts.
std::string as_written(std::string_view step) {
  constexpr std::size_t k_digest_digits = 64;
  const auto given = "from=" + std::string(k_part_context);
  std::string text(step);
  for (auto at = text.find(given); at != std::string::npos; at = text.find(given, at)) {
    text.erase(at, given.size() + k_digest_digits + 1);  // and the comma
  }
  return text;
}

// The line of the Dockerfile in which the step begins; 0: not told apart from another's. buildah
// prints a step as it was written, with its lines joined.
std::size_t line_of(std::string_view step, std::string_view dockerfile) {
  std::size_t number = 0;
  std::size_t found = 0;
  while (!dockerfile.empty()) {
    const auto end = std::min(dockerfile.find('\n'), dockerfile.size());
    std::string_view line = dockerfile.substr(0, end);
    dockerfile.remove_prefix(std::min(end + 1, dockerfile.size()));
    ++number;
    const auto first = std::min(line.find_first_not_of(" \t"), line.size());
    line.remove_prefix(first);
    while (!line.empty() && (line.back() == '\\' || line.back() == ' ' || line.back() == '\r')) {
      line.remove_suffix(1);
    }
    const bool has_words = line.find(' ') != std::string_view::npos;
    if (!has_words || line.front() == '#' || !step.starts_with(line)) continue;
    if (found != 0) return 0;
    found = number;
  }
  return found;
}

// What the program that does COPY --parents has said, when the step is one of its own. The folder
// that it makes is named in the COPY that stands for the instruction. line: buildah's verdict.
std::optional<Error> copy_parents_failure(const BuildEnd& end, std::string_view step,
                                          std::string_view line) {
  constexpr std::string_view k_program = "/.atlasflow/tool/atlasflow-copy-parents --out=";
  constexpr std::string_view k_said = "\nCOPY --parents: ";
  const auto start = step.find(k_program);
  const auto said = end.output.rfind(k_said);
  if (start == std::string_view::npos || said == std::string_view::npos) return std::nullopt;
  auto folder = step.substr(start + k_program.size());
  folder = folder.substr(0, folder.find(' '));
  auto why = end.output.substr(said + k_said.size());
  why = why.substr(0, why.find('\n'));
  const auto number = line_of("COPY --from=" + std::string(folder.substr(folder.rfind('/') + 1)) +
                                  " " + std::string(folder) + "/ /",
                              end.dockerfile);
  const auto place =
      number == 0 ? std::string() : "Dockerfile, line " + std::to_string(number) + ": ";
  // See main.cpp of builder/copy_parents: 2 is the machine's.
  const bool is_machines = number_after(line, "exit status ") == 2;
  return Error{is_machines ? ErrorCode::unavailable : ErrorCode::user_error,
               place + "COPY --parents failed: " + clipped(why),
               {}};
}

// The builder's machine, not the user's files, is at fault.
constexpr std::array<std::string_view, 6> k_machine_faults = {
    "no space left on device", "cannot allocate memory", "too many open files",
    "input/output error",      "read-only file system",  "disk quota exceeded"};

constexpr std::array<std::string_view, 4> k_network_faults = {
    "dial tcp", "i/o timeout", "TLS handshake timeout", "connection reset by peer"};

}  // namespace

Error build_failure(const BuildEnd& end) {
  const std::string_view line = error_line(end.output);
  const StepFailure failure = step_of(line);
  const std::string step = clipped(as_written(failure.step));
  const std::string cause = without_internals(clipped(
      line.empty()
          ? end.output.substr(end.output.size() - std::min<std::size_t>(end.output.size(), 300))
          : line));
  const std::size_t number = line_of(failure.step, end.dockerfile);
  const std::string place = number == 0 ? "" : "Dockerfile, line " + std::to_string(number) + ": ";
  const std::string named = step.empty() ? "the build" : place + "step '" + step + "'";
  if (end.out_of_memory) {
    return {ErrorCode::user_error,
            named + " ran out of memory: a build may use " + std::to_string(end.memory_limit_mib) +
                " MiB",
            {},
            137};
  }
  // crun's words when it could not begin, of its own and not of the step's program.
  const bool not_created = contains(end.output, "error running container: from /usr/bin/crun");
  if ((not_created && contains(end.output, "executable file `")) ||
      contains(end.output, "\nexec container process `")) {
    return {ErrorCode::user_error,
            named + " could not start: the image has no such program for this machine",
            {},
            127};
  }
  if (not_created) {
    return {ErrorCode::internal, named + " could not be isolated by crun; the log has its words",
            cause};
  }
  if (auto parents = copy_parents_failure(end, failure.step, line)) return std::move(*parents);
  if (!step.empty() && failure.reason.starts_with("while running runtime")) {
    if (const auto code = number_after(line, "exit status ")) {
      return {ErrorCode::user_error,
              named + " failed with exit code " + std::to_string(*code),
              {},
              *code};
    }
    return {ErrorCode::user_error, named + " was ended by a signal", {}};
  }
  if (contains_any(line, k_machine_faults)) {
    return {ErrorCode::unavailable, "the build failed for want of a resource of this machine",
            cause};
  }
  // ADD of a URL; a RUN step that does without the network tells of that by its exit code.
  if (failure.step.starts_with("ADD ") && contains_any(failure.reason, k_network_faults)) {
    return {ErrorCode::unavailable, named + " failed for want of the network", cause};
  }
  if (line.empty()) {
    return {ErrorCode::internal, "buildah ended with exit code " + std::to_string(end.exit_code),
            cause};
  }
  if (const auto absent = absent_source(failure.reason); !absent.empty()) {
    return {ErrorCode::user_error,
            named + " failed: there is no " + clipped(absent) +
                " in what the build sees; see its path and the ignore file",
            {}};
  }
  const std::string reason = without_internals(clipped(step.empty() ? line : failure.reason));
  return {ErrorCode::user_error,
          step.empty() ? "the Dockerfile does not build: " + reason
                       : named + " failed" + (reason.empty() ? "" : ": " + reason),
          {}};
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
  if (error.code != ErrorCode::user_error || error.exit_code == 0) return std::nullopt;
  return error.exit_code;
}

}  // namespace atlasflow::builder
