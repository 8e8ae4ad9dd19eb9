// `git push https://<domain>/git/PROJECT`: Git's smart HTTP (gitprotocol-http) for pushes, before
// git's own server side, and a thread that looks after what a push left undone. Owned by the Api;
// handlers run on their connections' threads.
#pragma once

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <stop_token>
#include <string>
#include <thread>
#include <variant>

#include "api/context.hpp"
#include "api/push_intake.hpp"
#include "api/push_login.hpp"
#include "receive/repositories.hpp"

namespace atlasflow::api {

class GitPush {
 public:
  // Both must outlive it.
  GitPush(const Context& context, receive::Repositories& repositories);
  ~GitPush() { stop(); }
  GitPush(const GitPush&) = delete;
  GitPush& operator=(const GitPush&) = delete;

  // This must outlive the router.
  void add_routes(Router& router);
  // A project was deleted, or something is pending. Any thread.
  void look_after_soon();
  // Ends what runs; before the servers' own end, which waits for it.
  void stop();

 private:
  class Upload;
  class Slot;
  struct Pusher {
    ProjectId project;
    std::string name;  // of the project
    std::string user;
  };

  [[nodiscard]] std::variant<Pusher, Response> log_in(const Request& request);
  [[nodiscard]] Result<void> expect_room() const;
  [[nodiscard]] Response tell_refs(const Request& request);
  [[nodiscard]] Route::Opened open_upload(const Request& request);
  [[nodiscard]] Response take_push(const Request& request);

  // Whether there was something to follow, and all of it was told.
  [[nodiscard]] bool receive(Upload& upload, Stream& stream);
  [[nodiscard]] Result<PushOutcome> receive_in_turn(Upload& upload, Stream& stream,
                                                    bool& is_answered);
  void tidy(const ProjectId& id, bool signs, Stream& stream);
  void follow(const PushOutcome& outcome, Stream& stream);
  void look_after(const std::stop_token& stop);

  const Context& context_;
  receive::Repositories& repositories_;
  PushIntake intake_;
  FailedLogins failed_logins_;
  std::atomic<int> pushes_ = 0;
  std::atomic<int> followers_ = 0;
  std::stop_source stop_;
  std::mutex mutex_;
  std::condition_variable_any wanted_;
  bool is_wanted_ = true;
  std::jthread caretaker_;  // the last: it uses all of the above
};

}  // namespace atlasflow::api
