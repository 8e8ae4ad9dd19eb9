#include "edge/proxy/error_page.hpp"

#include <cstdint>

#include "http/message.hpp"

namespace atlasflow::edge {
namespace {

enum class Form : std::uint8_t { text, html, json };

// The weight of a media range in thousandths (RFC 9110 section 12.4.2).
int quality_of(std::string_view parameters) {
  const std::size_t at = parameters.find("q=");
  if (at == std::string_view::npos) return 1000;
  const std::string_view text = parameters.substr(at + 2, 5);
  if (text.starts_with('1')) return 1000;
  int quality = 0;
  int weight = 100;
  for (std::size_t i = 2; i < text.size() && text[i] >= '0' && text[i] <= '9'; ++i) {
    quality += (text[i] - '0') * weight;
    weight /= 10;
  }
  return quality;
}

// The best explicitly named form; text for "*/*", for nothing and for what is not offered.
Form preferred_form(std::string_view accept) {
  Form best = Form::text;
  int best_quality = 0;
  std::string_view range;
  while (http::next_list_element(accept, range)) {
    const std::size_t semicolon = range.find(';');
    std::string_view type = range.substr(0, semicolon);
    while (!type.empty() && type.back() == ' ') type.remove_suffix(1);
    const int quality =
        semicolon == std::string_view::npos ? 1000 : quality_of(range.substr(semicolon + 1));
    Form form = Form::text;
    if (http::equal_ignoring_case(type, "text/html")) {
      form = Form::html;
    } else if (http::equal_ignoring_case(type, "application/json")) {
      form = Form::json;
    } else if (!http::equal_ignoring_case(type, "text/plain")) {
      continue;
    }
    if (quality > best_quality) {
      best = form;
      best_quality = quality;
    }
  }
  return best;
}

void append_html(std::string_view text, std::string& out) {
  for (char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      default:
        out += c;
    }
  }
}

void append_json(std::string_view text, std::string& out) {
  static constexpr std::string_view k_hex = "0123456789abcdef";
  out += '"';
  for (char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (byte < 0x20) {
      out += "\\u00";
      out += k_hex[byte >> 4U];
      out += k_hex[byte & 15U];
    } else {
      out += c;
    }
  }
  out += '"';
}

std::string render_body(const EdgeAnswer& answer, std::string_view request_id, Form form) {
  std::string body;
  switch (form) {
    case Form::text:
      body = std::to_string(answer.status) + " " + answer.title + "\n\n" + answer.message +
             "\n\nrequest id: " + std::string(request_id) + "\n";
      break;
    case Form::json:
      body = "{\"error\":{\"status\":" + std::to_string(answer.status) + ",\"code\":";
      append_json(answer.code, body);
      body += ",\"message\":";
      append_json(answer.message, body);
      body += ",\"request_id\":";
      append_json(request_id, body);
      body += "}}\n";
      break;
    case Form::html:
      body =
          "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta "
          "name=\"viewport\" content=\"width=device-width\"><title>";
      append_html(answer.title, body);
      body +=
          "</title><style>body{font:16px/1.5 system-ui,sans-serif;max-width:40em;margin:15vh "
          "auto;padding:0 1em;color:#222}small{color:#666}</style></head>\n<body><h1>" +
          std::to_string(answer.status) + " ";
      append_html(answer.title, body);
      body += "</h1>\n<p>";
      append_html(answer.message, body);
      body += "</p>\n<p><small>Atlasflow edge, request ";
      append_html(request_id, body);
      body += "</small></p></body></html>\n";
      break;
  }
  return body;
}

std::string_view content_type(Form form) {
  switch (form) {
    case Form::html:
      return "text/html; charset=utf-8";
    case Form::json:
      return "application/json";
    case Form::text:
      break;
  }
  return "text/plain; charset=utf-8";
}

}  // namespace

OwnResponse render_answer(const EdgeAnswer& answer, const AnswerContext& context) {
  OwnResponse response;
  response.status = answer.status;
  auto& fields = response.fields;
  fields.emplace_back("Date", http::date_text(context.now));
  if (answer.status != 204) {
    const Form form = answer.text.empty() ? preferred_form(context.accept) : Form::text;
    response.body =
        answer.text.empty() ? render_body(answer, context.request_id, form) : answer.text;
    fields.emplace_back("Content-Type", content_type(form));
    fields.emplace_back("Content-Length", std::to_string(response.body.size()));
  }
  if (!context.hsts.empty()) fields.emplace_back("Strict-Transport-Security", context.hsts);
  fields.emplace_back("Cache-Control", "no-store");
  fields.emplace_back("X-Request-Id", context.request_id);
  if (answer.status >= 400) {
    fields.emplace_back("X-Atlas-Error", answer.code);
    fields.emplace_back("X-Content-Type-Options", "nosniff");
  }
  if (answer.status == 405 || answer.status == 204) {
    fields.emplace_back("Allow", "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");
  }
  if (!answer.location.empty()) fields.emplace_back("Location", answer.location);
  if (answer.retry_after_s > 0) {
    fields.emplace_back("Retry-After", std::to_string(answer.retry_after_s));
  }
  return response;
}

EdgeAnswer bad_request(const http::HttpError& error) {
  return {error.status, "bad_request", std::string(http::reason_phrase(error.status)),
          std::string(error.reason)};
}

}  // namespace atlasflow::edge
