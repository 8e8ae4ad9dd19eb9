// Strong identifiers, so that a project can never be passed for a deployment. Values; any thread.
#pragma once

#include <compare>
#include <cstdint>
#include <functional>
#include <ostream>
#include <string>
#include <utility>

namespace atlasflow {

// A string of one kind. Ordered and comparable with its own kind only.
template <typename Tag>
class StringId {
 public:
  StringId() = default;
  explicit StringId(std::string value) : value_(std::move(value)) {}

  [[nodiscard]] const std::string& str() const { return value_; }
  [[nodiscard]] bool empty() const { return value_.empty(); }
  // clang-tidy 14 takes the zero that a defaulted <=> compares with for a null pointer.
  // NOLINTNEXTLINE(modernize-use-nullptr)
  friend auto operator<=>(const StringId&, const StringId&) = default;
  friend bool operator==(const StringId&, const StringId&) = default;
  friend std::ostream& operator<<(std::ostream& out, const StringId& id) {
    return out << id.value_;
  }

 private:
  std::string value_;
};

// An integer of one kind, with a zero that means "before the first".
template <typename Tag>
class NumberId {
 public:
  constexpr NumberId() = default;
  constexpr explicit NumberId(std::uint64_t value) : value_(value) {}

  [[nodiscard]] constexpr std::uint64_t value() const { return value_; }
  [[nodiscard]] constexpr NumberId next() const { return NumberId(value_ + 1); }
  // clang-tidy 14 takes the zero that a defaulted <=> compares with for a null pointer.
  // NOLINTNEXTLINE(modernize-use-nullptr)
  friend constexpr auto operator<=>(const NumberId&, const NumberId&) = default;
  friend constexpr bool operator==(const NumberId&, const NumberId&) = default;
  friend std::ostream& operator<<(std::ostream& out, const NumberId& id) {
    return out << id.value_;
  }

 private:
  std::uint64_t value_ = 0;
};

using ProjectId = StringId<struct ProjectIdTag>;  // 8 characters of [a-z2-7]
using DeploymentId =
    StringId<struct DeploymentIdTag>;  // 8 characters of [a-z2-7], safe in a hostname
using StreamId =
    StringId<struct StreamIdTag>;  // "deployment/<id>", "project/<id>", "domain/<name>", …
using EffectId = StringId<struct EffectIdTag>;  // "<deployment id>-v<version of the intent>"
using VmId = StringId<struct VmIdTag>;          // the same text: of the intent that it came of
using HostId = StringId<struct HostIdTag>;      // the name of a machine that runs VMs: "local"
using ImageRef =
    StringId<struct ImageRefTag>;  // by digest: "<registry>/<repository>@sha256:<64 hex digits>"
using Position = NumberId<struct PositionTag>;      // place in the whole log, dense from 1
using StreamVersion = NumberId<struct VersionTag>;  // place in one stream, dense from 1
using Epoch = NumberId<struct EpochTag>;            // number of the control plane's start

// Microseconds since 1970-01-01T00:00:00Z. Comes in with commands; events/ never asks a clock.
using TimestampUs = std::int64_t;

[[nodiscard]] StreamId deployment_stream(const DeploymentId& id);
[[nodiscard]] StreamId project_stream(const ProjectId& id);
[[nodiscard]] StreamId node_stream();
// What a project's notify_url has been told.
[[nodiscard]] StreamId notifications_stream(const ProjectId& id);
// What GitHub has been told of a project's deployments.
[[nodiscard]] StreamId github_reports_stream(const ProjectId& id);
// One domain of a user's own, by its name: lower case, A-labels, no trailing dot.
[[nodiscard]] StreamId domain_stream(const std::string& name);
// The id inside a stream's name, or an empty one when the stream is of another kind.
[[nodiscard]] DeploymentId deployment_of(const StreamId& stream);
[[nodiscard]] ProjectId project_of(const StreamId& stream);
[[nodiscard]] ProjectId notified_project_of(const StreamId& stream);
[[nodiscard]] ProjectId reported_project_of(const StreamId& stream);
[[nodiscard]] std::string domain_of(const StreamId& stream);

// The name of the thing outside that an intent stands for: the VM's, the container's, the folder's.
[[nodiscard]] EffectId effect_id(const DeploymentId& id, StreamVersion intent);
[[nodiscard]] EffectId domain_effect_id(const std::string& domain, StreamVersion intent);
// The VM that the intent starts, and the intent of the VM. What the VM says of itself (its first
// 2xx, that it has drained) comes as an outcome of that effect.
[[nodiscard]] VmId vm_of(const EffectId& effect);
[[nodiscard]] EffectId effect_of(const VmId& vm);
// The version back from the name; 0 when it is none of this deployment's.
[[nodiscard]] StreamVersion intent_version_of(const DeploymentId& id, const EffectId& effect);

}  // namespace atlasflow

template <typename Tag>
struct std::hash<atlasflow::StringId<Tag>> {
  std::size_t operator()(const atlasflow::StringId<Tag>& id) const noexcept {
    return std::hash<std::string>{}(id.str());
  }
};
