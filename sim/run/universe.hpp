// The inside of a run: the world, GitHub, the control planes that come and go, and what is done to
// them. run() owns it for the length of a run.
#pragma once

#include <memory>
#include <set>
#include <string>
#include <vector>

#include "base/buggify.hpp"
#include "events/missed_push.hpp"
#include "sim/disk/log_disk.hpp"
#include "sim/disk/snapshot_disk.hpp"
#include "sim/run/life.hpp"
#include "sim/run/run.hpp"

namespace atlasflow::sim {

class Universe final : public Buggify {
 public:
  Universe(const Scenario& scenario, Fibers& fibers, const RunOptions& options);
  ~Universe() override;

  RunReport run();

  bool fires(std::string_view site) override;

 private:
  // ---- the run ----
  void begin();
  // One step of whatever there is to do; false when nothing is.
  bool step();
  void heal();
  // Whether it has come to rest; a violation when it should have by now.
  bool rested();
  RunReport report();
  void tell(const std::string& what);

  // ---- the server ----
  void start_server();
  [[nodiscard]] bool server_listens() const;
  // From inside a step: nothing more reaches log or world, and the rest is done after the step.
  void kill_server(bool power_cut, TimestampUs down_for);
  void cut_power(TimestampUs down_for);
  void end_server();
  void look_at_server();
  void begin_anew();
  void create_projects();
  void at_a_moment();  // of RunOptions::crash_at
  [[nodiscard]] std::unique_ptr<Life> make_life(std::unique_ptr<storage::EventLog> log);
  [[nodiscard]] bool has_snapshots(const storage::EventLog& log) const;
  void step_deposed();  // the server that was taken over goes on until it finds out

  // ---- the world ----
  void set_up_world();
  void on_vm_started(const actors::VmJob& job);
  void deliver(const Delivery& delivery);
  void arrive(const Delivery& delivery);
  void look_at_heads();  // as server/head_watch.hpp does

  // ---- steps: universe_steps.cpp ----
  void carry_out(const Step& planned);
  void forge(Delivery delivery);
  bool carry_out_on_github(const Step& step);
  bool carry_out_for_a_user(const Step& step);
  void carry_out_on_machines(const Step& step);
  void deploy(int project);
  void command_deployment(const Step& step);
  void reuse(const Step& step);
  void approve(const Step& step);
  void change_project(const Step& step);
  bool carry_out_for_a_domain(const Step& step);
  void take_over();
  void end_a_vm(const Step& step);
  void disturb_host(int number);
  [[nodiscard]] std::optional<DeploymentId> newest_deployment(int project) const;
  [[nodiscard]] std::optional<DeploymentId> serving_deployment(int project) const;
  [[nodiscard]] const HostId& host_name(int number) const;
  [[nodiscard]] std::string command_id();
  [[nodiscard]] std::string own_domain() const;

  const Scenario& scenario_;
  Fibers& fibers_;
  const RunOptions& options_;
  Choices choices_;
  World world_;
  std::vector<HostId> host_names_;
  Weather weather_;
  std::uint64_t era_;  // 0, or where the log ended before the run
  GitHub github_;
  Invariants invariants_;
  std::shared_ptr<storage::MemoryStore> store_;  // of a log in memory
  std::unique_ptr<LogDisk> disk_;
  SeenHeads seen_heads_;  // by the life that runs
  SnapshotDisk snapshots_;
  std::unique_ptr<Life> life_;
  std::unique_ptr<Life> deposed_;  // taken over; ends when it finds out
  bool crash_now_ = false;
  bool power_cut_ = false;
  bool cut_is_near_ = false;
  TimestampUs down_for_ = 0;
  bool healing_ = false;
  bool disk_fails_ = false;
  bool disk_was_full_ = false;  // and may still be
  bool restart_is_due_ = false;
  TimestampUs next_look_ = 0;
  std::set<std::string> created_;
  std::set<std::string> active_sites_;  // of buggify
  std::set<std::string> known_sites_;
  std::uint64_t moments_ = 0;
  std::uint64_t steps_ = 0;
  std::uint64_t commands_ = 0;
  std::size_t lives_ = 0;
  std::size_t errors_seen_ = 0;
  std::vector<std::string> story_;
  std::vector<std::unique_ptr<char[]>> noise_;
};

}  // namespace atlasflow::sim
