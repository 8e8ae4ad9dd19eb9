#include "cli/github_options.hpp"

#include <memory>

#include "cli/add_verb.hpp"

namespace atlasflow::cli {

void add_github_verbs(CLI::App& app, Command& chosen) {
  auto* github = app.add_subcommand(
      "github", "Connect a GitHub App: private repositories, and pushes of all that it is on");
  github->require_subcommand(1);

  auto connect = std::make_shared<GitHubConnectCommand>();
  auto* verb = add_verb(*github, chosen, connect, "connect",
                        "Connect an App by its key, or make one: then it prints a page's URL");
  auto* id = verb->add_option("--app-id", connect->app_id, "The App's id, from its settings")
                 ->check(CLI::PositiveNumber);
  auto* key = verb->add_option("--private-key-file", connect->private_key_file,
                               "File with the App's private key (PEM), - for standard input");
  auto* secret = verb->add_option("--webhook-secret-file", connect->webhook_secret_file,
                                  "File with the App's webhook secret, - for standard input");
  id->needs(key)->needs(secret);
  key->needs(id);
  secret->needs(id);
  verb->add_option("--base-url", connect->base_url,
                   "Of a GitHub of your own (default: https://github.com)");
  verb->add_option("--organization", connect->organization,
                   "Who will own an App that is made (default: you)")
      ->excludes(id);
  verb->add_flag("--wait", connect->wait, "Wait until the App that is made is connected")
      ->excludes(id);
  add_json(verb, connect);

  auto status = std::make_shared<GitHubStatusCommand>();
  add_json(add_verb(*github, chosen, status, "status",
                    "Show the App, its webhook, the projects' repositories, and what to do"),
           status);

  auto disconnect = std::make_shared<GitHubDisconnectCommand>();
  verb = add_verb(*github, chosen, disconnect, "disconnect",
                  "Forget the App's key and secret; on GitHub it stays");
  verb->add_flag("-y,--yes", disconnect->yes, "Do not ask");
}

}  // namespace atlasflow::cli
