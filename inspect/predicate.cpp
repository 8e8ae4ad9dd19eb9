#include "inspect/predicate.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <vector>

namespace atlasflow::inspect {

enum class NodeKind : std::uint8_t { any_of, all_of, negation, comparison, literal, field, count };

struct Predicate::Node {
  NodeKind kind = NodeKind::literal;
  std::string word;  // an operator, or a field's path
  Json literal;
  std::vector<std::shared_ptr<const Node>> parts;
};

namespace {

using Node = Predicate::Node;
using NodePtr = std::shared_ptr<const Node>;

constexpr std::size_t k_depth_max = 64;
constexpr std::array<std::string_view, 7> k_operators = {"==", "!=", "<=", ">=", "<", ">", "~"};

const Json* member_of(const Json& json, std::string_view path) {
  const Json* at = &json;
  while (!path.empty()) {
    const auto dot = path.find('.');
    const std::string name(path.substr(0, dot));
    if (at->is_object()) {
      const auto found = at->find(name);
      if (found == at->end()) return nullptr;
      at = &*found;
    } else if (at->is_array()) {
      std::size_t index = 0;
      const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), index);
      if (error != std::errc{} || end != name.data() + name.size() || index >= at->size()) {
        return nullptr;
      }
      at = &(*at)[index];
    } else {
      return nullptr;
    }
    if (dot == std::string_view::npos) break;
    path.remove_prefix(dot + 1);
  }
  return at;
}

Json value_of(const Node& node, const Json& json) {
  if (node.kind == NodeKind::literal) return node.literal;
  const auto* member = member_of(json, node.word);
  if (node.kind == NodeKind::count) {
    return member != nullptr && member->is_structured() ? static_cast<std::int64_t>(member->size())
                                                        : std::int64_t{0};
  }
  return member == nullptr ? Json() : *member;
}

std::string text_of(const Json& json) {
  return json.is_string() ? json.get<std::string>() : json.dump();
}

// Protobuf writes 64-bit integers as text.
std::optional<std::int64_t> number_of(const Json& json) {
  if (json.is_number_integer()) return json.get<std::int64_t>();
  if (!json.is_string()) return std::nullopt;
  const auto text = json.get<std::string>();
  std::int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (text.empty() || error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return number;
}

template <typename T>
bool ordered(const std::string& word, const T& left, const T& right) {
  if (word == "==") return left == right;
  if (word == "!=") return left != right;
  if (word == "<") return left < right;
  if (word == "<=") return left <= right;
  if (word == ">") return left > right;
  return left >= right;
}

bool compares(const std::string& word, const Json& left, const Json& right) {
  if (left.is_null() || right.is_null()) {
    const bool equal = left.is_null() && right.is_null();
    return word == "==" ? equal : word == "!=" && !equal;
  }
  if (word == "~") return text_of(left).find(text_of(right)) != std::string::npos;
  const auto number = number_of(left);
  const auto other = number_of(right);
  if (number && other) return ordered(word, *number, *other);
  return ordered(word, text_of(left), text_of(right));
}

bool is_true(const Json& json) {
  if (json.is_null()) return false;
  if (json.is_boolean()) return json.get<bool>();
  if (json.is_number_integer()) return json.get<std::int64_t>() != 0;
  if (json.is_string()) return !json.get<std::string>().empty();
  return !json.empty();
}

bool holds_at(const Node& node, const Json& json) {
  const auto part_holds = [&](const NodePtr& part) { return holds_at(*part, json); };
  switch (node.kind) {
    case NodeKind::any_of:
      return std::ranges::any_of(node.parts, part_holds);
    case NodeKind::all_of:
      return std::ranges::all_of(node.parts, part_holds);
    case NodeKind::negation:
      return !part_holds(node.parts[0]);
    case NodeKind::comparison:
      return compares(node.word, value_of(*node.parts[0], json), value_of(*node.parts[1], json));
    case NodeKind::literal:
    case NodeKind::field:
    case NodeKind::count:
      break;
  }
  return is_true(value_of(node, json));
}

bool is_word(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
         c == '.' || c == '-';
}

class Parser {
 public:
  explicit Parser(std::string_view text) : text_(text) {}

  Result<NodePtr> run() {
    auto node = condition(0);
    if (!node) return node;
    skip_spaces();
    if (at_ < text_.size()) return expected("and, or or the end");
    return node;
  }

 private:
  tl::unexpected<Error> expected(const std::string& what) const {
    const auto found = at_ < text_.size() ? "'" + std::string(1, text_[at_]) + "'" : "the end";
    return fail(ErrorCode::invalid_argument, "the condition is wrong at column " +
                                                 std::to_string(at_ + 1) + ": expected " + what +
                                                 ", found " + found);
  }

  void skip_spaces() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\t')) ++at_;
  }

  // The word at the place, if it is this one.
  bool take_word(std::string_view word) {
    skip_spaces();
    const auto rest = text_.substr(at_);
    if (!rest.starts_with(word)) return false;
    if (rest.size() > word.size() && is_word(rest[word.size()])) return false;
    at_ += word.size();
    return true;
  }

  bool take(char c) {
    skip_spaces();
    if (at_ >= text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }

  static NodePtr made(NodeKind kind, std::vector<NodePtr> parts, std::string word = {}) {
    auto node = std::make_shared<Node>();
    node->kind = kind;
    node->word = std::move(word);
    node->parts = std::move(parts);
    return node;
  }

  Result<NodePtr> condition(std::size_t depth) {
    return joined(depth, "or", NodeKind::any_of, &Parser::term);
  }
  Result<NodePtr> term(std::size_t depth) {
    return joined(depth, "and", NodeKind::all_of, &Parser::factor);
  }

  Result<NodePtr> joined(std::size_t depth, std::string_view word, NodeKind kind,
                         Result<NodePtr> (Parser::*part)(std::size_t)) {
    std::vector<NodePtr> parts;
    do {
      auto each = (this->*part)(depth);
      if (!each) return each;
      parts.push_back(std::move(*each));
    } while (take_word(word));
    return parts.size() == 1 ? parts[0] : made(kind, std::move(parts));
  }

  Result<NodePtr> factor(std::size_t depth) {
    if (depth > k_depth_max) return expected("fewer parentheses");
    if (take_word("not")) {
      auto inner = factor(depth + 1);
      if (!inner) return inner;
      return made(NodeKind::negation, {std::move(*inner)});
    }
    if (take('(')) {
      auto inner = condition(depth + 1);
      if (!inner) return inner;
      if (!take(')')) return expected("')'");
      return inner;
    }
    auto left = value();
    if (!left) return left;
    skip_spaces();
    const auto rest = text_.substr(at_);
    const auto* word = std::ranges::find_if(
        k_operators, [&](std::string_view each) { return rest.starts_with(each); });
    if (word == k_operators.end()) return left;
    at_ += word->size();
    auto right = value();
    if (!right) return right;
    return made(NodeKind::comparison, {std::move(*left), std::move(*right)}, std::string(*word));
  }

  Result<NodePtr> value() {
    skip_spaces();
    if (at_ < text_.size() && (text_[at_] == '"' || text_[at_] == '\'')) return quoted();
    const auto begin = at_;
    while (at_ < text_.size() && is_word(text_[at_])) ++at_;
    const auto word = text_.substr(begin, at_ - begin);
    if (word.empty()) return expected("a field, a number or \"text\"");
    if (word == "count" && take('(')) {
      skip_spaces();
      const auto from = at_;
      while (at_ < text_.size() && is_word(text_[at_])) ++at_;
      const std::string path(text_.substr(from, at_ - from));
      if (path.empty()) return expected("a field");
      if (!take(')')) return expected("')'");
      return made(NodeKind::count, {}, path);
    }
    if (word == "and" || word == "or" || word == "not") {
      at_ = begin;
      return expected("a field, a number or \"text\"");
    }
    if (word == "true" || word == "false") return literal(word == "true");
    if (word == "null") return literal(Json());
    if (const auto number = number_of(Json(std::string(word)))) return literal(*number);
    return made(NodeKind::field, {}, std::string(word));
  }

  static NodePtr literal(Json json) {
    auto node = std::make_shared<Node>();
    node->literal = std::move(json);
    return node;
  }

  Result<NodePtr> quoted() {
    const char quote = text_[at_++];
    const auto end = text_.find(quote, at_);
    if (end == std::string_view::npos) {
      at_ = text_.size();
      return expected(std::string("a closing ") + quote);
    }
    auto node = literal(std::string(text_.substr(at_, end - at_)));
    at_ = end + 1;
    return node;
  }

  std::string_view text_;
  std::size_t at_ = 0;
};

}  // namespace

Result<Predicate> Predicate::parse(std::string_view text) {
  auto root = Parser(text).run();
  if (!root) return tl::unexpected(root.error());
  return Predicate(std::move(*root));
}

bool Predicate::holds(const Json& json) const { return holds_at(*root_, json); }

}  // namespace atlasflow::inspect
