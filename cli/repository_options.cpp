#include "cli/repository_options.hpp"

#include <memory>

#include "cli/add_verb.hpp"

namespace atlasflow::cli {

void add_repository_verbs(CLI::App& project, Command& chosen) {
  auto key = std::make_shared<ProjectDeployKeyCommand>();
  auto* verb = add_verb(project, chosen, key, "deploy-key",
                        "Print the SSH key to add to a private repository; make it at first");
  verb->add_option("NAME", key->name, "The project")->required();
  auto* rotate = verb->add_flag("--rotate", key->rotate, "Make another one in its place");
  verb->add_flag("--remove", key->remove, "Forget it")->excludes(rotate);
  add_json(verb, key);

  auto host = std::make_shared<ProjectHostKeyCommand>();
  verb = add_verb(project, chosen, host, "host-key",
                  "Show what the repository's SSH host proved to be, or accept its new key");
  verb->add_option("NAME", host->name, "The project")->required();
  verb->add_option("--accept", host->accept,
                   "The fingerprint of the key to accept, SHA256:… as ssh-keygen -l prints it");
  add_json(verb, host);

  auto login = std::make_shared<ProjectLoginCommand>();
  verb = add_verb(project, chosen, login, "login",
                  "Set the user and the token of a private https:// repository");
  verb->add_option("NAME", login->name, "The project")->required();
  auto* username =
      verb->add_option("--username", login->username, "The user, or what the host wants there");
  auto* password = verb->add_option("--password-file", login->password_file,
                                    "File with the password or token, - for standard input");
  username->needs(password);
  password->needs(username);
  verb->add_flag("--remove", login->remove, "Forget it")->excludes(username)->excludes(password);
  add_json(verb, login);

  auto secret = std::make_shared<ProjectWebhookSecretCommand>();
  verb = add_verb(project, chosen, secret, "webhook-secret",
                  "Change what signs the project's webhooks; the one before counts no more");
  verb->add_option("NAME", secret->name, "The project")->required();
  auto* file =
      verb->add_option("--file", secret->file, "File with the secret, - for standard input");
  verb->add_flag("--server", secret->server, "Go back to the server's own secret")->excludes(file);
  add_json(verb, secret);
}

}  // namespace atlasflow::cli
