// The parts of a repository's URL that decide what may be fetched. Internal to builder/; pure, any
// thread.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace atlasflow::builder {

// The part between "//" and the next "/"; empty for a path.
[[nodiscard]] std::string_view authority_of(std::string_view url);

// A repository on this machine: file:///x, or an absolute path.
[[nodiscard]] bool is_local(std::string_view url);
[[nodiscard]] bool is_loopback(std::string_view authority);

// Where a submodule is to be fetched from, which the commit says and the pusher chose: `written` is
// a URL, or a path that starts with ./ or ../ and is relative to `parent`. nullopt when that is no
// place that deploying `parent` reaches anyway: another host or port, another protocol (an SSH URL
// of the same host is taken as the https URL of it; beside an SSH parent an https URL of its host
// stays one), or, on this machine, another folder than the one in which `parent` lies.
[[nodiscard]] std::optional<std::string> submodule_url(std::string_view parent,
                                                       std::string_view written);

}  // namespace atlasflow::builder
