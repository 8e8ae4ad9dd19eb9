#include "github/delivery.hpp"

#include <algorithm>
#include <array>
#include <optional>
#include <utility>

namespace atlasflow::github {
namespace {

using Json = nlohmann::json;

constexpr std::size_t k_repositories_max = 10'000;  // of one delivery; GitHub sends 25 MB at most
constexpr std::size_t k_text_bytes_max = 4096;
constexpr std::size_t k_word_bytes_max = 64;

tl::unexpected<Error> wrong(const std::string& member, const std::string& what) {
  return fail(ErrorCode::invalid_argument, "'" + member + "' " + what + ".");
}

// The member at a path such as "repository.owner.login"; null when it or one before it is missing.
const Json& at(const Json& json, std::string_view path) {
  static const Json k_null;
  const Json* current = &json;
  while (!path.empty()) {
    const auto dot = path.find('.');
    if (!current->is_object()) return k_null;
    const auto found = current->find(std::string(path.substr(0, dot)));
    if (found == current->end()) return k_null;
    current = &*found;
    path.remove_prefix(dot == std::string_view::npos ? path.size() : dot + 1);
  }
  return *current;
}

Result<std::string> text_at(const Json& json, const std::string& path) {
  const auto& member = at(json, path);
  if (!member.is_string()) return wrong(path, "must be a text");
  auto text = member.get<std::string>();
  if (text.empty() || text.size() > k_text_bytes_max) return wrong(path, "is empty or too long");
  const bool has_control =
      std::any_of(text.begin(), text.end(), [](unsigned char c) { return c < 0x20 || c == 0x7f; });
  if (has_control) return wrong(path, "has a control character");
  return text;
}

Result<std::int64_t> id_at(const Json& json, const std::string& path) {
  const auto& member = at(json, path);
  if (!member.is_number_integer() || member.get<std::int64_t>() <= 0) {
    return wrong(path, "must be a positive number");
  }
  return member.get<std::int64_t>();
}

Result<RepositoryName> name_at(const Json& json, const std::string& path) {
  ATLAS_TRY(const auto text, text_at(json, path));
  auto name = repository_name(text);
  if (!name) return wrong(path, "is no name of a repository");
  return *std::move(name);
}

Result<std::vector<RepositoryName>> names_at(const Json& json, const std::string& path) {
  const auto& list = at(json, path);
  if (!list.is_array() || list.size() > k_repositories_max) {
    return wrong(path, "must be a list of at most 10000 repositories");
  }
  std::vector<RepositoryName> names;
  for (const auto& each : list) {
    ATLAS_TRY(auto name, name_at(each, "full_name"));
    names.push_back(std::move(name));
  }
  return names;
}

Ignored unknown_action(std::string_view event, std::string action) {
  if (action.size() > k_word_bytes_max) action.resize(k_word_bytes_max);
  return {"nothing follows here from '" + std::string(event) + "' with the action '" + action +
          "'"};
}

Result<Delivery> read_installation(const Json& payload, const std::string& action) {
  using Kind = InstallationChanged::Kind;
  constexpr std::array<std::pair<std::string_view, Kind>, 5> k_kinds = {{
      {"created", Kind::created},
      {"deleted", Kind::removed},
      {"suspend", Kind::suspended},
      {"unsuspend", Kind::resumed},
      {"new_permissions_accepted", Kind::permitted},
  }};
  for (const auto& [name, kind] : k_kinds) {
    if (name != action) continue;
    InstallationChanged changed{kind, 0, {}};
    ATLAS_TRY(changed.installation, id_at(payload, "installation.id"));
    ATLAS_TRY(changed.account, text_at(payload, "installation.account.login"));
    return changed;
  }
  return unknown_action("installation", action);
}

Result<Delivery> read_installation_repositories(const Json& payload, const std::string& action) {
  if (action != "added" && action != "removed") {
    return unknown_action("installation_repositories", action);
  }
  InstallationRepositories changed;
  ATLAS_TRY(changed.installation, id_at(payload, "installation.id"));
  ATLAS_TRY(changed.account, text_at(payload, "installation.account.login"));
  ATLAS_TRY(changed.added, names_at(payload, "repositories_added"));
  ATLAS_TRY(changed.removed, names_at(payload, "repositories_removed"));
  return changed;
}

// The owner before a transfer is a user or an organization.
Result<std::string> former_owner(const Json& payload) {
  for (const char* path :
       {"changes.owner.from.user.login", "changes.owner.from.organization.login"}) {
    if (at(payload, path).is_string()) return text_at(payload, path);
  }
  return wrong("changes.owner.from", "names neither a user nor an organization");
}

Result<Delivery> read_repository(const Json& payload, const std::string& action) {
  if (action == "deleted") {
    RepositoryDeleted deleted;
    ATLAS_TRY(deleted.id, id_at(payload, "repository.id"));
    ATLAS_TRY(deleted.repository, name_at(payload, "repository.full_name"));
    return deleted;
  }
  if (action != "renamed" && action != "transferred") return unknown_action("repository", action);
  RepositoryMoved moved;
  ATLAS_TRY(moved.id, id_at(payload, "repository.id"));
  ATLAS_TRY(moved.to, name_at(payload, "repository.full_name"));
  auto owner = moved.to.owner;
  auto name = moved.to.name;
  if (action == "renamed") {
    ATLAS_TRY(name, text_at(payload, "changes.repository.name.from"));
  } else {
    ATLAS_TRY(owner, former_owner(payload));
  }
  const auto from = repository_name(owner + "/" + name);
  if (!from) return wrong("changes", "is no former name of a repository");
  moved.from = *from;
  return moved;
}

}  // namespace

std::string_view name_of(InstallationChanged::Kind kind) {
  switch (kind) {
    case InstallationChanged::Kind::created:
      return "created";
    case InstallationChanged::Kind::removed:
      return "removed";
    case InstallationChanged::Kind::suspended:
      return "suspended";
    case InstallationChanged::Kind::resumed:
      return "resumed";
    case InstallationChanged::Kind::permitted:
      return "permitted";
  }
  return "changed";
}

Result<Delivery> read_delivery(std::string_view event, const Json& payload) {
  const bool known =
      event == "installation" || event == "installation_repositories" || event == "repository";
  if (!known) return Ignored{"event '" + std::string(event) + "' is not handled"};
  ATLAS_TRY(const auto action, text_at(payload, "action"));
  if (event == "installation") return read_installation(payload, action);
  if (event == "repository") return read_repository(payload, action);
  return read_installation_repositories(payload, action);
}

}  // namespace atlasflow::github
