#include "cli/domain_options.hpp"

#include <memory>

#include "cli/add_verb.hpp"

namespace atlasflow::cli {
namespace {

template <typename T>
CLI::App* add_domain_verb(CLI::App& domains, Command& chosen, const std::shared_ptr<T>& command,
                          const char* name, const char* description) {
  auto* verb = add_verb(domains, chosen, command, name, description);
  if constexpr (requires { command->take_over; }) {
    verb->add_option("PROJECT", command->project, "Whose production it leads to")->required();
  }
  if constexpr (requires { command->domain; }) {
    verb->add_option("DOMAIN", command->domain, "Like www.example.com")->required();
  }
  add_json(verb, command);
  return verb;
}

}  // namespace

void add_domain_verbs(CLI::App& app, Command& chosen) {
  auto* domains = app.add_subcommand(
      "domains", "Serve a project under domains of your own, with certificates that renew");
  domains->require_subcommand(1);

  auto add = std::make_shared<DomainAddCommand>();
  add_domain_verb(*domains, chosen, add, "add", "Claim a domain; prints the DNS records to set")
      ->add_flag("--take-over", add->take_over,
                 "Ask for one that is another project's; a TXT record decides");

  auto list = std::make_shared<DomainListCommand>();
  add_domain_verb(*domains, chosen, list, "list", "List domains and where they stand")
      ->add_option("PROJECT", list->project, "Only this project's");

  add_domain_verb(*domains, chosen, std::make_shared<DomainCheckCommand>(), "check",
                  "Ask its name servers now; tells what is wrong, and what to set");
  add_domain_verb(*domains, chosen, std::make_shared<DomainCertCommand>(), "cert",
                  "Show its certificate, the next renewal, and what happened so far");
  add_domain_verb(*domains, chosen, std::make_shared<DomainRetryCommand>(), "retry",
                  "Order its certificate now, in place of after the pause of a failure");

  auto remove = std::make_shared<DomainRemoveCommand>();
  add_domain_verb(*domains, chosen, remove, "remove", "Give a domain up; it is served no more")
      ->add_flag("--yes", remove->yes, "Don't ask");
}

}  // namespace atlasflow::cli
