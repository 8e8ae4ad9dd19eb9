#include "domains/dns/tsig.hpp"

#include <algorithm>
#include <array>
#include <optional>
#include <vector>

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "base/assert.hpp"
#include "base/base64.hpp"
#include "base/digest.hpp"
#include "domains/dns/dns_wire.hpp"

namespace atlasflow::domains {
namespace {

constexpr std::uint16_t k_type_tsig = 250;
constexpr std::uint16_t k_class_any = 255;
constexpr std::uint16_t k_fudge_s = 300;  // RFC 8945 section 10
constexpr std::string_view k_algorithm = "hmac-sha256";
constexpr std::size_t k_additional_count_at = 10;
constexpr std::uint16_t k_bad_sig = 16;
constexpr std::uint16_t k_bad_key = 17;
constexpr std::uint16_t k_bad_time = 18;
constexpr std::size_t k_name_chars_max = 253;
constexpr std::size_t k_label_chars_max = 63;

std::string wire48(std::uint64_t number) {
  return wire16(static_cast<std::uint16_t>(number >> 32U)) +
         wire32(static_cast<std::uint32_t>(number & 0xFFFFFFFFU));
}

std::string hmac(const std::string& secret, std::string_view text) {
  Digest digest{};
  unsigned size = 0;
  ATLAS_ASSERT(HMAC(EVP_sha256(), secret.data(), static_cast<int>(secret.size()),
                    reinterpret_cast<const unsigned char*>(text.data()), text.size(), digest.data(),
                    &size) != nullptr,
               "HMAC failed");
  return std::string(bytes_of(digest));
}

void set_number16(std::string& message, std::size_t at, std::uint16_t number) {
  message.replace(at, 2, wire16(number));
}

// RFC 8945 section 4.3.3.
std::string variables(const TsigKey& key, std::uint64_t at_s, std::uint16_t fudge,
                      std::uint16_t error, std::string_view other) {
  std::string text = wire_of_name(key.name) + wire16(k_class_any) + wire32(0) +
                     wire_of_name(k_algorithm) + wire48(at_s) + wire16(fudge) + wire16(error) +
                     wire16(static_cast<std::uint16_t>(other.size()));
  return text.append(other);
}

struct Tsig {
  std::size_t at = 0;  // where the record begins
  std::string name;
  std::string algorithm;
  std::uint64_t at_s = 0;
  std::uint16_t fudge = 0;
  std::string mac;
  std::uint16_t original_id = 0;
  std::uint16_t error = 0;
  std::string other;
};

std::optional<Tsig> read_tsig_data(WireReader& reader, Tsig tsig) {
  const auto algorithm = reader.name();
  const auto high = reader.number16();
  const auto middle = reader.number16();
  const auto low = reader.number16();
  const auto fudge = reader.number16();
  const auto mac_size = reader.number16();
  const auto mac = mac_size ? reader.take(*mac_size) : std::nullopt;
  const auto id = reader.number16();
  const auto error = reader.number16();
  const auto other_size = reader.number16();
  const auto other = other_size ? reader.take(*other_size) : std::nullopt;
  if (!algorithm || !high || !middle || !low || !fudge || !mac || !id || !error || !other) {
    return std::nullopt;
  }
  tsig.algorithm = *algorithm;
  tsig.at_s = (std::uint64_t{*high} << 32U) | (std::uint64_t{*middle} << 16U) | *low;
  tsig.fudge = *fudge;
  tsig.mac = std::string(*mac);
  tsig.original_id = *id;
  tsig.error = *error;
  tsig.other = std::string(*other);
  return tsig;
}

// The last record of the message, when it is one of these and nothing follows it.
std::optional<Tsig> find_tsig(std::string_view message) {
  WireReader reader(message);
  if (!reader.take(4)) return std::nullopt;
  std::array<unsigned, 4> counts{};
  for (auto& count : counts) {
    const auto number = reader.number16();
    if (!number) return std::nullopt;
    count = *number;
  }
  if (counts[3] == 0) return std::nullopt;
  for (unsigned i = 0; i < counts[0]; ++i) {
    if (!reader.name() || !reader.take(4)) return std::nullopt;
  }
  const unsigned before = counts[1] + counts[2] + counts[3] - 1;
  for (unsigned i = 0; i <= before; ++i) {
    Tsig tsig;
    tsig.at = reader.at();
    const auto name = reader.name();
    const auto type = reader.number16();
    const auto of_class = reader.number16();
    const auto lifetime = reader.take(4);
    const auto size = reader.number16();
    const auto data_at = reader.at();
    if (!name || !type || !of_class || !lifetime || !size || !reader.take(*size)) {
      return std::nullopt;
    }
    if (i < before) continue;
    // RFC 8945 section 4.2; the signature does not cover that the time to live is 0.
    const bool is_tsig = *type == k_type_tsig && *of_class == k_class_any &&
                         *lifetime == std::string_view("\0\0\0\0", 4);
    if (!is_tsig || reader.at() != message.size()) break;
    tsig.name = *name;
    reader.go_to(data_at);
    auto read = read_tsig_data(reader, std::move(tsig));
    return read && reader.at() == message.size() ? read : std::nullopt;
  }
  return std::nullopt;
}

// ---- the key's file -----------------------------------------------------------------------------

tl::unexpected<Error> no_key(const std::string& why) {
  return fail(ErrorCode::invalid_argument,
              "the file of the TSIG key " + why +
                  "; 'tsig-keygen -a hmac-sha256 NAME' makes one that is right");
}

// Words, texts in quotes, and { } ; each by itself, without comments (named.conf(5)).
std::vector<std::string> words_of(std::string_view text) {
  std::vector<std::string> words;
  const auto skip_past = [&](std::string_view end) {
    const auto found = text.find(end);
    text.remove_prefix(found == text.npos ? text.size() : found + end.size());
  };
  constexpr std::string_view k_marks = "{};";
  constexpr std::string_view k_ends = " \t\r\n{};\"";
  while (!text.empty()) {
    if (text.starts_with('#') || text.starts_with("//")) {
      skip_past("\n");
    } else if (text.starts_with("/*")) {
      skip_past("*/");
    } else if (text.front() == '"') {
      const auto end = std::min(text.find('"', 1), text.size());
      words.emplace_back(text.substr(1, end - 1));
      text.remove_prefix(std::min(end + 1, text.size()));
    } else if (k_marks.find(text.front()) != k_marks.npos) {
      words.emplace_back(1, text.front());
      text.remove_prefix(1);
    } else if (k_ends.find(text.front()) != k_ends.npos) {
      text.remove_prefix(1);
    } else {
      const auto end = std::min(text.find_first_of(k_ends), text.size());
      words.emplace_back(text.substr(0, end));
      text.remove_prefix(end);
    }
  }
  return words;
}

bool is_key_name(std::string_view name) {
  if (name.empty() || name.size() > k_name_chars_max) return false;
  std::size_t label = 0;
  for (const char c : name) {
    const bool right = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
    if (c == '.' ? label == 0 : !right) return false;
    label = c == '.' ? 0 : label + 1;
    if (label > k_label_chars_max) return false;
  }
  return label != 0;
}

Result<TsigKey> make_key(std::string_view name, const std::string& secret) {
  TsigKey key;
  key.name = lower_dns_name(name);
  if (!is_key_name(key.name)) return no_key("names the key with what is no name in DNS");
  auto bytes = from_base64(secret);
  if (!bytes || bytes->empty()) return no_key("has a secret that is no base64");
  key.secret = std::move(*bytes);
  return key;
}

}  // namespace

Result<TsigKey> parse_tsig_key(std::string_view text) {
  const auto words = words_of(text);
  if (words.empty()) return no_key("is empty");
  if (words.front() != "key" || words.size() == 2) {
    if (words.size() != 2) return no_key("is neither a key of BIND's nor a name and its secret");
    return make_key(words[0], words[1]);
  }
  // key NAME { algorithm A ; secret S ; } ;
  if (words.size() < 4 || words[2] != "{") return no_key("has a key without its braces");
  std::string algorithm;
  std::string secret;
  for (std::size_t i = 3; i < words.size() && words[i] != "}"; ++i) {
    if (words[i] == ";") continue;
    if (i + 2 >= words.size() || words[i + 2] != ";") return no_key("lacks a semicolon or a brace");
    if (words[i] == "algorithm") algorithm = lower_dns_name(words[i + 1]);
    if (words[i] == "secret") secret = words[i + 1];
    i += 2;
  }
  if (std::ranges::count(words, "key") > 1) return no_key("has more than one key");
  if (algorithm != k_algorithm) {
    return no_key("has the algorithm '" + algorithm.substr(0, 32) + "'; expected is " +
                  std::string(k_algorithm));
  }
  return make_key(words[1], secret);
}

SignedMessage sign_message(std::string message, const TsigKey& key, std::uint64_t at_s) {
  ATLAS_ASSERT(message.size() >= k_dns_head_bytes, "a message has a head");
  SignedMessage made;
  made.mac = hmac(key.secret, message + variables(key, at_s, k_fudge_s, 0, {}));
  const auto data = wire_of_name(k_algorithm) + wire48(at_s) + wire16(k_fudge_s) +
                    wire16(static_cast<std::uint16_t>(made.mac.size())) + made.mac +
                    message.substr(0, 2) + wire16(0) + wire16(0);
  WireReader counts(message);
  counts.go_to(k_additional_count_at);
  set_number16(message, k_additional_count_at,
               static_cast<std::uint16_t>(counts.number16().value_or(0) + 1));
  made.bytes = std::move(message) + wire_of_name(key.name) + wire16(k_type_tsig) +
               wire16(k_class_any) + wire32(0) + wire16(static_cast<std::uint16_t>(data.size())) +
               data;
  return made;
}

Result<void> verify_response(std::string_view response, const TsigKey& key,
                             std::string_view request_mac, std::uint64_t at_s) {
  const auto refused = [](const std::string& why) { return fail(ErrorCode::unauthorized, why); };
  const auto tsig = find_tsig(response);
  if (!tsig) return fail(ErrorCode::corrupt, "answered without a signature by the key");
  // Such an answer can't be signed, so it may be anybody's: it is a refusal at most.
  if (tsig->error == k_bad_key) {
    return refused("does not know the key '" + key.name +
                   "' (BADKEY); expected is a key of that "
                   "name with " +
                   std::string(k_algorithm));
  }
  if (tsig->error == k_bad_sig) {
    return refused("has another secret for the key '" + key.name + "' (BADSIG)");
  }
  if (tsig->error == k_bad_time) {
    return refused("has another time than this machine (BADTIME): its clock says " +
                   std::to_string(tsig->at_s) + ", ours " + std::to_string(at_s) +
                   " s since 1970; set the wrong one right");
  }
  if (tsig->name != key.name || tsig->algorithm != k_algorithm) {
    return fail(ErrorCode::corrupt, "answered with a signature by another key");
  }
  std::string unsigned_message(response.substr(0, tsig->at));
  set_number16(unsigned_message, 0, tsig->original_id);
  WireReader counts(unsigned_message);
  counts.go_to(k_additional_count_at);
  set_number16(unsigned_message, k_additional_count_at,
               static_cast<std::uint16_t>(counts.number16().value_or(1) - 1));
  const auto expected =
      hmac(key.secret, wire16(static_cast<std::uint16_t>(request_mac.size())) +
                           std::string(request_mac) + unsigned_message +
                           variables(key, tsig->at_s, tsig->fudge, tsig->error, tsig->other));
  const bool same = tsig->mac.size() == expected.size() &&
                    CRYPTO_memcmp(tsig->mac.data(), expected.data(), expected.size()) == 0;
  if (!same) return fail(ErrorCode::corrupt, "answered with a signature that is wrong");
  const auto apart = tsig->at_s > at_s ? tsig->at_s - at_s : at_s - tsig->at_s;
  if (apart > k_fudge_s)
    return fail(ErrorCode::corrupt, "answered with a signature of another time");
  return {};
}

}  // namespace atlasflow::domains
