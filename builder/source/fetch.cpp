#include "builder/source/fetch.hpp"

#include <algorithm>
#include <string_view>
#include <vector>

#include "base/digest.hpp"
#include "base/probe.hpp"
#include "builder/source/remote_call.hpp"
#include "builder/source/repository_url.hpp"
#include "events/ssh_address.hpp"

namespace atlasflow::builder {
namespace {

constexpr const char* k_sha_there = "refs/atlasflow/sha";

constexpr std::size_t k_remote_bytes_max = 200;
constexpr unsigned int k_objects_max = 10'000'000;  // the largest known repositories have as many

struct FetchState {
  const FetchOrder* order = nullptr;
  const std::stop_token* stop = nullptr;
  CredentialCallback* credential = nullptr;
  RemoteCall* call = nullptr;
  bool too_large = false;
  std::uint64_t received_bytes = 0;
  unsigned int received_objects = 0;
  unsigned int objects = 0;
  bool is_of_the_remote = false;
  std::string remote_says = {};

  void tell(FetchProgress progress) const {
    if (!order->progress) return;
    progress.remote = remote_says;
    order->progress(progress);
  }
};

int on_transfer(const git_indexer_progress* progress, void* payload) {
  auto& state = *static_cast<FetchState*>(payload);
  state.call->begin_objects();
  state.received_bytes = progress->received_bytes;
  state.received_objects = progress->received_objects;
  state.objects = progress->total_objects;
  state.too_large =
      state.received_bytes > state.order->limit_bytes || state.objects > k_objects_max;
  state.tell({progress->received_objects, progress->total_objects, progress->received_bytes,
              progress->indexed_deltas, progress->total_deltas});
  return state.too_large || state.stop->stop_requested() ? GIT_EUSER : 0;
}

int on_sideband(const char* text, int size, void* payload) {
  auto& state = *static_cast<FetchState*>(payload);
  const auto length = size > 0 ? static_cast<std::size_t>(size) : 0;
  state.remote_says = std::string(text, std::min(length, k_remote_bytes_max));
  state.tell({state.received_objects, state.objects, state.received_bytes});
  return state.stop->stop_requested() ? GIT_EUSER : 0;
}

int on_credential(git_credential** out, const char* /*url*/, const char* /*user*/,
                  unsigned int allowed, void* payload) {
  return static_cast<FetchState*>(payload)->credential->answer(out, allowed);
}

int on_host_key(git_cert* certificate, int /*valid*/, const char* /*host*/, void* payload) {
  return static_cast<FetchState*>(payload)->credential->check_host(certificate);
}

bool contains(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

std::string mebibytes(std::uint64_t bytes) {
  return bytes < (1U << 20U) ? std::to_string(bytes) + " bytes"
                             : std::to_string(bytes >> 20U) + " MiB";
}

std::string progress_of(const FetchState& state) {
  return "received " + mebibytes(state.received_bytes) + ", " +
         std::to_string(state.received_objects) + " of " + std::to_string(state.objects) +
         " objects of the history";
}

tl::unexpected<Error> fetch_failed(int code, FetchState& state) {
  const std::string& url = state.order->url;
  const std::string said = git::last_message();
  const int area = git_error_last() == nullptr ? 0 : git_error_last()->klass;
  const bool is_connection = area == GIT_ERROR_NET || area == GIT_ERROR_HTTP ||
                             area == GIT_ERROR_SSL || area == GIT_ERROR_SSH;
  // Until shown otherwise below.
  state.is_of_the_remote = true;
  if (state.stop->stop_requested()) {
    return fail(ErrorCode::cancelled, "the checkout was stopped", progress_of(state));
  }
  if (state.too_large) {
    return fail(ErrorCode::too_large,
                url + " sends more than the limit of " + mebibytes(state.order->limit_bytes) +
                    " or " + std::to_string(k_objects_max) +
                    " objects with its history; take large files out of it",
                progress_of(state));
  }
  if (state.call->sent_too_many_refs()) return tl::unexpected(too_many_refs(url));
  if (auto refusal = state.credential->refusal(code, said)) return tl::unexpected(*refusal);
  // libgit2 takes a path that is no repository for a URL that it does not know.
  if (contains(said, "status code: 404") ||
      (is_local(url) && (code == GIT_ENOTFOUND || contains(said, "unsupported URL protocol")))) {
    // An object that is missing here has the same code.
    state.is_of_the_remote = !is_local(url);
    return fail(ErrorCode::not_found, "there is no repository at " + url, said);
  }
  if (code == GIT_ECERTIFICATE) {
    return fail(ErrorCode::user_error, "the TLS certificate of " + url + " is not valid", said);
  }
  state.is_of_the_remote = is_connection;
  if (is_connection || area == GIT_ERROR_OS) {
    return fail(ErrorCode::unavailable, url + " does not answer; it is tried again", said);
  }
  return fail(ErrorCode::unavailable, "fetching from " + url + " failed", said);
}

Result<void> fetch_once(git_repository* repository, const std::string& refspec, FetchState& state) {
  RemoteCall call(state.order->url, *state.stop);
  state.call = &call;
  git_remote* raw = nullptr;
  git_remote_create_options creation{};
  git_remote_create_options_init(&creation, GIT_REMOTE_CREATE_OPTIONS_VERSION);
  creation.repository = repository;
  // There is no insteadOf to be looked for, and libgit2 1.5 leaks 20 KiB with every look.
  creation.flags = GIT_REMOTE_CREATE_SKIP_INSTEADOF | GIT_REMOTE_CREATE_SKIP_DEFAULT_FETCHSPEC;
  if (const int code = git_remote_create_with_opts(&raw, state.order->url.c_str(), &creation);
      code != 0) {
    return fetch_failed(code, state);
  }
  const git::Remote remote(raw);
  git_fetch_options options{};
  git_fetch_options_init(&options, GIT_FETCH_OPTIONS_VERSION);
  options.callbacks.transfer_progress = on_transfer;
  options.callbacks.sideband_progress = on_sideband;
  options.callbacks.credentials = on_credential;
  if (is_ssh_url(state.order->url)) options.callbacks.certificate_check = on_host_key;
  options.callbacks.payload = &state;
  options.download_tags = GIT_REMOTE_DOWNLOAD_TAGS_NONE;
  options.update_fetchhead = 0;
  options.prune = GIT_FETCH_NO_PRUNE;
  // Redirects are followed at the first request only and never to another host (libgit2's
  // "initial").
  options.follow_redirects = GIT_REMOTE_REDIRECT_INITIAL;
  git_error_clear();
  char* specs[] = {const_cast<char*>(refspec.c_str())};
  const git_strarray list{specs, 1};
  if (const int code = git_remote_fetch(remote.get(), &list, &options, nullptr); code != 0) {
    return fetch_failed(code, state);
  }
  return {};
}

// A token may end in the middle of it: then once more, with another.
Result<void> fetch(git_repository* repository, const std::string& refspec, FetchState& state) {
  auto fetched = fetch_once(repository, refspec, state);
  const bool denied = !fetched && fetched.error().code == ErrorCode::user_error;
  if (!denied || !state.credential->ask_again()) return fetched;
  ATLAS_PROBE(true, "a credential was refused and asked for again");
  return fetch_once(repository, refspec, state);
}

git::Commit find_commit(git_repository* repository, const git_oid& id) {
  git_commit* raw = nullptr;
  return git::Commit(git_commit_lookup(&raw, repository, &id) == 0 ? raw : nullptr);
}

// Each branch has one of its own, so that of a store that stays all of them are told to the remote
// as what need not be sent. Not its own name: "a" and, later, "a/b" would not go together.
std::string name_here(const std::string& ref) {
  constexpr std::size_t k_digits = 32;
  return "refs/atlasflow/ref/" + sha256_hex(ref).substr(0, k_digits);
}

bool has_object(git_repository* repository, const git_oid& id) {
  git_odb* raw = nullptr;
  if (git_repository_odb(&raw, repository) != 0) return false;
  const git::ObjectDatabase odb(raw);
  return git_odb_exists(odb.get(), &id) == 1;
}

struct Refspec {
  std::string text;
  bool may_be_refused = false;  // a server that does not answer this one may answer the next
};

// The branch first, because every server serves it; then the commit by name, which most servers
// allow (GitHub does); a local repository answers neither for a commit on another branch, but all
// its branches are cheap. libgit2 1.5 cannot limit the depth.
std::vector<Refspec> refspecs_for(const FetchOrder& order) {
  constexpr const char* k_all_there = ":refs/atlasflow/all/*";
  std::vector<Refspec> refspecs;
  if (!order.ref.empty()) refspecs.push_back({"+" + order.ref + ":" + name_here(order.ref)});
  if (is_local(order.url)) {
    refspecs.push_back({std::string("+refs/*") + k_all_there});
    return refspecs;
  }
  // A server that lacks the commit answers the request for it with a protocol error. Only when it
  // answers a request for branches does that mean "no such commit".
  refspecs.push_back({"+" + order.sha + ":" + k_sha_there, true});
  if (order.ref.empty()) refspecs.push_back({std::string("+refs/heads/*") + k_all_there});
  return refspecs;
}

}  // namespace

Result<git::Commit> fetch_commit(git_repository* repository, const FetchOrder& order,
                                 const std::stop_token& stop, FetchReport* report) {
  git_oid id;
  if (git_oid_fromstr(&id, order.sha.c_str()) != 0) {
    return fail(ErrorCode::invalid_argument, "a commit is named by 40 lower-case hex digits");
  }
  FetchReport unread;
  FetchReport& said = report == nullptr ? unread : *report;
  said = {};
  for (const auto& refspec : refspecs_for(order)) {
    CredentialCallback credential(order.credential, order.host_key, order.url);
    FetchState state{.order = &order, .stop = &stop, .credential = &credential};
    auto fetched = fetch(repository, refspec.text, state);
    said.objects += state.received_objects;
    said.bytes += state.received_bytes;
    said.is_of_the_remote = state.is_of_the_remote;
    // One that a store has from earlier is no reason to pass over a remote that lets nobody in.
    if (fetched) {
      if (git::Commit commit = find_commit(repository, id)) {
        said.is_fetched = true;
        said.is_of_the_remote = false;
        return commit;
      }
    }
    const bool goes_on =
        fetched || (refspec.may_be_refused && fetched.error().code == ErrorCode::unavailable);
    if (!goes_on) return tl::unexpected(fetched.error());
  }
  // One that is there and cannot be read was not asked for.
  said.is_of_the_remote = !has_object(repository, id);
  return fail(ErrorCode::not_found,
              "commit " + order.sha + " is not in " + order.url + "; was it force-pushed away?",
              git::last_message());
}

}  // namespace atlasflow::builder
