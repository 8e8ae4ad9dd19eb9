// The state of a fold as bytes, and back: numbers as Protobuf's varints, texts and messages with
// their length in front, lists with their count, a struct as its fields in their order
// (events/fold_fields.hpp). The bytes carry no names and no version: only the build that wrote them
// may read them, which their keeper sees to (storage/snapshots/). Pure; an object belongs to one
// thread.
#pragma once

#include <algorithm>
#include <array>
#include <concepts>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>

#include <google/protobuf/message_lite.h>

#include "events/fold_fields.hpp"
#include "events/principal.hpp"

namespace atlasflow {

// What is written down of a struct: everything, under its own names.
template <typename T>
struct FoldFields {
  template <typename Value>
  static auto of(Value& value) {
    return fields_of(value);
  }
  static constexpr std::string_view names(const T* type) { return field_names(type); }
};

namespace fold_shape {

template <typename T>
concept Message = std::is_base_of_v<google::protobuf::MessageLite, T>;
template <typename T>
concept TextId = requires(const T& id) {
  { id.str() } -> std::same_as<const std::string&>;
  { T(std::string()) } -> std::same_as<T>;
};
template <typename T>
concept Number = std::is_integral_v<T> && !std::is_same_v<T, bool>;
template <typename T>
concept NumberedId = requires(const T& id) {
  { id.value() } -> std::same_as<std::uint64_t>;
  { id.next() } -> std::same_as<T>;
};
// Its text says all of it.
template <typename T>
concept Worded = std::is_same_v<T, Principal>;
template <typename T>
concept Map = requires {
  typename T::mapped_type;
};
template <typename T>
concept Set = requires {
  typename T::key_type;
}
&&!Map<T>;
template <typename T>
concept Sequence = requires(T& list) {
  typename T::value_type;
  list.emplace_back();
};
template <typename T>
struct IsOptional : std::false_type {};
template <typename T>
struct IsOptional<std::optional<T>> : std::true_type {};
template <typename T>
struct IsVariant : std::false_type {};
template <typename... Ts>
struct IsVariant<std::variant<Ts...>> : std::true_type {};
template <typename T>
struct IsShared : std::false_type {};
template <typename T>
struct IsShared<std::shared_ptr<T>> : std::true_type {};
template <typename T>
struct IsBytes : std::false_type {};
template <std::size_t Size>
struct IsBytes<std::array<std::uint8_t, Size>> : std::true_type {};

}  // namespace fold_shape

class FoldWriter {
 public:
  // A shared pointer must not be null: what it points to is written.
  template <typename T>
  void put(const T& value) {
    using namespace fold_shape;
    if constexpr (std::is_same_v<T, bool>) {
      bytes_.push_back(value ? '\1' : '\0');
    } else if constexpr (std::is_enum_v<T>) {
      put(static_cast<std::underlying_type_t<T>>(value));
    } else if constexpr (Number<T> && std::is_signed_v<T>) {
      // Zigzag, so that -1 is as short as 1.
      const auto wide = static_cast<std::int64_t>(value);
      put_varint((static_cast<std::uint64_t>(wide) << 1U) ^ static_cast<std::uint64_t>(wide >> 63));
    } else if constexpr (Number<T>) {
      put_varint(value);
    } else if constexpr (std::is_same_v<T, std::string>) {
      put_text(value);
    } else if constexpr (TextId<T> || Worded<T>) {
      put_text(value.str());
    } else if constexpr (NumberedId<T>) {
      put_varint(value.value());
    } else if constexpr (Message<T>) {
      put_varint(value.ByteSizeLong());
      value.AppendToString(&bytes_);
    } else if constexpr (IsBytes<T>::value) {
      for (const auto byte : value) bytes_.push_back(static_cast<char>(byte));
    } else if constexpr (IsOptional<T>::value) {
      put(value.has_value());
      if (value) put(*value);
    } else if constexpr (IsVariant<T>::value) {
      put_varint(value.index());
      std::visit([this](const auto& held) { this->put(held); }, value);
    } else if constexpr (IsShared<T>::value) {
      put(*value);
    } else if constexpr (Map<T>) {
      put_varint(value.size());
      for (const auto& [key, mapped] : value) {
        put(key);
        put(mapped);
      }
    } else if constexpr (Set<T> || Sequence<T>) {
      put_varint(value.size());
      for (const auto& each : value) put(each);
    } else if constexpr (!std::is_empty_v<T>) {
      std::apply([this](const auto&... fields) { (this->put(fields), ...); },
                 FoldFields<T>::of(value));
    }
  }

  [[nodiscard]] std::string take() && { return std::move(bytes_); }

 private:
  void put_varint(std::uint64_t value) {
    constexpr std::uint64_t k_more = 0x80;
    for (; value >= k_more; value >>= 7U) {
      bytes_.push_back(static_cast<char>((value & (k_more - 1)) | k_more));
    }
    bytes_.push_back(static_cast<char>(value));
  }
  void put_text(std::string_view text) {
    put_varint(text.size());
    bytes_.append(text);
  }

  std::string bytes_;
};

// Reads what a FoldWriter wrote. Bytes that are none of its make no undefined behaviour: from the
// first that cannot be, nothing is taken any more, and is_whole() is false.
class FoldReader {
 public:
  explicit FoldReader(std::string_view bytes) : rest_(bytes) {}

  template <typename T>
  void take(T& value) {
    using namespace fold_shape;
    if constexpr (std::is_same_v<T, bool>) {
      value = take_varint() != 0;
    } else if constexpr (std::is_enum_v<T>) {
      std::underlying_type_t<T> number{};
      take(number);
      value = static_cast<T>(number);
    } else if constexpr (Number<T> && std::is_signed_v<T>) {
      const auto number = take_varint();
      set(value, static_cast<std::int64_t>((number >> 1U) ^ (~(number & 1U) + 1U)));
    } else if constexpr (Number<T>) {
      set(value, take_varint());
    } else if constexpr (std::is_same_v<T, std::string>) {
      value = take_text();
    } else if constexpr (TextId<T>) {
      value = T(std::string(take_text()));
    } else if constexpr (Worded<T>) {
      auto parsed = T::parsed(take_text());
      if (!parsed) return fail();
      value = *std::move(parsed);
    } else if constexpr (NumberedId<T>) {
      value = T(take_varint());
    } else if constexpr (Message<T>) {
      const auto text = take_text();
      if (!std::in_range<int>(text.size()) ||
          !value.ParseFromArray(text.data(), static_cast<int>(text.size()))) {
        fail();
      }
    } else if constexpr (IsBytes<T>::value) {
      const auto bytes = take_bytes(value.size());
      if (bytes.size() == value.size()) std::memcpy(value.data(), bytes.data(), value.size());
    } else if constexpr (IsOptional<T>::value) {
      value.reset();
      if (take_varint() != 0) take(value.emplace());
    } else if constexpr (IsVariant<T>::value) {
      take_alternative(value, take_varint(), std::make_index_sequence<std::variant_size_v<T>>());
    } else if constexpr (IsShared<T>::value) {
      take(*value);
    } else if constexpr (Map<T>) {
      value.clear();
      for (auto left = take_count(); left > 0 && is_good(); --left) {
        typename T::key_type key{};
        take(key);
        // They come in order.
        take(value.try_emplace(value.end(), std::move(key))->second);
      }
    } else if constexpr (Set<T>) {
      value.clear();
      for (auto left = take_count(); left > 0 && is_good(); --left) {
        typename T::key_type key{};
        take(key);
        value.emplace_hint(value.end(), std::move(key));
      }
    } else if constexpr (Sequence<T>) {
      value.clear();
      for (auto left = take_count(); left > 0 && is_good(); --left) take(value.emplace_back());
    } else if constexpr (!std::is_empty_v<T>) {
      std::apply([this](auto&... fields) { (this->take(fields), ...); }, FoldFields<T>::of(value));
    }
  }

  [[nodiscard]] bool is_good() const { return good_; }
  // Everything was what it should be, and nothing is left.
  [[nodiscard]] bool is_whole() const { return good_ && rest_.empty(); }
  [[nodiscard]] std::string_view rest() const { return rest_; }

  // For whoever knows the bytes by their shape alone (events/fold_shape.hpp).
  std::uint64_t take_varint() {
    std::uint64_t value = 0;
    for (unsigned shift = 0; shift < 64 && !rest_.empty(); shift += 7) {
      const auto byte = static_cast<std::uint8_t>(rest_.front());
      rest_.remove_prefix(1);
      value |= static_cast<std::uint64_t>(byte & 0x7FU) << shift;
      if (byte < 0x80U) return value;
    }
    fail();
    return 0;
  }
  // Good for as long as what is read from.
  std::string_view take_bytes(std::uint64_t size) {
    if (size > rest_.size()) {
      fail();
      return {};
    }
    const auto bytes = rest_.substr(0, size);
    rest_.remove_prefix(size);
    return bytes;
  }
  std::string_view take_text() { return take_bytes(take_varint()); }
  // Of a list, whose members have a byte each at least.
  std::uint64_t take_count() {
    const auto count = take_varint();
    if (count <= rest_.size()) return count;
    fail();
    return 0;
  }
  void fail() {
    good_ = false;
    rest_ = {};
  }

 private:
  template <typename T, typename Wide>
  void set(T& value, Wide wide) {
    if (!std::in_range<T>(wide)) return fail();
    value = static_cast<T>(wide);
  }

  template <typename Variant, std::size_t... Index>
  void take_alternative(Variant& value, std::uint64_t index,
                        std::index_sequence<Index...> /*alternatives*/) {
    if (index >= sizeof...(Index)) return fail();
    static_cast<void>(
        ((Index == index ? (take(value.template emplace<Index>()), true) : false) || ...));
  }

  std::string_view rest_;
  bool good_ = true;
};

}  // namespace atlasflow
