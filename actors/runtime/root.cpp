#include "actors/runtime/root.hpp"

#include <algorithm>
#include <utility>

#include "base/log.hpp"
#include "base/probe.hpp"

namespace atlasflow::actors {
std::string_view name_of(OwnPart part) {
  constexpr std::array<std::string_view, k_own_parts> k_names{"reconciler", "janitor", "notifier",
                                                              "domains"};
  return k_names.at(static_cast<std::size_t>(part));
}

void PartFaults::note(const std::string& part, const std::string& reason, TimestampUs at,
                      std::chrono::seconds pause) {
  const std::lock_guard guard(mutex_);
  auto found = std::find_if(faults_.begin(), faults_.end(),
                            [&](const Fault& fault) { return fault.part == part; });
  if (found == faults_.end()) {
    found = faults_.emplace(faults_.end());
    found->part = part;
  }
  ++found->count;
  found->reason = reason;
  found->at = at;
  found->again_at = at + std::chrono::microseconds(pause).count();
}

std::vector<PartFaults::Fault> PartFaults::list() const {
  const std::lock_guard guard(mutex_);
  return faults_;
}

caf::actor RootState::spawn(caf::event_based_actor* self, OwnPart part) const {
  switch (part) {
    case OwnPart::reconciler:
      return caf::actor_cast<caf::actor>(
          spawn_blocking(self, config.spawn, reconciler, config.reconciler));
    case OwnPart::janitor:
      return caf::actor_cast<caf::actor>(self->spawn(janitor, config.janitor));
    case OwnPart::notifier:
      return caf::actor_cast<caf::actor>(self->spawn(notifier, config.notifier));
    case OwnPart::domains:
      break;
  }
  return caf::actor_cast<caf::actor>(self->spawn(domain_keeper, config.domains));
}

template <typename Handle, typename Message>
void RootState::begin(caf::event_based_actor* self, OwnPart part, Message message) {
  const auto* handle = own.find(part);
  if (handle == nullptr) return;  // It died, and the next one is told when it starts.
  const auto beginner = caf::actor_cast<Handle>(*handle);
  // As long as the log writer takes for what is before this: a slow disk is no reason to give up.
  self->request(config.log_writer, caf::infinite, caf::actor_cast<record_sink>(*handle))
      .then([self, beginner, message] { self->send(beginner, message); },
            [part](const caf::error& error) {
              // The log writer is gone, and with it the process: the next start begins anew.
              log_event(LogLevel::error, "root", "part_not_begun",
                        {{"part", name_of(part)}, {"error", to_string(from_caf(error))}});
            });
}

void RootState::start(caf::event_based_actor* self, OwnPart part) {
  if (stopping) return;
  if (part == OwnPart::domains && !keeping_domains) return;
  const auto& handle = own.hold(self, part, spawn(self, part));
  if (part == OwnPart::janitor) {
    self->send(config.log_writer, caf::actor_cast<record_sink>(handle));
  }
  if (part == OwnPart::notifier && notifying) begin_notifying(self, {});
  if (part == OwnPart::domains) {
    begin<domain_keeper_actor>(self, part, std::exchange(domains, BeginDomains{}));
  }
}

void RootState::begin_notifying(caf::event_based_actor* self, BeginNotifying message) {
  notifying = true;
  begin<notifier_actor>(self, OwnPart::notifier, std::move(message));
}

void RootState::begin_domains(caf::event_based_actor* self, BeginDomains message) {
  const bool wanted = config.domains.settings.orders_own || !message.ledger->domains().empty();
  if (config.domains.engine == nullptr || !wanted) return;
  domains = std::move(message);
  keeping_domains = true;
  start(self, OwnPart::domains);
}

void RootState::on_down(caf::event_based_actor* self, const caf::down_msg& down) {
  const auto end = own.on_down(down, config.clock->now());
  if (!end) {
    if (!stopping && !is_orderly(down.reason)) core_died(down);
    return;
  }
  if (stopping) return stop(self, caf::exit_reason::user_shutdown);
  if (!end->orderly) own_died(self, *end);
}

void RootState::own_died(caf::event_based_actor* self, const ChildEnd<OwnPart>& end) {
  const auto part = std::string(name_of(end.key));
  ATLAS_PROBE(true, "a part that looks after the world died and another went on");
  ATLAS_PROBE(end.deaths > 1, "a part that looks after the world died again");
  log_event(LogLevel::error, part, "died", {{"again_in_s", end.again_in_s()}, {"reason", end.why}});
  if (config.faults != nullptr) {
    config.faults->note(part, end.why, config.clock->now(), *end.again_in);
  }
  self->delayed_send(self, *end.again_in, StartPart{end.key});
}

void RootState::core_died(const caf::down_msg& down) const {
  const auto why = to_string(from_caf(down.reason));
  const auto part = std::find_if(
      config.core.begin(), config.core.end(),
      [&](const RootConfig::Core& each) { return each.handle.address() == down.source; });
  const std::string who = part == config.core.end() ? "part" : part->name;
  log_event(LogLevel::critical, "root", "part_died", {{"name", who}, {"reason", why}});
  const bool is_log = config.log_writer.address() == down.source;
  ATLAS_PROBE(is_log, "the log writer died, and the process ends");
  ATLAS_PROBE(!is_log, "a part that all others need died, and everything begins anew");
  (is_log ? config.log_died
          : config.part_died)(Error{ErrorCode::internal, "the " + who + " died", why});
}

void RootState::stop(caf::event_based_actor* self, const caf::error& reason) {
  if (!std::exchange(stopping, true)) {
    own.stop_all(self, reason);
  }
  if (own.empty()) self->quit(reason);
}

template <typename Message>
caf::result<DomainReply> RootState::ask_domains(caf::stateful_actor<RootState>* self,
                                                Message message) {
  if (!keeping_domains && config.domains.engine != nullptr) {
    keeping_domains = true;
    start(self, OwnPart::domains);
  }
  const auto* keeper = own.find(OwnPart::domains);
  if (keeper == nullptr) {
    return to_caf(Error{ErrorCode::unavailable,
                        "domains are looked after again in a moment; try again then", ""});
  }
  return self->delegate(caf::actor_cast<domain_keeper_actor>(*keeper), std::move(message));
}

caf::behavior root(caf::stateful_actor<RootState>* self, RootConfig config) {
  end_of_exceptions(self);
  self->state.config = std::move(config);
  for (const auto& part : self->state.config.core) self->monitor(part.handle);
  self->set_down_handler([self](const caf::down_msg& down) { self->state.on_down(self, down); });
  self->set_exit_handler(
      [self](const caf::exit_msg& exit) { self->state.stop(self, exit.reason); });
  for (std::size_t i = 0; i < k_own_parts; ++i) self->state.start(self, static_cast<OwnPart>(i));
  return {
      [self](BeginNotifying& message) { self->state.begin_notifying(self, std::move(message)); },
      [self](BeginDomains& message) { self->state.begin_domains(self, std::move(message)); },
      [self](CommandDomain& message) { return self->state.ask_domains(self, std::move(message)); },
      [self](CheckDomainNow& message) { return self->state.ask_domains(self, std::move(message)); },
      [self](const CollectNow& message) {
        const auto* janitor_handle = self->state.own.find(OwnPart::janitor);
        if (janitor_handle != nullptr) self->send(*janitor_handle, message);
      },
      [self](const StartPart& message) { self->state.start(self, message.part); }};
}

}  // namespace atlasflow::actors
