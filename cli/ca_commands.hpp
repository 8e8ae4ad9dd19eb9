// The verbs of the server's own certificate authority as values.
#pragma once

#include <string>

namespace atlasflow::cli {

struct CaExportCommand {
  std::string file;  // empty or "-": standard output
};
struct CaTrustCommand {
  bool remove = false;
  bool replace = false;  // an authority that has the name in the store
};

}  // namespace atlasflow::cli
