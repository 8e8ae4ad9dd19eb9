// The keeper of users' own domains, and of the certificate for the server's own, the only writer of
// their streams: takes commands for them, asks
// their name servers when that is due, has certificates ordered, renewed and shown by the edge, and
// tells the edge's supervisor which hostnames lead where. What is owed is a fold of the log
// (events/domain_ledger.hpp): a restart goes on where it stands, with an order that was begun under
// the same name. Each call of the engine is a worker of its own, which blocks.
#pragma once

#include <array>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "actors/domains/domain_settings.hpp"
#include "actors/routes/edge_actor.hpp"
#include "actors/runtime/stream_writer.hpp"

namespace atlasflow::actors {

using domain_worker_actor = caf::typed_actor<
    // One call; blocks. Answers the keeper with DomainWorkDone and ends.
    caf::reacts_to<DoDomainWork>>;

using domain_keeper_actor = caf::typed_actor<
    // Begins with what is claimed, or reads it from the log; until then commands wait.
    caf::reacts_to<BeginDomains>,
    // What has been recorded: a project that is deleted leaves its domains.
    caf::reacts_to<RecordBatch>,
    // A person's command.
    caf::replies_to<CommandDomain>::with<DomainReply>,
    caf::replies_to<CheckDomainNow>::with<DomainReply>,
    // From a worker.
    caf::reacts_to<DomainWorkDone>,
    // To itself.
    caf::reacts_to<DomainWorkOverdue>, caf::reacts_to<DomainsDue>, caf::reacts_to<ReportNext>>;

struct DomainKeeperConfig {
  DomainEngine* engine = nullptr;  // null: the keeper is not started
  Clock* clock = nullptr;
  log_reader_actor log_reader;
  log_actor log_writer;
  edge_actor edge;
  std::string domain;  // the server's own
  DomainSettings settings;
  SpawnMode spawn;
};

// Each domain with a certificate, and the hostname of its project's production; and which hostnames
// send their visitors on.
[[nodiscard]] DomainHosts hosts_of(const DomainLedger& ledger, const std::string& domain);
// What the edge is to show.
[[nodiscard]] std::vector<CertificateChoice> certificates_of(const DomainLedger& ledger);

struct DomainKeeperState {
  using Ticket = std::uint64_t;
  using Agenda = std::set<std::pair<TimestampUs, std::string>>;
  // What a claimed domain is about, beside what the log knows of it.
  struct Watch {
    TimestampUs looked_at = 0;
    Ticket look = 0;  // under way; 0: none
    Ticket order = 0;
    bool ordering_look = false;                     // the look is to lead to an order
    int lost_orders = 0;                            // workers that were lost with this order
    TimestampUs order_again_at = 0;                 // after that
    std::vector<PromiseGuard<DomainReply>> askers;  // for the look under way
    Principal asked_by;
    std::optional<TimestampUs> look_due;  // as it stands in the agenda
    std::optional<TimestampUs> order_due;
    std::size_t order_at = 0;  // which of the agendas of orders
    std::optional<TimestampUs> warning_due;
    std::optional<TimestampUs> advice_due;
    Ticket advice = 0;  // the CA is being asked for it
    // The last time, for which certificate, and how long it is to be left alone since.
    TimestampUs advice_asked_at = 0;
    std::string advice_asked_for;
    TimestampUs advice_again_in = 0;
  };
  struct Job {
    Child<domain_worker_actor> worker;
    StopScope stop;
    DomainWork work;
  };
  DomainKeeperConfig config;
  DomainLedger ledger;
  StreamWriter writer;
  bool begun = false;
  std::vector<std::function<void()>> early;  // commands that came before
  Position position;                         // up to which the log was read
  Position heard;                            // the newest record that came before it had begun
  // What the world reported, by domain and kind, where the newest counts: as many as there are
  // domains. One of them is with the writer at a time, so that commands pass them.
  std::map<std::pair<std::string, std::size_t>, DomainCommand> reports;
  bool reporting = false;      // a ReportNext is under way, or the append that it led to
  bool orphans_wanted = true;  // a claim may be of a project that was deleted
  std::map<std::string, Watch> watches;
  std::map<Ticket, Job> jobs;
  Ticket next_ticket = 1;
  Agenda looks;
  std::array<Agenda, 2> orders;  // at the first authority, and at the second
  // Domains whose orders wait for the limit on new certificates of their registered domain, and
  // whether one of those that it counted has become none.
  std::set<std::string> held;
  bool held_are_stale = false;
  Agenda warnings;
  Agenda advices;
  TimestampUs began_at = 0;
  bool own_wanted = true;        // the server's own domain may have to be claimed, or given up
  bool edge_is_stale = true;     // what it shows may not be what the log says
  bool hosts_are_stale = false;  // nor where it leads, whatever it shows
  DomainHosts told_hosts;
  Ticket publishing = 0;
  Ticket cleaning = 0;
  bool clean_wanted = true;
  std::size_t failed_publishes = 0;
  TimestampUs publish_again_at = 0;
  std::uint64_t armed = 0;    // the number of the DomainsDue that counts
  TimestampUs armed_for = 0;  // 0: none is under way
  const char* name = "domains";

  void begin(domain_keeper_actor::pointer self, const BeginDomains& message);
  void read_on(domain_keeper_actor::pointer self);
  void start_work(domain_keeper_actor::pointer self);
  void fold(const storage::Record& record);
  void on_records(domain_keeper_actor::pointer self, const RecordBatch& batch);
  void command(domain_keeper_actor::pointer self, const CommandDomain& message,
               PromiseGuard<DomainReply> reply);
  void check(domain_keeper_actor::pointer self, const CheckDomainNow& message,
             PromiseGuard<DomainReply> reply);

  void add_what_others_have(const std::string& domain, DomainCommand& command) const;
  // Decides and appends, in its turn; `then` hears where it was recorded, 0 for nowhere.
  using OnDecided = std::function<void(const Result<Position>&)>;
  void decide_and_write(domain_keeper_actor::pointer self, const std::string& domain,
                        DomainCommand command, const Principal& by, Basis basis,
                        const OnDecided& then);
  // What the world reports is recorded in time; on a full disk it is tried again. Nobody's turn
  // waits for that.
  void report(domain_keeper_actor::pointer self, const std::string& domain, DomainCommand command);
  void report_next(domain_keeper_actor::pointer self);
  // The server's own domain is claimed, or given up, as its configuration wants it.
  void settle_own(domain_keeper_actor::pointer self);
  // Projects that were deleted leave their domains.
  void remove_orphans(domain_keeper_actor::pointer self);

  // Compares what is under way with what the log says, after each change of the domain.
  void compare(domain_keeper_actor::pointer self, const std::string& domain);
  void plan(const std::string& domain, const DomainState& state, Watch& watch);
  void run_order(domain_keeper_actor::pointer self, const DomainState& state, Watch& watch);
  // Begins what is due as far as there is room for it, and waits for the rest.
  void run_due(domain_keeper_actor::pointer self);
  // Puts the order off that would be one too many for its registered domain; false: it is none.
  bool hold(const std::string& domain);
  void release_held();
  // What all domains share leaves room for an order of this one now.
  [[nodiscard]] bool limits_allow(const DomainState& state, bool at_second) const;
  void ask_for_advice(domain_keeper_actor::pointer self);
  void look(domain_keeper_actor::pointer self, const std::string& domain, bool to_order);
  void publish(domain_keeper_actor::pointer self);
  void tell_hosts(domain_keeper_actor::pointer self);
  void clean(domain_keeper_actor::pointer self);
  void wake_at(domain_keeper_actor::pointer self, TimestampUs due);

  Ticket begin_job(domain_keeper_actor::pointer self, DomainWork work,
                   std::chrono::microseconds limit);
  void done(domain_keeper_actor::pointer self, const DomainWorkDone& message);
  void looked(domain_keeper_actor::pointer self, const std::string& domain,
              const Result<LookedUp>& found);
  void ordered(domain_keeper_actor::pointer self, const CertificateJob& job,
               const IssueResult& result);
  void advised(domain_keeper_actor::pointer self, const AdviceWork& work, const RenewalNews& news);
  void published(domain_keeper_actor::pointer self, const Result<PublishedCertificates>& result);
  // Its worker died or hangs.
  void lose(domain_keeper_actor::pointer self, Ticket ticket, const std::string& why);
  [[nodiscard]] bool has_order_room() const;
};

[[nodiscard]] domain_keeper_actor::behavior_type domain_keeper(
    domain_keeper_actor::stateful_pointer<DomainKeeperState> self, DomainKeeperConfig config);

}  // namespace atlasflow::actors
