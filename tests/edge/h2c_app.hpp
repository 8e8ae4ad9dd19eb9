// An application that speaks HTTP/2 without TLS, made of nghttp2's server session: it records what
// comes and answers what its test says. Each connection on a thread of the recording upstream.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <nghttp2/nghttp2.h>

#include "tests/edge/edge_fixture.hpp"

namespace atlasflow::edge {

using H2cFieldList = std::vector<std::pair<std::string, std::string>>;

struct H2cRequest {
  std::int32_t id = 0;
  H2cFieldList fields;    // pseudo-header fields among them
  H2cFieldList trailers;  //
  std::string body;
  bool ended = false;
  std::optional<std::uint32_t> closed;  // with that code

  [[nodiscard]] std::string field(const std::string& name) const;
};

class H2cAppConnection {
 public:
  struct Script {
    // The head has come, or the whole request.
    std::function<void(H2cAppConnection&, H2cRequest&)> on_head = {};
    std::function<void(H2cAppConnection&, H2cRequest&)> on_end = {};
    std::function<void(H2cRequest&)> on_close = {};
    std::uint32_t streams_max = 100;
    bool takes_bodies = true;      // opens the windows for what comes
    bool always_trailers = false;  // an answer ends with a trailer section, an empty one too
  };
  H2cAppConnection(UpstreamSession& socket, const Script& script);
  ~H2cAppConnection() { nghttp2_session_del(session_); }
  H2cAppConnection(const H2cAppConnection&) = delete;
  H2cAppConnection& operator=(const H2cAppConnection&) = delete;

  void run();  // until its end

  void answer(std::int32_t id, const H2cFieldList& fields, std::string body,
              H2cFieldList trailers = {});
  // The fields end the stream.
  void answer_head_only(std::int32_t id, const H2cFieldList& fields);
  void interim(std::int32_t id, const H2cFieldList& fields);
  // A head, and a body that never comes.
  void begin_answer(std::int32_t id, const H2cFieldList& fields);
  void reset(std::int32_t id, std::uint32_t code);
  void goaway(std::int32_t last);
  void hang_up();
  [[nodiscard]] std::size_t open() const { return open_; }

 private:
  struct Body {
    std::string bytes;
    std::size_t sent = 0;
    H2cFieldList trailers;
    bool endless = false;
  };
  struct Callbacks;
  void submit(std::int32_t id, const H2cFieldList& fields, Body body);
  bool flush();

  UpstreamSession& socket_;
  const Script& script_;
  nghttp2_session* session_ = nullptr;
  std::map<std::int32_t, H2cRequest> requests_;
  std::map<std::int32_t, Body> bodies_;
  std::size_t open_ = 0;
  bool hangs_up_ = false;
};

// Each connection by the script.
[[nodiscard]] RecordingUpstream::Handler speak_h2c(H2cAppConnection::Script script);

}  // namespace atlasflow::edge
