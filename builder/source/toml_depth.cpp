#include "builder/source/toml_depth.hpp"

#include <algorithm>

namespace atlasflow::builder {

Result<void> refuse_deep_toml(std::string_view text, const std::string& shown) {
  constexpr std::size_t k_usual_dots_max = 16;
  std::size_t dots = 0;
  for (std::size_t line = 1; !text.empty(); ++line) {
    const auto end = std::min(text.find('\n'), text.size());
    const auto here =
        std::size_t(std::count(text.begin(), text.begin() + std::ptrdiff_t(end), '.'));
    if (here > k_usual_dots_max) dots += here;
    if (dots > k_toml_dots_max) {
      return fail(ErrorCode::user_error,
                  shown + ", line " + std::to_string(line) + ": lines with many dots, more than " +
                      std::to_string(k_usual_dots_max) + " in each, have more than " +
                      std::to_string(k_toml_dots_max) +
                      " of them together; write them as several shorter lines");
    }
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return {};
}

}  // namespace atlasflow::builder
