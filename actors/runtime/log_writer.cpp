#include "actors/runtime/log_writer.hpp"

#include <algorithm>
#include <csignal>
#include <iterator>
#include <utility>

#include "base/buggify.hpp"
#include "base/log.hpp"
#include "base/probe.hpp"
#include "storage/readmodel/catalog.hpp"

namespace atlasflow::actors {
namespace {

// A batch is capped so that one reply never waits for a queue of any length.
constexpr std::ptrdiff_t k_batch_appends_max = 256;
constexpr auto k_room_look_period = std::chrono::seconds(1);
constexpr auto k_note_delay = std::chrono::seconds(1);

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

void LogWriterState::wait_for_room(log_actor::pointer self, std::vector<Pending> pending,
                                   const Error& error) {
  ATLAS_PROBE(true, "the log writer waits for room on a full disk");
  constexpr int k_looks_a_minute = 60;
  if (looks++ % k_looks_a_minute == 0) {
    log_event(LogLevel::error, "log_writer", "disk_full", {{"error", to_string(error)}});
  }
  full = true;
  self->delayed_send(self, k_room_look_period, TryAgain{});
  batch.insert(batch.begin(), std::make_move_iterator(pending.begin()),
               std::make_move_iterator(pending.end()));
  // In their order, so that a stream's appends stay in theirs.
  std::vector<Pending> waiting;
  for (auto& entry : batch) {
    if (entry.patient) {
      waiting.push_back(std::move(entry));
    } else {
      entry.reply.fail(error);
    }
  }
  batch = std::move(waiting);
}

void LogWriterState::settle() {
  if (batch.empty()) {
    for (auto& promise : std::exchange(settling, {})) promise.deliver(Settled{});
  }
}

// A batch that was refused on a full disk may have been whole on it: the log has it after all.
void LogWriterState::tell_unheard(log_actor::pointer self) {
  const auto end = config.log->last_position();
  if (told >= end) return;
  auto records = std::make_shared<std::vector<storage::Record>>();
  const auto read = config.log->read_all(told.next(), [&](const storage::Record& record) {
    records->push_back(record);
    return true;
  });
  if (!read) return config.fatal(read.error());
  told = end;
  for (const auto& sink : sinks) self->send(sink, RecordBatch{records});
}

void LogWriterState::note_end() {
  noting = false;
  const auto noted = config.log->note_end(config.clock->now());
  if (noted) return;
  log_event(LogLevel::critical, "log_writer", "anchor_failed",
            {{"error", to_string(noted.error())}});
  config.fatal(noted.error());
}

void LogWriterState::commit(log_actor::pointer self) {
  if (batch.empty() || full) return;
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
  if (!outcomes && outcomes.error().code == ErrorCode::disk_full) {
    for (std::size_t i = 0; i < pending.size(); ++i) pending[i].request = std::move(requests[i]);
    return wait_for_room(self, std::move(pending), outcomes.error());
  }
  if (!outcomes) {
    ATLAS_PROBE(true, "the log refused to go on, and the process ends");
    log_event(LogLevel::critical, "log_writer", "append_failed",
              {{"error", to_string(outcomes.error())}});
    for (auto& entry : pending) entry.reply.fail(outcomes.error());
    config.fatal(outcomes.error());
    return;
  }
  if (!std::exchange(noting, true)) self->delayed_send(self, k_note_delay, NoteEnd{});
  auto records = std::make_shared<std::vector<storage::Record>>();
  bool is_fenced = false;
  for (const auto& outcome : *outcomes) {
    if (const auto* appended = std::get_if<storage::Appended>(&outcome)) {
      records->insert(records->end(), appended->records.begin(), appended->records.end());
    }
    if (std::holds_alternative<storage::Fenced>(outcome)) {
      is_fenced = true;
      config.fatal(Error{ErrorCode::conflict, "a newer control plane has taken over this log", ""});
    }
  }
  if (!config.crash_after.empty()) {
    for (const auto& record : *records) {
      if (storage::event_name(record.event) == config.crash_after) std::raise(SIGKILL);
    }
  }
  if (records->empty()) {
    // Of what a newer control plane wrote this one tells nobody.
    if (!is_fenced) tell_unheard(self);
  } else if (records->front().position != told.next()) {
    tell_unheard(self);
  } else {
    told = records->back().position;
    for (const auto& sink : sinks) self->send(sink, RecordBatch{records});
  }
  for (std::size_t i = 0; i < pending.size(); ++i) {
    pending[i].reply.deliver(AppendReply{std::move((*outcomes)[i])});
  }
}

log_actor::behavior_type log_writer(log_actor::stateful_pointer<LogWriterState> self,
                                    LogWriterConfig config) {
  end_of_exceptions(self);
  self->state.config = std::move(config);
  self->state.told = self->state.config.log->last_position();
  // A part that died is started again, and comes as another sink.
  self->set_down_handler([self](const caf::down_msg& down) {
    std::erase_if(self->state.sinks,
                  [&down](const record_sink& sink) { return sink.address() == down.source; });
  });
  return {[self](Append& message) -> caf::result<AppendReply> {
            if (self->state.full && !message.patient) {
              const auto room = self->state.config.log->has_room();
              if (!room) return to_caf(room.error());
            }
            if (self->state.batch.empty()) self->send(self, Flush{});
            auto promise = self->make_response_promise<AppendReply>();
            self->state.batch.push_back({std::move(message.request), std::move(message.basis),
                                         PromiseGuard<AppendReply>(promise), message.patient});
            return promise;
          },
          [self](Flush&) { self->state.commit(self); },
          [self](Settle&) -> caf::result<Settled> {
            auto& state = self->state;
            while (!state.batch.empty() && !state.full) state.commit(self);
            if (state.batch.empty()) return Settled{};
            auto promise = self->make_response_promise<Settled>();
            state.settling.emplace_back(promise);
            return promise;
          },
          [self](TryAgain&) {
            auto& state = self->state;
            state.full = false;
            while (!state.batch.empty() && !state.full) state.commit(self);
            if (state.full) return;
            state.looks = 0;
            state.tell_unheard(self);
            state.settle();
          },
          [self](NoteEnd&) { self->state.note_end(); },
          [self](const record_sink& sink) {
            self->monitor(sink);
            self->state.sinks.push_back(sink);
          }};
}

}  // namespace atlasflow::actors
