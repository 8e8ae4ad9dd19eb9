#include "edge/edge.hpp"

#include <algorithm>
#include <condition_variable>
#include <future>
#include <map>
#include <mutex>
#include <set>
#include <thread>
#include <tuple>
#include <utility>

#include <spdlog/spdlog.h>

#include "edge/http_guard.hpp"
#include "edge/local_ca.hpp"
#include "edge/worker.hpp"

namespace atlasflow::edge {
namespace {

using std::chrono::milliseconds;
using TargetKey = std::tuple<std::string, std::string, std::uint16_t>;

constexpr milliseconds k_adopt_max{10'000};
// A drain is told when a request ends; should that be missed, it looks by itself.
constexpr milliseconds k_drain_poll{20};

class EdgeServer final : public Edge {
 public:
  ~EdgeServer() override {
    for (const auto& worker : workers_) worker->stop();
  }

  Result<void> start(const EdgeConfig& config);

  Result<void> publish(const RouteTable& table) override;
  std::uint64_t generation() const override { return generation_.load(); }
  std::uint64_t drain(const std::string& vm_id, milliseconds deadline) override;
  std::uint16_t http_port() const override { return http_port_; }
  std::uint16_t https_port() const override { return shared_.https_port; }
  std::filesystem::path ca_certificate() const override { return ca_->certificate_path(); }

 private:
  Result<std::unique_ptr<RouteSnapshot>> compile(const RouteTable& table);
  Result<Target*> target_for(const Upstream& upstream);
  Result<std::shared_ptr<const CertificateMap>> certificates_for(const RouteTable& table) const;
  bool wait_until_adopted(std::uint64_t generation);
  void mark_retired();
  void reclaim();

  Shared shared_;
  std::optional<LocalCa> ca_;
  std::uint16_t http_port_ = 0;

  std::mutex publish_mutex_;  // one publish at a time; guards what follows
  std::unique_ptr<RouteSnapshot> current_;
  std::vector<std::unique_ptr<RouteSnapshot>> superseded_;  // a worker may still use them
  std::atomic<std::uint64_t> generation_{0};

  std::mutex targets_mutex_;
  std::map<TargetKey, std::shared_ptr<Target>> targets_;

  std::mutex progress_mutex_;
  std::condition_variable progress_;

  std::vector<std::unique_ptr<Worker>> workers_;  // last: they end first
};

Result<void> EdgeServer::start(const EdgeConfig& config) {
  shared_.config = config;
  std::string domain;
  if (!normalise_host(config.domain, domain) || domain != config.domain) {
    return fail(ErrorCode::invalid_argument,
                "'" + config.domain + "' is no domain in lower case, such as example.org");
  }
  auto ca = LocalCa::open_or_create(config.ca_dir, domain);
  if (!ca) return tl::unexpected(ca.error());
  ca_ = std::move(*ca);
  auto keys = make_ticket_keys();
  if (!keys) return tl::unexpected(keys.error());
  shared_.ticket_keys = *keys;
  const auto notify = [this] {
    const std::lock_guard lock(progress_mutex_);
    progress_.notify_all();
  };
  shared_.on_adopted = notify;
  shared_.on_drained = notify;

  const std::size_t count = config.workers > 0 ? static_cast<std::size_t>(config.workers)
                                               : std::max(1U, std::thread::hardware_concurrency());
  for (std::size_t i = 0; i < count; ++i) {
    workers_.push_back(std::make_unique<Worker>(shared_, i));
  }
  auto first = compile({});
  if (!first) return tl::unexpected(first.error());
  current_ = std::move(*first);
  shared_.snapshot.store(current_.get(), std::memory_order_release);

  // All listeners stand before the first worker starts: the kernel spreads connections over them.
  std::vector<std::pair<Fd, Fd>> listeners;
  http_port_ = config.http_port;
  shared_.https_port = config.https_port;
  for (std::size_t i = 0; i < count; ++i) {
    auto http = listen_tcp(config.http_address, http_port_, i == 0);
    if (!http) return tl::unexpected(http.error());
    auto https = listen_tcp(config.https_address, shared_.https_port, i == 0);
    if (!https) return tl::unexpected(https.error());
    http_port_ = local_port(*http);
    shared_.https_port = local_port(*https);
    listeners.emplace_back(std::move(*http), std::move(*https));
  }
  for (std::size_t i = 0; i < count; ++i) {
    auto started =
        workers_[i]->start(std::move(listeners[i].first), std::move(listeners[i].second));
    if (!started) return started;
  }
  spdlog::info("edge=started http_port={} https_port={} workers={} domain={}", http_port_,
               shared_.https_port, count, domain);
  return {};
}

Result<Target*> EdgeServer::target_for(const Upstream& upstream) {
  const TargetKey key{upstream.vm_id, upstream.address, upstream.port};
  if (const auto it = targets_.find(key); it != targets_.end()) return it->second.get();
  auto address = parse_socket_address(upstream.address, upstream.port);
  if (!address) return tl::unexpected(address.error());
  if (address->family() != AF_UNIX && upstream.port == 0) {
    return fail(ErrorCode::invalid_argument, "the upstream " + upstream.address + " has no port");
  }
  auto target = std::make_shared<Target>(upstream, *address, workers_.size());
  target->retired.store(true);  // until a published table names it
  return targets_.emplace(key, std::move(target)).first->second.get();
}

Result<std::unique_ptr<RouteSnapshot>> EdgeServer::compile(const RouteTable& table) {
  auto snapshot = std::make_unique<RouteSnapshot>();
  snapshot->generation = table.generation;
  snapshot->routes.reserve(table.routes.size());
  {
    const std::lock_guard lock(targets_mutex_);
    for (const Route& route : table.routes) {
      std::string host;
      if (!normalise_host(route.host, host) || host != route.host) {
        return fail(ErrorCode::invalid_argument,
                    "'" + route.host + "' is no host name in lower case without a port");
      }
      RouteEntry entry{route.host, route.project, route.deployment, route.unavailable_reason, {}};
      for (const Upstream& upstream : route.upstreams) {
        auto target = target_for(upstream);
        if (!target) return tl::unexpected(target.error());
        entry.targets.push_back(*target);
      }
      if (!snapshot->routes.emplace(route.host, std::move(entry)).second) {
        return fail(ErrorCode::invalid_argument, "the host '" + route.host + "' has two routes");
      }
    }
  }
  auto certificates = certificates_for(table);
  if (!certificates) return tl::unexpected(certificates.error());
  snapshot->certificates = std::move(*certificates);
  return snapshot;
}

// The wildcard covers the usual hosts; only deeper names under the domain need one of their own.
// What the last snapshot has is taken over until it is due.
Result<std::shared_ptr<const CertificateMap>> EdgeServer::certificates_for(
    const RouteTable& table) const {
  const std::string& domain = shared_.config.domain;
  const auto now = std::chrono::system_clock::now();
  const CertificateMap* before = current_ ? current_->certificates.get() : nullptr;
  const auto fresh = [&](const std::shared_ptr<const Certificate>& certificate) {
    return certificate != nullptr && certificate->renew_at > now;
  };
  auto map = std::make_shared<CertificateMap>();
  map->domain = domain;
  if (before != nullptr && fresh(before->wildcard)) {
    map->wildcard = before->wildcard;
  } else {
    auto issued = ca_->issue({"*." + domain, domain});
    if (!issued) return tl::unexpected(issued.error());
    map->wildcard = std::move(*issued);
  }
  for (const Route& route : table.routes) {
    if (!CertificateMap::is_under(route.host, domain) ||
        CertificateMap::wildcard_covers(route.host, domain)) {
      continue;
    }
    if (before != nullptr) {
      const auto it = before->exact.find(route.host);
      if (it != before->exact.end() && fresh(it->second)) {
        map->exact.emplace(route.host, it->second);
        continue;
      }
    }
    auto issued = ca_->issue({route.host});
    if (!issued) return tl::unexpected(issued.error());
    map->exact.emplace(route.host, std::move(*issued));
  }
  return map;
}

Result<void> EdgeServer::publish(const RouteTable& table) {
  const std::lock_guard lock(publish_mutex_);
  if (table.generation <= generation_.load()) {
    return fail(ErrorCode::conflict, "route table " + std::to_string(table.generation) +
                                         " is not newer than " +
                                         std::to_string(generation_.load()) + ", which is in use");
  }
  auto compiled = compile(table);
  if (!compiled) {
    reclaim();
    return tl::unexpected(compiled.error());
  }
  superseded_.push_back(std::exchange(current_, std::move(*compiled)));
  // Before any worker switches: what it then returns to a pool of a retired target is closed.
  mark_retired();
  shared_.snapshot.store(current_.get(), std::memory_order_release);
  generation_.store(table.generation);
  for (const auto& worker : workers_) worker->wake();
  if (!wait_until_adopted(table.generation)) {
    return fail(ErrorCode::timed_out,
                "route table " + std::to_string(table.generation) +
                    " is published but not yet used by all workers of the edge");
  }
  superseded_.clear();
  reclaim();
  return {};
}

bool EdgeServer::wait_until_adopted(std::uint64_t generation) {
  std::unique_lock lock(progress_mutex_);
  return progress_.wait_for(lock, k_adopt_max, [&] {
    return std::all_of(workers_.begin(), workers_.end(),
                       [&](const auto& worker) { return worker->adopted() >= generation; });
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
    for (auto it = targets_.lower_bound({vm_id, "", 0});
         it != targets_.end() && std::get<0>(it->first) == vm_id; ++it) {
      it->second->draining.store(true);
      targets.push_back(it->second);
    }
  }
  std::uint64_t cut = 0;
  for (const auto& target : targets) {
    {
      std::unique_lock lock(progress_mutex_);
      while (target->in_flight() != 0 && std::chrono::steady_clock::now() < until) {
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
    for (auto& answer : answers) cut += answer.get();
    target->draining.store(false);
  }
  spdlog::info("edge=drained vm={} cut={}", vm_id, cut);
  return cut;
}

}  // namespace

Result<std::unique_ptr<Edge>> start_edge(const EdgeConfig& config) {
  auto server = std::make_unique<EdgeServer>();
  if (auto started = server->start(config); !started) return tl::unexpected(started.error());
  return server;
}

}  // namespace atlasflow::edge
