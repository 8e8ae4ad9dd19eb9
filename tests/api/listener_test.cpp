#include "api/listener.hpp"

#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "tests/api/api_fixture.hpp"

namespace atlasflow::api {
namespace {

using ::testing::HasSubstr;

class UnixListener : public ::testing::Test {
 protected:
  // What a server that was killed leaves: a socket's file that nobody listens on.
  void leave_stale_socket() const {
    const FileDescriptor fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path_.native().copy(address.sun_path, sizeof(address.sun_path) - 1);
    ASSERT_EQ(::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)), 0);
  }

  testing::TemporaryFolder folder_;
  const std::filesystem::path path_ = folder_.path() / "api.sock";
};

TEST_F(UnixListener, is_open_to_its_owner_only_and_gone_with_it) {
  {
    const auto listener = Listener::on_unix_socket(path_);
    ASSERT_TRUE(listener) << to_string(listener.error());
    struct stat file {};
    ASSERT_EQ(::stat(path_.c_str(), &file), 0);
    EXPECT_TRUE(S_ISSOCK(file.st_mode));
    EXPECT_EQ(file.st_mode & 07777U, 0600U);
  }
  EXPECT_FALSE(std::filesystem::exists(path_));
}

TEST_F(UnixListener, replaces_what_a_dead_server_left) {
  leave_stale_socket();
  ASSERT_TRUE(std::filesystem::exists(path_));
  const auto listener = Listener::on_unix_socket(path_);
  EXPECT_TRUE(listener) << to_string(listener.error());
}

TEST_F(UnixListener, leaves_a_live_server_alone) {
  const auto first = Listener::on_unix_socket(path_);
  ASSERT_TRUE(first);
  const auto second = Listener::on_unix_socket(path_);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, ErrorCode::conflict);
  EXPECT_THAT(second.error().message, HasSubstr("Another Atlasflow server runs"));
  EXPECT_TRUE(std::filesystem::exists(path_));
}

TEST_F(UnixListener, never_replaces_a_file_that_is_no_socket) {
  std::ofstream(path_) << "precious";
  const auto listener = Listener::on_unix_socket(path_);
  ASSERT_FALSE(listener);
  EXPECT_EQ(listener.error().code, ErrorCode::conflict);
  EXPECT_EQ(std::filesystem::file_size(path_), 8U);
}

TEST_F(UnixListener, does_not_remove_the_socket_of_its_successor) {
  auto first = Listener::on_unix_socket(path_);
  ASSERT_TRUE(first);
  std::filesystem::rename(path_, folder_.path() / "moved.sock");
  const auto second = Listener::on_unix_socket(path_);
  ASSERT_TRUE(second);
  { const Listener gone = std::move(*first); }
  EXPECT_TRUE(std::filesystem::exists(path_));
}

TEST_F(UnixListener, says_when_the_path_is_too_long_or_its_folder_missing) {
  const auto longer = Listener::on_unix_socket(folder_.path() / std::string(120, 'x'));
  ASSERT_FALSE(longer);
  EXPECT_EQ(longer.error().code, ErrorCode::invalid_argument);
  EXPECT_THAT(longer.error().message, HasSubstr("107 bytes"));
  EXPECT_FALSE(Listener::on_unix_socket(folder_.path() / "missing" / "api.sock"));
}

TEST(TcpListener, takes_a_port_of_the_kernels_choice) {
  const auto listener = Listener::on_tcp("127.0.0.1", 0);
  ASSERT_TRUE(listener) << to_string(listener.error());
  EXPECT_NE(listener->port(), 0);
}

TEST(TcpListener, says_when_the_port_is_taken_or_the_address_is_none) {
  const auto first = Listener::on_tcp("127.0.0.1", 0);
  ASSERT_TRUE(first);
  const auto second = Listener::on_tcp("127.0.0.1", first->port());
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, ErrorCode::conflict);
  const auto third = Listener::on_tcp("localhost", 0);
  ASSERT_FALSE(third);
  EXPECT_EQ(third.error().code, ErrorCode::invalid_argument);
}

}  // namespace
}  // namespace atlasflow::api
