// Repositories as maps of path to content, for the tests of detection: what is made of them, and
// that what is made is a Dockerfile by our own reading of it.
#pragma once

#include <map>
#include <string>

#include <gmock/gmock.h>

#include "builder/stack/base_image.hpp"
#include "builder/stack/detect.hpp"
#include "builder/stack/dockerfile.hpp"

namespace atlasflow::builder {

using Files = std::map<std::string, std::string>;

// On a machine with nothing in its store of base images.
inline Result<Stack> detect_files(const Files& files, const StackBases& bases = {},
                                  const StackChoice& choice = {}) {
  return detect_stack(MemoryTree(files), bases, choice);
}

// Our parser takes nothing that Docker would not take, and finds the images that are to be pulled.
inline void expect_parses(const Stack& stack) {
  const auto plan = plan_dockerfile(stack.dockerfile, {"Dockerfile", {}, "", false});
  ASSERT_TRUE(plan) << to_string(plan.error()) << "\n" << stack.dockerfile;
  std::vector<std::string> named;
  for (const auto& image : plan->images) {
    if (image.value.find(k_static_server_context) == std::string::npos) {
      named.push_back(image.value);
    }
  }
  std::vector<std::string> told;
  for (const auto& image : stack.base_images) told.push_back(full_image_name(image));
  EXPECT_THAT(told, ::testing::UnorderedElementsAreArray(named)) << stack.dockerfile;
}

// With all that every generated Dockerfile must have.
inline Stack detected(const Files& files, const StackBases& bases = {},
                      const StackChoice& choice = {}) {
  auto stack = detect_files(files, bases, choice);
  EXPECT_TRUE(stack) << to_string(stack.error());
  if (!stack) return {};
  expect_parses(*stack);
  EXPECT_THAT(stack->dockerfile, ::testing::HasSubstr("PORT=3000"));
  const auto last = stack->dockerfile.substr(stack->dockerfile.rfind("\nFROM ") + 1);
  EXPECT_THAT(last, ::testing::HasSubstr("USER 65534:65534\n")) << "not as root";
  return std::move(*stack);
}

inline std::string refused(const Files& files, const StackBases& bases = {},
                           const StackChoice& choice = {}) {
  const auto stack = detect_files(files, bases, choice);
  if (stack) return "not refused: " + stack->reason;
  EXPECT_EQ(stack.error().code, ErrorCode::user_error);
  return stack.error().message;
}

inline std::string start_line(const Stack& stack) {
  return stack.start.empty() ? std::string() : stack.start.back();
}

// The first image, without its registry: "python:3.12-slim-bookworm".
inline std::string base_of(const Stack& stack) {
  if (stack.base_images.empty()) return {};
  const auto& image = stack.base_images.front();
  return image.substr(image.rfind('/') + 1);
}

}  // namespace atlasflow::builder
