#include "actors/domains/domain_keeper.hpp"

#include <algorithm>
#include <set>

#include "base/assert.hpp"
#include "base/log.hpp"
#include "base/probe.hpp"

namespace atlasflow::actors {
namespace {

constexpr auto k_report_again = std::chrono::seconds(1);
// Nobody else writes these streams, but what was refused on a full disk may be in the log after
// all, and is heard of later (log_writer.cpp).
const WritePolicy k_domain_stream{WritePolicy::WhenOutrun::tell, WritePolicy::WhenUnknown::replay,
                                  caf::infinite};

}  // namespace

DomainHosts hosts_of(const DomainLedger& ledger, const std::string& domain) {
  DomainHosts hosts;
  for (const auto& [name, state] : ledger.domains()) {
    if (state.certificate() == nullptr || state.is_servers) continue;
    hosts.targets[name] = target_of(state, domain);
    const auto* to = ledger.redirect_of(state);
    if (to != nullptr) hosts.redirects[name] = to->name;
  }
  for (const auto& [project, name] : ledger.primary_domains()) {
    const auto* primary = ledger.primary_domain(project);
    if (primary != nullptr) hosts.redirects[target_of(*primary, domain)] = primary->name;
  }
  return hosts;
}

std::vector<CertificateChoice> certificates_of(const DomainLedger& ledger) {
  std::vector<CertificateChoice> table;
  for (const auto& [name, state] : ledger.domains()) {
    const auto* certificate = state.certificate();
    if (certificate == nullptr) continue;
    table.push_back({name, certificate->fingerprint});
    if (state.is_servers) table.push_back({"*." + name, certificate->fingerprint});
  }
  return table;
}

// ---- the log ----

void DomainKeeperState::begin(domain_keeper_actor::pointer self, const BeginDomains& message) {
  if (message.ledger != nullptr) {
    ledger = std::move(*message.ledger);
    position = message.position;
    return read_on(self);
  }
  writer.settle(self, [this, self] { read_on(self); });
}

void DomainKeeperState::read_on(domain_keeper_actor::pointer self) {
  read_log(
      self, config.log_reader, ReadLog{position.next()},
      [this](const storage::Record& record) {
        fold(record);
        position = record.position;
      },
      [this, self](Position /*next*/) {
        if (position < heard) return read_on(self);
        start_work(self);
      });
}

void DomainKeeperState::start_work(domain_keeper_actor::pointer self) {
  begun = true;
  began_at = config.clock->now();
  for (const auto& [domain, state] : ledger.domains()) compare(self, domain);
  remove_orphans(self);
  settle_own(self);
  publish(self);
  run_due(self);
  for (const auto& work : std::exchange(early, {})) work();
}

// By the stream's version: what it appends itself comes back in a batch, before or after the log
// writer's answer.
void DomainKeeperState::fold(const storage::Record& record) {
  if (const auto domain = domain_of(record.stream); !domain.empty()) {
    const auto* state = ledger.find(domain);
    const auto known = state == nullptr ? StreamVersion{} : state->version;
    if (record.stream_version <= known) return;
    ATLAS_ASSERT_EQ(record.stream_version, known.next());
  } else if (!record.event.has_project_deleted() && !record.event.has_project_created() &&
             !record.event.has_settings_changed()) {
    return;
  }
  ledger.apply(record.stream, record.event, record.recorded_at);
  switch (record.event.kind_case()) {
    case pb::Event::kProjectDeleted:
      orphans_wanted = true;
      break;
    case pb::Event::kDomainTakenOver:
      // Its project may have been deleted since the name servers were asked.
      orphans_wanted = true;
      edge_is_stale = true;
      break;
    // Where visitors are sent hangs on all of these.
    case pb::Event::kProjectCreated:
    case pb::Event::kSettingsChanged:
    case pb::Event::kDomainRedirectSet:
    case pb::Event::kDomainRecovered:
    case pb::Event::kDomainDegraded:
      hosts_are_stale = true;
      break;
    case pb::Event::kDomainVerified:
      hosts_are_stale = true;
      // One that was brought before its records were set has waited for them.
      if (ledger.find(domain_of(record.stream))->certificate() != nullptr) edge_is_stale = true;
      break;
    case pb::Event::kCertificateUploaded:
      held_are_stale = true;  // An order under way is given up for it.
      [[fallthrough]];
    case pb::Event::kCertificateIssued:
      edge_is_stale = true;
      break;
    case pb::Event::kCertificateReleased:
      clean_wanted = true;
      break;
    case pb::Event::kDomainRemoved:
      own_wanted = true;
      held_are_stale = true;
      [[fallthrough]];
    case pb::Event::kCertificateLost:
      edge_is_stale = true;
      clean_wanted = true;
      break;
    case pb::Event::kCertificateFailed:
      held_are_stale = true;
      [[fallthrough]];
    case pb::Event::kCertificateInstalled:
      clean_wanted = true;
      break;
    default:
      break;
  }
}

void DomainKeeperState::on_records(domain_keeper_actor::pointer self, const RecordBatch& batch) {
  heard = batch.records->back().position;
  if (!begun) return;
  std::set<std::string> unheard;  // domains of which more is in the log than their appends' answers
  for (const auto& record : *batch.records) {
    if (record.position <= position) continue;
    const auto domain = domain_of(record.stream);
    const auto* state = ledger.find(domain);
    const bool is_news = state == nullptr || state->version < record.stream_version;
    if (!domain.empty() && is_news) unheard.insert(domain);
    fold(record);
  }
  for (const auto& domain : unheard) compare(self, domain);
  if (!unheard.empty()) {
    publish(self);
    run_due(self);
  }
  tell_hosts(self);
  remove_orphans(self);
  settle_own(self);
}

void DomainKeeperState::remove_orphans(domain_keeper_actor::pointer self) {
  if (!std::exchange(orphans_wanted, false)) return;
  for (const auto& domain : ledger.orphaned()) {
    ATLAS_PROBE(true, "a project was deleted that had a domain");
    report(self, domain, RemoveDomain{Principal::system("domains"), "its project was deleted"});
  }
}

void DomainKeeperState::settle_own(domain_keeper_actor::pointer self) {
  if (!std::exchange(own_wanted, false)) return;
  const bool wanted = config.settings.orders_own;
  for (const auto& [domain, state] : ledger.domains()) {
    if (!state.is_servers || (wanted && domain == config.domain)) continue;
    report(self, domain,
           ReleaseByServer{wanted ? "the server has the domain " + config.domain + " now"
                                  : "the server's configuration wants no certificate for it"});
  }
  if (wanted) report(self, config.domain, ClaimForServer{});
}

// What a command can only be judged by with the other domains, as they are when its turn has come.
void DomainKeeperState::add_what_others_have(const std::string& domain,
                                             DomainCommand& command) const {
  if (auto* add = std::get_if<AddDomain>(&command)) {
    const auto* above = ledger.foreign_parent(domain, add->project);
    if (above != nullptr) add->parent_claimant = above->project_name;
    add->redirect_refused = ledger.why_no_redirect(domain, add->project, add->redirect_to);
  } else if (auto* redirect = std::get_if<SetRedirect>(&command)) {
    const auto* state = ledger.find(domain);
    const auto project = state == nullptr ? ProjectId{} : state->project;
    redirect->refused = ledger.why_no_redirect(domain, project, redirect->to);
  } else if (auto* retry = std::get_if<RetryCertificate>(&command)) {
    const auto* state = ledger.find(domain);
    if (state == nullptr) return;
    const auto waits =
        ledger.held_order(*state, config.settings.rules, registered_domain(config.engine, domain),
                          config.clock->now());
    if (waits) retry->held = waits->reason;
  } else if (auto* look = std::get_if<TakeLook>(&command)) {
    const auto* state = ledger.find(domain);
    if (state == nullptr) return;
    look->may_order = look->may_order && limits_allow(*state, false);
    look->may_order_elsewhere = look->may_order_elsewhere && limits_allow(*state, true);
  }
}

void DomainKeeperState::decide_and_write(domain_keeper_actor::pointer self,
                                         const std::string& domain, DomainCommand command,
                                         const Principal& by, Basis basis, const OnDecided& then) {
  writer.in_turn([=, this, command = std::move(command), basis = std::move(basis)] {
    const auto* known = ledger.find(domain);
    DomainState state;
    if (known != nullptr) state = *known;
    state.name = domain;
    DomainCommand judged = command;
    add_what_others_have(domain, judged);
    auto events = decide(state, judged, config.settings.rules, config.clock->now());
    if (!events) return then(tl::unexpected(events.error()));
    if (events->empty()) return then(Position{});
    Append append;
    append.request.stream = domain_stream(domain);
    append.request.expected_version = state.version;
    append.request.events = std::move(*events);
    append.request.actor = by;
    append.basis = basis;
    append.patient = false;
    writer.append(self, k_domain_stream, std::move(append), [=, this](const WriteOutcome& outcome) {
      if (const auto* appended = std::get_if<storage::Appended>(&outcome)) {
        for (const auto& record : appended->records) {
          log_event("domains", storage::event_name(record.event), {{"domain", domain}});
        }
        then(appended->records.back().position);
        compare(self, domain);
        remove_orphans(self);
        settle_own(self);
        publish(self);
        return run_due(self);
      }
      if (const auto* refused = std::get_if<NotWritten>(&outcome)) {
        return then(tl::unexpected(refused->error));
      }
      if (const auto* unknown = std::get_if<FateUnknown>(&outcome)) {
        return then(tl::unexpected(unknown->error));
      }
      if (std::holds_alternative<Outrun>(outcome)) {
        ATLAS_PROBE(true, "a domain's event was in the log though its append was refused");
        return then(fail(ErrorCode::unavailable, "the domain changed just now; try again"));
      }
      then(fail(ErrorCode::conflict, "the project changed just now; try again"));
    });
  });
}

void DomainKeeperState::report(domain_keeper_actor::pointer self, const std::string& domain,
                               DomainCommand command) {
  const auto kind = command.index();
  reports.insert_or_assign({domain, kind}, std::move(command));
  if (!std::exchange(reporting, true)) self->send(self, ReportNext{});
}

void DomainKeeperState::report_next(domain_keeper_actor::pointer self) {
  if (reports.empty()) {
    reporting = false;
    return publish(self);  // and cleans, which waited
  }
  const auto next = reports.extract(reports.begin());
  const auto& domain = next.key().first;
  const auto& command = next.mapped();
  decide_and_write(self, domain, command, Principal::system("domains"), {},
                   [this, self, domain, command](const Result<Position>& recorded) {
                     if (recorded) {
                       // The clock was set back: it is not the time to tell of it, after all.
                       if (*recorded == Position{}) {
                         compare(self, domain);
                         run_due(self);
                       }
                       return self->send(self, ReportNext{});
                     }
                     log_event(LogLevel::warn, "domains", "not_recorded",
                               {{"domain", domain}, {"error", to_string(recorded.error())}});
                     const auto code = recorded.error().code;
                     if (code != ErrorCode::disk_full && code != ErrorCode::unavailable) {
                       return self->send(self, ReportNext{});
                     }
                     ATLAS_PROBE(true, "a full disk kept what happened to a domain out of the log");
                     // What was reported of it meanwhile is newer.
                     reports.try_emplace({domain, command.index()}, command);
                     self->delayed_send(self, k_report_again, ReportNext{});
                   });
}

// ---- commands ----

void DomainKeeperState::command(domain_keeper_actor::pointer self, const CommandDomain& message,
                                PromiseGuard<DomainReply> reply) {
  auto promise = std::make_shared<PromiseGuard<DomainReply>>(std::move(reply));
  if (!begun) {
    early.emplace_back([=, this] { command(self, message, std::move(*promise)); });
    return;
  }
  const bool is_upload = std::holds_alternative<TakeUploaded>(message.command);
  decide_and_write(self, message.name, message.command, message.by, message.basis,
                   [=, this](const Result<Position>& recorded) {
                     // Its key lies sealed already.
                     if (is_upload && (!recorded || *recorded == Position{})) {
                       clean_wanted = true;
                       publish(self);
                     }
                     if (!recorded) return promise->fail(recorded.error());
                     promise->deliver(DomainReply{*recorded});
                   });
}

void DomainKeeperState::check(domain_keeper_actor::pointer self, const CheckDomainNow& message,
                              PromiseGuard<DomainReply> reply) {
  if (!begun) {
    auto promise = std::make_shared<PromiseGuard<DomainReply>>(std::move(reply));
    early.emplace_back([=, this] { check(self, message, std::move(*promise)); });
    return;
  }
  const auto* state = ledger.find(message.name);
  if (state == nullptr || !state->claimed) {
    return reply.fail(
        {ErrorCode::not_found,
         "'" + message.name + "' is no domain of any project; atlasflow domains add claims it",
         ""});
  }
  auto& watch = watches[message.name];
  const bool just_now = config.clock->now() - watch.looked_at < k_looks_apart_us;
  if (watch.look == 0 && just_now && state->was_checked) return reply.deliver(DomainReply{});
  watch.askers.push_back(std::move(reply));
  watch.asked_by = message.by;
  if (watch.look == 0) look(self, message.name, false);
}

domain_keeper_actor::behavior_type domain_keeper(
    domain_keeper_actor::stateful_pointer<DomainKeeperState> self, DomainKeeperConfig config) {
  end_of_exceptions(self);
  auto& state = self->state;
  state.config = std::move(config);
  state.writer = StreamWriter(state.config.log_writer,
                              [self](const storage::Record& record) { self->state.fold(record); });
  self->set_down_handler([self](const caf::down_msg& down) {
    auto& jobs = self->state.jobs;
    const auto job = std::find_if(jobs.begin(), jobs.end(), [&](const auto& item) {
      return item.second.worker.address() == down.source;
    });
    if (job == jobs.end() || down.reason == caf::exit_reason::normal) return;
    self->state.lose(self, job->first, to_string(from_caf(down.reason)));
  });
  return {[self](const BeginDomains& message) { self->state.begin(self, message); },
          [self](const RecordBatch& batch) { self->state.on_records(self, batch); },
          [self](const CommandDomain& message) {
            auto promise = self->make_response_promise<DomainReply>();
            self->state.command(self, message, PromiseGuard<DomainReply>(promise));
            return promise;
          },
          [self](const CheckDomainNow& message) {
            auto promise = self->make_response_promise<DomainReply>();
            self->state.check(self, message, PromiseGuard<DomainReply>(promise));
            return promise;
          },
          [self](const DomainWorkDone& message) { self->state.done(self, message); },
          [self](const DomainWorkOverdue& message) {
            self->state.lose(self, message.ticket, "it did not come back in time");
          },
          [self](const ReportNext&) { self->state.report_next(self); },
          [self](const DomainsDue& message) {
            auto& keeper = self->state;
            if (message.number != keeper.armed) return;
            keeper.armed_for = 0;
            for (const auto& [domain, domain_state] : keeper.ledger.domains()) {
              if (domain_state.order) keeper.compare(self, domain);
            }
            keeper.publish(self);
            keeper.run_due(self);
          }};
}

}  // namespace atlasflow::actors
