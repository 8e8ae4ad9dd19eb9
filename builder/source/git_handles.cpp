#include "builder/source/git_handles.hpp"

#include <mutex>

#include "builder/source/remote_call.hpp"

namespace atlasflow::builder::git {

void start_library() {
  static std::once_flag once;
  std::call_once(once, [] {
    git_libgit2_init();
    git_libgit2_opts(GIT_OPT_SET_OWNER_VALIDATION, 0);
    use_own_sockets();
    for (const int level :
         {static_cast<int>(GIT_CONFIG_LEVEL_SYSTEM), static_cast<int>(GIT_CONFIG_LEVEL_XDG),
          static_cast<int>(GIT_CONFIG_LEVEL_GLOBAL),
          static_cast<int>(GIT_CONFIG_LEVEL_PROGRAMDATA)}) {
      git_libgit2_opts(GIT_OPT_SET_SEARCH_PATH, level, "");
    }
  });
}

Result<Repository> make_repository(const std::filesystem::path& path) {
  git_repository* raw = nullptr;
  git_repository_init_options options{};
  git_repository_init_options_init(&options, GIT_REPOSITORY_INIT_OPTIONS_VERSION);
  options.flags =
      GIT_REPOSITORY_INIT_BARE | GIT_REPOSITORY_INIT_MKPATH | GIT_REPOSITORY_INIT_NO_REINIT;
  if (git_repository_init_ext(&raw, path.c_str(), &options) != 0) {
    return fail(ErrorCode::internal,
                "cannot make the folder of fetched objects; see the disk's free space",
                last_message());
  }
  return Repository(raw);
}

std::string last_message() {
  const git_error* error = git_error_last();
  return error == nullptr || error->message == nullptr ? std::string{} : error->message;
}

}  // namespace atlasflow::builder::git
