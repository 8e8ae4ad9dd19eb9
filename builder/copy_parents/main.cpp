// The program that a build step runs for COPY --parents. It says what is wrong in one line, behind
// "COPY --parents: ", and ends with 1 then, or with 2 when the instruction can do nothing for it: a
// full disk.
#include <cstdio>
#include <filesystem>
#include <string>
#include <string_view>

#include <sys/stat.h>

#include "builder/copy_parents/copy.hpp"

namespace {

using atlasflow::copy_parents::CopyRequest;

bool take(std::string_view argument, std::string_view name, std::string& value) {
  if (!argument.starts_with(name)) return false;
  value = argument.substr(name.size());
  return true;
}

constexpr int k_refused = 1;
constexpr int k_failed = 2;

int refuse(const std::string& why, int code = k_refused) {
  std::fprintf(stderr, "\nCOPY --parents: %s\n", why.c_str());
  return code;
}

}  // namespace

int main(int argc, char** argv) {
  ::umask(0);
  CopyRequest request;
  std::string value;
  int i = 1;
  for (; i < argc && std::string_view(argv[i]) != "--"; ++i) {
    const std::string_view argument = argv[i];
    if (take(argument, "--from=", value)) {
      request.from = value;
    } else if (take(argument, "--before=", value)) {
      request.before = value;
    } else if (take(argument, "--out=", value)) {
      request.out = value;
    } else if (take(argument, "--to=", value)) {
      request.destination = value;
    } else if (take(argument, "--exclude=", value)) {
      request.excludes.push_back(value);
    } else if (take(argument, "--chown=", value)) {
      request.owner = value;
    } else if (take(argument, "--chmod=", value)) {
      request.mode = static_cast<unsigned>(std::stoul(value, nullptr, 8)) & 07777U;
    } else if (argument == "--root-owned") {
      request.is_root_owned = true;
    } else {
      return refuse("there is no option " + std::string(argument));
    }
  }
  for (++i; i < argc; ++i) request.sources.emplace_back(argv[i]);
  std::error_code error;
  // What it says is no path: from the folder that the step runs in.
  if (!request.destination.starts_with('/')) {
    request.destination =
        (std::filesystem::current_path(error) / request.destination).generic_string();
  }
  if (request.from.empty() || request.out.empty() || request.sources.empty()) {
    return refuse("it needs --from=, --out= and sources");
  }
  const auto copied = atlasflow::copy_parents::copy_with_parents(request);
  if (!copied) {
    const auto& why = copied.error();
    return refuse(why.message + (why.cause.empty() ? "" : " (" + why.cause + ")"),
                  why.code == atlasflow::ErrorCode::user_error ? k_refused : k_failed);
  }
  return 0;
}
