#include "tests/edge/h2c_app.hpp"

#include <algorithm>
#include <array>
#include <cstring>

namespace atlasflow::edge {
namespace {

std::vector<nghttp2_nv> as_nghttp2(const H2cFieldList& fields) {
  std::vector<nghttp2_nv> all;
  for (const auto& [name, value] : fields) {
    all.push_back({reinterpret_cast<std::uint8_t*>(const_cast<char*>(name.data())),
                   reinterpret_cast<std::uint8_t*>(const_cast<char*>(value.data())), name.size(),
                   value.size(), NGHTTP2_NV_FLAG_NONE});
  }
  return all;
}

}  // namespace

std::string H2cRequest::field(const std::string& name) const {
  std::string all;
  for (const auto& [each, value] : fields) {
    if (each == name) all += (all.empty() ? "" : ", ") + value;
  }
  return all;
}

struct H2cAppConnection::Callbacks {
  static H2cAppConnection& of(void* user) { return *static_cast<H2cAppConnection*>(user); }

  static int on_begin_headers(nghttp2_session*, const nghttp2_frame* frame, void* user) {
    H2cRequest& request = of(user).requests_[frame->hd.stream_id];
    request.id = frame->hd.stream_id;
    if (frame->headers.cat == NGHTTP2_HCAT_REQUEST) ++of(user).open_;
    return 0;
  }
  static int on_header(nghttp2_session*, const nghttp2_frame* frame, const std::uint8_t* name,
                       std::size_t name_size, const std::uint8_t* value, std::size_t value_size,
                       std::uint8_t, void* user) {
    H2cRequest& request = of(user).requests_[frame->hd.stream_id];
    const bool trailer = frame->headers.cat != NGHTTP2_HCAT_REQUEST;
    (trailer ? request.trailers : request.fields)
        .emplace_back(std::string(reinterpret_cast<const char*>(name), name_size),
                      std::string(reinterpret_cast<const char*>(value), value_size));
    return 0;
  }
  static int on_data(nghttp2_session* session, std::uint8_t, std::int32_t id,
                     const std::uint8_t* bytes, std::size_t size, void* user) {
    of(user).requests_[id].body.append(reinterpret_cast<const char*>(bytes), size);
    if (of(user).script_.takes_bodies) nghttp2_session_consume(session, id, size);
    return 0;
  }
  static int on_frame(nghttp2_session*, const nghttp2_frame* frame, void* user) {
    H2cAppConnection& app = of(user);
    const bool end = (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
    const bool head =
        frame->hd.type == NGHTTP2_HEADERS && frame->headers.cat == NGHTTP2_HCAT_REQUEST;
    if (frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA) return 0;
    H2cRequest& request = app.requests_[frame->hd.stream_id];
    request.ended = end;
    if (head && app.script_.on_head) app.script_.on_head(app, request);
    if (end && app.script_.on_end) app.script_.on_end(app, request);
    return 0;
  }
  static int on_close(nghttp2_session*, std::int32_t id, std::uint32_t code, void* user) {
    --of(user).open_;
    H2cRequest& request = of(user).requests_[id];
    request.closed = code;
    if (of(user).script_.on_close) of(user).script_.on_close(request);
    of(user).requests_.erase(id);
    return 0;
  }
  static ssize_t read(nghttp2_session* session, std::int32_t id, std::uint8_t* to, std::size_t room,
                      std::uint32_t* flags, nghttp2_data_source* source, void* user) {
    Body& body = *static_cast<Body*>(source->ptr);
    const std::size_t size = std::min(room, body.bytes.size() - body.sent);
    if (size == 0 && body.endless) return NGHTTP2_ERR_DEFERRED;
    std::memcpy(to, body.bytes.data() + body.sent, size);
    body.sent += size;
    if (body.sent < body.bytes.size() || body.endless) return static_cast<ssize_t>(size);
    *flags |= NGHTTP2_DATA_FLAG_EOF;
    if (!body.trailers.empty() || of(user).script_.always_trailers) {
      *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
      const auto fields = as_nghttp2(body.trailers);
      nghttp2_submit_trailer(session, id, fields.data(), fields.size());
    }
    return static_cast<ssize_t>(size);
  }
};

H2cAppConnection::H2cAppConnection(UpstreamSession& socket, const Script& script)
    : socket_(socket), script_(script) {
  nghttp2_session_callbacks* callbacks = nullptr;
  nghttp2_session_callbacks_new(&callbacks);
  nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, Callbacks::on_begin_headers);
  nghttp2_session_callbacks_set_on_header_callback(callbacks, Callbacks::on_header);
  nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, Callbacks::on_data);
  nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, Callbacks::on_frame);
  nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, Callbacks::on_close);
  nghttp2_option* option = nullptr;
  nghttp2_option_new(&option);
  nghttp2_option_set_no_auto_window_update(option, 1);
  // What it says may be against the rules.
  nghttp2_option_set_no_http_messaging(option, 1);
  nghttp2_session_server_new2(&session_, callbacks, this, option);
  nghttp2_option_del(option);
  nghttp2_session_callbacks_del(callbacks);
  const std::array settings{
      nghttp2_settings_entry{NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, script.streams_max}};
  nghttp2_submit_settings(session_, NGHTTP2_FLAG_NONE, settings.data(), settings.size());
}

bool H2cAppConnection::flush() {
  const std::uint8_t* bytes = nullptr;
  for (ssize_t size = 0; (size = nghttp2_session_mem_send(session_, &bytes)) > 0;) {
    if (!socket_.write({reinterpret_cast<const char*>(bytes), static_cast<std::size_t>(size)})) {
      return false;
    }
  }
  return true;
}

void H2cAppConnection::run() {
  while (flush() && !hangs_up_) {
    const std::string bytes = socket_.read_some();
    if (bytes.empty()) return;
    if (nghttp2_session_mem_recv(session_, reinterpret_cast<const std::uint8_t*>(bytes.data()),
                                 bytes.size()) < 0) {
      return;
    }
  }
  socket_.shutdown();
}

void H2cAppConnection::submit(std::int32_t id, const H2cFieldList& fields, Body body) {
  nghttp2_data_provider provider{};
  provider.source.ptr = &(bodies_[id] = std::move(body));
  provider.read_callback = Callbacks::read;
  const auto all = as_nghttp2(fields);
  nghttp2_submit_response(session_, id, all.data(), all.size(), &provider);
}

void H2cAppConnection::answer(std::int32_t id, const H2cFieldList& fields, std::string body,
                              H2cFieldList trailers) {
  submit(id, fields, {std::move(body), 0, std::move(trailers), false});
}

void H2cAppConnection::begin_answer(std::int32_t id, const H2cFieldList& fields) {
  submit(id, fields, {{}, 0, {}, true});
}

void H2cAppConnection::answer_head_only(std::int32_t id, const H2cFieldList& fields) {
  const auto all = as_nghttp2(fields);
  nghttp2_submit_response(session_, id, all.data(), all.size(), nullptr);
}

void H2cAppConnection::interim(std::int32_t id, const H2cFieldList& fields) {
  const auto all = as_nghttp2(fields);
  nghttp2_submit_headers(session_, NGHTTP2_FLAG_NONE, id, nullptr, all.data(), all.size(), nullptr);
}

void H2cAppConnection::reset(std::int32_t id, std::uint32_t code) {
  nghttp2_submit_rst_stream(session_, NGHTTP2_FLAG_NONE, id, code);
}

void H2cAppConnection::goaway(std::int32_t last) {
  nghttp2_submit_goaway(session_, NGHTTP2_FLAG_NONE, last, NGHTTP2_NO_ERROR, nullptr, 0);
}

void H2cAppConnection::hang_up() { hangs_up_ = true; }

RecordingUpstream::Handler speak_h2c(H2cAppConnection::Script script) {
  return [script = std::move(script)](UpstreamSession& socket) {
    H2cAppConnection(socket, script).run();
  };
}

}  // namespace atlasflow::edge
