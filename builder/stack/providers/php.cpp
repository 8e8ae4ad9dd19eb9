// PHP by Apache: a folder of scripts, an app with a front controller, Laravel, Symfony.
#include <algorithm>

#include "builder/stack/recipe.hpp"
#include "builder/stack/source_text.hpp"
#include "builder/stack/version_files.hpp"
#include "builder/stack/version_range.hpp"

namespace atlasflow::builder {
namespace {

using nlohmann::json;

constexpr const char* k_composer_image = "docker.io/library/composer:2";

Result<json> read_composer(const ProviderInput& input) {
  ATLAS_TRY(const auto text, read_text(input.tree, "composer.json"));
  if (!text) return json();
  return parse_json(*text, "composer.json");
}

struct Extension {
  const char* name;
  std::vector<std::string> build;  // what docker-php-ext-install compiles against
  std::vector<std::string> run;
};

// Those that the official image has not, and that docker-php-ext-install knows. The others of
// composer.json's "ext-…" are in every PHP.
const std::vector<Extension>& extensions() {
  static const std::vector<Extension> known = {
      {"bcmath", {}, {}},
      {"calendar", {}, {}},
      {"exif", {}, {}},
      {"gd",
       {"libpng-dev", "libjpeg62-turbo-dev", "libfreetype-dev"},
       {"libpng16-16", "libjpeg62-turbo", "libfreetype6"}},
      {"gettext", {}, {}},
      {"gmp", {"libgmp-dev"}, {}},
      {"intl", {"libicu-dev"}, {"libicu72"}},
      {"mysqli", {}, {}},
      {"opcache", {}, {}},
      {"pcntl", {}, {}},
      {"pdo_mysql", {}, {}},
      {"pdo_pgsql", {"libpq-dev"}, {"libpq5"}},
      {"pgsql", {"libpq-dev"}, {"libpq5"}},
      {"soap", {"libxml2-dev"}, {}},
      {"sockets", {}, {}},
      {"xsl", {"libxslt1-dev"}, {"libxslt1.1"}},
      {"zip", {"libzip-dev"}, {"libzip4"}},
  };
  return known;
}

// In one step, so that what only the compiler needs is in no layer.
void install_extensions(PlanStage& stage, const json& composer, bool is_laravel, bool is_own) {
  const json& required = object_at(composer, {"require"});
  std::vector<const Extension*> wanted;
  for (const auto& each : extensions()) {
    const bool is_required =
        required.is_object() && required.contains(std::string("ext-") + each.name);
    const bool is_laravels = is_laravel && (std::string_view(each.name).starts_with("pdo_") ||
                                            std::string_view(each.name) == "bcmath");
    if (is_required || is_laravels) wanted.push_back(&each);
  }
  if (wanted.empty()) return;
  std::string names;
  std::string build;
  std::string run;
  for (const auto* each : wanted) {
    const std::string name = each->name;
    names += " " + (is_own ? "php-" + (name.starts_with("pdo_") ? name.substr(4) : name) : name);
    for (const auto& package : each->build) build += " " + package;
    for (const auto& package : each->run) run += " " + package;
  }
  const std::string get = "apt-get install -y --no-install-recommends";
  std::string command = "apt-get update && " + get;
  if (is_own) {
    command += names;
  } else {
    command += build + run + " && docker-php-ext-install -j2" + names;
    if (build.empty() && run.empty()) command = "docker-php-ext-install -j2" + names;
    if (!build.empty()) command += " && apt-get purge -y --auto-remove" + build;
  }
  stage.steps.push_back(RunStep{command + " && rm -rf /var/lib/apt/lists/*", {}});
}

// Complete by itself, so that no variable of Debian's envvars is needed, and the app's user may run
// it. A path that is no file goes to index.php; an app's own .htaccess comes first.
std::string apache_configuration(const std::string& folder) {
  return "ServerRoot /etc/apache2\n"
         "ServerName localhost\n"
         "Listen 0.0.0.0:${PORT}\n"
         "PidFile /tmp/apache2.pid\n"
         "DefaultRuntimeDir /tmp\n"
         "Define APACHE_RUN_DIR /tmp\n"
         "Define APACHE_PID_FILE /tmp/apache2.pid\n"
         "Define APACHE_LOG_DIR /tmp\n"
         "IncludeOptional mods-enabled/*.load\n"
         "IncludeOptional mods-enabled/*.conf\n"
         "ErrorLog /dev/stderr\n"
         "LogFormat \"%h \\\"%r\\\" %>s %b\" short\n"
         "CustomLog /dev/stdout short\n"
         "<Directory />\n"
         "  Require all denied\n"
         "</Directory>\n"
         "DocumentRoot " +
         folder +
         "\n"
         "<Directory " +
         folder +
         ">\n"
         "  Require all granted\n"
         "  AllowOverride All\n"
         "  Options FollowSymLinks\n"
         "  DirectoryIndex index.php index.html\n"
         "  FallbackResource /index.php\n"
         "</Directory>\n"
         // What lies beside the scripts and is for nobody: .env, .git, composer.json.
         "<FilesMatch \"^(\\.|composer\\.(json|lock)$|Procfile$|atlasflow\\.toml$)\">\n"
         "  Require all denied\n"
         "</FilesMatch>\n"
         // And what is in a folder like .git, however its files are called.
         "<LocationMatch \"/\\.(?!well-known(/|$))\">\n"
         "  Require all denied\n"
         "</LocationMatch>\n"
         "<FilesMatch \"\\.php$\">\n"
         "  SetHandler application/x-httpd-php\n"
         "</FilesMatch>\n";
}

// The sources, with what composer.json asks for.
PlanStage composer_stage(const ProviderInput& input, const std::string& on, bool is_own,
                         bool installs, const CopyStep& sources) {
  PlanStage build = build_stage(input, on);
  if (installs && !is_own) {
    install_packages(build, {"git", "unzip"});
    build.steps.push_back(CopyStep{{"/usr/bin/composer"}, "/usr/bin/", k_composer_image, false});
  }
  build.steps.push_back(EnvStep{{{"COMPOSER_ALLOW_SUPERUSER", "1"}, {"COMPOSER_HOME", "/cache"}}});
  build.steps.push_back(sources);
  add_install(build, input,
              cached_run(installs ? "composer install --no-dev --no-interaction --no-progress "
                                    "--optimize-autoloader"
                                  : "",
                         {"/cache"}));
  add_build(build, input, {});
  return build;
}

std::string document_folder(const ProviderInput& input) {
  for (const char* folder : {"public", "web", "webroot", "www", "htdocs"}) {
    if (input.tree.has_file(std::string(folder) + "/index.php")) return folder;
  }
  return "";
}

}  // namespace

Result<Offer> plan_php(const ProviderInput& input, const std::string& seen) {
  ATLAS_TRY(const auto composer, read_composer(input));
  const std::string folder = document_folder(input);
  const bool is_laravel = input.has("artisan");
  const bool is_symfony = input.tree.has_file("bin/console");
  if (folder.empty() && !input.has("index.php") && !input.start && !input.has("start.sh")) {
    return Offer(CannotStart{"there is no index.php in the folder, or in public or web: add one"});
  }
  Plan plan;
  plan.provider = "php";
  plan.reason = input.in_place(seen);
  if (is_laravel) plan.reason += ", Laravel";
  if (is_symfony) plan.reason += ", Symfony";
  plan.reason += ", served by Apache from " + (folder.empty() ? std::string("it") : folder);
  auto wishes = wishes_of_files(input.tree, {{".php-version"}, {"php"}});
  if (const auto range = text_at(composer, {"require", "php"}); !range.empty()) {
    wishes.push_back(
        {npm_range_of(range, RangeDialect::composer), "require.php in composer.json", true});
  }
  ATLAS_TRY(const auto base, take_base(plan, input, "php", wishes));
  plan.ignored = {".git", "**/.env"};
  const bool installs =
      composer.is_object() && (composer.contains("require") || composer.contains("autoload"));
  // One that is committed and that nothing here would make again is the app's.
  if (installs) plan.always_ignored = {"vendor"};
  PlanStage tools{"php", base.image, {}};
  install_extensions(tools, composer, is_laravel, base.is_own);
  const std::string on = tools.steps.empty() ? base.image : "php";
  if (!tools.steps.empty()) plan.stages.push_back(std::move(tools));

  ATLAS_TRY(const auto sources, copy_sources(plan, input));
  PlanStage last = app_stage(on, {});
  if (is_laravel) {
    last.steps.insert(last.steps.begin() + 1, EnvStep{{{"LOG_CHANNEL", "stderr"}}});
  }
  last.steps.push_back(
      FileStep{"/etc/apache2/atlasflow.conf",
               apache_configuration("/app" + (folder.empty() ? "" : "/" + folder))});
  last.steps.push_back(RunStep{"a2enmod -q rewrite && a2dismod -q -f status", {}});
  if (installs || sources.from == "assets" || has_own_steps(input.choice)) {
    PlanStage build = composer_stage(input, on, base.is_own, installs, sources);
    plan.stages.push_back(std::move(build));
    last.steps.push_back(CopyStep{{"/app/"}, "/app/", "build", true});
  } else {
    last.steps.push_back(CopyStep{{"."}, ".", "", true});
  }
  last.steps.push_back(AppUserStep{});
  plan.stages.push_back(std::move(last));
  if (is_laravel) {
    plan.notices.push_back(
        "APP_KEY must be set (atlasflow env set); release_command = \"php artisan migrate "
        "--force\" migrates the database before a version goes live");
  }
  if (!set_start(plan, input, "apache2 -f /etc/apache2/atlasflow.conf -D FOREGROUND", "")) {
    return Offer(CannotStart{});
  }
  return Offer(std::move(plan));
}

}  // namespace atlasflow::builder
