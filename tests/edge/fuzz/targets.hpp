// What is fuzzed: each target takes any bytes, and aborts when what they are made into breaks a
// rule that holds for all of them. Run by libFuzzer (script/fuzz), and by corpus_test.cpp over the
// inputs that are kept in corpus/<name>. One thread.
#pragma once

#include <array>
#include <string_view>

namespace atlasflow::edge::fuzz {

// The rules, beside that nothing is read or written where it must not be:
// - what is made of bytes does not depend on where the network cut them, but for the status of a
//   refusal;
// - a head that is taken is passed on as one message with the same meaning and nothing behind it.
void fuzz_request(std::string_view input);   // byte 0: how long the pieces are; then a connection
void fuzz_response(std::string_view input);  // byte 0 too, its highest bit: the request was a HEAD
void fuzz_chunked(std::string_view input);   // byte 0 too; then a body
// Byte 0: whether a body follows. Then names and values, each ended by a NUL; those behind an empty
// name are trailers.
void fuzz_http2(std::string_view input);

struct Target {
  std::string_view name;
  void (*run)(std::string_view input);
};
inline constexpr std::array k_targets = {
    Target{"request", fuzz_request}, Target{"response", fuzz_response},
    Target{"chunked", fuzz_chunked}, Target{"http2", fuzz_http2}};

}  // namespace atlasflow::edge::fuzz
