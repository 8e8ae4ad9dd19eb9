#include "tests/vmm/image_fixture.hpp"

#include <chrono>
#include <fstream>
#include <stdexcept>
#include <thread>

#include <archive.h>
#include <archive_entry.h>
#include <arpa/inet.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <nlohmann/json.hpp>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/digest.hpp"
#include "base/file.hpp"
#include "vmm/hypervisor/process.hpp"

namespace atlasflow::vmm::test {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

void must(bool condition, const std::string& what) {
  if (!condition) throw std::runtime_error("test set-up failed: " + what);
}

void write_bytes(const fs::path& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
}

bool accepts(std::uint16_t port) {
  const FileDescriptor fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return ::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
}

std::uint16_t free_port() {
  const FileDescriptor fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  must(::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0, "bind");
  socklen_t size = sizeof address;
  ::getsockname(fd.get(), reinterpret_cast<sockaddr*>(&address), &size);
  return ntohs(address.sin_port);
}

}  // namespace

TemporaryFolder::TemporaryFolder() {
  std::string name = (fs::temp_directory_path() / "atlasflow-vmm-XXXXXX").string();
  must(::mkdtemp(name.data()) != nullptr, "mkdtemp");
  path_ = name;
}

TemporaryFolder::~TemporaryFolder() {
  std::error_code ignored;
  fs::remove_all(path_, ignored);
}

TarEntry file(std::string path, std::string content, unsigned mode) {
  return {TarEntry::Type::file, std::move(path), std::move(content), mode, 0};
}
TarEntry folder(std::string path, unsigned mode) {
  return {TarEntry::Type::folder, std::move(path), {}, mode, 0};
}
TarEntry symlink(std::string path, std::string target) {
  return {TarEntry::Type::symlink, std::move(path), std::move(target), 0777, 0};
}

std::string make_tar(const std::vector<TarEntry>& entries, bool gzip) {
  archive* const writer = archive_write_new();
  archive_write_set_format_pax_restricted(writer);
  archive_write_set_bytes_in_last_block(writer, 1);  // else a plain tar is padded and a gzip is not
  if (gzip) archive_write_add_filter_gzip(writer);
  std::string bytes;
  archive_write_open(
      writer, &bytes, nullptr,
      [](archive*, void* out, const void* data, std::size_t size) -> la_ssize_t {
        static_cast<std::string*>(out)->append(static_cast<const char*>(data), size);
        return static_cast<la_ssize_t>(size);
      },
      nullptr);
  for (const TarEntry& source : entries) {
    archive_entry* const entry = archive_entry_new();
    archive_entry_set_pathname(entry, source.path.c_str());
    archive_entry_set_perm(entry, static_cast<mode_t>(source.mode));
    archive_entry_set_uid(entry, source.uid);
    archive_entry_set_gid(entry, source.uid);
    archive_entry_set_mtime(entry, 1'700'000'000, 0);
    switch (source.type) {
      case TarEntry::Type::file:
        archive_entry_set_filetype(entry, AE_IFREG);
        archive_entry_set_size(entry, static_cast<la_int64_t>(source.content.size()));
        break;
      case TarEntry::Type::folder:
        archive_entry_set_filetype(entry, AE_IFDIR);
        break;
      case TarEntry::Type::symlink:
        archive_entry_set_filetype(entry, AE_IFLNK);
        archive_entry_set_symlink(entry, source.content.c_str());
        break;
      case TarEntry::Type::hardlink:
        archive_entry_set_filetype(entry, AE_IFREG);
        archive_entry_set_hardlink(entry, source.content.c_str());
        break;
      case TarEntry::Type::device:
        archive_entry_set_filetype(entry, AE_IFCHR);
        archive_entry_set_rdev(entry, 0x101);
        break;
    }
    archive_write_header(writer, entry);
    if (source.type == TarEntry::Type::file) {
      archive_write_data(writer, source.content.data(), source.content.size());
    }
    archive_entry_free(entry);
  }
  archive_write_close(writer);
  archive_write_free(writer);
  return bytes;
}

void write_oci_layout(const ImageSource& source, const fs::path& dir) {
  fs::create_directories(dir / "blobs" / "sha256");
  const auto put = [&](const std::string& bytes) {
    const std::string hex = sha256_hex(bytes);
    write_bytes(dir / "blobs" / "sha256" / hex, bytes);
    return json{{"digest", "sha256:" + hex}, {"size", bytes.size()}};
  };
  json diff_ids = json::array();
  json layers = json::array();
  for (const auto& entries : source.layers) {
    diff_ids.push_back("sha256:" + sha256_hex(make_tar(entries)));
    json layer = put(make_tar(entries, true));
    layer["mediaType"] = "application/vnd.oci.image.layer.v1.tar+gzip";
    layers.push_back(layer);
  }
  json run = {{"Env", source.env}, {"User", source.user}, {"WorkingDir", source.workdir}};
  if (!source.entrypoint.empty()) run["Entrypoint"] = source.entrypoint;
  if (!source.cmd.empty()) run["Cmd"] = source.cmd;
  if (!source.stop_signal.empty()) run["StopSignal"] = source.stop_signal;
  for (const auto& port : source.exposed) run["ExposedPorts"][port] = json::object();
  for (const auto& path : source.volumes) run["Volumes"][path] = json::object();
  json config = put(json{{"architecture", "amd64"},
                         {"os", "linux"},
                         {"config", run},
                         {"rootfs", {{"type", "layers"}, {"diff_ids", diff_ids}}}}
                        .dump());
  config["mediaType"] = "application/vnd.oci.image.config.v1+json";
  json manifest = put(json{
      {"schemaVersion", 2},
      {"mediaType", "application/vnd.oci.image.manifest.v1+json"},
      {"config", config},
      {"layers", layers}}.dump());
  manifest["mediaType"] = "application/vnd.oci.image.manifest.v1+json";
  manifest["annotations"] = {{"org.opencontainers.image.ref.name", "image"}};
  write_bytes(dir / "index.json", json{{"schemaVersion", 2}, {"manifests", {manifest}}}.dump());
  write_bytes(dir / "oci-layout", R"({"imageLayoutVersion":"1.0.0"})");
}

std::vector<TarEntry> busybox_layer() {
  const auto busybox = read_file("/bin/busybox", 16 << 20);
  must(busybox.has_value(), "/bin/busybox (Debian: busybox-static)");
  std::vector<TarEntry> layer = {folder("bin"), folder("etc"), file("bin/busybox", *busybox, 0755)};
  for (const char* name :
       {"sh",    "httpd",    "echo",    "cat",       "id",     "pwd", "nc",       "sleep", "wget",
        "env",   "hostname", "ip",      "true",      "tail",   "ls",  "dd",       "kill",  "printf",
        "mkdir", "stat",     "timeout", "fallocate", "setsid", "df",  "readlink", "wc"}) {
    layer.push_back(symlink(std::string("bin/") + name, "busybox"));
  }
  layer.push_back(file("etc/passwd",
                       "root:x:0:0:root:/root:/bin/sh\n"
                       "app:x:1234:1235:the app:/home/app:/bin/sh\n"));
  layer.push_back(file("etc/group", "root:x:0:\napp:x:1235:\nextra:x:1300:app\n"));
  return layer;
}

Registry::Registry(const fs::path& dir) : dir_(dir), port_(free_port()) {
  fs::create_directories(dir_ / "data");
  write_bytes(dir_ / "registry.yml",
              "version: 0.1\nlog: {level: error}\nstorage: {filesystem: {rootdirectory: " +
                  (dir_ / "data").string() +
                  "}}\nhttp: {addr: \"127.0.0.1:" + std::to_string(port_) + "\"}\n");
  const std::string config = (dir_ / "registry.yml").string();
  const std::string log = (dir_ / "registry.log").string();
  pid_ = ::fork();
  must(pid_ >= 0, "fork");
  if (pid_ == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);  // a test that is killed leaves none
    const int out = ::open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0644);
    ::dup2(out, 1);
    ::dup2(out, 2);
    ::execlp("docker-registry", "docker-registry", "serve", config.c_str(), nullptr);
    ::_exit(127);
  }
  for (int tries = 0; tries < 1000 && !accepts(port_); ++tries) {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  must(accepts(port_), "docker-registry does not listen");
}

Registry::~Registry() {
  ::kill(pid_, SIGKILL);
  ::waitpid(pid_, nullptr, 0);
}

std::string Registry::push(const ImageSource& source, const std::string& name) {
  const fs::path layout = dir_ / ("layout-" + name);
  fs::remove_all(layout);
  write_oci_layout(source, layout);
  const std::string repository = "127.0.0.1:" + std::to_string(port_) + "/test/" + name;
  const fs::path digest = dir_ / ("digest-" + name);
  const auto pushed = run_tool(
      {"skopeo", "--insecure-policy", "copy", "--quiet", "--dest-tls-verify=false", "--digestfile",
       digest.string(), "oci:" + layout.string() + ":image", "docker://" + repository + ":1"},
      std::chrono::minutes(2));
  must(pushed.has_value(), pushed ? "" : to_string(pushed.error()));
  return repository + "@" + read_file(digest, 200).value();
}

}  // namespace atlasflow::vmm::test
