// A client that writes HTTP/2 frame by frame, so that it can write what no library would. Header
// blocks are literals without Huffman coding (RFC 7541 section 6.2.2).
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <nghttp2/nghttp2.h>

#include "tests/edge/edge_fixture.hpp"

namespace atlasflow::edge {

struct Http2Frame {
  std::uint8_t type = 0;
  std::uint8_t flags = 0;
  std::uint32_t stream = 0;
  std::string payload;
};

struct Http2Response {
  int status = 0;
  std::map<std::string, std::string> fields;  // those of a trailer section as "trailer name"
  std::string body;
  bool ended = false;                  // END_STREAM has come
  std::optional<std::uint32_t> reset;  // with that code
  std::vector<int> interim;
};

class Http2Client {
 public:
  using Fields = std::vector<std::pair<std::string, std::string>>;

  Http2Client() { nghttp2_hd_inflate_new(&inflater_); }
  ~Http2Client() { nghttp2_hd_inflate_del(inflater_); }
  Http2Client(const Http2Client&) = delete;
  Http2Client& operator=(const Http2Client&) = delete;

  // TLS, the preface and empty SETTINGS. `window`: of each stream, for what the server sends.
  [[nodiscard]] bool connect(const Edge& edge, const std::string& host,
                             std::uint32_t window = 65535, bool send_preface = true);

  // connect() in two steps: the TCP connection, and the rest.
  [[nodiscard]] bool reach(const Edge& edge) { return client_.connect(edge.https_port()); }
  [[nodiscard]] bool begin(const Edge& edge, const std::string& host, std::uint32_t window = 65535,
                           bool send_preface = true) {
    return begin(edge.ca_certificate().string(), host, window, send_preface);
  }
  [[nodiscard]] bool begin(const std::string& ca_file, const std::string& host,
                           std::uint32_t window = 65535, bool send_preface = true);
  // For threads beside which the edge's face changes.
  [[nodiscard]] bool connect(std::uint16_t port, const std::string& ca_file,
                             const std::string& host) {
    return client_.connect(port) && begin(ca_file, host);
  }

  bool send_frame(std::uint8_t type, std::uint8_t flags, std::uint32_t stream,
                  std::string_view payload);
  // As it stands, pseudo-header fields and all.
  bool send_fields(std::uint32_t stream, const Fields& fields, bool end);
  bool send_data(std::uint32_t stream, std::string_view bytes, bool end);
  bool get(std::uint32_t stream, const std::string& path = "/", Fields more = {});
  bool post(std::uint32_t stream, Fields more = {});

  // Reads until the stream is over, or the connection. Windows are opened by what comes unless that
  // is turned off.
  Http2Response& response(std::uint32_t stream);
  // Reads until it holds. False at the end of the connection.
  bool read_until(const std::function<bool()>& holds);
  // Reads to the end: the code of the GOAWAY that came before it.
  [[nodiscard]] std::optional<std::uint32_t> read_goaway();
  [[nodiscard]] std::map<std::uint32_t, Http2Response>& responses() { return responses_; }
  [[nodiscard]] std::optional<std::uint32_t> goaway() const { return goaway_; }
  [[nodiscard]] std::uint64_t window_opened(std::uint32_t stream) { return opened_[stream]; }
  // The last streams that the GOAWAYs named, one after the other.
  [[nodiscard]] const std::vector<std::uint32_t>& last_streams() const { return last_streams_; }
  // What the server has set, by identifier.
  [[nodiscard]] const std::map<std::uint32_t, std::uint32_t>& settings() const { return settings_; }
  void answer_no_pings() { answer_pings_ = false; }
  [[nodiscard]] const std::vector<std::string>& pings() const { return pings_; }
  void keep_windows_shut() { open_windows_ = false; }
  [[nodiscard]] Client& connection() { return client_; }

  [[nodiscard]] static std::string block(const Fields& fields);
  [[nodiscard]] static std::string number(std::uint32_t value);
  [[nodiscard]] static std::string frame(std::uint8_t type, std::uint8_t flags,
                                         std::uint32_t stream, std::string_view payload);

 private:
  [[nodiscard]] bool read_frame();
  void take(const Http2Frame& frame);
  void take_fields(const Http2Frame& frame);

  Client client_;
  std::string host_;
  std::string input_;
  nghttp2_hd_inflater* inflater_ = nullptr;
  std::map<std::uint32_t, Http2Response> responses_;
  std::map<std::uint32_t, std::uint64_t> opened_;
  std::optional<std::uint32_t> goaway_;
  std::vector<std::uint32_t> last_streams_;
  std::map<std::uint32_t, std::uint32_t> settings_;
  std::vector<std::string> pings_;  // that ask for an answer
  bool answer_pings_ = true;
  bool open_windows_ = true;
};

}  // namespace atlasflow::edge
