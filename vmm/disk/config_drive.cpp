#include "vmm/disk/config_drive.hpp"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <csignal>
#include <cstring>
#include <map>
#include <string_view>

#include <nlohmann/json.hpp>

#include "base/assert.hpp"
#include "vmm/guest/config_format.hpp"

namespace atlasflow::vmm {
namespace {

using nlohmann::json;

constexpr const char* k_default_path =
    "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

// Absent and null both mean empty (image-spec: all of these are optional).
std::vector<std::string> texts(const json& object, const char* key) {
  const auto found = object.find(key);
  if (found == object.end() || found->is_null()) return {};
  return found->get<std::vector<std::string>>();
}

std::string text(const json& object, const char* key) {
  const auto found = object.find(key);
  if (found == object.end() || found->is_null()) return {};
  return found->get<std::string>();
}

// Each name once, where it was first set.
class Environment {
 public:
  void set(const std::string& name, const std::string& value) {
    const auto [found, fresh] = places_.try_emplace(name, entries_.size());
    if (fresh) entries_.emplace_back();
    entries_[found->second] = name + "=" + value;
  }
  [[nodiscard]] bool has(const std::string& name) const { return places_.contains(name); }
  [[nodiscard]] std::vector<std::string> take() { return std::move(entries_); }

 private:
  std::map<std::string, std::size_t> places_;
  std::vector<std::string> entries_;
};

// The names of an object whose values say nothing: ExposedPorts, Volumes (image-spec, config.md).
std::vector<std::string> names(const json& object, const char* key) {
  std::vector<std::string> found;
  const auto member = object.find(key);
  if (member == object.end() || !member->is_object()) return found;
  for (const auto& [name, nothing] : member->items()) found.push_back(name);
  return found;
}

// "8080/tcp" or "8080". What is no TCP port is passed over.
std::vector<std::uint16_t> tcp_ports(const std::vector<std::string>& texts) {
  std::vector<std::uint16_t> ports;
  for (const std::string& entry : texts) {
    std::uint16_t port = 0;
    const char* const end = entry.data() + std::min(entry.find('/'), entry.size());
    const bool tcp = end == entry.data() + entry.size() || std::string_view(end) == "/tcp";
    const auto [stop, code] = std::from_chars(entry.data(), end, port);
    if (tcp && code == std::errc{} && stop == end && port != 0) ports.push_back(port);
  }
  std::sort(ports.begin(), ports.end());
  ports.erase(std::unique(ports.begin(), ports.end()), ports.end());
  return ports;
}

std::optional<int> number(std::string_view text) {
  int value = 0;
  const auto [stop, code] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (code != std::errc{} || stop != text.data() + text.size() || text.empty()) return std::nullopt;
  return value;
}

// What comes from an image goes into a sentence for people: bounded, and nothing but printable
// ASCII.
std::string shown(std::string_view text) {
  std::string out(text.substr(0, 80));
  std::replace_if(
      out.begin(), out.end(), [](char c) { return c < ' ' || c > '~'; }, '?');
  return out;
}

bool holds_nul(const std::string& value) { return value.find('\0') != std::string::npos; }

}  // namespace

Result<ImageConfig> parse_image_config(const std::string& json_text) {
  try {
    const json document = json::parse(json_text);
    ImageConfig image;
    if (const auto config = document.find("config");
        config != document.end() && config->is_object()) {
      image.entrypoint = texts(*config, "Entrypoint");
      image.cmd = texts(*config, "Cmd");
      image.env = texts(*config, "Env");
      image.user = text(*config, "User");
      image.workdir = text(*config, "WorkingDir");
      image.stop_signal = text(*config, "StopSignal");
      image.exposed = tcp_ports(names(*config, "ExposedPorts"));
      image.volumes = names(*config, "Volumes");
    }
    image.diff_ids = texts(document.at("rootfs"), "diff_ids");
    return image;
  } catch (const json::exception& error) {
    return fail(ErrorCode::corrupt, "the image's configuration is not readable; build it again",
                error.what());
  }
}

std::optional<int> signal_number(std::string_view text) {
  constexpr int k_signal_max = 64;
  if (const auto given = number(text)) {
    return *given >= 1 && *given <= k_signal_max ? given : std::nullopt;
  }
  std::string name(text);
  std::transform(name.begin(), name.end(), name.begin(),
                 [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
  if (name.starts_with("SIG")) name.erase(0, 3);
  for (int signal = 1; signal < SIGRTMIN; ++signal) {
    const char* const known = ::sigabbrev_np(signal);
    if (known != nullptr && name == known) return signal;
  }
  const bool from_least = name.starts_with("RTMIN");
  if (!from_least && !name.starts_with("RTMAX")) return std::nullopt;
  const int end = from_least ? SIGRTMIN : SIGRTMAX;
  if (name.size() == 5) return end;
  const auto distance = number(std::string_view(name).substr(6));
  if (!distance || *distance < 0 || name[5] != (from_least ? '+' : '-')) return std::nullopt;
  if (*distance > SIGRTMAX - SIGRTMIN) return std::nullopt;
  return from_least ? end + *distance : end - *distance;
}

std::uint16_t port_of(const ImageConfig& image, std::uint16_t setting, bool setting_given) {
  return setting_given || image.exposed.size() != 1 ? setting : image.exposed.front();
}

std::vector<std::string> notices_of(const ImageConfig& image, std::uint16_t setting,
                                    std::uint16_t port) {
  std::vector<std::string> notices;
  if (port != setting) {
    notices.push_back("port " + std::to_string(port) +
                      " is used, the only one that the image exposes; set port to change that");
  }
  if (!image.volumes.empty()) {
    constexpr std::size_t k_named_max = 3;
    std::string list;
    for (std::size_t i = 0; i < std::min(image.volumes.size(), k_named_max); ++i) {
      list += (i == 0 ? "" : ", ") + shown(image.volumes[i]);
    }
    if (image.volumes.size() > k_named_max) list += ", …";
    notices.push_back("the image declares VOLUME " + list +
                      ": what is written there is not kept, it ends with its VM");
  }
  return notices;
}

Result<GuestRun> merge_run(const ImageConfig& image,
                           const std::vector<std::pair<std::string, std::string>>& project_env,
                           unsigned port, const std::string& command) {
  GuestRun run;
  if (command.empty()) {
    run.args = image.entrypoint;
    run.args.insert(run.args.end(), image.cmd.begin(), image.cmd.end());
  } else {
    run.args = {"/bin/sh", "-c", command};
  }
  if (run.args.empty() || run.args.front().empty()) {
    return fail(ErrorCode::user_error,
                "the image has no command to run; add CMD or ENTRYPOINT to the Dockerfile");
  }
  if (!image.stop_signal.empty()) {
    const auto signal = signal_number(image.stop_signal);
    if (!signal) {
      return fail(ErrorCode::user_error, "the image's STOPSIGNAL '" + shown(image.stop_signal) +
                                             "' is no signal; write SIGTERM, SIGQUIT or the like");
    }
    run.stop_signal = *signal;
  }
  run.user = image.user;
  run.workdir = image.workdir.empty() ? "/" : image.workdir;
  if (run.workdir.front() != '/') run.workdir.insert(0, "/");
  Environment env;
  for (const std::string& entry : image.env) {
    const std::size_t equals = entry.find('=');
    if (equals == std::string::npos || equals == 0) continue;
    env.set(entry.substr(0, equals), entry.substr(equals + 1));
  }
  for (const auto& [name, value] : project_env) {
    if (name.empty() || name.find('=') != std::string::npos || holds_nul(name)) {
      return fail(ErrorCode::invalid_argument,
                  "an environment variable's name is empty or holds '='; rename it");
    }
    if (holds_nul(value)) {
      return fail(ErrorCode::invalid_argument,
                  "the value of the environment variable " + name +
                      " holds a NUL byte; encode it, for instance as base64");
    }
    env.set(name, value);
  }
  env.set("PORT", std::to_string(port));
  env.set("HOST", "0.0.0.0");
  if (!env.has("PATH")) env.set("PATH", k_default_path);
  run.env = env.take();

  for (const auto* list : {&run.args, &run.env}) {
    if (std::any_of(list->begin(), list->end(), holds_nul)) {
      return fail(ErrorCode::user_error, "the image's command or environment holds a NUL byte");
    }
  }
  if (holds_nul(run.user) || holds_nul(run.workdir)) {
    return fail(ErrorCode::user_error, "the image's USER or WORKDIR holds a NUL byte");
  }
  return run;
}

Result<std::string> encode_config_drive(const GuestRun& run, const std::string& hostname,
                                        const GuestNetwork& network, int layers) {
  std::string records;
  const auto add = [&records](std::string_view key, std::string_view value) {
    records.append(key).append(":").append(value).push_back('\0');
  };
  add("hostname", hostname);
  add("address", network.address);
  add("netmask", network.netmask);
  add("gateway", network.gateway);
  for (const std::string& server : network.nameservers) add("nameserver", server);
  add("layers", std::to_string(layers));
  add("user", run.user);
  add("workdir", run.workdir);
  add("stop_signal", std::to_string(run.stop_signal));
  for (const std::string& entry : run.env) add("env", entry);
  for (const std::string& arg : run.args) add("arg", arg);

  if (records.size() + guest::k_config_header_bytes > guest::k_config_bytes) {
    return fail(ErrorCode::user_error,
                "the environment and command take " + std::to_string(records.size()) +
                    " bytes and a VM holds " +
                    std::to_string(guest::k_config_bytes - guest::k_config_header_bytes) +
                    "; put large values into a file of the image or a store of your own");
  }
  ATLAS_ASSERT(layers >= 0, "a VM cannot have " + std::to_string(layers) + " layers");
  std::string drive(guest::k_config_magic);
  for (unsigned shift = 0; shift < 32; shift += 8) {
    drive.push_back(static_cast<char>((records.size() >> shift) & 0xff));
  }
  // Where the guest looks for the records, and how much it reads: config_format.hpp.
  ATLAS_ASSERT_EQ(drive.size(), guest::k_config_header_bytes);
  drive += records;
  ATLAS_ASSERT(drive.size() <= guest::k_config_bytes, "a config drive that was checked overflows");
  drive.resize(guest::k_config_bytes, '\0');
  return drive;
}

}  // namespace atlasflow::vmm
