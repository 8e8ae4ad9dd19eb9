// The App that is connected, for everybody who asks as it. Any thread.
#pragma once

#include <memory>

#include "base/error.hpp"
#include "github/app_client.hpp"

namespace atlasflow::github {

class ConnectedApp {
 public:
  virtual ~ConnectedApp() = default;

  // As it is now, which may change at any time; whoever uses it keeps it alive. Null: none is. An
  // error says why the one that is connected can't be used.
  [[nodiscard]] virtual Result<std::shared_ptr<AppClient>> get() = 0;
};

}  // namespace atlasflow::github
