#include "sim/world/outside.hpp"

#include <algorithm>
#include <array>
#include <stdexcept>

#include "edge/control/control_message.hpp"
#include "sim/world/outside_call.hpp"
#include "sim/world/outside_domains.hpp"

namespace atlasflow::sim {
namespace {

constexpr TimestampUs k_ms = 1'000;
constexpr TimestampUs k_s = 1'000'000;
constexpr TimestampUs k_stop_timeout = 30 * k_s;
constexpr TimestampUs k_call_timeout = 12 * k_s;  // of the edge's client and the registry's

tl::unexpected<Error> killed() {
  return fail(ErrorCode::cancelled, "the control plane was killed");
}
tl::unexpected<Error> stopped() { return fail(ErrorCode::cancelled, "stopped"); }

// Through the edge's control protocol and back: what does not survive it does not reach the edge.
World::Table over_the_wire(std::uint64_t generation, const std::vector<actors::RouteClaim>& claims,
                           Witness& witness) {
  edge::RouteTable table;
  table.generation = generation;
  for (const auto& claim : claims) {
    edge::Route route{claim.host, claim.project, claim.deployment, {}, claim.unavailable_reason};
    route.limits = {claim.terms.request_rate, claim.terms.max_concurrent_requests};
    route.unavailable_message = claim.terms.unavailable_message;
    route.protocol = claim.terms.h2c ? edge::AppProtocol::h2c : edge::AppProtocol::http1;
    for (const auto& upstream : claim.upstreams) {
      route.upstreams.push_back({upstream.vm_id.str(), upstream.location.address,
                                 static_cast<std::uint16_t>(upstream.location.port)});
    }
    table.routes.push_back(std::move(route));
  }
  const auto bytes = edge::to_wire(table).SerializeAsString();
  witness.on_bytes(bytes);
  edge::wire::RouteTable received;
  if (!received.ParseFromString(bytes)) throw std::runtime_error("a route table does not parse");
  World::Table arrived{received.generation(), {}};
  for (const auto& route : edge::from_wire(received).routes) {
    actors::RouteClaim claim{route.host,
                             route.project,
                             route.deployment,
                             {},
                             route.unavailable_reason,
                             {route.limits.request_rate, route.limits.concurrent_requests_max,
                              route.unavailable_message, route.protocol == edge::AppProtocol::h2c}};
    for (const auto& upstream : route.upstreams) {
      claim.upstreams.push_back({VmId{upstream.vm_id}, {upstream.address, upstream.port}});
    }
    arrived.second.push_back(std::move(claim));
  }
  return arrived;
}

}  // namespace

// One host, seen through the network.
class OutsideHost final : public actors::VmEngine {
 public:
  OutsideHost(Outside& outside, std::string name, actors::VmEngine& host)
      : outside_(outside), name_(std::move(name)), host_(host) {}

  Result<actors::StartedVm> start(const actors::VmJob& job, std::stop_token stop) override {
    const Outside::Way way{name_, job.remaining.count(), 200 * k_ms};
    ATLAS_TRYV(outside_.reach({"registry", job.remaining.count(), 0}, stop));
    return outside_.call(way, stop, [&] {
      outside_.parts_.witness.on_effect(Witness::Act::start_vm, job.vm_id.str());
      outside_.parts_.witness.on_values(Witness::Act::start_vm, job.deployment, job.env);
      return host_.start(job, stop);
    });
  }
  actors::VmObservation observe(const VmId& vm_id) override {
    static_cast<void>(outside_.reach({name_, 0, 0}, {}));
    return host_.observe(vm_id);
  }
  actors::ProbeObservation probe(const VmId& vm_id, const std::string& path,
                                 const std::string& host) override {
    constexpr TimestampUs k_probe_timeout = 5 * k_s;
    const auto reached = outside_.reach({name_, k_probe_timeout, 0}, {});
    if (!reached) return {0, "no answer"};
    return host_.probe(vm_id, path, host);
  }
  Result<std::int32_t> stop(const VmId& vm_id) override {
    return outside_.call({name_, k_stop_timeout, 10 * k_ms}, {}, [&] {
      outside_.parts_.witness.on_stop(vm_id);
      return host_.stop(vm_id);
    });
  }
  std::vector<VmId> list() override {
    static_cast<void>(outside_.reach({name_, 0, 0}, {}));
    return host_.list();
  }
  bool ping() override {
    return outside_.parts_.weather.back_at(name_) <= outside_.parts_.world.agenda.now() &&
           host_.ping();
  }
  Result<std::vector<std::string>> collect_disks(const actors::KeepSource& keep,
                                                 std::stop_token stop) override {
    return outside_.call({name_, 60 * k_s, 0}, stop,
                         [&] { return host_.collect_disks(keep, stop); });
  }
  std::int64_t memory_mib() const override { return host_.memory_mib(); }
  std::string describe() const override { return host_.describe(); }

 private:
  Outside& outside_;
  std::string name_;
  actors::VmEngine& host_;
};

Outside::Outside(Parts parts)
    : parts_(std::move(parts)),
      world_(parts_.world),
      domains_(std::make_unique<OutsideDomains>(*this)) {
  for (const auto& [name, host] : world_.engines().hosts) {
    hosts_[name] = std::make_unique<OutsideHost>(*this, name.str(), *host);
  }
}

Outside::~Outside() = default;

actors::Engines Outside::engines() {
  actors::Engines engines;
  engines.build = this;
  engines.edge = this;
  engines.notify = this;
  engines.domains = domains_.get();
  for (auto& [name, host] : hosts_) engines.hosts[name] = host.get();
  return engines;
}

void Outside::kill() {
  dead_ = true;
  world_.kill();
}

TimestampUs Outside::lateness() {
  constexpr std::array<TimestampUs, 6> k_delays{10 * k_ms, 100 * k_ms, k_s,
                                                3 * k_s,   10 * k_s,   20 * k_s};
  return k_delays.at(parts_.choices.below(k_delays.size()));
}

Result<void> Outside::sleep(TimestampUs delay, const std::stop_token& stop) {
  switch (parts_.waits.wait(delay, stop)) {
    case Waits::End::due:
      return {};
    case Waits::End::stopped:
      return stopped();
    case Waits::End::killed:
      break;
  }
  return killed();
}

Result<void> Outside::reach(const Way& way, const std::stop_token& stop) {
  const auto begun = parts_.world.agenda.now();
  for (;;) {
    if (dead_) return killed();
    const auto now = parts_.world.agenda.now();
    const auto back = parts_.weather.back_at(way.where);
    if (back <= now) return {};
    if (way.limit != 0 && now >= begun + way.limit) {
      return fail(ErrorCode::timed_out, "injected: " + way.where + " did not answer");
    }
    // In pieces: everything may heal earlier than was planned.
    auto wait = std::min(back - now, k_s);
    if (way.limit != 0) wait = std::min(wait, begun + way.limit - now);
    if (auto slept = sleep(wait, stop); !slept) return slept;
  }
}

Result<actors::ResolvedRef> Outside::resolve(const ProjectState& project, const std::string& branch,
                                             std::chrono::milliseconds at_most) {
  return world_.resolve(project, branch, at_most);
}

Result<pb::Cloned> Outside::clone(const actors::SourceJob& job, std::stop_token stop) {
  return call({"git", job.remaining.count(), 300 * k_ms}, stop, [&] {
    parts_.witness.on_effect(Witness::Act::clone, job.effect.str());
    return world_.clone(job, stop);
  });
}

Result<pb::Built> Outside::build(const actors::SourceJob& job, std::stop_token stop) {
  if (parts_.weather.builder_deaths > 0) {
    --parts_.weather.builder_deaths;
    throw std::runtime_error("injected: the builder dies");
  }
  constexpr TimestampUs k_slow = 40 * k_s;
  const bool slow = parts_.github.app_of(job.sha) == AppKind::slow_build;
  return call({"builder", job.remaining.count(), slow ? k_slow : 2 * k_s}, stop, [&] {
    parts_.witness.on_effect(Witness::Act::build, job.effect.str());
    parts_.witness.on_values(Witness::Act::build, job.deployment.str(), job.secrets);
    return world_.build(job, stop);
  });
}

Result<pb::ImagePushed> Outside::push(const std::string& image_id, const std::string& repository,
                                      std::stop_token stop) {
  return call({"registry", 0, 100 * k_ms}, stop,
              [&] { return world_.push(image_id, repository, stop); });
}

std::vector<actors::SourceRemains> Outside::inventory() { return world_.inventory(); }
void Outside::reap(const actors::SourceRemains& remains) { world_.reap(remains); }
void Outside::forget(const DeploymentId& deployment) { world_.forget(deployment); }

Result<std::vector<std::string>> Outside::collect_images(const actors::KeepSource& keep,
                                                         std::stop_token stop) {
  return call({"registry", 60 * k_s, 0}, stop, [&] { return world_.collect_images(keep, stop); });
}

Result<void> Outside::publish(std::uint64_t generation,
                              const std::vector<actors::RouteClaim>& table) {
  return call({"edge", k_call_timeout, 2 * k_ms}, {}, [&]() -> Result<void> {
    const auto arrived = over_the_wire(generation, table, parts_.witness);
    // The edge refuses a generation that is not higher; a table that came twice is of no harm.
    if (arrived.first <= world_.generation()) {
      return fail(ErrorCode::conflict, "the generation is not higher than the published one");
    }
    auto published = world_.publish(arrived.first, arrived.second);
    if (published) parts_.witness.on_table(parts_.world.tables.back());
    return published;
  });
}

std::uint64_t Outside::drain(const VmId& vm_id, std::chrono::microseconds deadline) {
  // Requests that are being answered take a while, and may outlast the deadline.
  const auto takes = std::min<TimestampUs>(lateness(), deadline.count());
  static_cast<void>(parts_.waits.wait(takes));
  static_cast<void>(world_.drain(vm_id, deadline));
  return takes == deadline.count() ? 1 : 0;
}

std::uint64_t Outside::generation() const { return world_.generation(); }

Result<std::int32_t> Outside::post(const Notification& notification, std::stop_token stop) {
  constexpr TimestampUs k_post_timeout = 10 * k_s;
  return call({"receiver", k_post_timeout, 20 * k_ms}, stop, [&]() -> Result<std::int32_t> {
    parts_.witness.on_bytes(notification.delivery());
    if (parts_.choices.chance(static_cast<std::uint64_t>(parts_.weather.rates.receiver_fails),
                              1000)) {
      return 500;
    }
    return world_.post(notification, stop);
  });
}

}  // namespace atlasflow::sim
