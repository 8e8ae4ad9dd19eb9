// What the tests of vmm run on: tars, OCI images and a registry of their own, made without a
// builder.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include <sys/types.h>

namespace atlasflow::vmm::test {

// A folder that is gone with the test.
class TemporaryFolder {
 public:
  TemporaryFolder();
  ~TemporaryFolder();
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  [[nodiscard]] const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

struct TarEntry {
  enum class Type { file, folder, symlink, hardlink, device } type = Type::file;
  std::string path;
  std::string content;  // of a file; the target of a link
  unsigned mode = 0644;
  unsigned uid = 0;
};

[[nodiscard]] TarEntry file(std::string path, std::string content, unsigned mode = 0644);
[[nodiscard]] TarEntry folder(std::string path, unsigned mode = 0755);
[[nodiscard]] TarEntry symlink(std::string path, std::string target);

[[nodiscard]] std::string make_tar(const std::vector<TarEntry>& entries, bool gzip = false);

struct ImageSource {
  std::vector<std::vector<TarEntry>> layers;
  std::vector<std::string> entrypoint;
  std::vector<std::string> cmd;
  std::vector<std::string> env;
  std::string user;
  std::string workdir;
  std::string stop_signal = {};
  std::vector<std::string> exposed = {};  // "8080/tcp"
  std::vector<std::string> volumes = {};
};

// Writes an OCI layout (image-spec, image-layout.md) into dir.
void write_oci_layout(const ImageSource& source, const std::filesystem::path& dir);

// A layer with busybox as /bin/sh and the tools that the tests' scripts use.
[[nodiscard]] std::vector<TarEntry> busybox_layer();

// docker-registry on a free port of loopback; ends with the object.
class Registry {
 public:
  explicit Registry(const std::filesystem::path& dir);
  ~Registry();
  Registry(const Registry&) = delete;
  Registry& operator=(const Registry&) = delete;

  [[nodiscard]] std::uint16_t port() const { return port_; }
  // Pushes the image and returns "127.0.0.1:port/name@sha256:…".
  [[nodiscard]] std::string push(const ImageSource& source, const std::string& name);

 private:
  std::filesystem::path dir_;
  std::uint16_t port_ = 0;
  pid_t pid_ = 0;
};

}  // namespace atlasflow::vmm::test
