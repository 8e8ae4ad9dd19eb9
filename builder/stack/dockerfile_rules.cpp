#include "builder/stack/dockerfile_rules.hpp"

#include <algorithm>
#include <array>
#include <set>
#include <string_view>

#include "builder/stack/dockerfile_variables.hpp"

namespace atlasflow::builder {
namespace {

enum class Value { needed, flag };  // "--from=x", or "--link" and "--link=true"

struct KnownFlag {
  std::string_view instruction;
  std::string_view name;
  Value value = Value::needed;
  bool may_repeat = false;
};

constexpr KnownFlag k_flags[] = {
    {"FROM", "--platform"},
    {"COPY", "--from"},
    {"COPY", "--chown"},
    {"COPY", "--chmod"},
    {"COPY", "--link", Value::flag},
    {"COPY", "--parents", Value::flag},
    {"COPY", "--exclude", Value::needed, true},
    {"ADD", "--chown"},
    {"ADD", "--chmod"},
    {"ADD", "--checksum"},
    {"ADD", "--link", Value::flag},
    {"ADD", "--keep-git-dir", Value::flag},
    {"ADD", "--unpack", Value::flag},
    {"ADD", "--exclude", Value::needed, true},
    {"RUN", "--mount", Value::needed, true},
    {"RUN", "--network"},
    {"RUN", "--security"},
    {"RUN", "--device", Value::needed, true},
    {"HEALTHCHECK", "--interval"},
    {"HEALTHCHECK", "--timeout"},
    {"HEALTHCHECK", "--start-period"},
    {"HEALTHCHECK", "--start-interval"},
    {"HEALTHCHECK", "--retries"},
};

constexpr std::array<std::string_view, 26> k_mount_keys = {
    "type",        "from",      "source", "src",       "target",  "dst",
    "destination", "readonly",  "ro",     "readwrite", "rw",      "id",
    "sharing",     "required",  "size",   "mode",      "uid",     "gid",
    "env",         "z",         "Z",      "u",         "relabel", "bind-propagation",
    "tmpfs-size",  "tmpfs-mode"};
constexpr std::array<std::string_view, 5> k_mount_types = {"bind", "cache", "tmpfs", "secret",
                                                           "ssh"};

const KnownFlag* known(const Instruction& instruction, std::string_view name) {
  const auto* found = std::find_if(std::begin(k_flags), std::end(k_flags), [&](const auto& each) {
    return each.instruction == instruction.name && each.name == name;
  });
  return found == std::end(k_flags) ? nullptr : found;
}

std::string type_of(const std::vector<MountOption>& options) {
  const auto type = mount_option(options, "type");
  return type.empty() ? "bind" : type;
}

bool is_required(const std::vector<MountOption>& options) {
  return std::any_of(options.begin(), options.end(), [](const auto& option) {
    return option.key == "required" && (option.value.empty() || lower_case(option.value) == "true");
  });
}

Result<void> check_mount(int line, std::string_view value) {
  const auto options = mount_options(value);
  const auto type = type_of(options);
  const auto named = "RUN --mount=" + std::string(value) + ": ";
  if (std::find(k_mount_types.begin(), k_mount_types.end(), type) == k_mount_types.end()) {
    return wrong_line(line, named + "there is no mount of type '" + type +
                                "'; there are bind, cache, tmpfs, secret and ssh");
  }
  for (const auto& option : options) {
    if (std::find(k_mount_keys.begin(), k_mount_keys.end(), option.key) == k_mount_keys.end()) {
      return wrong_line(line, named + "there is no option '" + option.key + "'");
    }
  }
  const bool has_target = !mount_option(options, "target").empty();
  if (!has_target && type != "secret" && type != "ssh") {
    return wrong_line(line, named + "it needs target=PATH");
  }
  if (type == "ssh" && is_required(options)) {
    return wrong_line(line, named +
                                "a build is given no SSH agent; take required away, or give the "
                                "key as a build secret");
  }
  const auto secret = secret_mount(options);
  if (secret && secret->name.empty()) return wrong_line(line, named + "it needs id=NAME");
  return {};
}

Result<void> check_run_flag(int line, const InstructionFlag& flag) {
  if (flag.name() == "--mount") return check_mount(line, flag.value());
  if (flag.name() == "--device") {
    return wrong_line(line, "RUN --device is not supported: a build has no devices");
  }
  if (flag.name() == "--security" && flag.value() != "sandbox") {
    return wrong_line(line, "RUN --security=" + std::string(flag.value()) +
                                " is not allowed: a build has no more rights than sandbox");
  }
  if (flag.name() == "--network" && flag.value() != "default" && flag.value() != "none") {
    return wrong_line(line, "RUN --network=" + std::string(flag.value()) +
                                " is not allowed; there are default and none");
  }
  return {};
}

Result<void> check_ports(const Instruction& instruction, char escape) {
  for (const auto& word : split_words(instruction.arguments, escape)) {
    if (word.find_first_of("$\"'") != std::string::npos) continue;  // buildah puts the value in.
    const auto slash = word.find('/');
    const auto protocol = slash == std::string::npos ? "tcp" : lower_case(word.substr(slash + 1));
    const auto range = word.substr(0, slash);
    const auto dash = range.find('-');
    const auto first = whole_number(range.substr(0, dash));
    const auto last = dash == std::string::npos ? first : whole_number(range.substr(dash + 1));
    if (!first || !last || *first < 1 || *last > 65535 || *last < *first ||
        (protocol != "tcp" && protocol != "udp" && protocol != "sctp")) {
      return wrong_line(
          instruction.line,
          "EXPOSE " + word + " is no port; it is a number from 1 to 65535, or 8080/tcp");
    }
  }
  return {};
}

Result<void> check_health_check(const Instruction& instruction, char escape) {
  const auto words = split_words(instruction.arguments, escape);
  const auto kind = words.empty() ? "" : lower_case(words.front());
  if ((kind == "none" && words.size() == 1) || (kind == "cmd" && words.size() > 1)) return {};
  return wrong_line(instruction.line, "HEALTHCHECK is followed by CMD and a command, or NONE");
}

Result<void> check_supported(const Instruction& instruction, const InstructionFlag& flag) {
  if (flag.name() == "--unpack") {
    return wrong_line(instruction.line,
                      "ADD --unpack is not supported; unpack in a RUN step instead");
  }
  if (flag.name() == "--keep-git-dir" && is_on(flag)) {
    return wrong_line(instruction.line,
                      "ADD --keep-git-dir is not supported; git clone in a RUN step instead");
  }
  return instruction.name == "RUN" ? check_run_flag(instruction.line, flag) : Result<void>{};
}

bool is_stage_name(std::string_view name) {
  return !name.empty() && name.front() >= 'a' && name.front() <= 'z' && name != "scratch" &&
         name != "context" && std::all_of(name.begin(), name.end(), [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_' ||
                  c == '.';
         });
}

}  // namespace

Result<void> check_stage_name(int line, const std::string& name, bool has_parents) {
  if (!is_stage_name(lower_case(name))) {
    return wrong_line(line, "'" + name +
                                "' cannot be the name of a stage: it starts with a letter and has "
                                "letters, digits, - _ and .");
  }
  if (has_parents && lower_case(name).starts_with("atlasflow-")) {
    return wrong_line(line, "'" + name +
                                "': a Dockerfile with COPY --parents is given stages of such "
                                "names; call it otherwise");
  }
  return {};
}

bool is_on(const InstructionFlag& flag) {
  return !flag.has_value() || lower_case(flag.value()) == "true";
}

bool is_this_platform(std::string_view platform) {
  const auto name = lower_case(platform);
  return name == "linux/amd64" || name == "linux/x86_64" || name == "amd64" || name == "x86_64" ||
         name == "linux" || name.starts_with("linux/amd64/v1");
}

bool is_octal_mode(std::string_view mode) {
  return !mode.empty() && mode.size() <= 5 &&
         mode.find_first_not_of("01234567") == std::string_view::npos;
}

bool is_git_source(std::string_view source) {
  // github.com/x/y is a folder of the context: so Go's vendored sources are called.
  if (source.starts_with("git://") || source.starts_with("ssh://")) return true;
  // user@host:path, as scp has it.
  const auto at =
      source.find_first_not_of("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-");
  if (at != std::string_view::npos && at > 0 && source[at] == '@') {
    const auto colon = source.find_first_not_of(
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.-", at + 1);
    if (colon != std::string_view::npos && colon > at + 1 && source[colon] == ':') return true;
  }
  const auto path = source.substr(0, source.find_first_of("#?"));
  return is_remote_source(source) && path.ends_with(".git");
}

bool is_remote_source(std::string_view source) {
  const auto scheme = lower_case(source.substr(0, 8));
  return scheme.starts_with("http://") || scheme == "https://";
}

std::vector<MountOption> mount_options(std::string_view value) {
  std::vector<MountOption> options;
  std::string field;
  const auto take = [&] {
    const auto equals = field.find('=');
    auto key = lower_case(field.substr(0, equals));
    if (key == "src") key = "source";
    if (key == "dst" || key == "destination") key = "target";
    if (!key.empty()) {
      options.push_back({key, equals == std::string::npos ? "" : field.substr(equals + 1)});
    }
    field.clear();
  };
  bool quoted = false;
  for (const char c : value) {
    if (c == '"') {
      quoted = !quoted;
    } else if (c == ',' && !quoted) {
      take();
    } else {
      field += c;
    }
  }
  take();
  return options;
}

std::string mount_option(const std::vector<MountOption>& options, std::string_view key) {
  const auto found = std::find_if(options.begin(), options.end(),
                                  [key](const auto& option) { return option.key == key; });
  return found == options.end() ? std::string{} : found->value;
}

void name_as_buildah_does(std::vector<MountOption>& options) {
  const bool is_tmpfs = type_of(options) == "tmpfs";
  for (auto& option : options) {
    const bool is_read_only = option.key == "ro" || option.key == "readonly";
    const auto value = lower_case(option.value);
    if ((is_read_only || option.key == "rw" || option.key == "readwrite") &&
        (value == "true" || value == "false")) {
      option = {is_read_only == (value == "true") ? "ro" : "rw", ""};
    }
    if (!is_tmpfs) continue;
    if (option.key == "size") option.key = "tmpfs-size";
    if (option.key == "mode") option.key = "tmpfs-mode";
  }
}

InstructionFlag mount_flag(const std::vector<MountOption>& options) {
  InstructionFlag flag{"--mount=", {}};
  for (const auto& option : options) {
    const auto field = option.value.empty() ? option.key : option.key + "=" + option.value;
    const bool needs_quotes = field.find(',') != std::string::npos;
    if (&option != &options.front()) flag.text += ',';
    flag.text += needs_quotes ? '"' + field + '"' : field;
  }
  for (const char c : flag.text) {
    const bool is_space = c == ' ' || (c >= '\t' && c <= '\r');
    if (is_space || c == '\'' || c == '"' || c == '\\') flag.raw += '\\';
    flag.raw += c;
  }
  return flag;
}

Result<void> check_flags(const Instruction& instruction) {
  std::set<std::string_view> seen;
  for (const auto& flag : instruction.flags) {
    const auto name = flag.name();
    const auto* rule = known(instruction, name);
    if (rule == nullptr) {
      return wrong_line(instruction.line, instruction.name + " has no flag " + std::string(name));
    }
    if (!seen.insert(name).second && !rule->may_repeat) {
      return wrong_line(instruction.line, std::string(name) + " is there twice");
    }
    if (rule->value == Value::needed && flag.value().empty()) {
      return wrong_line(instruction.line,
                        std::string(name) + " needs a value: " + std::string(name) + "=…");
    }
    if (rule->value == Value::flag && flag.has_value() && lower_case(flag.value()) != "true" &&
        lower_case(flag.value()) != "false") {
      return wrong_line(instruction.line, std::string(name) + " is true or false");
    }
    if (auto right = check_supported(instruction, flag); !right) return right;
  }
  return {};
}

Result<void> check_arguments(const Instruction& instruction, char escape) {
  if (instruction.name == "EXPOSE") return check_ports(instruction, escape);
  if (instruction.name == "HEALTHCHECK") return check_health_check(instruction, escape);
  if (instruction.name == "SHELL" && !is_json_list(instruction.arguments)) {
    return wrong_line(instruction.line, R"(SHELL must be a list: SHELL ["/bin/bash", "-c"])");
  }
  if (instruction.name != "COPY" && instruction.name != "ADD") return {};
  const auto words = is_json_list(instruction.arguments)
                         ? read_json_list(instruction.arguments).size()
                         : split_words(instruction.arguments, escape).size();
  if (words > 1) return {};
  return wrong_line(instruction.line, instruction.name + " needs a source and a destination");
}

std::optional<std::string> left_out_because(const Instruction& instruction,
                                            const InstructionFlag& flag, bool is_of_fork) {
  const auto name = flag.name();
  if (name == "--link") {
    return is_on(flag) ? "--link, a hint for the layer cache, was taken out" : "";
  }
  if (name == "--parents" || name == "--keep-git-dir" || name == "--security") return "";
  if (instruction.name != "RUN" || name != "--mount") return std::nullopt;
  const auto options = mount_options(flag.value());
  const auto type = type_of(options);
  if (type == "ssh") return "there is no SSH agent; the step runs without it";
  if (type != "secret" || flag.is_given) return std::nullopt;
  if (is_of_fork) {
    return "what is built of a fork gets no build secret; the step runs without '" +
           secret_mount(options)->name + "'";
  }
  return "there is no build secret '" + secret_mount(options)->name + "'; the step runs without it";
}

std::string missing_secret(const std::string& name, const std::string& project, bool is_of_fork) {
  const auto needs = "the step needs the build secret '" + name + "', ";
  if (is_of_fork) {
    return needs + "and what is built of a fork gets no secret of project '" + project +
           "': take required away, so that the step goes on without it, or push the commit to a "
           "branch of the project's own repository";
  }
  return needs + "which the project does not have; set it with 'atlasflow build-secret set " +
         project + " " + name + " < FILE'";
}

std::optional<SecretMount> secret_mount(const std::vector<MountOption>& options) {
  if (type_of(options) != "secret") return std::nullopt;
  SecretMount mount;
  mount.target = mount_option(options, "target");
  for (const char* key : {"source", "id"}) {  // of two names Docker takes the source
    if (mount.name.empty()) mount.name = mount_option(options, key);
  }
  if (mount.name.empty()) mount.name = mount.target.substr(mount.target.rfind('/') + 1);
  mount.is_variable = !mount_option(options, "env").empty();
  mount.is_required = is_required(options);
  return mount;
}

}  // namespace atlasflow::builder
