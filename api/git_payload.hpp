// What other hosts than GitHub say of a push in the bodies of their webhooks, and the body of our
// own for whoever has no such host. Checked member by member: whoever signs may still send
// nonsense. Pure, any thread.
//
// Sources: docs.gitlab.com, "Webhook events" (push and tag events); docs.gitea.com, "Webhooks", and
// forgejo.org's and gogs.io's of the same format; support.atlassian.com, "Event payloads" (of
// Bitbucket Cloud, repo:push); confluence.atlassian.com, "Event payload" (of Bitbucket Data Center,
// repo:refs_changed).
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "api/json.hpp"
#include "events/push.hpp"

namespace atlasflow::api {

enum class GitHost : std::uint8_t { generic, gitlab, gitea, bitbucket };

struct GitDelivery {
  std::vector<Push> pushes;  // one for each branch; without delivery_id
  std::string ignored;       // why there is none, as a sentence
};

// A push without a commit (`after`) asks to look where its branch stands, one without a ref too: at
// the project's branch. event: as the host's header names it, empty for `generic`.
// invalid_argument names the member that is wrong.
[[nodiscard]] Result<GitDelivery> parsed_delivery(GitHost host, std::string_view event,
                                                  const ParsedJson& payload);

// Of one delivery; Bitbucket sends no more, and every other host one.
inline constexpr std::size_t k_pushes_max = 100;

}  // namespace atlasflow::api
