#include "server/process_setup.hpp"

#include <csignal>

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>
#include <sys/resource.h>

#include "base/digest.hpp"
#include "base/file.hpp"

namespace atlasflow::server {
namespace {

constexpr std::uint64_t k_executable_bytes_max = 4ULL << 30U;

}  // namespace

void set_up_process(const std::string& log_level) {
  ::signal(SIGPIPE, SIG_IGN);
  auto logger = spdlog::stderr_logger_mt("atlasflow");
  logger->set_level(spdlog::level::from_str(log_level == "warn" ? "warning" : log_level));
  logger->set_pattern("%Y-%m-%dT%H:%M:%S.%f%z level=%l %v");
  logger->flush_on(spdlog::level::info);
  spdlog::set_default_logger(std::move(logger));
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
    limit.rlim_cur = limit.rlim_max;
    ::setrlimit(RLIMIT_NOFILE, &limit);
  }
}

const std::string& own_build_id() {
  static const std::string id = [] {
    const auto bytes = read_file("/proc/self/exe", k_executable_bytes_max).value_or("");
    return bytes.empty() ? k_unknown_build : sha256_hex(bytes).substr(0, 12);
  }();
  return id;
}

std::string service_hint(bool has_service_manager) {
  if (has_service_manager) return {};
  return "  service    none: this server ends with its terminal. packaging/atlasflow.service runs "
         "it\n"
         "             under systemd (Restart=on-failure, and KillMode=process, so that apps stay "
         "up)\n";
}

}  // namespace atlasflow::server
