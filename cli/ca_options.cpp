#include "cli/ca_options.hpp"

#include <memory>

#include "cli/add_verb.hpp"

namespace atlasflow::cli {

void add_ca_verbs(CLI::App& app, Command& chosen) {
  auto* ca = app.add_subcommand(
      "ca", "Trust the server's own certificate authority, or take its certificate elsewhere");
  ca->require_subcommand(1);

  auto give = std::make_shared<CaExportCommand>();
  add_verb(*ca, chosen, give, "export", "Print its certificate (PEM), or write it to a file")
      ->add_option("FILE", give->file, "Where to; - is standard output (default)");

  auto trust = std::make_shared<CaTrustCommand>();
  auto* verb = add_verb(*ca, chosen, trust, "trust",
                        "Have the programs of this machine trust it; for root, on Debian");
  auto* remove = verb->add_flag("--remove", trust->remove, "Have them trust it no more");
  verb->add_flag("--replace", trust->replace,
                 "Also where another authority has its name in the store")
      ->excludes(remove);
}

}  // namespace atlasflow::cli
