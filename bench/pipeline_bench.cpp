// What the control plane costs: from the webhook to Routed on a real server, against the same work
// by hand, in turns, in one run.
//
// By hand is the same code of builder/ and vmm/ called one after the other over a store, a registry
// and a host of its own: the checkout of the pushed commit, buildah with the same sandbox and
// flags, the push to a docker-registry, pull and disks and QEMU's boot, and GET / every 10 ms until
// the first 2xx. So what is counted as overhead is all that Atlasflow adds: TLS and the webhook,
// the log with its syncs, actors and queues, how late the health probe sees the app, and the
// route's way to the edge. What is not counted, because both sides do it: the isolation of builds,
// and how disks are made and VMs booted. Before each side's turn everything of the turn before has
// ended; the version that the server serves idles through both.
#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <nlohmann/json.hpp>
#include <openssl/hmac.h>
#include <signal.h>
#include <spdlog/spdlog.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/http_client.hpp"
#include "bench/work_folder.hpp"
#include "builder/image/image_builder.hpp"
#include "builder/registry/registry.hpp"
#include "builder/source/checkout.hpp"
#include "tests/end_to_end/git_repository.hpp"
#include "tests/end_to_end/process.hpp"
#include "vmm/hypervisor/hypervisor.hpp"
#include "vmm/hypervisor/probe.hpp"

namespace {

using namespace atlasflow;
using namespace std::chrono_literals;
using end_to_end::Process;
using end_to_end::read_file;
using end_to_end::write_file;
namespace fs = std::filesystem;
using nlohmann::json;

constexpr std::size_t k_rounds = 9;
constexpr const char* k_secret = "only for this run";
constexpr const char* k_domain = "atlasflow.localhost";
constexpr int k_memory_mib = 256;
constexpr std::array<const char*, 6> k_steps = {"Cloned",    "Built",   "ImagePushed",
                                                "VMStarted", "Healthy", "Routed"};

[[noreturn]] void give_up(const std::string& why) { throw std::runtime_error(why); }

template <typename T>
T must(Result<T> result) {
  if (!result) give_up(to_string(result.error()));
  if constexpr (!std::is_void_v<T>) return std::move(*result);
}

// When each step was done, in ms since the beginning.
using Turn = std::map<std::string, double>;

double ms_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start)
      .count();
}

// ---- the app ----

constexpr const char* k_dockerfile = R"(FROM scratch
COPY busybox /bin/busybox
RUN ["/bin/busybox", "--install", "-s", "/bin"]
COPY www /www
CMD ["/bin/httpd", "-f", "-p", "3000", "-h", "/www"]
)";

std::string commit_version(end_to_end::GitRepository& repository, std::size_t number) {
  const auto& root = repository.folder();
  fs::copy_file("/bin/busybox", root / "busybox", fs::copy_options::overwrite_existing);
  write_file(root / "Dockerfile", k_dockerfile);
  write_file(root / "www/index.html", "version " + std::to_string(number) + "\n");
  return repository.commit_all("Version " + std::to_string(number));
}

// ---- by hand ----

class ByHand {
 public:
  explicit ByHand(const fs::path& folder, const fs::path& guest_init) : folder_(folder) {
    registry_ = must(builder::start_registry({folder / "registry", 0}));
    builder::ImageBuilderConfig images;
    images.state_dir = folder / "containers";
    images.log_dir = folder / "logs";
    images_ = must(builder::make_buildah_builder(images));
    vmm::HostConfig host;
    host.state_dir = folder / "vm";
    host.kernel_dir = "/usr/lib/atlasflow/kernel";
    host.guest_init = guest_init;
    host.log_dir = folder / "logs";
    hypervisor_ = must(vmm::make_qemu_hypervisor(host));
  }

  Turn run(const std::string& url, const std::string& sha, std::size_t number) {
    const auto name = "hand-v" + std::to_string(number);
    Turn turn;
    const auto start = std::chrono::steady_clock::now();
    builder::CheckoutRequest checkout;
    checkout.url = url;
    checkout.sha = sha;
    checkout.ref = "refs/heads/main";
    checkout.folder = folder_ / "work" / name;
    must(builder::check_out(checkout, {}));
    turn["Cloned"] = ms_since(start);
    builder::BuildRequest build;
    build.build_id = name;
    build.folder = checkout.folder;
    build.project = "web";
    build.deadline = 10min;
    const auto built = must(images_->build(build, {}));
    turn["Built"] = ms_since(start);
    const auto pushed = must(images_->push(built.image_id, registry_->address(), "web", {}));
    turn["ImagePushed"] = ms_since(start);
    vmm::VmSpec spec;
    spec.vm_id = VmId{name};
    spec.hostname = "web";
    spec.image = ImageRef{pushed.reference};
    spec.memory_mib = k_memory_mib;
    const auto endpoint = must(hypervisor_->start(spec, {}));
    turn["VMStarted"] = ms_since(start);
    while (!vmm::probe_http(endpoint, "/", std::string("web.") + k_domain, 2s).healthy()) {
      if (ms_since(start) > 300'000) give_up("the app by hand does not answer");
      std::this_thread::sleep_for(10ms);
    }
    turn["Healthy"] = ms_since(start);
    turn["Routed"] = turn["Healthy"];  // There is nothing to route.
    must(hypervisor_->stop(VmId{name}, 10s, {}));
    fs::remove_all(folder_ / "work");
    return turn;
  }

 private:
  fs::path folder_;
  std::unique_ptr<builder::Registry> registry_;
  std::unique_ptr<builder::ImageBuilder> images_;
  std::unique_ptr<vmm::Hypervisor> hypervisor_;
};

// ---- by a push ----

std::string signature_of(const std::string& body) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned int size = 0;
  const std::string secret = k_secret;
  ::HMAC(EVP_sha256(), secret.data(), static_cast<int>(secret.size()),
         reinterpret_cast<const unsigned char*>(body.data()), body.size(), digest.data(), &size);
  std::string text = "sha256=";
  for (unsigned int i = 0; i < size; ++i) {
    std::array<char, 3> hex{};
    std::snprintf(hex.data(), hex.size(), "%02x", digest[i]);
    text += hex.data();
  }
  return text;
}

class ByPush {
 public:
  ByPush(const fs::path& folder, fs::path program, std::string url)
      : folder_(folder), program_(std::move(program)), url_(std::move(url)) {
    write_file(folder / "atlasflow.toml",
               "[edge]\nhttp = \"127.0.0.1:0\"\nhttps = \"127.0.0.1:0\"\n"
               "[api]\nwebhook_listen = \"127.0.0.1:0\"\n");
    write_file(folder / "webhook-secret", k_secret);
    fs::permissions(folder / "webhook-secret", fs::perms::owner_read);
    server_ = std::make_unique<Process>(
        Process::start({program_.string(), "server", "--config",
                        (folder / "atlasflow.toml").string(), "--state-dir", state().string()},
                       {}, {}, folder / "server.log", folder / "server.log"));
    for (int i = 0; !fs::exists(state() / "atlasflow.sock"); ++i) {
      if (i > 600) give_up("the server does not start: " + read_file(folder / "server.log"));
      std::this_thread::sleep_for(100ms);
    }
    const auto status = get("/v1/status");
    port_ = std::to_string(status.at("https_port").get<int>());
    verb({"project", "create", "web", "--repo", url_, "--branch", "main", "--webhook-secret-file",
          (folder / "webhook-secret").string()});
    verb({"project", "set", "web", "memory_mib=" + std::to_string(k_memory_mib)});
  }
  ByPush(const ByPush&) = delete;
  ByPush& operator=(const ByPush&) = delete;
  ~ByPush() {
    server_->signal(SIGTERM);
    static_cast<void>(server_->wait(60s));
    server_.reset();
    auto halt = start_verb({"halt"});
    static_cast<void>(halt.wait(120s));
  }

  Turn run(const std::string& before, const std::string& sha) {
    const auto body = payload(before, sha);
    const auto began = std::chrono::duration_cast<std::chrono::microseconds>(
                           std::chrono::system_clock::now().time_since_epoch())
                           .count();
    const auto id =
        json::parse(deliver(sha, body)).at("receipts").at(0).at("deployment").get<std::string>();
    const auto live = until(id, "live");
    Turn turn;
    for (const auto& milestone : live.at("milestones")) {
      turn[milestone.at("name").get<std::string>()] =
          static_cast<double>(milestone.at("at_us").get<std::int64_t>() - began) / 1000;
    }
    if (!live_.empty()) until(live_, "retired");
    live_ = id;
    return turn;
  }

 private:
  [[nodiscard]] fs::path state() const { return folder_ / "state"; }

  Process start_verb(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), program_.string());
    return Process::start(arguments, {{"ATLASFLOW_STATE_DIR", state().string()}}, {},
                          folder_ / "verbs.log", folder_ / "verbs.log");
  }

  void verb(std::vector<std::string> arguments) {
    auto process = start_verb(std::move(arguments));
    const auto exit = process.wait(60s);
    if (!exit || exit->code != 0) give_up(read_file(folder_ / "verbs.log"));
  }

  [[nodiscard]] std::string payload(const std::string& before, const std::string& after) const {
    return json{{"ref", "refs/heads/main"},
                {"before", before},
                {"after", after},
                {"created", false},
                {"deleted", false},
                {"forced", false},
                {"head_commit", {{"id", after}, {"message", "A change"}}},
                {"commits", json::array()},
                {"pusher", {{"name", "mona"}}},
                {"repository",
                 {{"id", 186853002},
                  {"full_name", "mona/app"},
                  {"default_branch", "main"},
                  {"private", false},
                  {"html_url", url_},
                  {"clone_url", url_},
                  {"git_url", url_},
                  {"ssh_url", url_}}}}
        .dump();
  }

  // As GitHub does: TLS to the edge, on a new connection.
  std::string deliver(const std::string& delivery, const std::string& body) {
    const auto answer =
        send_http({.method = "POST",
                   .url = std::string("https://") + k_domain + ":" + port_ + "/webhooks/github",
                   .fields = {{"Content-Type", "application/json"},
                              {"X-GitHub-Event", "push"},
                              {"X-GitHub-Delivery", delivery},
                              {"X-Hub-Signature-256", signature_of(body)}},
                   .body = body,
                   .connect_to = "127.0.0.1:" + port_,
                   .ca_file = state() / "ca/ca.pem"});
    if (!answer) give_up("the webhook: " + to_string(answer.error()));
    return answer->body;
  }

  json get(const std::string& path) {
    const auto answer =
        send_http({.url = "http://localhost" + path, .unix_socket = state() / "atlasflow.sock"});
    if (!answer) give_up(path + ": " + to_string(answer.error()));
    return json::parse(answer->body);
  }

  // Looks seldom, so as not to be part of what is measured: the log has the times.
  json until(const std::string& id, const std::string& status) {
    constexpr auto k_limit = 300s;
    const auto end = std::chrono::steady_clock::now() + k_limit;
    while (std::chrono::steady_clock::now() < end) {
      auto deployment = get("/v1/deployments/" + id);
      const auto is = deployment.value("status", "");
      if (is == status) return deployment;
      if (is == "failed") give_up(deployment.at("failure").dump());
      std::this_thread::sleep_for(250ms);
    }
    give_up("deployment " + id + " did not become " + status);
  }

  fs::path folder_;
  fs::path program_;
  std::string url_;
  std::string port_;
  std::string live_;
  std::unique_ptr<Process> server_;
};

// ---- the table ----

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const auto middle = values.size() / 2;
  return values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

// How long a step took, from the step before.
double span(const Turn& turn, std::size_t step) {
  return turn.at(k_steps[step]) - (step == 0 ? 0 : turn.at(k_steps[step - 1]));
}

void print_table(const std::vector<Turn>& pushed, const std::vector<Turn>& by_hand) {
  std::printf("%zu rounds in turns, medians in ms\n", pushed.size());
  std::printf("%-12s %10s %10s %10s\n", "step", "by push", "by hand", "difference");
  for (std::size_t step = 0; step < k_steps.size(); ++step) {
    std::vector<double> pushes;
    std::vector<double> hands;
    std::vector<double> differences;
    for (std::size_t i = 0; i < pushed.size(); ++i) {
      pushes.push_back(span(pushed[i], step));
      hands.push_back(span(by_hand[i], step));
      differences.push_back(pushes.back() - hands.back());
    }
    std::printf("%-12s %10.1f %10.1f %10.1f\n", k_steps[step], median(pushes), median(hands),
                median(differences));
  }
  std::vector<double> pushes;
  std::vector<double> hands;
  std::vector<double> overheads;
  for (std::size_t i = 0; i < pushed.size(); ++i) {
    pushes.push_back(pushed[i].at("Routed"));
    hands.push_back(by_hand[i].at("Routed"));
    overheads.push_back(pushes.back() - hands.back());
  }
  std::printf("%-12s %10.1f %10.1f %10.1f\n", "in all", median(pushes), median(hands),
              median(overheads));
  std::printf("overhead of each round:");
  for (const auto overhead : overheads) std::printf(" %.0f", overhead);
  std::printf("\n");
  std::printf("BAR overhead_ms %.1f <= 250\n", median(overheads));
}

void measure(const fs::path& programs) {
  const bench::WorkFolder folder("pipeline-bench");
  end_to_end::GitRepository repository(folder.path() / "repository");
  const auto url = repository.folder().string();
  fs::create_directories(folder.path() / "push");
  ByPush push(folder.path() / "push", programs / "atlasflow", url);
  ByHand hand(folder.path() / "hand", programs / "atlasflow-guest-init");
  std::vector<Turn> pushed;
  std::vector<Turn> by_hand;
  std::string before(40, '0');
  // The first round fills the caches of both sides and does not count.
  for (std::size_t round = 0; round <= k_rounds; ++round) {
    const auto sha = commit_version(repository, round);
    const bool push_first = round % 2 == 0;
    if (push_first) pushed.push_back(push.run(before, sha));
    by_hand.push_back(hand.run(url, sha, round));
    if (!push_first) pushed.push_back(push.run(before, sha));
    before = sha;
  }
  pushed.erase(pushed.begin());
  by_hand.erase(by_hand.begin());
  print_table(pushed, by_hand);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2 || ::geteuid() != 0) {
    std::fprintf(stderr, "usage, as root: pipeline_bench FOLDER_OF_PROGRAMS\n");
    return 2;
  }
  spdlog::set_level(spdlog::level::warn);
  try {
    measure(fs::absolute(argv[1]));
  } catch (const std::exception& error) {
    std::fprintf(stderr, "pipeline_bench: %s\n", error.what());
    return 1;
  }
  return 0;
}
