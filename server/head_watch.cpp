#include "server/head_watch.hpp"

#include <algorithm>
#include <condition_variable>
#include <optional>
#include <set>
#include <utility>

#include "api/github_setup.hpp"
#include "base/log.hpp"
#include "github/repository.hpp"

namespace atlasflow::server {
namespace {

using SteadyClock = std::chrono::steady_clock;

constexpr int k_doublings_max = 4;

// What is true of one repository may be no other's trouble.
bool is_its_own(const Error& error) {
  return error.code == ErrorCode::not_found || error.code == ErrorCode::user_error ||
         error.code == ErrorCode::invalid_argument;
}

struct Connected {
  storage::ProjectView view;
  github::RepositoryName repository;
};

// One thread's.
class Watch {
 public:
  Watch(actors::ControlPlane& control, github::ConnectedApp& connected, GitHubHealth& health,
        HeadWatchTimes times)
      : control_(control),
        connected_(connected),
        health_(health),
        times_(times),
        seen_(times.pause_s) {}

  // Looks when it is time, and returns when it is time again.
  std::chrono::milliseconds tick(const std::stop_token& stop) {
    const auto found = connected_.get();
    if (!found) {
      health_.set({found.error().message});
      return times_.interval;
    }
    if (*found != app_) {
      app_ = *found;
      seen_ = SeenHeads(times_.pause_s);
      failures_ = 0;
      next_ = {};
    }
    if (app_ == nullptr) {
      health_.forget();
      return times_.interval;
    }
    if (SteadyClock::now() < next_) return times_.interval;
    if (!look(stop)) {
      failures_ = std::min(failures_ + 1, k_doublings_max);
      next_ = SteadyClock::now() + times_.interval * (1 << failures_) - times_.interval / 2;
      return times_.interval;
    }
    failures_ = 0;
    if (!seen_.is_in_doubt()) return times_.interval;
    return std::min<std::chrono::milliseconds>(times_.interval,
                                               std::chrono::seconds(times_.pause_s + 1));
  }

 private:
  // The projects that it is about now: all, or as many as one look may ask for.
  std::vector<Connected> projects() {
    std::vector<Connected> all;
    std::set<ProjectId> ids;
    for (auto& view : control_.catalog().projects()) {
      if (auto repository = github::repository_on(app_->address(), view.state.repository_url)) {
        ids.insert(view.state.id);
        all.push_back({std::move(view), *std::move(repository)});
      }
    }
    seen_.keep(ids);
    if (all.size() <= k_heads_max) return all;
    from_ %= all.size();
    std::rotate(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(from_), all.end());
    all.resize(k_heads_max);
    from_ += k_heads_max;
    return all;
  }

  // False: GitHub can't be asked just now.
  bool look(const std::stop_token& stop) {
    std::vector<std::string> problems;
    for (const auto& project : projects()) {
      const auto done = look_at(project, problems, stop);
      if (done) continue;
      if (done.error().code == ErrorCode::cancelled) return true;
      if (is_its_own(done.error())) {
        seen_.lose_sight_of(project.view.state.id);
        note_own(project, done.error(), problems);
        continue;
      }
      const auto trouble = to_string(done.error());
      log_event(LogLevel::warn, "server", "heads_unknown", {{"error", trouble}});
      problems.push_back("missed pushes are not looked for: " + trouble);
      health_.set(std::move(problems));
      return false;
    }
    health_.set(std::move(problems));
    return true;
  }

  Result<void> look_at(const Connected& project, std::vector<std::string>& problems,
                       const std::stop_token& stop) {
    ATLAS_TRY(const auto repository, github::repository_of(*app_, project.repository, stop));
    const auto& state = project.view.state;
    if (!follow(project, repository, problems)) return {};
    const auto& branch = state.branch.empty() ? repository.default_branch : state.branch;
    ATLAS_TRY(const auto head, github::head_of(*app_, project.repository, branch, stop));
    const auto known = control_.catalog().known_head(state.id);
    if (known.inferred) problems.push_back(api::known_problem(state, known));
    if (head.empty()) {
      seen_.lose_sight_of(state.id);
      return {};
    }
    const SeenHead seen{"refs/heads/" + branch, head, app_->github_now_s()};
    if (const auto missed = seen_.look(state.id, known, seen)) tell(state, seen, *missed);
    return {};
  }

  // Whether it is the project's repository still, wherever it is by now.
  bool follow(const Connected& project, const github::Repository& repository,
              std::vector<std::string>& problems) {
    const auto& state = project.view.state;
    if (state.repository_id != 0 && state.repository_id != repository.id) {
      seen_.lose_sight_of(state.id);
      problems.push_back(project.repository.str() +
                         " is another repository by now than the one "
                         "that project '" +
                         state.name +
                         "' was connected to, which was renamed or "
                         "deleted: connect the right one with a new project");
      return false;
    }
    const bool is_there =
        state.repository_id == repository.id && !state.repository_deleted &&
        normalized_repository(app_->address().web + "/" + project.repository.str()) ==
            normalized_repository(app_->address().web + "/" + repository.name.str());
    if (is_there) return true;
    const auto recorded = control_.execute(
        Principal::system("head-watch"),
        commands::FollowRepository{state.name, repository.id,
                                   app_->address().web + "/" + repository.name.str() + ".git"});
    if (!recorded) {
      log_event(LogLevel::warn, "server", "repository_not_followed",
                {{"project", state.name}, {"error", to_string(recorded.error())}});
    }
    return true;
  }

  void tell(const ProjectState& state, const SeenHead& seen, const MissedPush& missed) {
    const auto receipts = control_.execute(Principal::system("head-watch"),
                                           commands::TakePush{inferred_push(state, seen, missed)});
    if (!receipts) {
      log_event(LogLevel::error, "server", "missed_push_not_recorded",
                {{"project", state.name}, {"error", to_string(receipts.error())}});
      return;
    }
    for (const auto& receipt : *receipts) {
      log_event(LogLevel::warn, "server", "push_inferred",
                {{"project", receipt.project},
                 {"commit", seen.commit},
                 {"deployment", receipt.deployment.str()},
                 {"reason", receipt.reason}});
    }
  }

  // A project with a webhook of its own may do without the App.
  static void note_own(const Connected& project, const Error& error,
                       std::vector<std::string>& problems) {
    const auto& state = project.view.state;
    if (state.repository_deleted) {
      problems.push_back(api::known_problem(state, {}));
    } else if (error.code != ErrorCode::not_found || state.webhook_secret_ref.empty()) {
      problems.push_back(error.message);
    }
  }

  actors::ControlPlane& control_;
  github::ConnectedApp& connected_;
  GitHubHealth& health_;
  const HeadWatchTimes times_;
  SeenHeads seen_;
  std::shared_ptr<github::AppClient> app_;  // that is asked
  std::size_t from_ = 0;                    // the first project of the next look
  int failures_ = 0;                        // in a row
  SteadyClock::time_point next_;
};

}  // namespace

void GitHubHealth::set(std::vector<std::string> problems) {
  const std::lock_guard lock(mutex_);
  known_ = true;
  problems_ = std::move(problems);
}

void GitHubHealth::forget() {
  const std::lock_guard lock(mutex_);
  known_ = false;
  problems_.clear();
}

std::vector<actors::ControlPlane::PartStatus> GitHubHealth::parts() const {
  const std::lock_guard lock(mutex_);
  if (!known_) return {};
  if (problems_.empty()) return {{"github", "ok", "branches are compared with the known pushes"}};
  auto detail = problems_.front();
  if (problems_.size() > 1) {
    detail += " (and " + std::to_string(problems_.size() - 1) + " more: 'atlasflow github status')";
  }
  return {{"github", "degraded", std::move(detail)}};
}

HeadWatch::HeadWatch(actors::ControlPlane& control, github::ConnectedApp& connected,
                     GitHubHealth& health, HeadWatchTimes times)
    : thread_([&control, &connected, &health, times](const std::stop_token& stop) {
        Watch watch(control, connected, health, times);
        std::mutex mutex;
        std::condition_variable_any stopped;
        std::unique_lock lock(mutex);
        while (!stop.stop_requested()) {
          const auto pause = watch.tick(stop);
          stopped.wait_for(lock, stop, pause, [] { return false; });
        }
      }) {}

}  // namespace atlasflow::server
