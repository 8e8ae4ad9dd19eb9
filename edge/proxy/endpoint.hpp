// What epoll's data pointer points to, and the lists that own such things. One worker's thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "edge/proxy/socket.hpp"

namespace atlasflow::edge {

struct Endpoint {
  enum class Kind : std::uint8_t { wake, listener, client, upstream, h2c };
  explicit Endpoint(Kind of) : kind(of) {}
  Kind kind;
};

struct Listener : Endpoint {
  Listener(FileDescriptor listening, bool with_tls, std::uint16_t at)
      : Endpoint(Kind::listener), socket(std::move(listening)), https(with_tls), port(at) {}
  FileDescriptor socket;
  bool https;
  std::uint16_t port;
};

// Owns connections, in no order. One that leaves within a turn is freed at its end, as events of
// the same turn may still point to it. An element keeps its place in its `index`.
template <typename T>
class OwningList {
 public:
  [[nodiscard]] bool empty() const { return elements_.empty(); }
  [[nodiscard]] std::size_t size() const { return elements_.size(); }
  [[nodiscard]] T& operator[](std::size_t index) const { return *elements_[index]; }
  [[nodiscard]] T& back() const { return *elements_.back(); }

  T& add(std::unique_ptr<T> element) {
    element->index = elements_.size();
    elements_.push_back(std::move(element));
    return *elements_.back();
  }
  // The last one takes its place: who goes through the list goes from its end.
  void remove(T& element) {
    const std::size_t index = element.index;
    left_.push_back(std::move(elements_[index]));
    if (index + 1 != elements_.size()) {
      elements_[index] = std::move(elements_.back());
      elements_[index]->index = index;
    }
    elements_.pop_back();
  }
  void free_removed() { left_.clear(); }

 private:
  std::vector<std::unique_ptr<T>> elements_;
  std::vector<std::unique_ptr<T>> left_;
};

}  // namespace atlasflow::edge
