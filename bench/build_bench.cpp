// What the builder costs over buildah itself: builds of one source by ImageBuilder and by the same
// buildah command by hand (build_by_hand.bash), in turns, each over a store of its own. The best of
// the rounds counts: a shared machine only ever adds to one. As root.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <limits>
#include <memory>
#include <string>

#include "base/process.hpp"
#include "builder/image/image_builder.hpp"
#include "builder/sandbox/toolchain.hpp"

namespace atlasflow {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr int k_rounds = 7;
constexpr milliseconds k_deadline{120'000};
// The bar: whichever is more.
constexpr double k_overhead_ms_max = 150;
constexpr double k_overhead_share_max = 0.05;

[[noreturn]] void give_up(const std::string& why) {
  std::fprintf(stderr, "build_bench: %s\n", why.c_str());
  std::exit(1);
}

template <typename T>
T must(Result<T> result) {
  if (!result) give_up(to_string(result.error()));
  return std::move(*result);
}

void write(const fs::path& path, const std::string& text) {
  fs::create_directories(path.parent_path());
  std::ofstream(path) << text;
}

struct Folder {
  Folder() {
    std::string name = "/tmp/atlasflow-bench-XXXXXX";
    if (::mkdtemp(name.data()) == nullptr) give_up("no temporary folder could be made");
    path = name;
  }
  ~Folder() {
    std::error_code ignored;
    fs::remove_all(path, ignored);
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  fs::path path;
};

double best_of(const std::function<void()>& work, double so_far) {
  const auto start = Clock::now();
  work();
  return std::min(so_far, std::chrono::duration<double, std::milli>(Clock::now() - start).count());
}

class Bench {
 public:
  explicit Bench(std::string by_hand) : by_hand_(std::move(by_hand)) {
    builder::ImageBuilderConfig config;
    config.state_dir = folder_.path / "state";
    config.log_dir = folder_.path / "logs";
    images_ = must(builder::make_buildah_builder(config));
    fs::create_directories(folder_.path / "store");
    fs::create_directories(source());
    fs::copy_file(find_program("busybox"), source() / "busybox");
    write(source() / "Dockerfile",
          "FROM scratch\nCOPY busybox /bin/busybox\n"
          "RUN [\"/bin/busybox\", \"--install\", \"-s\", \"/bin\"]\nCOPY page /page\n"
          "RUN wc -c /page > /size\nCMD [\"cat\", \"/page\"]\n");
  }

  // fresh: a file changed, so that the last layers are made; else every layer is cached.
  void compare(const char* name, bool is_fresh) {
    double own = std::numeric_limits<double>::max();
    double hand = own;
    for (int round = 0; round < k_rounds; ++round) {
      if (is_fresh) write(source() / "page", std::to_string(++pages_));
      hand = best_of([&] { build_by_hand(); }, hand);
      own = best_of([&] { build(); }, own);
    }
    const double bar = std::max(k_overhead_ms_max, hand * k_overhead_share_max);
    std::printf("%-24s %10.0f %10.0f %10.0f\n", name, own, hand, own - hand);
    std::printf("BAR %s_overhead_ms %.0f <= %.0f\n", name, own - hand, bar);
  }

  // Both once, so that each has what it caches.
  void warm_up() {
    write(source() / "page", "first");
    build_by_hand();
    build();
  }

 private:
  fs::path source() const { return folder_.path / "source"; }

  void build() {
    builder::BuildRequest request;
    request.build_id = "b-" + std::to_string(++builds_);
    request.folder = source();
    request.project = "bench";
    request.deadline = k_deadline;
    must(images_->build(request, {}));
  }

  void build_by_hand() {
    SpawnRequest request;
    request.argv = {find_program("bash"),      by_hand_,
                    builder::k_toolchain_root, (folder_.path / "store").string(),
                    source().string(),         "localhost/bench:b-" + std::to_string(++builds_)};
    request.environment = {"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"};
    std::string said;
    const auto ran = must(run_process(std::move(request), k_deadline, {},
                                      [&said](std::string_view text) { said += text; }));
    if (ran.exit_code != 0) give_up("the build by hand failed: " + said);
  }

  Folder folder_;
  std::string by_hand_;
  std::unique_ptr<builder::ImageBuilder> images_;
  int builds_ = 0;
  int pages_ = 0;
};

}  // namespace
}  // namespace atlasflow

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: build_bench BUILD_BY_HAND\n");
    return 2;
  }
  atlasflow::Bench bench(argv[1]);
  bench.warm_up();
  std::printf("%-24s %10s %10s %10s   ms, the best of %d\n", "build", "atlasflow", "by hand",
              "difference", atlasflow::k_rounds);
  bench.compare("one_file_changed", true);
  bench.compare("all_cached", false);
  return 0;
}
