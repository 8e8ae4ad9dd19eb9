// The members of every struct that a fold's state is made of (events/fields.hpp). One that is added
// to a state and not to its list here does not compile, so no snapshot leaves it out, and no
// comparison. Classes whose members are private have their lists inside. Effects are no state, but
// which of them are owed is written down and compared like one.
#pragma once

#include "events/deployment.hpp"
#include "events/domain.hpp"
#include "events/fields.hpp"
#include "events/github_app.hpp"
#include "events/github_reports.hpp"
#include "events/instance.hpp"
#include "events/notifications.hpp"
#include "events/project.hpp"
#include "events/project_history.hpp"
#include "events/pull_request.hpp"
#include "events/push_order.hpp"

namespace atlasflow {

namespace health {
ATLAS_FIELDS(Checking, deadline, problem)
ATLAS_FIELDS(Healthy, since)
ATLAS_FIELDS(Unhealthy, since, problem, restart_due)
}  // namespace health

namespace phase {
ATLAS_FIELDS(Waiting, retry)
ATLAS_FIELDS(Placing, effect)
ATLAS_FIELDS(Placed, host)
ATLAS_FIELDS(Starting, effect, host, deadline)
ATLAS_FIELDS(Up, vm)
ATLAS_FIELDS(Finished, vm, end)
ATLAS_FIELDS(Stopping, vm, effect, end)
ATLAS_FIELDS(Ended, end, healthy_since)
}  // namespace phase

ATLAS_FIELDS(Retry, step, attempt, due)
ATLAS_FIELDS(Vm, id, host, address, port, health)
ATLAS_FIELDS(Leaving, drain_deadline, drained)
ATLAS_FIELDS(Instance, slot, phase, leaving, refusals, attempts, crashes, losses)

ATLAS_FIELDS(Failure, step, fault, reason)
ATLAS_FIELDS(Intent, kind, effect, deadline)
ATLAS_FIELDS(DeploymentState, id, version, status, push, rollback_to, redeployed_of, redeployment,
             requested_by, subject, author, notices, cloned, skip_reason, build, image_id, stack,
             toolchain, base_images, earlier, reused_from, image, release_owed, release_vm,
             newest_release_vm, instances, replicas, newest_vm_id, hostnames, generation, routed,
             routed_at, restarts, crashed_early, stopped_by, intent, base_sha, attempts, retry,
             failure, cancelled_by, cancel_reason, superseded_by, retired_by, retire_reason)

ATLAS_FIELDS(CloneEffect, effect, deadline)
ATLAS_FIELDS(BuildEffect, effect, deadline)
ATLAS_FIELDS(PushImageEffect, effect, deadline)
ATLAS_FIELDS(RunReleaseEffect, effect, deadline)
ATLAS_FIELDS(PlaceVmEffect, effect)
ATLAS_FIELDS(StartVmEffect, effect, host, slot, deadline)
ATLAS_FIELDS(ProbeEffect, vm_id, host, deadline)
ATLAS_FIELDS(KeepVmEffect, vm_id, host, was_healthy, healthy)
ATLAS_FIELDS(ClaimedUpstream, vm_id, address, port)
ATLAS_FIELDS(ClaimRouteEffect, effect, generation, upstreams, unavailable_reason)
ATLAS_FIELDS(DrainEffect, vm_id, deadline)
ATLAS_FIELDS(StopVmEffect, effect, vm_id, host)
ATLAS_FIELDS(TimerEffect, step, attempt, slot, due)
ATLAS_FIELDS(DeadlineEffect, effect, due)
ATLAS_FIELDS(AbortEffect, effect)

ATLAS_FIELDS(EnvEntry, digest, sealed_ref)
ATLAS_FIELDS(ProjectState, id, version, name, repository_url, repository_id, repository_deleted,
             branch, webhook_secret_ref, notify_secret_ref, deploy_key_ref, deploy_key,
             deploy_key_fingerprint, host_keys, login_ref, push_token_digest, settings, env,
             build_secrets, awaiting_approval, deleted, deleted_by)
ATLAS_FIELDS(PushOrder, head, before_head, head_pushed_at_s, inferred, replaced, deleted,
             deleted_by)
ATLAS_FIELDS(PullRequestState, head, updated_at_s, approved, approved_by, replaced, closed,
             closed_by)
ATLAS_FIELDS(EnvironmentHistory, deployments, order, made_at, past, pushes, protect_next, spared)
ATLAS_FIELDS(ProjectHistory, project, environments, environment_by_id, newest_made, quarantined,
             env_changes, pull_requests, builds, building)

ATLAS_FIELDS(ExpiryNews, domain, stage, fingerprint, not_after)
ATLAS_FIELDS(Notification, project_id, project, deployment, result, environment, commit, subject,
             hostname, reason, step, requested_by, at, url, secret_ref, expiry)
ATLAS_FIELDS(NotificationsOwed::Receiver, project, url)
ATLAS_FIELDS(GitHubAppState, app_id, slug, base_url, key_fingerprint, private_key_ref,
             webhook_secret_ref)
ATLAS_FIELDS(PreviewReport, newest, commit, status, reason, serving, serving_commit)
ATLAS_FIELDS(GitHubReport, project_id, project, deployment, status, repository_url, commit,
             environment, hostname, reason, at, commit_state, pull_request, preview, comment_only)

ATLAS_FIELDS(RenewalAdvice, start, end, explanation_url)
ATLAS_FIELDS(CertificateFacts, fingerprint, serial, issuer, not_before, not_after, names, source,
             advice, directory)
ATLAS_FIELDS(DomainOrder, effect, names, directory, renews, ordered_at, deadline, fallback_reason)
ATLAS_FIELDS(OrderFailure, problem, reason, at, retry_at)
ATLAS_FIELDS(TakeOverClaim, project, project_name, token, since)
ATLAS_FIELDS(AuthorityPause, directory, until)
ATLAS_FIELDS(AuthorityFailures, directory, count, reason, not_before)
ATLAS_FIELDS(SecondAuthority, pause, failed_validations, issued_at, new_at, was_last)
ATLAS_FIELDS(ExpiryWarning, fingerprint, stage)
ATLAS_FIELDS(DomainState, name, version, claimed, project, project_name, display_name, token,
             proof_required, added_at, removed_reason, ready, unready_since, was_checked,
             checked_at, observed, verdict, reason, take_over, proved_project, redirect_to, order,
             issued, installed, attempts, failure, failed_validations, issued_at, new_at,
             authority_pause, retry_requested_at, warned, is_servers, was_servers, first_failures,
             second, unreached_by)

}  // namespace atlasflow
