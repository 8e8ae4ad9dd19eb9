#include "builder/source/checkout.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <exception>
#include <sstream>
#include <string_view>
#include <utility>

#include <fcntl.h>
#include <nlohmann/json.hpp>
#include <unistd.h>

#include "base/file.hpp"
#include "base/process_identity.hpp"
#include "builder/source/git_handles.hpp"
#include "builder/source/tree_changes.hpp"
#include "builder/source/tree_writer.hpp"

namespace atlasflow::builder {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t k_subject_bytes_max = 200;
constexpr std::uint64_t k_marker_bytes_max = 64U << 20U;  // it lists every path that changed
constexpr const char* k_ref_there = "refs/atlasflow/ref";
constexpr const char* k_sha_there = "refs/atlasflow/sha";

// The names beside the folder: none of them can collide with a file of the tree.
fs::path beside(const fs::path& folder, std::string_view suffix) {
  return fs::path(folder.string() + std::string(suffix));
}

// ---- what may be fetched
// -------------------------------------------------------------------------

bool is_sha(std::string_view sha) {
  return sha.size() == 40 && std::all_of(sha.begin(), sha.end(), [](char c) {
           return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
         });
}

// The part between "//" and the next "/"; empty for a path.
std::string_view authority_of(std::string_view url) {
  const auto start = url.find("://");
  if (start == std::string_view::npos) return {};
  url.remove_prefix(start + 3);
  return url.substr(0, url.find_first_of("/?#"));
}

bool is_local(std::string_view url) { return url.starts_with("/") || url.starts_with("file:///"); }

bool is_loopback(std::string_view authority) {
  if (authority.starts_with("[::1]")) return true;
  const std::string_view host = authority.substr(0, authority.find(':'));
  return host == "localhost" || host.starts_with("127.");
}

Result<void> check(const CheckoutRequest& request) {
  if (!is_sha(request.sha)) {
    return fail(ErrorCode::invalid_argument, "a commit is named by 40 lower-case hex digits");
  }
  if (!request.base_sha.empty() && !is_sha(request.base_sha)) {
    return fail(ErrorCode::invalid_argument, "the base is named by 40 lower-case hex digits");
  }
  if (!is_local(request.url) && !request.url.starts_with("https://") &&
      !request.url.starts_with("http://")) {
    return fail(
        ErrorCode::invalid_argument,
        "a repository's URL starts with https://, http:// or file:///, or it is an absolute path");
  }
  if (authority_of(request.url).find('@') != std::string_view::npos) {
    // Without the URL: it holds what must not be written anywhere.
    return fail(ErrorCode::invalid_argument,
                "the repository's URL holds a user name or password; take it out and connect the "
                "repository with a credential instead");
  }
  if (!request.ref.empty() && (!request.ref.starts_with("refs/") ||
                               request.ref.find_first_of("*:^~?[\\ ") != std::string::npos)) {
    return fail(ErrorCode::invalid_argument, "a ref looks like refs/heads/main");
  }
  if (request.folder.empty() || !request.folder.is_absolute() || !request.folder.has_filename()) {
    return fail(ErrorCode::invalid_argument, "the checkout's folder must be an absolute path");
  }
  return {};
}

// ---- the marker of a finished checkout
// -----------------------------------------------------------

// A marker counts only in the boot that wrote it: the files are not synced one by one, and after a
// power cut a marker could have reached the disk before them.
std::optional<Checkout> finished(const CheckoutRequest& request) {
  std::error_code ignored;
  if (!fs::is_directory(fs::symlink_status(request.folder, ignored))) return std::nullopt;
  const auto text = read_file(beside(request.folder, ".done"), k_marker_bytes_max);
  const auto json = nlohmann::json::parse(text.value_or(""), nullptr, false);
  if (!json.is_object()) return std::nullopt;
  try {
    if (json.at("boot") != host_boot_id() || json.at("sha") != request.sha ||
        json.at("base") != request.base_sha) {
      return std::nullopt;
    }
    std::optional<std::vector<std::string>> changed;
    if (const auto& paths = json.at("changed"); !paths.is_null()) changed = paths;
    return Checkout{request.sha,           json.at("subject"), json.at("author"),
                    json.at("size_bytes"), json.at("notices"), std::move(changed)};
  } catch (const nlohmann::json::exception&) {
    return std::nullopt;  // Written by another version: check out again.
  }
}

Result<void> write_marker(const CheckoutRequest& request, const Checkout& checkout) {
  nlohmann::json json = {{"sha", checkout.sha},         {"subject", checkout.subject},
                         {"author", checkout.author},   {"size_bytes", checkout.size_bytes},
                         {"notices", checkout.notices}, {"boot", host_boot_id()},
                         {"base", request.base_sha},    {"changed", nullptr}};
  if (checkout.changed_paths) json["changed"] = *checkout.changed_paths;
  // Not synced: see above.
  const auto written =
      replace_file(beside(request.folder, ".done"),
                   json.dump(1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n", 0600,
                   Sync::skipped);
  if (written) return {};
  return fail(ErrorCode::internal, "cannot write the checkout's marker; see the disk's free space",
              to_string(written.error()));
}

// ---- fetching
// ------------------------------------------------------------------------------------

struct FetchState {
  const CheckoutRequest* request = nullptr;
  const std::stop_token* stop = nullptr;
  bool too_large = false;
  bool credential_given = false;
  bool credential_refused = false;
  bool would_leak = false;
};

int on_transfer(const git_indexer_progress* progress, void* payload) {
  auto& state = *static_cast<FetchState*>(payload);
  state.too_large = progress->received_bytes > state.request->limit_bytes;
  return state.too_large || state.stop->stop_requested() ? GIT_EUSER : 0;
}

int on_sideband(const char* /*text*/, int /*size*/, void* payload) {
  return static_cast<FetchState*>(payload)->stop->stop_requested() ? GIT_EUSER : 0;
}

int on_credential(git_credential** out, const char* /*url*/, const char* /*user*/,
                  unsigned int allowed, void* payload) {
  auto& state = *static_cast<FetchState*>(payload);
  if ((allowed & GIT_CREDENTIAL_USERPASS_PLAINTEXT) == 0) return GIT_PASSTHROUGH;
  if (state.credential_given) {
    state.credential_refused = true;
    return GIT_EAUTH;
  }
  if (!state.request->credential) return GIT_PASSTHROUGH;
  const std::string& url = state.request->url;
  if (url.starts_with("http://") && !is_loopback(authority_of(url))) {
    state.would_leak = true;
    return GIT_EAUTH;
  }
  std::optional<Credential> credential;
  try {
    credential = state.request->credential();
  } catch (const std::exception&) {
    return GIT_EAUTH;  // libgit2 is C: nothing may be thrown through it.
  }
  if (!credential) return GIT_PASSTHROUGH;
  state.credential_given = true;
  return git_credential_userpass_plaintext_new(out, credential->username.c_str(),
                                               credential->password.c_str());
}

bool contains(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

tl::unexpected<Error> fetch_failed(int code, const FetchState& state) {
  const std::string& url = state.request->url;
  const std::string said = git::last_message();
  const int area = git_error_last() == nullptr ? 0 : git_error_last()->klass;
  if (state.stop->stop_requested()) return fail(ErrorCode::cancelled, "the checkout was stopped");
  if (state.too_large) {
    return fail(ErrorCode::too_large, url + " sent more than the limit of " +
                                          std::to_string(state.request->limit_bytes) + " bytes");
  }
  if (state.would_leak) {
    return fail(ErrorCode::user_error,
                url + " wants a password, which is not sent over http://; use https://");
  }
  if (state.credential_refused || code == GIT_EAUTH || contains(said, "status code: 401") ||
      contains(said, "status code: 403")) {
    return fail(
        ErrorCode::user_error,
        state.credential_given
            ? "access to " + url + " was denied; renew the credential that the project uses for it"
            : "access to " + url + " was denied; if it is private, connect it with a credential",
        said);
  }
  // libgit2 takes a path that is no repository for a URL that it does not know.
  if (contains(said, "status code: 404") ||
      (is_local(url) && (code == GIT_ENOTFOUND || contains(said, "unsupported URL protocol")))) {
    return fail(ErrorCode::not_found, "there is no repository at " + url, said);
  }
  if (code == GIT_ECERTIFICATE) {
    return fail(ErrorCode::user_error, "the TLS certificate of " + url + " is not valid", said);
  }
  if (area == GIT_ERROR_NET || area == GIT_ERROR_HTTP || area == GIT_ERROR_SSL ||
      area == GIT_ERROR_OS) {
    return fail(ErrorCode::unavailable, url + " does not answer; it is tried again", said);
  }
  return fail(ErrorCode::unavailable, "fetching from " + url + " failed", said);
}

Result<void> fetch(git_repository* repository, const std::string& refspec, FetchState& state) {
  git_remote* raw = nullptr;
  git_remote_create_options creation = GIT_REMOTE_CREATE_OPTIONS_INIT;
  creation.repository = repository;
  // There is no insteadOf to be looked for, and libgit2 1.5 leaks 20 KiB with every look.
  creation.flags = GIT_REMOTE_CREATE_SKIP_INSTEADOF | GIT_REMOTE_CREATE_SKIP_DEFAULT_FETCHSPEC;
  if (const int code = git_remote_create_with_opts(&raw, state.request->url.c_str(), &creation);
      code != 0) {
    return fetch_failed(code, state);
  }
  const git::Remote remote(raw);
  git_fetch_options options = GIT_FETCH_OPTIONS_INIT;
  options.callbacks.transfer_progress = on_transfer;
  options.callbacks.sideband_progress = on_sideband;
  options.callbacks.credentials = on_credential;
  options.callbacks.payload = &state;
  options.download_tags = GIT_REMOTE_DOWNLOAD_TAGS_NONE;
  options.update_fetchhead = 0;
  options.prune = GIT_FETCH_NO_PRUNE;
  // Redirects are followed at the first request only and never to another host (libgit2's
  // "initial").
  options.follow_redirects = GIT_REMOTE_REDIRECT_INITIAL;
  state.credential_given = false;
  git_error_clear();
  char* specs[] = {const_cast<char*>(refspec.c_str())};
  const git_strarray list{specs, 1};
  if (const int code = git_remote_fetch(remote.get(), &list, &options, nullptr); code != 0) {
    return fetch_failed(code, state);
  }
  return {};
}

git::Commit find_commit(git_repository* repository, const git_oid& id) {
  git_commit* raw = nullptr;
  return git::Commit(git_commit_lookup(&raw, repository, &id) == 0 ? raw : nullptr);
}

// The branch first, because every server serves it; then the commit by name, which most servers
// allow (GitHub does); a local repository answers neither for a commit on another branch, but all
// its branches are cheap. libgit2 1.5 cannot limit the depth.
Result<git::Commit> fetch_commit(git_repository* repository, const git_oid& id, FetchState& state) {
  const CheckoutRequest& request = *state.request;
  std::vector<std::string> refspecs;
  if (!request.ref.empty()) refspecs.push_back("+" + request.ref + ":" + k_ref_there);
  refspecs.push_back(is_local(request.url) ? "+refs/*:refs/atlasflow/all/*"
                                           : "+" + request.sha + ":" + k_sha_there);
  for (std::size_t i = 0; i < refspecs.size(); ++i) {
    auto fetched = fetch(repository, refspecs[i], state);
    if (git::Commit commit = find_commit(repository, id)) return commit;
    const bool by_sha = !is_local(request.url) && i + 1 == refspecs.size();
    // A server that lacks the commit answers the request for it with a protocol error. Only when
    // the request for the branch was answered before does that mean "no such commit".
    const bool was_reached = i > 0 || request.ref.empty();
    if (fetched || (by_sha && was_reached && fetched.error().code == ErrorCode::unavailable))
      continue;
    return tl::unexpected(fetched.error());
  }
  return fail(ErrorCode::not_found,
              "commit " + request.sha + " is not in " + request.url + "; was it force-pushed away?",
              git::last_message());
}

// ---- putting it together
// -------------------------------------------------------------------------

std::string clipped_line(const char* text) {
  std::string line = text == nullptr ? "" : text;
  line = line.substr(0, line.find_first_of("\r\n"));
  if (line.size() > k_subject_bytes_max) {
    std::size_t end = k_subject_bytes_max;
    // Not in the middle of a UTF-8 character.
    while (end > 0 && (static_cast<unsigned char>(line[end]) & 0xC0U) == 0x80U) --end;
    line.resize(end);
  }
  return line;
}

class ScratchFolder {
 public:
  explicit ScratchFolder(fs::path path) : path_(std::move(path)) { clear(); }
  ~ScratchFolder() { clear(); }
  ScratchFolder(const ScratchFolder&) = delete;
  ScratchFolder& operator=(const ScratchFolder&) = delete;
  [[nodiscard]] const fs::path& path() const { return path_; }

 private:
  void clear() const {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  fs::path path_;
};

Result<git::Repository> make_repository(const fs::path& path) {
  git_repository* raw = nullptr;
  git_repository_init_options options = GIT_REPOSITORY_INIT_OPTIONS_INIT;
  options.flags =
      GIT_REPOSITORY_INIT_BARE | GIT_REPOSITORY_INIT_MKPATH | GIT_REPOSITORY_INIT_NO_REINIT;
  if (git_repository_init_ext(&raw, path.c_str(), &options) != 0) {
    return fail(ErrorCode::internal, "cannot make the checkout's folder; see the disk's free space",
                git::last_message());
  }
  return git::Repository(raw);
}

Result<Checkout> describe(git_commit* commit, const CheckoutRequest& request, WrittenTree written) {
  std::array<char, GIT_OID_HEXSZ + 1> hex{};
  git_oid_tostr(hex.data(), hex.size(), git_commit_id(commit));
  if (request.sha != hex.data()) {
    return fail(ErrorCode::internal,
                "commit " + request.sha + " was asked for and " + hex.data() + " was fetched");
  }
  Checkout checkout;
  checkout.sha = request.sha;
  checkout.subject = clipped_line(git_commit_summary(commit));
  const git_signature* author = git_commit_author(commit);
  checkout.author = clipped_line(author == nullptr ? "" : author->name);
  checkout.size_bytes = written.size_bytes;
  for (const std::string& path : written.submodules) {
    checkout.notices.push_back(
        "submodule '" + path +
        "' was left out: Atlasflow deploys the files of "
        "the repository itself; copy them in, or fetch them in the Dockerfile");
  }
  if (written.has_lfs_pointers) {
    checkout.notices.push_back(
        "files in Git LFS were left as pointers: their content is not fetched");
  }
  return checkout;
}

}  // namespace

Result<Checkout> check_out(const CheckoutRequest& request, std::stop_token stop) {
  if (auto valid = check(request); !valid) return tl::unexpected(valid.error());
  if (auto before = finished(request)) return *before;
  git::start_library();

  // The marker goes first and comes back last, so that a crash anywhere leaves no marker.
  std::error_code error;
  fs::remove(beside(request.folder, ".done"), error);
  if (!error) fs::create_directories(request.folder.parent_path(), error);
  if (!error) fs::remove_all(request.folder, error);
  if (error) {
    return fail(ErrorCode::internal, "cannot clear the checkout's folder", error.message());
  }
  const ScratchFolder objects(beside(request.folder, ".git"));
  const ScratchFolder part(beside(request.folder, ".part"));

  auto repository = make_repository(objects.path());
  if (!repository) return tl::unexpected(repository.error());
  git_oid id;
  git_oid_fromstr(&id, request.sha.c_str());
  FetchState state{.request = &request, .stop = &stop};
  auto commit = fetch_commit(repository->get(), id, state);
  if (!commit) return tl::unexpected(commit.error());

  git_tree* raw_tree = nullptr;
  if (git_commit_tree(&raw_tree, commit->get()) != 0) {
    return fail(ErrorCode::user_error,
                "commit " + request.sha +
                    " has no readable tree; run git fsck in "
                    "the repository",
                git::last_message());
  }
  const git::Tree tree(raw_tree);
  if (!fs::create_directories(part.path(), error)) {
    return fail(ErrorCode::internal, "cannot make the checkout's folder", error.message());
  }
  fs::permissions(part.path(), fs::perms(0755), error);
  auto written = write_tree(repository->get(), tree.get(), part.path(), request.limit_bytes, stop);
  if (!written) return tl::unexpected(written.error());
  auto checkout = describe(commit->get(), request, std::move(*written));
  if (!checkout) return checkout;
  if (!request.base_sha.empty()) {
    auto changed = changed_paths(repository->get(), request.base_sha, tree.get(), stop);
    if (!changed) return tl::unexpected(changed.error());
    checkout->changed_paths = std::move(*changed);
  }
  fs::rename(part.path(), request.folder, error);
  if (error) {
    return fail(ErrorCode::internal, "cannot put the checkout in place", error.message());
  }
  if (auto marked = write_marker(request, *checkout); !marked) {
    return tl::unexpected(marked.error());
  }
  return checkout;
}

}  // namespace atlasflow::builder
