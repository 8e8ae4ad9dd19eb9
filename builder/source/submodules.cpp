#include "builder/source/submodules.hpp"

#include <algorithm>
#include <optional>
#include <utility>

#include <sys/stat.h>

#include "builder/source/fetch.hpp"
#include "builder/source/repository_url.hpp"
#include "builder/source/source_file.hpp"
#include "builder/source/tree_measure.hpp"
#include "events/ssh_address.hpp"

namespace atlasflow::builder {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t k_gitmodules_bytes_max = 256U << 10U;
constexpr std::size_t k_submodules_max = 32;
constexpr std::size_t k_notices_max = 10;
constexpr int k_depth_max = 3;

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view k_spaces = " \t\r";
  const auto start = text.find_first_not_of(k_spaces);
  if (start == std::string_view::npos) return {};
  return text.substr(start, text.find_last_not_of(k_spaces) - start + 1);
}

// A value of git's configuration: quotes, escapes, and comments outside of quotes.
std::string value_in(std::string_view text) {
  std::string out;
  bool quoted = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '\\' && i + 1 < text.size()) {
      out += text[++i];
    } else if (c == '"') {
      quoted = !quoted;
    } else if (!quoted && (c == '#' || c == ';')) {
      break;
    } else {
      out += c;
    }
  }
  return std::string(trimmed(out));
}

// Whoever pushes names the submodule: another user's repository is not theirs to read.
bool has_same_owner(const std::string& one, const std::string& other) {
  const auto owner = [](std::string path) -> std::optional<uid_t> {
    if (path.starts_with("file://")) path.erase(0, std::string_view("file://").size());
    struct stat status {};
    if (::stat(path.c_str(), &status) != 0) return std::nullopt;
    return status.st_uid;
  };
  const auto first = owner(one);
  return first && first == owner(other);
}

class Fetcher {
 public:
  Fetcher(const SubmoduleRequest& request, const std::stop_token& stop)
      : request_(request),
        stop_(stop),
        left_bytes_(request.limit_bytes),
        left_entries_(request.limit_entries) {}

  Result<SubmoduleResult> run() {
    ATLAS_TRYV(fetch_all(request_.parent_url, {}, request_.places, 1));
    if (left_out_ > k_notices_max) {
      result_.notices.push_back(std::to_string(left_out_ - k_notices_max) +
                                " more submodules were left out");
    }
    return std::move(result_);
  }

 private:
  // `prefix`: of the repository in the checkout, "" or "vendor/x".
  Result<void> fetch_all(const std::string& parent_url, const std::string& prefix,
                         const std::vector<SubmodulePlace>& places, int depth) {
    if (places.empty()) return {};
    const auto text =
        read_source_file(request_.tree / prefix, ".gitmodules", k_gitmodules_bytes_max);
    const auto urls =
        text && *text ? read_gitmodules(**text) : std::map<std::string, std::string>{};
    for (const auto& place : places) {
      const auto path = prefix.empty() ? place.path : prefix + "/" + place.path;
      const auto found = urls.find(place.path);
      if (found == urls.end()) {
        leave_out(path, "", ".gitmodules does not say where it is");
        continue;
      }
      const auto url = submodule_url(parent_url, found->second);
      const bool may_read = url && (!is_local(*url) || has_same_owner(request_.parent_url, *url));
      if (!may_read) {
        leave_out(path, found->second,
                  is_local(parent_url) ? "it is not beside the repository, with the same owner"
                                       : "it is not on the same host as the repository");
        continue;
      }
      if (depth > k_depth_max || ++count_ > k_submodules_max) {
        leave_out(path, *url, "there are more than 32, or they are nested more than three deep");
        continue;
      }
      if (auto done = fetch_one(*url, place.sha, path, depth); !done) return done;
    }
    return {};
  }

  Result<void> fetch_one(const std::string& url, const std::string& sha, const std::string& path,
                         int depth) {
    std::error_code ignored;
    fs::remove_all(request_.objects, ignored);
    ATLAS_TRY(auto objects, git::make_repository(request_.objects));
    auto written = write_one(objects.get(), url, sha, path);
    objects.reset();
    fs::remove_all(request_.objects, ignored);
    if (!written) {
      const auto code = written.error().code;
      if (code != ErrorCode::user_error && code != ErrorCode::not_found) {
        return tl::unexpected(written.error());
      }
      leave_out(path, url, written.error().message);
      return {};
    }
    result_.size_bytes += written->size_bytes;
    left_bytes_ -= std::min(left_bytes_, written->size_bytes);
    result_.lfs_pointer_count += written->lfs_pointer_count;
    for (const auto& pointer : written->lfs_pointers) {
      result_.lfs_pointers.push_back(path);
      result_.lfs_pointers.back().append("/").append(pointer);
    }
    return fetch_all(url, path, written->submodules, depth + 1);
  }

  Result<WrittenTree> write_one(git_repository* objects, const std::string& url,
                                const std::string& sha, const std::string& path) {
    FetchOrder order;
    order.url = url;
    order.sha = sha;
    order.limit_bytes = left_bytes_;
    if (is_ssh_url(url)) {
      order.credential = request_.credential;
      order.host_key = request_.host_key;
    }
    ATLAS_TRY(auto commit, fetch_commit(objects, order, stop_));
    git_tree* raw = nullptr;
    if (git_commit_tree(&raw, commit.get()) != 0) {
      return fail(ErrorCode::user_error, "commit " + sha + " has no readable tree");
    }
    const git::Tree tree(raw);
    ATLAS_TRY(const auto measure, measure_tree(objects, tree.get(), left_bytes_, stop_));
    if (measure.entries > left_entries_) {
      return fail(ErrorCode::too_large, "the commit and its submodules have more than " +
                                            std::to_string(k_tree_entries_max) + " files");
    }
    left_entries_ -= measure.entries;
    return write_tree(objects, tree.get(), request_.tree / path, left_bytes_, stop_);
  }

  void leave_out(const std::string& path, const std::string& url, const std::string& why) {
    if (++left_out_ > k_notices_max) return;
    result_.notices.push_back("submodule '" + path + "'" +
                              (url.empty() ? "" : " (" + without_password(url) + ")") +
                              " was left out, its folder is empty: " + why +
                              "; copy its files in, or fetch them in the Dockerfile");
  }

  static std::string without_password(const std::string& url) {
    const auto authority = authority_of(url);
    const auto at = authority.rfind('@');
    if (at == std::string_view::npos) return url.substr(0, 200);
    const auto start = static_cast<std::size_t>(authority.data() - url.data());
    return (url.substr(0, start) + "…" + url.substr(start + at)).substr(0, 200);
  }

  const SubmoduleRequest& request_;
  const std::stop_token& stop_;
  std::uint64_t left_bytes_;
  std::uint64_t left_entries_;
  std::size_t count_ = 0;
  std::size_t left_out_ = 0;
  SubmoduleResult result_;
};

}  // namespace

std::map<std::string, std::string> read_gitmodules(std::string_view text) {
  std::map<std::string, std::string> urls;
  std::string path;
  std::string url;
  const auto take = [&] {
    if (!path.empty() && !url.empty()) urls.emplace(std::move(path), std::move(url));
    path.clear();
    url.clear();
  };
  while (!text.empty()) {
    const auto end = std::min(text.find('\n'), text.size());
    const auto line = trimmed(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.starts_with('[')) {
      take();
      continue;
    }
    const auto equals = line.find('=');
    if (equals == std::string_view::npos) continue;
    std::string key(trimmed(line.substr(0, equals)));
    std::transform(key.begin(), key.end(), key.begin(),
                   [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c; });
    if (key == "path") path = value_in(line.substr(equals + 1));
    if (key == "url") url = value_in(line.substr(equals + 1));
  }
  take();
  return urls;
}

Result<SubmoduleResult> fetch_submodules(const SubmoduleRequest& request,
                                         const std::stop_token& stop) {
  return Fetcher(request, stop).run();
}

}  // namespace atlasflow::builder
