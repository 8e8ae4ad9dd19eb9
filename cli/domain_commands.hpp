// The verbs of users' own domains as values.
#pragma once

#include <string>

namespace atlasflow::cli {

struct DomainAddCommand {
  std::string project;
  std::string domain;
  bool take_over = false;
  std::string redirect_to;  // empty: it serves the project
  bool json = false;
};
struct DomainListCommand {
  std::string project;  // empty: of all
  bool json = false;
};
struct DomainCheckCommand {
  std::string domain;
  bool json = false;
};
struct DomainCertCommand {
  std::string domain;
  bool json = false;
};
struct DomainCertUploadCommand {
  std::string domain;
  std::string cert_file;
  std::string key_file;
  bool json = false;
};
struct DomainCertRemoveCommand {
  std::string domain;
  bool json = false;
};
struct DomainRedirectCommand {
  std::string domain;
  std::string to;
  bool off = false;
  bool json = false;
};
struct DomainRetryCommand {
  std::string domain;
  bool json = false;
};
struct DomainAccountRolloverCommand {
  bool fallback = false;  // of the account at the second authority
  bool json = false;
};
struct DomainRemoveCommand {
  std::string domain;
  bool yes = false;
  bool json = false;
};

}  // namespace atlasflow::cli
