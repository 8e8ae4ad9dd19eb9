#include "vmm/guest/command.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <cstring>

#include <elf.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace atlasflow::vmm::guest {
namespace {

constexpr std::size_t k_head_bytes = 4096;
constexpr std::size_t k_interpreter_bytes_max = 256;  // what the kernel reads of a "#!" line

std::string bytes_at(const std::string& file, std::size_t offset, std::size_t limit) {
  std::string bytes;
  const int fd = open(file.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return bytes;
  bytes.resize(limit);
  const ssize_t n = pread(fd, bytes.data(), limit, static_cast<off_t>(offset));
  bytes.resize(n > 0 ? static_cast<std::size_t>(n) : 0);
  close(fd);
  return bytes;
}

// For a sentence: control characters as they are written in source.
std::string visible(std::string_view text) {
  std::string out;
  for (const char c : text.substr(0, k_interpreter_bytes_max)) {
    if (c == '\r') {
      out += "\\r";
    } else {
      out += static_cast<unsigned char>(c) < 0x20 || c == 0x7f ? '?' : c;
    }
  }
  return out;
}

// "#!INTERPRETER ARGUMENT": the two, without the white space around them. CR is no white space to
// the kernel.
struct Shebang {
  std::string interpreter;
  std::string argument;
};

Shebang shebang_of(std::string_view head) {
  if (!head.starts_with("#!")) return {};
  std::string_view line = head.substr(2, head.find('\n') - 2);
  const auto trim = [&line] {
    line.remove_prefix(std::min(line.find_first_not_of(" \t"), line.size()));
  };
  trim();
  Shebang shebang;
  shebang.interpreter = std::string(line.substr(0, line.find_first_of(" \t")));
  line.remove_prefix(shebang.interpreter.size());
  trim();
  shebang.argument = std::string(line);
  return shebang;
}

constexpr const char* k_save_with_lf = ": its lines end with CRLF; save it with LF line ends";

// The reason when its interpreter is not there; empty when it is.
std::string script_problem(const std::string& name, const Shebang& shebang) {
  if (access(shebang.interpreter.c_str(), F_OK) == 0) return {};
  const std::string told = "the interpreter '" + visible(shebang.interpreter) +
                           "' of the script '" + visible(name) + "' does not exist";
  if (shebang.interpreter.ends_with('\r')) return told + k_save_with_lf;
  return told + " in the image; install it or change the script's first line";
}

// ---- ELF (elf(5)) ----

template <typename Value>
Value value_at(std::string_view bytes, std::size_t offset) {
  Value value{};
  if (offset + sizeof value <= bytes.size()) {
    std::memcpy(&value, bytes.data() + offset, sizeof value);
  }
  return value;
}

bool is_elf(std::string_view head) { return head.starts_with(std::string_view(ELFMAG, SELFMAG)); }

std::string machine_name(std::uint16_t machine) {
  switch (machine) {
    case EM_X86_64:
      return "amd64";
    case EM_386:
      return "386";
    case EM_AARCH64:
      return "arm64";
    case EM_ARM:
      return "arm";
    case EM_RISCV:
      return "riscv64";
    case EM_PPC64:
      return "ppc64le";
    case EM_S390:
      return "s390x";
    default:
      return "another processor (ELF machine " + std::to_string(machine) + ")";
  }
}

// The dynamic loader that a 64-bit program asks for; empty when it is static.
std::string loader_of(const std::string& file, std::string_view head) {
  const auto header = value_at<Elf64_Ehdr>(head, 0);
  for (std::size_t i = 0; i < std::min<std::size_t>(header.e_phnum, 64); ++i) {
    const auto segment = value_at<Elf64_Phdr>(head, header.e_phoff + i * sizeof(Elf64_Phdr));
    if (segment.p_type != PT_INTERP) continue;
    const auto size = std::min<std::size_t>(segment.p_filesz, k_interpreter_bytes_max);
    const std::string loader = bytes_at(file, segment.p_offset, size);
    return loader.substr(0, loader.find('\0'));
  }
  return {};
}

std::string program_problem(const std::string& name, const std::string& file,
                            std::string_view head) {
  const auto header = value_at<Elf64_Ehdr>(head, 0);
  if (header.e_machine != EM_X86_64) {
    return "the image's command '" + visible(name) + "' was built for " +
           machine_name(header.e_machine) + " and the VM is amd64; build it for linux/amd64";
  }
  const std::string loader = loader_of(file, head);
  if (loader.empty() || access(loader.c_str(), F_OK) == 0) return {};
  return "the image's command '" + visible(name) + "' needs the loader '" + visible(loader) +
         "', which the image lacks: it was built for another C library; link it statically or "
         "build "
         "it on the same base image";
}

std::string not_permitted(const std::string& name, const std::string& file) {
  const std::string told = "the image's command '" + visible(name) + "' ";
  struct stat info {};
  if (stat(file.c_str(), &info) == 0) {
    if (S_ISDIR(info.st_mode)) return told + "is a folder; check ENTRYPOINT and CMD";
    if ((info.st_mode & 0111) == 0) {
      return told +
             "is not executable; run chmod +x on it in the Dockerfile or commit it with git "
             "update-index --chmod=+x";
    }
  }
  const Shebang shebang = shebang_of(bytes_at(file, 0, k_head_bytes));
  if (!shebang.interpreter.empty() && access(shebang.interpreter.c_str(), X_OK) != 0) {
    return "the interpreter '" + visible(shebang.interpreter) + "' of the script '" +
           visible(name) + "' may not be executed";
  }
  return told + "may not be executed by the image's USER; check its owner and its mode";
}

std::string base_name(std::string_view path) {
  return std::string(path.substr(path.rfind('/') + 1));
}

// The first word of a shell's command, past exec and assignments, when it is a plain one.
std::string first_word(std::string_view command) {
  for (;;) {
    command.remove_prefix(std::min(command.find_first_not_of(" \t\n"), command.size()));
    const std::string word(command.substr(0, command.find_first_of(" \t\n;&|<>()")));
    if (word.empty() || word.find_first_of("'\"`$\\*?[{~#!") != std::string::npos) return {};
    const std::size_t equals = word.find('=');
    if (word != "exec" && (equals == std::string::npos || equals == 0)) return word;
    command.remove_prefix(word.size());
  }
}

}  // namespace

std::string find_command(const std::string& name, std::string_view path) {
  if (name.find('/') != std::string::npos) {
    struct stat info {};
    return lstat(name.c_str(), &info) == 0 ? name : std::string{};
  }
  std::string there;
  for (bool more = true; more;) {
    const std::size_t end = path.find(':');
    more = end != std::string_view::npos;
    // An empty folder in PATH is the current one.
    const std::string folder(path.substr(0, end));
    if (more) path.remove_prefix(end + 1);
    std::string file = (folder.empty() ? "." : folder) + "/" + name;
    struct stat info {};
    if (stat(file.c_str(), &info) != 0 || !S_ISREG(info.st_mode)) continue;
    if (access(file.c_str(), X_OK) == 0) return file;
    if (there.empty()) there = std::move(file);
  }
  return there;
}

bool is_binary(const std::string& file) {
  const std::string head = bytes_at(file, 0, k_head_bytes);
  return is_elf(head) || head.find('\0') != std::string::npos;
}

std::string why_not_run(const std::string& name, const std::string& file, int error) {
  const std::string told = "the image's command '" + visible(name) + "' ";
  if (file.empty()) {
    return told + "was not found" + (name.find('/') == std::string::npos ? " in PATH" : "") +
           "; check ENTRYPOINT and CMD";
  }
  const std::string head = bytes_at(file, 0, k_head_bytes);
  std::string why;
  if (error == EACCES || error == EISDIR) {
    why = not_permitted(name, file);
  } else if (is_elf(head)) {
    why = program_problem(name, file, head);
  } else if (const Shebang shebang = shebang_of(head); !shebang.interpreter.empty()) {
    why = script_problem(name, shebang);
  } else if (error == ENOENT) {
    why = told + "is a link that leads nowhere";
  } else if (head.empty()) {
    why = told + "is an empty file";
  } else if (error == ENOEXEC) {
    why = told + "is neither a program nor a script with a '#!' line";
  }
  return why.empty() ? told + "cannot be run: " + strerror(error) : why;
}

std::string known_to_fail(const std::string& name, const std::string& file) {
  const Shebang shebang = shebang_of(bytes_at(file, 0, k_head_bytes));
  if (base_name(shebang.interpreter) != "env" || !shebang.argument.ends_with('\r')) return {};
  return "the interpreter '" + visible(shebang.argument) + "' of the script '" + visible(name) +
         "' does not exist" + k_save_with_lf;
}

std::string why_shell_failed(const std::vector<std::string>& args, int exit_code,
                             std::string_view path, const std::string& workdir) {
  if ((exit_code != 126 && exit_code != 127) || args.size() < 3 || args[1] != "-c") return {};
  const std::string shell = base_name(args[0]);
  if (shell != "sh" && shell != "bash" && shell != "ash" && shell != "dash") return {};
  const std::string word = first_word(args[2]);
  if (word.empty()) return {};
  const bool is_path = word.find('/') != std::string::npos;
  const bool is_relative = is_path && word.front() != '/';
  const std::string file = find_command(is_relative ? workdir + "/" + word : word, path);
  if (file.empty()) return is_path ? why_not_run(word, file, ENOENT) : std::string{};
  if (exit_code == 126) return not_permitted(word, file);
  const std::string head = bytes_at(file, 0, k_head_bytes);
  if (is_elf(head)) return program_problem(word, file, head);
  const Shebang shebang = shebang_of(head);
  if (shebang.interpreter.empty()) return {};
  const std::string why = script_problem(word, shebang);
  return why.empty() ? known_to_fail(word, file) : why;
}

}  // namespace atlasflow::vmm::guest
