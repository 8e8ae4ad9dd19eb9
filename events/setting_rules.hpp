// What the texts among the settings must be. Each says what is wrong with a text, to be put behind
// the setting's name, or nothing when it is right. Pure; internal to events/.
#pragma once

#include <string>

namespace atlasflow {

[[nodiscard]] std::string health_path_rule(const std::string& path);
[[nodiscard]] std::string app_protocol_rule(const std::string& protocol);
// Of a folder or file in the repository; empty is right.
[[nodiscard]] std::string path_rule(const std::string& path);
// Of the Dockerfile: below the root folder, or with '/' before it below the repository's root.
[[nodiscard]] std::string dockerfile_rule(const std::string& path);
// Of a folder or page of a static site, "." for all of it; becomes a word of a build step. Empty is
// right.
[[nodiscard]] std::string site_rule(const std::string& path);
// Of a Dockerfile's stage; empty is right.
[[nodiscard]] std::string target_rule(const std::string& target);
[[nodiscard]] std::string command_rule(const std::string& command);
// Of one that becomes an instruction of a Dockerfile: one line as well; empty is right.
[[nodiscard]] std::string command_line_rule(const std::string& command);
// What visitors read; empty is right.
[[nodiscard]] std::string message_rule(const std::string& message);
// Without credentials, which would be shown to everybody who may see the settings; empty is right.
[[nodiscard]] std::string url_rule(const std::string& url);
// As the log has a domain: lower case, A-labels. Empty: none.
[[nodiscard]] std::string domain_rule(const std::string& domain);
// As builder/source/watch_paths.hpp understands it.
[[nodiscard]] std::string glob_rule(const std::string& glob);

}  // namespace atlasflow
