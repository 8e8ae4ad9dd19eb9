#include "edge/edge.hpp"

#include <algorithm>
#include <condition_variable>
#include <future>
#include <map>
#include <mutex>
#include <random>
#include <set>
#include <thread>
#include <tuple>
#include <utility>

#include <fcntl.h>

#include "base/log.hpp"
#include "edge/limits.hpp"
#include "edge/proxy/worker.hpp"
#include "edge/tls/given_hosts.hpp"
#include "edge/tls/local_ca.hpp"
#include "http/guard.hpp"

namespace atlasflow::edge {
namespace {

using std::chrono::milliseconds;
using TargetKey = std::tuple<std::string, std::string, std::uint16_t, AppProtocol>;

constexpr milliseconds k_adopt_max{10'000};
constexpr milliseconds k_drain_poll{20};  // a drain is told of each end; should one be missed
// A worker answers within a turn. One that does not is the watch's to end: nobody waits for it.
constexpr milliseconds k_command_max{1'000};

// The answers of all workers that give one in time.
template <typename T>
T sum_of(std::vector<std::future<T>>& answers, std::size_t& missing) {
  const auto until = std::chrono::steady_clock::now() + k_command_max;
  T sum{};
  for (auto& answer : answers) {
    if (answer.wait_until(until) == std::future_status::ready) {
      sum += answer.get();
    } else {
      ++missing;
    }
  }
  return sum;
}

class EdgeServer final : public LocalEdge {
 public:
  ~EdgeServer() override {
    for (const auto& worker : workers_) worker->stop();
    watch_.reset();
  }

  Result<void> start(const EdgeConfig& config, EdgeInheritance inheritance);

  Result<void> publish(const RouteTable& table) override;
  std::uint64_t generation() const override { return generation_.load(); }
  Result<void> set_own_route(const Route& route) override;
  Result<void> change_certificates(const std::vector<HostCertificate>& shown,
                                   const std::vector<std::string>& removed) override;
  std::map<std::string, std::string> certificates() const override { return given_.in_force(); }
  std::vector<HostCertificate> certificates_behind(const std::string& after,
                                                   std::size_t bytes_max) const override {
    return given_.certificates_behind(after, bytes_max);
  }
  Result<void> set_challenges(const std::vector<Challenge>& challenges) override;
  std::vector<Challenge> challenges() const override { return given_.challenges(); }
  TicketSecret tickets() const override { return shared_.tickets.get(); }
  RouteTable table() const override;
  std::optional<Route> own_route() const override;
  std::uint64_t drain(const std::string& vm_id, milliseconds deadline) override;
  std::uint16_t http_port() const override { return http_port_; }
  std::uint16_t https_port() const override { return shared_.https_port; }
  std::filesystem::path ca_certificate() const override { return ca_->certificate_path(); }
  std::string metrics() const override;
  std::string describe() const override;

  void end_drains() override;
  ListenerNumbers listeners() const override;
  void retire(milliseconds idle, milliseconds busy) override;

 private:
  using Hosts = std::vector<const Route*>;  // the table's and the own one

  Result<void> listen(const EdgeConfig& config, EdgeInheritance& inheritance, std::size_t count);
  Result<void> install(const RouteTable& table, const std::optional<Route>& own);
  Result<std::unique_ptr<RouteSnapshot>> compile(const Hosts& hosts);
  Result<Target*> target_for(const Upstream& upstream, AppProtocol protocol);
  bool wait_until_adopted(std::uint64_t serial);
  std::size_t retire_workers(bool close_idle);
  void mark_retired();
  void reclaim();

  Shared shared_;
  std::optional<LocalCa> ca_;
  std::uint16_t http_port_ = 0;

  std::mutex publish_mutex_;  // one publish at a time; guards what follows
  std::unique_ptr<RouteSnapshot> current_;
  std::vector<std::unique_ptr<RouteSnapshot>> superseded_;  // a worker may still use them
  std::uint64_t serial_ = 0;
  std::atomic<std::uint64_t> generation_{0};
  GivenHosts given_{k_certificates_max};  // changed by who holds publish_mutex_ only

  mutable std::mutex in_force_mutex_;  // held briefly: who asks must not wait for a publish
  RouteTable table_;
  std::optional<Route> own_route_;
  ListenerNumbers listeners_;  // empty once retired

  std::mutex targets_mutex_;
  std::map<TargetKey, std::shared_ptr<Target>> targets_;

  std::mutex progress_mutex_;
  std::condition_variable progress_;
  std::atomic<bool> drains_end_{false};

  std::vector<std::unique_ptr<Worker>> workers_;
  std::unique_ptr<TurnWatch> watch_;  // ends when no worker runs any more
};

Result<void> EdgeServer::start(const EdgeConfig& config, EdgeInheritance inheritance) {
  shared_.config = config;
  std::string domain;
  if (!http::normalise_host(config.domain, domain) || domain != config.domain) {
    return fail(ErrorCode::invalid_argument,
                "'" + config.domain + "' is no domain in lower case, such as example.org");
  }
  ATLAS_TRY(ca_, LocalCa::open_or_create(config.ca_dir, domain));
  ATLAS_TRY(const auto tickets, ticket_secret_of_now(inheritance.tickets));
  shared_.tickets.set(tickets);
  const auto notify = [this] {
    const std::lock_guard lock(progress_mutex_);
    progress_.notify_all();
  };
  shared_.on_adopted = shared_.on_drained = notify;

  if (config.hsts_max_age_s > 0) {
    shared_.hsts = "max-age=" + std::to_string(config.hsts_max_age_s);
  }

  const std::size_t count = config.workers > 0 ? static_cast<std::size_t>(config.workers)
                                               : std::max(1U, std::thread::hardware_concurrency());
  shared_.config.limits = limits_in_force(config.limits, count);
  if (!config.access_log_dir.empty()) {
    auto log = AccessLog::start(
        {config.access_log_dir, static_cast<std::uint64_t>(config.access_log_bytes)}, count);
    if (log) {
      shared_.access_log = std::move(*log);
    } else {
      // Who visits is served all the same.
      log_event(LogLevel::error, "edge", "access_log",
                {{"result", "off"}, {"reason", to_string(log.error())}});
    }
  }
  std::random_device device;
  shared_.address_seed = (static_cast<std::uint64_t>(device()) << 32U) | device();
  std::vector<TurnClock*> clocks;
  for (std::size_t i = 0; i < count; ++i) {
    workers_.push_back(std::make_unique<Worker>(shared_, i, count));
    clocks.push_back(&workers_.back()->clock());
  }
  watch_ = std::make_unique<TurnWatch>(std::move(clocks));
  ATLAS_TRYV(given_.change_certificates(inheritance.certificates, {}));
  ATLAS_TRYV(given_.set_challenges(inheritance.challenges));
  ATLAS_TRYV(install(inheritance.table, inheritance.own_route));
  ATLAS_TRYV(listen(config, inheritance, count));
  const EdgeLimits& limits = shared_.config.limits;
  log_event("edge", "started",
            {{"http_port", http_port_},
             {"https_port", shared_.https_port},
             {"workers", count},
             {"domain", domain},
             {"generation", generation()},
             {"connections_max", limits.connections_max},
             {"memory_max", limits.memory_max},
             {"connections_per_address", limits.connections_per_address},
             {"requests_per_instance", limits.requests_per_instance}});
  return {};
}

// All listeners stand before the first worker starts: the kernel spreads connections over them, and
// each of them must be accepted from, so none of those that are taken over may be left out.
Result<void> EdgeServer::listen(const EdgeConfig& config, EdgeInheritance& inheritance,
                                std::size_t count) {
  std::vector<FileDescriptor> http = std::move(inheritance.http_listeners);
  std::vector<FileDescriptor> https = std::move(inheritance.https_listeners);
  http_port_ = http.empty() ? config.http_port : local_port(http.front());
  shared_.https_port = https.empty() ? config.https_port : local_port(https.front());
  if (http.empty() || https.empty()) {
    for (std::size_t i = 0; i < count; ++i) {
      auto plain = listen_tcp(config.http_address, http_port_, i == 0);
      if (!plain) return tl::unexpected(plain.error());
      auto tls = listen_tcp(config.https_address, shared_.https_port, i == 0);
      if (!tls) return tl::unexpected(tls.error());
      http_port_ = local_port(*plain);
      shared_.https_port = local_port(*tls);
      http.push_back(std::move(*plain));
      https.push_back(std::move(*tls));
    }
  }
  std::vector<std::vector<FileDescriptor>> plain_of(count);
  std::vector<std::vector<FileDescriptor>> tls_of(count);
  for (auto* list : {&http, &https}) {
    // With more workers than sockets, several accept from one.
    const std::size_t had = list->size();
    for (std::size_t i = had; i < count; ++i) {
      list->emplace_back(::fcntl((*list)[i % had].get(), F_DUPFD_CLOEXEC, 0));
    }
    auto& numbers = list == &http ? listeners_.http : listeners_.https;
    for (std::size_t i = 0; i < list->size(); ++i) {
      if (i < had) numbers.push_back((*list)[i].get());
      (list == &http ? plain_of : tls_of)[i % count].push_back(std::move((*list)[i]));
    }
  }
  for (std::size_t i = 0; i < count; ++i) {
    auto started = workers_[i]->start(std::move(plain_of[i]), std::move(tls_of[i]));
    if (!started) return started;
  }
  return {};
}

Result<Target*> EdgeServer::target_for(const Upstream& upstream, AppProtocol protocol) {
  const TargetKey key{upstream.vm_id, upstream.address, upstream.port, protocol};
  if (const auto it = targets_.find(key); it != targets_.end()) return it->second.get();
  auto address = parse_socket_address(upstream.address, upstream.port);
  if (!address) return tl::unexpected(address.error());
  if (address->family() != AF_UNIX && upstream.port == 0) {
    return fail(ErrorCode::invalid_argument, "the upstream " + upstream.address + " has no port");
  }
  auto target = std::make_shared<Target>(upstream, protocol, *address, workers_.size());
  target->retired.store(true);  // until a published table names it
  return targets_.emplace(key, std::move(target)).first->second.get();
}

Result<std::unique_ptr<RouteSnapshot>> EdgeServer::compile(const Hosts& hosts) {
  auto snapshot = std::make_unique<RouteSnapshot>();
  snapshot->serial = serial_ + 1;
  snapshot->routes.reserve(hosts.size());
  {
    const std::lock_guard lock(targets_mutex_);
    for (const Route* each : hosts) {
      const Route& route = *each;
      std::string host;
      if (!http::normalise_host(route.host, host) || host != route.host) {
        return fail(ErrorCode::invalid_argument,
                    "'" + route.host + "' is no host name in lower case without a port");
      }
      RouteEntry entry{.host = route.host,
                       .project = route.project,
                       .deployment = route.deployment,
                       .unavailable_reason = route.unavailable_reason,
                       .redirect_to = route.redirect_to,
                       .limits = route.limits,
                       .unavailable_message = route.unavailable_message,
                       .rate_key = std::hash<std::string>{}(route.project)};
      if (!route.redirect_to.empty() &&
          (!http::normalise_host(route.redirect_to, host) || host != route.redirect_to)) {
        return fail(ErrorCode::invalid_argument, "'" + route.redirect_to +
                                                     "' is no host name in lower case without a "
                                                     "port to send " +
                                                     route.host + " to");
      }
      for (const Upstream& upstream : route.upstreams) {
        auto target = target_for(upstream, route.protocol);
        if (!target) return tl::unexpected(target.error());
        entry.targets.push_back(*target);
      }
      entry.project_number = shared_.projects.number_of(route.project);
      if (!snapshot->routes.emplace(route.host, std::move(entry)).second) {
        return fail(ErrorCode::invalid_argument, "the host '" + route.host + "' has two routes");
      }
    }
  }
  std::vector<std::string_view> names;
  names.reserve(hosts.size());
  for (const Route* route : hosts) names.emplace_back(route->host);
  ATLAS_TRY(snapshot->certificates,
            certificates_for(names, *ca_, shared_.config.domain, given_.parsed(), given_.proofs(),
                             current_ ? current_->certificates.get() : nullptr));
  snapshot->challenges = given_.answers();
  return snapshot;
}

Result<void> EdgeServer::publish(const RouteTable& table) {
  const std::lock_guard lock(publish_mutex_);
  if (table.generation <= generation_.load()) {
    return fail(ErrorCode::conflict, "route table " + std::to_string(table.generation) +
                                         " is not newer than " +
                                         std::to_string(generation_.load()) + ", which is in use");
  }
  return install(table, own_route());
}

Result<void> EdgeServer::set_own_route(const Route& route) {
  const std::lock_guard lock(publish_mutex_);
  return install(table(), route);
}

Result<void> EdgeServer::change_certificates(const std::vector<HostCertificate>& shown,
                                             const std::vector<std::string>& removed) {
  const std::lock_guard lock(publish_mutex_);
  ATLAS_TRYV(given_.change_certificates(shown, removed));
  return install(table(), own_route());
}

Result<void> EdgeServer::set_challenges(const std::vector<Challenge>& challenges) {
  const std::lock_guard lock(publish_mutex_);
  ATLAS_TRYV(given_.set_challenges(challenges));
  return install(table(), own_route());
}

RouteTable EdgeServer::table() const {
  const std::lock_guard lock(in_force_mutex_);
  return table_;
}

std::optional<Route> EdgeServer::own_route() const {
  const std::lock_guard lock(in_force_mutex_);
  return own_route_;
}

Result<void> EdgeServer::install(const RouteTable& table, const std::optional<Route>& own) {
  Hosts hosts;
  hosts.reserve(table.routes.size() + 1);
  for (const Route& route : table.routes) hosts.push_back(&route);
  if (own) hosts.push_back(&*own);
  auto compiled = compile(hosts);
  if (!compiled) {
    reclaim();
    return tl::unexpected(compiled.error());
  }
  if (current_) superseded_.push_back(std::move(current_));
  current_ = std::move(*compiled);
  serial_ = current_->serial;
  // Before any worker switches: what it then returns to a pool of a retired target is closed.
  mark_retired();
  shared_.snapshot.store(current_.get(), std::memory_order_release);
  {
    const std::lock_guard lock(in_force_mutex_);
    table_ = table;
    own_route_ = own;
  }
  generation_.store(table.generation);
  if (superseded_.empty()) return {};  // no worker runs yet
  for (const auto& worker : workers_) worker->wake();
  if (!wait_until_adopted(serial_)) {
    return fail(ErrorCode::timed_out,
                "route table " + std::to_string(table.generation) +
                    " is published but not yet used by all workers of the edge");
  }
  superseded_.clear();
  reclaim();
  return {};
}

bool EdgeServer::wait_until_adopted(std::uint64_t serial) {
  std::unique_lock lock(progress_mutex_);
  return progress_.wait_for(lock, k_adopt_max, [&] {
    return std::all_of(workers_.begin(), workers_.end(),
                       [&](const auto& worker) { return worker->adopted() >= serial; });
  });
}

void EdgeServer::mark_retired() {
  std::set<const Target*> named;
  for (const auto& [host, route] : current_->routes) {
    named.insert(route.targets.begin(), route.targets.end());
  }
  const std::lock_guard lock(targets_mutex_);
  for (const auto& [key, target] : targets_) target->retired.store(!named.contains(target.get()));
}

// Only while no worker has an older snapshot than the current one.
void EdgeServer::reclaim() {
  if (!superseded_.empty()) return;
  const std::lock_guard lock(targets_mutex_);
  std::erase_if(targets_, [](const auto& entry) {
    return entry.second->retired.load() && entry.second->unused();
  });
}

std::uint64_t EdgeServer::drain(const std::string& vm_id, milliseconds deadline) {
  const auto until = std::chrono::steady_clock::now() + deadline;
  std::vector<std::shared_ptr<Target>> targets;
  {
    const std::lock_guard lock(targets_mutex_);
    for (auto it = targets_.lower_bound({vm_id, "", 0, AppProtocol::http1});
         it != targets_.end() && std::get<0>(it->first) == vm_id; ++it) {
      it->second->draining.store(true);
      targets.push_back(it->second);
    }
  }
  std::uint64_t cut = 0;
  for (const auto& target : targets) {
    {
      std::unique_lock lock(progress_mutex_);
      while (target->in_flight() != 0 && !drains_end_.load() &&
             std::chrono::steady_clock::now() < until) {
        progress_.wait_for(lock, k_drain_poll);
      }
    }
    // Each worker answers, so that after this none of them holds a connection to the upstream.
    std::vector<std::future<std::uint64_t>> answers;
    for (const auto& worker : workers_) {
      auto promise = std::make_shared<std::promise<std::uint64_t>>();
      answers.push_back(promise->get_future());
      worker->post([promise, target](Worker& own) {
        const std::uint64_t count = own.cut(*target);
        own.close_idle(*target);
        promise->set_value(count);
      });
    }
    std::size_t missing = 0;
    cut += sum_of(answers, missing);
    if (missing != 0) {
      log_event(LogLevel::error, "edge", "drain",
                {{"vm", vm_id},
                 {"result", "late"},
                 {"workers", missing},
                 {"reason", "they do not answer"}});
    }
    target->draining.store(false);
  }
  log_event("edge", "drained", {{"vm", vm_id}, {"cut", cut}});
  return cut;
}

void EdgeServer::end_drains() {
  drains_end_.store(true);
  shared_.on_drained();
}

LocalEdge::ListenerNumbers EdgeServer::listeners() const {
  const std::lock_guard lock(in_force_mutex_);
  return listeners_;
}

void EdgeServer::retire(milliseconds idle, milliseconds busy) {
  const auto began = std::chrono::steady_clock::now();
  {
    const std::lock_guard lock(in_force_mutex_);
    listeners_ = {};
  }
  std::size_t clients = retire_workers(false);
  log_event("edge", "retiring", {{"clients", clients}});
  auto passed = std::chrono::steady_clock::duration::zero();
  while (clients != 0 && !drains_end_.load() && passed < std::max(idle, busy)) {
    std::this_thread::sleep_for(k_drain_poll);
    passed = std::chrono::steady_clock::now() - began;
    clients = retire_workers(passed >= idle);
  }
  log_event("edge", "retired", {{"clients_cut", clients}});
}

std::size_t EdgeServer::retire_workers(bool close_idle) {
  std::vector<std::future<std::size_t>> answers;
  for (const auto& worker : workers_) {
    auto promise = std::make_shared<std::promise<std::size_t>>();
    answers.push_back(promise->get_future());
    worker->post(
        [promise, close_idle](Worker& own) { promise->set_value(own.retire(close_idle)); });
  }
  std::size_t missing = 0;
  const std::size_t clients = sum_of(answers, missing);
  return clients + missing;  // a worker that does not answer may have clients
}

std::string EdgeServer::metrics() const {
  EdgeFigures figures;
  for (const auto& worker : workers_) figures.workers.push_back(&worker->metrics());
  figures.projects = shared_.projects.names();
  figures.generation = generation();
  figures.hosts = table().routes.size();
  figures.certificates_end_at_s = given_.ends_at_s();
  figures.now_s = std::time(nullptr);
  if (shared_.access_log) figures.access_lines_lost = shared_.access_log->lost();
  return prometheus_text(figures);
}

std::string EdgeServer::describe() const {
  return "https on port " + std::to_string(https_port()) + ", http on port " +
         std::to_string(http_port()) + ", generation " + std::to_string(generation()) + ", " +
         std::to_string(table().routes.size()) + " hostnames of deployments";
}

}  // namespace

Result<std::unique_ptr<LocalEdge>> start_edge(const EdgeConfig& config,
                                              EdgeInheritance inheritance) {
  auto server = std::make_unique<EdgeServer>();
  if (auto started = server->start(config, std::move(inheritance)); !started) {
    return tl::unexpected(started.error());
  }
  return server;
}

}  // namespace atlasflow::edge
