#include "github/repository.hpp"

#include <algorithm>

namespace atlasflow::github {
namespace {

using Json = nlohmann::json;

constexpr const char* k_remembered = "repository";
constexpr std::size_t k_sha_digits = 40;

bool is_sha(const std::string& text) {
  return text.size() == k_sha_digits &&
         text.find_first_not_of("0123456789abcdef") == std::string::npos;
}

// {"object":{"sha":"…"}}; empty when there is none.
std::string sha_in(const Json& ref) {
  const auto object = ref.is_object() ? ref.find("object") : ref.end();
  if (!ref.is_object() || object == ref.end() || !object->is_object()) return {};
  const auto sha = object->find("sha");
  if (sha == object->end() || !sha->is_string()) return {};
  const auto& text = sha->get_ref<const std::string&>();
  return is_sha(text) ? text : std::string{};
}

// A branch may have nearly any byte in its name (git-check-ref-format).
std::string encoded(const std::string& branch) {
  static constexpr std::string_view k_digits = "0123456789ABCDEF";
  static constexpr std::string_view k_plain =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~/";
  std::string text;
  for (const char c : branch) {
    if (k_plain.find(c) != std::string_view::npos) {
      text += c;
      continue;
    }
    const auto byte = static_cast<unsigned char>(c);
    text += '%';
    text += k_digits[byte >> 4U];
    text += k_digits[byte & 15U];
  }
  return text;
}

tl::unexpected<Error> refused(const RepositoryName& name, const ApiResponse& response) {
  if (response.status == 404) {
    return fail(ErrorCode::not_found, "GitHub has no repository " + name.str() +
                                          " that the App may see: it was deleted, or taken out of "
                                          "the App's installation");
  }
  if (response.status == 403 || response.status == 451) {
    return fail(ErrorCode::user_error,
                "GitHub does not let the App see " + name.str() + " (status " +
                    std::to_string(response.status) +
                    "); see the App's permissions and the repository's page",
                response.message);
  }
  return fail(ErrorCode::unavailable,
              "GitHub answered the request for " + name.str() + " with status " +
                  std::to_string(response.status) + "; it is asked again later",
              response.message);
}

}  // namespace

Result<Repository> repository_of(AppClient& app, const RepositoryName& name,
                                 const std::stop_token& stop) {
  ATLAS_TRY(const auto response,
            app.send_for(name, clone_permissions(),
                         {.path = "/repos/" + name.str(), .remember_as = k_remembered}, stop));
  if (response.status != 200) return refused(name, response);
  try {
    Repository repository;
    repository.id = response.json.at("id");
    repository.default_branch = response.json.at("default_branch");
    const auto full_name = repository_name(response.json.at("full_name").get<std::string>());
    if (!full_name || repository.id <= 0) return refused(name, response);
    repository.name = *full_name;
    return repository;
  } catch (const Json::exception&) {
    return refused(name, response);
  }
}

Result<std::string> head_of(AppClient& app, const RepositoryName& name, const std::string& branch,
                            const std::stop_token& stop) {
  ATLAS_TRY(const auto response,
            app.send_for(name, clone_permissions(),
                         {.path = "/repos/" + name.str() + "/git/ref/heads/" + encoded(branch),
                          .remember_as = k_remembered},
                         stop));
  // 409: the repository has no commit yet.
  if (response.status == 404 || response.status == 409) return std::string();
  if (response.status != 200) return refused(name, response);
  auto head = sha_in(response.json);
  if (head.empty()) return refused(name, response);
  return head;
}

}  // namespace atlasflow::github
