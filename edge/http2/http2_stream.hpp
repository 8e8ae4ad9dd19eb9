// A stream of an HTTP/2 connection: the exchange, and what the codec keeps beside it. Values; the
// codec drives them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "edge/http2/request_builder.hpp"
#include "edge/proxy/buffer.hpp"
#include "edge/proxy/stream.hpp"
#include "edge/proxy/worker_context.hpp"

namespace atlasflow::edge {

class Http2Stream final : public Stream {
 public:
  Http2Stream(WorkerContext& context, ClientConnection& connection, Codec& codec)
      : Stream(context, connection, codec),
        request(context.message_limits),
        early(context.slabs),
        out(context.slabs) {}

  std::int32_t id = 0;
  std::size_t slot = 0;  // in the codec's list
  RequestBuilder request;
  bool begun = false;              // its head was read
  bool request_ended = false;      // END_STREAM has come
  bool has_priority = false;       // the client says how its answer is to be sent
  std::size_t unacknowledged = 0;  // body bytes for which the client's windows are not opened yet
  bool websocket = false;          // an extended CONNECT (RFC 8441)
  Buffer early;                    // what came for the tunnel before the application took it

  Buffer out;                 // of the answer's body, not framed yet
  bool out_ended = false;     // nothing more goes into `out`
  bool out_deferred = false;  // nghttp2 has found `out` empty, and wants to be told
  bool answer_sent = false;   // all of it is framed
  std::vector<std::pair<std::string, std::string>> trailers;

  bool in_ready = false;    // its upstream may have something to do
  bool in_touched = false;  // its deadline is to be looked at
  bool progress = false;    // bytes of it have moved since then

  void reset() {
    request.reset();
    begun = request_ended = has_priority = out_ended = out_deferred = answer_sent = false;
    websocket = false;
    unacknowledged = 0;
    early.clear();
    out.clear();
    trailers.clear();
    in_ready = in_touched = progress = false;
  }
};

}  // namespace atlasflow::edge
