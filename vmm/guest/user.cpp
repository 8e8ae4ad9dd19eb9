#include "vmm/guest/user.hpp"

#include <charconv>
#include <optional>

namespace atlasflow::vmm::guest {
namespace {

std::optional<unsigned> number(std::string_view text) {
  unsigned value = 0;
  const char* const end = text.data() + text.size();
  const auto [stop, code] = std::from_chars(text.data(), end, value);
  if (code != std::errc{} || stop != end || text.empty()) return std::nullopt;
  // (uid_t)-1 means "leave as it is" to the kernel and is nobody's number.
  if (value == static_cast<unsigned>(-1)) return std::nullopt;
  return value;
}

// Cuts the next piece off text, up to the separator, which is dropped.
std::string_view next(std::string_view& text, char separator) {
  const std::size_t end = text.find(separator);
  const std::string_view piece = text.substr(0, end);
  text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  return piece;
}

struct Account {
  std::string_view name;
  unsigned uid = 0;
  unsigned gid = 0;
  std::string_view home;
};

struct Group {
  std::string_view name;
  unsigned gid = 0;
  std::string_view members;
};

// name:password:uid:gid:comment:home:shell. Lines that are not of this form are passed over.
std::optional<Account> parse_account(std::string_view line) {
  Account account;
  account.name = next(line, ':');
  next(line, ':');
  const auto uid = number(next(line, ':'));
  const auto gid = number(next(line, ':'));
  next(line, ':');
  account.home = next(line, ':');
  if (!uid || !gid) return std::nullopt;
  account.uid = *uid;
  account.gid = *gid;
  return account;
}

// name:password:gid:member,member
std::optional<Group> parse_group(std::string_view line) {
  Group parsed;
  parsed.name = next(line, ':');
  next(line, ':');
  const auto gid = number(next(line, ':'));
  parsed.members = next(line, ':');
  if (!gid) return std::nullopt;
  parsed.gid = *gid;
  return parsed;
}

bool lists(std::string_view members, std::string_view name) {
  while (!members.empty()) {
    if (next(members, ',') == name) return true;
  }
  return false;
}

UserLookup not_found(std::string_view what, std::string_view name, std::string_view file) {
  UserLookup lookup;
  lookup.error = std::string(what) + " '" + std::string(name) +
                 "' does not exist in the image; add it to the image's " + std::string(file) +
                 " or change USER";
  return lookup;
}

}  // namespace

UserLookup resolve_user(std::string_view spec, std::string_view passwd, std::string_view group) {
  const std::size_t colon = spec.find(':');
  std::string_view user = spec.substr(0, colon);
  const std::string_view group_spec =
      colon == std::string_view::npos ? std::string_view{} : spec.substr(colon + 1);
  if (user.empty()) user = "0";

  UserLookup lookup;
  Identity& identity = lookup.identity;
  std::string_view name;
  bool found = false;
  // A name wins over a number of the same spelling, as it does in container runtimes.
  const auto uid = number(user);
  for (const bool by_name : {true, false}) {
    std::string_view rest = passwd;
    while (!found && !rest.empty()) {
      const auto account = parse_account(next(rest, '\n'));
      if (!account) continue;
      if (by_name ? account->name != user : !uid || account->uid != *uid) continue;
      identity.uid = account->uid;
      identity.gid = account->gid;
      if (!account->home.empty()) identity.home = std::string(account->home);
      name = account->name;
      found = true;
    }
  }
  if (!found) {
    if (!uid) return not_found("user", user, "/etc/passwd");
    identity.uid = *uid;
  }

  if (!group_spec.empty()) {
    const auto gid = number(group_spec);
    if (gid) identity.gid = *gid;
    bool named = false;
    for (std::string_view rest = group; !rest.empty();) {
      const auto entry = parse_group(next(rest, '\n'));
      if (!entry || entry->name != group_spec) continue;
      identity.gid = entry->gid;
      named = true;
      break;
    }
    if (!named && !gid) return not_found("group", group_spec, "/etc/group");
    identity.groups = {identity.gid};
    return lookup;
  }
  // The first one too: a process without its own group in the list could give up a group and so
  // pass a permission that is denied to the group (CVE-2022-36109).
  identity.groups = {identity.gid};
  for (std::string_view rest = group; !rest.empty() && !name.empty();) {
    const auto entry = parse_group(next(rest, '\n'));
    if (entry && entry->gid != identity.gid && lists(entry->members, name)) {
      identity.groups.push_back(entry->gid);
    }
  }
  return lookup;
}

}  // namespace atlasflow::vmm::guest
