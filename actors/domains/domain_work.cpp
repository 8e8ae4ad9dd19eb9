// The keeper's calls of the engine: each by a worker of its own, and what comes of it.
#include <algorithm>

#include "actors/domains/domain_keeper.hpp"
#include "base/backoff.hpp"
#include "base/log.hpp"
#include "base/probe.hpp"

namespace atlasflow::actors {
namespace {

constexpr auto k_publish_limit = std::chrono::seconds(60);

domain_worker_actor::behavior_type domain_worker(domain_worker_actor::pointer self,
                                                 const domain_keeper_actor& keeper,
                                                 DomainEngine* engine) {
  end_of_exceptions(self);
  return {[self, keeper, engine](const DoDomainWork& message) {
    struct Call {
      DomainEngine& engine;
      const std::stop_token& stop;
      decltype(DomainWorkDone::result) operator()(const LookUpWork& work) const {
        auto observed = engine.look_up(work.domain, ownership_name(work.domain), stop);
        if (!observed) return Result<LookedUp>(tl::unexpected(std::move(observed.error())));
        LookedUp looked{std::move(*observed), {}};
        for (const auto& directory : work.directories) {
          looked.caa_identities.push_back(engine.caa_identities(directory));
        }
        return Result<LookedUp>(std::move(looked));
      }
      decltype(DomainWorkDone::result) operator()(const OrderWork& work) const {
        return engine.order(work.job, stop);
      }
      decltype(DomainWorkDone::result) operator()(const AdviceWork& work) const {
        return engine.renewal_news(work.fingerprint, work.directory, stop);
      }
      decltype(DomainWorkDone::result) operator()(const PublishWork& work) const {
        return engine.publish(work.table);
      }
      decltype(DomainWorkDone::result) operator()(const CleanWork& work) const {
        return engine.keep_only(work.fingerprints, work.unfinished);
      }
    };
    self->send(keeper, DomainWorkDone{message.ticket,
                                      std::visit(Call{*engine, message.stop}, message.work)});
    self->quit();
  }};
}

}  // namespace

DomainKeeperState::Ticket DomainKeeperState::begin_job(domain_keeper_actor::pointer self,
                                                       DomainWork work,
                                                       std::chrono::microseconds limit) {
  const auto ticket = next_ticket++;
  auto& job = jobs[ticket];
  job.worker =
      spawn_blocking(self, config.spawn, domain_worker, domain_keeper_actor{self}, config.engine);
  job.work = work;
  self->monitor(*job.worker);
  self->send(*job.worker, DoDomainWork{ticket, std::move(work), job.stop.get_token()});
  self->delayed_send(self, limit, DomainWorkOverdue{ticket});
  return ticket;
}

void DomainKeeperState::done(domain_keeper_actor::pointer self, const DomainWorkDone& message) {
  const auto found = jobs.find(message.ticket);
  ATLAS_PROBE(found == jobs.end(), "a call for a domain came back after it was given up");
  if (found == jobs.end()) return;
  const auto work = found->second.work;
  if (const auto* order = std::get_if<OrderWork>(&work)) {
    // It stays among the jobs until its outcome is recorded.
    return ordered(self, order->job, std::get<IssueResult>(message.result));
  }
  jobs.erase(found);
  if (const auto* look_up = std::get_if<LookUpWork>(&work)) {
    return looked(self, look_up->domain, std::get<Result<LookedUp>>(message.result));
  }
  if (const auto* advice = std::get_if<AdviceWork>(&work)) {
    return advised(self, *advice, std::get<RenewalNews>(message.result));
  }
  if (std::holds_alternative<PublishWork>(work)) {
    publishing = 0;
    return published(self, std::get<Result<PublishedCertificates>>(message.result));
  }
  cleaning = 0;
  if (const auto& cleaned = std::get<Result<void>>(message.result); !cleaned) {
    clean_wanted = true;
    log_event(LogLevel::warn, "domains", "store_not_cleaned",
              {{"error", to_string(cleaned.error())}});
  }
  for (const auto& [domain, state] : ledger.domains()) {
    if (state.order) compare(self, domain);
  }
}

void DomainKeeperState::looked(domain_keeper_actor::pointer self, const std::string& domain,
                               const Result<LookedUp>& found) {
  auto& watch = watches[domain];
  watch.look = 0;
  const auto* state = ledger.find(domain);
  TakeLook look;
  if (found) {
    look.observed = found->observed;
  } else {
    auto* answers = look.observed.add_answers();
    answers->set_server("this server");
    answers->set_error(to_string(found.error()));
  }
  auto expected = expectation_of(*state, config.domain, config.settings.addresses);
  if (found) expected.caa_identities = found->caa_identities[0];
  if (!ledger.may_take_over(*state, config.clock->now())) expected.take_over_proof.clear();
  look.judgement = judge(expected, look.observed);
  if (found) {
    expected.caa_identities = found->caa_identities[1];
    look.fallback_caa_reason = judge(expected, look.observed).caa_reason;
  }
  look.asked = !watch.askers.empty();
  const bool room = std::exchange(watch.ordering_look, false) || has_order_room();
  // What the limits say is asked when its turn has come.
  look.may_order = room;
  look.may_order_elsewhere = room;
  auto askers =
      std::make_shared<std::vector<PromiseGuard<DomainReply>>>(std::exchange(watch.askers, {}));
  const auto by = look.asked ? watch.asked_by : Principal::system("domains");
  decide_and_write(self, domain, std::move(look), by, {},
                   [this, self, domain, askers](const Result<Position>& recorded) {
                     for (auto& asker : *askers) {
                       if (recorded) {
                         asker.deliver(DomainReply{*recorded});
                       } else {
                         asker.fail(recorded.error());
                       }
                     }
                     if (recorded && *recorded != Position{}) return;  // It is compared anyway.
                     compare(self, domain);
                     run_due(self);
                   });
}

void DomainKeeperState::ordered(domain_keeper_actor::pointer self, const CertificateJob& job,
                                const IssueResult& result) {
  const auto& domain = job.names.front();
  if (result) return report(self, domain, TakeIssued{job.effect, *result});
  log_event(LogLevel::warn, "domains", "certificate_failed",
            {{"domain", domain}, {"reason", result.error().reason()}});
  report(self, domain, TakeFailed{job.effect, result.error()});
}

void DomainKeeperState::advised(domain_keeper_actor::pointer self, const AdviceWork& work,
                                const RenewalNews& news) {
  auto& watch = watches[work.domain];
  watch.advice = 0;
  watch.advice_again_in = news.ask_again_in.count();
  if (!news.trouble.empty()) {
    log_event(LogLevel::warn, "domains", "renewal_not_advised",
              {{"domain", work.domain}, {"reason", news.trouble}});
  }
  if (news.advised) report(self, work.domain, TakeAdvice{*news.advised});
  compare(self, work.domain);
  run_due(self);
}

void DomainKeeperState::published(domain_keeper_actor::pointer self,
                                  const Result<PublishedCertificates>& result) {
  if (!result) {
    ATLAS_PROBE(true, "the edge did not take the certificates, and gets them again");
    edge_is_stale = true;
    const auto pause = doubled_pause(failed_publishes++, std::chrono::seconds(60));
    publish_again_at = config.clock->now() + std::chrono::microseconds(pause).count();
    log_event(LogLevel::warn, "domains", "certificates_not_published",
              {{"again_in_s", pause.count()}, {"error", to_string(result.error())}});
    return wake_at(self, publish_again_at);
  }
  failed_publishes = 0;
  publish_again_at = 0;
  for (const auto& [choice, reason] : result->lost) {
    log_event(LogLevel::error, "domains", "certificate_lost",
              {{"domain", choice.domain}, {"reason", reason}});
    report(self, domain_of_host(choice.domain), TakeLost{choice.fingerprint, reason});
  }
  for (const auto& choice : result->shown) {
    // Most were shown long ago.
    const auto domain = domain_of_host(choice.domain);
    const auto* state = ledger.find(domain);
    if (!state->issued || state->issued->fingerprint != choice.fingerprint) continue;
    report(self, domain, TakeInstalled{choice.fingerprint});
  }
  publish(self);  // what changed meanwhile
}

void DomainKeeperState::lose(domain_keeper_actor::pointer self, Ticket ticket,
                             const std::string& why) {
  auto lost = jobs.extract(ticket);
  if (!lost) return;
  ATLAS_PROBE(true, "who made a call for a domain was lost");
  log_event(LogLevel::warn, "domains", "worker_lost", {{"reason", why}});
  const auto& work = lost.mapped().work;
  if (const auto* look_up = std::get_if<LookUpWork>(&work)) {
    return looked(self, look_up->domain, fail(ErrorCode::unavailable, "the look-up was lost", why));
  }
  if (const auto* advice = std::get_if<AdviceWork>(&work)) {
    return advised(self, *advice,
                   {{}, std::chrono::microseconds(k_advice_apart_us), "the question was lost"});
  }
  if (std::holds_alternative<PublishWork>(work)) {
    publishing = 0;
    return published(self, fail(ErrorCode::unavailable, "the call was lost", why));
  }
  if (const auto* order = std::get_if<OrderWork>(&work)) {
    const auto domain = order->job.names.front();
    auto& watch = watches[domain];
    watch.order = 0;
    const auto pause =
        doubled_pause(static_cast<std::size_t>(watch.lost_orders++), std::chrono::seconds(60));
    watch.order_again_at = config.clock->now() + std::chrono::microseconds(pause).count();
    return compare(self, domain);
  }
  cleaning = 0;
  clean_wanted = true;
  for (const auto& [domain, state] : ledger.domains()) {
    if (state.order) compare(self, domain);
  }
}

void DomainKeeperState::publish(domain_keeper_actor::pointer self) {
  if (!begun) return;
  tell_hosts(self);
  if (publishing != 0) return;
  if (!edge_is_stale) return clean(self);
  const auto now = config.clock->now();
  if (now < publish_again_at) return wake_at(self, publish_again_at);
  edge_is_stale = false;
  // Where a host leads comes first: a handshake that is answered is to have an answer behind it.
  told_hosts = hosts_of(ledger, config.domain);
  self->send(config.edge, told_hosts);
  publishing = begin_job(self, PublishWork{certificates_of(ledger)}, k_publish_limit);
}

void DomainKeeperState::tell_hosts(domain_keeper_actor::pointer self) {
  // A table that is about to be published is told with it.
  if (edge_is_stale && publishing == 0) return;
  if (!std::exchange(hosts_are_stale, false)) return;
  auto hosts = hosts_of(ledger, config.domain);
  if (hosts == told_hosts) return;
  told_hosts = std::move(hosts);
  self->send(config.edge, told_hosts);
}

// Keys that nothing names go, once nothing is between the store and the log.
void DomainKeeperState::clean(domain_keeper_actor::pointer self) {
  if (!clean_wanted || cleaning != 0 || reporting || !writer.at_rest()) return;
  clean_wanted = false;
  CleanWork work;
  for (const auto& [domain, state] : ledger.domains()) {
    for (const auto* facts : {&state.issued, &state.installed}) {
      if (*facts) work.fingerprints.insert((*facts)->fingerprint);
    }
    if (state.order) work.unfinished.insert(state.order->effect);
  }
  cleaning = begin_job(self, std::move(work), k_publish_limit);
}

}  // namespace atlasflow::actors
