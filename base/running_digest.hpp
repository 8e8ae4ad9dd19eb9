// SHA-256 (FIPS 180-4) of bytes that come in pieces, for what is too long to be held whole. Belongs
// to one thread.
#pragma once

#include <memory>
#include <string_view>

#include "base/digest.hpp"

namespace atlasflow {

class RunningDigest {
 public:
  RunningDigest();
  ~RunningDigest();
  RunningDigest(RunningDigest&&) noexcept;
  RunningDigest& operator=(RunningDigest&&) noexcept;

  void add(std::string_view bytes);
  // Of everything that was added; to be called once, last.
  [[nodiscard]] Digest finish();

 private:
  struct Context;
  std::unique_ptr<Context> context_;
};

}  // namespace atlasflow
