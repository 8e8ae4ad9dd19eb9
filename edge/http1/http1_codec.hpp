// HTTP/1.1 and 1.0 towards the client (RFC 9112): one stream at a time, parsed as far as the stream
// takes it, so that a client that pipelines waits in its own socket. Websocket tunnels are its
// business too: after the 101 the connection carries nothing else. Its worker's thread only.
#pragma once

#include "edge/proxy/client_connection.hpp"
#include "edge/proxy/codec.hpp"
#include "edge/proxy/stream.hpp"
#include "http/parser.hpp"

namespace atlasflow::edge {

class Http1Codec final : public Codec {
 public:
  Http1Codec(WorkerContext& context, ClientConnection& connection);

  bool step() override;
  void wake(Stream&) override {}  // its only stream has its part in every step
  void client_ended() override { stream_.renew_deadline(); }
  void update_deadlines(bool progress) override;
  Wait wait() const override;
  void refuse(const EdgeAnswer& answer) override;
  bool begin_farewell() override { return false; }  // the next answer says so
  void end_farewell() override {}
  std::int64_t farewell_ends_ms() const override { return INT64_MAX; }
  void say_goodbye() override {}
  void abandon() override { stream_.finish(); }
  void release_memory() override;
  std::string_view host() const override;

  bool may_write(const Stream& stream) const override;
  std::string_view refuses_upgrade(const Stream&, const http::ResponseHead&) const override {
    return {};  // the client sees for itself
  }
  void end_tunnel(Stream&) override {}  // step_tunnel() sees to it
  void write_interim(Stream& stream, const http::ResponseHead& head) override;
  void write_head(Stream& stream, const http::ResponseHead& head) override;
  void write_body(Stream& stream, std::string_view bytes) override;
  void write_end(Stream& stream, const std::vector<http::Field>& trailers) override;
  void write_answer(Stream& stream, const EdgeAnswer& answer) override;
  void cut(Stream& stream) override;
  void drop(Stream& stream) override;

 private:
  [[nodiscard]] bool step_head();
  [[nodiscard]] bool step_exchange();
  [[nodiscard]] bool step_body();
  [[nodiscard]] bool step_discard();
  [[nodiscard]] bool step_tunnel();
  [[nodiscard]] bool tunnel_up(UpstreamConnection& upstream);
  [[nodiscard]] bool tunnel_down(UpstreamConnection& upstream);
  void begin_request();
  void end_request();
  void end_connection(std::size_t linger_bytes);

  WorkerContext& context_;
  ClientConnection& connection_;
  http::RequestParser parser_;
  Stream stream_;
  // Of the answer that is being written.
  http::Framing framing_ = http::Framing::none;
  bool close_after_ = false;
  bool tunnel_up_closed_ = false;
};

}  // namespace atlasflow::edge
