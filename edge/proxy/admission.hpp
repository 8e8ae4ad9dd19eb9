// A worker's door: who comes in, whose handshake is next, and who has to leave when there is no
// room. Nobody may hold so much of what all share that the others are locked out. The worker's
// thread only.
#pragma once

#include <array>
#include <cstddef>
#include <memory>
#include <vector>

#include "base/error.hpp"
#include "edge/proxy/address_table.hpp"
#include "edge/proxy/client_connection.hpp"
#include "edge/proxy/endpoint.hpp"
#include "edge/proxy/intrusive_list.hpp"

namespace atlasflow::edge {

struct EdgeLimits;

class Admission {
 public:
  // The configuration's limits are for all workers; each has its part of them.
  Admission(WorkerContext& context, const EdgeLimits& limits, std::size_t workers);

  // ---- listeners ----

  // False: the kernel does not watch it; errno says why.
  [[nodiscard]] bool listen(std::vector<FileDescriptor> sockets, bool https);
  void accept_some(Listener& listener);
  // Accepting was paused for want of room or descriptors: tries again.
  void resume();
  [[nodiscard]] bool paused() const { return !accepting_; }
  // For good.
  void close_listeners();

  // ---- room ----

  [[nodiscard]] bool make_room_for_upstream();
  // For a new request. False: as much as may be is held by those that are served.
  [[nodiscard]] bool make_room_in_memory();
  // Who is to be closed first is chosen by what they wait for: called when a wait begins.
  void note_wait(ClientConnection& client);
  // It is being served.
  void leave_quiet(ClientConnection& client);
  // It is closed.
  void forget(ClientConnection& client);

  // ---- handshakes ----

  // Whether the connection's turn has come. If not, it is called when it has.
  [[nodiscard]] bool may_shake_hands(ClientConnection& client);
  [[nodiscard]] bool handshakes_wait() const;
  void serve_handshakes();

 private:
  enum class Accepted : std::uint8_t { one, none, stop };
  [[nodiscard]] Accepted accept_one(Listener& listener);
  void refuse_address(const Listener& listener, const FileDescriptor& socket,
                      const SocketAddress& peer);
  [[nodiscard]] bool make_room_for_client();
  [[nodiscard]] bool shed_client(const char* why);
  [[nodiscard]] std::size_t memory_in_use() const;
  void pause();

  WorkerContext& context_;
  std::vector<std::unique_ptr<Listener>> listeners_;
  bool accepting_ = true;
  // Whose handshake has something to do: of addresses within their rate, and of the others.
  std::array<IntrusiveList<ClientConnection, &ClientConnection::in_handshakes>, 2> handshakes_;
  bool in_handshakes_ = false;
  AddressRates handshake_rates_;
  // May be closed for room, the longest quiet first: idle ones, and those that have not got as far
  // as a request.
  std::array<IntrusiveList<ClientConnection, &ClientConnection::in_quiet>, 2> quiet_;
  const std::size_t connections_max_;
  const std::size_t memory_max_;
};

}  // namespace atlasflow::edge
