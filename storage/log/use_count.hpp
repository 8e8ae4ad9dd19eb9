// Who uses a thing that may be exchanged for another. Users never wait for each other, and a thread
// may be a user several times over: whoever wants to exchange the thing gets it only when nobody
// uses it, and else tries again later. Any thread.
#pragma once

#include <atomic>
#include <cstdint>

namespace atlasflow::storage {

class UseCount {
 public:
  class User {
   public:
    explicit User(const UseCount& count) : count_(count) { count_.enter(); }
    ~User() { count_.users_.fetch_sub(1); }
    User(const User&) = delete;
    User& operator=(const User&) = delete;

   private:
    const UseCount& count_;
  };

  // True: nobody uses it, and whoever comes waits until release().
  [[nodiscard]] bool try_claim() {
    std::int64_t nobody = 0;
    return users_.compare_exchange_strong(nobody, k_claimed);
  }
  void release() {
    users_.store(0);
    users_.notify_all();
  }

 private:
  static constexpr std::int64_t k_claimed = -1;

  void enter() const {
    auto users = users_.load();
    for (;;) {
      if (users == k_claimed) {
        users_.wait(k_claimed);
        users = users_.load();
      } else if (users_.compare_exchange_weak(users, users + 1)) {
        return;
      }
    }
  }

  mutable std::atomic<std::int64_t> users_{0};
};

}  // namespace atlasflow::storage
