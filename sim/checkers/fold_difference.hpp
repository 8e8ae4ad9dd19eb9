// Two states of one fold, field by field: where they first differ, as a path
// ("recent[ab12cd34].state.image"). Every member is compared, by the lists that do not compile
// when one is missing (events/fields.hpp). Pure.
#pragma once

#include <optional>
#include <sstream>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>

#include "events/fold_shape.hpp"

namespace atlasflow::sim {

// Behind the name of a field: "" is the field itself.
using DifferencePath = std::optional<std::string>;

template <typename T>
[[nodiscard]] DifferencePath difference_at(const T& left, const T& right);

namespace fold_difference_detail {

template <typename T>
std::string text_of(const T& key) {
  if constexpr (requires(std::ostream & out) { out << key; }) {
    std::ostringstream text;
    text << key;
    return text.str();
  } else {
    return "…";
  }
}

template <typename T, std::size_t... Index>
DifferencePath of_fields(const T& left, const T& right, std::index_sequence<Index...> /*all*/) {
  const auto lefts = fields_of(left);
  const auto rights = fields_of(right);
  DifferencePath found;
  const auto look = [&](std::size_t number, const auto& one, const auto& other) {
    if (found) return;
    found = difference_at(one, other);
    if (found) {
      const auto names = fold_shape::names_in(field_names(static_cast<const T*>(nullptr)));
      *found = "." + names.at(number) + *found;
    }
  };
  (look(Index, std::get<Index>(lefts), std::get<Index>(rights)), ...);
  return found;
}

template <typename T>
DifferencePath of_maps(const T& left, const T& right) {
  if (left.size() != right.size()) return "";
  for (const auto& [key, value] : left) {
    const auto other = right.find(key);
    if (other == right.end()) return "";
    if (auto found = difference_at(value, other->second)) {
      return "[" + text_of(key) + "]" + *found;
    }
  }
  return std::nullopt;
}

template <typename T>
DifferencePath of_lists(const T& left, const T& right) {
  if (left.size() != right.size()) return "";
  std::size_t number = 0;
  auto other = right.begin();
  for (const auto& each : left) {
    if (auto found = difference_at(each, *other)) {
      return "[" + std::to_string(number) + "]" + *found;
    }
    ++other;
    ++number;
  }
  return std::nullopt;
}

}  // namespace fold_difference_detail

template <typename T>
DifferencePath difference_at(const T& left, const T& right) {
  using namespace fold_shape;
  using namespace fold_difference_detail;
  if constexpr (Message<T>) {
    if (left.SerializeAsString() == right.SerializeAsString()) return std::nullopt;
    return "";
  } else if constexpr (IsOptional<T>::value) {
    if (left.has_value() != right.has_value()) return "";
    return left ? difference_at(*left, *right) : std::nullopt;
  } else if constexpr (IsVariant<T>::value) {
    if (left.index() != right.index()) return "";
    return std::visit(
        [&](const auto& held) {
          return difference_at(held, std::get<std::decay_t<decltype(held)>>(right));
        },
        left);
  } else if constexpr (IsShared<T>::value) {
    return difference_at(*left, *right);
  } else if constexpr (std::is_same_v<T, std::string> || TextId<T> || Worded<T> || NumberedId<T> ||
                       IsBytes<T>::value || std::is_arithmetic_v<T> || std::is_enum_v<T>) {
    if (left == right) return std::nullopt;
    return "";
  } else if constexpr (Map<T>) {
    return of_maps(left, right);
  } else if constexpr (Set<T> || Sequence<T>) {
    return of_lists(left, right);
  } else if constexpr (std::is_empty_v<T>) {
    return std::nullopt;
  } else {
    constexpr auto k_fields = std::tuple_size_v<decltype(fields_of(left))>;
    return of_fields(left, right, std::make_index_sequence<k_fields>());
  }
}

// The first field that differs, from the struct itself on; empty when none does.
template <typename T>
[[nodiscard]] std::string fold_difference(const T& left, const T& right) {
  const auto found = difference_at(left, right);
  if (!found) return "";
  return found->empty() ? "everything" : found->substr(found->front() == '.' ? 1 : 0);
}

}  // namespace atlasflow::sim
