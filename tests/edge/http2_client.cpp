#include "tests/edge/http2_client.hpp"

namespace atlasflow::edge {
namespace {

constexpr std::size_t k_frame_header = 9;

std::uint32_t number_at(std::string_view bytes, std::size_t at) {
  std::uint32_t value = 0;
  for (std::size_t i = 0; i < 4; ++i)
    value = value << 8U | static_cast<std::uint8_t>(bytes[at + i]);
  return value;
}

// An integer with a prefix of 7 bits (RFC 7541 section 5.1).
std::string length_of(std::size_t size) {
  std::string out;
  if (size < 127) {
    out += static_cast<char>(size);
    return out;
  }
  out += '\x7f';
  for (size -= 127; size >= 128; size /= 128) out += static_cast<char>(size % 128 + 128);
  out += static_cast<char>(size);
  return out;
}

}  // namespace

std::string Http2Client::number(std::uint32_t value) {
  std::string out;
  for (const unsigned shift : {24U, 16U, 8U, 0U}) out += static_cast<char>(value >> shift & 0xFFU);
  return out;
}

std::string Http2Client::block(const Fields& fields) {
  std::string out;
  for (const auto& [name, value] : fields) {
    out += '\0';
    out += length_of(name.size()) + name + length_of(value.size()) + value;
  }
  return out;
}

bool Http2Client::connect(const Edge& edge, const std::string& host, std::uint32_t window,
                          bool send_preface) {
  return reach(edge) && begin(edge, host, window, send_preface);
}

bool Http2Client::begin(const std::string& ca_file, const std::string& host, std::uint32_t window,
                        bool send_preface) {
  host_ = host;
  client_.offer_protocol("h2");
  if (!client_.start_tls(host, ca_file)) return false;
  if (!send_preface) return true;
  return client_.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n") &&
         send_frame(NGHTTP2_SETTINGS, 0, 0, std::string("\0\x04", 2) + number(window));
}

std::string Http2Client::frame(std::uint8_t type, std::uint8_t flags, std::uint32_t stream,
                               std::string_view payload) {
  std::string bytes = number(static_cast<std::uint32_t>(payload.size())).substr(1);
  bytes += static_cast<char>(type);
  bytes += static_cast<char>(flags);
  bytes += number(stream);
  bytes += payload;
  return bytes;
}

bool Http2Client::send_frame(std::uint8_t type, std::uint8_t flags, std::uint32_t stream,
                             std::string_view payload) {
  return client_.send(frame(type, flags, stream, payload));
}

bool Http2Client::send_fields(std::uint32_t stream, const Fields& fields, bool end) {
  const auto flags =
      static_cast<std::uint8_t>(NGHTTP2_FLAG_END_HEADERS | (end ? NGHTTP2_FLAG_END_STREAM : 0));
  return send_frame(NGHTTP2_HEADERS, flags, stream, block(fields));
}

bool Http2Client::send_data(std::uint32_t stream, std::string_view bytes, bool end) {
  constexpr std::size_t k_frame_max = 16384;
  do {
    const std::string_view part = bytes.substr(0, k_frame_max);
    bytes.remove_prefix(part.size());
    const bool last = bytes.empty() && end;
    if (!send_frame(NGHTTP2_DATA, last ? NGHTTP2_FLAG_END_STREAM : 0, stream, part)) return false;
  } while (!bytes.empty());
  return true;
}

bool Http2Client::get(std::uint32_t stream, const std::string& path, Fields more) {
  Fields fields = {
      {":method", "GET"}, {":scheme", "https"}, {":path", path}, {":authority", host_}};
  fields.insert(fields.end(), more.begin(), more.end());
  return send_fields(stream, fields, true);
}

bool Http2Client::post(std::uint32_t stream, Fields more) {
  Fields fields = {
      {":method", "POST"}, {":scheme", "https"}, {":path", "/"}, {":authority", host_}};
  fields.insert(fields.end(), more.begin(), more.end());
  return send_fields(stream, fields, false);
}

bool Http2Client::read_frame() {
  const auto whole = [&] {
    return input_.size() >= k_frame_header &&
           input_.size() >= k_frame_header + (number_at(input_, 0) >> 8U);
  };
  while (!whole()) {
    const std::string bytes = client_.read_some();
    if (bytes.empty()) return false;
    input_ += bytes;
  }
  const std::size_t size = number_at(input_, 0) >> 8U;
  Http2Frame frame;
  frame.type = static_cast<std::uint8_t>(input_[3]);
  frame.flags = static_cast<std::uint8_t>(input_[4]);
  frame.stream = number_at(input_, 5) & 0x7FFFFFFFU;
  frame.payload = input_.substr(k_frame_header, size);
  input_.erase(0, k_frame_header + size);
  take(frame);
  return true;
}

void Http2Client::take(const Http2Frame& frame) {
  Http2Response& response = responses_[frame.stream];
  switch (frame.type) {
    case NGHTTP2_HEADERS:
      take_fields(frame);
      break;
    case NGHTTP2_DATA:
      response.body += frame.payload;
      if (open_windows_ && !frame.payload.empty()) {
        const std::string bytes = number(static_cast<std::uint32_t>(frame.payload.size()));
        (void)send_frame(NGHTTP2_WINDOW_UPDATE, 0, 0, bytes);
        (void)send_frame(NGHTTP2_WINDOW_UPDATE, 0, frame.stream, bytes);
      }
      break;
    case NGHTTP2_RST_STREAM:
      response.reset = number_at(frame.payload, 0);
      break;
    case NGHTTP2_GOAWAY:
      goaway_ = number_at(frame.payload, 4);
      last_streams_.push_back(number_at(frame.payload, 0));
      break;
    case NGHTTP2_WINDOW_UPDATE:
      opened_[frame.stream] += number_at(frame.payload, 0);
      break;
    case NGHTTP2_PING:
      if ((frame.flags & NGHTTP2_FLAG_ACK) != 0) break;
      pings_.push_back(frame.payload);
      if (answer_pings_) {
        (void)send_frame(NGHTTP2_PING, NGHTTP2_FLAG_ACK, 0, frame.payload);
      }
      break;
    case NGHTTP2_SETTINGS:
      if ((frame.flags & NGHTTP2_FLAG_ACK) == 0) {
        for (std::size_t at = 0; at + 6 <= frame.payload.size(); at += 6) {
          settings_[number_at(frame.payload, at) >> 16U] = number_at(frame.payload, at + 2);
        }
        (void)send_frame(NGHTTP2_SETTINGS, NGHTTP2_FLAG_ACK, 0, {});
      }
      break;
    default:
      break;
  }
  const bool carries_end = frame.type == NGHTTP2_HEADERS || frame.type == NGHTTP2_DATA;
  if (carries_end && (frame.flags & NGHTTP2_FLAG_END_STREAM) != 0) response.ended = true;
}

void Http2Client::take_fields(const Http2Frame& frame) {
  Http2Response& response = responses_[frame.stream];
  const bool trailers = response.status >= 200;
  std::string_view bytes = frame.payload;
  for (;;) {
    nghttp2_nv field{};
    int flags = 0;
    const ssize_t used = nghttp2_hd_inflate_hd2(inflater_, &field, &flags,
                                                reinterpret_cast<const std::uint8_t*>(bytes.data()),
                                                bytes.size(), 1);
    if (used < 0) return;
    bytes.remove_prefix(static_cast<std::size_t>(used));
    if ((flags & NGHTTP2_HD_INFLATE_EMIT) != 0) {
      const std::string name(reinterpret_cast<const char*>(field.name), field.namelen);
      const std::string value(reinterpret_cast<const char*>(field.value), field.valuelen);
      if (name == ":status") {
        response.status = std::stoi(value);
        if (response.status < 200) response.interim.push_back(response.status);
      } else {
        response.fields[(trailers ? "trailer " : "") + name] = value;
      }
    }
    if ((flags & NGHTTP2_HD_INFLATE_FINAL) != 0) {
      nghttp2_hd_inflate_end_headers(inflater_);
      return;
    }
  }
}

bool Http2Client::read_until(const std::function<bool()>& holds) {
  while (!holds()) {
    if (!read_frame()) return false;
  }
  return true;
}

Http2Response& Http2Client::response(std::uint32_t stream) {
  (void)read_until([&] { return responses_[stream].ended || responses_[stream].reset; });
  return responses_[stream];
}

std::optional<std::uint32_t> Http2Client::read_goaway() {
  (void)read_until([] { return false; });
  return goaway_;
}

}  // namespace atlasflow::edge
