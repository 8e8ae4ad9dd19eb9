// What the notify_url of each project is still to be told: a fold of the whole log. One
// notification per deployment and result, and one per stage of a certificate that nears its end.
// Pure.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>

#include "events/deployment.hpp"
#include "events/fields.hpp"
#include "events/project.hpp"

namespace atlasflow {

// What a deployment has come to, as it is told outside. A deployment may have two: live, and later
// crashed.
enum class DeploymentResult : std::uint8_t {
  live,
  failed,
  cancelled,
  superseded,
  skipped,
  crashed,
};

[[nodiscard]] std::string_view name_of(DeploymentResult result);

// The result that the event is, which took the deployment from one status to another, if it is one.
// Retired is none: the newer deployment has told its own.
[[nodiscard]] std::optional<DeploymentResult> result_of(const pb::Event& event,
                                                        DeploymentStatus before,
                                                        DeploymentStatus after);

// A domain's certificate is nearer to its end than it should be.
struct ExpiryNews {
  std::string domain;
  pb::ExpiryStage stage = pb::EXPIRY_STAGE_UNSPECIFIED;
  std::string fingerprint;
  TimestampUs not_after = 0;
};

// One result, with what was true when it was recorded.
struct Notification {
  ProjectId project_id;
  std::string project;
  DeploymentId deployment;
  DeploymentResult result = DeploymentResult::live;
  std::string environment;
  std::string commit;
  std::string subject;
  std::string hostname;      // of the environment
  std::string reason;        // why it is not live
  std::string step;          // of failed
  std::string requested_by;  // of what no push made
  TimestampUs at = 0;
  std::string url;         // who is to be told
  std::string secret_ref;  // what signs it when it is sent; empty: nothing
  // Set: it is about that, and no deployment's. `hostname` is the domain.
  std::optional<ExpiryNews> expiry;

  // What the log calls it: the deployment and its result, or the domain and which stage of which
  // certificate was told when.
  [[nodiscard]] std::string about() const;
  [[nodiscard]] std::string outcome() const;
  // "<about>-<outcome>": the same for every attempt.
  [[nodiscard]] std::string delivery() const;
};

// The log's records must come in position order. Results of a time without a notify_url are owed
// to nobody, and neither is what happens to a project that was deleted.
class NotificationsOwed {
 public:
  // `domain` ends the hostnames.
  explicit NotificationsOwed(std::string domain) : domain_(std::move(domain)) {}

  void apply(const StreamId& stream, const pb::Event& event, TimestampUs recorded_at);

  // One receiver of one project. What it is owed must reach it in order; two do not wait for each
  // other.
  struct Receiver {
    ProjectId project;
    std::string url;
    // NOLINTNEXTLINE(modernize-use-nullptr): clang-tidy 14 takes the generated comparison for a 0
    friend auto operator<=>(const Receiver&, const Receiver&) = default;
  };
  // Oldest first, and never an empty list.
  using ByReceiver = std::map<Receiver, std::deque<Notification>>;
  [[nodiscard]] const ByReceiver& owed() const { return owed_; }
  // What signs the project's notifications now; empty: nothing.
  [[nodiscard]] std::string secret_ref_of(const ProjectId& id) const;

 private:
  struct Unfinished {
    DeploymentState state;
    std::set<DeploymentResult> had;
  };
  void apply_to_project(const ProjectId& id, const pb::Event& event);
  void apply_to_deployment(const DeploymentId& id, const pb::Event& event, TimestampUs recorded_at);
  void apply_to_certificate(const std::string& domain, const pb::CertificateExpiring& expiring,
                            TimestampUs recorded_at);
  void settle(const ProjectId& id, const std::string& about, const std::string& outcome);
  void forget(const ProjectId& id);

  ATLAS_OWN_FIELDS(Unfinished, state, had)
  ATLAS_OWN_FIELDS(NotificationsOwed, domain, projects, deployments, owed)

  std::string domain_;
  std::map<ProjectId, ProjectState> projects_;  // that are not deleted
  std::map<DeploymentId, Unfinished> deployments_;
  ByReceiver owed_;
};

}  // namespace atlasflow
