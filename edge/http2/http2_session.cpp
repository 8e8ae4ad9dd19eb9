// What nghttp2 tells the codec: the frames of the client, and when the codec's own may go.
#include <algorithm>
#include <array>
#include <string_view>
#include <utility>

#include "base/log.hpp"
#include "edge/http2/http2_codec.hpp"
#include "edge/http2/nghttp2_pointers.hpp"
#include "edge/http2/websocket_key.hpp"

namespace atlasflow::edge {
namespace {

constexpr std::size_t k_high_water = 2 * k_slab_bytes;
constexpr std::uint32_t k_streams_max = 100;
// What a stream, and all of them together, may have sent that no upstream has taken yet.
constexpr std::uint32_t k_stream_window = 256U * 1024;
constexpr std::int32_t k_connection_window = 1024 * 1024;
// PING and SETTINGS that were answered while the client reads none of it.
constexpr std::size_t k_acknowledgements_max = 100;

// Streams that are kept for the requests to come.
constexpr std::size_t k_spare_streams_max = 8;
// Of an answer, above all that the parser of the upstreams' heads may be set to let through: what
// exceeds nghttp2's own limit, 64 KiB by default, would be lost without a word.
constexpr std::size_t k_head_bytes_sent_max = std::size_t{4} * 1024 * 1024;
// Frames of the types from here on are unknown to nghttp2, or of no use here.
constexpr unsigned k_first_extension_type = 10;
constexpr unsigned k_last_extension_type = 255;

// A padded frame's payload may be all padding up to this.
constexpr std::size_t k_padded_bytes_max = 256;

// What a GOAWAY says that names no last request yet, and the PING whose answer comes after all that
// the client had sent before it read that.
constexpr std::int32_t k_no_last_stream = 0x7FFFFFFF;
constexpr std::array<std::uint8_t, 8> k_farewell_ping{'f', 'a', 'r', 'e', 'w', 'e', 'l', 'l'};

OptionPtr make_options() {
  OptionPtr made = new_options();
  if (made == nullptr) return made;
  nghttp2_option_set_no_auto_window_update(made.get(), 1);
  nghttp2_option_set_no_closed_streams(made.get(), 1);
  nghttp2_option_set_max_outbound_ack(made.get(), k_acknowledgements_max);
  nghttp2_option_set_max_send_header_block_length(made.get(), k_head_bytes_sent_max);
  // Of others nghttp2 tells nothing, and they could not be counted.
  for (unsigned type = k_first_extension_type; type <= k_last_extension_type; ++type) {
    nghttp2_option_set_user_recv_extension_type(made.get(), static_cast<std::uint8_t>(type));
  }
  return made;
}

}  // namespace

struct Http2Codec::Callbacks {
  static Http2Codec& codec(void* user) { return *static_cast<Http2Codec*>(user); }

  static int on_begin_frame(nghttp2_session*, const nghttp2_frame_hd* header, void* user) {
    return codec(user).frame_begins(*header) ? 0 : NGHTTP2_ERR_CALLBACK_FAILURE;
  }

  static int on_begin_headers(nghttp2_session*, const nghttp2_frame* frame, void* user) {
    codec(user).headers_of_ = frame->hd.stream_id;
    if (frame->headers.cat == NGHTTP2_HCAT_REQUEST) codec(user).open_stream(frame->hd.stream_id);
    return 0;
  }

  static int on_header(nghttp2_session*, const nghttp2_frame* frame, const std::uint8_t* name,
                       std::size_t name_size, const std::uint8_t* value, std::size_t value_size,
                       std::uint8_t, void* user) {
    codec(user).add_field(frame->hd.stream_id, frame->headers.cat != NGHTTP2_HCAT_REQUEST,
                          text_of(name, name_size), text_of(value, value_size));
    return 0;
  }

  static int on_frame(nghttp2_session*, const nghttp2_frame* frame, void* user) {
    const bool end = (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
    if (frame->hd.type == NGHTTP2_HEADERS) {
      codec(user).headers_end(frame->hd.stream_id, frame->headers.cat != NGHTTP2_HCAT_REQUEST, end);
    } else if (frame->hd.type == NGHTTP2_DATA && end) {
      if (Http2Stream* stream = codec(user).find(frame->hd.stream_id); stream != nullptr) {
        codec(user).request_ends(*stream);
      }
    } else if (frame->hd.type == NGHTTP2_PING && (frame->hd.flags & NGHTTP2_FLAG_ACK) != 0 &&
               std::equal(k_farewell_ping.begin(), k_farewell_ping.end(),
                          std::begin(frame->ping.opaque_data))) {
      codec(user).farewell_answered_ = true;
    }
    return 0;
  }

  static int on_data(nghttp2_session*, std::uint8_t, std::int32_t id, const std::uint8_t* bytes,
                     std::size_t size, void* user) {
    codec(user).data(id, text_of(bytes, size));
    return 0;
  }

  // They are counted, and dropped.
  static int on_extension(nghttp2_session*, void**, const nghttp2_frame_hd*, void*) {
    return NGHTTP2_ERR_CANCEL;
  }

  static int on_stream_close(nghttp2_session*, std::int32_t id, std::uint32_t, void* user) {
    codec(user).close_stream(id);
    return 0;
  }

  static int on_invalid_frame(nghttp2_session*, const nghttp2_frame* frame, int, void* user) {
    const bool request =
        frame->hd.type == NGHTTP2_HEADERS && frame->headers.cat == NGHTTP2_HCAT_REQUEST;
    if (request && codec(user).find(frame->hd.stream_id) == nullptr) codec(user).count_unread();
    return 0;
  }

  static int on_send_data(nghttp2_session*, nghttp2_frame*, const std::uint8_t* header,
                          std::size_t bytes, nghttp2_data_source* source, void* user) {
    auto& stream = *static_cast<Http2Stream*>(source->ptr);
    return codec(user).send_data(stream, header, bytes) ? 0 : NGHTTP2_ERR_WOULDBLOCK;
  }

  static int on_frame_sent(nghttp2_session*, const nghttp2_frame* frame, void* user) {
    codec(user).frame_sent(*frame);
    return 0;
  }

  static CallbacksPtr make() {
    CallbacksPtr made = new_callbacks();
    if (made == nullptr) return made;
    nghttp2_session_callbacks_set_on_begin_frame_callback(made.get(), on_begin_frame);
    nghttp2_session_callbacks_set_on_begin_headers_callback(made.get(), on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(made.get(), on_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(made.get(), on_frame);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(made.get(), on_data);
    nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(made.get(), on_invalid_frame);
    nghttp2_session_callbacks_set_unpack_extension_callback(made.get(), on_extension);
    nghttp2_session_callbacks_set_on_stream_close_callback(made.get(), on_stream_close);
    nghttp2_session_callbacks_set_send_data_callback(made.get(), on_send_data);
    nghttp2_session_callbacks_set_on_frame_send_callback(made.get(), on_frame_sent);
    return made;
  }
};

Http2Codec::Session Http2Codec::make_session(Http2Codec& codec) {
  static const OptionPtr options = make_options();
  static const CallbacksPtr callbacks = Callbacks::make();
  nghttp2_session* made = nullptr;
  if (options == nullptr || callbacks == nullptr ||
      nghttp2_session_server_new2(&made, callbacks.get(), &codec, options.get()) != 0) {
    return {nullptr, nghttp2_session_del};
  }
  Session session(made, nghttp2_session_del);
  const auto head_bytes_max =
      static_cast<std::uint32_t>(codec.context_.message_limits.head_bytes_max);
  const std::array settings{
      nghttp2_settings_entry{NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, k_streams_max},
      nghttp2_settings_entry{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, k_stream_window},
      nghttp2_settings_entry{NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, head_bytes_max},
      nghttp2_settings_entry{NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL, 1},
      nghttp2_settings_entry{NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES, 1}};
  if (nghttp2_submit_settings(made, NGHTTP2_FLAG_NONE, settings.data(), settings.size()) != 0 ||
      nghttp2_session_set_local_window_size(made, NGHTTP2_FLAG_NONE, 0, k_connection_window) != 0) {
    session.reset();
  }
  return session;
}

Http2Stream* Http2Codec::find(std::int32_t id) const {
  return static_cast<Http2Stream*>(nghttp2_session_get_stream_user_data(session_.get(), id));
}

bool Http2Codec::frame_begins(const nghttp2_frame_hd& frame) {
  if (frame.type != NGHTTP2_CONTINUATION) headers_of_ = 0;
  switch (frame.type) {
    case NGHTTP2_HEADERS:
    case NGHTTP2_CONTINUATION:
      return true;
    case NGHTTP2_DATA: {
      // Padding makes an empty one look full.
      const bool padded = (frame.flags & NGHTTP2_FLAG_PADDED) != 0;
      const bool says_something = frame.length > (padded ? k_padded_bytes_max : 0);
      if (says_something || (frame.flags & NGHTTP2_FLAG_END_STREAM) != 0) return true;
      break;
    }
    default:
      break;
  }
  if (flood_.takes_frame(context_.now_ms)) return true;
  flooded();
  return false;
}

void Http2Codec::flooded() {
  if (context_.log.allows(context_.now_ms)) {
    log_event(LogLevel::warn, "edge", "http2",
              {{"result", "connection_ended"},
               {"client", connection_.address()},
               {"reason", "a flood of frames"}});
  }
  failed_ = true;
  (void)nghttp2_session_terminate_session(session_.get(), NGHTTP2_ENHANCE_YOUR_CALM);
}

void Http2Codec::open_stream(std::int32_t id) {
  std::unique_ptr<Http2Stream> stream;
  if (spare_.empty()) {
    stream = std::make_unique<Http2Stream>(context_, connection_, *this);
  } else {
    stream = std::move(spare_.back());
    spare_.pop_back();
  }
  stream->id = id;
  stream->slot = streams_.size();
  (void)nghttp2_session_set_stream_user_data(session_.get(), id, stream.get());
  streams_.push_back(std::move(stream));
}

void Http2Codec::add_field(std::int32_t id, bool trailer, std::string_view name,
                           std::string_view value) {
  Http2Stream* stream = find(id);
  if (stream == nullptr) return;
  if (trailer) {
    stream->request.add_trailer(name, value);
  } else {
    stream->has_priority = stream->has_priority || name == "priority";
    stream->request.add_field(name, value);
  }
}

void Http2Codec::headers_end(std::int32_t id, bool trailers, bool end_of_stream) {
  headers_of_ = 0;
  Http2Stream* stream = find(id);
  if (stream == nullptr) return;
  if (trailers) {
    request_ends(*stream);  // nghttp2 lets trailers end a stream only
    return;
  }
  ++begun_;
  if (!stream->has_priority) {
    // By default one answer after the other would be sent (RFC 9218 section 4.2), and one without
    // end would be the only one.
    const nghttp2_extpri shared{NGHTTP2_EXTPRI_DEFAULT_URGENCY, 1};
    (void)nghttp2_session_change_extpri_stream_priority(session_.get(), id, &shared, 0);
  }
  connection_.begin_request();
  stream->begun = true;
  stream->request_ended = end_of_stream;
  if (stream->request.asks_for_websocket()) {
    stream->websocket = true;
    stream->request.give_websocket_key(make_websocket_key(context_.random));
  }
  const auto error = stream->request.finish(!end_of_stream);
  stream->begin(&stream->request.head());
  if (error) {
    stream->refuse(*error);
  } else {
    // What follows is the tunnel's, and no body.
    if (end_of_stream || stream->websocket) stream->end_body({});
    stream->serve();
  }
  make_ready(*stream);
}

void Http2Codec::data(std::int32_t id, std::string_view bytes) {
  Http2Stream* stream = find(id);
  const bool tunnel = stream != nullptr && stream->state() == Stream::State::tunnel;
  if (stream == nullptr || (!tunnel && stream->state() != Stream::State::exchange)) {
    // It has its answer already.
    (void)nghttp2_session_consume(session_.get(), id, bytes.size());
    return;
  }
  if (stream->websocket && !tunnel) {
    // Behind the head of an upgrade an application may take for a request what is none.
    stream->early.append(bytes);
  } else {
    stream->take_body(bytes);
  }
  stream->unacknowledged += bytes.size();
  stream->progress = true;
  make_ready(*stream);
}

void Http2Codec::request_ends(Http2Stream& stream) {
  stream.request_ended = true;
  if (stream.state() == Stream::State::tunnel) stream.end_tunnel_up();
  if (stream.state() == Stream::State::exchange && !stream.websocket) {
    stream.end_body(stream.request.trailers());
  }
  make_ready(stream);
}

void Http2Codec::close_stream(std::int32_t id) {
  if (headers_of_ == id) headers_of_ = 0;  // a block that was rejected has no other end
  Http2Stream* stream = find(id);
  if (stream == nullptr) return;
  if (!stream->begun) {
    // nghttp2 has found its head malformed, and reset it.
    stream->begin(nullptr);
    stream->blame("bad_request");
  }
  end_stream(*stream, context_.end_reason);
  if (stream->unacknowledged != 0) {
    (void)nghttp2_session_consume_connection(session_.get(), stream->unacknowledged);
  }
  std::erase(ready_, stream);
  std::erase(touched_, stream);
  const std::size_t slot = stream->slot;
  stream->reset();
  std::unique_ptr<Http2Stream> closed = std::move(streams_[slot]);
  if (slot + 1 != streams_.size()) {
    streams_[slot] = std::move(streams_.back());
    streams_[slot]->slot = slot;
  }
  streams_.pop_back();
  if (spare_.size() < k_spare_streams_max) spare_.push_back(std::move(closed));
}

// Of an answer that was whole the client may have had only a part.
void Http2Codec::end_stream(Http2Stream& stream, std::string_view reason) {
  const bool cut = stream.state() != Stream::State::none && !stream.answer_sent;
  if (cut && stream.state() != Stream::State::tunnel) stream.blame(reason);
  stream.finish();
}

// nghttp2 has refused a request before it was a stream: it is one more than the client may have.
void Http2Codec::count_unread() {
  Http2Stream stream(context_, connection_, *this);
  stream.begin(nullptr);
  stream.blame("refused_stream");
  stream.finish();
}

// How much of the answer goes into the next frame; it is put there by send_data().
ssize_t Http2Codec::frame_body(Http2Stream& stream, std::size_t room, std::uint32_t& flags) {
  const std::size_t bytes = std::min(room, stream.out.size());
  if (bytes == 0 && !stream.out_ended) {
    stream.out_deferred = true;
    return NGHTTP2_ERR_DEFERRED;
  }
  flags |= NGHTTP2_DATA_FLAG_NO_COPY;
  if (stream.out_ended && bytes == stream.out.size()) {
    flags |= NGHTTP2_DATA_FLAG_EOF;
    if (!stream.trailers.empty()) {
      flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
      fields_.clear();
      for (const auto& [name, value] : stream.trailers) fields_.add(name, value);
      const auto& fields = fields_.finish();
      (void)nghttp2_submit_trailer(session_.get(), stream.id, fields.data(), fields.size());
    }
  }
  return static_cast<ssize_t>(bytes);
}

bool Http2Codec::send_data(Http2Stream& stream, const std::uint8_t* header, std::size_t bytes) {
  constexpr std::size_t k_header_bytes = 9;
  Buffer& out = connection_.out();
  if (out.size() >= k_high_water) return false;
  out.append(text_of(header, k_header_bytes));
  out.append(stream.out.view().substr(0, bytes));
  const bool was_full = !may_write(stream);
  stream.out.consume(bytes);
  if (was_full && may_write(stream)) make_ready(stream);
  stream.progress = true;
  touch(stream);
  flood_.earn();
  return true;
}

// A client can have its streams reset by us as well as reset them: by a body longer than its
// length, for one. The codes of the edge's own resets are not its doing.
void Http2Codec::count_reset(std::uint32_t code, Http2Stream* stream) {
  const bool own = code == NGHTTP2_NO_ERROR || code == NGHTTP2_INTERNAL_ERROR ||
                   code == NGHTTP2_CANCEL || (stream != nullptr && stream->cut_code() == code);
  if (own) return;
  if (stream != nullptr && stream->begun) stream->blame("bad_request");
  if (!failed_ && !flood_.takes_frame(context_.now_ms)) flooded();
}

void Http2Codec::goaway_sent(const nghttp2_goaway& goaway) {
  if (goaway.last_stream_id != k_no_last_stream) {
    goaway_due_ = false;
  } else if (farewell_ == Farewell::asked) {
    (void)nghttp2_submit_ping(session_.get(), NGHTTP2_FLAG_NONE, k_farewell_ping.data());
  }
}

void Http2Codec::frame_sent(const nghttp2_frame& frame) {
  if (frame.hd.type == NGHTTP2_GOAWAY) goaway_sent(frame.goaway);
  if (frame.hd.type == NGHTTP2_RST_STREAM) {
    count_reset(frame.rst_stream.error_code, find(frame.hd.stream_id));
  }
  // A whole answer to a request that is not: the rest of that is not wanted (RFC 9113 section 8.1).
  const bool answer = frame.hd.type == NGHTTP2_HEADERS || frame.hd.type == NGHTTP2_DATA;
  if (!answer || (frame.hd.flags & NGHTTP2_FLAG_END_STREAM) == 0) return;
  Http2Stream* stream = find(frame.hd.stream_id);
  if (stream == nullptr) return;
  stream->answer_sent = true;
  const bool wanted = stream->request_ended || stream->state() == Stream::State::tunnel;
  if (!wanted) reset(*stream, NGHTTP2_NO_ERROR);
}

}  // namespace atlasflow::edge
