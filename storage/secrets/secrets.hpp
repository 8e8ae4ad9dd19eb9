// Values sealed at rest: AES-256-GCM (NIST SP 800-38D) under a key file of mode 0600. Thread-safe.
// What an event carries is the digest and the reference, never the value.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"

namespace atlasflow::storage {

struct SealedRef {
  std::string ref;     // names the sealed file; random, 32 hex digits
  std::string digest;  // first 12 hex digits of HMAC-SHA-256(key derived from the key file, value)
};

class SecretStore {
 public:
  virtual ~SecretStore() = default;
  // Durable (fsynced) before it returns. context binds the value to its owner ("<project>/<name>")
  // as associated data, so that a sealed file copied to another name does not open. At most 128
  // KiB.
  [[nodiscard]] virtual Result<SealedRef> seal(std::string_view context,
                                               std::string_view value) = 0;
  // corrupt: wrong key, wrong context, changed bytes. not_found: no such ref.
  [[nodiscard]] virtual Result<std::string> open(std::string_view context,
                                                 const std::string& ref) = 0;
  // Every value that there is, sorted.
  [[nodiscard]] virtual Result<std::vector<std::string>> refs() = 0;
  // The values are gone when it returns, and stay gone through a power cut; one that is not there
  // is no error. After an error some may have gone: what is left is to be removed again, and each
  // call, also one with nothing to remove, makes up for a sync that failed before.
  [[nodiscard]] virtual Result<void> remove(const std::vector<std::string>& refs) = 0;
};

// Makes folder and key file when missing. A key file that others can read is refused.
[[nodiscard]] Result<std::unique_ptr<SecretStore>> open_secret_store(
    const std::filesystem::path& folder, const std::filesystem::path& key_file);

}  // namespace atlasflow::storage
