// The janitor: asks the engines from time to time to remove the images and disks that the log does
// not reach any more, and removes the sealed values that nothing in it needs. It decides when;
// storage/readmodel/retention.hpp decides what; the engines know how.
#pragma once

#include <cstddef>
#include <map>
#include <stop_token>
#include <string>
#include <vector>

#include "actors/runtime/log_writer.hpp"
#include "actors/runtime/support.hpp"
#include "storage/readmodel/catalog.hpp"
#include "storage/secrets/secrets.hpp"

namespace atlasflow::actors {

// Something can be removed, or must be: look shortly. Many of them are one look.
struct CollectSoon {};
// To itself: the time has come, unless it was set anew since.
struct CollectDue {
  std::uint64_t number = 0;
};
// Look at once.
struct CollectNow {};
// To its collector.
struct RunCollect {
  std::stop_token stop;
};

using janitor_actor =
    caf::typed_actor<caf::reacts_to<CollectSoon>, caf::reacts_to<CollectDue>,
                     caf::reacts_to<CollectNow>,
                     // What has been recorded: the end of a deployment or of a value leaves
                     // something, and a step that failed through the machine may have met a full
                     // disk.
                     caf::reacts_to<RecordBatch>>;

// One look; blocks in the engines, and ends with it.
using collector_actor = caf::typed_actor<caf::reacts_to<RunCollect>>;

struct JanitorConfig {
  BuildEngine* build = nullptr;
  std::map<HostId, VmEngine*> hosts;
  const storage::EventLog* log = nullptr;
  const storage::Catalog* catalog = nullptr;
  std::size_t rollbacks = 5;
  SpawnMode spawn;
  storage::SecretStore* secrets = nullptr;
  // The values that were there before this process took its first command. The log names those that
  // were recorded; the rest was sealed for an event that never came.
  std::vector<std::string> sealed_before;
};

struct JanitorState {
  JanitorConfig config;
  std::uint64_t armed = 0;  // the number of the CollectDue that counts
  bool soon = false;        // that one was asked for and is not just the regular one
  bool again = false;       // asked for while a look was under way
  Child<collector_actor> collector;
  StopScope stop;
  const char* name = "janitor";

  void arm(janitor_actor::pointer self, std::chrono::seconds delay);
  void ask(janitor_actor::pointer self, std::chrono::seconds delay);
  void look(janitor_actor::pointer self);
  void done(janitor_actor::pointer self);
};

[[nodiscard]] janitor_actor::behavior_type janitor(
    janitor_actor::stateful_pointer<JanitorState> self, const JanitorConfig& config);

}  // namespace atlasflow::actors

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(atlasflow::actors::CollectSoon)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(atlasflow::actors::CollectDue)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(atlasflow::actors::CollectNow)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(atlasflow::actors::RunCollect)
