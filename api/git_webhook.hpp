// The intake of pushes from wherever a repository is: GitLab, Gitea, Forgejo, Gogs, Bitbucket, or
// whoever can send a signed request. The URL names the project, its webhook secret proves the
// sender; what the body calls the repository decides nothing, as only the project's own is ever
// asked for the commit. Any thread.
#pragma once

#include "api/context.hpp"

namespace atlasflow::api {

// POST /webhooks/git/PROJECT. The context must outlive the router.
void add_git_webhook_route(Router& router, const Context& context);

}  // namespace atlasflow::api
