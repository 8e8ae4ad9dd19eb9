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

// Shows it, unless one of its own verbs follows.
void add_cert_verbs(CLI::App& domains, Command& chosen) {
  auto show = std::make_shared<DomainCertCommand>();
  auto* cert = add_verb(domains, chosen, show, "cert",
                        "Show its certificate, the next renewal, and what happened so far; or "
                        "bring your own");
  cert->add_option("DOMAIN", show->domain, "Like www.example.com");
  add_json(cert, show);

  auto upload = std::make_shared<DomainCertUploadCommand>();
  auto* bring = add_domain_verb(*cert, chosen, upload, "upload",
                                "Serve it with a certificate of your own; nothing is ordered then");
  bring
      ->add_option("--cert", upload->cert_file,
                   "File with the certificate, followed by its issuers, in PEM; - is stdin")
      ->required();
  bring
      ->add_option("--key", upload->key_file,
                   "File with its private key, in PEM without a passphrase; - is stdin")
      ->required();
  add_domain_verb(*cert, chosen, std::make_shared<DomainCertRemoveCommand>(), "remove",
                  "Go back from a certificate of your own to one that is ordered");

  cert->callback([&chosen, show, cert] {
    if (!cert->get_subcommands().empty()) return;
    if (show->domain.empty()) throw CLI::RequiredError("DOMAIN");
    chosen = *show;
  });
}

void add_redirect_verb(CLI::App& domains, Command& chosen) {
  auto redirect = std::make_shared<DomainRedirectCommand>();
  auto* verb = add_domain_verb(domains, chosen, redirect, "redirect",
                               "Send a domain's visitors to another one of its project");
  auto* to = verb->add_option("TO", redirect->to, "Like example.com");
  auto* off = verb->add_flag("--off", redirect->off, "Serve them again");
  off->excludes(to);
  verb->callback([&chosen, redirect] {
    if (redirect->to.empty() && !redirect->off) throw CLI::RequiredError("TO or --off");
    chosen = *redirect;
  });
}

void add_account_verbs(CLI::App& domains, Command& chosen) {
  auto* account = domains.add_subcommand(
      "account", "The server's account at the certificate authority that it orders from");
  account->require_subcommand(1);
  auto rollover = std::make_shared<DomainAccountRolloverCommand>();
  add_domain_verb(*account, chosen, rollover, "rollover",
                  "Give it another key; the one before counts no more")
      ->add_flag("--fallback", rollover->fallback, "Of the account at the second authority");
}

}  // namespace

void add_domain_verbs(CLI::App& app, Command& chosen) {
  auto* domains = app.add_subcommand(
      "domains", "Serve a project under domains of your own, with certificates that renew");
  domains->require_subcommand(1);

  auto add = std::make_shared<DomainAddCommand>();
  auto* claim = add_domain_verb(*domains, chosen, add, "add",
                                "Claim a domain; prints the DNS records to set");
  claim->add_flag("--take-over", add->take_over,
                  "Ask for one that is another project's; a TXT record decides");
  claim->add_option("--redirect-to", add->redirect_to,
                    "Send its visitors to this other domain of the project");

  auto list = std::make_shared<DomainListCommand>();
  add_domain_verb(*domains, chosen, list, "list", "List domains and where they stand")
      ->add_option("PROJECT", list->project, "Only this project's");

  add_domain_verb(*domains, chosen, std::make_shared<DomainCheckCommand>(), "check",
                  "Ask its name servers now; tells what is wrong, and what to set");
  add_cert_verbs(*domains, chosen);
  add_redirect_verb(*domains, chosen);
  add_domain_verb(*domains, chosen, std::make_shared<DomainRetryCommand>(), "retry",
                  "Order its certificate now, in place of after the pause of a failure");

  add_account_verbs(*domains, chosen);

  auto remove = std::make_shared<DomainRemoveCommand>();
  add_domain_verb(*domains, chosen, remove, "remove", "Give a domain up; it is served no more")
      ->add_flag("--yes", remove->yes, "Don't ask");
}

}  // namespace atlasflow::cli
