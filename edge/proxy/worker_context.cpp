#include "edge/proxy/worker_context.hpp"

#include <algorithm>

#include <sys/epoll.h>

namespace atlasflow::edge {
namespace {

constexpr int k_log_lines_per_second = 10;

http::HttpLimits message_limits_of(const EdgeLimits& limits) {
  http::HttpLimits of;
  of.target_bytes_max = static_cast<std::size_t>(limits.url_bytes_max);
  of.head_bytes_max = static_cast<std::size_t>(limits.head_bytes_max);
  of.fields_max = static_cast<std::size_t>(limits.fields_max);
  return of;
}

}  // namespace

const std::uint32_t Poller::k_edge_events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;

bool Poller::open() {
  epoll_ = FileDescriptor(::epoll_create1(EPOLL_CLOEXEC));
  return epoll_.valid();
}

bool Poller::watch(int fd, Endpoint& endpoint, std::uint32_t events) const {
  epoll_event event{};
  event.events = events;
  event.data.ptr = &endpoint;
  return ::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) == 0;
}

void Poller::forget(int fd) const { (void)::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr); }

bool LogBudget::allows(std::int64_t now_ms) {
  if (second_ != now_ms / 1000) {
    second_ = now_ms / 1000;
    lines_ = 0;
  }
  if (++lines_ <= k_log_lines_per_second) return true;
  ++left_out_;
  return false;
}

WorkerContext::WorkerContext(Shared& of_all, std::size_t worker, std::size_t workers)
    : shared(of_all),
      index(worker),
      requests_max(std::max<std::int64_t>(
          1, of_all.config.limits.requests_per_instance / static_cast<std::int64_t>(workers))),
      message_limits(message_limits_of(of_all.config.limits)),
      ticket_keys(of_all.tickets.get()),
      upstreams(*this),
      admission(*this, of_all.config.limits, workers) {}

}  // namespace atlasflow::edge
