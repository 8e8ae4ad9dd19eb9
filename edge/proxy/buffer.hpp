// Byte buffers of a worker, made of slabs that the worker's pool lends: a connection that idles
// holds none. One worker's thread only.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <memory>
#include <string_view>
#include <utility>
#include <vector>

#include "base/assert.hpp"

namespace atlasflow::edge {

inline constexpr std::size_t k_slab_bytes = std::size_t{16} * 1024;

class SlabPool {
 public:
  // Bytes that buffers hold, larger pieces than slabs included.
  [[nodiscard]] std::size_t lent() const { return lent_; }
  [[nodiscard]] std::unique_ptr<char[]> take_piece(std::size_t bytes) {
    lent_ += bytes;
    if (bytes == k_slab_bytes) return take();
    return std::unique_ptr<char[]>(new char[bytes]);
  }
  void give_piece(std::unique_ptr<char[]> piece, std::size_t bytes) {
    ATLAS_ASSERT(bytes <= lent_, "more is given back than was lent");
    lent_ -= bytes;
    if (bytes == k_slab_bytes) give(std::move(piece));
  }

 private:
  [[nodiscard]] std::unique_ptr<char[]> take() {
    if (free_.empty()) return std::unique_ptr<char[]>(new char[k_slab_bytes]);
    auto slab = std::move(free_.back());
    free_.pop_back();
    return slab;
  }
  void give(std::unique_ptr<char[]> slab) {
    if (free_.size() < k_kept_max) free_.push_back(std::move(slab));
  }

  static constexpr std::size_t k_kept_max = 256;
  std::vector<std::unique_ptr<char[]>> free_;
  std::size_t lent_ = 0;
};

// A queue of bytes: written at the end, read at the front. Grows past one slab only when it must.
class Buffer {
 public:
  explicit Buffer(SlabPool& pool) : pool_(&pool) {}
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  ~Buffer() { clear(); }

  [[nodiscard]] bool empty() const { return begin_ == end_; }
  [[nodiscard]] std::size_t size() const { return end_ - begin_; }
  [[nodiscard]] std::string_view view() const { return {storage_.get() + begin_, size()}; }

  // Room for at least `bytes` more; commit() says how many of them were written.
  [[nodiscard]] char* reserve(std::size_t bytes) {
    if (!storage_) {
      capacity_ = std::max(bytes, k_slab_bytes);
      storage_ = pool_->take_piece(capacity_);
      begin_ = end_ = 0;
    } else if (capacity_ - end_ < bytes) {
      make_room(bytes);
    }
    return storage_.get() + end_;
  }
  [[nodiscard]] std::size_t room() const { return capacity_ - end_; }
  void commit(std::size_t bytes) {
    ATLAS_ASSERT(bytes <= room(), "more was written than was reserved");
    end_ += bytes;
  }

  void append(std::string_view bytes) {
    if (bytes.empty()) return;
    std::memcpy(reserve(bytes.size()), bytes.data(), bytes.size());
    end_ += bytes.size();
  }

  void consume(std::size_t bytes) {
    ATLAS_ASSERT(bytes <= size(), "more is consumed than there is");
    begin_ += bytes;
    if (begin_ == end_) clear();
  }

  void clear() {
    if (storage_) pool_->give_piece(std::move(storage_), capacity_);
    storage_.reset();
    begin_ = end_ = capacity_ = 0;
  }

 private:
  void make_room(std::size_t bytes) {
    const std::size_t used = size();
    // Within a slab moving is cheap. Beyond it no more is moved than was consumed since the last
    // time, so that a peer that takes a few bytes at a time does not have all of it moved for each.
    if (used + bytes <= capacity_ && (capacity_ == k_slab_bytes || begin_ >= used)) {
      std::memmove(storage_.get(), storage_.get() + begin_, used);
    } else {
      const std::size_t grown = std::max(capacity_ * 2, used + bytes);
      std::unique_ptr<char[]> larger = pool_->take_piece(grown);
      std::memcpy(larger.get(), storage_.get() + begin_, used);
      pool_->give_piece(std::move(storage_), capacity_);
      storage_ = std::move(larger);
      capacity_ = grown;
    }
    begin_ = 0;
    end_ = used;
    ATLAS_ASSERT(room() >= bytes, "a buffer has grown and has no room");
  }

  SlabPool* pool_;
  std::unique_ptr<char[]> storage_;
  std::size_t capacity_ = 0;
  std::size_t begin_ = 0;
  std::size_t end_ = 0;
};

}  // namespace atlasflow::edge
