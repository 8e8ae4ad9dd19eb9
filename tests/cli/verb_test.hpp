// A verb, run as the command line runs it, over the real API with the control plane of its tests.
#pragma once

#include <sstream>
#include <string>

#include "cli/verbs.hpp"
#include "tests/api/api_fixture.hpp"

namespace atlasflow::cli {

struct Ran {
  int code = -1;
  std::string out;
  std::string err;
};

class VerbTest : public api::testing::ApiTest {
 protected:
  template <typename Command>
  Ran run(const Command& command, const std::string& input = {}) {
    start();
    std::istringstream in(input);
    std::ostringstream out;
    std::ostringstream err;
    ApiClient api(config_.socket);
    const int code = cli::run(command, api, Terminal{in, out, err});
    return {code, out.str(), err.str()};
  }
};

}  // namespace atlasflow::cli
