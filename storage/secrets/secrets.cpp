#include "storage/secrets/secrets.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <optional>
#include <system_error>

#include <fcntl.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <openssl/rand.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/assert.hpp"
#include "base/digest.hpp"
#include "base/file.hpp"

namespace atlasflow::storage {
namespace {

// A sealed file is: version byte, nonce, ciphertext, tag. Associated data: version byte, ref,
// context.
constexpr char k_version = 1;
constexpr std::size_t k_nonce_size = 12;
constexpr std::size_t k_tag_size = 16;
constexpr std::size_t k_key_size = 32;
constexpr std::size_t k_value_bytes_max = 128ULL << 10U;
constexpr std::size_t k_ref_bytes = 16;
constexpr std::size_t k_digest_digits = 12;

using CipherContext = std::unique_ptr<EVP_CIPHER_CTX, decltype(&EVP_CIPHER_CTX_free)>;
using KdfContext = std::unique_ptr<EVP_KDF_CTX, decltype(&EVP_KDF_CTX_free)>;

const unsigned char* in(std::string_view bytes) {
  return reinterpret_cast<const unsigned char*>(bytes.data());
}
unsigned char* out(std::string& bytes) { return reinterpret_cast<unsigned char*>(bytes.data()); }

// A key in memory, wiped when it goes.
class Key {
 public:
  Key() = default;
  ~Key() { OPENSSL_cleanse(bytes_.data(), bytes_.size()); }
  Key(const Key&) = delete;
  Key& operator=(const Key&) = delete;
  [[nodiscard]] unsigned char* data() { return bytes_.data(); }
  [[nodiscard]] const unsigned char* data() const { return bytes_.data(); }

 private:
  std::array<unsigned char, k_key_size> bytes_{};
};

// The bytes of a string, wiped when it goes.
class WipedString {
 public:
  explicit WipedString(std::string secret) : value(std::move(secret)) {}
  ~WipedString() { OPENSSL_cleanse(value.data(), value.size()); }
  WipedString(const WipedString&) = delete;
  WipedString& operator=(const WipedString&) = delete;
  std::string value;
};

std::string random_bytes(std::size_t size) {
  std::string bytes(size, '\0');
  ATLAS_ASSERT(RAND_bytes(out(bytes), static_cast<int>(size)) == 1,
               "the system gives no random numbers");
  return bytes;
}

// HKDF-SHA-256 (RFC 5869): one key per purpose, so that none of them says anything about another.
void derive(const std::string& secret, std::string_view purpose, Key& key) {
  EVP_KDF* kdf = EVP_KDF_fetch(nullptr, "HKDF", nullptr);
  const KdfContext context(EVP_KDF_CTX_new(kdf), &EVP_KDF_CTX_free);
  EVP_KDF_free(kdf);
  std::string digest = "SHA256";
  std::string salt = "atlasflow";
  std::string info(purpose);
  std::string ikm = secret;
  const std::array<OSSL_PARAM, 5> parameters{
      OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, digest.data(), 0),
      OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, ikm.data(), ikm.size()),
      OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SALT, salt.data(), salt.size()),
      OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, info.data(), info.size()),
      OSSL_PARAM_construct_end()};
  const bool derived = context != nullptr && EVP_KDF_derive(context.get(), key.data(), k_key_size,
                                                            parameters.data()) == 1;
  OPENSSL_cleanse(ikm.data(), ikm.size());
  ATLAS_ASSERT(derived, "OpenSSL derives no key");
}

bool is_ref(std::string_view ref) {
  return ref.size() == k_ref_bytes * 2 && ref.find_first_not_of("0123456789abcdef") == ref.npos;
}

std::string associated_data(std::string_view ref, std::string_view context) {
  std::string data(1, k_version);
  data += ref;
  data += context;
  return data;
}

class SealedFiles final : public SecretStore {
 public:
  SealedFiles(std::filesystem::path folder, const std::string& secret)
      : folder_(std::move(folder)) {
    derive(secret, "seal v1", seal_key_);
    derive(secret, "digest v1", digest_key_);
  }

  Result<SealedRef> seal(std::string_view context, std::string_view value) override {
    if (value.size() > k_value_bytes_max) {
      return fail(ErrorCode::too_large, "a secret value may have at most 128 KiB; shorten it");
    }
    const std::string ref = to_hex(random_bytes(k_ref_bytes));
    const std::string sealed = encrypt(associated_data(ref, context), value);
    // Its name is new: a crash leaves a stray temporary file, never half a secret.
    if (auto written = replace_file(folder_ / ref, sealed, 0600); !written) {
      return tl::unexpected(unwritten(std::move(written.error()), sealed.size()));
    }
    return SealedRef{ref, digest_of(value)};
  }

  Result<std::string> open(std::string_view context, const std::string& ref) override {
    if (!is_ref(ref)) return fail(ErrorCode::not_found, "there is no sealed value of that name");
    const auto path = folder_ / ref;
    const FileDescriptor fd(::open(path.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC));
    if (!fd.valid()) {
      return tl::unexpected(
          errno_error("the sealed value " + ref + " cannot be opened; set it again"));
    }
    constexpr std::size_t k_frame = 1 + k_nonce_size + k_tag_size;
    // One byte more than there may be, to notice a longer file.
    ATLAS_TRY(auto sealed,
              read_at_most(fd.get(), 0, k_frame + k_value_bytes_max + 1, path.string()));
    const auto broken = [&](const std::string& why) {
      return fail(ErrorCode::corrupt, "the sealed value " + ref + " does not open: " + why +
                                          "; restore its file and the key file, or set it again");
    };
    if (sealed.size() < k_frame || sealed.size() > k_frame + k_value_bytes_max) {
      return broken("its size is wrong");
    }
    if (sealed.front() != k_version) return broken("another version of Atlasflow sealed it");
    auto value = decrypt(associated_data(ref, context), sealed);
    if (!value) return broken("the key, its owner or its bytes are not those it was sealed with");
    return std::move(*value);
  }

  Result<std::vector<std::string>> refs() override {
    auto names = names_in(folder_);
    if (!names) return names;
    std::erase_if(*names, [](const std::string& name) { return !is_ref(name); });
    return names;
  }

  Result<void> remove(const std::vector<std::string>& refs) override {
    Result<void> done;
    for (const auto& ref : refs) {
      if (!is_ref(ref)) continue;
      if (::unlink((folder_ / ref).c_str()) == 0) {
        unsynced_ = true;
      } else if (errno != ENOENT) {
        done = tl::unexpected(
            errno_error("the sealed value " + ref + " cannot be removed from " + folder_.string()));
      }
    }
    // Cleared before the sync: what another thread removes during it sets it anew.
    if (!unsynced_.exchange(false)) return done;
    if (auto synced = sync_folder(folder_); !synced) {
      unsynced_ = true;
      return synced;
    }
    return done;
  }

 private:
  // What a full disk is told by: the log may go on for a while yet, out of its reserve.
  [[nodiscard]] Error unwritten(Error error, std::size_t bytes) const {
    struct statvfs disk {};
    constexpr std::uint64_t k_blocks_of_a_file =
        4;  // its own, the folder's and some of the journal
    if (::statvfs(folder_.c_str(), &disk) == 0 &&
        disk.f_bavail < k_blocks_of_a_file + bytes / disk.f_frsize) {
      error.code = ErrorCode::disk_full;
      error.message = "the disk of " + folder_.string() +
                      " is full, so no value can be sealed: free some room, then try again";
    }
    return error;
  }

  std::string encrypt(std::string_view associated, std::string_view value) const {
    const std::string nonce = random_bytes(k_nonce_size);
    std::string sealed(1, k_version);
    sealed += nonce;
    const std::size_t text_at = sealed.size();
    sealed.resize(text_at + value.size() + k_tag_size);
    const CipherContext context(EVP_CIPHER_CTX_new(), &EVP_CIPHER_CTX_free);
    int size = 0;
    const bool done =
        context != nullptr &&
        EVP_EncryptInit_ex2(context.get(), EVP_aes_256_gcm(), seal_key_.data(), in(nonce),
                            nullptr) == 1 &&
        EVP_EncryptUpdate(context.get(), nullptr, &size, in(associated),
                          static_cast<int>(associated.size())) == 1 &&
        EVP_EncryptUpdate(context.get(), out(sealed) + text_at, &size, in(value),
                          static_cast<int>(value.size())) == 1 &&
        EVP_EncryptFinal_ex(context.get(), out(sealed) + text_at + value.size(), &size) == 1 &&
        EVP_CIPHER_CTX_ctrl(context.get(), EVP_CTRL_GCM_GET_TAG, static_cast<int>(k_tag_size),
                            out(sealed) + text_at + value.size()) == 1;
    ATLAS_ASSERT(done, "AES-256-GCM failed");
    return sealed;
  }

  // Nothing when the tag does not match; what was decrypted until then is wiped, never given out.
  std::optional<std::string> decrypt(std::string_view associated, std::string& sealed) const {
    const std::size_t text_at = 1 + k_nonce_size;
    const std::size_t text_size = sealed.size() - text_at - k_tag_size;
    std::string value(text_size, '\0');
    const CipherContext context(EVP_CIPHER_CTX_new(), &EVP_CIPHER_CTX_free);
    int size = 0;
    std::array<unsigned char, k_tag_size> spare{};  // GCM's final call writes nothing
    const bool ready =
        context != nullptr &&
        EVP_DecryptInit_ex2(context.get(), EVP_aes_256_gcm(), seal_key_.data(), out(sealed) + 1,
                            nullptr) == 1 &&
        EVP_DecryptUpdate(context.get(), nullptr, &size, in(associated),
                          static_cast<int>(associated.size())) == 1 &&
        EVP_DecryptUpdate(context.get(), out(value), &size, out(sealed) + text_at,
                          static_cast<int>(text_size)) == 1 &&
        EVP_CIPHER_CTX_ctrl(context.get(), EVP_CTRL_GCM_SET_TAG, static_cast<int>(k_tag_size),
                            out(sealed) + text_at + text_size) == 1;
    ATLAS_ASSERT(ready, "AES-256-GCM failed");
    if (EVP_DecryptFinal_ex(context.get(), spare.data(), &size) == 1) return value;
    OPENSSL_cleanse(value.data(), value.size());
    return std::nullopt;
  }

  std::string digest_of(std::string_view value) const {
    Digest digest{};
    unsigned int size = 0;
    ATLAS_ASSERT(HMAC(EVP_sha256(), digest_key_.data(), static_cast<int>(k_key_size), in(value),
                      value.size(), digest.data(), &size) != nullptr,
                 "HMAC failed");
    return to_hex(bytes_of(digest)).substr(0, k_digest_digits);
  }

  const std::filesystem::path folder_;
  std::atomic<bool> unsynced_ = false;  // something was removed, and a power cut may bring it back
  Key seal_key_;
  Key digest_key_;
};

Result<void> make_private_folder(const std::filesystem::path& folder) {
  std::error_code error;
  std::filesystem::create_directories(folder.parent_path(), error);
  if (::mkdir(folder.c_str(), 0700) != 0 && errno != EEXIST) {
    return tl::unexpected(errno_error("cannot make the folder " + folder.string()));
  }
  return sync_folder(folder.parent_path().empty() ? "." : folder.parent_path());
}

bool holds_sealed_files(const std::filesystem::path& folder) {
  const auto names = names_if_any(folder);
  return std::any_of(names.begin(), names.end(), is_ref);
}

// Written beside and then linked, so that the name never stands for half a key and of two starts at
// once one wins and the other reads what it wrote.
Result<void> make_key_file(const std::filesystem::path& key_file) {
  std::error_code error;
  const auto folder =
      key_file.has_parent_path() ? key_file.parent_path() : std::filesystem::path(".");
  std::filesystem::create_directories(folder, error);
  const auto temporary =
      folder / (key_file.filename().string() + "." + to_hex(random_bytes(8)) + ".new");
  const WipedString key(random_bytes(k_key_size));
  auto written = write_new_file(temporary, key.value);
  if (written && ::link(temporary.c_str(), key_file.c_str()) != 0 && errno != EEXIST) {
    written = tl::unexpected(errno_error("cannot make the key file " + key_file.string()));
  }
  ::unlink(temporary.c_str());
  return written ? sync_folder(folder) : written;
}

Result<std::string> read_key_file(const std::filesystem::path& key_file) {
  const FileDescriptor fd(::open(key_file.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC));
  if (!fd.valid()) {
    return tl::unexpected(errno_error("cannot open the key file " + key_file.string() +
                                      "; check its owner and permissions"));
  }
  struct stat status {};
  if (::fstat(fd.get(), &status) != 0) {
    return tl::unexpected(errno_error("cannot look at the key file " + key_file.string()));
  }
  if (!S_ISREG(status.st_mode) || status.st_uid != ::geteuid() || (status.st_mode & 077U) != 0) {
    return fail(ErrorCode::unauthorized,
                "the key file " + key_file.string() +
                    " must be a file that only the server's user can read: chown it to that user "
                    "and chmod 600 it, and set the secrets again if others may have read it");
  }
  if (status.st_size != static_cast<off_t>(k_key_size)) {
    return fail(ErrorCode::corrupt, "the key file " + key_file.string() +
                                        " does not hold 32 bytes; restore it from a backup");
  }
  return read_at_most(fd.get(), 0, k_key_size, key_file.string());
}

}  // namespace

Result<std::unique_ptr<SecretStore>> open_secret_store(const std::filesystem::path& folder,
                                                       const std::filesystem::path& key_file) {
  ATLAS_TRYV(make_private_folder(folder));
  auto secret = read_key_file(key_file);
  if (!secret && secret.error().code == ErrorCode::not_found) {
    // A new key would make every sealed value unreadable without saying so.
    if (holds_sealed_files(folder)) {
      return fail(ErrorCode::corrupt, "the key file " + key_file.string() +
                                          " is missing, and the values in " + folder.string() +
                                          " open with nothing else; restore it from a backup");
    }
    ATLAS_TRYV(make_key_file(key_file));
    secret = read_key_file(key_file);
  }
  if (!secret) return tl::unexpected(std::move(secret.error()));
  const WipedString key(std::move(*secret));
  return std::make_unique<SealedFiles>(folder, key.value);
}

}  // namespace atlasflow::storage
