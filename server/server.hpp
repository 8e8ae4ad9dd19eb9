// The composition root: every part of a running server, started in order over a state folder. The
// edge and the microVMs are processes of their own: they run on when the server stops, and the next
// one over the same folder takes them up again. One thread starts and destroys it.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "base/error.hpp"
#include "server/config.hpp"
#include "server/state_dir.hpp"

namespace atlasflow::server {

class Server {
 public:
  // What was started before a part that fails is stopped again; the error says which part and what
  // to do. state: held by the caller for as long as the server lives.
  // part_died: as in actors::ControlPlaneConfig.
  [[nodiscard]] static Result<std::unique_ptr<Server>> start(
      const ServerConfig& config, const StateDir& state,
      std::function<void(const Error&)> part_died = {});
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;
  // Stops the parts in reverse: nobody comes in, deployments pause, and the log goes last.
  ~Server();

  // What was chosen (addresses, isolation, acceleration) as lines for whoever started it.
  [[nodiscard]] const std::string& summary() const { return summary_; }

  struct Parts;

 private:
  Server(std::unique_ptr<Parts> parts, std::string summary);

  std::unique_ptr<Parts> parts_;
  std::string summary_;
};

}  // namespace atlasflow::server
