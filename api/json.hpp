// The API's JSON: the read model's views and the log's events as clients see them (docs/api.md),
// and a reader of request bodies that names what is wrong. Pure, any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

#include "base/error.hpp"
#include "storage/log/event_log.hpp"
#include "storage/readmodel/catalog.hpp"

namespace atlasflow::api {

using Json = nlohmann::ordered_json;  // for output: members keep the order in which they were set
// For input: members are found in logarithmic time, however many a client sends.
using ParsedJson = nlohmann::json;

// Where deployed projects are reached.
struct PublicAddress {
  std::string domain;
  std::uint16_t https_port = 443;

  [[nodiscard]] std::string url_of_host(const std::string& host) const;
  [[nodiscard]] std::string url_of(const std::string& project) const;
  // Where the project is pushed to, if the server keeps its repository.
  [[nodiscard]] std::string git_push_url_of(const std::string& project) const;
};

[[nodiscard]] Json json_of(const storage::DeploymentView& view, const PublicAddress& address);
[[nodiscard]] Json json_of(const storage::ProjectView& view, const storage::Catalog& catalog,
                           const PublicAddress& address);
// {"public_key","fingerprint"}
[[nodiscard]] Json deploy_key_json_of(const ProjectState& state);
// {"variables":[{"name","digest","set_at_us"}]}
[[nodiscard]] Json env_json_of(const storage::ProjectView& view);
// {"secrets":[{"name","digest","set_at_us"}]}
[[nodiscard]] Json build_secrets_json_of(const storage::ProjectView& view);

// One event as a line of application/x-ndjson, its line feed included. `data` is Protobuf's JSON of
// the event: snake_case names, 64-bit integers as strings, defaults written out.
[[nodiscard]] std::string event_line(const storage::Record& record);

// As text with a line feed; bytes that are no UTF-8 become U+FFFD.
[[nodiscard]] std::string text_of(const Json& json);

// A JSON object of at most 64 levels; invalid_argument says what is wrong with `what`.
[[nodiscard]] Result<ParsedJson> parsed_object(std::string_view text, std::string_view what);

// Members of an object by name; absent and null are the same. invalid_argument names the member's
// path and the type it must have.
class Members {
 public:
  explicit Members(const ParsedJson& object, std::string path = {})
      : object_(object), path_(std::move(path)) {}

  [[nodiscard]] Result<std::optional<std::string>> string(const char* name) const;
  [[nodiscard]] Result<std::string> required_string(const char* name) const;
  [[nodiscard]] Result<std::optional<bool>> boolean(const char* name) const;
  [[nodiscard]] Result<std::optional<std::int64_t>> integer(const char* name) const;
  // nullptr when absent; it lives as long as the object.
  [[nodiscard]] Result<const ParsedJson*> object(const char* name) const;
  [[nodiscard]] std::string path_of(const char* name) const;

 private:
  [[nodiscard]] const ParsedJson* find(const char* name) const;
  [[nodiscard]] tl::unexpected<Error> wrong_type(const char* name, const char* wanted) const;

  const ParsedJson& object_;
  std::string path_;
};

}  // namespace atlasflow::api
