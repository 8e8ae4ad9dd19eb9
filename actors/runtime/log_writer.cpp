#include "actors/runtime/log_writer.hpp"

#include <algorithm>
#include <csignal>
#include <iterator>

#include <spdlog/spdlog.h>

#include "base/buggify.hpp"
#include "base/probe.hpp"
#include "storage/readmodel/catalog.hpp"

namespace atlasflow::actors {
namespace {

// A batch is capped so that one reply never waits for a queue of any length.
constexpr std::ptrdiff_t k_batch_appends_max = 256;

}  // namespace

// A request that rests on other streams begins a batch: those before it are in the log by then.
std::vector<LogWriterState::Pending> LogWriterState::take(log_actor::pointer self) {
  const std::ptrdiff_t appends_max =
      ATLAS_BUGGIFY("the log writer writes one append at a time") ? 1 : k_batch_appends_max;
  auto end = batch.begin();
  do {
    ++end;
  } while (end != batch.end() && end - batch.begin() < appends_max && end->basis.empty());
  std::vector<Pending> pending(std::make_move_iterator(batch.begin()),
                               std::make_move_iterator(end));
  batch.erase(batch.begin(), end);
  if (!batch.empty()) self->send(self, Flush{});
  return pending;
}

bool LogWriterState::has_moved(const Basis& basis) const {
  return std::any_of(basis.begin(), basis.end(), [this](const auto& stream) {
    const auto version = config.log->version_of(stream.first);
    return !version || *version != stream.second;
  });
}

void LogWriterState::commit(log_actor::pointer self) {
  if (batch.empty()) return;
  if (ATLAS_BUGGIFY("the log writer waits another round before it writes")) {
    self->send(self, Flush{});
    return;
  }
  auto pending = take(self);
  if (has_moved(pending.front().basis)) {
    ATLAS_PROBE(true, "what an append rests on had moved when its turn came");
    pending.front().reply.deliver(AppendReply{{}, true});
    pending.erase(pending.begin());
    if (pending.empty()) return;
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
            self->state.batch.push_back({std::move(message.request), std::move(message.basis),
                                         PromiseGuard<AppendReply>(promise)});
            return promise;
          },
          [self](Flush&) { self->state.commit(self); },
          [self](Settle&) {
            while (!self->state.batch.empty()) self->state.commit(self);
            return Settled{};
          },
          [self](const record_sink& sink) { self->state.sinks.push_back(sink); }};
}

}  // namespace atlasflow::actors
