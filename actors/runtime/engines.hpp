// The worlds outside, as the actors call them: the composition root gives real ones (over builder/,
// vmm/ and edge/), the simulator its own. Every call may block and comes from a worker thread,
// never from a scheduled actor; each implementation is thread-safe.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <stop_token>
#include <string>
#include <vector>

#include "actors/domains/domain_engine.hpp"
#include "base/error.hpp"
#include "events/event.pb.h"
#include "events/ids.hpp"
#include "events/notifications.hpp"
#include "events/project.hpp"
#include "events/settings.hpp"

namespace atlasflow::actors {

// The only source of time in the control plane.
class Clock {
 public:
  virtual ~Clock() = default;
  [[nodiscard]] virtual TimestampUs now() const = 0;
};

struct ResolvedRef {
  std::string ref;  // "refs/heads/main"
  std::string sha;
};

// Sealed values by name; who opens them knows the context that they were sealed in.
using SealedEntries = std::vector<std::pair<std::string, EnvEntry>>;

struct SourceJob {
  EffectId effect;          // names the build's log, its containers and its cgroup
  DeploymentId deployment;  // names the work folder: clone and build share it
  std::string project;
  std::string project_id;  // whose images and caches these are: a name may be given again
  // What these are kept under, here and in the registry: the project's name, or a name of its own
  // for what is built of a fork.
  std::string store;
  bool from_fork = false;  // it is given no secret
  std::string repository_url;
  std::string ref;
  std::string sha;
  std::string base_sha;    // of a clone: what watched paths are compared with; empty: nothing
  bool is_pushed = false;  // a push asks for it, and nobody by hand: its message may say to skip it
  pb::Settings settings;   // the project's for a clone, then the deployment's
  bool no_cache = false;   // of a build: it takes no layer of an earlier one
  std::vector<pb::EarlierBuild> earlier;  // of a build: whose images it may take
  SealedEntries secrets;                  // of a build: what its steps may mount
  SealedEntries env;                      // of a build: what its log must not show; the app's alone
  std::chrono::microseconds remaining{};  // until the step's deadline
};

// Something on the machine that a clone or a build has made.
struct SourceRemains {
  enum class Kind : std::uint8_t { build, checkout };
  Kind kind = Kind::build;
  std::string name;  // a build's effect id, a checkout's deployment id
  // NOLINTNEXTLINE(modernize-use-nullptr): clang-tidy 14 takes the generated comparison for a 0
  friend auto operator<=>(const SourceRemains&, const SourceRemains&) = default;
};

// What must stay, because the log still reaches it (storage/readmodel/retention.hpp). Everything
// else of ours may go.
struct Keep {
  std::set<ImageRef> image_references;
  std::set<std::string> image_ids;
  std::set<DeploymentId> unfinished;  // what these have made may have no name in the log yet
  std::set<std::string> projects;     // that there are, by name: their build caches stay
};
// An engine asks it once nothing of its own is under way, and holds up what would begin until it is
// done: whatever it has made by then is kept or explained. unavailable: not known now.
using KeepSource = std::function<Result<Keep>()>;

// Source to image. Idempotent by effect.
class BuildEngine {
 public:
  virtual ~BuildEngine() = default;
  // Of the project's repository; an empty branch: the remote's default one. at_most: then it is
  // unavailable, whatever the remote does.
  [[nodiscard]] virtual Result<ResolvedRef> resolve(const ProjectState& project,
                                                    const std::string& branch,
                                                    std::chrono::milliseconds at_most) = 0;
  [[nodiscard]] virtual Result<pb::Cloned> clone(const SourceJob& job, std::stop_token stop) = 0;
  // exit_code: of the failed step, when there is one.
  [[nodiscard]] virtual Result<pb::Built> build(const SourceJob& job, std::stop_token stop) = 0;
  [[nodiscard]] virtual Result<pb::ImagePushed> push(const std::string& image_id,
                                                     const std::string& repository,
                                                     std::stop_token stop) = 0;
  // What there is of builds and checkouts, and whose it is.
  [[nodiscard]] virtual std::vector<SourceRemains> inventory() = 0;
  // Ends and removes it.
  virtual void reap(const SourceRemains& remains) = 0;
  // The deployment needs its checkout no more.
  virtual void forget(const DeploymentId& deployment) = 0;
  // Removes images that are not to be kept, here and in the registry, and what the build cache has
  // too much; returns what it removed. unavailable: something was under way for too long.
  [[nodiscard]] virtual Result<std::vector<std::string>> collect_images(const KeepSource& keep,
                                                                        std::stop_token stop) = 0;
  [[nodiscard]] virtual std::string describe() const = 0;
};

struct VmJob {
  VmId vm_id;
  std::string project;
  std::string project_id;
  std::string deployment;
  ImageRef image;
  SealedEntries env;  // references; the engine opens them
  pb::Settings settings;
  std::string command;  // run by the image's sh in place of its own; empty: the image's
  std::chrono::microseconds remaining{};  // until the start's deadline; 0: none
};

struct VmLocation {
  std::string address;
  std::int32_t port = 0;
};

struct StartedVm {
  VmLocation location;
  std::vector<std::string> notices = {};  // about its image, as sentences for the app's owner
};

struct VmObservation {
  bool running = false;
  VmLocation location;
  pb::VMExited exit;  // when it is not running; lost: nobody knows how it ended
};

struct ProbeObservation {
  std::int32_t status = 0;  // 0: no answer
  std::string error;  // what is wrong, as a sentence for the app's owner; empty: the status says it
  bool is_known = false;  // it is known what is wrong, and not only that no answer came yet
};

// One VM host. Idempotent by vm_id.
class VmEngine {
 public:
  virtual ~VmEngine() = default;
  [[nodiscard]] virtual Result<StartedVm> start(const VmJob& job, std::stop_token stop) = 0;
  [[nodiscard]] virtual VmObservation observe(const VmId& vm_id) = 0;
  [[nodiscard]] virtual ProbeObservation probe(const VmId& vm_id, const std::string& path,
                                               const std::string& host) = 0;
  // How the app ended; -1 when it is not known.
  [[nodiscard]] virtual Result<std::int32_t> stop(const VmId& vm_id) = 0;
  [[nodiscard]] virtual std::vector<VmId> list() = 0;
  // Whether the host answers; false several times in a row means that it is lost.
  [[nodiscard]] virtual bool ping() = 0;
  // Removes what VMs were made of and neither an image to be kept nor a VM that is there needs;
  // returns what it removed. unavailable: something was under way for too long.
  [[nodiscard]] virtual Result<std::vector<std::string>> collect_disks(const KeepSource& keep,
                                                                       std::stop_token stop) = 0;
  [[nodiscard]] virtual std::int64_t memory_mib() const = 0;  // for VMs, in all
  [[nodiscard]] virtual std::string describe() const = 0;
};

struct RouteUpstream {
  VmId vm_id;
  VmLocation location;
};
// What the project's settings say of its visitors and of how they are served; 0 and empty: nothing.
struct RouteTerms {
  std::int32_t request_rate = 0;
  std::int32_t max_concurrent_requests = 0;
  std::string unavailable_message;
  bool h2c = false;  // the app speaks HTTP/2 without TLS, and not HTTP/1.1
  friend bool operator==(const RouteTerms&, const RouteTerms&) = default;
};
[[nodiscard]] inline RouteTerms terms_of(const pb::Settings& settings) {
  return {settings.request_rate(), settings.max_concurrent_requests(),
          settings.unavailable_message(), settings.app_protocol() == k_h2c};
}
struct RouteClaim {
  std::string host;
  std::string project;
  std::string deployment;
  std::vector<RouteUpstream> upstreams;  // empty: 503 with the reason
  std::string unavailable_reason;
  RouteTerms terms = {};
  std::string redirect_to = {};  // another host of the table, where visitors are sent; empty: none
};

// The edge: takes whole tables.
class EdgeEngine {
 public:
  virtual ~EdgeEngine() = default;
  [[nodiscard]] virtual Result<void> publish(std::uint64_t generation,
                                             const std::vector<RouteClaim>& table) = 0;
  // Blocks until drained or the deadline; returns how many requests were cut.
  [[nodiscard]] virtual std::uint64_t drain(const VmId& vm_id,
                                            std::chrono::microseconds deadline) = 0;
  [[nodiscard]] virtual std::uint64_t generation() const = 0;
  [[nodiscard]] virtual std::string describe() const = 0;
};

// Whoever a notify_url leads to.
class NotifyEngine {
 public:
  virtual ~NotifyEngine() = default;
  // The HTTP status that it was answered with, whatever that is; an error when there was no answer.
  // Neither the error nor anything else that is kept may hold the URL's query or the secret.
  [[nodiscard]] virtual Result<std::int32_t> post(const Notification& notification,
                                                  std::stop_token stop) = 0;
};

// Owned by the composition root.
struct Engines {
  Clock* clock = nullptr;
  BuildEngine* build = nullptr;
  std::map<HostId, VmEngine*> hosts;
  EdgeEngine* edge = nullptr;
  NotifyEngine* notify = nullptr;
  DomainEngine* domains = nullptr;  // null: nobody has a domain of one's own
};

}  // namespace atlasflow::actors
