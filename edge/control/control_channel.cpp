#include "edge/control/control_channel.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <system_error>

#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/assert.hpp"
#include "edge/control/control.pb.h"

namespace atlasflow::edge {
namespace {

constexpr std::size_t k_message_bytes_max = std::size_t{16} << 20U;
constexpr std::size_t k_length_bytes = 4;
constexpr std::size_t k_descriptors_max = 200;  // the kernel takes 253 at once
constexpr int k_backlog = 64;

std::string errno_text(int code) { return std::generic_category().message(code); }

tl::unexpected<Error> no_answer(std::string cause) {
  return fail(ErrorCode::unavailable, "the edge's process does not answer", std::move(cause));
}

// False when the deadline passed first.
bool wait_for(const FileDescriptor& socket, short events, Deadline deadline) {
  for (;;) {
    const auto left =
        std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
    if (left.count() <= 0) return false;
    pollfd waiting{socket.get(), events, 0};
    const int count = ::poll(&waiting, 1, static_cast<int>(std::min<long>(left.count(), 60'000)));
    if (count > 0) return true;
    if (count < 0 && errno != EINTR) return false;
  }
}

Result<void> write_all(const FileDescriptor& socket, const std::string& bytes, Deadline deadline) {
  for (std::size_t done = 0; done < bytes.size();) {
    const ssize_t sent =
        ::send(socket.get(), bytes.data() + done, bytes.size() - done, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent >= 0) {
      done += static_cast<std::size_t>(sent);
    } else if (errno == EAGAIN) {
      if (!wait_for(socket, POLLOUT, deadline)) return no_answer("it took no more bytes in time");
    } else if (errno != EINTR) {
      return no_answer(errno_text(errno));
    }
  }
  return {};
}

Result<std::string> read_exactly(const FileDescriptor& socket, std::size_t size,
                                 Deadline deadline) {
  std::string bytes(size, '\0');
  for (std::size_t done = 0; done < size;) {
    const ssize_t got = ::recv(socket.get(), bytes.data() + done, size - done, MSG_DONTWAIT);
    if (got > 0) {
      done += static_cast<std::size_t>(got);
      ATLAS_ASSERT(done <= size, "more was received than was asked for");
    } else if (got == 0) {
      return no_answer("it closed the connection");
    } else if (errno == EAGAIN) {
      if (!wait_for(socket, POLLIN, deadline)) return no_answer("no answer came in time");
    } else if (errno != EINTR) {
      return no_answer(errno_text(errno));
    }
  }
  return bytes;
}

}  // namespace

Result<FileDescriptor> listen_control(const std::filesystem::path& path) {
  const std::string part = path.string() + ".new";
  ATLAS_TRY(const auto address, parse_socket_address("unix:" + part, 0));
  FileDescriptor socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  ::unlink(part.c_str());
  // Linux gives the file the mode of the unbound socket: it is never open to others.
  if (!socket.valid() || ::fchmod(socket.get(), 0600) != 0 ||
      ::bind(socket.get(), address.get(), address.bytes) != 0 ||
      ::listen(socket.get(), k_backlog) != 0 || std::rename(part.c_str(), path.c_str()) != 0) {
    return fail(ErrorCode::unavailable,
                "the edge cannot listen on " + path.string() + "; is the folder writable?",
                errno_text(errno));
  }
  return socket;
}

Result<FileDescriptor> connect_control(const std::filesystem::path& path) {
  ATLAS_TRY(const auto address, parse_socket_address("unix:" + path.string(), 0));
  FileDescriptor socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  // A full backlog is EAGAIN here, not a wait: a process that accepts nothing is one that hangs.
  if (!socket.valid() || ::connect(socket.get(), address.get(), address.bytes) != 0) {
    return no_answer(path.string() + ": " + errno_text(errno));
  }
  return socket;
}

Result<void> send_message(const FileDescriptor& socket,
                          const google::protobuf::MessageLite& message, Deadline deadline) {
  const std::string body = message.SerializeAsString();
  if (body.size() > k_message_bytes_max) {
    return fail(ErrorCode::too_large, "a message to the edge's process has " +
                                          std::to_string(body.size()) +
                                          " bytes; at most 16 MiB go through");
  }
  const auto size = static_cast<std::uint32_t>(body.size());
  std::string bytes;
  for (const unsigned shift : {24U, 16U, 8U, 0U}) {
    bytes += static_cast<char>((size >> shift) & 0xFFU);
  }
  ATLAS_ASSERT_EQ(bytes.size(), k_length_bytes);
  return write_all(socket, bytes + body, deadline);
}

Result<void> receive_message(const FileDescriptor& socket, google::protobuf::MessageLite& message,
                             Deadline deadline) {
  ATLAS_TRY(const auto head, read_exactly(socket, k_length_bytes, deadline));
  std::size_t size = 0;
  for (const char byte : head) size = (size << 8U) | static_cast<unsigned char>(byte);
  if (size > k_message_bytes_max) {
    return fail(ErrorCode::corrupt, "a message of the edge's control socket says it has " +
                                        std::to_string(size) + " bytes; nobody sends such");
  }
  ATLAS_TRY(const auto body, read_exactly(socket, size, deadline));
  if (!message.ParseFromString(body)) {
    return fail(ErrorCode::corrupt, "a message of the edge's control socket can't be read");
  }
  return {};
}

Result<void> exchange_hello(const FileDescriptor& socket, Deadline deadline) {
  wire::Hello own;
  own.set_protocol_version(k_control_version);
  if (auto sent = send_message(socket, own, deadline); !sent) return sent;
  wire::Hello theirs;
  if (auto got = receive_message(socket, theirs, deadline); !got) return got;
  if (theirs.protocol_version() != k_control_version) {
    return fail(ErrorCode::conflict, "the edge's control protocol has version " +
                                         std::to_string(theirs.protocol_version()) + " there and " +
                                         std::to_string(k_control_version) + " here");
  }
  return {};
}

namespace {

using ControlBuffer = std::array<char, CMSG_SPACE(k_descriptors_max * sizeof(int))>;

// One byte of data, as descriptors travel with data only.
msghdr message_over(iovec& byte, ControlBuffer& control, std::size_t count) {
  msghdr message{};
  message.msg_iov = &byte;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = CMSG_SPACE(count * sizeof(int));
  return message;
}

}  // namespace

Result<void> send_descriptors(const FileDescriptor& socket, const std::vector<int>& descriptors,
                              Deadline deadline) {
  ATLAS_ASSERT(!descriptors.empty() && descriptors.size() <= k_descriptors_max,
               "1 to 200 descriptors go in one message");
  char data = 0;
  iovec byte{&data, 1};
  alignas(cmsghdr) ControlBuffer control{};
  const msghdr message = message_over(byte, control, descriptors.size());
  cmsghdr* head = CMSG_FIRSTHDR(&message);
  head->cmsg_level = SOL_SOCKET;
  head->cmsg_type = SCM_RIGHTS;
  head->cmsg_len = CMSG_LEN(descriptors.size() * sizeof(int));
  std::memcpy(CMSG_DATA(head), descriptors.data(), descriptors.size() * sizeof(int));
  for (;;) {
    if (::sendmsg(socket.get(), &message, MSG_NOSIGNAL | MSG_DONTWAIT) == 1) return {};
    if (errno != EAGAIN && errno != EINTR) return no_answer(errno_text(errno));
    if (!wait_for(socket, POLLOUT, deadline)) return no_answer("it took no descriptors in time");
  }
}

Result<std::vector<FileDescriptor>> receive_descriptors(const FileDescriptor& socket,
                                                        std::size_t count, Deadline deadline) {
  if (count == 0 || count > k_descriptors_max) {
    return fail(ErrorCode::corrupt, "the edge's process offers " + std::to_string(count) +
                                        " listeners; 1 to 200 can be taken over");
  }
  char data = 0;
  iovec byte{&data, 1};
  alignas(cmsghdr) ControlBuffer control{};
  for (;;) {
    msghdr message = message_over(byte, control, count);
    const ssize_t got = ::recvmsg(socket.get(), &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) {
      if (!wait_for(socket, POLLIN, deadline)) return no_answer("no descriptors came in time");
      continue;
    }
    std::vector<FileDescriptor> descriptors;
    const cmsghdr* head = got == 1 ? CMSG_FIRSTHDR(&message) : nullptr;
    if (head != nullptr && head->cmsg_level == SOL_SOCKET && head->cmsg_type == SCM_RIGHTS) {
      const std::size_t arrived = (head->cmsg_len - CMSG_LEN(0)) / sizeof(int);
      for (std::size_t i = 0; i < arrived; ++i) {
        int descriptor = -1;
        std::memcpy(&descriptor, CMSG_DATA(head) + i * sizeof(int), sizeof descriptor);
        descriptors.emplace_back(descriptor);
      }
    }
    if (descriptors.size() != count) return no_answer("the descriptors did not come");
    return descriptors;
  }
}

}  // namespace atlasflow::edge
