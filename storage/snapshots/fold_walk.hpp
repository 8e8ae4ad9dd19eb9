// Goes through the encoded state of a fold by its shape, and tells a sink of every value that is
// there. The names of all fields come of the shape alone. One thread.
//
// A sink has
//   void number(std::size_t field, const Shape& shape, std::uint64_t value);
//   void text(std::size_t field, const Shape& shape, std::string_view value);
//   void enter(const Shape* key, std::string_view encoded);  // a member; key: null of a list's
//   void leave();
// Numbers are as FoldWriter and Protobuf have them before they are varints: a negative one is its
// two's complement.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "events/fold_shape.hpp"

namespace atlasflow::storage {

// Every place of a shape, with the numbers of the fields that stand there.
class FoldOutline {
 public:
  struct Node {
    const Shape* shape = nullptr;
    std::size_t field = 0;  // of its value, of how many there are, of whether or which it is
    std::size_t first = 0;  // of its children's nodes in `children`
    std::size_t count = 0;
  };

  // The shape must outlive it.
  explicit FoldOutline(const Shape& shape) { root_ = add(shape, ""); }

  [[nodiscard]] const std::vector<std::string>& fields() const { return fields_; }
  [[nodiscard]] const Node& root() const { return nodes_[root_]; }
  [[nodiscard]] const Node& child(const Node& node, std::size_t number) const {
    return nodes_[children_[node.first + number]];
  }

 private:
  std::size_t add(const Shape& shape, const std::string& path);

  std::vector<Node> nodes_;
  std::vector<std::size_t> children_;
  std::vector<std::string> fields_;
  std::size_t root_ = 0;
};

// A number out of bytes of that kind.
[[nodiscard]] std::uint64_t take_number(const Shape& shape, FoldReader& in);
// Wire types of Protobuf (encoding.md, "Message Structure").
enum class WireType : std::uint8_t { varint = 0, bits64 = 1, delimited = 2, bits32 = 5 };

template <typename Sink>
class FoldWalk {
 public:
  FoldWalk(const FoldOutline& outline, Sink& sink) : outline_(outline), sink_(sink) {}

  // False: the bytes are not of the shape.
  [[nodiscard]] bool over(std::string_view state) {
    FoldReader in(state);
    value(outline_.root(), in);
    return in.is_whole();
  }

 private:
  using Node = FoldOutline::Node;

  void number(const Node& node, std::uint64_t value) {
    // The value of an enumeration that is 0 here may have another number in another build.
    const bool named = node.shape->kind == ShapeKind::enumeration;
    if (value != 0 || named) sink_.number(node.field, *node.shape, value);
  }
  void text(const Node& node, std::string_view value) {
    if (!value.empty()) sink_.text(node.field, *node.shape, value);
  }

  void value(const Node& node, FoldReader& in) {
    switch (node.shape->kind) {
      case ShapeKind::record:
        for (std::size_t i = 0; i < node.count; ++i) value(outline_.child(node, i), in);
        return;
      case ShapeKind::text:
        return text(node, in.take_text());
      case ShapeKind::bytes:
        return text(node, in.take_bytes(node.shape->number));
      case ShapeKind::optional:
        if (in.take_varint() == 0) return;
        number(node, 1);
        return value(outline_.child(node, 0), in);
      case ShapeKind::variant: {
        const auto which = in.take_varint();
        if (which >= node.count) return in.fail();
        const auto& chosen = outline_.child(node, which);
        text(node, chosen.shape->name);
        return value(chosen, in);
      }
      case ShapeKind::map:
      case ShapeKind::set:
        return members(node, in);
      case ShapeKind::list:
        return list(node, in);
      case ShapeKind::message: {
        FoldReader fields(in.take_text());
        message(node, fields);
        if (!fields.is_whole()) in.fail();
        return;
      }
      default:
        return number(node, take_number(*node.shape, in));
    }
  }

  void members(const Node& node, FoldReader& in) {
    for (auto left = in.take_count(); left > 0 && in.is_good(); --left) {
      const auto before = in.rest();
      skip(node.shape->children[0], in);
      sink_.enter(node.shape->children.data(), before.substr(0, before.size() - in.rest().size()));
      number(node, 1);
      if (node.shape->kind == ShapeKind::map) value(outline_.child(node, 0), in);
      sink_.leave();
    }
  }

  void list(const Node& node, FoldReader& in) {
    const auto size = in.take_count();
    number(node, size);
    for (std::uint64_t i = 0; i < size && in.is_good(); ++i) {
      FoldWriter index;
      index.put(i);
      sink_.enter(nullptr, std::move(index).take());
      value(outline_.child(node, 0), in);
      sink_.leave();
    }
  }

  // What a key is made of goes by without a word.
  void skip(const Shape& shape, FoldReader& in) {
    switch (shape.kind) {
      case ShapeKind::record:
        for (const auto& child : shape.children) skip(child, in);
        return;
      case ShapeKind::text:
        static_cast<void>(in.take_text());
        return;
      case ShapeKind::bytes:
        static_cast<void>(in.take_bytes(shape.number));
        return;
      case ShapeKind::boolean:
      case ShapeKind::natural:
      case ShapeKind::integer:
      case ShapeKind::enumeration:
        static_cast<void>(in.take_varint());
        return;
      default:
        return in.fail();  // no fold has such a key
    }
  }

  void message(const Node& node, FoldReader& in) {
    std::vector<std::uint64_t> seen(node.count, 0);
    constexpr unsigned k_type_bits = 3;
    while (in.is_good() && !in.rest().empty()) {
      const auto tag = in.take_varint();
      const auto type = static_cast<WireType>(tag & ((1U << k_type_bits) - 1));
      std::size_t at = 0;
      while (at < node.count && outline_.child(node, at).shape->number != tag >> k_type_bits) ++at;
      // One that the build which wrote it did not know either: an event of a newer one had it.
      if (at == node.count) {
        unknown(type, in);
      } else {
        field(outline_.child(node, at), type, seen[at], in);
      }
    }
  }

  void unknown(WireType type, FoldReader& in) {
    if (type == WireType::varint) {
      static_cast<void>(in.take_varint());
    } else if (type == WireType::delimited) {
      static_cast<void>(in.take_text());
    } else {
      static_cast<void>(in.take_bytes(type == WireType::bits64 ? 8 : 4));
    }
  }

  void field(const Node& node, WireType type, std::uint64_t& seen, FoldReader& in) {
    const auto kind = node.shape->kind;
    const bool words = kind == ShapeKind::text || kind == ShapeKind::message;
    if (type == WireType::delimited && !words) {
      FoldReader packed(in.take_text());
      while (packed.is_good() && !packed.rest().empty()) {
        element(node, seen, [&] { number(node, packed.take_varint()); });
      }
      if (!packed.is_good()) in.fail();
    } else if (words != (type == WireType::delimited)) {
      in.fail();
    } else {
      element(node, seen, [&] { plain(node, type, in); });
    }
  }

  void plain(const Node& node, WireType type, FoldReader& in) {
    if (node.shape->kind == ShapeKind::text) return text(node, in.take_text());
    if (node.shape->kind == ShapeKind::message) {
      number(node, 1);
      FoldReader fields(in.take_text());
      message(node, fields);
      if (!fields.is_whole()) in.fail();
      return;
    }
    if (type == WireType::varint) return number(node, in.take_varint());
    const auto bytes = in.take_bytes(type == WireType::bits64 ? 8 : 4);
    text(node, bytes);
  }

  // Repeated fields have their place in the way to the value.
  template <typename Tell>
  void element(const Node& node, std::uint64_t& seen, const Tell& tell) {
    if (!node.shape->repeated) return tell();
    FoldWriter index;
    index.put(seen++);
    sink_.enter(nullptr, std::move(index).take());
    // Also of one that holds nothing.
    sink_.number(node.field, *node.shape, seen);
    tell();
    sink_.leave();
  }

  const FoldOutline& outline_;
  Sink& sink_;
};

}  // namespace atlasflow::storage
