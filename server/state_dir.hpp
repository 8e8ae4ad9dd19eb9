// The server's state folder: who may use it, what lies where, and which layout it has. Owned by the
// composition root; one per process. Values but for the lock; any thread.
#pragma once

#include <filesystem>

#include "base/error.hpp"
#include "base/file.hpp"

namespace atlasflow::server {

class StateDir {
 public:
  // Makes the folder when it is missing and locks it for this process's life. conflict: another
  // server has it; corrupt: a newer version wrote it, or a restore
  // of it was cut short.
  [[nodiscard]] static Result<StateDir> open(const std::filesystem::path& root);

  // Locks a folder that a server has used before, and makes nothing. not_found: none has; conflict:
  // one does now.
  [[nodiscard]] static Result<StateDir> open_existing(const std::filesystem::path& root);

  // What a process that is gone was making when it went: partial checkouts, layers, uploads. On a
  // full disk these may be what fills it, so they go before anything is opened.
  void remove_leftovers() const;

  [[nodiscard]] const std::filesystem::path& root() const { return root_; }
  [[nodiscard]] std::filesystem::path events() const { return root_ / "events"; }
  [[nodiscard]] std::filesystem::path snapshots() const { return root_ / "snapshots"; }
  [[nodiscard]] std::filesystem::path secrets() const { return root_ / "secrets"; }
  [[nodiscard]] std::filesystem::path secret_key() const { return root_ / "secret.key"; }
  [[nodiscard]] std::filesystem::path registry() const { return root_ / "registry"; }
  [[nodiscard]] std::filesystem::path containers() const { return root_ / "containers"; }
  [[nodiscard]] std::filesystem::path work() const { return root_ / "work"; }  // checkouts
  [[nodiscard]] std::filesystem::path logs() const { return root_ / "logs"; }
  [[nodiscard]] std::filesystem::path repositories() const { return root_ / "git"; }  // pushed to
  // What was fetched of projects' repositories, a folder a project.
  [[nodiscard]] std::filesystem::path mirrors() const { return root_ / "mirrors"; }
  // Of requests, one file a project; the edge writes them.
  [[nodiscard]] std::filesystem::path access_logs() const { return root_ / "edge" / "access"; }
  [[nodiscard]] std::filesystem::path vms() const { return root_ / "vm"; }
  [[nodiscard]] std::filesystem::path certificates() const { return root_ / "certificates"; }
  [[nodiscard]] std::filesystem::path ca() const { return root_ / "ca"; }
  [[nodiscard]] std::filesystem::path socket() const { return root_ / "atlasflow.sock"; }

 private:
  StateDir(std::filesystem::path root, FileDescriptor lock)
      : root_(std::move(root)), lock_(std::move(lock)) {}

  std::filesystem::path root_;
  FileDescriptor lock_;
};

}  // namespace atlasflow::server
