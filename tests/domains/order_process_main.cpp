// One order in a process of its own, for tests that kill it:
// order_process FOLDER DIRECTORY: has the account there get another key, and prints its thumbprint.
// order_process FOLDER DIRECTORY EFFECT NAME [CA_BUNDLE [HOOK RESOLVER]]. With a hook the order is
// for the name and all below it, proved by DNS. Else it posts its tokens as files in
// FOLDER/board, as an edge would outlive it, and prints the certificate's fingerprint.
#include <chrono>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <string>

#include "domains/acme/issuer.hpp"

namespace {

class FileBoard final : public atlasflow::domains::ChallengeBoard {
 public:
  explicit FileBoard(std::filesystem::path folder) : folder_(std::move(folder)) {}
  atlasflow::Result<void> put(const std::string& host, const std::string& token,
                              const std::string& key_authorization) override {
    std::ofstream(folder_ / (host + "," + token)) << key_authorization;
    return {};
  }
  atlasflow::Result<void> put_in_tls(const std::string&, const std::string&,
                                     const std::string&) override {
    return atlasflow::fail(atlasflow::ErrorCode::internal, "no test asks for that");
  }
  void remove(const std::string& host, const std::string& token) override {
    std::filesystem::remove(folder_ / (host + "," + token));
  }

 private:
  std::filesystem::path folder_;
};

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3 && argc != 5 && argc != 6 && argc != 8) return 2;
  using namespace atlasflow;
  const std::filesystem::path folder = argv[1];
  auto store = domains::CertificateStore::open(folder / "domains", folder / "secret.key");
  if (!store) {
    std::cerr << to_string(store.error()) << "\n";
    return 1;
  }
  FileBoard board(folder / "board");
  domains::AcmeConfig config;
  config.directory = argv[2];
  config.terms_agreed = true;
  config.poll_first = std::chrono::milliseconds(20);  // a test's CA has its answer by then
  if (argc == 3) {
    const auto changed =
        domains::Issuer(config, **store, board).change_account_key(config.directory, {});
    if (!changed) {
      std::cerr << changed.error().reason << "\n";
      return 1;
    }
    std::cout << *changed;
    return 0;
  }
  if (argc >= 6) config.ca_bundle = argv[5];
  std::vector<std::string> names = {argv[4]};
  std::unique_ptr<domains::DnsProof> dns;
  if (argc == 8) {
    names.push_back("*." + names.front());
    domains::DnsProofConfig proof;
    proof.resolvers = {argv[7]};
    proof.poll = std::chrono::milliseconds(50);
    dns = std::make_unique<domains::DnsProof>(
        proof, std::make_unique<domains::HookProvider>(std::string(argv[6])));
  }
  domains::Issuer issuer(config, **store, board, dns.get());
  const auto issued =
      issuer.order({EffectId(argv[3]), names, "", "", std::chrono::seconds(30)}, {});
  if (!issued) {
    std::cerr << issued.error().reason() << "\n";
    return 1;
  }
  std::cout << issued->fingerprint();
  return 0;
}
