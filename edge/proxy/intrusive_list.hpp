// Doubly-linked lists through the elements themselves: to be in one, to leave it and to be the
// longest in it cost the same however many there are, and allocate nothing. An element has one hook
// for each list that it may be in, and leaves its lists before it is freed. One thread.
#pragma once

#include <cstddef>

namespace atlasflow::edge {

template <typename T>
struct ListHook {
  T* before = nullptr;
  T* after = nullptr;
  const void* list = nullptr;  // the one that it is in
};

template <typename T, ListHook<T> T::*Hook>
class IntrusiveList {
 public:
  IntrusiveList() = default;
  IntrusiveList(const IntrusiveList&) = delete;
  IntrusiveList& operator=(const IntrusiveList&) = delete;

  [[nodiscard]] bool empty() const { return front_ == nullptr; }
  [[nodiscard]] std::size_t size() const { return size_; }
  [[nodiscard]] T* front() const { return front_; }
  [[nodiscard]] bool contains(const T& element) const { return (element.*Hook).list == this; }

  // The element is in no list of this hook.
  void push_back(T& element) {
    ListHook<T>& hook = element.*Hook;
    hook = {back_, nullptr, this};
    (back_ == nullptr ? front_ : (back_->*Hook).after) = &element;
    back_ = &element;
    ++size_;
  }

  // False when it is not in this list.
  bool remove(T& element) {
    ListHook<T>& hook = element.*Hook;
    if (hook.list != this) return false;
    (hook.before == nullptr ? front_ : (hook.before->*Hook).after) = hook.after;
    (hook.after == nullptr ? back_ : (hook.after->*Hook).before) = hook.before;
    hook = {};
    --size_;
    return true;
  }

  // nullptr when empty.
  T* pop_front() {
    T* element = front_;
    if (element != nullptr) remove(*element);
    return element;
  }

 private:
  T* front_ = nullptr;
  T* back_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace atlasflow::edge
