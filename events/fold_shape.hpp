// What the bytes of a fold's state (events/fold_codec.hpp) mean: the names and kinds of all that is
// in them, made of the types themselves, so that none is forgotten. Written beside the bytes it
// makes them readable for a build that has other fields. Pure values and functions.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <source_location>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include <google/protobuf/descriptor.h>

#include "events/fold_codec.hpp"

namespace atlasflow {

// As FoldWriter writes them. These numbers stand in files: append, and change none.
enum class ShapeKind : std::uint8_t {
  record = 0,  // its children one after the other
  boolean = 1,
  natural = 2,      // a varint
  integer = 3,      // a zigzag varint
  text = 4,         // its length in front
  bytes = 5,        // `number` of them
  enumeration = 6,  // like natural, or like integer when `number` is 1; `names` of its values
  optional = 7,     // whether it is there, and then its child
  variant = 8,      // which of its children, and that
  map = 9,          // how many, and of each the first child (the key) and the second
  set = 10,         // how many, and each
  list = 11,        // likewise
  message = 12,     // its length in front, and fields of Protobuf's wire format; `number` of each
  complement = 13,  // in a message: a varint that stands for a signed number
};

struct Shape {
  ShapeKind kind = ShapeKind::record;
  std::string name;  // within its parent: of a member, an alternative, a message's field
  std::uint64_t number = 0;
  bool repeated = false;  // in a message
  std::map<std::uint64_t, std::string> names;
  std::vector<Shape> children;
};
ATLAS_FIELDS(Shape, kind, name, number, repeated, names, children)

// Of a message that is nested no deeper than events are.
[[nodiscard]] Shape shape_of_message(const google::protobuf::Descriptor& type);

namespace fold_shape {

// What a compiler says of a function: "… [with T = atlasflow::phase::Up; …]".
constexpr std::string_view argument_in(std::string_view function) {
  const auto begin = function.find(" = ") + 3;
  return function.substr(begin, function.find_first_of(";]", begin) - begin);
}

// Without its namespaces.
template <typename T>
constexpr std::string_view type_name() {
  const auto name = argument_in(std::source_location::current().function_name());
  return name.substr(name.rfind(':') + 1);
}

// Empty: the type has no name for it.
template <auto Value>
constexpr std::string_view enumerator_name() {
  const auto name = argument_in(std::source_location::current().function_name());
  return name.front() == '(' ? std::string_view() : name.substr(name.rfind(':') + 1);
}

// Larger values have no names in a shape, and are told apart by their number.
inline constexpr std::size_t k_named_values = 64;

template <typename T, std::size_t... Value>
std::map<std::uint64_t, std::string> names_of_values(std::index_sequence<Value...> /*values*/) {
  constexpr std::array<std::string_view, sizeof...(Value)> k_names = {
      enumerator_name<static_cast<T>(Value)>()...};
  std::map<std::uint64_t, std::string> names;
  for (std::size_t value = 0; value < k_names.size(); ++value) {
    if (!k_names.at(value).empty()) names.emplace(value, k_names.at(value));
  }
  return names;
}

// "a, b, c" taken apart.
[[nodiscard]] std::vector<std::string> names_in(std::string_view list);

}  // namespace fold_shape

// In the order in which FoldWriter::put() decides.
template <typename T>
[[nodiscard]] Shape shape_of() {
  using namespace fold_shape;
  Shape shape;
  if constexpr (std::is_same_v<T, bool>) {
    shape.kind = ShapeKind::boolean;
  } else if constexpr (std::is_enum_v<T>) {
    shape.kind = ShapeKind::enumeration;
    shape.number = std::is_signed_v<std::underlying_type_t<T>> ? 1 : 0;
    shape.names = names_of_values<T>(std::make_index_sequence<k_named_values>());
  } else if constexpr (Number<T>) {
    shape.kind = std::is_signed_v<T> ? ShapeKind::integer : ShapeKind::natural;
  } else if constexpr (std::is_same_v<T, std::string> || TextId<T> || Worded<T>) {
    shape.kind = ShapeKind::text;
  } else if constexpr (NumberedId<T>) {
    shape.kind = ShapeKind::natural;
  } else if constexpr (Message<T>) {
    shape = shape_of_message(*T::descriptor());
  } else if constexpr (IsBytes<T>::value) {
    shape.kind = ShapeKind::bytes;
    shape.number = T{}.size();
  } else if constexpr (IsOptional<T>::value) {
    shape.kind = ShapeKind::optional;
    shape.children.push_back(shape_of<typename T::value_type>());
  } else if constexpr (IsVariant<T>::value) {
    shape.kind = ShapeKind::variant;
    [&]<typename... Ts>(const std::variant<Ts...>* /*of*/) {
      (shape.children.push_back(shape_of<Ts>()), ...);
      std::size_t at = 0;
      ((shape.children[at++].name = type_name<Ts>()), ...);
    }(static_cast<const T*>(nullptr));
  } else if constexpr (IsShared<T>::value) {
    shape = shape_of<typename T::element_type>();
  } else if constexpr (Map<T>) {
    shape.kind = ShapeKind::map;
    shape.children = {shape_of<typename T::key_type>(), shape_of<typename T::mapped_type>()};
  } else if constexpr (Set<T>) {
    shape.kind = ShapeKind::set;
    shape.children.push_back(shape_of<typename T::key_type>());
  } else if constexpr (Sequence<T>) {
    shape.kind = ShapeKind::list;
    shape.children.push_back(shape_of<typename T::value_type>());
  } else if constexpr (!std::is_empty_v<T>) {
    const auto names = names_in(FoldFields<T>::names(static_cast<const T*>(nullptr)));
    using Members = decltype(FoldFields<T>::of(std::declval<const T&>()));
    [&]<std::size_t... Index>(std::index_sequence<Index...> /*members*/) {
      (shape.children.push_back(shape_of<std::decay_t<std::tuple_element_t<Index, Members>>>()),
       ...);
      ((shape.children[Index].name = names.at(Index)), ...);
    }
    (std::make_index_sequence<std::tuple_size_v<Members>>());
  }
  return shape;
}

}  // namespace atlasflow
