#include "cli/trust_store.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <memory>
#include <optional>
#include <stop_token>
#include <system_error>

#include <openssl/x509v3.h>
#include <unistd.h>

#include "base/file.hpp"
#include "base/process.hpp"
#include "base/x509.hpp"

namespace atlasflow::cli {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t k_file_bytes_max = 1U << 20U;
constexpr std::chrono::minutes k_update_limit{2};
constexpr std::size_t k_output_bytes_max = 500;
constexpr std::string_view k_title =
    "Atlasflow local CA for ";  // as edge/tls/local_ca.cpp names it

std::string common_name(X509* certificate) {
  std::array<char, 256> text{};
  const int size = X509_NAME_get_text_by_NID(X509_get_subject_name(certificate), NID_commonName,
                                             text.data(), static_cast<int>(text.size()));
  return size <= 0 ? std::string() : std::string(text.data(), static_cast<std::size_t>(size));
}

// Whoever answers on the socket may be anybody's: what root has the machine trust must be bounded
// to the domain that is shown, as edge/tls/local_ca.cpp makes it.
bool is_only_for(X509* certificate, std::string_view domain) {
  int critical = 0;
  const std::unique_ptr<NAME_CONSTRAINTS, decltype(&NAME_CONSTRAINTS_free)> constraints(
      static_cast<NAME_CONSTRAINTS*>(
          X509_get_ext_d2i(certificate, NID_name_constraints, &critical, nullptr)),
      &NAME_CONSTRAINTS_free);
  if (!constraints || critical != 1) return false;
  if (sk_GENERAL_SUBTREE_num(constraints->permittedSubtrees) != 1) return false;
  const GENERAL_NAME* base = sk_GENERAL_SUBTREE_value(constraints->permittedSubtrees, 0)->base;
  if (base->type != GEN_DNS) return false;
  const auto* bytes = reinterpret_cast<const char*>(ASN1_STRING_get0_data(base->d.dNSName));
  const auto size = static_cast<std::size_t>(ASN1_STRING_length(base->d.dNSName));
  return std::string_view(bytes, size) == domain;
}

// It becomes part of a file's name.
bool is_host_name(std::string_view text) {
  return !text.empty() && text.front() != '.' && std::ranges::all_of(text, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.';
  });
}

// The fingerprint of what is there; empty: it is no certificate. Nothing: there is no such file.
Result<std::optional<std::string>> fingerprint_in(const fs::path& path) {
  const auto text = read_file(path, k_file_bytes_max);
  if (!text && text.error().code == ErrorCode::not_found) return std::nullopt;
  if (!text) {
    return fail(ErrorCode::unavailable, "can't read " + path.string() + "; look what it is",
                to_string(text.error()));
  }
  const auto found = parse_certificates(*text);
  return found ? certificate_fingerprint(found->front().get()) : std::string();
}

tl::unexpected<Error> taken(const fs::path& path, const std::string& there,
                            const Authority& authority, const std::string& advice) {
  const auto what = there.empty() ? std::string("something that is no certificate")
                                  : "another authority's certificate (SHA-256 " + there + ")";
  return fail(ErrorCode::conflict, path.string() + " holds " + what +
                                       ", and this server's has SHA-256 " + authority.fingerprint +
                                       "; " + advice);
}

// fresh: links to what is gone, or was another one before, are made anew, too.
Result<void> update(const TrustStore& store, bool fresh) {
  SpawnRequest request;
  request.argv = store.update;
  if (fresh) request.argv.emplace_back("--fresh");
  request.environment = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C"};
  std::string output;
  const auto ran = run_process(
      std::move(request), k_update_limit, std::stop_token{},
      [&output](std::string_view more) { append_bounded(output, more, k_output_bytes_max); });
  if (!ran) return tl::unexpected(ran.error());
  if (ran->end == RunOutcome::End::exited && ran->exit_code == 0) return {};
  return fail(ErrorCode::unavailable,
              store.update.front() +
                  " failed, so what the machine trusts is as it was until it runs again, which an "
                  "upgrade may do; run it to see why, then this again",
              output);
}

Result<void> check_program(const TrustStore& store) {
  if (::access(store.update.front().c_str(), X_OK) == 0) return {};
  return fail(ErrorCode::unavailable,
              "there is no " + store.update.front() +
                  ": install the package ca-certificates, or add what 'atlasflow ca export' prints "
                  "to this system's store by its own means");
}

}  // namespace

Result<Authority> parse_authority(std::string_view pem) {
  ATLAS_TRY(const auto found, parse_certificates(pem));
  X509* certificate = found.front().get();
  const auto title = common_name(certificate);
  if (!title.starts_with(k_title) || !is_host_name(title.substr(k_title.size())) ||
      X509_check_ca(certificate) != 1 ||
      !is_only_for(certificate, std::string_view(title).substr(k_title.size()))) {
    return fail(ErrorCode::invalid_argument,
                "that is no certificate authority which Atlasflow made; name the server's state "
                "folder with --state-dir");
  }
  return Authority{to_pem(certificate), certificate_fingerprint(certificate),
                   title.substr(k_title.size())};
}

TrustStore TrustStore::of_this_machine() {
  TrustStore store;
  store.may_change = ::geteuid() == 0;
  return store;
}

fs::path TrustStore::file_of(const Authority& authority) const {
  return folder / ("atlasflow-" + authority.domain + ".crt");
}

Result<TrustChange> add_to(const TrustStore& store, const Authority& authority, bool replace) {
  const auto path = store.file_of(authority);
  ATLAS_TRY(const auto there, fingerprint_in(path));
  const bool same = there && *there == authority.fingerprint;
  if (there && !same && !replace) {
    return taken(path, *there, authority,
                 "'atlasflow ca trust --replace' puts this one in its place");
  }
  ATLAS_TRYV(check_program(store));
  if (!same) {
    ATLAS_TRYV(make_folder(store.folder));
    ATLAS_TRYV(replace_file(path, authority.pem, 0644));
  }
  ATLAS_TRYV(update(store, there.has_value()));
  return same ? TrustChange::none : there ? TrustChange::replaced : TrustChange::added;
}

Result<TrustChange> remove_from(const TrustStore& store, const Authority& authority) {
  const auto path = store.file_of(authority);
  ATLAS_TRY(const auto there, fingerprint_in(path));
  if (there && *there != authority.fingerprint) {
    return taken(path, *there, authority,
                 "to have it trusted no more, remove the file and run '" + store.update.front() +
                     " --fresh'");
  }
  ATLAS_TRYV(check_program(store));
  if (there) {
    std::error_code code;
    fs::remove(path, code);
    if (code) {
      return fail(ErrorCode::unavailable, "can't remove " + path.string(), code.message());
    }
  }
  ATLAS_TRYV(update(store, true));
  return there ? TrustChange::removed : TrustChange::none;
}

}  // namespace atlasflow::cli
