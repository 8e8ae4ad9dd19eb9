// atlasflow-static-server --root DIR [--fallback PAGE]: what static sites run in their microVM, as
// the image's only program. Listens on $PORT, 3000 unless set. Linked statically.
#include <charconv>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

#include <sys/resource.h>

#include "builder/static_server/listener.hpp"

namespace {

using namespace atlasflow::static_server;

constexpr int k_exit_failed = 1;
constexpr int k_exit_usage = 2;

int refuse(int code, const std::string& why) {
  std::fprintf(stderr, "atlasflow-static-server: %s\n", why.c_str());
  return code;
}

bool parse_port(std::string_view text, std::uint16_t& port) {
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), port);
  return parsed.ec == std::errc{} && parsed.ptr == text.data() + text.size();
}

// Two descriptors for each connection, its own and its file's, and some to spare.
std::size_t raise_descriptors() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return 256;
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
  ::getrlimit(RLIMIT_NOFILE, &limit);
  const rlim_t usable = limit.rlim_cur > 64 ? limit.rlim_cur - 32 : 32;
  return static_cast<std::size_t>(usable < 8192 ? usable / 2 : 4096);
}

}  // namespace

int main(int argc, char** argv) {
  SiteOptions site_options;
  ListenerOptions options;
  for (int i = 1; i < argc; ++i) {
    const std::string_view name = argv[i];
    if ((name != "--root" && name != "--fallback") || i + 1 == argc) {
      return refuse(k_exit_usage, "usage: atlasflow-static-server --root DIR [--fallback PAGE]");
    }
    (name == "--root" ? site_options.root : site_options.fallback) = argv[++i];
  }
  if (const char* port = std::getenv("PORT"); port != nullptr && !parse_port(port, options.port)) {
    return refuse(k_exit_usage, std::string("PORT is no port: '") + port + "'");
  }
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  ::sigprocmask(SIG_BLOCK, &signals, nullptr);
  std::signal(SIGPIPE, SIG_IGN);
  options.connections_max = raise_descriptors();

  std::string why;
  auto site = Site::open(site_options, why);
  if (site == nullptr) return refuse(k_exit_failed, why);
  auto listener = Listener::open(options, std::move(site), why);
  if (listener == nullptr) return refuse(k_exit_failed, why);
  std::printf("serving %s on port %u\n", site_options.root.c_str(), listener->port());
  std::fflush(stdout);
  listener->serve();
  return 0;
}
