#include "edge/control/control_server.hpp"

#include <algorithm>
#include <array>
#include <chrono>

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.hpp"
#include "edge/control/given_record.hpp"

namespace atlasflow::edge {
namespace {

using std::chrono::milliseconds;

// Who connects speaks at once, and reads its answer.
constexpr milliseconds k_speak_max{5'000};
constexpr std::size_t k_connections_max = 256;
constexpr milliseconds k_no_descriptor_pause{100};
constexpr int k_sweep_ms = 1'000;

Deadline soon() { return std::chrono::steady_clock::now() + k_speak_max; }

wire::Reply reply_to(const Result<void>& result) {
  wire::Reply reply;
  if (result) {
    reply.mutable_done();
  } else {
    *reply.mutable_failure() = to_wire(result.error());
  }
  return reply;
}

Result<void> change_certificates(Edge& edge, const wire::ChangeCertificates& request) {
  std::vector<HostCertificate> shown;
  for (const auto& each : request.shown()) shown.push_back(from_wire(each));
  return edge.change_certificates(shown, {request.removed().begin(), request.removed().end()});
}

}  // namespace

ControlServer::~ControlServer() {
  stopping_.store(true);
  edge_.end_drains();
  if (acceptor_.joinable()) {
    const std::uint64_t one = 1;
    (void)!::write(wake_.get(), &one, sizeof one);  // only fails when a wake is pending already
    acceptor_.join();
  }
  const std::lock_guard lock(mutex_);
  for (Connection& connection : connections_) {
    (void)::shutdown(connection.socket.get(), SHUT_RD);  // its answer may still go out
    connection.thread.join();
  }
}

void ControlServer::start(FileDescriptor listener) {
  listener_ = std::move(listener);
  wake_ = FileDescriptor(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
  acceptor_ = std::thread([this] { accept_loop(); });
}

void ControlServer::accept_loop() {
  while (!stopping_.load()) {
    std::array<pollfd, 2> waits{{{listener_.get(), POLLIN, 0}, {wake_.get(), POLLIN, 0}}};
    // Now and then without a caller, so that ended threads do not lie about for long.
    (void)::poll(waits.data(), waits.size(), k_sweep_ms);
    {
      const std::lock_guard lock(mutex_);
      connections_.remove_if([](Connection& connection) {
        if (!connection.done.load()) return false;
        connection.thread.join();
        return true;
      });
    }
    if (!stopping_.load() && waits[0].revents != 0) accept_one();
  }
}

void ControlServer::accept_one() {
  FileDescriptor socket(::accept4(listener_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
  if (!socket.valid()) {
    // Out of descriptors, most likely: the listener would be reported at once again.
    std::this_thread::sleep_for(k_no_descriptor_pause);
    return;
  }
  const std::lock_guard lock(mutex_);
  if (connections_.size() >= k_connections_max) {
    log_event(LogLevel::warn, "edge", "control",
              {{"result", "refused"},
               {"reason", "too many calls are under way"},
               {"calls", connections_.size()}});
    return;
  }
  Connection& connection = connections_.emplace_back();
  connection.socket = std::move(socket);
  connection.thread = std::thread([this, &connection] {
    serve(connection.socket);
    // The caller may wait for the end; the descriptor itself goes with the entry.
    (void)::shutdown(connection.socket.get(), SHUT_RDWR);
    connection.done.store(true);
  });
}

void ControlServer::serve(const FileDescriptor& socket) {
  wire::Request request;
  if (const auto hello = exchange_hello(socket, soon()); !hello) {
    if (hello.error().code == ErrorCode::conflict) {
      log_event(LogLevel::warn, "edge", "control",
                {{"result", "refused"}, {"reason", to_string(hello.error())}});
    }
    return;
  }
  if (!receive_message(socket, request, soon())) return;
  if (request.has_hand_over()) {
    hand_over(socket, soon());
    return;
  }
  const wire::Reply reply = carry_out(request);
  (void)send_message(socket, reply, soon());  // a caller that has left learns it by asking again
  if (request.has_stop()) answers_.on_stop();
  if (request.has_retire()) {
    answers_.on_retire();
    const milliseconds idle(request.retire().deadline_ms());
    edge_.retire(idle, std::max(idle, milliseconds(request.retire().busy_deadline_ms())));
    answers_.on_stop();
  }
}

wire::Reply ControlServer::carry_out(const wire::Request& request) {
  wire::Reply reply;
  switch (request.call_case()) {
    case wire::Request::kPublish:
      return reply_to(edge_.publish(from_wire(request.publish())));
    case wire::Request::kSetOwnRoute:
      return reply_to(edge_.set_own_route(from_wire(request.set_own_route())));
    case wire::Request::kChangeCertificates:
      return reply_to(change_certificates(edge_, request.change_certificates()));
    case wire::Request::kSetChallenges: {
      std::vector<Challenge> challenges;
      for (const auto& each : request.set_challenges().challenges()) {
        challenges.push_back(from_wire(each));
      }
      return reply_to(edge_.set_challenges(challenges));
    }
    case wire::Request::kGiven:
      *reply.mutable_given() = given(request.given().after());
      return reply;
    case wire::Request::kDrain:
      reply.mutable_drained()->set_requests_cut(
          edge_.drain(request.drain().vm_id(), milliseconds(request.drain().deadline_ms())));
      return reply;
    case wire::Request::kStatus:
      *reply.mutable_status() = status(request.status().with_table());
      return reply;
    case wire::Request::kMetrics:
      reply.mutable_metrics()->set_text(edge_.metrics());
      return reply;
    case wire::Request::kStop:
    case wire::Request::kRetire:
      reply.mutable_done();
      return reply;
    default:
      return reply_to(fail(ErrorCode::invalid_argument, "the edge's process knows no such call"));
  }
}

void ControlServer::hand_over(const FileDescriptor& socket, Deadline deadline) {
  const auto numbers = edge_.listeners();
  wire::Reply reply;
  if (numbers.http.empty()) {
    reply = reply_to(fail(ErrorCode::conflict, "this edge has given its listeners away already"));
    (void)send_message(socket, reply, deadline);
    return;
  }
  auto* over = reply.mutable_handed_over();
  over->set_http_listeners(static_cast<std::uint32_t>(numbers.http.size()));
  over->set_https_listeners(static_cast<std::uint32_t>(numbers.https.size()));
  *over->mutable_status() = status(true);
  std::vector<int> descriptors = numbers.http;
  descriptors.insert(descriptors.end(), numbers.https.begin(), numbers.https.end());
  if (send_message(socket, reply, deadline)) {
    (void)send_descriptors(socket, descriptors, deadline);
  }
}

wire::Status ControlServer::status(bool with_table) const {
  wire::Status status;
  status.set_pid(::getpid());
  status.set_http_port(edge_.http_port());
  status.set_https_port(edge_.https_port());
  status.set_ca_certificate(edge_.ca_certificate().string());
  status.set_build_id(answers_.build_id);
  status.set_config_digest(answers_.config_digest);
  status.set_generation(edge_.generation());
  if (with_table) {
    *status.mutable_table() = to_wire(edge_.table());
    if (const auto own = edge_.own_route()) *status.mutable_own_route() = to_wire(*own);
  }
  return status;
}

wire::Given ControlServer::given(const std::string& after) const {
  wire::Given page;
  for (const auto& each : edge_.certificates_behind(after, k_given_page_bytes)) {
    *page.add_certificates() = to_wire(each);
  }
  if (after.empty()) {
    for (const auto& each : edge_.challenges()) *page.add_challenges() = to_wire(each);
    *page.mutable_tickets() = to_wire(edge_.tickets());
  }
  return page;
}

}  // namespace atlasflow::edge
