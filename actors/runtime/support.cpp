#include "actors/runtime/support.hpp"

#include <exception>

namespace atlasflow::actors {

caf::error to_caf(const Error& error) {
  return caf::error{static_cast<std::uint8_t>(static_cast<unsigned>(error.code) + 1U),
                    caf::atom("atlas"), caf::make_message(error.message, error.cause)};
}

Error from_caf(const caf::error& error) {
  // An actor's orderly end is no error, which CAF 0.17.6 keeps as a null pointer and reads through.
  if (!error) return Error{ErrorCode::internal, "it ended by itself", ""};
  if (error.category() == caf::atom("atlas")) {
    const auto& context = error.context();
    Error result;
    result.code = static_cast<ErrorCode>(error.code() - 1U);
    if (context.match_elements<std::string, std::string>()) {
      result.message = context.get_as<std::string>(0);
      result.cause = context.get_as<std::string>(1);
    }
    return result;
  }
  if (error == caf::sec::request_timeout) {
    return Error{ErrorCode::timed_out, "the control plane did not answer in time; try again", ""};
  }
  return Error{
      ErrorCode::internal, "a part of the control plane failed; its log says more",
      "actor error " + std::to_string(error.code()) + " of " + caf::to_string(error.category())};
}

void end_of_exceptions(caf::scheduled_actor* self) {
  self->set_exception_handler([](caf::scheduled_actor*, std::exception_ptr& thrown) -> caf::error {
    try {
      std::rethrow_exception(thrown);
    } catch (const std::exception& exception) {
      return to_caf(Error{ErrorCode::internal, "an unexpected failure", exception.what()});
    } catch (...) {
      return to_caf(Error{ErrorCode::internal, "an unexpected failure", "of no known kind"});
    }
  });
}

}  // namespace atlasflow::actors
