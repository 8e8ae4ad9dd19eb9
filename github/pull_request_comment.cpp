#include "github/pull_request_comment.hpp"

#include "github/refusal.hpp"

namespace atlasflow::github {
namespace {

using Json = nlohmann::json;

constexpr int k_pages_max = 10;  // of 100 comments

// Markdown shows nothing of it.
std::string hidden_mark(const std::string& mark) {
  return "<!-- atlasflow preview " + mark + " -->";
}

tl::unexpected<Error> refused(const RepositoryName& repository, const ApiResponse& response) {
  return refusal({"comment on pull requests of", "Pull requests"}, "a pull request's comment",
                 repository, response);
}

// Anybody may write the mark; who wrote it, GitHub tells.
bool is_ours(const Json& comment, std::int64_t app_id, const std::string& mark) {
  if (!comment.is_object() || !comment.contains("body") || !comment["body"].is_string())
    return false;
  const auto by = comment.find("performed_via_github_app");
  return by != comment.end() && id_in(*by) == app_id &&
         comment["body"].get<std::string>().find(mark) != std::string::npos;
}

// 0: there is none.
Result<std::int64_t> find_comment(AppClient& app, const RepositoryName& repository,
                                  const PullRequestComment& comment, const std::stop_token& stop) {
  const auto mark = hidden_mark(comment.mark);
  std::string path = "/repos/" + repository.str() + "/issues/" +
                     std::to_string(comment.pull_request) + "/comments?per_page=100";
  for (int page = 0; page < k_pages_max && !path.empty(); ++page) {
    ATLAS_TRY(const auto response,
              app.send_for(repository, comment_permissions(), {.path = path}, stop));
    if (response.status != 200) return refused(repository, response);
    for (const auto& each : response.json) {
      if (is_ours(each, app.app_id(), mark)) return id_in(each);
    }
    path = response.next;
  }
  return 0;
}

}  // namespace

const Permissions& comment_permissions() {
  static const Permissions k_permissions = {{"pull_requests", "write"}};
  return k_permissions;
}

Result<std::int64_t> put_comment(AppClient& app, const RepositoryName& repository,
                                 const PullRequestComment& comment, std::int64_t known,
                                 const std::stop_token& stop) {
  ApiRequest request;
  request.body = Json{{"body", hidden_mark(comment.mark) + "\n" + comment.text}};
  const auto comments = "/repos/" + repository.str() + "/issues";
  if (known == 0) {
    ATLAS_TRY(known, find_comment(app, repository, comment, stop));
  }
  if (known != 0) {
    request.method = "PATCH";
    request.path = comments + "/comments/" + std::to_string(known);
    ATLAS_TRY(const auto edited, app.send_for(repository, comment_permissions(), request, stop));
    if (edited.status == 200) return known;
    if (edited.status != 404 && edited.status != 410) return refused(repository, edited);
  }
  request.method = "POST";
  request.path = comments + "/" + std::to_string(comment.pull_request) + "/comments";
  ATLAS_TRY(const auto made, app.send_for(repository, comment_permissions(), request, stop));
  if (made.status == 201 && id_in(made.json) > 0) return id_in(made.json);
  return refused(repository, made);
}

std::string plain_markdown(const std::string& text) {
  std::string plain;
  for (const char c : text) {
    const bool is_control = static_cast<unsigned char>(c) < 0x20 || c == 0x7f;
    if (is_control) {
      plain += ' ';
    } else if (std::string_view("\\`*_{}[]<>()#+!|~&@:/").find(c) != std::string_view::npos) {
      // As a character reference, nothing is made of it.
      plain += "&#" + std::to_string(static_cast<int>(c)) + ";";
    } else {
      plain += c;
    }
  }
  return plain;
}

}  // namespace atlasflow::github
