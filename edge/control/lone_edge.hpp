// An edge without a control plane: the same workers, with routes from a file and certificates from
// a folder. For tests, benchmarks, and people who want only the proxy. One thread.
#pragma once

#include <chrono>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "edge/edge.hpp"

namespace atlasflow::edge {

struct LoneConfig {
  EdgeConfig edge;
  std::filesystem::path routes;
  std::filesystem::path certificates;  // empty: the local CA's only
};

class LoneEdge {
 public:
  [[nodiscard]] static Result<std::unique_ptr<LoneEdge>> start(LoneConfig config);

  // Reads file and folder once more. An error says what is wrong with them; what serves goes on
  // then.
  [[nodiscard]] Result<void> reload();
  // Accepts nothing more and lets clients finish, for so long.
  void retire(std::chrono::milliseconds deadline) { edge_->retire(deadline, deadline); }
  [[nodiscard]] const Edge& edge() const { return *edge_; }

 private:
  LoneEdge(LoneConfig config, std::unique_ptr<LocalEdge> edge)
      : config_(std::move(config)), edge_(std::move(edge)) {}

  LoneConfig config_;
  std::unique_ptr<LocalEdge> edge_;
};

}  // namespace atlasflow::edge
