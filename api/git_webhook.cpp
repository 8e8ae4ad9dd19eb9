#include "api/git_webhook.hpp"

#include <array>

#include "api/delivery.hpp"
#include "api/git_payload.hpp"
#include "api/push_payload.hpp"
#include "api/signature.hpp"
#include "api/webhook.hpp"
#include "base/digest.hpp"
#include "base/log.hpp"

namespace atlasflow::api {
namespace {

// The same for whatever is wrong: who has no secret learns nothing of which projects there are.
constexpr const char* k_refused =
    "There is no project of that name whose webhook secret made the signature. Set the same secret "
    "at the Git host and here (X-Atlasflow-Signature, X-Gitlab-Token, X-Gitea-Signature, "
    "X-Forgejo-Signature, X-Gogs-Signature or, of Bitbucket, X-Hub-Signature); GitHub's deliveries "
    "go to /webhooks/github.";

// How a host names its event, and proves that it knows the secret.
struct Sender {
  GitHost host = GitHost::generic;
  const char* event_field = nullptr;
  const char* proof_field = "X-Atlasflow-Signature";
};
// In the order of precedence: Forgejo sends Gitea's and Gogs's fields too, and all three send
// GitHub's. Bitbucket's X-Hub-Signature is SHA-256 where theirs is SHA-1.
constexpr std::array k_senders = {
    Sender{GitHost::gitlab, "X-Gitlab-Event", "X-Gitlab-Token"},
    Sender{GitHost::gitea, "X-Forgejo-Event", "X-Forgejo-Signature"},
    Sender{GitHost::gitea, "X-Gitea-Event", "X-Gitea-Signature"},
    Sender{GitHost::gitea, "X-Gogs-Event", "X-Gogs-Signature"},
    Sender{GitHost::bitbucket, "X-Event-Key", "X-Hub-Signature"},
};

Sender sender_of(const Request& request) {
  const Sender own;
  if (request.field(own.proof_field) != nullptr) return own;
  for (const auto& sender : k_senders) {
    if (request.field(sender.event_field) != nullptr) return sender;
  }
  return own;
}

// Whether the field proves that its sender knows the secret. `text` is what is signed.
bool proves(const Sender& sender, const std::string& field, const std::string& secret,
            std::string_view text) {
  if (sender.host == GitHost::gitlab) {
    // Digests of both are compared, so that the time tells nothing of the secret's length either.
    constexpr std::string_view k_key = "X-Gitlab-Token";
    return equal_in_constant_time(hmac_sha256(k_key, field), hmac_sha256(k_key, secret));
  }
  const auto signature =
      parsed_signature(sender.host == GitHost::gitea ? "sha256=" + field : field);
  return equal_in_constant_time(hmac_sha256(secret, text), signature.value_or(Sha256{})) &&
         signature.has_value();
}

// The secret that speaks for the project: its own, or the server's where it has none. Empty: none,
// or there is no such project.
std::string secret_of(const Context& context, const std::string& project) {
  std::string own;
  // All of them are opened whether the project is there or not.
  for (auto& [name, secret] : context.control.webhook_secrets()) {
    if (name == project) own = std::move(secret);
  }
  if (!own.empty()) return own;
  const auto view = context.control.catalog().project_named(project);
  const bool has_own = view && !view->state.webhook_secret_ref.empty();
  return view && !has_own ? context.server_webhook_secret : "";
}

bool is_trusted(const Context& context, const Request& request, const Sender& sender,
                const std::string& project, std::string_view text) {
  const auto secret = secret_of(context, project);
  // Compared in any case, which takes its time.
  const auto* field = request.field(sender.proof_field);
  const bool fits = proves(sender, field == nullptr ? "" : *field,
                           secret.empty() ? std::string("no secret") : secret, text);
  // With two of them it would be open which one counts.
  return fits && !secret.empty() && request.count_fields(sender.proof_field) == 1;
}

// What makes a delivery that comes again the same one. Of a signed body its digest: an id in a
// header is not signed, so whoever has a delivery could send it again under another one. GitLab
// signs nothing, and of two pushes to and fro its bodies are the same: there its id counts.
Result<std::string> id_of(const Sender& sender, const Request& request, std::string_view text) {
  if (sender.host == GitHost::gitlab) {
    for (const char* name : {"Idempotency-Key", "X-Gitlab-Event-UUID"}) {
      if (request.field(name) != nullptr) return required_token(request, name);
    }
  }
  return "sha256:" + sha256_hex(text);
}

Response answer_ignored(const std::string& reason) {
  Json json;
  json["ignored"] = reason;
  return json_response(json, 202);
}

Response take_pushes(const Context& context, const std::string& project, GitDelivery delivery,
                     const std::string& id) {
  std::vector<actors::PushReceipt> receipts;
  std::string default_branch;  // as the first look at the repository found it
  for (std::size_t i = 0; i < delivery.pushes.size(); ++i) {
    auto& push = delivery.pushes[i];
    push.delivery_id = i == 0 ? id : id + "/" + std::to_string(i);
    // All branches of a delivery are of one moment: one look is enough for them.
    if (push.default_branch.empty()) push.default_branch = default_branch;
    auto taken = context.control.execute(Principal::webhook("git"),
                                         commands::TakeProjectPush{project, std::move(push)});
    // What was recorded of it before is a duplicate when it is sent again.
    if (!taken) return not_recorded(id, taken.error());
    for (const auto& receipt : *taken) {
      if (!receipt.default_branch.empty()) default_branch = receipt.default_branch;
    }
    receipts.insert(receipts.end(), taken->begin(), taken->end());
  }
  note_receipts(id, receipts);
  return answer_push(receipts);
}

Response take_delivery(const Context& context, const Request& request) {
  const auto& project = request.parameters.at("project");
  const auto sender = sender_of(request);
  const auto* content_type = request.field("Content-Type");
  // Gitea, Forgejo and Gogs may be told to send a form, and sign the payload in it.
  auto text = sender.host == GitHost::gitea
                  ? payload_text(content_type == nullptr ? "" : *content_type, request.body)
                  : Result<std::string>(request.body);
  if (!is_trusted(context, request, sender, project, text ? *text : request.body)) {
    log_event(LogLevel::warn, "api", "webhook_refused",
              {{"bytes", request.body.size()},
               {"project", project},
               {"reason", "its signature fits no secret of a project of that name"}});
    return error_response({ErrorCode::unauthorized, k_refused, {}});
  }
  if (!text) return error_response(text.error());
  const auto* event = sender.event_field == nullptr ? nullptr : request.field(sender.event_field);
  const auto payload = parsed_object(*text, "The payload");
  if (!payload) return error_response(payload.error());
  auto delivery = parsed_delivery(sender.host, event == nullptr ? "" : *event, *payload);
  if (!delivery) return error_response(delivery.error());
  if (delivery->pushes.empty()) return answer_ignored(delivery->ignored);
  const auto id = id_of(sender, request, *text);
  if (!id) return error_response(id.error());
  return take_pushes(context, project, *std::move(delivery), *id);
}

}  // namespace

void add_git_webhook_route(Router& router, const Context& context) {
  router.add({"POST", "/webhooks/git/:project", k_webhook_bytes_max,
              [&context](const Request& request) { return take_delivery(context, request); }});
}

}  // namespace atlasflow::api
