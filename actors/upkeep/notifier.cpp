#include "actors/upkeep/notifier.hpp"

#include <algorithm>

#include "base/assert.hpp"
#include "base/backoff.hpp"
#include "base/buggify.hpp"
#include "base/log.hpp"
#include "base/probe.hpp"

namespace atlasflow::actors {
namespace {

constexpr int k_senders = 4;
constexpr int k_attempts_max = 8;
// Since the result: what waits behind a receiver that is down gets one attempt after that, so the
// queue does not grow for ever.
constexpr TimestampUs k_age_max_us = 3'600'000'000;
// An attempt has a timeout of its own, well below this.
constexpr auto k_overdue = std::chrono::seconds(60);
constexpr auto k_record_again = std::chrono::seconds(1);

sender_actor::behavior_type sender(sender_actor::pointer self, const notifier_actor& notifier,
                                   NotifyEngine* engine) {
  end_of_exceptions(self);
  return {[self, notifier, engine](const PostNow& message) {
    const auto status = engine->post(message.notification, message.stop);
    self->send(notifier, status ? Posted{message.ticket, *status, ""}
                                : Posted{message.ticket, 0, to_string(status.error())});
  }};
}

std::string answer_text(const Posted& posted) {
  if (posted.status == 0) return posted.error;
  return "the receiver answered with status " + std::to_string(posted.status) +
         (posted.status / 100 == 3 ? "; redirects are not followed" : "");
}

template <typename Told>
void set_about(const Notification& notification, Told& told) {
  if (notification.expiry) {
    told.set_domain(notification.about());
  } else {
    told.set_deployment(notification.about());
  }
  told.set_result(notification.outcome());
}

pb::Event sent_event(const Notification& notification, int attempts) {
  pb::Event event;
  auto* sent = event.mutable_notification_sent();
  set_about(notification, *sent);
  sent->set_attempts(attempts);
  return event;
}

pb::Event failed_event(const Notification& notification, int attempts, const std::string& reason) {
  pb::Event event;
  auto* failed = event.mutable_notification_failed();
  set_about(notification, *failed);
  failed->set_attempts(attempts);
  failed->set_reason(reason);
  return event;
}

}  // namespace

PostVerdict verdict_on(std::int32_t status) {
  if (status / 100 == 2) return PostVerdict::taken;
  switch (status) {
    case 400:
    case 401:
    case 403:
    case 404:
    case 405:
    case 410:
    case 413:
      return PostVerdict::refused;
    default:
      return PostVerdict::again;
  }
}

std::chrono::seconds pause_after(int attempts) {
  return doubled_pause(static_cast<std::size_t>(std::max(attempts - 1, 0)),
                       std::chrono::seconds(300));
}

NotifierState::Delivery* NotifierState::in_phase(Phase phase, std::uint64_t ticket) {
  const auto found = std::find_if(deliveries.begin(), deliveries.end(), [&](const auto& item) {
    return item.second.ticket == ticket && item.second.phase == phase;
  });
  return found == deliveries.end() ? nullptr : &found->second;
}

void NotifierState::begin(notifier_actor::pointer self, const BeginNotifying& message) {
  if (message.owed != nullptr) {
    owed = std::move(*message.owed);
    position = message.position;
  }
  read_on(self);
}

void NotifierState::read_on(notifier_actor::pointer self) {
  read_log(
      self, config.log_reader, ReadLog{position.next()},
      [this](const storage::Record& record) { fold(record); },
      [this, self](Position /*next*/) {
        ATLAS_PROBE(position < heard, "the notifier heard of records that it had not read yet");
        if (position < heard) return read_on(self);
        begun = true;
        compare(self);
      });
}

void NotifierState::fold(const storage::Record& record) {
  ATLAS_ASSERT_EQ(record.position, position.next());
  owed.apply(record.stream, record.event, record.recorded_at);
  position = record.position;
}

void NotifierState::on_records(notifier_actor::pointer self, const RecordBatch& batch) {
  heard = batch.records->back().position;
  if (!begun) return;
  for (const auto& record : *batch.records) {
    if (record.position > position) fold(record);
  }
  compare(self);
}

void NotifierState::compare(notifier_actor::pointer self) {
  std::erase_if(deliveries, [this](const auto& item) {
    const auto& [receiver, delivery] = item;
    const auto found = owed.owed().find(receiver);
    const bool owed_still = found != owed.owed().end() &&
                            found->second.front().delivery() == delivery.notification.delivery();
    if (owed_still) return false;
    if (const auto attempt = posting.find(delivery.ticket); attempt != posting.end()) {
      ATLAS_PROBE(true, "a notification was owed no more while it was sent");
      attempt->second.stop.request_stop();
    }
    return true;
  });
  for (const auto& [receiver, queue] : owed.owed()) {
    const auto [place, fresh] = deliveries.try_emplace(receiver);
    if (!fresh) continue;
    place->second.notification = queue.front();
    place->second.ticket = next_ticket++;
  }
  while (!idle.empty()) {
    Delivery* first = nullptr;  // the one that has been ready for the longest time
    for (auto& [receiver, delivery] : deliveries) {
      if (delivery.phase != Phase::ready) continue;
      if (first == nullptr || delivery.ticket < first->ticket) first = &delivery;
    }
    if (first == nullptr) return;
    first->phase = Phase::posting;
    first->ticket = next_ticket++;
    ++first->attempts;
    first->notification.secret_ref = owed.secret_ref_of(first->notification.project_id);
    auto& attempt = posting[first->ticket];
    attempt.sender = idle.back();
    idle.pop_back();
    self->send(*senders.find(attempt.sender),
               PostNow{first->ticket, first->notification, attempt.stop.get_token()});
    self->delayed_send(self, k_overdue, PostOverdue{first->ticket});
  }
}

void NotifierState::posted(notifier_actor::pointer self, const Posted& message) {
  const auto attempt = posting.find(message.ticket);
  ATLAS_PROBE(attempt == posting.end(), "a sender came back after it was given up");
  if (attempt == posting.end()) return;  // A sender that came back after it was given up.
  idle.push_back(attempt->second.sender);
  posting.erase(attempt);
  judge(self, message);
  compare(self);
}

void NotifierState::on_down(notifier_actor::pointer self, const caf::down_msg& down) {
  const auto end = senders.on_down(down, config.clock->now());
  if (end) lose(self, *end);
}

void NotifierState::overdue(notifier_actor::pointer self, std::uint64_t ticket) {
  const auto attempt = posting.find(ticket);
  if (attempt == posting.end()) return;
  lose(self,
       senders.give_up(attempt->second.sender, "it did not answer in time", config.clock->now()));
}

void NotifierState::lose(notifier_actor::pointer self, const ChildEnd<SenderNumber>& end) {
  ATLAS_PROBE(true, "a sender of notifications was lost");
  log_event(LogLevel::warn, "notifier", "sender_lost", {{"reason", end.why}});
  if (!end.again_in) {
    self->quit(to_caf(Error{ErrorCode::internal, "its senders die too often", end.why}));
    return;
  }
  std::erase(idle, end.key);
  add_sender(self);
  const auto attempt = std::find_if(posting.begin(), posting.end(), [&](const auto& item) {
    return item.second.sender == end.key;
  });
  if (attempt != posting.end()) {
    const auto ticket = attempt->first;
    posting.erase(attempt);
    judge(self, Posted{ticket, 0, "the sender was lost: " + end.why});
  }
  compare(self);
}

void NotifierState::judge(notifier_actor::pointer self, const Posted& message) {
  auto* delivery = in_phase(Phase::posting, message.ticket);
  ATLAS_PROBE(delivery == nullptr, "an answer came to a notification that is owed no more");
  if (delivery == nullptr) return;  // It is owed no more: the project was deleted, say.
  const auto& notification = delivery->notification;
  const bool lost = ATLAS_BUGGIFY("a receiver's answer to a notification is lost");
  const auto verdict = lost ? PostVerdict::again : verdict_on(message.status);
  if (verdict == PostVerdict::taken) {
    log_event("notifier", "sent",
              {{"project", notification.project},
               {"about", notification.about()},
               {"result", notification.outcome()},
               {"attempts", delivery->attempts}});
    delivery->outcome = sent_event(notification, delivery->attempts);
    delivery->phase = Phase::recording;
    return record(self, message.ticket);
  }
  const auto reason = answer_text(message);
  const bool too_old = config.clock->now() - notification.at >= k_age_max_us;
  if (verdict == PostVerdict::again && delivery->attempts < k_attempts_max && !too_old) {
    const auto pause = pause_after(delivery->attempts);
    log_event("notifier", "not_sent",
              {{"project", notification.project},
               {"about", notification.about()},
               {"result", notification.outcome()},
               {"attempts", delivery->attempts},
               {"again_in_s", pause.count()},
               {"reason", reason}});
    ATLAS_PROBE(true, "a notification was not taken, and is sent again");
    delivery->phase = Phase::pausing;
    self->delayed_send(self, pause, PostAgain{message.ticket});
    return;
  }
  log_event(LogLevel::warn, "notifier", "given_up",
            {{"project", notification.project},
             {"about", notification.about()},
             {"result", notification.outcome()},
             {"attempts", delivery->attempts},
             {"reason", reason}});
  ATLAS_PROBE(delivery->attempts >= k_attempts_max || too_old,
              "a notification was given up after too many attempts or too long");
  delivery->outcome = failed_event(notification, delivery->attempts, reason);
  delivery->phase = Phase::recording;
  record(self, message.ticket);
}

// Its batch ends the delivery; this only sees to it that it is written.
void NotifierState::record(notifier_actor::pointer self, std::uint64_t ticket) {
  const auto* delivery = in_phase(Phase::recording, ticket);
  if (delivery == nullptr) return;
  const auto& notification = delivery->notification;
  Append append;
  append.request.stream = notifications_stream(notification.project_id);
  append.request.events = {delivery->outcome};
  append.request.dedupe_key = "notification/" + notification.about() + "/" + notification.outcome();
  append.request.correlation_id = notification.delivery();
  append.request.actor = Principal::system("notifier");
  append.patient = false;
  write(self, config.log_writer, k_shared_stream, std::move(append),
        [self, ticket](const WriteOutcome& outcome) {
          if (std::holds_alternative<storage::Appended>(outcome) ||
              std::holds_alternative<storage::Duplicate>(outcome)) {
            return;
          }
          self->delayed_send(self, k_record_again, RecordAgain{ticket});
        });
}

void NotifierState::add_sender(notifier_actor::pointer self) {
  idle.push_back(next_sender);
  senders.hold(self, next_sender++,
               spawn_blocking(self, config.spawn, sender, notifier_actor{self}, config.engine));
}

notifier_actor::behavior_type notifier(notifier_actor::stateful_pointer<NotifierState> self,
                                       NotifierConfig config) {
  end_of_exceptions(self);
  auto& state = self->state;
  state.owed = NotificationsOwed(config.domain);
  state.config = std::move(config);
  self->set_down_handler([self](const caf::down_msg& down) { self->state.on_down(self, down); });
  for (int i = 0; i < k_senders; ++i) state.add_sender(self);
  return {[self](const BeginNotifying& message) { self->state.begin(self, message); },
          [self](const RecordBatch& batch) { self->state.on_records(self, batch); },
          [self](const Posted& message) { self->state.posted(self, message); },
          [self](const PostOverdue& message) { self->state.overdue(self, message.ticket); },
          [self](const PostAgain& message) {
            auto* delivery = self->state.in_phase(NotifierState::Phase::pausing, message.ticket);
            if (delivery == nullptr) return;
            delivery->phase = NotifierState::Phase::ready;
            delivery->ticket = self->state.next_ticket++;
            self->state.compare(self);
          },
          [self](const RecordAgain& message) { self->state.record(self, message.ticket); }};
}

}  // namespace atlasflow::actors
