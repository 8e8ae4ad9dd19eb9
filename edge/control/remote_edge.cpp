#include "edge/control/remote_edge.hpp"

#include <algorithm>
#include <array>
#include <condition_variable>
#include <mutex>
#include <stop_token>
#include <thread>
#include <utility>

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/log.hpp"
#include "edge/control/control_message.hpp"
#include "edge/control/edge_process.hpp"

namespace atlasflow::edge {
namespace {

using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;

constexpr milliseconds k_look_max{3'000};     // for the answer of one that was there before us
constexpr milliseconds k_replace_grace{500};  // nothing that it would save is worth a wait
constexpr milliseconds k_health_period{5'000};
constexpr milliseconds k_backoff_min{100};
constexpr milliseconds k_backoff_max{10'000};
constexpr milliseconds k_steady{60'000};   // one that ran so long is started anew without a wait
constexpr milliseconds k_comeback{3'000};  // a call waits so long for one that is being started
constexpr std::uintmax_t k_log_bytes_max = std::uintmax_t{4} << 20U;

class RemoteEdge final : public Edge {
 public:
  explicit RemoteEdge(AttachConfig config)
      : config_(std::move(config)), folder_{config_.state}, digest_(config_digest(config_.edge)) {}
  ~RemoteEdge() override;

  Result<void> attach();

  Result<void> publish(const RouteTable& table) override;
  std::uint64_t generation() const override;
  Result<void> set_own_route(const Route& route) override;
  Result<void> change_certificates(const std::vector<HostCertificate>& shown,
                                   const std::vector<std::string>& removed) override;
  std::map<std::string, std::string> certificates() const override;
  Result<void> set_challenges(const std::vector<Challenge>& challenges) override;
  RouteTable table() const override;
  std::optional<Route> own_route() const override;
  std::uint64_t drain(const std::string& vm_id, milliseconds deadline) override;
  std::uint16_t http_port() const override;
  std::uint16_t https_port() const override;
  std::filesystem::path ca_certificate() const override;
  std::string metrics() const override;
  std::string describe() const override;

 private:
  enum class Health { answers, silent, gone };

  // The right to change what is in force, or to start a process: one at a time has it.
  class Change {
   public:
    explicit Change(RemoteEdge& edge) : edge_(&edge) {}
    Change(Change&& other) noexcept : edge_(std::exchange(other.edge_, nullptr)) {}
    Change& operator=(Change&&) = delete;
    ~Change() {
      if (edge_ != nullptr) edge_->end_change();
    }

   private:
    RemoteEdge* edge_;
  };

  Result<wire::Reply> ask(const wire::Request& request, milliseconds timeout) const;
  Result<wire::Status> look(pid_t* pid) const;
  void remember(const wire::Status& status);
  bool adopt(const wire::Status& status, pid_t pid);
  Result<void> replace(const wire::Status& status, pid_t pid);
  Result<void> start_anew(const Error& why);
  Result<void> start(bool take_over);
  Result<Change> begin_change(bool needs_process);
  void end_change();
  void watch(const std::stop_token& stop);
  bool watch_one(const std::stop_token& stop);
  void check_health();
  void pause(milliseconds time, const std::stop_token& stop) const;
  void bound_log() const;

  const AttachConfig config_;
  const EdgeFolder folder_;
  const std::string digest_;
  FileDescriptor wake_;  // an eventfd: the watch should look whether it is to stop

  mutable std::mutex mutex_;  // held briefly; guards what follows
  std::condition_variable changed_;
  Health health_ = Health::gone;
  bool changing_ = false;
  ProcessIdentity process_;
  FileDescriptor pidfd_;
  std::uint16_t http_port_ = 0;
  std::uint16_t https_port_ = 0;
  std::string ca_certificate_;
  RouteTable table_;
  std::optional<Route> own_route_;
  GivenRecord given_;
  std::uint64_t restarts_ = 0;

  std::jthread watch_;  // last: it ends first
};

RemoteEdge::~RemoteEdge() {
  if (!watch_.joinable()) return;
  watch_.request_stop();
  const std::uint64_t one = 1;
  (void)!::write(wake_.get(), &one, sizeof one);  // only fails when a wake is pending already
  watch_.join();
}

// ---- finding or starting ------------------------------------------------------------------------

Result<void> RemoteEdge::attach() {
  wake_ = FileDescriptor(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
  pid_t pid = 0;
  const auto status = look(&pid);
  const bool same =
      status && status->build_id() == config_.build_id && status->config_digest() == digest_;
  // What it was given has to be known here as well, for the process that comes after it.
  bool known = false;
  if (status) {
    auto given =
        fetch_given(folder_.socket(), Clock::now() + std::min(k_look_max, config_.call_timeout));
    known = given.has_value();
    if (known) given_ = std::move(*given);
  }
  if (!same || !known || !adopt(*status, pid)) {
    auto started = status ? replace(*status, pid) : start_anew(status.error());
    if (!started) return started;
  }
  watch_ = std::jthread([this](const std::stop_token& stop) { watch(stop); });
  return {};
}

Result<void> RemoteEdge::replace(const wire::Status& status, pid_t pid) {
  log_event(LogLevel::warn, "edge", "replacing",
            {{"pid", pid},
             {"build", status.build_id()},
             {"config", status.config_digest()},
             {"new_build", config_.build_id},
             {"new_config", digest_}});
  {
    const std::lock_guard lock(mutex_);
    remember(status);
  }
  auto started = start(true);
  if (started) return started;
  log_event(LogLevel::warn, "edge", "not_handed_over", {{"reason", to_string(started.error())}});
  return start_anew(started.error());
}

// What does not answer, or would not give way, holds the ports and the lock.
Result<void> RemoteEdge::start_anew(const Error& why) {
  if (const auto before = recorded_process(folder_)) {
    log_event(LogLevel::warn, "edge", "ending", {{"pid", before->pid}, {"reason", to_string(why)}});
    if (auto ended = end_process(*before, k_replace_grace); !ended) return ended;
  }
  return start(false);
}

Result<wire::Reply> RemoteEdge::ask(const wire::Request& request, milliseconds timeout) const {
  ATLAS_TRY(const auto socket, connect_control(folder_.socket()));
  return call(socket, request, Clock::now() + timeout);
}

Result<wire::Status> RemoteEdge::look(pid_t* pid) const {
  ATLAS_TRY(const auto socket, connect_control(folder_.socket()));
  ucred peer{};
  socklen_t bytes = sizeof peer;
  if (::getsockopt(socket.get(), SOL_SOCKET, SO_PEERCRED, &peer, &bytes) == 0) *pid = peer.pid;
  wire::Request request;
  request.mutable_status()->set_with_table(true);
  ATLAS_TRY(auto reply,
            call(socket, request, Clock::now() + std::min(k_look_max, config_.call_timeout)));
  return reply.status();
}

// With mutex_ held.
void RemoteEdge::remember(const wire::Status& status) {
  table_ = from_wire(status.table());
  if (status.has_own_route()) own_route_ = from_wire(status.own_route());
  http_port_ = static_cast<std::uint16_t>(status.http_port());
  https_port_ = static_cast<std::uint16_t>(status.https_port());
  ca_certificate_ = status.ca_certificate();
}

// The pid is the kernel's word about who listens, not the file's.
bool RemoteEdge::adopt(const wire::Status& status, pid_t pid) {
  const auto process = identify_process(pid);
  if (!process) return false;
  FileDescriptor pidfd = open_process(*process);
  if (!pidfd.valid()) return false;
  const std::lock_guard lock(mutex_);
  process_ = *process;
  pidfd_ = std::move(pidfd);
  remember(status);
  health_ = Health::answers;
  log_event(
      "edge", "adopted",
      {{"pid", process_.pid}, {"generation", table_.generation}, {"https_port", https_port_}});
  return true;
}

Result<void> RemoteEdge::start(bool take_over) {
  ATLAS_TRY([[maybe_unused]] const auto change, begin_change(false));
  wire::Launch launch;
  *launch.mutable_config() = to_wire(config_.edge);
  launch.set_build_id(config_.build_id);
  launch.set_take_over(take_over);
  std::vector<wire::Given> given;
  {
    const std::lock_guard lock(mutex_);
    launch.set_http_port(http_port_);
    launch.set_https_port(https_port_);
    *launch.mutable_table() = to_wire(table_);
    if (own_route_) *launch.mutable_own_route() = to_wire(*own_route_);
    // Who takes over asks the process before, which has the newest.
    if (!take_over) {
      ATLAS_TRY(const auto tickets, ticket_secret_of_now(given_.tickets()));
      given_.set_tickets(tickets);
      given = given_.pages();
    }
  }
  launch.set_given_follows(!given.empty());
  bound_log();
  ATLAS_TRY(auto started,
            start_edge_process(folder_, config_.program, config_.arguments, launch, given));
  {
    const std::lock_guard lock(mutex_);
    process_ = started.process;
    pidfd_ = std::move(started.pidfd);
    http_port_ = static_cast<std::uint16_t>(started.status.http_port());
    https_port_ = static_cast<std::uint16_t>(started.status.https_port());
    ca_certificate_ = started.status.ca_certificate();
    health_ = Health::answers;
    changed_.notify_all();
  }
  log_event("edge", "process_started",
            {{"pid", started.process.pid},
             {"https_port", started.status.https_port()},
             {"http_port", started.status.http_port()},
             {"taken_over", take_over}});
  return {};
}

// ---- the calls ----------------------------------------------------------------------------------

// Waits for the change before to end, and a little for a process that is being started. Not by a
// timed mutex, whose waits ThreadSanitizer does not understand.
Result<RemoteEdge::Change> RemoteEdge::begin_change(bool needs_process) {
  std::unique_lock lock(mutex_);
  if (needs_process) {
    changed_.wait_for(lock, std::min(k_comeback, config_.call_timeout),
                      [this] { return health_ != Health::gone; });
  }
  if (!changed_.wait_for(lock, config_.call_timeout, [this] { return !changing_; })) {
    return fail(ErrorCode::unavailable, "the edge's process is being started, or is busy");
  }
  changing_ = true;
  return Change(*this);
}

void RemoteEdge::end_change() {
  const std::lock_guard lock(mutex_);
  changing_ = false;
  changed_.notify_all();
}

Result<void> RemoteEdge::publish(const RouteTable& table) {
  ATLAS_TRY([[maybe_unused]] const auto change, begin_change(true));
  wire::Request request;
  *request.mutable_publish() = to_wire(table);
  ATLAS_TRYV(ask(request, config_.call_timeout));
  const std::lock_guard lock(mutex_);
  table_ = table;
  return {};
}

Result<void> RemoteEdge::set_own_route(const Route& route) {
  ATLAS_TRY([[maybe_unused]] const auto change, begin_change(true));
  wire::Request request;
  *request.mutable_set_own_route() = to_wire(route);
  ATLAS_TRYV(ask(request, config_.call_timeout));
  const std::lock_guard lock(mutex_);
  own_route_ = route;
  return {};
}

// Handshakes between two parts see some of the change, and none a wrong certificate.
Result<void> RemoteEdge::change_certificates(const std::vector<HostCertificate>& shown,
                                             const std::vector<std::string>& removed) {
  ATLAS_TRY(const auto calls, change_in_parts(shown, removed));
  ATLAS_TRY([[maybe_unused]] const auto change, begin_change(true));
  for (const wire::Request& request : calls) {
    ATLAS_TRYV(ask(request, config_.call_timeout));
    const std::lock_guard lock(mutex_);
    given_.take(request.change_certificates());
  }
  return {};
}

std::map<std::string, std::string> RemoteEdge::certificates() const {
  const std::lock_guard lock(mutex_);
  return given_.fingerprints();
}

Result<void> RemoteEdge::set_challenges(const std::vector<Challenge>& challenges) {
  ATLAS_TRY([[maybe_unused]] const auto change, begin_change(true));
  ATLAS_TRYV(ask(to_set_challenges(challenges), config_.call_timeout));
  const std::lock_guard lock(mutex_);
  given_.set_challenges(challenges);
  return {};
}

std::uint64_t RemoteEdge::drain(const std::string& vm_id, milliseconds deadline) {
  wire::Request request;
  request.mutable_drain()->set_vm_id(vm_id);
  request.mutable_drain()->set_deadline_ms(std::max<std::int64_t>(deadline.count(), 0));
  const auto reply = ask(request, deadline + config_.call_timeout);
  if (!reply) {
    // A process that has gone took its requests with it; of one that hangs nobody knows.
    log_event(LogLevel::warn, "edge", "drain_unanswered",
              {{"vm", vm_id}, {"reason", to_string(reply.error())}});
    return 0;
  }
  return reply->drained().requests_cut();
}

std::uint64_t RemoteEdge::generation() const {
  const std::lock_guard lock(mutex_);
  return table_.generation;
}

RouteTable RemoteEdge::table() const {
  const std::lock_guard lock(mutex_);
  return table_;
}

std::optional<Route> RemoteEdge::own_route() const {
  const std::lock_guard lock(mutex_);
  return own_route_;
}

std::uint16_t RemoteEdge::http_port() const {
  const std::lock_guard lock(mutex_);
  return http_port_;
}

std::uint16_t RemoteEdge::https_port() const {
  const std::lock_guard lock(mutex_);
  return https_port_;
}

std::filesystem::path RemoteEdge::ca_certificate() const {
  const std::lock_guard lock(mutex_);
  return ca_certificate_;
}

// The process' own, and what is known of it from outside: a scrape works while it is away.
std::string RemoteEdge::metrics() const {
  wire::Request request;
  request.mutable_metrics();
  const auto reply = ask(request, std::min(k_look_max, config_.call_timeout));
  std::uint64_t restarts = 0;
  {
    const std::lock_guard lock(mutex_);
    restarts = restarts_;
  }
  std::string text =
      "# HELP atlasflow_edge_up Whether the edge's process answers.\n"
      "# TYPE atlasflow_edge_up gauge\n";
  text += std::string("atlasflow_edge_up ") + (reply ? "1" : "0") + "\n";
  text +=
      "# HELP atlasflow_edge_restarts_total How often it died under this server.\n"
      "# TYPE atlasflow_edge_restarts_total counter\n";
  text += "atlasflow_edge_restarts_total " + std::to_string(restarts) + "\n";
  if (reply) text += reply->metrics().text();
  return text;
}

std::string RemoteEdge::describe() const {
  const std::lock_guard lock(mutex_);
  std::string text = "process " + std::to_string(process_.pid);
  if (health_ == Health::gone) text += " has died and is being started again";
  if (health_ == Health::silent) text += " does not answer; restart the server to replace it";
  text += ", https on port " + std::to_string(https_port_) + ", http on port " +
          std::to_string(http_port_) + ", generation " + std::to_string(table_.generation) + ", " +
          std::to_string(table_.routes.size()) + " hostnames of deployments";
  if (restarts_ != 0) text += ", restarts " + std::to_string(restarts_);
  return text;
}

// ---- watching -----------------------------------------------------------------------------------

void RemoteEdge::watch(const std::stop_token& stop) {
  auto backoff = milliseconds::zero();
  while (!stop.stop_requested()) {
    const auto since = Clock::now();
    if (!watch_one(stop)) return;
    if (Clock::now() - since > k_steady) backoff = milliseconds::zero();
    {
      const std::lock_guard lock(mutex_);
      health_ = Health::gone;
      log_event(LogLevel::error, "edge", "died",
                {{"pid", process_.pid},
                 {"restart_in_ms", backoff.count()},
                 {"log", folder_.log().string()}});
    }
    while (!stop.stop_requested()) {
      pause(backoff, stop);
      if (stop.stop_requested()) return;
      backoff = std::clamp(backoff * 2, k_backoff_min, k_backoff_max);
      const auto started = start(false);
      if (started) break;
      log_event(LogLevel::error, "edge", "start_failed",
                {{"retry_in_ms", backoff.count()}, {"reason", to_string(started.error())}});
    }
    const std::lock_guard lock(mutex_);
    ++restarts_;
  }
}

// True when the process has ended, false when the watch should.
bool RemoteEdge::watch_one(const std::stop_token& stop) {
  int process = -1;
  pid_t pid = 0;
  {
    const std::lock_guard lock(mutex_);
    process = pidfd_.get();  // only this thread replaces it from here on
    pid = process_.pid;
  }
  while (!stop.stop_requested()) {
    std::array<pollfd, 2> waits{{{process, POLLIN, 0}, {wake_.get(), POLLIN, 0}}};
    (void)::poll(waits.data(), waits.size(), static_cast<int>(k_health_period.count()));
    if (stop.stop_requested()) return false;
    if (waits[0].revents != 0) {
      const std::lock_guard lock(mutex_);
      return wait_for_end(pidfd_, pid, milliseconds::zero());
    }
    check_health();
    bound_log();
  }
  return false;
}

// One that hangs goes on holding its connections, and may serve them: it is reported, not ended.
void RemoteEdge::check_health() {
  wire::Request request;
  request.mutable_status();
  const auto status = ask(request, std::min(k_look_max, config_.call_timeout));
  const auto now = status ? Health::answers : Health::silent;
  const std::lock_guard lock(mutex_);
  given_.advance_tickets(std::time(nullptr));
  if (now == health_) return;
  health_ = now;
  if (now == Health::silent) {
    log_event(LogLevel::error, "edge", "silent",
              {{"pid", process_.pid},
               {"reason", to_string(status.error())},
               {"advice", "restart the server to replace it"}});
  } else {
    log_event("edge", "answers_again", {{"pid", process_.pid}});
  }
}

void RemoteEdge::pause(milliseconds time, const std::stop_token& stop) const {
  if (stop.stop_requested()) return;
  pollfd waiting{wake_.get(), POLLIN, 0};
  (void)::poll(&waiting, 1, static_cast<int>(time.count()));
}

// The process appends by O_APPEND, so that a truncated file goes on at its new end.
void RemoteEdge::bound_log() const {
  std::error_code error;
  if (std::filesystem::file_size(folder_.log(), error) <= k_log_bytes_max || error) return;
  std::filesystem::copy_file(folder_.log(), folder_.log().string() + ".1",
                             std::filesystem::copy_options::overwrite_existing, error);
  std::filesystem::resize_file(folder_.log(), 0, error);
}

}  // namespace

Result<std::unique_ptr<Edge>> attach_edge(AttachConfig config) {
  auto edge = std::make_unique<RemoteEdge>(std::move(config));
  ATLAS_TRYV(edge->attach());
  return edge;
}

}  // namespace atlasflow::edge
