// The connection's bytes, and what its streams ask of it. h2c_session.cpp has what nghttp2 tells.
#include "edge/h2c/h2c_connection.hpp"

#include <algorithm>
#include <utility>

#include <sys/socket.h>

#include "base/log.hpp"
#include "edge/h2c/request_fields.hpp"
#include "edge/proxy/client_connection.hpp"
#include "edge/proxy/stream.hpp"
#include "edge/proxy/worker_context.hpp"

namespace atlasflow::edge {
namespace {

// Nothing more is framed for the application while so much waits for it.
constexpr std::size_t k_high_water = 2 * k_slab_bytes;
// Then others have a turn.
constexpr int k_reads_per_pump = 8;
// Requests that have waited for so long together, and left with nothing at all having come
// meanwhile, speak against their connection: deadlines of gRPC calls are short, so they add up.
constexpr std::int64_t k_silence_ms = 2'000;

}  // namespace

H2cConnection::H2cConnection(WorkerContext& context, FileDescriptor socket, Target& target,
                             bool connecting)
    : Endpoint(Kind::h2c),
      context_(context),
      socket_(std::move(socket)),
      target_(target),
      in_(context.slabs),
      out_(context.slabs),
      connecting_(connecting) {
  socket_.set_fresh(!connecting);
}

void H2cConnection::pump() {
  if (closed_) return;
  context_.clock.step();
  context_.clock.heed();  // what was meant for the step before
  if (connecting_ && !connect_ended()) return;
  context_.reads_left = k_reads_per_pump;
  receive();
  if (!closed_) send();
  if (!closed_ && context_.clock.overdue()) {
    context_.clock.heed();
    log_event(
        LogLevel::error, "edge", "watchdog",
        {{"result", "connection_cut"},
         {"worker", context_.index},
         {"vm", target_.upstream.vm_id},
         {"reason", "its HTTP/2 connection to the application kept the worker for over a second"}});
    lose(H2cExchange::End::lost);
  }
}

// Whether it is connected. It may have been closed, when that has failed.
bool H2cConnection::connect_ended() {
  if (!socket_.writable() && !socket_.hung_up()) return false;
  int code = 0;
  socklen_t bytes = sizeof code;
  if (::getsockopt(socket_.fd(), SOL_SOCKET, SO_ERROR, &code, &bytes) != 0 || code != 0) {
    lose(H2cExchange::End::unreachable);
    return false;
  }
  connecting_ = false;
  return true;
}

void H2cConnection::receive() {
  while (!closed_ && socket_.readable()) {
    if (!context_.may_read()) {
      due();
      return;
    }
    char* space = in_.reserve(k_slab_bytes);
    const IoResult result = socket_.read(space, in_.room());
    if (result.status == IoStatus::would_block) break;
    if (result.status != IoStatus::ok) {
      lose(ready_ ? H2cExchange::End::lost : H2cExchange::End::unreachable);
      return;
    }
    in_.commit(result.bytes);
    heard_ms_ = context_.now_ms;
    vain_ms_ = 0;
    const std::string_view bytes = in_.view();
    const ssize_t taken = nghttp2_session_mem_recv(
        session_.get(), reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size());
    in_.clear();
    if (not_http2_ || taken < 0) {
      lose(ready_ ? H2cExchange::End::lost : H2cExchange::End::not_http2);
      return;
    }
  }
  if (in_.empty()) in_.clear();
}

void H2cConnection::send() {
  write();
  while (!closed_ && out_.size() < k_high_water) {
    const std::uint8_t* bytes = nullptr;
    const ssize_t size = nghttp2_session_mem_send(session_.get(), &bytes);
    if (size < 0) {
      lose(H2cExchange::End::lost);
      return;
    }
    if (size == 0) break;
    out_.append({reinterpret_cast<const char*>(bytes), static_cast<std::size_t>(size)});
    // While the socket takes all of it, whatever streams have is framed in this turn.
    if (out_.size() >= k_high_water) write();
  }
  if (closed_) return;
  write();
  // Its last stream after a GOAWAY has ended, or one of the sides has broken the protocol.
  const bool over = nghttp2_session_want_read(session_.get()) == 0 &&
                    nghttp2_session_want_write(session_.get()) == 0;
  // What has left is cancelled by the connection's end as well as by a frame that is not read.
  const bool left = std::all_of(exchanges_.begin(), exchanges_.end(),
                                [](const auto& each) { return each->stream == nullptr; });
  if (!closed_ && (over || (draining_ && left))) lose(H2cExchange::End::lost);
}

void H2cConnection::write() {
  while (!out_.empty() && socket_.writable()) {
    const IoResult result = socket_.write(out_.view());
    if (result.status == IoStatus::failed) {
      // What it has said before it left may be there to be read.
      socket_.assume_readable();
      out_.clear();
      due();
      return;
    }
    if (result.status != IoStatus::ok) return;
    out_.consume(result.bytes);
  }
}

bool H2cConnection::takes_more() const {
  if (closed_ || draining_) return false;
  if (ready_ && nghttp2_session_check_request_allowed(session_.get()) == 0) return false;
  const std::size_t allowed = ready_ ? nghttp2_session_get_remote_settings(
                                           session_.get(), NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS)
                                     : target_.cells[context_.index].h2c_streams_max;
  return exchanges_.size() < std::min(allowed, k_streams_max);
}

void H2cConnection::look() {
  if (closed_ || connecting_) return;
  socket_.assume_readable();
  receive();
}

void H2cConnection::add(Stream& stream) {
  context_.upstreams.h2c().note_busy(*this);
  auto exchange = std::make_unique<H2cExchange>(*this, stream, context_.slabs);
  exchange->index = exchanges_.size();
  exchange->reused = served_;
  exchange->to_head = stream.to_head();
  stream.take_exchange(*exchange);
  exchanges_.push_back(std::move(exchange));
}

bool H2cConnection::submit(H2cExchange& exchange, const http::RequestHead& head,
                           const ClientIdentity& client) {
  // Those before it may have been more than the SETTINGS allow, which came since it was added.
  const std::size_t allowed =
      nghttp2_session_get_remote_settings(session_.get(), NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS);
  const auto begun = static_cast<std::size_t>(
      std::count_if(exchanges_.begin(), exchanges_.end(),
                    [](const auto& each) { return each->id != 0 && !each->closed; }));
  if (closed_ || draining_ || begun >= allowed ||
      nghttp2_session_check_request_allowed(session_.get()) == 0) {
    return false;
  }
  fields_.clear();
  add_request_fields(head, client, fields_);
  const auto& fields = fields_.finish();
  exchange.body.start(head.framing, head.content_length, UINT64_MAX);
  nghttp2_data_provider provider{};
  provider.source.ptr = &exchange;
  provider.read_callback = [](nghttp2_session*, std::int32_t, std::uint8_t* to, std::size_t room,
                              std::uint32_t* flags, nghttp2_data_source* source,
                              void* connection) -> ssize_t {
    return static_cast<H2cConnection*>(connection)
        ->frame_body(*static_cast<H2cExchange*>(source->ptr), to, room, *flags);
  };
  const bool has_body = head.framing != http::Framing::none;
  const std::int32_t id =
      nghttp2_submit_request(session_.get(), nullptr, fields.data(), fields.size(),
                             has_body ? &provider : nullptr, &exchange);
  if (id < 0) {
    draining_ = true;  // out of memory, or of the numbers of streams
    return false;
  }
  exchange.id = id;
  exchange.asked_ms = context_.now_ms;
  due();
  return true;
}

void H2cConnection::resume(H2cExchange& exchange) {
  if (closed_ || exchange.closed || !std::exchange(exchange.body_deferred, false)) return;
  (void)nghttp2_session_resume_data(session_.get(), exchange.id);
  due();
}

void H2cConnection::consume(H2cExchange& exchange, std::size_t bytes) {
  if (closed_) return;
  if (exchange.closed) {
    (void)nghttp2_session_consume_connection(session_.get(), bytes);
  } else {
    (void)nghttp2_session_consume(session_.get(), exchange.id, bytes);
  }
  due();
}

void H2cConnection::release(H2cExchange& exchange) {
  exchange.stream = nullptr;
  if (closed_) {
    remove(exchange);
    return;
  }
  if (!exchange.in.empty()) {
    (void)nghttp2_session_consume_connection(session_.get(), exchange.in.size());
    exchange.in.clear();
  }
  if (exchange.id == 0 || exchange.closed) {
    remove(exchange);
  } else {
    if (exchange.head == nullptr) note_vain_wait(exchange);
    (void)nghttp2_submit_rst_stream(session_.get(), NGHTTP2_FLAG_NONE, exchange.id, NGHTTP2_CANCEL);
  }
  due();
}

// Of the time that was not counted for another one yet.
void H2cConnection::note_vain_wait(const H2cExchange& exchange) {
  vain_ms_ += context_.now_ms - std::max({exchange.asked_ms, heard_ms_, vain_until_ms_});
  vain_until_ms_ = context_.now_ms;
  if (vain_ms_ >= k_silence_ms) draining_ = true;
}

void H2cConnection::doubt(std::int64_t since_ms) {
  if (heard_ms_ <= since_ms) draining_ = true;
}

void H2cConnection::remove(H2cExchange& exchange) {
  const std::size_t at = exchange.index;
  if (at + 1 != exchanges_.size()) {
    std::swap(exchanges_[at], exchanges_.back());
    exchanges_[at]->index = at;
  }
  exchanges_.pop_back();
  if (!exchanges_.empty()) return;
  if (closed_) {
    context_.upstreams.h2c().remove(*this);
  } else {
    note_idle();
  }
}

// Its requests of now are over. It is kept for a while, unless its target has been replaced.
void H2cConnection::note_idle() {
  const auto kept = context_.shared.config.timeouts.upstream_idle.count();
  idle_until_ms_ = target_.retired.load() ? context_.now_ms : context_.now_ms + kept;
  context_.upstreams.h2c().note_idle(*this);
}

void H2cConnection::due() {
  if (!closed_) context_.upstreams.h2c().add_due(*this);
}

void H2cConnection::wake(H2cExchange& exchange) {
  if (exchange.stream == nullptr || std::exchange(exchange.woken, true)) return;
  exchange.stream->connection().wake(*exchange.stream);
}

void H2cConnection::end_exchange(H2cExchange& exchange, H2cExchange::End how) {
  if (exchange.closed) return;
  exchange.closed = true;
  if (!exchange.ended) exchange.end = how;
  wake(exchange);
}

// The application is told why it ends, if it listens.
void H2cConnection::close() {
  if (closed_) return;
  if (ready_ && nghttp2_session_terminate_session(session_.get(), NGHTTP2_NO_ERROR) == 0) send();
  lose(H2cExchange::End::lost);
}

void H2cConnection::lose(H2cExchange::End how) {
  if (std::exchange(closed_, true)) return;
  context_.metrics.upstreams_closed.add();
  context_.upstreams.h2c().forget(*this);
  socket_.close();
  out_.clear();
  in_.clear();
  for (const auto& exchange : exchanges_) end_exchange(*exchange, how);
  std::erase_if(exchanges_, [](const auto& exchange) { return exchange->stream == nullptr; });
  for (std::size_t i = 0; i < exchanges_.size(); ++i) exchanges_[i]->index = i;
  if (exchanges_.empty()) context_.upstreams.h2c().remove(*this);
  target_.cells[context_.index].connections.fetch_sub(1);  // the last access: it may be freed now
}

}  // namespace atlasflow::edge
