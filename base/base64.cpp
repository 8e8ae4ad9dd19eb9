#include "base/base64.hpp"

#include <algorithm>

#include <openssl/evp.h>

namespace atlasflow {

std::string base64(std::string_view bytes) {
  // Four characters for each three bytes begun, and a zero that OpenSSL adds.
  std::string text((bytes.size() + 2) / 3 * 4 + 1, '\0');
  const int size = EVP_EncodeBlock(reinterpret_cast<unsigned char*>(text.data()),
                                   reinterpret_cast<const unsigned char*>(bytes.data()),
                                   static_cast<int>(bytes.size()));
  text.resize(static_cast<std::size_t>(size));
  return text;
}

std::string base64url(std::string_view bytes) {
  auto text = base64(bytes);
  text.resize(text.find_last_not_of('=') + 1);
  std::replace(text.begin(), text.end(), '+', '-');
  std::replace(text.begin(), text.end(), '/', '_');
  return text;
}

std::optional<std::string> from_base64(std::string_view text) {
  if (text.empty()) return std::string();
  std::string bytes(text.size(), '\0');
  const int size = EVP_DecodeBlock(reinterpret_cast<unsigned char*>(bytes.data()),
                                   reinterpret_cast<const unsigned char*>(text.data()),
                                   static_cast<int>(text.size()));
  if (size < 0) return std::nullopt;
  bytes.resize(static_cast<std::size_t>(size));
  // OpenSSL counts the bytes that padding stands for.
  for (std::size_t i = 0; i < 2 && i < text.size() && text[text.size() - 1 - i] == '='; ++i) {
    if (bytes.empty()) return std::nullopt;
    bytes.pop_back();
  }
  // It takes more than what is written above: white space, stray bits.
  if (base64(bytes) != text) return std::nullopt;
  return bytes;
}

std::optional<std::string> from_base64url(std::string_view text) {
  if (text.find_first_of("+/=") != std::string_view::npos) return std::nullopt;
  std::string padded(text);
  std::replace(padded.begin(), padded.end(), '-', '+');
  std::replace(padded.begin(), padded.end(), '_', '/');
  padded.resize((padded.size() + 3) / 4 * 4, '=');
  return from_base64(padded);
}

}  // namespace atlasflow
