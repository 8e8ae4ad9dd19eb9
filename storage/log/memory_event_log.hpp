// The event log in memory: the contract of event_log.hpp with nothing under it, for the simulator
// and the tests of actors. It keeps the same stored bytes as the real one, made by the same rules.
//
// A MemoryStore is "the disk": it outlives the logs opened on it, so a restart is a new log on the
// same store, and two logs on one store are two control planes of which begin_epoch() fences the
// older. Both are safe from any thread.
#pragma once

#include <memory>
#include <string>

#include "storage/log/event_log.hpp"

namespace atlasflow::storage {

class MemoryStore;

[[nodiscard]] std::shared_ptr<MemoryStore> make_memory_store();

// The store as it stood when `last` was its newest record: a fork of history to try something on.
// The writer epoch is kept.
[[nodiscard]] std::shared_ptr<MemoryStore> fork_memory_store(const MemoryStore& store,
                                                             Position last);

// The first records of any log, byte for byte, so that their chain is the same. The writer epoch is
// that of the last one. corrupt: a record does not follow from the one before, or is missing.
[[nodiscard]] Result<std::shared_ptr<MemoryStore>> memory_store_of(const EventLog& log,
                                                                   Position last);

[[nodiscard]] std::unique_ptr<EventLog> open_memory_event_log(std::shared_ptr<MemoryStore> store,
                                                              std::string build_id);

// On a store of its own.
[[nodiscard]] std::unique_ptr<EventLog> open_memory_event_log(std::string build_id = "test");

}  // namespace atlasflow::storage
