// Takes the framing off a message body: fixed length, chunked (RFC 9112 section 7.1: CRLF only,
// white space where the grammar has it and behind a size, which some servers pad, extensions are
// dropped) or until close. Owned by a parser; not shared between threads.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "http/message.hpp"

namespace atlasflow::http {

class BodyDecoder {
 public:
  // What one step found. `data` is a slice of the step's input.
  struct Step {
    enum class Kind : std::uint8_t { need_more, data, complete, error } kind = Kind::need_more;
    std::size_t consumed = 0;
    std::string_view data;
  };

  void start(Framing framing, std::uint64_t content_length, std::uint64_t body_bytes_max);
  [[nodiscard]] Step next(std::string_view bytes);

  // Whether the end of the stream is a proper end of the body now.
  [[nodiscard]] bool may_end_here() const;
  [[nodiscard]] const std::vector<Field>& trailers() const { return trailers_; }
  [[nodiscard]] const HttpError& error() const { return error_; }

 private:
  enum class State : std::uint8_t {
    complete,
    failed,
    length,
    until_close,
    size_first,
    size,
    size_end,       // after white space behind the size: the line's end, or a ';'
    extension_due,  // after white space: only a ';' may follow
    extension_first,
    extension_name,
    extension_name_end,
    extension_value_first,
    extension_token,
    extension_quoted,
    extension_escape,
    extension_end,
    size_lf,
    chunk,
    chunk_cr,
    chunk_lf,
    trailers,
  };

  [[nodiscard]] Step fail(std::size_t consumed, int status, std::string_view reason);
  [[nodiscard]] bool take_framing_byte(char c);
  [[nodiscard]] bool take_size_byte(char c);
  [[nodiscard]] bool take_extension_byte(char c);
  [[nodiscard]] Step take_data(std::string_view bytes, std::size_t consumed);
  [[nodiscard]] Step take_trailers(std::string_view bytes, std::size_t consumed);

  State state_ = State::complete;
  std::uint64_t left_ = 0;   // of the body (length) or of the chunk
  std::uint64_t total_ = 0;  // body bytes so far
  std::uint64_t total_max_ = 0;
  std::size_t size_digits_ = 0;
  std::size_t extension_bytes_ = 0;  // over what each chunk is allowed
  std::string trailer_text_;
  std::vector<Field> trailers_;
  HttpError error_;
};

}  // namespace atlasflow::http
