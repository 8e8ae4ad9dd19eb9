// A GitHub on loopback, a process of its own (local_github.py): started with the object, ended with
// it. Its App has a key of its own; its repositories are real and served by git's http-backend.
#pragma once

#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "base/secret.hpp"
#include "github/address.hpp"

namespace atlasflow::github {

class LocalGitHub {
 public:
  static constexpr std::int64_t k_app_id = 12345;
  static constexpr const char* k_webhook_secret = "It's a Secret to Everybody";

  // With the private repositories octo/web (id 7) and octo/api (id 8) in installation 42, and the
  // public octo/site (id 9) without one. Their Git repositories are made by make_repository.
  LocalGitHub();
  ~LocalGitHub();
  LocalGitHub(const LocalGitHub&) = delete;
  LocalGitHub& operator=(const LocalGitHub&) = delete;

  [[nodiscard]] std::string base_url() const;
  [[nodiscard]] Address address() const { return *address_of(base_url()); }
  [[nodiscard]] const std::string& private_key() const { return private_key_; }

  // "octo/web" with one commit of a file; returns its SHA.
  std::string make_repository(const std::string& full_name) const;

  // Changes the world behind the API; see control() in local_github.py.
  void control(const nlohmann::json& order) const;
  // The next requests of that path (a regular expression) are answered so.
  void fail_next(const std::string& path, int status,
                 nlohmann::json headers = nlohmann::json::object(),
                 nlohmann::json body = nlohmann::json::object(), int times = 1) const;

  // As GitHub writes a time.
  [[nodiscard]] static std::string time_before_now(std::int64_t seconds);

  struct Asked {
    std::string method;
    std::string path;
    std::string body;
    bool conditional = false;
  };
  [[nodiscard]] std::vector<Asked> asked() const;
  [[nodiscard]] std::size_t count_of(const std::string& method, const std::string& path_end) const;
  // {"id","repository","sha","environment","production","transient","payload","statuses"} each, as
  // they were asked for.
  [[nodiscard]] nlohmann::json deployments() const;
  // {"repository","sha","state","context","target_url","description"} each, oldest first.
  [[nodiscard]] nlohmann::json commit_statuses() const;
  // {"id","repository","issue","body","app","edits"} each, as they are by now.
  [[nodiscard]] nlohmann::json comments() const;
  // Every token that was minted.
  [[nodiscard]] std::vector<std::string> tokens() const;
  // What was wrong with the requests in GitHub's eyes; a test ends with none.
  [[nodiscard]] std::vector<std::string> violations() const;

 private:
  std::filesystem::path folder_;
  std::string private_key_;
  std::unique_ptr<std::FILE, int (*)(std::FILE*)> process_;
  std::uint16_t port_ = 0;
};

}  // namespace atlasflow::github
