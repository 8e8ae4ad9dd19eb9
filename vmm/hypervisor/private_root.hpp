// The file system that a VM's QEMU sees: a root of its own with the program, its libraries and
// firmware to read, its own processes in /proc, and nothing else of the host. What belongs to the
// VM it has as inherited descriptors.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace atlasflow::vmm {

class PrivateRoot {
 public:
  // program: QEMU's. stand: an empty folder to build the root on; the host never sees what is put
  // there.
  PrivateRoot(const std::filesystem::path& program, const std::filesystem::path& stand,
              bool with_kvm);

  // What the process must be cloned with: namespaces for mounts, processes, IPC and the host's
  // name. Not for the network: the host reaches the guest by a port that QEMU listens on.
  [[nodiscard]] static int clone_flags();

  // In the cloned child, as root. Async-signal-safe. Returns the step that failed, with errno set,
  // or nullptr.
  [[nodiscard]] const char* enter() const;

 private:
  struct Entry {
    enum class Kind { folder, link, bound_folder, bound_file } kind;
    std::string from;  // on the host; of a link its target
    std::string path;  // below the new root
  };
  void add_folder(const std::string& path);
  void add_link(const std::string& path, const std::string& target);
  void bind(const std::string& path);

  std::string stand_;
  std::string new_proc_;
  std::vector<Entry> entries_;
};

}  // namespace atlasflow::vmm
