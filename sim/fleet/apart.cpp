#include "sim/fleet/apart.hpp"

#include <array>
#include <cstdio>

#include <fcntl.h>
#include <nlohmann/json.hpp>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.hpp"
#include "sim/fleet/child.hpp"

namespace atlasflow::sim {
namespace {

using nlohmann::json;

[[noreturn]] void answer(const std::function<Result<std::string>()>& body, int to,
                         int errors) noexcept {
  become_child(errors);
  const auto result = body();
  json message;
  if (result) {
    message = {{"answer", *result}};
  } else {
    message = {{"code", result.error().code},
               {"message", result.error().message},
               {"cause", result.error().cause}};
  }
  const auto bytes = json::to_cbor(message);
  const std::string text(bytes.begin(), bytes.end());
  const bool written = write_all(to, text, "the answer's pipe").has_value();
  std::fflush(nullptr);
  ::_exit(written ? 0 : 1);
}

Result<std::string> read_to_the_end(int fd) {
  std::string all;
  std::array<char, 65536> bytes{};
  while (true) {
    const auto count = ::read(fd, bytes.data(), bytes.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return tl::unexpected(errno_error("the answer cannot be read"));
    if (count == 0) return all;
    all.append(bytes.data(), static_cast<std::size_t>(count));
  }
}

}  // namespace

Result<std::string> apart(const std::function<Result<std::string>()>& body) {
  std::array<int, 2> pipe{};
  const FileDescriptor errors(make_output_file());
  if (!errors.valid() || ::pipe2(pipe.data(), O_CLOEXEC) != 0) {
    return tl::unexpected(errno_error("a pipe cannot be made"));
  }
  const FileDescriptor from(pipe[0]);
  FileDescriptor to(pipe[1]);
  // What is buffered here must not be printed there as well.
  std::fflush(nullptr);
  const auto pid = ::fork();
  if (pid < 0) return tl::unexpected(errno_error("a process cannot be started"));
  if (pid == 0) answer(body, to.get(), errors.get());
  { const FileDescriptor closed = std::move(to); }
  const auto bytes = read_to_the_end(from.get());
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  if (!bytes) return tl::unexpected(bytes.error());
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
    return fail(ErrorCode::internal,
                "its process ended with " + how_it_ended(status, last_output(errors.get())));
  }
  const auto message = json::from_cbor(*bytes);
  if (message.contains("answer")) return message["answer"].get<std::string>();
  return fail(message["code"].get<ErrorCode>(), message["message"], message["cause"]);
}

}  // namespace atlasflow::sim
