#include "vmm/image/collect.hpp"

#include "base/file.hpp"
#include "base/log.hpp"
#include "vmm/hypervisor/record.hpp"
#include "vmm/image/image.hpp"
#include "vmm/image/layers.hpp"

namespace atlasflow::vmm {
namespace {

namespace fs = std::filesystem;

constexpr const char* k_blobs = "blobs";
constexpr const char* k_half_made = ".tmp";  // as temporary_beside names them
// Far more than a kernel and our init ever say.
constexpr std::uintmax_t k_other_bytes_max = 16U << 20;

class Removal {
 public:
  explicit Removal(const std::stop_token& stop) : stop_(stop) {}

  // Whatever in the folder has the ending and is not needed.
  void from(const fs::path& folder, const std::set<std::string>& needed, const char* ending) {
    for (const auto& name : names_if_any(folder)) {
      const fs::path path = folder / name;
      if (path.extension() != ending || needed.contains(name)) continue;
      if (stop_.stop_requested()) return;
      std::error_code error;
      fs::remove_all(path, error);
      if (error) {
        log_event(LogLevel::warn, "vm", "disk_not_removed",
                  {{"path", path.string()}, {"cause", error.message()}});
      } else {
        removed_.push_back(folder.filename().string() + "/" + path.filename().string());
      }
    }
  }

  std::vector<std::string> take() { return std::move(removed_); }

 private:
  std::stop_token stop_;
  std::vector<std::string> removed_;
};

}  // namespace

std::set<std::string> open_files_in(const ProcessId& process, const fs::path& folder) {
  std::set<std::string> names;
  const fs::path fds = "/proc/" + std::to_string(process.pid) + "/fd";
  for (const auto& number : names_if_any(fds)) {
    std::error_code ignored;
    const fs::path target = fs::read_symlink(fds / number, ignored);
    if (target.parent_path() == folder) names.insert(target.filename().string());
  }
  return names;
}

std::vector<std::string> remove_unwanted_images(const fs::path& images, const fs::path& layers,
                                                const std::set<std::string>& wanted,
                                                const std::set<std::string>& disks_in_use,
                                                const std::stop_token& stop) {
  std::set<std::string> folders = {k_blobs};
  std::set<std::string> blobs;
  std::set<std::string> disks = disks_in_use;
  for (const auto& reference : wanted) {
    // One that is not here, or not readable, is pulled again when it is needed.
    const auto image = find_pulled_image(reference, images);
    if (!image) continue;
    folders.insert(image->folder.filename().string());
    for (const auto& blob : image->blobs) blobs.insert(blob.filename().string());
    for (auto& disk : LayerStore::disk_names(image->layers)) disks.insert(std::move(disk));
  }
  Removal removal(stop);
  // Names before what they lead to: a death in between leaves nothing that names what is gone.
  removal.from(images, folders, "");
  removal.from(images / k_blobs / "sha256", blobs, "");
  removal.from(layers, disks, ".erofs");
  // Nobody makes any now, so these are of a start that was killed.
  removal.from(images, {}, k_half_made);
  removal.from(layers, {}, k_half_made);
  return removal.take();
}

void sweep_temporaries(const fs::path& dir) {
  const auto oldest = fs::file_time_type::clock::now() - std::chrono::hours(1);
  for (const auto& name : names_if_any(dir)) {
    const fs::path path = dir / name;
    std::error_code error;
    const auto written = fs::last_write_time(path, error);
    if (!error && path.extension() == k_half_made && written < oldest) fs::remove_all(path, error);
  }
}

bool bound_vm_files(const fs::path& vm_dir, const fs::path& log) {
  struct Bound {
    const char* name;
    std::uintmax_t bytes_kept;  // of its beginning; the process appends, so it goes on behind
  };
  std::error_code error;
  for (const auto& [name, bytes_kept] :
       {Bound{"kernel.log", 0}, Bound{"qemu.log", 0}, Bound{"guest.events", k_events_bytes_max}}) {
    const auto bytes = fs::file_size(vm_dir / name, error);
    if (!error && bytes > k_other_bytes_max) fs::resize_file(vm_dir / name, bytes_kept, error);
  }
  const auto bytes = fs::file_size(log, error);
  return !error && bytes >= k_file_bytes_max / 2;
}

void let_log_grow(const ProcessId& process, const fs::path& log) {
  std::error_code error;
  const auto bytes = fs::file_size(log, error);
  if (!error) raise_file_limit(process, (bytes / k_file_bytes_max + 2) * k_file_bytes_max);
}

}  // namespace atlasflow::vmm
