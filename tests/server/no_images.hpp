// A builder for tests in which nothing is built.
#pragma once

#include "builder/image/image_builder.hpp"

namespace atlasflow::server {

class NoImages final : public builder::ImageBuilder {
 public:
  std::string isolation() const override { return "none"; }
  std::string toolchain() const override { return "none"; }
  Result<builder::BuiltImage> build(const builder::BuildRequest&, std::stop_token) override {
    return fail(ErrorCode::internal, "nothing is built here");
  }
  Result<builder::PushedImage> push(const std::string&, const std::string&, const std::string&,
                                    std::stop_token) override {
    return fail(ErrorCode::internal, "nothing is pushed here");
  }
  void reap(const std::string&) override {}
  std::vector<std::string> leftovers() override { return {}; }
  Result<std::vector<std::string>> collect(const std::function<Result<builder::StoreKeep>()>&,
                                           std::uint64_t, std::stop_token) override {
    return std::vector<std::string>{};
  }
};

}  // namespace atlasflow::server
