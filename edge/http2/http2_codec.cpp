// The connection's side, and how the streams' answers are written. http2_session.cpp has what
// nghttp2 tells.
#include "edge/http2/http2_codec.hpp"

#include <algorithm>
#include <ctime>
#include <string>

#include "edge/http2/websocket_key.hpp"
#include "edge/proxy/field_rules.hpp"

namespace atlasflow::edge {
namespace {

// No more is read of a client, nor framed for it, nor read of a stream's upstream, while so much
// waits.
constexpr std::size_t k_high_water = 2 * k_slab_bytes;
// So many requests that begin at once count as one of the connection's reads of this turn.
constexpr std::size_t k_requests_per_read = 16;
// What is read after the last frame before the connection is closed over it.
constexpr std::size_t k_linger_bytes = std::size_t{1024} * 1024;
constexpr std::string_view k_protocol_error = "protocol_error";

}  // namespace

Http2Codec::Http2Codec(WorkerContext& context, ClientConnection& connection)
    : context_(context), connection_(connection), session_(make_session(*this)) {
  failed_ = session_ == nullptr;
}

Http2Codec::~Http2Codec() = default;

bool Http2Codec::step() {
  if (session_ == nullptr) {  // out of memory
    connection_.close();
    return true;
  }
  bool progress = receive();
  if (!connection_.closed()) progress |= step_streams();
  if (!connection_.closed()) progress |= send();
  if (!connection_.closed()) end_connection_if_done();
  return progress;
}

bool Http2Codec::receive() {
  // What comes before the client has been told which request was the last is answered by nobody
  // else: the client sends it again elsewhere, so it must not be served here.
  if (failed_ || goaway_due_ || connection_.out().size() >= k_high_water) return false;
  Buffer& in = connection_.in();
  const bool progress = in.empty() && connection_.fill();
  if (in.empty()) return progress;
  begun_ = 0;
  const std::string_view bytes = in.view();
  const ssize_t taken = nghttp2_session_mem_recv(
      session_.get(), reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size());
  if (taken < 0) {
    in.clear();
    if (!failed_) (void)nghttp2_session_terminate_session(session_.get(), NGHTTP2_PROTOCOL_ERROR);
    failed_ = true;
    return true;
  }
  in.consume(static_cast<std::size_t>(taken));
  // Only now, as what came with the answer is being served too.
  if (std::exchange(farewell_answered_, false) && farewell_ == Farewell::asked) end_farewell();
  context_.reads_left -= static_cast<int>(begun_ / k_requests_per_read);
  return true;
}

bool Http2Codec::step_streams() {
  bool progress = false;
  for (std::size_t i = 0; i < ready_.size();) {
    Http2Stream& stream = *ready_[i];
    bool moved = false;
    if (stream.state() == Stream::State::exchange) {
      moved = stream.step_upstream();
    } else if (stream.state() == Stream::State::tunnel) {
      moved = stream.step_tunnel();
    }
    if (connection_.closed()) return true;
    acknowledge(stream);
    touch(stream);
    stream.progress |= moved;
    progress |= moved;
    // One that could not read for want of the turn's reads has its part in the next.
    const bool serves =
        stream.state() == Stream::State::exchange || stream.state() == Stream::State::tunnel;
    const bool again = serves && context_.reads_left <= 0;
    if (moved || again) {
      ++i;
      continue;
    }
    stream.in_ready = false;
    ready_[i] = ready_.back();
    ready_.pop_back();
  }
  return progress;
}

// Opens the client's windows by what the stream has handed on.
void Http2Codec::acknowledge(Http2Stream& stream) {
  if (stream.unacknowledged == 0) return;
  const bool waits = stream.state() == Stream::State::exchange && !stream.early.empty();
  const bool serves =
      stream.state() == Stream::State::exchange || stream.state() == Stream::State::tunnel;
  if (waits || (serves && !stream.body_room())) return;
  (void)nghttp2_session_consume(session_.get(), stream.id, std::exchange(stream.unacknowledged, 0));
}

bool Http2Codec::send() {
  Buffer& out = connection_.out();
  const std::size_t before = out.size();
  while (out.size() < k_high_water) {
    const std::uint8_t* bytes = nullptr;
    const ssize_t size = nghttp2_session_mem_send(session_.get(), &bytes);
    if (size < 0) {
      connection_.close();
      return true;
    }
    if (size == 0) break;
    out.append({reinterpret_cast<const char*>(bytes), static_cast<std::size_t>(size)});
  }
  return out.size() > before;
}

void Http2Codec::end_connection_if_done() {
  const bool wants_write = nghttp2_session_want_write(session_.get()) != 0;
  if (connection_.ended()) {
    if (connection_.left()) {
      connection_.close();
    } else if (!answers() && !wants_write) {
      abandon();  // no window that an answer waits for will be opened any more
      connection_.begin_closing(0);
    }
    return;
  }
  if (wants_write || (!failed_ && nghttp2_session_want_read(session_.get()) != 0)) return;
  failed_ = true;  // the farewell is over, or the client did something that ended the session
  abandon();
  connection_.begin_closing(k_linger_bytes);
}

void Http2Codec::wake(Stream& stream) { make_ready(of(stream)); }

// What is not whole now never will be; the others are answered.
void Http2Codec::client_ended() {
  for (const auto& stream : streams_) {
    if (!stream->request_ended && stream->state() == Stream::State::exchange) stream->finish();
    if (stream->state() == Stream::State::tunnel) {
      stream->end_tunnel_up();
      make_ready(*stream);
    }
    stream->renew_deadline();
    touch(*stream);
  }
}

void Http2Codec::update_deadlines(bool) {
  for (Http2Stream* stream : touched_) {
    stream->in_touched = false;
    const bool progress = std::exchange(stream->progress, false);
    if (stream->state() != Stream::State::none) stream->update_deadline(progress);
  }
  touched_.clear();
}

Wait Http2Codec::wait() const {
  for (const auto& stream : streams_) {
    if (stream->state() != Stream::State::none) return Wait::none;
  }
  if (headers_of_ != 0) return Wait::head;
  if (!streams_.empty() || !connection_.out().empty()) return Wait::client_write;
  return farewell_ == Farewell::none ? Wait::idle : Wait::farewell;
}

bool Http2Codec::answers() const {
  return std::any_of(streams_.begin(), streams_.end(), [](const auto& stream) {
    return stream->state() == Stream::State::exchange || stream->state() == Stream::State::tunnel;
  });
}

void Http2Codec::refuse(const EdgeAnswer&) {
  failed_ = true;
  (void)nghttp2_session_terminate_session(session_.get(), NGHTTP2_ENHANCE_YOUR_CALM);
}

// frame_sent() asks for the client's answer: a PING overtakes a GOAWAY that waits beside it.
bool Http2Codec::begin_farewell() {
  if (session_ == nullptr || failed_ || farewell_ != Farewell::none) return false;
  farewell_ = Farewell::asked;
  farewell_ends_ms_ = context_.now_ms + context_.shared.config.timeouts.farewell.count();
  if (nghttp2_submit_shutdown_notice(session_.get()) != 0) end_farewell();
  return true;
}

void Http2Codec::end_farewell() {
  if (session_ == nullptr || failed_ || farewell_ == Farewell::ended) return;
  farewell_ = Farewell::ended;
  farewell_ends_ms_ = INT64_MAX;
  goaway_due_ = nghttp2_submit_goaway(session_.get(), NGHTTP2_FLAG_NONE,
                                      nghttp2_session_get_last_proc_stream_id(session_.get()),
                                      NGHTTP2_NO_ERROR, nullptr, 0) == 0;
}

std::int64_t Http2Codec::farewell_ends_ms() const { return farewell_ends_ms_; }

void Http2Codec::say_goodbye() {
  if (session_ == nullptr || failed_) return;
  (void)nghttp2_session_terminate_session(session_.get(), NGHTTP2_NO_ERROR);
  (void)send();
}

void Http2Codec::abandon() {
  const std::string_view reason = failed_ ? k_protocol_error : context_.end_reason;
  for (const auto& stream : streams_) end_stream(*stream, reason);
}

void Http2Codec::release_memory() { spare_.clear(); }

std::string_view Http2Codec::host() const {
  for (const auto& stream : streams_) {
    if (stream->head() != nullptr) return stream->head()->host;
  }
  return "-";
}

bool Http2Codec::may_write(const Stream& stream) const {
  return static_cast<const Http2Stream&>(stream).out.size() < k_high_water;
}

// A success means to an HTTP/2 client that the tunnel is there (RFC 8441 section 5), and nobody but
// the edge sees whether the application has understood what it was asked (RFC 6455 section 4.1).
std::string_view Http2Codec::refuses_upgrade(const Stream& stream,
                                             const http::ResponseHead& head) const {
  if (head.status >= 200 && head.status < 300) {
    return "It answered a websocket's request as if that were an ordinary one.";
  }
  if (head.status != 101) return {};
  const auto& own = static_cast<const Http2Stream&>(stream);
  const http::Field* accept = http::find_field(head.fields, "Sec-WebSocket-Accept");
  const bool right =
      accept != nullptr && accept->value == websocket_accept(own.request.websocket_key());
  return right ? std::string_view{} : "It took a websocket without the right Sec-WebSocket-Accept.";
}

void Http2Codec::open_tunnel(Http2Stream& stream, const http::ResponseHead& head) {
  begin_fields(200);
  for (const http::Field& field : head.fields) {
    if (!is_hop_field(field.name) && !is_nominated(head.connection_options, field.name) &&
        !http::equal_ignoring_case(field.name, "Sec-WebSocket-Accept")) {
      fields_.add(field.name, field.value);
    }
  }
  if (http::find_field(head.fields, "X-Request-Id") == nullptr) {
    fields_.add("x-request-id", stream.request_id(), NGHTTP2_NV_FLAG_NO_INDEX);
  }
  submit_head(stream, true);
  if (!stream.early.empty()) stream.take_body(stream.early.view());
  stream.early.clear();
  if (stream.request_ended) stream.end_tunnel_up();
  flood_.earn();
}

void Http2Codec::end_tunnel(Stream& stream) {
  Http2Stream& own = of(stream);
  own.out_ended = true;
  resume(own);
}

void Http2Codec::write_interim(Stream& stream, const http::ResponseHead& head) {
  if (head.status == 101) {
    open_tunnel(of(stream), head);
    return;
  }
  begin_fields(head.status);
  for (const http::Field& field : head.fields) {
    if (!is_hop_field(field.name) && !is_nominated(head.connection_options, field.name)) {
      fields_.add(field.name, field.value);
    }
  }
  const auto& fields = fields_.finish();
  (void)nghttp2_submit_headers(session_.get(), NGHTTP2_FLAG_NONE, of(stream).id, nullptr,
                               fields.data(), fields.size(), nullptr);
}

void Http2Codec::write_head(Stream& stream, const http::ResponseHead& head) {
  begin_fields(head.status);
  for (const http::Field& field : head.fields) {
    if (!is_hop_field(field.name) && !is_nominated(head.connection_options, field.name)) {
      fields_.add(field.name, field.value);
    }
  }
  if (const std::string_view hsts = stream.hsts();
      !hsts.empty() && http::find_field(head.fields, "Strict-Transport-Security") == nullptr) {
    fields_.add("strict-transport-security", hsts);
  }
  if (http::find_field(head.fields, "X-Request-Id") == nullptr) {
    // It never comes again, so the client's table need not remember it.
    fields_.add("x-request-id", stream.request_id(), NGHTTP2_NV_FLAG_NO_INDEX);
  }
  // The length that a GET would have had is passed on to a HEAD.
  const bool announced = head.framing == http::Framing::none && head.status != 204 &&
                         http::find_field(head.fields, "Content-Length") != nullptr;
  if (announced || head.framing == http::Framing::length) {
    fields_.add("content-length", std::to_string(head.content_length));
  }
  submit_head(of(stream), head.framing != http::Framing::none);
}

void Http2Codec::write_body(Stream& stream, std::string_view bytes) {
  of(stream).out.append(bytes);
  resume(of(stream));
}

void Http2Codec::write_end(Stream& stream, const std::vector<http::Field>& trailers) {
  Http2Stream& own = of(stream);
  for (const http::Field& field : trailers) {
    if (may_be_trailer(field.name)) own.trailers.emplace_back(field.name, field.value);
  }
  own.out_ended = true;
  resume(own);
  wait_for_client(own);
  flood_.earn();
  connection_.end_request();
}

void Http2Codec::write_answer(Stream& stream, const EdgeAnswer& answer) {
  Http2Stream& own = of(stream);
  AnswerContext context;
  context.request_id = own.request_id();
  context.now = std::time(nullptr);
  context.hsts = own.hsts();
  context.grpc = own.grpc();
  if (const http::Field* accept = http::find_field(own.head()->fields, "Accept")) {
    context.accept = accept->value;
  }
  const OwnResponse response = render_answer(answer, context);
  begin_fields(response.status);
  for (const auto& [name, value] : response.fields) fields_.add(name, value);
  if (!own.to_head()) own.out.append(response.body);
  own.out_ended = true;
  submit_head(own, !own.out.empty());
  wait_for_client(own);
  flood_.earn();
  connection_.end_request();
}

void Http2Codec::submit_head(Http2Stream& stream, bool body) {
  const auto& fields = fields_.finish();
  nghttp2_data_provider provider{};
  provider.source.ptr = &stream;
  provider.read_callback = [](nghttp2_session*, std::int32_t, std::uint8_t*, std::size_t room,
                              std::uint32_t* flags, nghttp2_data_source* source,
                              void* codec) -> ssize_t {
    return static_cast<Http2Codec*>(codec)->frame_body(*static_cast<Http2Stream*>(source->ptr),
                                                       room, *flags);
  };
  if (nghttp2_submit_response(session_.get(), stream.id, fields.data(), fields.size(),
                              body ? &provider : nullptr) != 0) {
    reset(stream, NGHTTP2_INTERNAL_ERROR);
  }
}

// The answer is whole; close_stream() ends it when the client has all of it.
void Http2Codec::wait_for_client(Http2Stream& stream) {
  stream.flush();
  touch(stream);
}

void Http2Codec::resume(Http2Stream& stream) {
  if (!std::exchange(stream.out_deferred, false)) return;
  (void)nghttp2_session_resume_data(session_.get(), stream.id);
}

void Http2Codec::cut(Stream& stream) {
  reset(of(stream), stream.cut_code());
  stream.finish();
}

void Http2Codec::drop(Stream& stream) {
  reset(of(stream), NGHTTP2_CANCEL);
  stream.finish();
}

void Http2Codec::reset(Http2Stream& stream, std::uint32_t code) {
  (void)nghttp2_submit_rst_stream(session_.get(), NGHTTP2_FLAG_NONE, stream.id, code);
}

void Http2Codec::make_ready(Http2Stream& stream) {
  if (std::exchange(stream.in_ready, true)) return;
  ready_.push_back(&stream);
}

void Http2Codec::touch(Http2Stream& stream) {
  if (std::exchange(stream.in_touched, true)) return;
  touched_.push_back(&stream);
}

void Http2Codec::begin_fields(int status) {
  fields_.clear();
  fields_.add(":status", std::to_string(status));
}

}  // namespace atlasflow::edge
