// One ecosystem's way from files to a plan. Each provider is a file of providers/ and a row of
// providers(). Pure; any thread.
#pragma once

#include <map>
#include <optional>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "builder/stack/detect.hpp"
#include "builder/stack/plan.hpp"
#include "builder/stack/procfile.hpp"

namespace atlasflow::builder {

struct ProviderInput {
  const SourceTree& tree;
  const std::vector<std::string>& names;  // in its root, sorted
  const StackBases& bases;
  const StackChoice& choice;
  std::optional<StartCommand> start;  // Procfile's, which wins over what the provider finds
  std::map<std::string, std::string>& secrets;

  [[nodiscard]] bool has(std::string_view name) const;
  // "requirements.txt in the root folder"
  [[nodiscard]] std::string in_place(const std::string& name) const;
};

// It is of this ecosystem, and nothing of it can be started.
struct CannotStart {
  std::string lack;  // "there is no main.py, app.py, …": what would be started
};
using Offer = std::variant<Plan, CannotStart>;

struct Provider {
  const char* name;                   // "python"
  const char* title;                  // "Python"
  std::vector<const char*> triggers;  // a name in the folder; one that begins with '*' is its end
  Result<Offer> (*plan)(const ProviderInput& input, const std::string& seen);
};

// In the order of precedence, which is Railpack's.
[[nodiscard]] std::span<const Provider> providers();

// The first trigger that is there, as it is named there; empty: none.
[[nodiscard]] std::string seen_of(const Provider& provider, const std::vector<std::string>& names);

[[nodiscard]] Result<Offer> plan_php(const ProviderInput& input, const std::string& seen);
[[nodiscard]] Result<Offer> plan_go(const ProviderInput& input, const std::string& seen);
[[nodiscard]] Result<Offer> plan_java(const ProviderInput& input, const std::string& seen);
[[nodiscard]] Result<Offer> plan_rust(const ProviderInput& input, const std::string& seen);
[[nodiscard]] Result<Offer> plan_ruby(const ProviderInput& input, const std::string& seen);
[[nodiscard]] Result<Offer> plan_elixir(const ProviderInput& input, const std::string& seen);
[[nodiscard]] Result<Offer> plan_python(const ProviderInput& input, const std::string& seen);
[[nodiscard]] Result<Offer> plan_deno(const ProviderInput& input, const std::string& seen);
[[nodiscard]] Result<Offer> plan_dotnet(const ProviderInput& input, const std::string& seen);
[[nodiscard]] Result<Offer> plan_node(const ProviderInput& input, const std::string& seen);
[[nodiscard]] Result<Offer> plan_gleam(const ProviderInput& input, const std::string& seen);
[[nodiscard]] Result<Offer> plan_cpp(const ProviderInput& input, const std::string& seen);
[[nodiscard]] Result<Offer> plan_static(const ProviderInput& input, const std::string& seen);
[[nodiscard]] Result<Offer> plan_shell(const ProviderInput& input, const std::string& seen);

}  // namespace atlasflow::builder
