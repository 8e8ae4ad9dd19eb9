#include "storage/snapshots/fold_digests.hpp"

#include <algorithm>
#include <array>

#include "base/digest.hpp"
#include "base/utf8.hpp"
#include "storage/log/fingerprint.hpp"
#include "storage/snapshots/fold_walk.hpp"

namespace atlasflow::storage {
namespace {

std::string_view word_for(ShapeKind kind) {
  switch (kind) {
    case ShapeKind::boolean:
      return "boolean";
    case ShapeKind::natural:
      return "natural";
    case ShapeKind::integer:
    case ShapeKind::complement:
      return "integer";
    case ShapeKind::text:
      return "text";
    case ShapeKind::bytes:
      return "bytes";
    case ShapeKind::enumeration:
      return "enumeration";
    case ShapeKind::optional:
    case ShapeKind::message:
      return "presence";
    case ShapeKind::variant:
      return "alternative";
    case ShapeKind::map:
    case ShapeKind::set:
      return "member";
    case ShapeKind::list:
      return "count";
    case ShapeKind::record:
      break;
  }
  return "record";
}

std::string_view mark_of(ShapeKind kind) {
  if (kind == ShapeKind::map || kind == ShapeKind::set) return "{}";
  return kind == ShapeKind::list ? "[]" : "";
}

Error not_of_its_shape() { return {ErrorCode::corrupt, "its state is not what it says", ""}; }

class DigestSink {
 public:
  explicit DigestSink(std::size_t fields) : sums_(fields) {}

  void number(std::size_t field, const Shape& shape, std::uint64_t value) {
    // By its name, which stays when others are added before it.
    if (const auto name = shape.names.find(value); name != shape.names.end()) {
      return sums_[field].add(name->second, places_.back(), 0);
    }
    sums_[field].add({}, places_.back(), value);
  }
  void text(std::size_t field, const Shape& /*shape*/, std::string_view value) {
    sums_[field].add(value, places_.back(), 0);
  }
  void enter(const Shape* /*key*/, std::string_view encoded) {
    places_.push_back(Fingerprint::hash(encoded, places_.back()));
  }
  void leave() { places_.pop_back(); }

  [[nodiscard]] FieldDigest sum(std::size_t field) const {
    const auto words = sums_[field].words();
    return {words[0], words[1], words[2]};
  }

 private:
  std::vector<Fingerprint> sums_;
  std::vector<std::uint64_t> places_ = {0};
};

// What may be, name or open a secret has such a word in its name, or in that of what it is in.
bool is_hidden(std::string_view path) {
  constexpr std::array<std::string_view, 6> k_words = {"secret", "token", "ref",
                                                       "url",    "key",   "digest"};
  return std::ranges::any_of(k_words,
                             [&](auto word) { return path.find(word) != std::string_view::npos; });
}

std::string shown(std::string_view text) {
  constexpr std::size_t k_shown_max = 80;
  std::string out;
  for (const char c : to_valid_utf8(text.substr(0, k_shown_max))) {
    out.push_back(static_cast<unsigned char>(c) < ' ' || c == '\x7F' ? '?' : c);
  }
  return text.size() > k_shown_max ? out + "…" : out;
}

std::string text_of_number(const Shape& shape, std::uint64_t value) {
  if (const auto name = shape.names.find(value); name != shape.names.end()) return name->second;
  switch (shape.kind) {
    case ShapeKind::boolean:
      return "true";
    case ShapeKind::integer:
    case ShapeKind::complement:
      return std::to_string(static_cast<std::int64_t>(value));
    case ShapeKind::optional:
    case ShapeKind::message:
    case ShapeKind::map:
    case ShapeKind::set:
      return "there";
    default:
      return std::to_string(value);
  }
}

std::string text_of_key(const Shape& shape, FoldReader& in) {
  switch (shape.kind) {
    case ShapeKind::record: {
      std::string all;
      for (const auto& child : shape.children) {
        const auto one = text_of_key(child, in);
        if (!all.empty()) all.push_back('/');
        all.append(is_hidden(child.name) ? "(not shown)" : one);
      }
      return all;
    }
    case ShapeKind::text:
      return shown(in.take_text());
    case ShapeKind::bytes:
      return to_hex(in.take_bytes(shape.number));
    default:
      return text_of_number(shape, take_number(shape, in));
  }
}

// Every value under one name, by its way.
class ValueSink {
 public:
  ValueSink(std::size_t field, std::string_view name)
      : field_(field), path_(name.substr(0, name.find(' '))), hidden_(is_hidden(path_)) {}

  void number(std::size_t field, const Shape& shape, std::uint64_t value) {
    if (field == field_) values[place()] = text_of_number(shape, value);
  }
  void text(std::size_t field, const Shape& shape, std::string_view value) {
    if (field != field_) return;
    const bool open = !hidden_ || shape.kind == ShapeKind::variant;
    values[place()] =
        open ? shown(value) : "(not shown) " + std::to_string(value.size()) + " bytes";
    compared[place()] = std::string(value);
  }
  void enter(const Shape* key, std::string_view encoded) {
    static const Shape k_index = {ShapeKind::natural, {}, 0, false, {}, {}};
    keys_.emplace_back(key == nullptr ? &k_index : key, encoded);
  }
  void leave() { keys_.pop_back(); }

  std::map<std::string, std::string> values;
  std::map<std::string, std::string> compared;  // the whole of what is shown shorter, or not at all

 private:
  [[nodiscard]] std::string place() const {
    std::string place;
    std::size_t depth = 0;
    for (std::size_t i = 0; i < path_.size(); ++i) {
      const bool member = path_[i] == '[' || path_[i] == '{';
      if (!member || depth >= keys_.size()) {
        place.push_back(path_[i]);
        continue;
      }
      FoldReader in(keys_[depth].second);
      place.append("[").append(text_of_key(*keys_[depth].first, in)).append("]");
      ++depth;
      ++i;
    }
    return place;
  }

  std::size_t field_;
  std::string path_;
  bool hidden_;
  std::vector<std::pair<const Shape*, std::string>> keys_;
};

Result<ValueSink> values_of(const std::string& field, const Shape& shape, std::string_view state) {
  const FoldOutline outline(shape);
  const auto found = std::ranges::find(outline.fields(), field);
  ValueSink sink(static_cast<std::size_t>(found - outline.fields().begin()), field);
  if (!FoldWalk(outline, sink).over(state)) return tl::unexpected(not_of_its_shape());
  return sink;
}

}  // namespace

std::uint64_t take_number(const Shape& shape, FoldReader& in) {
  const auto value = in.take_varint();
  const bool zigzag = shape.kind == ShapeKind::integer ||
                      (shape.kind == ShapeKind::enumeration && shape.number == 1);
  return zigzag ? (value >> 1U) ^ (~(value & 1U) + 1U) : value;
}

std::size_t FoldOutline::add(const Shape& shape, const std::string& path) {
  Node node;
  node.shape = &shape;
  if (shape.kind != ShapeKind::record) {
    node.field = fields_.size();
    fields_.push_back(path + std::string(mark_of(shape.kind)) + " " +
                      std::string(word_for(shape.kind)));
  }
  std::vector<std::size_t> children;
  const bool is_map = shape.kind == ShapeKind::map;
  for (std::size_t i = is_map ? 1 : 0; i < shape.children.size(); ++i) {
    if (shape.kind == ShapeKind::set) break;  // its members are their keys
    const auto& child = shape.children[i];
    auto below = path;
    if (!child.name.empty()) below.append(path.empty() ? "" : ".").append(child.name);
    if (is_map || shape.kind == ShapeKind::list || child.repeated) below.append("[]");
    children.push_back(add(child, below));
  }
  node.first = children_.size();
  node.count = children.size();
  children_.insert(children_.end(), children.begin(), children.end());
  nodes_.push_back(node);
  return nodes_.size() - 1;
}

Result<FoldDigests> digests_of(const Shape& shape, std::string_view state) {
  const FoldOutline outline(shape);
  DigestSink sink(outline.fields().size());
  if (!FoldWalk(outline, sink).over(state)) return tl::unexpected(not_of_its_shape());
  FoldDigests digests;
  for (std::size_t field = 0; field < outline.fields().size(); ++field) {
    digests.emplace(outline.fields()[field], sink.sum(field));
  }
  return digests;
}

DigestComparison compare(const FoldDigests& before, const FoldDigests& now) {
  DigestComparison comparison;
  for (const auto& [field, digest] : before) {
    const auto found = now.find(field);
    if (found == now.end()) {
      comparison.only_before.push_back(field);
    } else if (found->second == digest) {
      ++comparison.equal;
    } else {
      comparison.changed.push_back(field);
    }
  }
  for (const auto& [field, digest] : now) {
    if (!before.contains(field)) comparison.only_now.push_back(field);
  }
  return comparison;
}

Result<std::optional<ValueDifference>> first_difference(const std::string& field,
                                                        const Shape& shape_before,
                                                        std::string_view before,
                                                        const Shape& shape_now,
                                                        std::string_view now) {
  ATLAS_TRY(auto old_values, values_of(field, shape_before, before));
  ATLAS_TRY(auto new_values, values_of(field, shape_now, now));
  auto places = old_values.values;
  places.insert(new_values.values.begin(), new_values.values.end());
  const auto at = [](std::map<std::string, std::string>& values, const std::string& place) {
    const auto found = values.find(place);
    return found == values.end() ? std::string("-") : found->second;
  };
  for (const auto& [place, value] : places) {
    auto was = at(old_values.values, place);
    auto is = at(new_values.values, place);
    if (was != is || at(old_values.compared, place) != at(new_values.compared, place)) {
      return ValueDifference{place, std::move(was), std::move(is)};
    }
  }
  return std::nullopt;
}

}  // namespace atlasflow::storage
