#include "server/server.hpp"

#include <cstdlib>
#include <filesystem>
#include <memory>
#include <set>

#include <sys/stat.h>
#include <unistd.h>

#include "actors/runtime/control_plane.hpp"
#include "api/api.hpp"
#include "base/file.hpp"
#include "base/log.hpp"
#include "base/version.hpp"
#include "builder/registry/registry.hpp"
#include "edge/control/remote_edge.hpp"
#include "edge/observe/access_log.hpp"
#include "receive/repositories.hpp"
#include "server/config.hpp"
#include "server/delivery_watch.hpp"
#include "server/engines.hpp"
#include "server/engines_domains.hpp"
#include "server/engines_notify.hpp"
#include "server/github_app.hpp"
#include "server/github_reporter.hpp"
#include "server/head_watch.hpp"
#include "server/process_setup.hpp"
#include "server/repository_access.hpp"
#include "server/restart.hpp"
#include "server/state_dir.hpp"
#include "server/upgrade.hpp"
#include "storage/instance_logs/log_keeper.hpp"
#include "storage/log/rocksdb_event_log.hpp"
#include "storage/readmodel/retention.hpp"

namespace atlasflow::server {

// Every part of a running server. Members are destroyed from the last to the first, which is the
// order of a stop: nobody comes in, deployments pause, and the log goes last. The edge and the VMs
// are processes of their own and run on.
struct Server::Parts {
  std::unique_ptr<storage::EventLog> log;
  std::unique_ptr<storage::SecretStore> secrets;
  std::unique_ptr<RecordedApp> connected_app;
  std::unique_ptr<builder::Registry> registry;  // null when it is elsewhere
  std::unique_ptr<receive::Repositories> repositories;
  std::unique_ptr<builder::ImageBuilder> images;
  std::unique_ptr<vmm::Hypervisor> hypervisor;
  std::unique_ptr<edge::Edge> edge;
  SystemClock clock;
  RegistryGate registry_gate;
  std::unique_ptr<RepositoryAccess> repository_access;
  std::unique_ptr<LocalBuildEngine> build_engine;
  std::unique_ptr<LocalVmEngine> vm_engine;
  std::unique_ptr<LocalEdgeEngine> edge_engine;
  std::unique_ptr<HttpNotifyEngine> notify_engine;
  std::unique_ptr<LocalDomainEngine> domain_engine;
  GitHubHealth github_health;
  std::unique_ptr<actors::ControlPlane> control;
  std::unique_ptr<RepositoryAccess::Attachment> attached;
  std::unique_ptr<storage::LogKeeper> logs;
  std::unique_ptr<api::Api> api;
  std::unique_ptr<DeliveryWatch> delivery_watch;
  std::unique_ptr<HeadWatch> head_watch;
  std::unique_ptr<GitHubReporter> github_reporter;
};

namespace {

namespace fs = std::filesystem;

// Moves the value into place; true, or the error of the first part that failed.
template <typename T>
bool take(T& place, Result<T> result, Error& error) {
  if (result) {
    place = std::move(*result);
    return true;
  }
  error = result.error();
  return false;
}

// A program that belongs to this one: where it was built, or where it was installed.
fs::path own_program(const char* name) {
  std::error_code error;
  const auto folder = fs::read_symlink("/proc/self/exe", error).parent_path();
  if (fs::exists(folder / name, error)) return folder / name;
  return folder.parent_path() / "lib" / "atlasflow" / name;
}

std::int64_t machine_memory_mib() {
  const auto pages = ::sysconf(_SC_PHYS_PAGES);
  const auto page_bytes = ::sysconf(_SC_PAGE_SIZE);
  return static_cast<std::int64_t>(pages) * page_bytes / (1 << 20);
}

constexpr std::uint64_t k_secret_bytes_max = 64U << 10U;

// what: the secret's name, for a sentence.
Result<std::string> read_secret(const fs::path& file, const std::string& what) {
  if (file.empty()) return std::string{};
  auto read = read_file(file, k_secret_bytes_max);
  if (!read) {
    return fail(
        ErrorCode::invalid_argument,
        "can't read " + file.string() + "; name a readable file that is not empty",
        read.error().code == ErrorCode::too_large ? read.error().message : read.error().cause);
  }
  auto secret = std::move(*read);
  while (!secret.empty() && (secret.back() == '\n' || secret.back() == '\r')) secret.pop_back();
  if (secret.empty()) {
    return fail(ErrorCode::invalid_argument,
                file.string() + " is empty; write " + what + " into it");
  }
  struct stat status {};
  if (::stat(file.c_str(), &status) == 0 && (status.st_mode & 077U) != 0) {
    log_event(LogLevel::warn, "server", "secret_readable_by_others",
              {{"file", file.string()}, {"advice", "chmod 600 it"}});
  }
  return secret;
}

// A disk that was not mounted must not look like a first start: values are sealed only for events.
Result<void> expect_log_beside_secrets(const StateDir& state) {
  std::error_code ignored;
  if (std::filesystem::exists(state.events() / "anchor", ignored)) return {};
  if (names_if_any(state.secrets()).empty()) return {};
  return fail(
      ErrorCode::corrupt,
      state.secrets().string() + " holds sealed values, and " + state.events().string() +
          " no event log that they belong to. Is its disk mounted? Restore the folder from a "
          "backup, or start with --accept-loss to begin a new log");
}

Result<void> start_world(Server::Parts& server, const ServerConfig& config, const StateDir& state) {
  Error error;
  state.remove_leftovers();
  if (!config.accept_loss) ATLAS_TRYV(expect_log_beside_secrets(state));
  storage::EventLogConfig log{state.events(), own_build_id()};
  log.accept_loss = config.accept_loss;
  log.reserve_bytes = static_cast<std::uint64_t>(config.keep.reserve_mib) << 20U;
  if (!take(server.log, storage::open_event_log(log), error)) {
    return tl::unexpected(error);
  }
  // One that does not know itself takes none and believes none.
  if (own_build_id() != k_unknown_build) {
    const storage::SnapshotStore snapshots(state.snapshots(), {own_build_id(), config.domain});
    ATLAS_TRYV(prove_fold(*server.log, snapshots, config.accept_new_fold));
  }
  if (!take(server.secrets, storage::open_secret_store(state.secrets(), state.secret_key()),
            error)) {
    return tl::unexpected(error);
  }
  server.connected_app = std::make_unique<RecordedApp>(*server.log, *server.secrets);
  const bool own_registry = config.registry.address.empty();
  if (own_registry &&
      !take(server.registry, builder::start_registry({state.registry(), config.registry.port}),
            error)) {
    return tl::unexpected(error);
  }
  server.repositories = std::make_unique<receive::Repositories>(
      state.repositories(), static_cast<std::uint64_t>(config.builder.min_free_mib) << 20U);
  builder::ImageBuilderConfig images;
  images.state_dir = state.containers();
  images.log_dir = state.logs();
  images.registry_plain_http = own_registry || config.registry.plain_http;
  images.allow_chroot_isolation = config.builder.allow_chroot_isolation;
  images.network = config.builder.network;
  images.reachable_networks = config.builder.reachable_networks;
  images.memory_limit_mib = config.builder.memory_limit_mib;
  images.ca_certificate = config.builder.ca_certificate;
  images.static_server = config.builder.static_server.empty()
                             ? own_program("atlasflow-static-server")
                             : config.builder.static_server;
  images.copy_parents = own_program("atlasflow-copy-parents");
  images.disk_limit_mib = config.builder.disk_limit_mib;
  images.min_free_mib = config.builder.min_free_mib / 2;  // builds begin with all of it
  images.bases = config.builder.bases;
  if (!take(server.images, builder::make_buildah_builder(images), error)) {
    return tl::unexpected(error);
  }
  vmm::HostConfig host;
  host.state_dir = state.vms();
  host.kernel_dir = config.vm.kernel_dir;
  host.guest_init =
      config.vm.guest_init.empty() ? own_program("atlasflow-guest-init") : config.vm.guest_init;
  host.log_dir = state.logs();
  host.registry_plain_http = images.registry_plain_http;
  if (config.vm.accelerator == AcceleratorChoice::kvm) host.accelerator = vmm::Accelerator::kvm;
  if (config.vm.accelerator == AcceleratorChoice::tcg) host.accelerator = vmm::Accelerator::tcg;
  if (!take(server.hypervisor, vmm::make_qemu_hypervisor(host), error)) {
    return tl::unexpected(error);
  }
  return {};
}

// Finds the edge that an earlier server left running, or starts it.
Result<void> find_edge(Server::Parts& server, const ServerConfig& config, const StateDir& state) {
  edge::EdgeConfig edge;
  edge.http_address = config.edge.http.address;
  edge.http_port = config.edge.http.port;
  edge.https_address = config.edge.https.address;
  edge.https_port = config.edge.https.port;
  edge.domain = config.domain;
  edge.ca_dir = state.ca();
  edge.redirect_http = config.edge.redirect_http;
  edge.hsts_max_age_s = config.edge.hsts_max_age_s;
  if (config.edge.access_log) edge.access_log_dir = state.access_logs();
  edge.access_log_bytes = config.edge.access_log_mib << 20U;
  edge.limits = config.edge.limits;
  edge.timeouts = config.edge.timeouts;
  edge::AttachConfig attach;
  attach.edge = std::move(edge);
  attach.state = state.root();
  attach.build_id = own_build_id();
  // This very file, even when a newer one has its name by now.
  attach.program = "/proc/self/exe";
  attach.arguments = {"atlasflow", "edge", "--state-dir", state.root().string()};
  ATLAS_TRY(auto attached, edge::attach_edge(std::move(attach)));
  server.edge = std::move(attached);
  return {};
}

void make_engines(Server::Parts& server, const ServerConfig& config, const StateDir& state) {
  LocalBuildEngine::Config build;
  build.work = state.work();
  build.registry =
      server.registry == nullptr ? config.registry.address : server.registry->address();
  build.registry_healthy = [registry = server.registry.get()] {
    return registry == nullptr || registry->healthy();
  };
  build.own_registry = server.registry.get();
  build.min_free_mib = config.builder.min_free_mib;
  build.app = server.connected_app.get();
  server.repository_access = std::make_unique<RepositoryAccess>(*server.secrets);
  build.access = server.repository_access.get();
  build.repositories = state.repositories();
  build.logs = state.logs();
  build.mirrors = state.mirrors();
  build.mirrors_bytes_max = static_cast<std::uint64_t>(config.keep.clones_mib) << 20U;
  build.cache_bytes_max = static_cast<std::uint64_t>(config.keep.build_cache_mib) << 20U;
  server.build_engine = std::make_unique<LocalBuildEngine>(std::move(build), *server.images,
                                                           *server.secrets, server.registry_gate);
  constexpr std::int64_t k_share_of_four = 3;
  const auto memory_mib =
      config.vm.memory_mib > 0 ? config.vm.memory_mib : machine_memory_mib() * k_share_of_four / 4;
  server.vm_engine = std::make_unique<LocalVmEngine>(
      *server.hypervisor, *server.secrets, memory_mib, server.registry_gate,
      server.registry == nullptr ? std::string() : server.registry->address());
  server.edge_engine = std::make_unique<LocalEdgeEngine>(*server.edge, config.domain);
  server.notify_engine = std::make_unique<HttpNotifyEngine>(
      api::PublicAddress{config.domain, server.edge->https_port()}, *server.secrets);
}

// Null: nothing is proved by DNS.
Result<std::unique_ptr<domains::TxtBoard>> make_txt_board(const ServerConfig& config) {
  const auto& own = config.domains;
  std::unique_ptr<domains::TxtProvider> provider;
  if (!own.dns01_hook.empty()) {
    if (::access(own.dns01_hook.c_str(), X_OK) != 0) {
      return fail(ErrorCode::invalid_argument,
                  "domains.dns01_hook: " + own.dns01_hook.string() +
                      " can't be executed; name a program, with mode 0700 or the like");
    }
    provider = std::make_unique<domains::HookProvider>(own.dns01_hook);
  } else if (!own.dns01_server.empty()) {
    domains::ZoneUpdate update;
    ATLAS_TRY(update.server, domains::parse_dns_server(own.dns01_server));
    ATLAS_TRY(const auto text, read_secret(own.dns01_tsig_key_file, "the TSIG key"));
    ATLAS_TRY(update.key, domains::parse_tsig_key(text));
    provider = std::make_unique<domains::UpdateProvider>(std::move(update));
  }
  if (provider == nullptr) return std::unique_ptr<domains::TxtBoard>();
  return std::make_unique<domains::DnsProof>(domains::DnsProofConfig{.resolvers = own.resolvers},
                                             std::move(provider));
}

Result<void> make_domain_engine(Server::Parts& server, const ServerConfig& config,
                                const StateDir& state) {
  ATLAS_TRY(auto store, domains::CertificateStore::open(state.certificates(), state.secret_key()));
  LocalDomainEngine::Config domains;
  domains.acme.directory = config.domains.acme_directory;
  domains.acme.ca_bundle = config.domains.acme_ca_certificate;
  domains.acme.contact = config.domains.acme_contact;
  domains.acme.terms_agreed = config.domains.acme_terms_agreed;
  domains.acme.external_key_id = config.domains.acme_external_key_id;
  domains.acme.challenge =
      atlasflow::domains::challenge_choice(config.domains.acme_challenge).value();
  ATLAS_TRY(domains.acme.external_mac_key, read_secret(config.domains.acme_external_mac_key_file,
                                                       "the external account's MAC key"));
  domains.acme.profile = config.domains.acme_profile;
  domains.acme.preferred_chain = config.domains.acme_preferred_chain;
  if (const auto& second = config.domains.acme_fallback; !second.directory.empty()) {
    auto& fallback = domains.fallback.emplace();
    fallback.directory = second.directory;
    fallback.ca_bundle = second.ca_certificate;
    fallback.contact = second.contact;
    fallback.terms_agreed = second.terms_agreed;
    fallback.external_key_id = second.external_key_id;
    fallback.challenge = domains.acme.challenge;
    fallback.profile = second.profile;
    ATLAS_TRY(fallback.external_mac_key,
              read_secret(second.external_mac_key_file,
                          "the MAC key of the second authority's external account"));
  }
  domains.resolvers = config.domains.resolvers;
  domains.https_address = config.edge.https.address;
  ATLAS_TRY(auto dns, make_txt_board(config));
  server.domain_engine = std::make_unique<LocalDomainEngine>(std::move(domains), std::move(store),
                                                             *server.edge, std::move(dns));
  return {};
}

// What was visited of a project ends with it: another one may come to have its name.
void drop_access_logs_of_gone_projects(const fs::path& folder, const storage::EventLog& log,
                                       const storage::Catalog& catalog) {
  const auto names = names_if_any(folder);
  if (!catalog.wait_for(log.last_position(), std::chrono::milliseconds(0))) return;
  constexpr std::string_view k_end = ".http.log";
  for (const auto& name : names) {
    if (!name.ends_with(k_end)) continue;
    const auto project = name.substr(0, name.size() - k_end.size());
    if (project.starts_with('_') || catalog.project_named(project)) continue;
    std::error_code ignored;
    fs::remove(folder / name, ignored);
  }
}

std::unique_ptr<storage::LogKeeper> keep_logs(const Server::Parts& server,
                                              const ServerConfig& config, const StateDir& state) {
  storage::LogFolderConfig logs;
  logs.folder = state.logs();
  logs.run_log_bytes = static_cast<std::uint64_t>(config.keep.run_log_mib) << 20U;
  logs.total_bytes = static_cast<std::uint64_t>(config.keep.logs_mib) << 20U;
  logs.kept = [&catalog = server.control->catalog(),
               rollbacks = static_cast<std::size_t>(config.keep.rollbacks)] {
    return storage::deployments_with_kept_logs(catalog, rollbacks);
  };
  logs.running = [&hypervisor = *server.hypervisor] {
    std::set<std::string> names;  // logs are named after VMs, and after builds
    for (const auto& vm_id : hypervisor.list()) names.insert(vm_id.str());
    return names;
  };
  logs.at_each_look = [&hypervisor = *server.hypervisor, &log = *server.log,
                       &catalog = server.control->catalog(), folder = state.access_logs()] {
    hypervisor.bound_files();
    drop_access_logs_of_gone_projects(folder, log, catalog);
  };
  return std::make_unique<storage::LogKeeper>(std::move(logs));
}

Result<void> start_control(Server::Parts& server, const ServerConfig& config, const StateDir& state,
                           const std::string& webhook_secret,
                           std::function<void(const Error&)> part_died) {
  Error error;
  // With a fixed port the edge holds webhooks that come in during the start until the API is up.
  if (auto routed =
          server.edge_engine->route_domain_to(config.api.webhook.address, config.api.webhook.port);
      !routed) {
    return routed;
  }
  actors::ControlPlaneConfig control;
  control.domain = config.domain;
  control.build_id = own_build_id();
  control.builders = config.builder.count;
  control.rollbacks = static_cast<std::size_t>(config.keep.rollbacks);
  control.domains.rules.directory = config.domains.acme_directory;
  control.domains.rules.fallback_directory = config.domains.acme_fallback.directory;
  control.domains.rules.certificates_per_week =
      static_cast<std::int32_t>(config.domains.certificates_per_week);
  control.domains.rules.new_certificates_per_week =
      static_cast<std::int32_t>(config.domains.new_certificates_per_week);
  control.domains.addresses = config.domains.public_addresses;
  control.domains.orders_own = config.domains.orders_own();
  // One that does not know itself takes none and believes none.
  if (own_build_id() != k_unknown_build) control.snapshots = state.snapshots();
  control.part_died = std::move(part_died);
  for (const auto& restart : recorded_restarts(state.root())) {
    control.earlier_restarts.push_back({restart.at_us, restart.reason});
  }
  // For tests of recovery only: the server kills itself once an event of this name is durable, or
  // a part of it dies.
  if (const char* name = std::getenv("ATLASFLOW_TEST_CRASH_AFTER")) control.crash_after = name;
  if (const char* name = std::getenv("ATLASFLOW_TEST_THROW_AFTER")) control.throw_after = name;
  const actors::Engines engines{&server.clock,
                                server.build_engine.get(),
                                {{HostId{"local"}, server.vm_engine.get()}},
                                server.edge_engine.get(),
                                server.notify_engine.get(),
                                server.domain_engine.get()};
  if (!take(server.control,
            actors::start_control_plane(control, *server.log, *server.secrets, engines), error)) {
    return tl::unexpected(error);
  }
  server.attached = server.repository_access->attach(*server.control);
  server.logs = keep_logs(server, config, state);
  api::ApiConfig api;
  api.socket = state.socket();
  api.webhook_address = config.api.webhook.address;
  api.webhook_port = config.api.webhook.port;
  api.log_dir = state.logs();
  api.webhook_secret = webhook_secret;
  api.version = k_version;
  api.build_id = control.build_id;
  api.domain = config.domain;
  api.http_port = server.edge->http_port();
  api.https_port = server.edge->https_port();
  api.ca_certificate = server.edge->ca_certificate();
  api.connected_app = server.connected_app.get();
  api.repositories = server.repositories.get();
  api.other_parts = [&health = server.github_health] { return health.parts(); };
  if (config.edge.access_log) {
    api.access_log = [folder = state.access_logs()](const std::string& project) {
      return edge::access_log_path(folder, project);
    };
  }
  api.edge_metrics = [&edge = *server.edge] { return edge.metrics(); };
  if (!take(server.api, api::start_api(api, *server.control), error)) {
    return tl::unexpected(error);
  }
  return server.edge_engine->route_domain_to(config.api.webhook.address,
                                             server.api->webhook_port());
}

std::string summary_of(const Server::Parts& server, const ServerConfig& config,
                       const StateDir& state) {
  std::ostringstream out;
  const auto https = server.edge->https_port();
  const auto origin =
      "https://" + config.domain + (https == 443 ? "" : ":" + std::to_string(https));
  const bool kvm = server.hypervisor->accelerator() == vmm::Accelerator::kvm;
  out << "Atlasflow " << k_version << " is ready\n"
      << service_hint(std::getenv("INVOCATION_ID") != nullptr) << "  state      "
      << state.root().string() << "\n"
      << "  socket     " << state.socket().string() << "\n"
      << "  projects   https://<project>." << config.domain << ":" << https << "\n"
      << "  https      " << config.edge.https.address << ":" << https << ", CA certificate "
      << server.edge->ca_certificate().string() << "\n"
      << "  http       " << config.edge.http.address << ":" << server.edge->http_port()
      << (config.edge.redirect_http ? ", redirects to https" : "") << "\n"
      << "  webhook    " << origin << "/webhooks/github (listener " << config.api.webhook.address
      << ":" << server.api->webhook_port() << ")\n"
      << "  builds     " << server.images->isolation() << " isolation, " << config.builder.count
      << " at a time\n"
      << "  registry   "
      << (server.registry == nullptr ? config.registry.address : server.registry->address()) << "\n"
      << "  microVMs   " << (kvm ? "KVM" : "TCG emulation") << ", "
      << server.vm_engine->memory_mib() << " MiB in all\n";
  if (!kvm) {
    out << "  warning    no usable KVM here: microVMs are emulated, which is slow, and a weaker\n"
           "             boundary than virtualisation; don't run code of strangers on this "
           "machine\n";
  }
  return std::move(out).str();
}

}  // namespace

Server::Server(std::unique_ptr<Parts> parts, std::string summary)
    : parts_(std::move(parts)), summary_(std::move(summary)) {}

Server::~Server() {
  // An app may have minutes to stop: the guest counts them, and the next server looks.
  parts_->vm_engine->leave();
}

Result<std::unique_ptr<Server>> Server::start(const ServerConfig& config, const StateDir& state,
                                              std::function<void(const Error&)> part_died) {
  ATLAS_TRY(const auto secret, read_secret(config.api.webhook_secret_file, "the webhook's secret"));
  auto parts = std::make_unique<Parts>();
  ATLAS_TRYV(start_world(*parts, config, state));
  ATLAS_TRYV(find_edge(*parts, config, state));
  make_engines(*parts, config, state);
  ATLAS_TRYV(make_domain_engine(*parts, config, state));
  ATLAS_TRYV(start_control(*parts, config, state, secret, std::move(part_died)));
  // What it asks for comes by the API, which is up.
  parts->delivery_watch = std::make_unique<DeliveryWatch>(*parts->connected_app);
  parts->head_watch =
      std::make_unique<HeadWatch>(*parts->control, *parts->connected_app, parts->github_health);
  parts->github_reporter = std::make_unique<GitHubReporter>(
      *parts->control, *parts->connected_app,
      api::PublicAddress{config.domain, parts->edge->https_port()});
  auto summary = summary_of(*parts, config, state);
  return std::unique_ptr<Server>(new Server(std::move(parts), std::move(summary)));
}

}  // namespace atlasflow::server
