#include "edge/http1/http1_codec.hpp"

#include <ctime>

#include "edge/http1/message_writer.hpp"
#include "edge/proxy/field_rules.hpp"
#include "edge/proxy/worker_context.hpp"

namespace atlasflow::edge {
namespace {

// No more is taken from an upstream, nor of a client's next request, while so much waits for the
// client.
constexpr std::size_t k_high_water = 2 * k_slab_bytes;
// What is read after the last answer before the connection is closed over it.
constexpr std::size_t k_linger_bytes = std::size_t{1024} * 1024;
// The rest of so small a body is read for the sake of the connection.
constexpr std::uint64_t k_discard_bytes_max = std::uint64_t{64} * 1024;

}  // namespace

Http1Codec::Http1Codec(WorkerContext& context, ClientConnection& connection)
    : context_(context),
      connection_(connection),
      parser_(context.message_limits),
      stream_(context, connection, *this) {}

bool Http1Codec::step() {
  switch (stream_.state()) {
    case Stream::State::none:
      return step_head();
    case Stream::State::exchange:
      return step_exchange();
    case Stream::State::discard:
      return step_discard();
    case Stream::State::tunnel:
      return step_tunnel();
    case Stream::State::flushing:
      break;  // its answers wait in the connection
  }
  return false;
}

bool Http1Codec::step_head() {
  if (!may_write(stream_)) return false;  // it pipelines but does not read
  Buffer& in = connection_.in();
  bool progress = false;
  if (in.empty()) {
    progress = connection_.fill();
    if (in.empty()) {
      if (!connection_.ended()) return progress;
      if (connection_.out().empty()) {
        connection_.close();
      } else {
        connection_.begin_closing(0);
      }
      return true;
    }
  }
  const http::ParseStep step = parser_.next(in.view());
  in.consume(step.consumed);
  if (step.event == http::ParseEvent::head) {
    begin_request();
  } else if (step.event == http::ParseEvent::error) {
    refuse(bad_request(parser_.error()));
  }
  return true;
}

void Http1Codec::begin_request() {
  const http::RequestHead& head = parser_.head();
  connection_.begin_request();
  close_after_ = false;
  stream_.begin(&head);
  if (head.framing == http::Framing::none && parser_.next({}).event == http::ParseEvent::complete) {
    stream_.end_body({});
  }
  if (const auto error = check_connection_options(head.connection_options)) {
    stream_.refuse(*error);
  } else {
    stream_.serve();
  }
}

void Http1Codec::refuse(const EdgeAnswer& answer) {
  close_after_ = true;
  stream_.begin(nullptr);
  stream_.answer(answer);
}

bool Http1Codec::step_exchange() {
  bool progress = step_body();
  if (stream_.state() == Stream::State::exchange) progress |= stream_.step_upstream();
  return progress;
}

// Moves the request's body from the connection to the stream.
bool Http1Codec::step_body() {
  Buffer& in = connection_.in();
  bool progress = false;
  while (!stream_.request_complete() && stream_.body_room()) {
    const http::ParseStep step = parser_.next(in.view());
    if (step.event == http::ParseEvent::body) stream_.take_body(step.body);
    in.consume(step.consumed);
    progress |= step.consumed > 0;
    if (step.event == http::ParseEvent::complete) {
      stream_.end_body(parser_.trailers());
      progress = true;
    } else if (step.event == http::ParseEvent::error) {
      stream_.refuse(parser_.error());
      return true;
    } else if (step.event == http::ParseEvent::need_more) {
      if (connection_.ended()) {
        connection_.close();
        return true;
      }
      if (!connection_.fill()) break;
      progress = true;
    }
  }
  if (stream_.request_complete()) {
    // Nothing more is due, so this finds out that the client pipelines, or has ended its sending
    // side. That alone does not tell whether it has left; a reset does.
    progress |= connection_.fill();
    if (connection_.ended() && connection_.left()) {
      connection_.close();
      return true;
    }
  }
  return progress;
}

bool Http1Codec::step_discard() {
  const http::ParseStep step = parser_.next(connection_.in().view());
  if (step.event == http::ParseEvent::body) stream_.take_body(step.body);
  connection_.in().consume(step.consumed);
  switch (step.event) {
    case http::ParseEvent::complete:
      end_request();
      return true;
    case http::ParseEvent::need_more:
      if (!connection_.ended()) return connection_.fill();
      end_connection(0);
      return true;
    case http::ParseEvent::error:
      end_connection(0);
      return true;
    default:
      return true;
  }
}

// Two-way copy. Each side's end is passed on when all before it has been.
bool Http1Codec::step_tunnel() {
  UpstreamConnection& upstream = *stream_.upstream();
  bool progress = tunnel_up(upstream);
  if (!connection_.closed()) progress |= tunnel_down(upstream);
  if (tunnel_up_closed_ && connection_.write_closed()) connection_.close();
  return progress;
}

bool Http1Codec::tunnel_up(UpstreamConnection& upstream) {
  Buffer& in = connection_.in();
  bool progress = in.empty() && connection_.fill();
  if (!in.empty() && upstream.socket.writable()) {
    const IoResult result = upstream.socket.write(in.view());
    if (result.status == IoStatus::failed) {
      connection_.close();
      return true;
    }
    in.consume(result.bytes);
    stream_.count_tunnelled(result.bytes, 0);
    progress |= result.bytes > 0;
  }
  if (connection_.ended() && in.empty() && !tunnel_up_closed_) {
    upstream.socket.shutdown_write();
    tunnel_up_closed_ = progress = true;
    stream_.half_close_tunnel();
  }
  return progress;
}

bool Http1Codec::tunnel_down(UpstreamConnection& upstream) {
  bool progress = false;
  if (upstream.in.empty() && !upstream.ended && upstream.socket.readable() && context_.may_read()) {
    char* space = upstream.in.reserve(k_slab_bytes);
    const IoResult result = upstream.socket.read(space, upstream.in.room());
    upstream.in.commit(result.bytes);
    if (upstream.in.empty()) upstream.in.clear();
    upstream.ended = result.status == IoStatus::closed || result.status == IoStatus::failed;
    progress = result.bytes > 0 || upstream.ended;
  }
  const bool flushed = connection_.out().empty();  // of the head
  if (flushed && !upstream.in.empty() && connection_.socket().writable()) {
    const IoResult result = connection_.socket().write(upstream.in.view());
    if (result.status == IoStatus::failed) {
      connection_.close();
      return true;
    }
    upstream.in.consume(result.bytes);
    stream_.count_tunnelled(0, result.bytes);
    progress |= result.bytes > 0;
  }
  if (upstream.ended && upstream.in.empty() && flushed && !connection_.write_closed()) {
    connection_.shutdown_write();
    progress = true;
    stream_.half_close_tunnel();
  }
  return progress;
}

void Http1Codec::update_deadlines(bool progress) {
  if (stream_.state() != Stream::State::none) stream_.update_deadline(progress);
}

Wait Http1Codec::wait() const {
  if (stream_.state() != Stream::State::none) return Wait::none;
  if (!connection_.out().empty()) return Wait::client_write;
  return parser_.idle() && connection_.in().empty() ? Wait::idle : Wait::head;
}

void Http1Codec::release_memory() {
  if (parser_.idle()) parser_.release_memory();
}

std::string_view Http1Codec::host() const {
  return stream_.head() != nullptr ? stream_.head()->host : std::string_view("-");
}

bool Http1Codec::may_write(const Stream&) const { return connection_.out().size() < k_high_water; }

void Http1Codec::write_interim(Stream& stream, const http::ResponseHead& head) {
  ResponseOptions options;
  if (head.status == 101) options.request_id = stream.request_id();  // the last that it says
  write_response_head(head, http::Framing::none, options, connection_.out());
}

void Http1Codec::write_head(Stream& stream, const http::ResponseHead& head) {
  const http::RequestHead& request = *stream.head();
  const bool http10 = request.minor_version == 0;
  framing_ = head.framing;
  if (head.framing == http::Framing::chunked || head.framing == http::Framing::until_close) {
    framing_ = http10 ? http::Framing::until_close : http::Framing::chunked;
  }
  close_after_ = context_.retiring || !request.keep_alive || !stream.request_complete() ||
                 (connection_.ended() && connection_.in().empty()) || request.upgrade_websocket ||
                 framing_ == http::Framing::until_close;
  if (framing_ == http::Framing::until_close) connection_.end_means_whole();
  write_response_head(head, framing_,
                      {stream.to_head(), close_after_, http10, stream.hsts(), stream.request_id()},
                      connection_.out());
}

void Http1Codec::write_body(Stream&, std::string_view bytes) {
  if (framing_ == http::Framing::chunked) {
    write_chunk(bytes, connection_.out());
  } else {
    connection_.out().append(bytes);
  }
}

void Http1Codec::write_end(Stream& stream, const std::vector<http::Field>& trailers) {
  if (framing_ == http::Framing::chunked) write_last_chunk(trailers, connection_.out());
  if (close_after_) {
    end_connection(stream.request_complete() ? 0 : k_linger_bytes);
  } else {
    end_request();
  }
}

// The rest of a small body is read so that the connection can be kept, a large one ends it.
void Http1Codec::write_answer(Stream& stream, const EdgeAnswer& answer) {
  AnswerContext context;
  context.request_id = stream.request_id();
  context.now = std::time(nullptr);
  context.hsts = stream.hsts();
  context.grpc = stream.grpc();
  ResponseOptions options;
  options.close = true;
  bool discard = false;
  if (const http::RequestHead* head = stream.head(); head != nullptr) {
    if (const http::Field* accept = http::find_field(head->fields, "Accept")) {
      context.accept = accept->value;
    }
    options.to_head = stream.to_head();
    options.client_http10 = head->minor_version == 0;
    discard = !stream.request_complete() && head->framing == http::Framing::length &&
              head->content_length <= k_discard_bytes_max && !head->expect_continue;
    options.close = context_.retiring || close_after_ || stream.rest_refused() ||
                    !head->keep_alive || head->upgrade_websocket ||
                    !(stream.request_complete() || discard);
  }
  write_own_response(render_answer(answer, context), options, connection_.out());
  if (options.close) {
    end_connection(stream.request_complete() ? 0 : k_linger_bytes);
  } else if (discard) {
    stream.discard_rest();
  } else {
    end_request();
  }
}

void Http1Codec::cut(Stream&) {
  if (framing_ == http::Framing::until_close) {
    connection_.close();  // by a reset: only that tells an HTTP/1.0 client that this is not the end
  } else {
    end_connection(k_linger_bytes);
  }
}

void Http1Codec::drop(Stream&) { connection_.close(); }

void Http1Codec::end_request() {
  stream_.finish();
  parser_.reset();
  connection_.end_request();
}

void Http1Codec::end_connection(std::size_t linger_bytes) {
  stream_.finish();
  connection_.begin_closing(linger_bytes);
}

}  // namespace atlasflow::edge
