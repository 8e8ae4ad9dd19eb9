#include "tests/end_to_end/visitors.hpp"

#include "base/http_client.hpp"

namespace atlasflow::end_to_end {

Visitors::Visitors(const ServerFixture& server, std::string host, std::string body, Pace pace)
    : host_(std::move(host)),
      body_(std::move(body)),
      port_(std::to_string(server.https_port())),
      ca_certificate_(server.ca_certificate().string()),
      pause_(pace.pause) {
  for (int i = 0; i < 2 * pace.of_each_kind; ++i) {
    threads_.emplace_back([this, keep = i % 2 == 0] { visit(keep); });
  }
}

Visitors::~Visitors() { static_cast<void>(leave()); }

Visitors::Outcome Visitors::leave() {
  leaving_ = true;
  for (auto& thread : threads_) {
    if (thread.joinable()) thread.join();
  }
  const std::lock_guard lock(mutex_);
  return {served_.load(), failed_, first_failure_};
}

void Visitors::visit(bool keep_connection) {
  const HttpRequest request{.url = "https://" + host_ + ":" + port_ + "/",
                            .connect_to = "127.0.0.1:" + port_,
                            .ca_file = ca_certificate_};
  HttpClient client;
  while (!leaving_.load()) {
    if (!keep_connection) client = HttpClient();
    const auto answer = client.send(request);
    if (answer && answer->status == 200 && answer->body == body_) {
      ++served_;
    } else {
      const std::lock_guard lock(mutex_);
      if (++failed_ == 1) {
        first_failure_ = answer ? "status " + std::to_string(answer->status) + ": " + answer->body
                                : to_string(answer.error());
      }
    }
    std::this_thread::sleep_for(pause_);
  }
}

}  // namespace atlasflow::end_to_end
