// The root supervisor. What looks after the world beside the deployments (reconciler, janitor,
// notifier) it starts itself, and starts again when it dies: such a part holds nothing that the log
// or the world does not, so nothing is lost but time. Of the other parts handles are everywhere and
// what they hold is what the deployments have asked for by now; when one dies, the owner of the
// process is told, who starts all of them anew from the log.
#pragma once

#include <array>
#include <functional>
#include <mutex>
#include <string>
#include <vector>

#include "actors/domains/domain_keeper.hpp"
#include "actors/runtime/supervisor.hpp"
#include "actors/upkeep/janitor.hpp"
#include "actors/upkeep/notifier.hpp"
#include "actors/upkeep/reconciler.hpp"

namespace atlasflow::actors {

// Which parts died and were started again, for `atlasflow status`. Any thread.
class PartFaults {
 public:
  struct Fault {
    std::string part;
    int count = 0;       // since the start of the process
    std::string reason;  // of the last time
    TimestampUs at = 0;
    TimestampUs again_at = 0;  // the end of the pause
  };
  // One more death of the part.
  void note(const std::string& part, const std::string& reason, TimestampUs at,
            std::chrono::seconds pause);
  [[nodiscard]] std::vector<Fault> list() const;

 private:
  mutable std::mutex mutex_;
  std::vector<Fault> faults_;
};

// What the root starts itself.
enum class OwnPart : std::uint8_t { reconciler, janitor, notifier, domains };
inline constexpr std::size_t k_own_parts = 4;
[[nodiscard]] std::string_view name_of(OwnPart part);

// To itself: the pause of a part that died is over.
struct StartPart {
  OwnPart part = OwnPart::reconciler;
};

struct RootConfig {
  // A part whose end the owner of the process has to deal with.
  struct Core {
    std::string name;
    caf::actor handle;
  };
  std::vector<Core> core;
  ReconcilerConfig reconciler;
  JanitorConfig janitor;
  NotifierConfig notifier;
  DomainKeeperConfig domains;
  Clock* clock = nullptr;
  log_actor log_writer;
  SpawnMode spawn;
  PartFaults* faults = nullptr;                 // null: nobody asks
  std::function<void(const Error&)> part_died;  // as in PartsConfig
  std::function<void(const Error&)> log_died;   // PartsConfig's fatal
};

// Each death has its pause: nobody waits for these parts.
inline constexpr RestartPolicy k_own_part_restarts{
    .restarts_max = 0,
    .window = std::chrono::minutes(10),
    .beyond = RestartPolicy::Beyond::pause,
    .pause = std::chrono::seconds(1),
    .pause_max = std::chrono::seconds(60),
};

struct RootState {
  RootConfig config;
  Supervisor<OwnPart, caf::actor> own{k_own_part_restarts};
  // What these parts begin with, also when they are started anew: then they read the log.
  bool notifying = false;
  bool keeping_domains = false;  // there is a domain, or somebody asked for one
  BeginDomains domains;          // what the first keeper begins with
  bool stopping = false;
  const char* name = "root";

  void start(caf::event_based_actor* self, OwnPart part);
  [[nodiscard]] caf::actor spawn(caf::event_based_actor* self, OwnPart part) const;
  // Once the log writer knows it as a sink, so that it misses no record after those that it reads.
  void begin_notifying(caf::event_based_actor* self, BeginNotifying message);
  // Not before there is a domain: most servers have none, and nobody to keep them.
  void begin_domains(caf::event_based_actor* self, BeginDomains message);
  template <typename Handle, typename Message>
  void begin(caf::event_based_actor* self, OwnPart part, Message message);
  template <typename Message>
  [[nodiscard]] caf::result<DomainReply> ask_domains(caf::stateful_actor<RootState>* self,
                                                     Message message);
  void on_down(caf::event_based_actor* self, const caf::down_msg& down);
  void own_died(caf::event_based_actor* self, const ChildEnd<OwnPart>& end);
  void core_died(const caf::down_msg& down) const;
  // Quits once its own parts have ended.
  void stop(caf::event_based_actor* self, const caf::error& reason);
};

// Handles: BeginNotifying (after a start; the notifier's), BeginDomains, CommandDomain and
// CheckDomainNow (the domain keeper's), CollectNow (the janitor's), StartPart.
// An exit ends its own parts first.
[[nodiscard]] caf::behavior root(caf::stateful_actor<RootState>* self, RootConfig config);

}  // namespace atlasflow::actors

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(atlasflow::actors::StartPart)
