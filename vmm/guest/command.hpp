// The image's command: found as execvp finds it, and, when it cannot be run, the reason in the
// words of who wrote the Dockerfile. Looks at files of the running root; built for the guest and
// the tests.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace atlasflow::vmm::guest {

// The file that the name stands for: itself when it holds a '/', else the first that may be
// executed in a folder of path ("/usr/bin:/bin"), else the first that is there. Empty: there is
// none.
[[nodiscard]] std::string find_command(const std::string& name, std::string_view path);

// Why the kernel does not run that file, whose exec ended with that error (errno), as a sentence.
// `file` is what find_command gave.
[[nodiscard]] std::string why_not_run(const std::string& name, const std::string& file, int error);

// Known before it is run: a script for /usr/bin/env whose line ends with CR, so that env looks for
// "node\r". Empty: nothing is known against it.
[[nodiscard]] std::string known_to_fail(const std::string& name, const std::string& file);

// Its bytes are a program's of any kind, not a text: a shell must not be tried on it.
[[nodiscard]] bool is_binary(const std::string& file);

// What lies behind an exit code 126 or 127 of `sh -c COMMAND` that ran in workdir: the reason for
// the command's first word. Empty when the arguments are no such shell, or the word can be run.
[[nodiscard]] std::string why_shell_failed(const std::vector<std::string>& args, int exit_code,
                                           std::string_view path, const std::string& workdir);

}  // namespace atlasflow::vmm::guest
