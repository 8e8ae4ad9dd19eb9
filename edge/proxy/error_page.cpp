#include "edge/proxy/error_page.hpp"

#include <cstdint>

#include "edge/proxy/grpc.hpp"
#include "http/message.hpp"

namespace atlasflow::edge {
namespace {

enum class Form : std::uint8_t { text, html, json, problem };

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
    } else if (http::equal_ignoring_case(type, "application/problem+json")) {
      form = Form::problem;
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

// What a visitor is told, who knows neither HTTP nor what a deployment is. The rest of the page is
// for the site's owner.
struct VisitorWords {
  std::string_view headline;
  std::string_view advice;
};

constexpr std::string_view k_try_again =
    "It is not your fault. Try again in a moment; if it goes on, tell the owner of the site the "
    "request's number below.";

VisitorWords visitor_words(const EdgeAnswer& answer) {
  if (answer.code == "unknown_host") {
    return {"There is no site at this address",
            "Check the address for a spelling mistake. The site may also have moved or ended."};
  }
  if (answer.code == "no_instance") {
    return {"This site is not available right now", "Come back in a few minutes."};
  }
  if (answer.code == "overloaded") {
    return {"This site is busy right now", "Try again in a moment."};
  }
  switch (answer.status) {
    case 301:
    case 308:
      return {"This page is at another address", "Follow the address below."};
    case 408:
      return {"Your request took too long", "Check your connection, and try again."};
    case 413:
    case 414:
    case 431:
      return {"That was more than this site takes", "Send less at once."};
    case 421:
      return {"This page could not be loaded here", "Load it again."};
    case 429:
      return {"That was a lot at once", "Wait a moment, and try again."};
    case 501:
    case 505:
      return {"This site does not understand that kind of request", "Use a browser of today."};
    case 502:
    case 504:
      return {"This site did not answer properly", k_try_again};
    default:
      break;
  }
  if (answer.status < 500) {
    return {"This request could not be understood",
            "Check the address. If you followed a link, tell the owner of the site about it."};
  }
  return {"Something went wrong", k_try_again};
}

// Nothing is loaded from anywhere: the page has to work when the site does not.
constexpr std::string_view k_html_head =
    "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" "
    "content=\"width=device-width,initial-scale=1\"><meta name=\"robots\" content=\"noindex\">"
    "<style>:root{color-scheme:light dark}body{font:16px/1.6 system-ui,sans-serif;max-width:36em;"
    "margin:15vh auto;padding:0 1.5em}h1{font-size:1.6em;line-height:1.3}section{margin-top:3em;"
    "font-size:.85em;opacity:.75;overflow-wrap:anywhere}code{font-family:ui-monospace,monospace}"
    "</style><title>";

void render_html(const EdgeAnswer& answer, std::string_view request_id, std::string& out) {
  const VisitorWords words = visitor_words(answer);
  out += k_html_head;
  append_html(words.headline, out);
  out += "</title></head>\n<body><h1>";
  append_html(words.headline, out);
  out += "</h1>\n<p>";
  append_html(answer.notice.empty() ? words.advice : answer.notice, out);
  out += "</p>\n<section><p>" + std::to_string(answer.status) + " ";
  append_html(answer.title, out);
  if (answer.message != answer.title) {
    out += "<br>";
    append_html(answer.message, out);
  }
  out += "</p>\n<p>Request <code>";
  append_html(request_id, out);
  out += "</code></p></section></body></html>\n";
}

void append_member(std::string_view name, std::string_view value, std::string& out) {
  out += ",\"";
  out += name;
  out += "\":";
  append_json(value, out);
}

void render_json(const EdgeAnswer& answer, std::string_view request_id, std::string& out) {
  out += "{\"error\":{\"status\":" + std::to_string(answer.status);
  append_member("code", answer.code, out);
  append_member("message", answer.message, out);
  if (!answer.notice.empty()) append_member("notice", answer.notice, out);
  append_member("request_id", request_id, out);
  out += "}}\n";
}

// RFC 9457, with the code, the owner's notice and the id as members of our own (section 3.2).
void render_problem(const EdgeAnswer& answer, std::string_view request_id, std::string& out) {
  out += "{\"type\":\"about:blank\",\"status\":" + std::to_string(answer.status);
  append_member("title", answer.title, out);
  append_member("detail", answer.message, out);
  append_member("code", answer.code, out);
  if (!answer.notice.empty()) append_member("notice", answer.notice, out);
  append_member("request_id", request_id, out);
  out += "}\n";
}

void render_text(const EdgeAnswer& answer, std::string_view request_id, std::string& out) {
  out += std::to_string(answer.status) + " " + answer.title + "\n\n" + answer.message + "\n\n";
  if (!answer.notice.empty()) out += answer.notice + "\n\n";
  out.append("request id: ").append(request_id).append("\n");
}

std::string render_body(const EdgeAnswer& answer, std::string_view request_id, Form form) {
  std::string body;
  switch (form) {
    case Form::text:
      render_text(answer, request_id, body);
      break;
    case Form::json:
      render_json(answer, request_id, body);
      break;
    case Form::problem:
      render_problem(answer, request_id, body);
      break;
    case Form::html:
      render_html(answer, request_id, body);
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
    case Form::problem:
      return "application/problem+json";
    case Form::text:
      break;
  }
  return "text/plain; charset=utf-8";
}

// Trailers-Only (gRPC over HTTP/2, Responses): all of it stands in the one block of fields.
OwnResponse render_grpc(const EdgeAnswer& answer, const AnswerContext& context) {
  OwnResponse response;
  response.status = 200;
  const int status = answer.grpc_status != 0 ? answer.grpc_status : grpc_status_of(answer.status);
  auto& fields = response.fields;
  fields.emplace_back("Date", http::date_text(context.now));
  fields.emplace_back("Content-Type", "application/grpc");
  fields.emplace_back("grpc-status", std::to_string(status));
  fields.emplace_back("grpc-message",
                      grpc_message(answer.message.empty() ? answer.title : answer.message));
  if (!context.hsts.empty()) fields.emplace_back("Strict-Transport-Security", context.hsts);
  fields.emplace_back("X-Request-Id", context.request_id);
  fields.emplace_back("X-Atlas-Error", answer.code);
  if (answer.retry_after_s > 0) {
    fields.emplace_back("Retry-After", std::to_string(answer.retry_after_s));
  }
  fields.emplace_back("Content-Length", "0");
  return response;
}

}  // namespace

OwnResponse render_answer(const EdgeAnswer& answer, const AnswerContext& context) {
  if (context.grpc && answer.status >= 300) return render_grpc(answer, context);
  OwnResponse response;
  response.status = answer.status;
  auto& fields = response.fields;
  fields.emplace_back("Date", http::date_text(context.now));
  if (answer.status != 204) {
    const Form form = answer.text.empty() ? preferred_form(context.accept) : Form::text;
    response.body =
        answer.text.empty() ? render_body(answer, context.request_id, form) : answer.text;
    fields.emplace_back("Content-Type", content_type(form));
    if (form == Form::html) {
      // What the page names comes from the client: nothing of it may run.
      fields.emplace_back("Content-Security-Policy",
                          "default-src 'none'; style-src 'unsafe-inline'");
    }
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
