// Answers on PORT with what Linux and the standard library bring, one connection after the other.
#include <cstdlib>
#include <iostream>
#include <string>
#include <string_view>

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

namespace {

std::string read_head(int client) {
  std::string head;
  char part[4096];
  while (head.find("\r\n\r\n") == std::string::npos && head.size() < 65536) {
    const ssize_t got = ::read(client, part, sizeof part);
    if (got <= 0) break;
    head.append(part, static_cast<std::size_t>(got));
  }
  return head;
}

void answer(int client) {
  const bool found = std::string_view(read_head(client)).find(" / HTTP/1.") < 8;
  const std::string body = found ? "Hello from C++\n" : "no such page\n";
  const std::string text = std::string("HTTP/1.1 ") + (found ? "200 OK" : "404 Not Found") +
                           "\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: " +
                           std::to_string(body.size()) + "\r\nConnection: close\r\n\r\n" + body;
  (void)!::write(client, text.data(), text.size());
}

}  // namespace

int main() {
  const char* named = std::getenv("PORT");
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_ANY);
  const int port = named == nullptr ? 3000 : std::atoi(named);
  address.sin_port = htons(static_cast<std::uint16_t>(port));
  const int listener = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const int on = 1;
  ::setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (::bind(listener, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
      ::listen(listener, 128) != 0) {
    std::cerr << "cannot listen\n";
    return 1;
  }
  std::cout << "listening" << std::endl;
  while (true) {
    const int client = ::accept(listener, nullptr, nullptr);
    if (client < 0) continue;
    answer(client);
    ::close(client);
  }
}
