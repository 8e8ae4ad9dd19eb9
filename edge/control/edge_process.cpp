#include "edge/control/edge_process.hpp"

#include <array>
#include <cerrno>
#include <csignal>
#include <system_error>
#include <thread>
#include <utility>

#include <fcntl.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.hpp"
#include "base/log.hpp"
#include "base/process.hpp"

namespace atlasflow::edge {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds k_start_max{20'000};
constexpr milliseconds k_hand_over_max{5'000};
constexpr milliseconds k_lock_max{5'000};
constexpr milliseconds k_lock_poll{5};
constexpr int k_launch_fd = 3;
constexpr std::uint16_t k_log_mode = 0640;
// Longer than it takes nearly every visitor to send a next request; the others have to connect
// again, as they have to now and then anyhow.
constexpr milliseconds k_retire_idle_max{30'000};
// For websockets and long answers, which end when their application or client does. As long as
// Envoy gives them (--parent-shutdown-time-s).
constexpr milliseconds k_retire_busy_max{900'000};

std::string errno_text(int code) { return std::generic_category().message(code); }

Deadline after(milliseconds time) { return std::chrono::steady_clock::now() + time; }

// Port 0 leaves it to the kernel, and any that it has chosen before will do.
bool listens_on(const FileDescriptor& socket, const std::string& address, std::uint16_t port) {
  SocketAddress own;
  own.bytes = sizeof own.storage;
  if (::getsockname(socket.get(), reinterpret_cast<sockaddr*>(&own.storage), &own.bytes) != 0) {
    return false;
  }
  return address_text(own) == address && (port == 0 || port == local_port(socket));
}

// A proxy is made of descriptors: the hard limit is what the machine's owner allows.
void raise_descriptor_limit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  const rlim_t before = std::exchange(limit.rlim_cur, limit.rlim_max);
  const bool raised = ::setrlimit(RLIMIT_NOFILE, &limit) == 0;
  log_event("edge", "limits",
            {{"open_files", raised ? limit.rlim_max : before}, {"before", before}});
}

}  // namespace

// ---- inside -------------------------------------------------------------------------------------

Result<std::unique_ptr<EdgeProcess>> EdgeProcess::start(const std::filesystem::path& state,
                                                        int launch_fd,
                                                        std::function<void()> on_stop) {
  const FileDescriptor server(launch_fd);
  std::unique_ptr<EdgeProcess> process(new EdgeProcess);
  if (!server.valid() ||
      !receive_message(server, process->launch_, after(k_hand_over_max)).has_value()) {
    return fail(ErrorCode::invalid_argument, "'atlasflow server' starts the edge; run that");
  }
  raise_descriptor_limit();
  auto started = process->receive_given(server);
  if (started) started = process->start({state}, std::move(on_stop));
  wire::Reply reply;
  if (started) {
    auto* status = reply.mutable_status();
    status->set_pid(::getpid());
    status->set_http_port(process->edge_->http_port());
    status->set_https_port(process->edge_->https_port());
    status->set_ca_certificate(process->edge_->ca_certificate().string());
    status->set_generation(process->edge_->generation());
  } else {
    *reply.mutable_failure() = to_wire(started.error());
  }
  const bool heard = send_message(server, reply, after(k_hand_over_max)).has_value();
  if (!started) return tl::unexpected(started.error());
  if (!heard) return fail(ErrorCode::cancelled, "the server that started this edge has gone");
  return process;
}

Result<void> EdgeProcess::receive_given(const FileDescriptor& server) {
  wire::Given page;
  bool more = launch_.given_follows();
  while (more) {
    ATLAS_TRYV(receive_message(server, page, after(k_hand_over_max)));
    more = given_.take(page);
  }
  return {};
}

Result<void> EdgeProcess::start(const EdgeFolder& folder, std::function<void()> on_stop) {
  if (launch_.take_over()) {
    ATLAS_TRY(auto inheritance, take_over(folder));
    ATLAS_TRY(auto edge, start_edge(from_wire(launch_.config()), std::move(inheritance)));
    edge_ = std::move(edge);
    // From here on this process accepts, and the one before can go.
    if (auto gone = retire_before(folder); !gone) return gone;
    if (auto locked = take_lock(folder); !locked) return locked;
  } else {
    if (auto locked = take_lock(folder); !locked) return locked;
    if (auto started = start_fresh(); !started) return started;
  }
  if (auto recorded = write_record(folder); !recorded) return recorded;
  ATLAS_TRY(auto listener, listen_control(folder.socket()));
  ControlServer::Answers answers;
  answers.build_id = launch_.build_id();
  answers.config_digest = config_digest(from_wire(launch_.config()));
  answers.on_retire = [this] {
    const std::lock_guard lock(lock_mutex_);
    lock_.reset();
  };
  answers.on_stop = std::move(on_stop);
  control_ = std::make_unique<ControlServer>(*edge_, std::move(answers));
  control_->start(std::move(listener));
  return {};
}

Result<void> EdgeProcess::start_fresh() {
  const EdgeConfig wanted = from_wire(launch_.config());
  EdgeConfig config = wanted;
  if (config.http_port == 0) config.http_port = static_cast<std::uint16_t>(launch_.http_port());
  if (config.https_port == 0) config.https_port = static_cast<std::uint16_t>(launch_.https_port());
  const auto routes = [this] {
    EdgeInheritance inheritance;
    inheritance.table = from_wire(launch_.table());
    if (launch_.has_own_route()) inheritance.own_route = from_wire(launch_.own_route());
    inheritance.certificates = given_.certificates();
    inheritance.challenges = given_.challenges();
    inheritance.tickets = given_.tickets();
    return inheritance;
  };
  auto edge = start_edge(config, routes());
  if (!edge && edge.error().code == ErrorCode::conflict) {
    // A port that the kernel chose for the process before may be somebody else's by now.
    edge = start_edge(wanted, routes());
  }
  if (!edge) return tl::unexpected(edge.error());
  edge_ = std::move(*edge);
  given_ = {};
  return {};
}

Result<void> EdgeProcess::retire_before(const EdgeFolder& folder) const {
  ATLAS_TRY(const auto before, connect_control(folder.socket()));
  wire::Request retire;
  retire.mutable_retire()->set_deadline_ms(k_retire_idle_max.count());
  retire.mutable_retire()->set_busy_deadline_ms(k_retire_busy_max.count());
  ATLAS_TRYV(call(before, retire, after(k_hand_over_max)));
  return {};
}

Result<EdgeInheritance> EdgeProcess::take_over(const EdgeFolder& folder) const {
  const EdgeConfig config = from_wire(launch_.config());
  const auto deadline = after(k_hand_over_max);
  ATLAS_TRY(const auto socket, connect_control(folder.socket()));
  wire::Request request;
  request.mutable_hand_over();
  ATLAS_TRY(const auto reply, call(socket, request, deadline));
  const auto& over = reply.handed_over();
  const std::size_t http = over.http_listeners();
  ATLAS_TRY(auto descriptors, receive_descriptors(socket, http + over.https_listeners(), deadline));
  EdgeInheritance inheritance;
  inheritance.table = from_wire(over.status().table());
  if (over.status().has_own_route()) inheritance.own_route = from_wire(over.status().own_route());
  for (std::size_t i = 0; i < descriptors.size(); ++i) {
    const bool tls = i >= http;
    if (!listens_on(descriptors[i], tls ? config.https_address : config.http_address,
                    tls ? config.https_port : config.http_port)) {
      return fail(ErrorCode::conflict, "the edge before listens on another address");
    }
    auto& list = tls ? inheritance.https_listeners : inheritance.http_listeners;
    list.push_back(std::move(descriptors[i]));
  }
  ATLAS_TRY(const auto given, fetch_given(folder.socket(), deadline));
  inheritance.certificates = given.certificates();
  inheritance.challenges = given.challenges();
  inheritance.tickets = given.tickets();
  return inheritance;
}

// One process per folder is in charge. One that was told to go may need a moment.
Result<void> EdgeProcess::take_lock(const EdgeFolder& folder) {
  FileDescriptor lock(::open(folder.lock().c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!lock.valid()) {
    return fail(ErrorCode::unavailable, "can't open " + folder.lock().string(), errno_text(errno));
  }
  const auto deadline = after(k_lock_max);
  while (::flock(lock.get(), LOCK_EX | LOCK_NB) != 0) {
    if (std::chrono::steady_clock::now() >= deadline) {
      return fail(ErrorCode::conflict, "another edge runs on " + folder.state.string() +
                                           "; 'atlasflow halt' ends it when no server runs");
    }
    std::this_thread::sleep_for(k_lock_poll);
  }
  const std::lock_guard guard(lock_mutex_);
  lock_ = std::move(lock);
  return {};
}

Result<void> EdgeProcess::write_record(const EdgeFolder& folder) const {
  const auto own = identify_process(::getpid());
  if (!own) return fail(ErrorCode::internal, "can't read /proc; is it mounted?");
  wire::Record record;
  for (const ProcessIdentity& before : recorded_processes(folder)) {
    auto* retiring = record.add_retiring();
    retiring->set_pid(before.pid);
    retiring->set_start_ticks(before.start_ticks);
  }
  record.set_pid(own->pid);
  record.set_start_ticks(own->start_ticks);
  record.set_boot_id(own->boot_id);
  record.set_build_id(launch_.build_id());
  record.set_config_digest(config_digest(from_wire(launch_.config())));
  return write_json(folder.record(), record);
}

// ---- outside ------------------------------------------------------------------------------------

namespace {

int enter_root_folder(void* /*context*/, const char** step) {
  *step = "enter /";
  return ::chdir("/") == 0 ? 0 : errno;
}

Result<Process> spawn(const EdgeFolder& folder, const std::string& program,
                      std::vector<std::string> words, const FileDescriptor& launch) {
  const FileDescriptor log(
      ::open(folder.log().c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, k_log_mode));
  if (!log) return tl::unexpected(errno_error("cannot open " + folder.log().string()));
  words.insert(words.end(), {"--launch-fd", std::to_string(k_launch_fd)});
  // Nothing of the server's environment, which may hold what is nobody else's business.
  return spawn_process({.argv = std::move(words),
                        .program = program,
                        .environment = {"PATH=/usr/bin:/bin", "LC_ALL=C.UTF-8"},
                        .inherit = {launch.get()},
                        .output = log.get(),
                        .dies_with_parent = false,
                        .prepare = enter_root_folder});
}

}  // namespace

Result<StartedEdge> start_edge_process(const EdgeFolder& folder, const std::string& program,
                                       const std::vector<std::string>& arguments,
                                       const wire::Launch& launch,
                                       const std::vector<wire::Given>& given) {
  if (::mkdir(folder.root().c_str(), 0700) != 0 && errno != EEXIST) {
    return fail(ErrorCode::unavailable, "can't make the folder " + folder.root().string(),
                errno_text(errno));
  }
  std::array<int, 2> pair{-1, -1};
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair.data()) != 0) {
    return fail(ErrorCode::internal, "can't make a socket pair", errno_text(errno));
  }
  const FileDescriptor ours(pair[0]);
  FileDescriptor theirs(pair[1]);
  auto child = spawn(folder, program, arguments, theirs);
  theirs.reset();
  if (!child) return tl::unexpected(child.error());
  StartedEdge started;
  wire::Reply reply;
  auto got = send_message(ours, launch, after(k_hand_over_max));
  for (const wire::Given& page : given) {
    if (got) got = send_message(ours, page, after(k_hand_over_max));
  }
  if (got) got = receive_message(ours, reply, after(k_start_max));
  if (got && reply.has_status()) {
    if (const auto process = identify_process(child->pid())) {
      started.process = *process;
      started.pidfd = open_process(*process);
      started.status = reply.status();
      if (started.pidfd.valid()) {
        static_cast<void>(child->release());
        return started;
      }
    }
  }
  // It said why, or ended, or hangs: in each case it must not run on.
  child->kill();
  if (got && reply.has_failure()) return tl::unexpected(from_wire(reply.failure()));
  return fail(ErrorCode::unavailable,
              "the edge's process ended at its start; see " + folder.log().string(),
              got ? "" : to_string(got.error()));
}

}  // namespace atlasflow::edge
