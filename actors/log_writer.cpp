#include "actors/log_writer.hpp"

#include <csignal>

#include <spdlog/spdlog.h>

#include "events/probe.hpp"
#include "storage/buggify.hpp"
#include "storage/catalog.hpp"

namespace atlasflow::actors {
namespace {

// A batch is capped so that one reply never waits for a queue of any length.
constexpr std::size_t k_batch_appends_max = 256;

}  // namespace

void LogWriterState::commit(log_actor::pointer self) {
  if (batch.empty()) return;
  if (ATLAS_BUGGIFY("the log writer waits another round before it writes")) {
    self->send(self, Flush{});
    return;
  }
  std::vector<Pending> pending;
  const auto appends_max =
      ATLAS_BUGGIFY("the log writer writes one append at a time") ? 1 : k_batch_appends_max;
  if (batch.size() <= appends_max) {
    pending.swap(batch);
  } else {
    ATLAS_PROBE(true, "more appends waited than one write takes");
    const auto end = batch.begin() + static_cast<std::ptrdiff_t>(appends_max);
    std::move(batch.begin(), end, std::back_inserter(pending));
    batch.erase(batch.begin(), end);
    self->send(self, Flush{});
  }
  ATLAS_PROBE(pending.size() > 1, "several appends shared one synced write");
  std::vector<storage::AppendRequest> requests;
  requests.reserve(pending.size());
  for (auto& entry : pending) requests.push_back(std::move(entry.request));

  auto outcomes = config.log->append(requests, config.clock->now());
  if (!outcomes) {
    ATLAS_PROBE(true, "the log refused to go on, and the process ends");
    spdlog::critical("part=log_writer event=append_failed error=\"{}\"",
                     to_string(outcomes.error()));
    for (auto& entry : pending) entry.reply.fail(outcomes.error());
    config.fatal(outcomes.error());
    return;
  }
  auto records = std::make_shared<std::vector<storage::Record>>();
  for (const auto& outcome : *outcomes) {
    if (const auto* appended = std::get_if<storage::Appended>(&outcome)) {
      records->insert(records->end(), appended->records.begin(), appended->records.end());
    }
    if (std::holds_alternative<storage::Fenced>(outcome)) {
      config.fatal(Error{ErrorCode::conflict, "a newer control plane has taken over this log", ""});
    }
  }
  if (!config.crash_after.empty()) {
    for (const auto& record : *records) {
      if (storage::event_name(record.event) == config.crash_after) std::raise(SIGKILL);
    }
  }
  if (!records->empty()) {
    for (const auto& sink : sinks) self->send(sink, RecordBatch{records});
  }
  for (std::size_t i = 0; i < pending.size(); ++i) {
    pending[i].reply.deliver(AppendReply{std::move((*outcomes)[i])});
  }
}

log_actor::behavior_type log_writer(log_actor::stateful_pointer<LogWriterState> self,
                                    LogWriterConfig config) {
  self->state.config = std::move(config);
  return {[self](Append& message) -> caf::result<AppendReply> {
            if (self->state.batch.empty()) self->send(self, Flush{});
            auto promise = self->make_response_promise<AppendReply>();
            self->state.batch.push_back(
                {std::move(message.request), PromiseGuard<AppendReply>(promise)});
            return promise;
          },
          [self](Flush&) { self->state.commit(self); },
          [self](const record_sink& sink) { self->state.sinks.push_back(sink); }};
}

}  // namespace atlasflow::actors
