#include "builder/source/checkout.hpp"

#include <algorithm>
#include <array>
#include <sstream>
#include <string_view>
#include <utility>

#include <nlohmann/json.hpp>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/digest.hpp"
#include "base/file.hpp"
#include "base/log.hpp"
#include "base/process_identity.hpp"
#include "builder/source/git_handles.hpp"
#include "builder/source/mirror.hpp"
#include "builder/source/repository_url.hpp"
#include "builder/source/submodules.hpp"
#include "builder/source/tree_changes.hpp"
#include "builder/source/tree_measure.hpp"
#include "builder/source/tree_writer.hpp"
#include "events/ssh_address.hpp"

namespace atlasflow::builder {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t k_subject_bytes_max = 200;
constexpr std::size_t k_message_bytes_max = 64U << 10U;
constexpr std::uint64_t k_inodes_left_free = 10'000;      // for builds, logs and VMs
constexpr std::uint64_t k_marker_bytes_max = 64U << 20U;  // it lists every path that changed

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

Result<void> check(const CheckoutRequest& request) {
  if (!is_sha(request.sha)) {
    return fail(ErrorCode::invalid_argument, "a commit is named by 40 lower-case hex digits");
  }
  if (!request.base_sha.empty() && !is_sha(request.base_sha)) {
    return fail(ErrorCode::invalid_argument, "the base is named by 40 lower-case hex digits");
  }
  const bool is_ssh = is_ssh_url(request.url);
  if (is_ssh) {
    if (const auto address = parsed_ssh_url(request.url); !address) {
      return fail(ErrorCode::invalid_argument,
                  "the repository's SSH URL can't be cloned: " + address.error().message);
    }
  } else if (!is_local(request.url) && !request.url.starts_with("https://") &&
             !request.url.starts_with("http://")) {
    return fail(ErrorCode::invalid_argument,
                "a repository's URL starts with https://, http://, ssh:// or file:///, or it is "
                "git@host:path or an absolute path");
  }
  if (!is_ssh && authority_of(request.url).find('@') != std::string_view::npos) {
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
nlohmann::json read_marker(const fs::path& folder, const std::string& sha) {
  std::error_code ignored;
  if (!fs::is_directory(fs::symlink_status(folder, ignored))) return {};
  const auto text = read_file(beside(folder, ".done"), k_marker_bytes_max);
  auto json = nlohmann::json::parse(text.value_or(""), nullptr, false);
  const bool counts = json.is_object() && json.value("boot", nlohmann::json()) == host_boot_id() &&
                      json.value("sha", nlohmann::json()) == sha;
  return counts ? json : nlohmann::json();
}

std::optional<Checkout> finished(const CheckoutRequest& request) {
  const auto json = read_marker(request.folder, request.sha);
  try {
    if (json.is_null() || json.at("base") != request.base_sha) return std::nullopt;
    std::optional<std::vector<std::string>> changed;
    if (const auto& paths = json.at("changed"); !paths.is_null()) changed = paths;
    return Checkout{request.sha,        json.at("subject"),    json.at("message"),
                    json.at("author"),  json.at("size_bytes"), json.at("notices"),
                    std::move(changed), json.at("source")};  // and nothing was received
  } catch (const nlohmann::json::exception&) {
    return std::nullopt;  // Written by another version: check out again.
  }
}

Result<void> write_marker(const CheckoutRequest& request, const Checkout& checkout) {
  nlohmann::json json = {{"sha", checkout.sha},
                         {"subject", checkout.subject},
                         {"message", checkout.message},
                         {"author", checkout.author},
                         {"size_bytes", checkout.size_bytes},
                         {"notices", checkout.notices},
                         {"source", checkout.source},
                         {"boot", host_boot_id()},
                         {"base", request.base_sha},
                         {"changed", nullptr}};
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

Result<Checkout> describe(git_commit* commit, const CheckoutRequest& request,
                          const WrittenTree& written) {
  std::array<char, GIT_OID_HEXSZ + 1> hex{};
  git_oid_tostr(hex.data(), hex.size(), git_commit_id(commit));
  if (request.sha != hex.data()) {
    return fail(ErrorCode::internal,
                "commit " + request.sha + " was asked for and " + hex.data() + " was fetched");
  }
  Checkout checkout;
  checkout.sha = request.sha;
  checkout.subject = clipped_line(git_commit_summary(commit));
  const char* message = git_commit_message(commit);
  checkout.message = std::string(message == nullptr ? "" : message).substr(0, k_message_bytes_max);
  const git_signature* author = git_commit_author(commit);
  checkout.author = clipped_line(author == nullptr ? "" : author->name);
  checkout.size_bytes = written.size_bytes;
  return checkout;
}

// The three lines of a pointer in place of a picture make a deployment that is green and broken.
std::string lfs_notice(std::uint64_t count, const std::vector<std::string>& names) {
  std::string list;
  for (const auto& name : names) list += (list.empty() ? "" : ", ") + name.substr(0, 200);
  const bool is_one = count == 1;
  return std::to_string(count) + (is_one ? " file is" : " files are") + " in Git LFS and came as " +
         (is_one ? "a pointer" : "pointers") + ", without content: " + list +
         (count > names.size() ? ", …" : "") +
         "; keep what the app needs in git itself, or fetch it in the Dockerfile";
}

// A disk without inodes has room and takes no file.
Result<void> check_disk(const fs::path& folder, const TreeMeasure& measure) {
  struct statvfs disk {};
  if (::statvfs(folder.c_str(), &disk) != 0) return {};
  const bool counts_inodes = disk.f_files > 0;
  if (counts_inodes && measure.entries + k_inodes_left_free > disk.f_favail) {
    return fail(ErrorCode::unavailable, "the commit has " + std::to_string(measure.entries) +
                                            " files, and the disk of the checkouts has room for " +
                                            std::to_string(disk.f_favail) +
                                            " (its inodes): remove files, or use another disk");
  }
  const auto free_bytes = static_cast<std::uint64_t>(disk.f_bavail) * disk.f_frsize;
  if (measure.size_bytes > free_bytes) {
    return fail(ErrorCode::unavailable, "the commit's files have " +
                                            std::to_string(measure.size_bytes >> 20U) +
                                            " MiB, and the disk of the checkouts has " +
                                            std::to_string(free_bytes >> 20U) + " MiB free");
  }
  return {};
}

// What was made of the commit's own files, whose submodules are empty folders yet.
struct OwnFiles {
  Checkout checkout;
  WrittenTree written;
  std::string tree;  // its name
};

Result<OwnFiles> write_own_files(git_repository* repository, git_commit* commit,
                                 const git_tree* tree, const CheckoutRequest& request,
                                 const fs::path& part, const std::stop_token& stop) {
  ATLAS_TRY(const auto measure, measure_tree(repository, tree, request.limit_bytes, stop));
  ATLAS_TRYV(check_disk(part, measure));
  ATLAS_TRY(auto written, write_tree(repository, tree, part, request.limit_bytes, stop));
  ATLAS_TRY(auto checkout, describe(commit, request, written));
  std::array<char, GIT_OID_HEXSZ + 1> name{};
  git_oid_tostr(name.data(), name.size(), git_tree_id(tree));
  return OwnFiles{std::move(checkout), std::move(written), name.data()};
}

// The submodules' files into `part`, and what there is to say of all.
Result<Checkout> add_submodules(OwnFiles own, const CheckoutRequest& request, const fs::path& part,
                                const std::stop_token& stop) {
  auto& [checkout, written, tree] = own;
  ATLAS_TRY(
      const auto others,
      fetch_submodules({request.url, part, beside(request.folder, ".submodule"), written.submodules,
                        request.limit_bytes - written.size_bytes,
                        k_tree_entries_max - written.entries, request.credential, request.host_key},
                       stop));
  checkout.size_bytes += others.size_bytes;
  checkout.notices = others.notices;
  // A submodule's commit is part of the tree; whether it could be had is not.
  std::string left_out;
  for (const auto& notice : others.notices) left_out += notice + "\n";
  checkout.source = tree + " " + sha256_hex(left_out);
  auto pointers = written.lfs_pointers;
  pointers.insert(pointers.end(), others.lfs_pointers.begin(), others.lfs_pointers.end());
  if (const auto count = written.lfs_pointer_count + others.lfs_pointer_count; count > 0) {
    checkout.notices.push_back(lfs_notice(count, pointers));
  }
  return std::move(checkout);
}

// The commit, fetched into the repository, as files in `part`.
Result<OwnFiles> take_commit(git_repository* repository, const CheckoutRequest& request,
                             const fs::path& part, FetchReport& report,
                             const std::stop_token& stop) {
  ATLAS_TRY(auto commit, fetch_commit(repository,
                                      {request.url, request.sha, request.ref, request.credential,
                                       request.host_key, request.limit_bytes, request.progress},
                                      stop, &report));
  git_tree* raw_tree = nullptr;
  if (git_commit_tree(&raw_tree, commit.get()) != 0) {
    report.is_fetched = false;
    return fail(ErrorCode::user_error,
                "commit " + request.sha +
                    " has no readable tree; run git fsck in "
                    "the repository",
                git::last_message());
  }
  const git::Tree tree(raw_tree);
  std::error_code error;
  if (!fs::create_directories(part, error)) {
    return fail(ErrorCode::internal, "cannot make the checkout's folder", error.message());
  }
  fs::permissions(part, fs::perms(0755), error);
  ATLAS_TRY(auto own, write_own_files(repository, commit.get(), tree.get(), request, part, stop));
  if (!request.base_sha.empty()) {
    ATLAS_TRY(auto changed, changed_paths(repository, request.base_sha, tree.get(), stop));
    own.checkout.changed_paths = std::move(changed);
  }
  own.checkout.received_objects = report.objects;
  own.checkout.received_bytes = report.bytes;
  return own;
}

// Whether an object that is lost or broken on our side may be why. Where the commit is there, what
// it names may be missing (user_error, as in a repository that lacks it) or not to be read.
bool may_be_of_the_mirror(const Error& error, const FetchReport& report) {
  if (report.is_fetched) {
    return error.code == ErrorCode::internal || error.code == ErrorCode::user_error;
  }
  const bool has_another_reason = error.code == ErrorCode::cancelled ||
                                  error.code == ErrorCode::too_large || report.is_of_the_remote;
  return !has_another_reason;
}

// Nobody else has the mirror meanwhile, so submodules are not fetched here.
Result<OwnFiles> take_by_mirror(const CheckoutRequest& request, const fs::path& part,
                                const std::stop_token& stop) {
  ATLAS_TRY(auto mirror, Mirror::open(request.mirror, request.mirror_owner, request.url, stop));
  FetchReport report;
  auto own = take_commit(mirror.repository(), request, part, report, stop);
  if (own || mirror.is_new() || !may_be_of_the_mirror(own.error(), report)) return own;
  log_event(LogLevel::warn, "builder", "mirror_renewed",
            {{"path", request.mirror.string()}, {"reason", to_string(own.error())}});
  ATLAS_TRYV(mirror.renew());
  std::error_code error;
  fs::remove_all(part, error);
  return take_commit(mirror.repository(), request, part, report, stop);
}

}  // namespace

Result<Checkout> check_out(const CheckoutRequest& request, const std::stop_token& stop) {
  ATLAS_TRYV(check(request));
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
  const ScratchFolder submodule(beside(request.folder, ".submodule"));

  Result<OwnFiles> own;
  if (request.mirror.empty()) {
    ATLAS_TRY(auto repository, git::make_repository(objects.path()));
    FetchReport report;
    own = take_commit(repository.get(), request, part.path(), report, stop);
  } else {
    own = take_by_mirror(request, part.path(), stop);
  }
  if (!own) return tl::unexpected(own.error());
  auto checkout = add_submodules(std::move(*own), request, part.path(), stop);
  if (!checkout) return checkout;
  fs::rename(part.path(), request.folder, error);
  if (error) {
    return fail(ErrorCode::internal, "cannot put the checkout in place", error.message());
  }
  ATLAS_TRYV(write_marker(request, *checkout));
  return checkout;
}

std::string source_of(const fs::path& folder, const std::string& sha) {
  const auto marker = read_marker(folder, sha);
  if (marker.is_null()) return {};
  const auto found = marker.find("source");
  return found != marker.end() && found->is_string() ? found->get<std::string>() : std::string();
}

}  // namespace atlasflow::builder
