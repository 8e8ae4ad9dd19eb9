// The one error type of the project: what went wrong, whose fault it is, and what the user can do.
// A plain value, copied freely, from any thread. Expected failures are returned as
// tl::expected<T, Error>; a broken invariant is no error but an ATLAS_ASSERT (base/assert.hpp).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include <tl/expected.hpp>

namespace atlasflow {

enum class ErrorCode : std::uint8_t {
  invalid_argument,  // the caller's input is wrong; the message says what to do (CLI exit 2, HTTP
                     // 400)
  unauthorized,      // the caller did not prove who it is (HTTP 401)
  not_found,         // no such project, deployment, commit, image (HTTP 404)
  already_exists,    // the name is taken (HTTP 409)
  conflict,          // the state does not allow it now (HTTP 409)
  too_large,         // a limit on size was passed (HTTP 413)
  user_error,        // the user's repository, Dockerfile or app failed, not Atlasflow
  disk_full,         // no room to record it; nothing changed, and it works again once there is room
                     // (HTTP 503)
  no_capacity,       // the host has no room for it now; trying again later may help (HTTP 503)
  unavailable,       // a part of the world does not answer; trying again may help (HTTP 503)
  timed_out,         // a deadline passed
  cancelled,         // somebody asked to stop
  corrupt,           // stored bytes are not what was written
  internal,          // an unexpected failure of Atlasflow or the machine under it (HTTP 500)
};

[[nodiscard]] std::string_view name_of(ErrorCode code);

struct Error {
  ErrorCode code = ErrorCode::internal;
  std::string message;  // a sentence for the user that says what to do
  std::string cause;    // what a library or the operating system said; may be empty
  int exit_code = 0;    // of the user's command that failed, when one did

  friend bool operator==(const Error&, const Error&) = default;
};

// "message (cause)", or the message alone.
[[nodiscard]] std::string to_string(const Error& error);

template <typename T>
using Result = tl::expected<T, Error>;

// return fail(ErrorCode::not_found, "no project 'x'; atlasflow project list shows them");
[[nodiscard]] inline tl::unexpected<Error> fail(ErrorCode code, std::string message,
                                                std::string cause = {}) {
  return tl::unexpected<Error>(Error{code, std::move(message), std::move(cause)});
}

}  // namespace atlasflow

// Hands a failure on to the caller, and goes on with the value (Boost.Outcome's TRY and TRYV):
//
//   ATLAS_TRY(const auto text, read_file(path, 4'096));
//   ATLAS_TRYV(replace_file(path, text, 0600));
//
// In a function that returns a Result, as a statement of its own within braces.
#define ATLAS_TRY_JOIN_(a, b) a##b
#define ATLAS_TRY_NAME_(a, b) ATLAS_TRY_JOIN_(a, b)
#define ATLAS_TRY_(result, declaration, ...)                           \
  auto result = (__VA_ARGS__);                                         \
  if (!result) return ::tl::unexpected(::std::move((result).error())); \
  declaration = ::std::move(*(result))
#define ATLAS_TRY(declaration, ...) \
  ATLAS_TRY_(ATLAS_TRY_NAME_(atlas_try_, __LINE__), declaration, __VA_ARGS__)
#define ATLAS_TRYV(...)                                                            \
  do {                                                                             \
    auto atlas_result = (__VA_ARGS__);                                             \
    if (!atlas_result) return ::tl::unexpected(::std::move(atlas_result.error())); \
  } while (false)
