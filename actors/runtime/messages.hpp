// Every message between the actors of the control plane, as plain structs: the type is the
// message's name, so a protocol reads as a list of them. They stay inside one process and are never
// serialised.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <stop_token>
#include <string>
#include <variant>
#include <vector>

#include <caf/allowed_unsafe_message_type.hpp>

#include "actors/domains/domain_engine.hpp"
#include "actors/projects/project_histories.hpp"
#include "actors/runtime/control_plane.hpp"
#include "actors/runtime/engines.hpp"
#include "events/deployment.hpp"
#include "events/domain_ledger.hpp"
#include "events/notifications.hpp"
#include "events/reuse.hpp"
#include "storage/log/event_log.hpp"

namespace atlasflow::actors {

// ---- log writer ----

// Streams and the versions that a decision rests on.
using Basis = std::vector<std::pair<StreamId, StreamVersion>>;
struct Append {
  storage::AppendRequest request;
  Basis basis;  // beside its own stream; when one of them has moved, nothing is appended
  // On a full disk it waits until there is room; else it is refused with disk_full, for those who
  // can't wait, which are people and GitHub.
  bool patient = true;
};
struct AppendReply {
  storage::AppendOutcome outcome;
  bool basis_moved = false;
};
// To itself: commit what is queued by now.
struct Flush {};
// Commit what was asked for before this, by anybody, then answer. Who takes the place of an actor
// that died reads the log only then: the dead one's last append may still have been queued.
struct Settle {};
// To itself: the disk was full; look whether it still is.
struct TryAgain {};
// To itself, a second after an append: note beside the log how far it has come.
struct NoteEnd {};
struct Settled {};
// What was committed, in position order; to every subscriber.
struct RecordBatch {
  std::shared_ptr<const std::vector<storage::Record>> records;
};

// ---- deployments ----

// One command or outcome for the receiving deployment. cause: the event of another stream that it
// comes from; none for outcomes, whose cause is the deployment's own intent.
struct Deliver {
  DeploymentCommand command;
  Position cause = Position{};
};
// The same for a deployment by name; the directory finds or starts its actor.
struct DeliverTo {
  DeploymentId id;
  DeploymentCommand command;
  Position cause = Position{};
};
// From a person, who gets an answer: once it is recorded, or why it can't be.
struct CommandDeployment {
  DeploymentId id;
  DeploymentCommand command;
};
struct DecideDeployment {
  DeploymentCommand command;
};
struct DeploymentReply {
  Position position;
};
// Take up these unfinished deployments after a start of the control plane.
struct Resume {
  std::vector<DeploymentId> ids;
};

// ---- projects ----

// Take up what the log holds and from now on decide what runs.
struct BeginProjects {
  std::shared_ptr<ProjectHistories> histories;  // the receiver's
  Position position;                            // the newest record that is in them
};
// To the directory, from itself: the pause after a project's actor died again and again is over.
struct GoOnWithProject {
  ProjectId id;
};
struct CreateProjectNow {
  CreateProject command;
  Principal by;
};
struct CommandProject {
  std::string name;
  ProjectCommand command;
  Principal by;
};
struct ProjectReply {
  ProjectId id;
  Position position;
};
struct ReceivePushNow {
  Push push;
};
// The same for one project: by a command, or by a webhook of the project's own.
struct DeployNow {
  std::string project;
  Push push;
};
// A new deployment of an earlier one.
struct ReuseNow {
  std::string project;
  Reuse reuse;
  Principal by;
};
// A fork's commit that waits for an approval has it.
struct ApproveNow {
  std::string project;
  Approval approval;
  Principal by;
};
struct PushReply {
  std::vector<PushReceipt> receipts;
  Position position;
};
// To one project: a push, or a command that names a commit.
struct Intake {
  Push push;
};
struct IntakeReply {
  PushReceipt receipt;
  Position position;
};
// To one project, from its directory.
struct DecideProject {
  ProjectCommand command;
  Principal by;
};

// ---- builders ----

enum class SourceStep : std::uint8_t { clone, build, push_image, forget_checkout };
struct SourceTask {
  SourceStep step = SourceStep::clone;
  SourceJob job;
  std::string image_id;  // for push_image
};
// The pool gives work to whoever asks; stop is the pool's means to end it early.
struct RunTask {
  SourceTask task;
  std::stop_token stop;
  std::uint64_t lease = 0;
};
struct TaskDone {
  std::uint64_t lease = 0;
  DeploymentCommand outcome;
};
// To itself: the pause after builders died again and again is over.
struct ReplaceBuilder {};
// The lease on a task has run out.
struct LeaseExpired {
  std::uint64_t lease = 0;
};
struct AbortTask {
  EffectId effect;
};

// ---- VM hosts ----

struct PlaceVm {
  EffectId effect;
  std::int64_t memory_mib = 0;
};
struct StartVm {
  VmJob job;
  HostId host;
  TimestampUs health_limit_us = 0;
  std::stop_token stop;  // filled in by the host
};
// Run the job's command to its end.
struct RunRelease {
  VmJob job;
  TimestampUs deadline = 0;
  std::stop_token stop;  // filled in by the host
};
struct KeepVm {
  VmId vm_id;
  HostId host;
  std::int64_t memory_mib = 0;
  std::string path;  // probed once it has been healthy
  std::string host_header;
  bool was_healthy = false;
  bool healthy = false;  // as the log has it
};
struct ProbeVm {
  VmId vm_id;
  HostId host;
  std::string path;
  std::string host_header;
  TimestampUs deadline = 0;
};
struct StopVm {
  EffectId effect;
  VmId vm_id;
  HostId host;
  std::int64_t memory_mib = 0;
  std::int64_t grace_us = 0;  // of the app
};
// To itself: by now it should have been done.
struct StopOverdue {
  EffectId effect;
  VmId vm_id;
};
// Its memory is free again.
struct VmLeft {
  HostId host;
  VmId vm_id;
};
struct AbortVm {
  EffectId effect;
};
// To the VM's host, from itself: the pause after its actor died again and again is over.
struct GoOnWithVm {
  VmId vm_id;
};
// A host that did not answer several times in a row, or answers again.
struct HostSeen {
  HostId host;
  bool up = false;
};
// To itself: look again.
struct Tick {};
// To a project, from itself: the moment that it waited for is there. Empty: of nothing that it
// waits for, only so that it looks.
struct LookAgain {
  std::optional<TimestampUs> due;
};

// ---- edge ----

struct ClaimRoute {
  DeploymentId deployment;
  std::string project;
  EffectId effect;  // Routed is owed to it; empty: none
  std::uint64_t generation = 0;
  std::vector<std::string> hostnames;
  std::vector<RouteUpstream> upstreams;  // empty: answer 503 with the reason
  std::string unavailable_reason;
  RouteTerms terms;
};
// To itself: stop waiting for those that have not come.
struct ClaimsOverdue {};
struct DropClaim {
  DeploymentId deployment;
};
struct DrainVm {
  VmId vm_id;
  TimestampUs deadline = 0;
};
// To itself: publish what was claimed by now.
struct Publish {};
// Hostnames that lead where another does: a user's own domain to its project's hostname. All of
// them, at each change.
struct DomainHosts {
  std::map<std::string, std::string> targets;
  // Of all hostnames, those whose visitors are sent to another one.
  std::map<std::string, std::string> redirects;
  friend bool operator==(const DomainHosts&, const DomainHosts&) = default;
};
// After a start: these deployments are about to claim; a table without them must not be published,
// nor one without the domains.
struct ExpectClaims {
  std::vector<DeploymentId> ids;
  DomainHosts domains;
};

// ---- domains ----

// Take up what is claimed.
struct BeginDomains {
  std::shared_ptr<DomainLedger> ledger;  // the receiver's; null: it is to be read from the log
  Position position;                     // the newest record that is in it
};
// From a person. basis: what the decision rests on beside the domain's own stream.
struct CommandDomain {
  std::string name;
  DomainCommand command;
  Principal by;
  Basis basis;
};
// Ask its name servers now, and record what they say. Of one that was just looked at, nothing is
// asked: its record of then is the answer.
struct CheckDomainNow {
  std::string name;
  Principal by;
};
struct DomainReply {
  Position position;  // 0: nothing was recorded
};
// One call of the engine, by a worker that does this and ends.
struct LookUpWork {
  std::string domain;
  std::vector<std::string> directories;  // of the authorities that are asked for certificates
};
struct OrderWork {
  CertificateJob job;
};
struct AdviceWork {
  std::string domain;
  std::string fingerprint;
  std::string directory;
};
struct PublishWork {
  std::vector<CertificateChoice> table;
};
struct CleanWork {
  std::set<std::string> fingerprints;
  std::set<EffectId> unfinished;
};
using DomainWork = std::variant<LookUpWork, OrderWork, PublishWork, CleanWork, AdviceWork>;
struct DoDomainWork {
  std::uint64_t ticket = 0;
  DomainWork work;
  std::stop_token stop;
};
struct LookedUp {
  pb::DnsObservation observed;
  std::vector<std::vector<std::string>> caa_identities;  // of each directory
};
struct DomainWorkDone {
  std::uint64_t ticket = 0;
  std::variant<Result<LookedUp>, IssueResult, Result<PublishedCertificates>, Result<void>,
               RenewalNews>
      result;
};
// To itself: the work should be done by now.
struct DomainWorkOverdue {
  std::uint64_t ticket = 0;
};
// To itself: record the next thing that the world reported.
struct ReportNext {};
// To itself: something is due.
struct DomainsDue {
  std::uint64_t number = 0;  // of the newest; an older one counts no more
};

// ---- notifications ----

// Tell what is owed.
struct BeginNotifying {
  std::shared_ptr<NotificationsOwed> owed;  // the receiver's; null: it is to be read from the log
  Position position;                        // the newest record that is in it
};
// One attempt; stop ends it early.
struct PostNow {
  std::uint64_t ticket = 0;
  Notification notification;
  std::stop_token stop;
};
struct Posted {
  std::uint64_t ticket = 0;
  std::int32_t status = 0;  // 0: no answer
  std::string error;        // of no answer
};
// The attempt should be over by now.
struct PostOverdue {
  std::uint64_t ticket = 0;
};
// To itself: the pause after the attempt is over.
struct PostAgain {
  std::uint64_t ticket = 0;
};
// To itself: record the outcome of the attempt, which did not work.
struct RecordAgain {
  std::uint64_t ticket = 0;
};

// ---- timers ----

struct WakeAt {
  TimestampUs due = 0;
  DeploymentCommand command;
};
struct WakeDue {
  std::uint64_t id = 0;
};

}  // namespace atlasflow::actors

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(atlasflow::actors::Append)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(atlasflow::actors::AppendReply)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(atlasflow::actors::Flush)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(atlasflow::actors::Settle)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(atlasflow::actors::TryAgain)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(atlasflow::actors::NoteEnd)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(atlasflow::actors::Settled)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(atlasflow::actors::RecordBatch)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(atlasflow::actors::Deliver)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(atlasflow::actors::DeliverTo)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(atlasflow::actors::CommandDeployment)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(atlasflow::actors::DecideDeployment)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(atlasflow::actors::DeploymentReply)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(atlasflow::actors::Resume)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(atlasflow::actors::BeginProjects)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(atlasflow::actors::GoOnWithProject)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(atlasflow::actors::CreateProjectNow)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(atlasflow::actors::CommandProject)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(atlasflow::actors::ProjectReply)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(atlasflow::actors::ReceivePushNow)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(atlasflow::actors::DeployNow)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(atlasflow::actors::ReuseNow)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(atlasflow::actors::ApproveNow)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(atlasflow::actors::PushReply)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(atlasflow::actors::Intake)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(atlasflow::actors::IntakeReply)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(atlasflow::actors::DecideProject)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(atlasflow::actors::SourceTask)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(atlasflow::actors::RunTask)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(atlasflow::actors::TaskDone)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(atlasflow::actors::LeaseExpired)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(atlasflow::actors::AbortTask)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(atlasflow::actors::PlaceVm)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(atlasflow::actors::StartVm)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(atlasflow::actors::RunRelease)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(atlasflow::actors::KeepVm)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(atlasflow::actors::ProbeVm)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(atlasflow::actors::StopVm)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(atlasflow::actors::StopOverdue)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(atlasflow::actors::VmLeft)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(atlasflow::actors::AbortVm)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(atlasflow::actors::GoOnWithVm)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(atlasflow::actors::ReplaceBuilder)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(atlasflow::actors::HostSeen)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(atlasflow::actors::Tick)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(atlasflow::actors::LookAgain)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(atlasflow::actors::ClaimRoute)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(atlasflow::actors::ExpectClaims)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(atlasflow::actors::ClaimsOverdue)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(atlasflow::actors::DropClaim)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(atlasflow::actors::DrainVm)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(atlasflow::actors::Publish)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(atlasflow::actors::BeginNotifying)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(atlasflow::actors::PostNow)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(atlasflow::actors::Posted)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(atlasflow::actors::PostOverdue)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(atlasflow::actors::PostAgain)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(atlasflow::actors::RecordAgain)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(atlasflow::actors::WakeAt)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(atlasflow::actors::WakeDue)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(atlasflow::actors::DomainHosts)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(atlasflow::actors::BeginDomains)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(atlasflow::actors::CommandDomain)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(atlasflow::actors::CheckDomainNow)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(atlasflow::actors::DomainReply)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(atlasflow::actors::DoDomainWork)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(atlasflow::actors::DomainWorkDone)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(atlasflow::actors::DomainWorkOverdue)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(atlasflow::actors::DomainsDue)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(atlasflow::actors::ReportNext)
