// The client's side of a worker's connections: heads, the answers that the edge gives itself,
// tunnels, closing.
#include <algorithm>
#include <array>
#include <chrono>
#include <ctime>
#include <utility>

#include <spdlog/spdlog.h>

#include "edge/proxy/forward.hpp"
#include "edge/proxy/worker.hpp"
#include "http/guard.hpp"

namespace atlasflow::edge {
namespace {

using std::chrono::milliseconds;

constexpr std::size_t k_high_water = 2 * k_slab_bytes;  // more is not read while so much waits
// Then others have a turn: the bound of everything that a peer can make a worker do at once. What
// is left goes on in the next turn.
constexpr int k_rounds_per_pump = 32;
constexpr int k_reads_per_pump = 8;
constexpr std::size_t k_linger_bytes = std::size_t{1024} * 1024;
constexpr std::uint64_t k_discard_bytes_max = std::uint64_t{64} * 1024;

}  // namespace

void Worker::pump(ClientConnection& client) {
  clock_.step();
  clock_.heed();  // what was meant for the step before
  run_again_.remove(client);
  reads_left_ = k_reads_per_pump;
  bool any_progress = false;
  for (int round = 0; round < k_rounds_per_pump && reads_left_ > 0; ++round) {
    bool progress = flush(client);
    if (client.closed) return;
    switch (client.phase) {
      case Phase::handshake:
        progress |= step_handshake(client);
        break;
      case Phase::head:
        progress |= step_head(client);
        break;
      case Phase::exchange:
        progress |= step_request(client);
        if (!client.closed && client.phase == Phase::exchange) progress |= step_upstream(client);
        break;
      case Phase::discard:
        progress |= step_discard(client);
        break;
      case Phase::tunnel:
        progress |= step_tunnel(client);
        break;
      case Phase::closing:
        progress |= step_closing(client);
        break;
    }
    if (client.closed) return;
    if (clock_.overdue()) {
      cut_overdue(client);
      return;
    }
    any_progress |= progress;
    if (!progress && reads_left_ > 0) {
      update_deadline(client, any_progress);
      return;
    }
  }
  update_deadline(client, any_progress);
  run_again_.push_back(client);
}

// Whether this connection may read once more in this turn; if not it goes on in the next.
bool Worker::may_read() {
  if (reads_left_ <= 0 || clock_.overdue()) return false;
  --reads_left_;
  return true;
}

// The watch has found that this connection alone has kept the worker for a second.
void Worker::cut_overdue(ClientConnection& client) {
  clock_.heed();
  const std::string host =
      client.exchange.has_head ? std::string(client.parser.head().host) : std::string("-");
  spdlog::error(
      "edge=watchdog result=connection_cut worker={} client={} host={} phase={} "
      "reason=\"it kept the worker for over a second\"",
      index_, client.address, host, static_cast<int>(client.phase));
  close_client(client);
}

bool Worker::flush(ClientConnection& client) {
  bool progress = false;
  while (!client.out.empty() && client.stream.writable()) {
    const IoResult result = client.stream.write(client.out.view());
    if (result.status == IoStatus::failed) {
      close_client(client);
      return true;
    }
    if (result.status != IoStatus::ok) break;
    client.out.consume(result.bytes);
    progress = true;
  }
  return progress;
}

// Reads once into the client's input. True when something came of it: bytes, or the end.
bool Worker::fill(ClientConnection& client) {
  if (client.ended || !client.stream.readable() || client.in.size() >= k_slab_bytes) return false;
  if (!may_read()) return false;
  char* space = client.in.reserve(k_slab_bytes - client.in.size());
  const IoResult result = client.stream.read(space, client.in.room());
  if (result.status == IoStatus::ok) {
    client.in.commit(result.bytes);
    return true;
  }
  if (client.in.empty()) client.in.clear();
  if (result.status == IoStatus::would_block) return false;
  client.ended = true;
  client.broken = result.status == IoStatus::failed;
  client.deadline_ms = 0;  // from now on it is waited for otherwise
  return true;
}

bool Worker::step_head(ClientConnection& client) {
  if (client.out.size() >= k_high_water) return false;  // it pipelines but does not read
  bool progress = false;
  if (client.in.empty()) {
    progress = fill(client);
    if (client.in.empty()) {
      if (!client.ended) return progress;
      if (client.out.empty()) {
        close_client(client);
      } else {
        client.phase = Phase::closing;
      }
      return true;
    }
  }
  const http::ParseStep step = client.parser.next(client.in.view());
  client.in.consume(step.consumed);
  if (step.event == http::ParseEvent::head) {
    begin_request(client);
  } else if (step.event == http::ParseEvent::error) {
    client.exchange.reset();
    make_request_id(client);
    refuse_message(client, client.parser.error());
  }
  return true;
}

void Worker::refuse_message(ClientConnection& client, const http::HttpError& error) {
  client.exchange.close_after = true;
  answer(client, {error.status, "bad_request", std::string(http::reason_phrase(error.status)),
                  std::string(error.reason)});
}

// In the clear, as the client speaks.
void Worker::refuse_plain_http(ClientConnection& client) {
  client.exchange.reset();
  make_request_id(client);
  answer(client, {400, "plain_http", "This port speaks https",
                  "The request came as plain http to a port that speaks https. Begin the address "
                  "with https://."});
}

void Worker::begin_request(ClientConnection& client) {
  Exchange& exchange = client.exchange;
  const http::RequestHead& head = client.parser.head();
  exchange.reset();
  // From here on it is being served, and may not be closed for another.
  for (auto& list : quiet_) list.remove(client);
  exchange.has_head = true;
  exchange.to_head = head.method == "HEAD";
  exchange.first_attempt_ms = now_ms_;
  make_request_id(client);
  if (head.framing == http::Framing::none) {
    exchange.request_complete = client.parser.next({}).event == http::ParseEvent::complete;
  }
  if (const auto error = check_connection_options(head.connection_options)) {
    refuse_message(client, *error);
    return;
  }
  if (answered_by_edge(client)) return;
  const ClientIdentity identity{client.address, client.https, client.local_port, client.request_id};
  write_request_head(head, identity, exchange.request);
  client.phase = Phase::exchange;
  attempt(client);
}

// The route of the request's host if it has somewhere to go; otherwise the answer has been given.
const RouteEntry* Worker::find_ready_route(ClientConnection& client) {
  const std::string_view host = client.parser.head().host;
  const RouteEntry* route = snapshot_->find(host);
  if (route == nullptr) {
    const std::string name = host.empty() ? "(no host given)" : std::string(host);
    answer(client, {404, "unknown_host", "No deployment answers for " + name,
                    "No deployment answers for the host \"" + name +
                        "\" here. Check the spelling, or deploy a project with this host name."});
    return nullptr;
  }
  if (route->targets.empty()) {
    const std::string why = route->unavailable_reason.empty() ? "no instance of it is ready"
                                                              : route->unavailable_reason;
    answer(client, {503, "no_instance", route->host + " is not available now",
                    route->host + " is not available now: " + why, 5});
    return nullptr;
  }
  return route;
}

bool Worker::answered_by_edge(ClientConnection& client) {
  const http::RequestHead& head = client.parser.head();
  const Certificate* certificate = certificates_->find(head.host);
  if (client.https && certificates_->find(client.server_name) != certificate) {
    answer(client, {421, "misdirected", "This connection is not for that host",
                    "The TLS connection was opened for " + client.server_name +
                        "; open another one for " + std::string(head.host) + "."});
    return true;
  }
  const bool known = snapshot_->find(head.host) != nullptr;
  if (known && head.path == "*") {
    answer(client, {204, "", "", ""});
    return true;
  }
  // A host without a certificate of ours could only be redirected into a failed handshake.
  if (known && !client.https && shared_.config.redirect_http && certificate != nullptr) {
    std::string location = "https://" + std::string(head.host);
    if (shared_.https_port != 443) location += ":" + std::to_string(shared_.https_port);
    location += head.path;
    const bool safe = head.method == "GET" || head.method == "HEAD";
    answer(client,
           {safe ? 301 : 308, "", "This site speaks https", "See " + location, 0, location});
    return true;
  }
  return find_ready_route(client) == nullptr;
}

// Gives the edge's own answer and ends the request; the rest of a small body is read so that the
// connection can be kept, a large one ends it.
void Worker::answer(ClientConnection& client, const EdgeAnswer& answer) {
  Exchange& exchange = client.exchange;
  drop_upstream(client);
  leave_target(client);
  release_held(client);
  AnswerContext context;
  context.request_id = client.request_id;
  context.now = std::time(nullptr);
  bool discard = false;
  bool close = true;
  if (exchange.has_head) {
    const http::RequestHead& head = client.parser.head();
    if (const http::Field* accept = http::find_field(head.fields, "Accept"))
      context.accept = accept->value;
    context.to_head = exchange.to_head;
    context.client_http10 = head.minor_version == 0;
    discard = !exchange.request_complete && head.framing == http::Framing::length &&
              head.content_length <= k_discard_bytes_max && !head.expect_continue;
    close = retiring_ || exchange.close_after || !head.keep_alive || head.upgrade_websocket ||
            !(exchange.request_complete || discard);
  }
  context.close = close;
  client.out.append(render_answer(answer, context));
  if (close) {
    client.linger_left = exchange.request_complete ? 0 : k_linger_bytes;
    client.phase = Phase::closing;
  } else if (discard) {
    client.phase = Phase::discard;
  } else {
    end_request(client);
  }
}

void Worker::end_request(ClientConnection& client) {
  client.parser.reset();
  client.exchange.reset();
  ++client.requests;
  client.deadline_ms = 0;  // a new wait begins, even if it is of the same kind
  client.wait = Wait::idle;
  client.phase = Phase::head;
}

bool Worker::step_discard(ClientConnection& client) {
  const http::ParseStep step = client.parser.next(client.in.view());
  client.exchange.body_bytes += step.body.size();
  client.in.consume(step.consumed);
  switch (step.event) {
    case http::ParseEvent::complete:
      end_request(client);
      return true;
    case http::ParseEvent::need_more:
      if (client.ended) {
        client.phase = Phase::closing;
        return true;
      }
      return fill(client);
    case http::ParseEvent::error:
      client.phase = Phase::closing;
      return true;
    default:
      return true;
  }
}

// Two-way copy. Each side's end is passed on when all before it has been.
bool Worker::step_tunnel(ClientConnection& client) {
  UpstreamConnection& upstream = *client.exchange.upstream;
  bool progress = false;
  if (client.in.empty()) progress |= fill(client);
  if (!client.in.empty() && upstream.stream.writable()) {
    const IoResult result = upstream.stream.write(client.in.view());
    if (result.status == IoStatus::failed) {
      close_client(client);
      return true;
    }
    client.in.consume(result.bytes);
    progress |= result.bytes > 0;
  }
  if (client.ended && client.in.empty() && !client.tunnel_up_closed) {
    upstream.stream.shutdown_write();
    client.tunnel_up_closed = progress = true;
  }
  if (upstream.in.empty() && !upstream.ended && upstream.stream.readable() && may_read()) {
    char* space = upstream.in.reserve(k_slab_bytes);
    const IoResult result = upstream.stream.read(space, upstream.in.room());
    upstream.in.commit(result.bytes);
    if (upstream.in.empty()) upstream.in.clear();
    upstream.ended = result.status == IoStatus::closed || result.status == IoStatus::failed;
    progress |= result.bytes > 0 || upstream.ended;
  }
  if (client.out.empty() && !upstream.in.empty() && client.stream.writable()) {
    const IoResult result = client.stream.write(upstream.in.view());
    if (result.status == IoStatus::failed) {
      close_client(client);
      return true;
    }
    upstream.in.consume(result.bytes);
    progress |= result.bytes > 0;
  }
  if (upstream.ended && upstream.in.empty() && client.out.empty() && !client.write_closed) {
    client.stream.shutdown_write();
    client.write_closed = progress = true;
  }
  if (client.tunnel_up_closed && client.write_closed) close_client(client);
  return progress;
}

// What was answered has to arrive: closing a socket with unread input would reset the connection
// and could take the answer with it, so the rest is read and dropped for a moment.
bool Worker::step_closing(ClientConnection& client) {
  if (!client.out.empty()) return false;
  if (client.ended || (client.linger_left == 0 && client.in.empty() && client.write_closed)) {
    close_client(client);
    return true;
  }
  if (!client.write_closed) {
    client.stream.shutdown_write();
    client.write_closed = true;
    if (!client.in.empty() && client.linger_left == 0) client.linger_left = k_linger_bytes;
    return true;
  }
  client.linger_left -= std::min(client.linger_left, client.in.size());
  client.in.clear();
  return fill(client);
}

// UUID version 7: sorts by time, so logs can be searched by it.
void Worker::make_request_id(ClientConnection& client) {
  static constexpr std::string_view k_hex = "0123456789abcdef";
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  const auto ms = static_cast<std::uint64_t>(std::chrono::duration_cast<milliseconds>(now).count());
  const std::uint64_t high = (ms << 16U) | 0x7000U | (random_() & 0x0FFFU);
  const std::uint64_t low = (random_() & 0x3FFFFFFFFFFFFFFFULL) | 0x8000000000000000ULL;
  std::array<char, 36> text{};
  std::size_t at = 0;
  for (unsigned nibble = 0; nibble < 32; ++nibble) {
    if (nibble == 8 || nibble == 12 || nibble == 16 || nibble == 20) text[at++] = '-';
    const std::uint64_t half = nibble < 16 ? high : low;
    text[at++] = k_hex[(half >> (60U - 4U * (nibble % 16U))) & 15U];
  }
  client.request_id.assign(text.data(), text.size());
}

}  // namespace atlasflow::edge
