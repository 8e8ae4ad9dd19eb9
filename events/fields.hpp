// The data members of a struct as one tuple of references, for whoever must not forget one: what
// writes a state down, what compares two. A free macro; the functions that it makes are pure.
//
//   struct Retry { pb::Step step; std::int32_t attempt; TimestampUs due; };
//   ATLAS_FIELDS(Retry, step, attempt, due)
//
// makes fields_of(retry) and field_names(&retry). All members are named, in their order, or it does
// not compile: they are taken by a structured binding. It stands in the struct's own namespace;
// ATLAS_OWN_FIELDS stands inside of a class, whose members may be private.
#pragma once

#include <string_view>
#include <tuple>

#define ATLAS_FIELDS_AS(specifier, Type, ...)   \
  specifier auto fields_of(Type& value) {       \
    auto& [__VA_ARGS__] = value;                \
    return std::tie(__VA_ARGS__);               \
  }                                             \
  specifier auto fields_of(const Type& value) { \
    const auto& [__VA_ARGS__] = value;          \
    return std::tie(__VA_ARGS__);               \
  }                                             \
  specifier constexpr std::string_view field_names(const Type* /*type*/) { return #__VA_ARGS__; }

#define ATLAS_FIELDS(Type, ...) ATLAS_FIELDS_AS(inline, Type, __VA_ARGS__)
#define ATLAS_OWN_FIELDS(Type, ...) ATLAS_FIELDS_AS(friend, Type, __VA_ARGS__)
