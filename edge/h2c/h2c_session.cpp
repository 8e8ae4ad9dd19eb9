// What nghttp2 tells the connection: the application's frames. Nothing of a stream is called here
// but that there is something for it: it looks when its client's connection has its part of the
// turn.
#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "base/assert.hpp"
#include "edge/h2c/h2c_connection.hpp"
#include "edge/http2/nghttp2_pointers.hpp"
#include "edge/proxy/client_connection.hpp"
#include "edge/proxy/field_rules.hpp"
#include "edge/proxy/stream.hpp"
#include "edge/proxy/worker_context.hpp"

namespace atlasflow::edge {
namespace {

// What may have come of an answer that its client has not taken; and of all of a connection, so
// that clients that do not read cannot use up what the others need: nghttp2 gives the window back
// only when half of it was consumed, so that half is as much as all streams together may hold.
constexpr std::uint32_t k_stream_window = 64U * 1024;
constexpr auto k_connection_window =
    static_cast<std::int32_t>(2 * k_stream_window * H2cConnection::k_streams_max);
// PING and SETTINGS that were answered while the application reads none of it.
constexpr std::size_t k_acknowledgements_max = 100;
// Above all that the parser of clients' heads may be set to let through.
constexpr std::size_t k_head_bytes_sent_max = std::size_t{4} * 1024 * 1024;
// Of one exchange, not taken yet. Real applications send one or two.
constexpr std::size_t k_interim_responses_max = 32;

constexpr std::string_view k_too_large = "Its fields are larger than the edge takes.";
constexpr std::string_view k_malformed = "It broke the rules of HTTP/2 (RFC 9113).";
constexpr std::string_view k_endless =
    "It sent interim (1xx) responses without end before its answer.";

OptionPtr make_options() {
  OptionPtr made = new_options();
  if (made == nullptr) return made;
  nghttp2_option_set_no_auto_window_update(made.get(), 1);
  nghttp2_option_set_max_outbound_ack(made.get(), k_acknowledgements_max);
  nghttp2_option_set_max_send_header_block_length(made.get(), k_head_bytes_sent_max);
  return made;
}

}  // namespace

struct H2cConnection::Callbacks {
  static H2cConnection& of(void* user) { return *static_cast<H2cConnection*>(user); }

  static int on_header(nghttp2_session*, const nghttp2_frame* frame, const std::uint8_t* name,
                       std::size_t name_size, const std::uint8_t* value, std::size_t value_size,
                       std::uint8_t, void* user) {
    if (H2cExchange* exchange = of(user).find(frame->hd.stream_id); exchange != nullptr) {
      of(user).add_field(*exchange, text_of(name, name_size), text_of(value, value_size));
    }
    return 0;
  }

  static int on_frame(nghttp2_session*, const nghttp2_frame* frame, void* user) {
    H2cConnection& connection = of(user);
    const bool end = (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
    if (frame->hd.type == NGHTTP2_SETTINGS && (frame->hd.flags & NGHTTP2_FLAG_ACK) == 0) {
      connection.settings_came();
    } else if (frame->hd.type == NGHTTP2_GOAWAY) {
      connection.draining_ = true;
      connection.due();
    }
    H2cExchange* exchange = connection.find(frame->hd.stream_id);
    if (exchange == nullptr) return 0;
    if (frame->hd.type == NGHTTP2_HEADERS) {
      connection.fields_end(*exchange, end);
    } else if (frame->hd.type == NGHTTP2_DATA && end) {
      exchange->ended = true;
      connection.wake(*exchange);
    }
    return 0;
  }

  static int on_data(nghttp2_session* session, std::uint8_t, std::int32_t id,
                     const std::uint8_t* bytes, std::size_t size, void* user) {
    H2cExchange* exchange = of(user).find(id);
    if (exchange == nullptr || exchange->stream == nullptr || exchange->closed) {
      (void)nghttp2_session_consume(session, id, size);  // nobody waits for it any more
      return 0;
    }
    exchange->in.append(text_of(bytes, size));
    of(user).wake(*exchange);
    return 0;
  }

  static int on_stream_close(nghttp2_session*, std::int32_t id, std::uint32_t code, void* user) {
    of(user).stream_closed(id, code);
    return 0;
  }

  static int on_invalid_frame(nghttp2_session*, const nghttp2_frame* frame, int, void* user) {
    if (H2cExchange* exchange = of(user).find(frame->hd.stream_id); exchange != nullptr) {
      of(user).refuse(*exchange, k_malformed);
    }
    return 0;
  }

  static int on_frame_sent(nghttp2_session*, const nghttp2_frame* frame, void* user) {
    if (frame->hd.type != NGHTTP2_HEADERS || frame->headers.cat != NGHTTP2_HCAT_REQUEST) return 0;
    if (H2cExchange* exchange = of(user).find(frame->hd.stream_id); exchange != nullptr) {
      exchange->sent = true;
    }
    return 0;
  }

  // A GOAWAY came between the request and its turn.
  static int on_frame_not_sent(nghttp2_session*, const nghttp2_frame* frame, int, void* user) {
    if (frame->hd.type != NGHTTP2_HEADERS || frame->headers.cat != NGHTTP2_HCAT_REQUEST) return 0;
    // There is no stream yet to have it by, and none that would tell of its end.
    H2cConnection& connection = of(user);
    const auto& all = connection.exchanges_;
    const auto found = std::find_if(
        all.begin(), all.end(), [&](const auto& each) { return each->id == frame->hd.stream_id; });
    if (connection.find(frame->hd.stream_id) != nullptr || found == all.end()) return 0;
    H2cExchange& exchange = **found;
    connection.end_exchange(exchange, H2cExchange::End::refused);
    if (exchange.stream == nullptr) connection.remove(exchange);
    return 0;
  }

  static int on_error(nghttp2_session*, int code, const char*, std::size_t, void* user) {
    if (code == NGHTTP2_ERR_SETTINGS_EXPECTED) of(user).not_http2_ = true;
    return 0;
  }

  static CallbacksPtr make() {
    CallbacksPtr made = new_callbacks();
    if (made == nullptr) return made;
    nghttp2_session_callbacks_set_on_header_callback(made.get(), on_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(made.get(), on_frame);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(made.get(), on_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(made.get(), on_stream_close);
    nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(made.get(), on_invalid_frame);
    nghttp2_session_callbacks_set_on_frame_send_callback(made.get(), on_frame_sent);
    nghttp2_session_callbacks_set_on_frame_not_send_callback(made.get(), on_frame_not_sent);
    nghttp2_session_callbacks_set_error_callback2(made.get(), on_error);
    return made;
  }
};

bool H2cConnection::begin() {
  static const OptionPtr options = make_options();
  static const CallbacksPtr callbacks = Callbacks::make();
  nghttp2_session* made = nullptr;
  if (options == nullptr || callbacks == nullptr ||
      nghttp2_session_client_new2(&made, callbacks.get(), this, options.get()) != 0) {
    return false;
  }
  session_.reset(made);
  const auto head_bytes_max = static_cast<std::uint32_t>(context_.message_limits.head_bytes_max);
  const std::array settings{
      nghttp2_settings_entry{NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
      nghttp2_settings_entry{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, k_stream_window},
      nghttp2_settings_entry{NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, head_bytes_max}};
  return nghttp2_submit_settings(made, NGHTTP2_FLAG_NONE, settings.data(), settings.size()) == 0 &&
         nghttp2_session_set_local_window_size(made, NGHTTP2_FLAG_NONE, 0, k_connection_window) ==
             0;
}

H2cExchange* H2cConnection::find(std::int32_t id) const {
  return id == 0
             ? nullptr
             : static_cast<H2cExchange*>(nghttp2_session_get_stream_user_data(session_.get(), id));
}

void H2cConnection::settings_came() {
  // The next connection is given no more requests than that before it has said so itself.
  target_.cells[context_.index].h2c_streams_max = std::max(
      1U,
      nghttp2_session_get_remote_settings(session_.get(), NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS));
  if (std::exchange(ready_, true)) return;
  for (const auto& exchange : exchanges_) wake(*exchange);
}

void H2cConnection::add_field(H2cExchange& exchange, std::string_view name,
                              std::string_view value) {
  if (exchange.stream == nullptr || exchange.closed) return;
  if (exchange.block == nullptr) exchange.block = std::make_unique<H2cFields>();
  if (!exchange.block->add(name, value, context_.message_limits)) refuse(exchange, k_too_large);
}

void H2cConnection::fields_end(H2cExchange& exchange, bool end_of_stream) {
  std::unique_ptr<H2cFields> block = std::move(exchange.block);
  if (exchange.stream == nullptr || exchange.closed) return;
  if (block == nullptr) block = std::make_unique<H2cFields>();  // trailers without a field
  if (exchange.head != nullptr) {
    exchange.trailers = std::move(block);
    (void)exchange.trailers->finish_trailers();
  } else if (block->status() < 100 || block->status() == 101) {
    refuse(exchange, k_malformed);
  } else if (block->status() < 200) {
    (void)block->finish_head(exchange.to_head, false);
    exchange.interim.push_back(std::move(block));
    if (exchange.interim.size() > k_interim_responses_max) refuse(exchange, k_endless);
  } else {
    (void)block->finish_head(exchange.to_head, end_of_stream);
    exchange.head = std::move(block);
  }
  exchange.ended = exchange.ended || end_of_stream;
  wake(exchange);
}

// The answer is of no use: the application is told, and the stream.
void H2cConnection::refuse(H2cExchange& exchange, std::string_view reason) {
  if (exchange.closed || exchange.end == H2cExchange::End::malformed) return;
  exchange.end = H2cExchange::End::malformed;
  exchange.reason = reason;
  exchange.ended = false;
  wake(exchange);
  (void)nghttp2_submit_rst_stream(session_.get(), NGHTTP2_FLAG_NONE, exchange.id,
                                  NGHTTP2_PROTOCOL_ERROR);
  due();
}

void H2cConnection::stream_closed(std::int32_t id, std::uint32_t code) {
  H2cExchange* exchange = find(id);
  if (exchange == nullptr) return;
  served_ = true;
  exchange->code = code;
  const bool known = exchange->end != H2cExchange::End::none;
  const auto how =
      code == NGHTTP2_REFUSED_STREAM ? H2cExchange::End::refused : H2cExchange::End::reset;
  end_exchange(*exchange, known ? exchange->end : how);
  if (exchange->stream == nullptr) remove(*exchange);
}

// How much of the request goes into the next frame. The stream keeps it in HTTP/1's form, as it may
// have to be sent again, and to an instance that speaks that.
ssize_t H2cConnection::frame_body(H2cExchange& exchange, std::uint8_t* to, std::size_t room,
                                  std::uint32_t& flags) {
  Stream* stream = exchange.stream;
  exchange.body_deferred = true;
  if (stream == nullptr || exchange.closed) return NGHTTP2_ERR_DEFERRED;
  if (!std::exchange(exchange.body_begun, true)) stream->head_taken();
  std::size_t filled = 0;
  bool complete = false;
  while (filled < room && !complete) {
    const auto step = exchange.body.next(stream->unsent().substr(0, room - filled));
    if (!step.data.empty()) std::memcpy(to + filled, step.data.data(), step.data.size());
    filled += step.data.size();
    if (step.consumed != 0) stream->request_taken(step.consumed);
    // More trailers than the decoder takes are dropped (RFC 9110 section 6.5.1).
    complete = step.kind == http::BodyDecoder::Step::Kind::complete ||
               step.kind == http::BodyDecoder::Step::Kind::error;
    if (step.kind == http::BodyDecoder::Step::Kind::need_more && stream->unsent().empty()) break;
  }
  // There is room for more of it now.
  if (!stream->request_complete()) wake(exchange);
  if (filled == 0 && !complete) return NGHTTP2_ERR_DEFERRED;
  exchange.body_deferred = false;
  if (!complete) return static_cast<ssize_t>(filled);
  flags |= NGHTTP2_DATA_FLAG_EOF;
  if (!exchange.body.trailers().empty()) {
    flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
    fields_.clear();
    for (const http::Field& field : exchange.body.trailers()) fields_.add(field.name, field.value);
    const auto& fields = fields_.finish();
    (void)nghttp2_submit_trailer(session_.get(), exchange.id, fields.data(), fields.size());
  }
  return static_cast<ssize_t>(filled);
}

}  // namespace atlasflow::edge
