#include "sim/run/universe.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "events/settings.hpp"
#include "sim/world/outside.hpp"

namespace atlasflow::sim {
namespace {

constexpr TimestampUs k_ms = 1'000;
constexpr TimestampUs k_s = 1'000'000;
// How long it may take to come to rest after everything has healed: an app that crashes again and
// again takes some ten minutes until it is given up.
constexpr TimestampUs k_rest_limit = 3600 * k_s;
constexpr TimestampUs k_look_period = 5 * k_s;
constexpr TimestampUs k_heads_period = 60 * k_s;
constexpr std::size_t k_events_told = 30;

// Null when the log is to lie on a disk.
std::shared_ptr<storage::MemoryStore> make_store(const Scenario& scenario,
                                                 const RunOptions& options) {
  if (options.history) {
    const auto& history = *options.history;
    return storage::fork_memory_store(*history.store, history.position);
  }
  return scenario.log == LogKind::rocksdb ? nullptr : storage::make_memory_store();
}

std::vector<Hosted> hosted_by(const Scenario& scenario, const RunOptions& options) {
  auto projects = options.history ? projects_of(*options.history) : std::vector<Hosted>{};
  return projects.empty() ? made_up_projects(scenario.projects) : projects;
}

std::string domain_of(const RunOptions& options) {
  return options.history && !options.history->domain.empty() ? options.history->domain
                                                             : k_made_up_domain;
}

// What the simulated builder has tagged it with: the commit.
std::string tag_of(const ImageRef& image) { return image.str().substr(image.str().rfind(':') + 1); }

bool was_injected(const std::string& why) { return why.find("injected") != std::string::npos; }

Choices make_choices(const Scenario& scenario) {
  return scenario.choices ? Choices(*scenario.choices) : Choices(scenario.seed);
}

}  // namespace

Universe::Universe(const Scenario& scenario, Fibers& fibers, const RunOptions& options)
    : scenario_(scenario),
      fibers_(fibers),
      options_(options),
      choices_(make_choices(scenario)),
      era_(options.history ? options.history->position.value() : 0),
      github_(hosted_by(scenario, options), scenario.senders, era_),
      invariants_(world_, github_, domain_of(options)),
      store_(make_store(scenario, options)),
      disk_(store_ ? make_memory_disk(store_) : make_rocksdb_disk()),
      snapshots_(scenario.seed, domain_of(options)) {
  weather_.rates = scenario.rates;
  invariants_.look_into([this] { return life_ ? &life_->log() : nullptr; });
  set_up_world();
}

Universe::~Universe() {
  life_.reset();
  deposed_.reset();
  install_buggify(nullptr);
}

std::string Universe::own_domain() const { return domain_of(options_); }

void Universe::tell(const std::string& what) {
  const auto since = world_.agenda.now() - world_.agenda.begun_at();
  story_.push_back(fmt::format("{:>10.3f} s  {}", static_cast<double>(since) / 1e6, what));
}

// ---- the world ----

void Universe::set_up_world() {
  world_.hosts.clear();
  if (options_.history) make_world(world_, *options_.history);
  for (const auto& [name, host] : world_.hosts) host_names_.push_back(name);
  if (host_names_.empty()) {
    for (int i = 0; i < scenario_.hosts; ++i) host_names_.emplace_back("host-" + std::to_string(i));
  }
  for (const auto& name : host_names_) world_.hosts[name].memory_mib = scenario_.host_memory_mib;
  world_.clone_error = [this](const actors::SourceJob& job) -> std::optional<Error> {
    if (github_.app_of(job.sha) != AppKind::no_clone) return std::nullopt;
    return Error{ErrorCode::not_found, "there is no commit " + job.sha, ""};
  };
  world_.build_error = [this](const actors::SourceJob& job) -> std::optional<Error> {
    if (github_.app_of(job.sha) != AppKind::no_build) return std::nullopt;
    return Error{ErrorCode::user_error, "RUN make failed", ""};
  };
  world_.on_start = [this](const actors::VmJob& job) { on_vm_started(job); };
  world_.run_command = [this](const actors::VmJob& job) {
    const auto app = github_.app_of(tag_of(job.image));
    return app == AppKind::bad_release ? 1 : 0;
  };
  world_.probe = [this](const VmId& vm_id) {
    const auto vm = world_.vms.find(vm_id);
    if (vm == world_.vms.end() || !vm->second.running) {
      return actors::ProbeObservation{0, "connection refused"};
    }
    const auto app = github_.app_of(tag_of(vm->second.image));
    const auto sick = weather_.sick_until.find(vm->second.project);
    const bool unhealthy = app == AppKind::sick || (sick != weather_.sick_until.end() &&
                                                    sick->second > world_.agenda.now());
    return actors::ProbeObservation{unhealthy ? 500 : 200, ""};
  };
}

void Universe::on_vm_started(const actors::VmJob& job) {
  const auto app = github_.app_of(tag_of(job.image));
  if (app != AppKind::crashing || !job.command.empty()) return;
  const auto starts = world_.vms.at(job.vm_id).starts;
  world_.agenda.after(5 * k_s, [this, id = job.vm_id, starts] {
    const auto vm = world_.vms.find(id);
    if (vm == world_.vms.end() || vm->second.starts != starts) return;
    vm->second.running = false;
    vm->second.exit_code = 1;
    invariants_.disturb(vm->second.project);
  });
}

void Universe::deliver(const Delivery& delivery) {
  const auto& rates = weather_.rates;
  const auto chance = [&](int rate) {
    return choices_.chance(static_cast<std::uint64_t>(rate), 1000);
  };
  if (chance(rates.webhook_lost)) return tell("the delivery " + delivery.id + " is lost");
  const auto lateness = [&]() -> TimestampUs {
    if (!chance(rates.webhook_late)) return 20 * k_ms;
    const auto seconds = 1 + static_cast<TimestampUs>(choices_.below(30));
    // Some come when the comparison of heads has given them up.
    constexpr TimestampUs k_soon_max = 27;
    return k_s * (seconds > k_soon_max ? 10 * seconds : seconds);
  };
  world_.agenda.after(lateness(), [this, delivery] { arrive(delivery); });
  if (chance(rates.webhook_twice)) {
    world_.agenda.after(lateness(), [this, delivery] { arrive(delivery); });
  }
}

void Universe::arrive(const Delivery& delivery) {
  if (!server_listens()) return tell("nobody answers the delivery " + delivery.id);
  auto push = github_.received(delivery);
  if (!push) {
    return invariants_.violated("every-delivery-is-understood", to_string(push.error()));
  }
  if (!push->pull_request || push->pull_request->is_open) {
    return life_->send_push(*std::move(push));
  }
  // GitHub repeats no closing that was answered.
  const auto head = push->pull_request->head;
  life_->send_push(*std::move(push), [this, head](const Result<actors::PushReply>& reply) {
    if (!reply) return;
    for (const auto& receipt : reply->receipts) invariants_.on_closing(receipt.project, head);
  });
}

void Universe::look_at_heads() {
  world_.agenda.after(k_heads_period, [this] { look_at_heads(); });
  const auto now = world_.agenda.now();
  if (!server_listens() || weather_.back_at("git") > now) return;
  for (int project = 0; project < github_.projects(); ++project) {
    const auto view = life_->catalog().project_named(github_.project_name(project));
    const auto head = github_.head(project, github_.main_branch(project));
    if (!view || !head) continue;
    const SeenHead seen{"refs/heads/" + github_.main_branch(project), *head, now / k_s};
    const auto missed =
        seen_heads_.look(view->state.id, life_->catalog().known_head(view->state.id), seen);
    if (!missed) continue;
    tell(fmt::format("nobody told that {} was pushed to {}", *head, view->state.name));
    life_->send_push(inferred_push(view->state, seen, *missed));
  }
}

// ---- the server ----

std::unique_ptr<Life> Universe::make_life(std::unique_ptr<storage::EventLog> log) {
  LifeConfig config;
  config.log = std::move(log);
  config.world = &world_;
  config.choices = &choices_;
  config.fibers = &fibers_;
  config.builders = scenario_.builders;
  config.domain = domain_of(options_);
  config.rollbacks = static_cast<std::size_t>(scenario_.rollbacks);
  config.authorities = scenario_.authorities;
  config.engines = [this](Waits& waits) {
    return std::make_unique<Outside>(Outside::Parts{world_, weather_, github_, choices_, waits,
                                                    invariants_, [this] { at_a_moment(); },
                                                    [this] { at_a_moment(); }});
  };
  config.on_append = [this](const std::vector<storage::AppendOutcome>& outcomes,
                            const storage::EventLog& its_log) {
    invariants_.on_acknowledged(outcomes, its_log);
    at_a_moment();
  };
  if (options_.noise) {
    config.idle_actors = 1 + static_cast<int>(lives_ % 5);
    for (std::size_t i = lives_; i < lives_ + 50; ++i)
      noise_.push_back(std::make_unique<char[]>(17 + 37 * i));
  }
  if (has_snapshots(*config.log)) {
    config.snapshots = &snapshots_.begin_process();
    if (const auto differs = snapshots_.take_over(*config.log); !differs.empty()) {
      invariants_.violated("every-build-folds-the-same", differs);
    }
  }
  auto life = std::make_unique<Life>(std::move(config));
  if (!life->snapshot_difference.empty()) {
    invariants_.violated("snapshot-is-the-fold", life->snapshot_difference +
                                                     " is otherwise in what a server begins with "
                                                     "than in its log");
  }
  return life;
}

// A server takes them always. Here a short log is folded whole in most runs, which is faster.
bool Universe::has_snapshots(const storage::EventLog& log) const {
  constexpr std::uint64_t k_runs = 3;
  constexpr std::uint64_t k_long_log = 2'000;
  return options_.snapshots &&
         (scenario_.seed % k_runs == 0 || log.last_position().value() > k_long_log);
}

bool Universe::server_listens() const { return life_ && life_->started() && !crash_now_; }

void Universe::start_server() {
  restart_is_due_ = false;
  if (life_) return;
  auto log = disk_->open(world_.agenda.now());
  if (!log) {
    const bool full = disk_was_full_ && log.error().code == ErrorCode::disk_full;
    if (!disk_fails_ && !full) {
      return invariants_.violated("the-log-opens", to_string(log.error()));
    }
    tell("the server does not start: " + to_string(log.error()));
    world_.agenda.after(5 * k_s, [this] { start_server(); });
    return;
  }
  if (lives_ == 0 && options_.history) {
    invariants_.adopt(**log);
  } else {
    invariants_.on_restart(**log);
  }
  errors_seen_ = 0;
  seen_heads_ = SeenHeads{};
  ++lives_;
  tell(fmt::format("the server starts, life {}", lives_));
  life_ = make_life(std::move(*log));
  invariants_.on_epoch(life_->epoch());
}

void Universe::kill_server(bool power_cut, TimestampUs down_for) {
  if (!life_ || crash_now_) return;
  life_->kill();
  disk_->kill_process();
  crash_now_ = true;
  power_cut_ = power_cut;
  down_for_ = down_for;
}

void Universe::end_server() {
  life_.reset();
  if (power_cut_) disk_->lose_power(choices_);
  cut_is_near_ = false;
  crash_now_ = false;
  restart_is_due_ = true;
  world_.agenda.after(down_for_, [this] { start_server(); });
}

void Universe::at_a_moment() {
  if (!life_) return;
  const auto moment = moments_++;
  if (moment != options_.crash_at && moment != options_.crash_again_at) return;
  tell(fmt::format("killed at moment {}", moment));
  kill_server(false, k_s);
}

// The power goes off in the middle of one of the next appends, or soon.
void Universe::cut_power(TimestampUs down_for) {
  if (!life_ || crash_now_ || cut_is_near_) return;
  constexpr std::uint64_t k_changes_max = 12;
  const auto changes = choices_.below(k_changes_max);
  if (changes == 0 || !disk_->cut_power_after(changes - 1)) return kill_server(true, down_for);
  cut_is_near_ = true;
  down_for_ = down_for;
  world_.agenda.after(5 * k_s, [this, down_for, life = lives_] {
    if (cut_is_near_ && lives_ == life) kill_server(true, down_for);
  });
}

// What ended it, if something did.
void Universe::look_at_server() {
  if (!life_) return;
  for (; errors_seen_ < life_->errors.size(); ++errors_seen_) {
    if (life_->errors[errors_seen_].code != ErrorCode::timed_out) continue;
    invariants_.violated("everybody-is-answered",
                         "somebody waited in vain: " + to_string(life_->errors[errors_seen_]));
  }
  for (const auto& fault : life_->faults.list()) {
    if (was_injected(fault.reason)) continue;
    invariants_.violated("no-part-dies", "the " + fault.part + " died by itself: " + fault.reason);
  }
  if (disk_->is_dead()) kill_server(true, down_for_);
  if (crash_now_) return end_server();
  if (!life_->part_deaths.empty()) return begin_anew();
  if (life_->fatal.empty() && !life_->stopped()) return;
  kill_server(false, k_s);
  if (life_->stopped()) return end_server();
  const auto why = to_string(life_->fatal.front());
  tell("the server ends itself: " + why);
  // Whoever waits for the log writer may hear of its death before the root does.
  const auto& deaths = life_->injected_deaths;
  const bool by_itself = std::find(deaths.begin(), deaths.end(), "log_writer") == deaths.end();
  // A full disk keeps a server from starting, and never ends one that runs.
  const bool full = life_->fatal.front().code == ErrorCode::disk_full && !life_->started();
  if (!disk_fails_ && !full && by_itself && !was_injected(why)) {
    invariants_.violated("the-server-stays-up", "the server ended itself: " + why);
  }
  end_server();
}

// As server/restart.hpp does: the process forgets all that is not in the log.
void Universe::begin_anew() {
  const auto why = to_string(life_->part_deaths.front());
  kill_server(false, k_s);
  tell("the server starts itself anew: " + why);
  if (!was_injected(why)) invariants_.violated("no-part-dies", "a part died by itself: " + why);
  end_server();
}

void Universe::create_projects() {
  if (healing_) return;
  bool missing = false;
  for (int i = 0; i < github_.projects(); ++i) {
    const auto& name = github_.project_name(i);
    if (created_.contains(name)) continue;
    if (life_ && life_->catalog().project_named(name)) {
      created_.insert(name);
      continue;
    }
    missing = true;
    if (!server_listens()) continue;
    auto settings = default_settings();
    settings.set_previews(true);
    settings.set_pull_requests(true);
    settings.set_pull_requests_from_forks(true);
    settings.set_memory_mib(256);
    settings.set_health_deadline_us(30 * k_s);
    settings.set_drain_deadline_us(5 * k_s);
    if (i % 2 == 0) {
      settings.set_supersede_after_us(10 * k_s);
      settings.set_preview_ttl_us(600 * k_s);
      settings.set_preview_limit(2);
    }
    if (i % 2 == 1) settings.set_release_command("bin/migrate");
    if (i % 3 == 0) settings.set_notify_url("https://hooks.example.test/" + name);
    life_->begin_project(
        {name, github_.clone_url(i), github_.main_branch(i), "webhook/" + name, settings});
  }
  if (missing) world_.agenda.after(k_s, [this] { create_projects(); });
}

void Universe::step_deposed() {
  if (!deposed_) return;
  for (int i = 0; i < 50 && deposed_->fatal.empty() && !deposed_->idle(); ++i) {
    deposed_->step();
    if (invariants_.violation()) return;
  }
  if (!deposed_->fatal.empty()) tell("the server that was taken over finds out and ends");
  if (!deposed_->fatal.empty() || deposed_->idle()) deposed_.reset();
}

// ---- the run ----

bool Universe::fires(std::string_view site) {
  if (healing_) return false;
  if (known_sites_.emplace(site).second && choices_.chance(1, 4)) active_sites_.emplace(site);
  return active_sites_.contains(std::string(site)) && choices_.chance(1, 4);
}

void Universe::begin() {
  if (scenario_.rates.buggify) install_buggify(this);
  start_server();
  world_.agenda.after(100 * k_ms, [this] { create_projects(); });
  world_.agenda.after(k_heads_period, [this] { look_at_heads(); });
  for (const auto& step : scenario_.steps) {
    world_.agenda.after(step.at, [this, &step] {
      if (!healing_) carry_out(step);
    });
  }
  world_.agenda.after(scenario_.duration, [this] { heal(); });
}

void Universe::heal() {
  tell("everything heals");
  healing_ = true;
  weather_.heal();
  disk_->make_room();
  disk_fails_ = false;
  disk_was_full_ = false;
  for (auto& [name, host] : world_.hosts) host.answers = true;
  next_look_ = world_.agenda.now() + k_look_period;
  if (!life_ && !restart_is_due_) start_server();
}

bool Universe::step() {
  ++steps_;
  step_deposed();
  if (invariants_.violation()) return true;
  if (life_) {
    const bool going_on = life_->step();
    disk_->run_background();
    if (has_snapshots(life_->log())) snapshots_.write_if_due(life_->log());
    look_at_server();
    return going_on || !life_;
  }
  const auto next = world_.agenda.next_due();
  if (!next) return false;
  world_.agenda.advance_to(std::max(*next, world_.agenda.now()));
  world_.agenda.run_due();
  return true;
}

bool Universe::rested() {
  if (!healing_ || world_.agenda.now() < next_look_ || !life_ || !life_->idle()) return false;
  next_look_ = world_.agenda.now() + k_look_period;
  const auto heal_at = world_.agenda.begun_at() + scenario_.duration;
  auto unrest = invariants_.unrest(life_->log());
  if (unrest.empty() && life_->unanswered() > 0) {
    unrest = "somebody still waits for an answer";
  }
  if (unrest.empty()) {
    invariants_.check_fold(life_->catalog(), life_->log());
    return true;
  }
  if (world_.agenda.now() - heal_at > k_rest_limit) {
    invariants_.violated("comes-to-rest",
                         fmt::format("an hour after everything healed, {}", unrest));
  }
  return false;
}

RunReport Universe::run() {
  begin();
  while (!invariants_.violation() && !rested()) {
    if (!step()) {
      invariants_.violated("comes-to-rest", "nothing is left to do, and it is not at rest");
    }
  }
  return report();
}

RunReport Universe::report() {
  RunReport report;
  report.violation = invariants_.violation();
  report.trace = choices_.trace();
  report.chain = invariants_.chain();
  report.moments = moments_;
  report.steps = steps_;
  report.lives = lives_;
  report.deployments = invariants_.deployments();
  report.routed = invariants_.routed();
  report.ended = invariants_.ended();
  report.virtual_time = world_.agenda.now() - world_.agenda.begun_at();
  report.choices = choices_.made();
  report.log = store_;
  report.story = std::move(story_);
  if (report.violation && life_) {
    const auto last = life_->log().last_position().value();
    const Position first{last > k_events_told ? last - k_events_told : 1};
    static_cast<void>(life_->log().read_all(first, [&](const storage::Record& record) {
      auto text = record.event.ShortDebugString();
      constexpr std::size_t k_text_max = 160;
      if (text.size() > k_text_max) text.replace(k_text_max, std::string::npos, "…");
      report.events.push_back(
          fmt::format("{:>6} {:>10.3f} s  {}  {}", record.position.value(),
                      static_cast<double>(record.recorded_at - world_.agenda.begun_at()) / 1e6,
                      record.event_id, text));
      return true;
    }));
  }
  return report;
}

RunReport run(const Scenario& scenario, Fibers& fibers, const RunOptions& options) {
  Universe universe(scenario, fibers, options);
  return universe.run();
}

}  // namespace atlasflow::sim
