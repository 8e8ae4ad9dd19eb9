#include "api/git_push.hpp"

#include <algorithm>
#include <chrono>
#include <future>

#include "api/push_progress.hpp"
#include "base/backoff.hpp"
#include "base/log.hpp"
#include "receive/answer_relay.hpp"
#include "receive/spool.hpp"

namespace atlasflow::api {
namespace {

using namespace std::chrono_literals;

constexpr int k_pushes_max = 8;      // at once, of the listener's 64 connections
constexpr int k_followers_max = 16;  // likewise, of those whose push is recorded
constexpr auto k_upload_timeout = 30min;
constexpr auto k_turn_patience = 45s;  // below the minute that the edge waits for an answer
constexpr auto k_follow_max = 15min;
constexpr auto k_between_signs = 10s;            // of life, to who waits in silence
constexpr std::chrono::seconds k_pause_max{60};  // before what was left undone is tried again
constexpr std::uint64_t k_refs_bytes_max = 16ULL << 20;
constexpr std::uint64_t k_request_bytes_more = 8ULL << 20;  // the refs that a push names
constexpr std::size_t k_probe_bytes = 4;                    // git asks so whether it may push much
constexpr std::size_t k_user_bytes_max = 60;
constexpr const char* k_service = "git-receive-pack";

Response plain(int status, const std::string& sentence) {
  Response response;
  response.status = status;
  response.content_type = "text/plain";  // what git shows to its user
  response.body = sentence + "\n";
  return response;
}

Response plain(const Error& error) {
  auto response = plain(http_status_of(error.code), error.message);
  if (response.status == 503) response.fields.emplace_back("Retry-After", "30");
  return response;
}

Response unauthorized() {
  auto response = plain(401,
                        "Push with the project's token as the password and any user name; "
                        "'atlasflow project push-token NAME' makes one.");
  response.fields.emplace_back("WWW-Authenticate", "Basic realm=\"Atlasflow\", charset=\"UTF-8\"");
  return response;
}

// By the edge, which writes this field itself; whoever asks the listener directly is on this
// machine.
std::string address_of(const Request& request) {
  const auto* field = request.field("X-Forwarded-For");
  return field == nullptr ? "local" : field->substr(field->find_last_of(' ') + 1);
}

// "web" of "web" and "web.git".
std::string project_in(const Request& request) {
  auto name = request.parameters.at("project");
  constexpr std::string_view k_suffix = ".git";
  if (name.ends_with(k_suffix)) name.resize(name.size() - k_suffix.size());
  return name;
}

// As whom somebody logged in stands in the log for ever: no control characters, and not much of it.
std::string recorded_user(const std::string& user) {
  std::string clean = user.substr(0, k_user_bytes_max);
  std::erase_if(clean, [](char c) { return c < ' ' || c > '~'; });
  return clean.empty() ? "git" : clean;
}

// What the child reads of the request's fields; anything else is left out.
std::vector<std::string> cgi_of(const Request& request) {
  std::vector<std::string> environment = {"REMOTE_USER=git", "GATEWAY_INTERFACE=CGI/1.1",
                                          "SERVER_PROTOCOL=HTTP/1.1"};
  if (const auto* version = request.field("Git-Protocol");
      version != nullptr && (*version == "version=1" || *version == "version=2")) {
    environment.push_back("GIT_PROTOCOL=" + *version);
  }
  if (const auto* encoding = request.field("Content-Encoding");
      encoding != nullptr && (*encoding == "gzip" || *encoding == "x-gzip")) {
    environment.emplace_back("HTTP_CONTENT_ENCODING=gzip");
  }
  return environment;
}

}  // namespace

// A place among those that may be taken at once.
class GitPush::Slot {
 public:
  static std::optional<Slot> take(std::atomic<int>& taken, int max) {
    if (taken.fetch_add(1) < max) return Slot(taken);
    --taken;
    return std::nullopt;
  }
  ~Slot() {
    if (taken_ != nullptr) --*taken_;
  }
  Slot(Slot&& other) noexcept : taken_(std::exchange(other.taken_, nullptr)) {}
  Slot& operator=(Slot&&) = delete;

 private:
  explicit Slot(std::atomic<int>& taken) : taken_(&taken) {}
  std::atomic<int>* taken_;
};

class GitPush::Upload final : public BodySink {
 public:
  Upload(receive::Spool upload, Slot taken, Pusher who, std::vector<std::string> with)
      : spool(std::move(upload)),
        slot(std::move(taken)),
        pusher(std::move(who)),
        environment(std::move(with)) {}
  void take(std::string_view bytes) override { spool.take(bytes); }

  receive::Spool spool;
  std::optional<Slot> slot;
  Pusher pusher;
  std::vector<std::string> environment;  // of the CGI call, as far as the request says it
};

GitPush::GitPush(const Context& context, receive::Repositories& repositories)
    : context_(context),
      repositories_(repositories),
      intake_(context, repositories),
      caretaker_([this](const std::stop_token& stop) { look_after(stop); }) {}

void GitPush::stop() {
  stop_.request_stop();
  caretaker_.request_stop();
  if (caretaker_.joinable()) caretaker_.join();
}

void GitPush::look_after_soon() {
  {
    const std::lock_guard lock(mutex_);
    is_wanted_ = true;
  }
  wanted_.notify_all();
}

void GitPush::look_after(const std::stop_token& stop) {
  std::size_t failures = 0;
  std::unique_lock lock(mutex_);
  while (!stop.stop_requested()) {
    wanted_.wait(lock, stop, [this] { return is_wanted_; });
    if (stop.stop_requested()) return;
    is_wanted_ = false;
    lock.unlock();
    const bool is_done = intake_.look_after(stop);
    lock.lock();
    failures = is_done ? 0 : failures + 1;
    if (is_done) continue;
    wanted_.wait_for(lock, stop, doubled_pause(failures, k_pause_max),
                     [this] { return is_wanted_; });
    is_wanted_ = true;
  }
}

void GitPush::add_routes(Router& router) {
  Route refs;
  refs.method = "GET";
  refs.pattern = "/git/:project/info/refs";
  refs.handler = [this](const Request& request) { return tell_refs(request); };
  router.add(std::move(refs));
  Route push;
  push.method = "POST";
  push.pattern = "/git/:project/git-receive-pack";
  push.body_bytes_max = repositories_.bounds().pack_bytes_max + k_request_bytes_more;
  push.body_timeout = k_upload_timeout;
  push.open_sink = [this](const Request& request) { return open_upload(request); };
  push.handler = [this](const Request& request) { return take_push(request); };
  router.add(std::move(push));
}

std::variant<GitPush::Pusher, Response> GitPush::log_in(const Request& request) {
  const auto login = basic_login(request);
  // Git asks once without, to hear that it must log in.
  if (!login && request.field("Authorization") == nullptr) return unauthorized();
  const auto name = project_in(request);
  const auto view = context_.control.catalog().project_named(name);
  const auto token = login ? login->password : std::string();
  // The same for a wrong token and for a project that is not there.
  if (is_push_token(view ? &view->state : nullptr, token)) {
    return Pusher{view->state.id, name, recorded_user(login->user)};
  }
  const auto address = address_of(request);
  const auto now = FailedLogins::Clock::now();
  if (const auto wait = failed_logins_.wait_of(address, now); wait > 0s) {
    auto response = plain(429, "Too many wrong tokens came from your address; wait " +
                                   std::to_string(wait.count()) + " s and push again.");
    response.fields.emplace_back("Retry-After", std::to_string(wait.count()));
    return response;
  }
  failed_logins_.note(address, now);
  log_event(LogLevel::warn, "api", "push_refused",
            {{"project", name.substr(0, 60)},
             {"address", address},
             {"reason", "its token is none of a project of that name"}});
  return unauthorized();
}

Result<void> GitPush::expect_room() const {
  ATLAS_TRYV(context_.control.log().has_room());
  return receive::expect_room(repositories_.root(), repositories_.free_bytes_min());
}

Response GitPush::tell_refs(const Request& request) {
  auto who = log_in(request);
  if (auto* refused = std::get_if<Response>(&who)) return std::move(*refused);
  const auto& id = std::get<Pusher>(who).project;
  const auto* service = request.query_value("service");
  if (service == nullptr || *service != k_service) {
    return plain(403, "Atlasflow takes pushes and gives nothing out: clone from where you push.");
  }
  const auto slot = Slot::take(pushes_, k_pushes_max);
  if (!slot) {
    return plain(
        {ErrorCode::unavailable, "Too many pushes are under way; push again in a moment.", {}});
  }
  if (const auto room = expect_room(); !room) return plain(room.error());
  const auto turn = repositories_.take(id.str(), k_turn_patience);
  if (!turn) return plain(turn.error());
  const auto project = intake_.project(id);
  if (!project) return plain(project.error());
  const auto path = repositories_.open(id.str(), project->branch, stop_.get_token());
  if (!path) return plain(path.error());
  auto environment = cgi_of(request);
  for (const auto& each : {"GIT_PROJECT_ROOT=" + receive::seen_path(*path),
                           std::string("REQUEST_METHOD=GET"), std::string("PATH_INFO=/info/refs"),
                           std::string("QUERY_STRING=service=git-receive-pack")}) {
    environment.push_back(each);
  }
  auto output = receive::git_output(*path, {{"git-http-backend"}, std::move(environment)},
                                    repositories_.bounds(), stop_.get_token(), k_refs_bytes_max);
  if (!output) {
    log_event(LogLevel::error, "api", "refs_unreadable",
              {{"project", project->name}, {"error", to_string(output.error())}});
    return plain(output.error());
  }
  Response response;
  response.content_type = "application/x-git-receive-pack-advertisement";
  receive::AnswerRelay relay([&](std::string_view bytes) { response.body += bytes; });
  relay.take(*output);
  relay.finish();
  if (relay.has_head() && relay.status() == 200) return response;
  return plain(500, "git does not tell where the repository stands; the server's log says why.");
}

Route::Opened GitPush::open_upload(const Request& request) {
  auto who = log_in(request);
  if (auto* refused = std::get_if<Response>(&who)) return std::move(*refused);
  const auto* type = request.field("Content-Type");
  if (type == nullptr || *type != "application/x-git-receive-pack-request") {
    return plain(400, "A push has the Content-Type application/x-git-receive-pack-request.");
  }
  auto slot = Slot::take(pushes_, k_pushes_max);
  if (!slot) {
    return plain(
        {ErrorCode::unavailable, "Too many pushes are under way; push again in a moment.", {}});
  }
  if (const auto room = expect_room(); !room) return plain(room.error());
  auto spool = receive::Spool::make(repositories_.root(), repositories_.free_bytes_min());
  if (!spool) return plain(spool.error());
  return std::make_shared<Upload>(*std::move(spool), *std::move(slot),
                                  std::move(std::get<Pusher>(who)), cgi_of(request));
}

Response GitPush::take_push(const Request& request) {
  const auto upload = std::static_pointer_cast<Upload>(request.sink);
  Response response;
  response.content_type = "application/x-git-receive-pack-result";
  response.stream = [this, upload](Stream& stream) { return receive(*upload, stream); };
  return response;
}

// What came is worked off whether the pusher is there still or not.
bool GitPush::receive(Upload& upload, Stream& stream) {
  bool is_answered = false;
  const auto outcome = receive_in_turn(upload, stream, is_answered);
  upload.slot.reset();
  if (!outcome) {
    log_event(LogLevel::warn, "api", "push_failed",
              {{"project", upload.pusher.name}, {"error", to_string(outcome.error())}});
    const auto& sentence = outcome.error().message;
    if (!is_answered) return stream.write(receive::refused_answer(sentence));
    return stream.write(receive::remote_line("Atlasflow: " + sentence)) &&
           stream.write(receive::k_flush);
  }
  if (!is_answered) return true;
  follow(*outcome, stream);
  return stream.write(receive::k_flush);
}

// is_answered: git has answered by the sideband, and the end of its answer is owed.
Result<PushOutcome> GitPush::receive_in_turn(Upload& upload, Stream& stream, bool& is_answered) {
  // Gone when git has it: it may be large, and what follows may take long.
  std::optional<receive::Spool> spool(std::move(upload.spool));
  if (spool->error()) return tl::unexpected(*spool->error());
  if (spool->size() <= k_probe_bytes) return PushOutcome{};
  const auto& id = upload.pusher.project;
  const auto stop = stop_.get_token();
  ATLAS_TRY(const auto turn, repositories_.take(id.str(), k_turn_patience));
  // Not as it was at the login: what was sent since may have taken long.
  ATLAS_TRY(const auto project, intake_.project(id));
  ATLAS_TRY(const auto path, repositories_.open(id.str(), project.branch, stop));
  ATLAS_TRYV(intake_.settle(id, stop));
  ATLAS_TRYV(context_.control.log().has_room());
  // Git keeps what it is sent, and an index of it.
  ATLAS_TRYV(receive::expect_room(repositories_.root(),
                                  repositories_.free_bytes_min() + 2 * spool->size()));
  ATLAS_TRYV(intake_.begin(project, upload.pusher.user, stop));
  ATLAS_TRY(const auto input, spool->rewound());
  receive::GitCall call{{"git-http-backend"}, upload.environment, input};
  for (const auto& each :
       {"GIT_PROJECT_ROOT=" + receive::seen_path(path), std::string("REQUEST_METHOD=POST"),
        std::string("PATH_INFO=/git-receive-pack"),
        std::string("CONTENT_TYPE=application/x-git-receive-pack-request")}) {
    call.environment.push_back(each);
  }
  receive::AnswerRelay relay([&](std::string_view bytes) { (void)stream.write(bytes); });
  std::string said;
  const auto ran = receive::run_git(
      path, std::move(call), repositories_.bounds(), stop,
      [&](std::string_view bytes) { relay.take(bytes); }, said);
  spool.reset();
  is_answered = relay.has_sideband();
  const bool is_well = ran && ran->end == RunOutcome::End::exited && ran->exit_code == 0 &&
                       relay.has_head() && relay.status() == 200;
  // However it ended: what it changed is what counts.
  auto outcome = intake_.settle(id, stop);
  if (!outcome) {
    look_after_soon();
    if (outcome.error().code == ErrorCode::not_found) return tl::unexpected(outcome.error());
    log_event(LogLevel::error, "api", "push_not_recorded",
              {{"project", project.name}, {"error", to_string(outcome.error())}});
    return fail(ErrorCode::unavailable,
                "the push is here, and could not be recorded yet: " + outcome.error().message +
                    "; Atlasflow tries again by itself",
                outcome.error().cause);
  }
  if (!is_well) {
    log_event(LogLevel::warn, "api", "git_failed",
              {{"project", project.name},
               {"error", ran ? said : to_string(ran.error())},
               {"exit_code", ran ? ran->exit_code : 0}});
    if (outcome->lines.empty()) {
      return fail(ErrorCode::internal,
                  "git ended early over this push, and nothing of it was taken; the server's log "
                  "says why");
    }
  }
  if (!is_answered) relay.finish();
  for (const auto& line : outcome->lines) {
    if (!is_answered || !stream.write(receive::remote_line("Atlasflow: " + line))) break;
  }
  tidy(id, is_answered, stream);
  return outcome;
}

// signs: the pusher takes signs of life, without which the edge takes the connection for dead.
void GitPush::tidy(const ProjectId& id, bool signs, Stream& stream) {
  const auto tidied =
      std::async(std::launch::async, [&] { repositories_.tidy(id.str(), stop_.get_token()); });
  while (tidied.wait_for(k_between_signs) != std::future_status::ready) {
    signs = signs && stream.write(receive::still_here());
  }
}

void GitPush::follow(const PushOutcome& outcome, Stream& stream) {
  if (outcome.deployments.empty()) return;
  const auto slot = Slot::take(followers_, k_followers_max);
  if (!slot) return;
  auto last = std::chrono::steady_clock::now();
  bool listens = true;
  const auto send = [&](const std::string& packet) {
    listens = listens && stream.write(packet);
    last = std::chrono::steady_clock::now();
  };
  tell_progress(
      context_, outcome.deployments.front(), k_follow_max,
      [&](const std::string& line) { send(receive::remote_line("Atlasflow: " + line)); },
      [&](std::chrono::milliseconds span) {
        if (std::chrono::steady_clock::now() - last >= k_between_signs) send(receive::still_here());
        return listens && stream.wait(span);
      });
}

}  // namespace atlasflow::api
