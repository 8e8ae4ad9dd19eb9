// The simulated GitHub: repositories with a history, installations with a secret each, and signed
// webhook deliveries as bytes, which the server's own code verifies and parses. It knows the true
// order of pushes, which no delivery's arrival tells. Outlives the control plane. One thread.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "actors/runtime/control_plane.hpp"
#include "sim/run/scenario.hpp"

namespace atlasflow::sim {

struct Delivery {
  std::string id;              // X-GitHub-Delivery
  std::string event = "push";  // X-GitHub-Event
  std::string body;            // application/json
  std::string signature;       // X-Hub-Signature-256
};

struct Commit {
  AppKind app = AppKind::good;
  std::string delivery;  // that told of it
};

// A repository and the project that is deployed from it.
struct Hosted {
  std::string project;
  std::string clone_url;
  std::string branch;  // of production
};

// "app-0", …
[[nodiscard]] std::vector<Hosted> made_up_projects(int count);

class GitHub {
 public:
  // Project i belongs to installation i modulo `installations`. Deliveries and commits of different
  // eras have different names: what a log before this run holds is of an earlier one.
  GitHub(const std::vector<Hosted>& projects, int installations, std::uint64_t era = 0);

  [[nodiscard]] int projects() const { return static_cast<int>(repositories_.size()); }
  [[nodiscard]] const std::string& project_name(int project) const {
    return at(project).origin.project;
  }
  [[nodiscard]] const std::string& clone_url(int project) const {
    return at(project).origin.clone_url;
  }
  [[nodiscard]] const std::string& main_branch(int project) const {
    return at(project).origin.branch;
  }

  // Makes a commit on the branch and tells of it.
  Delivery push(int project, const std::string& branch, AppKind app, bool forced, TimestampUs now);
  // Nothing when there is no such branch.
  std::optional<Delivery> delete_branch(int project, const std::string& branch, TimestampUs now);
  // Opens it, or opens it again with the head that it had; a commit on it when it is open. Each
  // second one comes from a fork.
  Delivery change_pull_request(int project, std::int64_t number, AppKind app, TimestampUs now);
  // Nothing when it is not open.
  std::optional<Delivery> close_pull_request(int project, std::int64_t number, TimestampUs now);
  [[nodiscard]] static bool is_fork(std::int64_t pull_request) { return pull_request % 2 == 0; }
  [[nodiscard]] static std::string_view fork_name() { return "mallory/fork"; }
  [[nodiscard]] std::optional<Delivery> newest_delivery(int project) const;
  [[nodiscard]] std::optional<std::string> head(int project, const std::string& branch) const;
  [[nodiscard]] AppKind app_of(const std::string& sha) const;
  // The delivery that told of the commit, whether or not it arrived; empty: none did.
  [[nodiscard]] std::string delivery_of(const std::string& sha) const;

  // What the server makes of a delivery; unauthorized and invalid_argument as its webhook answers.
  [[nodiscard]] Result<Push> received(const Delivery& delivery) const;

  // Whether the push of `older` came before that of `newer`, both of one branch, and the two tell
  // so by themselves: by their second, as one names the other's commit, or as one made the branch.
  // Two pushes of one second with a gap between them do not tell.
  [[nodiscard]] bool provably_older(const std::string& older, const std::string& newer) const;

  // Bytes that must never be found in the log, in a message or in a log line.
  [[nodiscard]] static std::string_view secret_mark() { return "s3cr3t-"; }

 private:
  struct PullRequest {
    std::string head;
    bool open = false;
  };
  struct Repository {
    Hosted origin;
    std::map<std::string, std::string> heads;  // by branch
    std::map<std::int64_t, PullRequest> pull_requests;
    std::optional<Delivery> newest;
  };
  [[nodiscard]] Repository& at(int project) {
    return repositories_.at(static_cast<std::size_t>(project));
  }
  [[nodiscard]] const Repository& at(int project) const {
    return repositories_.at(static_cast<std::size_t>(project));
  }
  [[nodiscard]] std::string secret_of(int installation) const;
  std::string make_commit(AppKind app);
  // Signs it and gives it the next name.
  Delivery signed_delivery(int project, const char* event, const std::string& body);
  Delivery tell_of_pull_request(int project, std::int64_t number, const char* action,
                                const std::string& before, TimestampUs now);
  Delivery tell(int project, const std::string& ref, const std::string& before,
                const std::string& after, bool forced, TimestampUs now);

  int installations_;
  std::uint64_t era_;
  std::vector<Repository> repositories_;
  std::map<std::string, Commit> commits_;
  struct Sent {
    std::uint64_t order = 0;
    std::int64_t second = 0;
    std::string before;
    std::string after;
  };
  std::map<std::string, Sent> sent_;  // by delivery
  std::uint64_t pushes_ = 0;
};

}  // namespace atlasflow::sim
