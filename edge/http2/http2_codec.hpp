// HTTP/2 towards the client (RFC 9113), on nghttp2: frames, windows and HPACK are the library's,
// what a request means is the streams'. Many streams at a time; one that waits, for its upstream or
// for its client's window, holds up no other. Its worker's thread only.
//
// Back-pressure: the client's windows are opened by what a stream has handed on to its upstream,
// and a stream reads no more of its upstream while much of its answer waits for the client.
#pragma once

#include <memory>
#include <vector>

#include <nghttp2/nghttp2.h>

#include "edge/http2/field_list.hpp"
#include "edge/http2/flood_guard.hpp"
#include "edge/http2/http2_stream.hpp"
#include "edge/proxy/client_connection.hpp"
#include "edge/proxy/codec.hpp"

namespace atlasflow::edge {

class Http2Codec final : public Codec {
 public:
  Http2Codec(WorkerContext& context, ClientConnection& connection);
  ~Http2Codec() override;

  bool step() override;
  void wake(Stream& stream) override;
  void client_ended() override;
  void update_deadlines(bool progress) override;
  Wait wait() const override;
  void refuse(const EdgeAnswer& answer) override;
  bool begin_farewell() override;
  void end_farewell() override;
  std::int64_t farewell_ends_ms() const override;
  void say_goodbye() override;
  void abandon() override;
  void release_memory() override;
  std::string_view host() const override;

  bool may_write(const Stream& stream) const override;
  std::string_view refuses_upgrade(const Stream& stream,
                                   const http::ResponseHead& head) const override;
  void write_interim(Stream& stream, const http::ResponseHead& head) override;
  void write_head(Stream& stream, const http::ResponseHead& head) override;
  void write_body(Stream& stream, std::string_view bytes) override;
  void write_end(Stream& stream, const std::vector<http::Field>& trailers) override;
  void end_tunnel(Stream& stream) override;
  void write_answer(Stream& stream, const EdgeAnswer& answer) override;
  void cut(Stream& stream) override;
  void drop(Stream& stream) override;

 private:
  struct Callbacks;  // nghttp2's, in http2_session.cpp
  friend struct Callbacks;
  using Session = std::unique_ptr<nghttp2_session, decltype(&nghttp2_session_del)>;

  [[nodiscard]] static Session make_session(Http2Codec& codec);

  [[nodiscard]] bool receive();
  [[nodiscard]] bool step_streams();
  void open_tunnel(Http2Stream& stream, const http::ResponseHead& head);
  [[nodiscard]] bool send();
  // Whether a request is still being answered.
  [[nodiscard]] bool answers() const;
  void acknowledge(Http2Stream& stream);
  void end_connection_if_done();
  void flooded();

  // What nghttp2 tells.
  [[nodiscard]] Http2Stream* find(std::int32_t id) const;
  [[nodiscard]] bool frame_begins(const nghttp2_frame_hd& frame);
  void open_stream(std::int32_t id);
  void add_field(std::int32_t id, bool trailer, std::string_view name, std::string_view value);
  void headers_end(std::int32_t id, bool trailers, bool end_of_stream);
  void data(std::int32_t id, std::string_view bytes);
  void request_ends(Http2Stream& stream);
  void close_stream(std::int32_t id);
  void end_stream(Http2Stream& stream, std::string_view reason);
  void count_unread();
  [[nodiscard]] ssize_t frame_body(Http2Stream& stream, std::size_t room, std::uint32_t& flags);
  [[nodiscard]] bool send_data(Http2Stream& stream, const std::uint8_t* header, std::size_t bytes);
  void count_reset(std::uint32_t code, Http2Stream* stream);
  void frame_sent(const nghttp2_frame& frame);
  void goaway_sent(const nghttp2_goaway& goaway);

  void submit_head(Http2Stream& stream, bool body);
  void wait_for_client(Http2Stream& stream);
  void resume(Http2Stream& stream);
  void reset(Http2Stream& stream, std::uint32_t code);
  void make_ready(Http2Stream& stream);
  void touch(Http2Stream& stream);
  [[nodiscard]] static Http2Stream& of(Stream& stream) { return static_cast<Http2Stream&>(stream); }

  void begin_fields(int status);

  WorkerContext& context_;
  ClientConnection& connection_;
  Session session_;
  std::vector<std::unique_ptr<Http2Stream>> streams_;  // those that nghttp2 has open
  std::vector<std::unique_ptr<Http2Stream>> spare_;
  std::vector<Http2Stream*> ready_;
  std::vector<Http2Stream*> touched_;
  std::size_t begun_ = 0;        // streams, by what is being read
  std::int32_t headers_of_ = 0;  // the stream whose block of fields is incomplete
  bool failed_ = false;          // the client broke the protocol, or was told to leave
  // A connection ends in two steps (RFC 9113 section 6.8), so that no request is lost that was on
  // its way: a GOAWAY that names none, and when the client must have read it, the one that names
  // the last.
  enum class Farewell : std::uint8_t { none, asked, ended };
  Farewell farewell_ = Farewell::none;
  std::int64_t farewell_ends_ms_ = INT64_MAX;
  bool farewell_answered_ = false;
  bool goaway_due_ = false;  // the client has not been told yet which request was the last
  FloodGuard flood_;
  FieldList fields_;  // of the head that is being written
};

}  // namespace atlasflow::edge
