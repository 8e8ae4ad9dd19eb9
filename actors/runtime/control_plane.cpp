// The root: starts the actors in order, replays, supervises the parts and stops in order.
#include "actors/runtime/control_plane.hpp"

#include <cstdlib>
#include <mutex>

#include <caf/all.hpp>
#include <spdlog/spdlog.h>

#include "actors/runtime/command_runner.hpp"
#include "actors/runtime/part_status.hpp"
#include "actors/runtime/parts.hpp"
#include "actors/runtime/snapshotter.hpp"
#include "base/log.hpp"
#include "events/domain_authority.hpp"
#include "storage/secrets/github_app.hpp"

namespace atlasflow::actors {
namespace {

// The log's failure ends the process, and nobody starts it again from within: after a failed sync
// nobody knows what the disk has. The next start reads what is there.
[[noreturn]] void end_process(const std::string& why) {
  log_event(LogLevel::critical, "root", "stopping_after_failure", {{"reason", why}});
  spdlog::shutdown();
  std::_Exit(70);
}

caf::actor_system_config make_actor_config() {
  caf::actor_system_config config;
  // Fair between mailboxes: CAF's default lets one actor run until its mailbox is empty.
  config.set("scheduler.max-throughput", std::size_t{50});
  config.set("scheduler.max-threads", std::size_t{4});
  return config;
}

class LocalControlPlane final : public ControlPlane {
 public:
  LocalControlPlane(ControlPlaneConfig config, storage::EventLog& log,
                    storage::SecretStore& secrets, const Engines& engines)
      : config_(std::move(config)),
        log_(log),
        secrets_(secrets),
        engines_(engines),
        actor_config_(make_actor_config()),
        system_(actor_config_) {}

  ~LocalControlPlane() override { stop(); }

  Result<void> start();

  std::vector<std::pair<std::string, std::string>> webhook_secrets() override;
  Secret github_webhook_secret() override;
  const storage::Catalog& catalog() const override { return catalog_; }
  const storage::EventLog& log() const override { return log_; }
  std::vector<PartStatus> parts() override;
  std::string domain_named(const std::string& typed) const override {
    if (engines_.domains == nullptr) return typed;
    const auto name = engines_.domains->name_of(typed);
    return name ? name->name : typed;
  }
  std::optional<ReportsBegun> take_github_reports() override {
    const std::lock_guard guard(reports_mutex_);
    return std::exchange(reports_, std::nullopt);
  }
  DomainOutlook outlook_of(const DomainState& state) const override {
    const auto now = engines_.clock->now();
    const auto& rules = config_.domains.rules;
    std::optional<HeldOrder> held;
    if (const auto due = next_order(state, rules, now); due && !renews_own(state, due->directory)) {
      held =
          catalog_.held_order(state, rules, registered_domain(engines_.domains, state.name), now);
    }
    return actors::outlook_of(state, engines_.domains, config_.domain, config_.domains, now, held);
  }

 protected:
  Result<commands::Answer> carry_out(const Principal& by, commands::Command command) override {
    return runner_.run(by, std::move(command));
  }

 private:
  Result<void> append_to_node(std::vector<pb::Event> events);
  PartsConfig parts_config();
  Result<void> reap_orphans();
  [[nodiscard]] std::optional<storage::SnapshotStore> snapshot_store() const;
  void stop();

  ControlPlaneConfig config_;
  storage::EventLog& log_;
  storage::SecretStore& secrets_;
  Engines engines_;
  storage::Catalog catalog_;
  Epoch epoch_;
  bool started_ = false;
  PartFaults faults_;
  std::mutex reports_mutex_;
  std::optional<ReportsBegun> reports_;
  std::unique_ptr<Snapshotter> snapshotter_;  // null: none are taken
  caf::actor_system_config actor_config_;
  caf::actor_system system_;
  Parts parts_;
  CommandRunner runner_{system_,  parts_,   log_,           catalog_,
                        secrets_, engines_, config_.domain, config_.domains};
};

Result<void> LocalControlPlane::append_to_node(std::vector<pb::Event> events) {
  ATLAS_TRY(const auto version, log_.version_of(node_stream()));
  Append append;
  append.request.stream = node_stream();
  append.request.expected_version = version;
  append.request.events = std::move(events);
  append.request.actor = Principal::system("root");
  append.patient = false;
  ATLAS_TRY(auto reply, ask<AppendReply>(system_, log_, parts_.log_writer, std::move(append)));
  if (!std::holds_alternative<storage::Appended>(reply.outcome)) {
    return fail(ErrorCode::conflict, "another control plane writes to this log");
  }
  return {};
}

PartsConfig LocalControlPlane::parts_config() {
  PartsConfig config;
  config.log = &log_;
  config.catalog = &catalog_;
  config.secrets = &secrets_;
  config.engines = engines_;
  config.domain = config_.domain;
  config.builders = config_.builders;
  config.rollbacks = config_.rollbacks;
  config.domains = config_.domains;
  config.crash_after = config_.crash_after;
  config.throw_after = config_.throw_after;
  config.fatal = [](const Error& error) { end_process(to_string(error)); };
  config.part_died = config_.part_died ? config_.part_died : config.fatal;
  config.faults = &faults_;
  return config;
}

// What the world has and no intent explains: builds of a process that is gone, VMs that no
// deployment knows. Runs before any deployment goes on, so nothing that is wanted can be taken for
// an orphan.
Result<void> LocalControlPlane::reap_orphans() {
  std::vector<pb::Event> events;
  for (const auto& thing : unexplained(engines_, catalog_, false)) {
    if (auto event = reap(engines_, thing)) events.push_back(*std::move(event));
  }
  if (events.empty()) return {};
  return append_to_node(std::move(events));
}

std::optional<storage::SnapshotStore> LocalControlPlane::snapshot_store() const {
  // Without a build nobody could tell by what they were made.
  if (config_.snapshots.empty() || config_.build_id.empty()) return std::nullopt;
  return storage::SnapshotStore(config_.snapshots, {config_.build_id, config_.domain});
}

Result<void> LocalControlPlane::start() {
  auto snapshots = snapshot_store();
  ATLAS_TRY(const auto folds,
            fold_log(log_, config_.domain, catalog_, snapshots ? &*snapshots : nullptr));
  reports_ = ReportsBegun{std::move(*folds.reports), folds.position};
  ATLAS_TRY(const auto epoch, log_.begin_epoch());
  epoch_ = epoch;
  parts_ = spawn_parts(system_, parts_config());
  started_ = true;
  std::vector<pb::Event> events(1);
  events[0].mutable_node_started()->set_epoch(epoch_.value());
  events[0].mutable_node_started()->set_build_id(config_.build_id);
  if (auto done = append_to_node(std::move(events)); !done) return done;
  if (auto done = reap_orphans(); !done) return done;
  resume(parts_, config_.domain, catalog_, folds);
  if (snapshots) {
    snapshotter_ = std::make_unique<Snapshotter>(log_, *std::move(snapshots));
  }
  log_event("root", "started",
            {{"epoch", epoch_.value()}, {"position", log_.last_position().value()}});
  return {};
}

void LocalControlPlane::stop() {
  if (!started_) return;
  started_ = false;
  snapshotter_.reset();
  std::vector<pb::Event> events(1);
  events[0].mutable_node_stopped()->set_epoch(epoch_.value());
  static_cast<void>(append_to_node(std::move(events)));
  // Intake first, the log last: what still happens in between is recorded.
  for (const auto& part : parts_.in_stop_order()) {
    caf::scoped_actor self{system_};
    self->send_exit(part, caf::exit_reason::user_shutdown);
    self->wait_for(part);
  }
  parts_ = Parts{};
  if (const auto snapshots = snapshot_store()) take_snapshot_at_stop(log_, *snapshots);
}

std::vector<std::pair<std::string, std::string>> LocalControlPlane::webhook_secrets() {
  std::vector<std::pair<std::string, std::string>> secrets;
  for (const auto& [project, ref] : catalog_.webhook_secret_refs()) {
    if (ref.empty()) continue;
    auto secret = secrets_.open("webhook/" + project, ref);
    if (!secret) {
      log_event(LogLevel::error, "root", "secret_unreadable",
                {{"project", project}, {"error", to_string(secret.error())}});
      continue;
    }
    secrets.emplace_back(project, std::move(*secret));
  }
  return secrets;
}

Secret LocalControlPlane::github_webhook_secret() {
  const auto app = catalog_.github_app().state;
  if (!app.is_connected()) return {};
  auto secret = storage::open_webhook_secret(secrets_, app);
  if (secret) return *std::move(secret);
  log_event(LogLevel::error, "root", "secret_unreadable",
            {{"of", "github_app"}, {"error", to_string(secret.error())}});
  return {};
}

std::vector<ControlPlane::PartStatus> LocalControlPlane::parts() {
  auto parts = part_statuses(log_, epoch_, engines_, catalog_);
  auto own =
      own_certificate_status(catalog_, config_.domain, config_.domains, engines_.clock->now());
  if (own) parts.push_back(std::move(*own));
  for (auto& told : restarts_told(config_.earlier_restarts, faults_, engines_.clock->now())) {
    parts.push_back(std::move(told));
  }
  return parts;
}

}  // namespace

Result<std::unique_ptr<ControlPlane>> start_control_plane(const ControlPlaneConfig& config,
                                                          storage::EventLog& log,
                                                          storage::SecretStore& secrets,
                                                          const Engines& engines) {
  auto plane = std::make_unique<LocalControlPlane>(config, log, secrets, engines);
  ATLAS_TRYV(plane->start());
  return plane;
}

}  // namespace atlasflow::actors
