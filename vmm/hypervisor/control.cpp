#include "vmm/hypervisor/control.hpp"

#include <cerrno>
#include <cstring>
#include <string>

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

namespace atlasflow::vmm {
namespace {

// Reaches the folder through /proc/self/fd, which is short whatever the path is.
struct Address {
  FileDescriptor folder;
  sockaddr_un bytes{};
};

Address address_of(const std::filesystem::path& dir, const char* name) {
  Address address{FileDescriptor(::open(dir.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC)), {}};
  const std::string path =
      "/proc/self/fd/" + std::to_string(address.folder.get()) + "/" + std::string(name);
  address.bytes.sun_family = AF_UNIX;
  path.copy(address.bytes.sun_path, sizeof address.bytes.sun_path - 1);
  return address;
}

}  // namespace

Result<FileDescriptor> listen_at(const std::filesystem::path& dir, const char* name) {
  const Address address = address_of(dir, name);
  FileDescriptor fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!address.folder || !fd ||
      ::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address.bytes), sizeof address.bytes) !=
          0 ||
      ::listen(fd.get(), 4) != 0) {
    return fail(ErrorCode::internal, "cannot make the control socket in " + dir.string(),
                std::strerror(errno));
  }
  return fd;
}

Result<FileDescriptor> ask_to_stop(const std::filesystem::path& dir, const char* name,
                                   std::chrono::milliseconds grace) {
  const Address address = address_of(dir, name);
  FileDescriptor fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  const std::string line = "stop " + std::to_string(grace.count()) + "\n";
  if (!address.folder || !fd ||
      ::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address.bytes),
                sizeof address.bytes) != 0 ||
      ::send(fd.get(), line.data(), line.size(), MSG_NOSIGNAL) !=
          static_cast<ssize_t>(line.size())) {
    return fail(ErrorCode::unavailable, "the microVM's control socket does not answer",
                std::strerror(errno));
  }
  return fd;
}

}  // namespace atlasflow::vmm
