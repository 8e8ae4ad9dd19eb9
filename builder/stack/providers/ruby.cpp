// Ruby: Rails, Rack, a program of its own; Jekyll's sites.
#include <algorithm>

#include "builder/stack/providers/static_site.hpp"
#include "builder/stack/recipe.hpp"
#include "builder/stack/source_text.hpp"
#include "builder/stack/version_files.hpp"
#include "builder/stack/version_range.hpp"

namespace atlasflow::builder {
namespace {

struct Gems {
  std::vector<std::string> names;
  [[nodiscard]] bool has(std::string_view name) const {
    return std::find(names.begin(), names.end(), name) != names.end();
  }
};

// gem "rails", "~> 7.1" in the Gemfile; what those bring along stands in Gemfile.lock, four or six
// spaces deep.
Gems find_gems(const std::string& gemfile, const std::string& lock) {
  Gems gems{matches_by_line(gemfile, R"(^gem[\s(]+['"]([A-Za-z0-9_.-]+)['"])")};
  for (auto& name : matches_by_line(lock, R"(^([A-Za-z0-9_.-]+) \([0-9])")) {
    gems.names.push_back(std::move(name));
  }
  return gems;
}

std::vector<VersionWish> find_wishes(const ProviderInput& input, const std::string& gemfile,
                                     const std::string& lock) {
  auto wishes = wishes_of_files(input.tree, {{".ruby-version"}, {"ruby"}});
  // ruby "3.2.2", ruby "~> 3.2", ">= 3.2.1"; bundler refuses every other one.
  const auto range = first_match(gemfile, R"(^ruby[\s(]+['"]([^'"]+)['"])");
  if (!range.empty()) {
    wishes.push_back({npm_range_of(range, RangeDialect::ruby), "ruby in Gemfile", true});
  } else if (const auto locked = first_match(lock, R"(^ruby ([0-9]+\.[0-9]+)\.[0-9]+)");
             !locked.empty() && wishes.empty()) {
    wishes.push_back({locked, "RUBY VERSION in Gemfile.lock"});
  }
  return wishes;
}

struct NativeGem {
  const char* name;
  std::vector<std::string> build;
  std::vector<std::string> run;
};

void native_packages(const Gems& gems, std::vector<std::string>& build,
                     std::vector<std::string>& run) {
  static const std::vector<NativeGem> known = {
      {"pg", {"libpq-dev"}, {"libpq5"}},
      {"mysql2", {"default-libmysqlclient-dev"}, {"libmariadb3"}},
      {"sqlite3", {"libsqlite3-dev"}, {"libsqlite3-0"}},
      {"psych", {"libyaml-dev"}, {"libyaml-0-2"}},
      {"rails", {"libyaml-dev"}, {"libyaml-0-2"}},
      {"ruby-vips", {}, {"libvips42"}},
      {"rmagick", {"libmagickwand-dev"}, {"libmagickwand-6.q16-6"}},
      {"charlock_holmes", {"libicu-dev"}, {"libicu72"}},
  };
  build = {"build-essential", "git", "pkg-config"};
  for (const auto& each : known) {
    if (!gems.has(each.name)) continue;
    for (const auto& [list, more] : {std::pair(&build, &each.build), std::pair(&run, &each.run)}) {
      for (const auto& name : *more) {
        if (std::find(list->begin(), list->end(), name) == list->end()) list->push_back(name);
      }
    }
  }
}

struct RubyStart {
  std::string command;
  std::string why;
  bool is_rails = false;
};

RubyStart find_start(const ProviderInput& input, const Gems& gems, bool has_gemfile) {
  const std::string bundled = has_gemfile ? "bundle exec " : "";
  if (gems.has("rails") && input.tree.has_file("config/application.rb")) {
    return {"bundle exec rails server -b 0.0.0.0 -p $PORT", "Rails", true};
  }
  if (input.has("config.ru")) {
    if (gems.has("puma")) {
      return {bundled + "puma --bind tcp://0.0.0.0:$PORT --environment production config.ru",
              "Rack by Puma (config.ru)"};
    }
    return {bundled + "rackup --host 0.0.0.0 --port $PORT --env production config.ru",
            "Rack (config.ru)"};
  }
  for (const char* name : {"app.rb", "main.rb", "server.rb"}) {
    if (!input.has(name)) continue;
    // Sinatra's own server listens on the loopback address unless it is told.
    const char* address = gems.has("sinatra") ? " -o 0.0.0.0 -p $PORT" : "";
    return {bundled + "ruby " + name + address, name};
  }
  return {};
}

PlanStage gems_stage(const ProviderInput& input, const ChosenBase& base, const Gems& gems,
                     const CopyStep& sources) {
  std::vector<std::string> needed;
  std::vector<std::string> run;
  native_packages(gems, needed, run);
  PlanStage stage = build_stage(input, base.image);
  if (!gems.names.empty() && !base.is_own) install_packages(stage, needed);
  stage.steps.push_back(
      EnvStep{{{"BUNDLE_PATH", "/app/vendor/bundle"}, {"BUNDLE_WITHOUT", "development:test"}}});
  const bool has_gemfile = input.has("Gemfile");
  const bool has_lock = input.has("Gemfile.lock");
  const auto gemfile = text_or_nothing(input.tree, "Gemfile");
  const bool reads_more =
      gemfile.find("path:") != std::string::npos || gemfile.find("gemspec") != std::string::npos ||
      gemfile.find("file:") != std::string::npos || gemfile.find("File.read") != std::string::npos;
  CopyStep manifests{{"Gemfile"}, "./", "", false};
  if (has_lock) manifests.sources.emplace_back("Gemfile.lock");
  const bool takes_all = reads_more || !has_gemfile || !input.choice.install_command.empty();
  stage.steps.push_back(takes_all ? sources : manifests);
  if (has_lock) stage.steps.push_back(EnvStep{{{"BUNDLE_DEPLOYMENT", "true"}}});
  add_install(
      stage, input,
      {has_gemfile ? "bundle install --jobs 4 && rm -rf vendor/bundle/ruby/*/cache" : "", {}});
  if (!takes_all) stage.steps.push_back(sources);
  return stage;
}

// Jekyll writes a site of files, which our own server serves.
Offer jekyll_site(Plan plan, const ProviderInput& input, PlanStage build) {
  plan.provider = "static";
  plan.reason += ", a site by Jekyll";
  add_build(build, input, {"JEKYLL_ENV=production bundle exec jekyll build -d /site", {}});
  if (!input.choice.build_command.empty()) {
    build.steps.push_back(RunStep{gather_site_command(input.choice.static_folder), {}});
  }
  plan.stages.push_back(std::move(build));
  finish_site(plan, {{"/site"}, "/srv", "build", false}, input.choice.static_fallback);
  return Offer(std::move(plan));
}

void build_rails(PlanStage& build, const ProviderInput& input) {
  if (input.tree.list("app/assets").empty() && input.choice.build_command.empty()) return;
  build.steps.push_back(EnvStep{{{"RAILS_ENV", "production"},
                                 {"SECRET_KEY_BASE_DUMMY", "1"},
                                 // The stage before it has built them.
                                 {"SKIP_JS_BUILD", "1"},
                                 {"SKIP_CSS_BUILD", "1"},
                                 {"SKIP_YARN_INSTALL", "1"}}});
  add_build(build, input, {"SECRET_KEY_BASE=build bundle exec rails assets:precompile", {}});
}

}  // namespace

Result<Offer> plan_ruby(const ProviderInput& input, const std::string& seen) {
  ATLAS_TRY(const auto gemfile, read_text(input.tree, "Gemfile"));
  ATLAS_TRY(const auto lock, read_text(input.tree, "Gemfile.lock"));
  const Gems gems = find_gems(gemfile.value_or(""), lock.value_or(""));
  const RubyStart start = find_start(input, gems, gemfile.has_value());
  Plan plan;
  plan.provider = "ruby";
  plan.reason = input.in_place(seen);
  // GitHub's gem brings Jekyll along.
  const bool is_jekyll =
      (gems.has("jekyll") || gems.has("github-pages")) && input.has("_config.yml") && !input.start;
  if (!is_jekyll && !set_start(plan, input, start.command, start.why)) {
    return Offer(
        CannotStart{"it is no Rails app, and there is no config.ru, app.rb, main.rb or "
                    "server.rb: add a config.ru"});
  }
  ATLAS_TRY(
      const auto base,
      take_base(plan, input, "ruby", find_wishes(input, gemfile.value_or(""), lock.value_or(""))));
  plan.ignored = {".git", "log", "tmp"};
  plan.always_ignored = {"vendor/bundle", ".bundle"};
  if (gemfile) plan.needed_files.emplace_back("Gemfile");
  if (lock) plan.needed_files.emplace_back("Gemfile.lock");
  if (gemfile && !lock && !gems.names.empty()) {
    plan.notices.push_back(
        "there is no Gemfile.lock, so every build may install other versions; commit the one that "
        "bundle lock writes");
  }
  std::vector<std::pair<std::string, std::string>> variables = {{"RACK_ENV", "production"}};
  if (gemfile) {
    variables.insert(variables.end(), {{"BUNDLE_PATH", "/app/vendor/bundle"},
                                       {"BUNDLE_WITHOUT", "development:test"}});
    if (lock) variables.emplace_back("BUNDLE_DEPLOYMENT", "true");
  }
  if (start.is_rails) {
    variables.insert(variables.end(), {{"RAILS_ENV", "production"},
                                       {"RAILS_LOG_TO_STDOUT", "1"},
                                       {"RAILS_SERVE_STATIC_FILES", "1"}});
  }
  PlanStage last = app_stage(base.image, variables);
  if (gemfile || has_own_steps(input.choice)) {
    ATLAS_TRY(const auto sources, copy_sources(plan, input));
    PlanStage build = gems_stage(input, base, gems, sources);
    if (is_jekyll) return jekyll_site(std::move(plan), input, std::move(build));
    if (start.is_rails) {
      build_rails(build, input);
    } else {
      add_build(build, input, {});
    }
    plan.stages.push_back(std::move(build));
    std::vector<std::string> ignored;
    std::vector<std::string> needed;
    native_packages(gems, ignored, needed);
    install_packages(last, needed);
    last.steps.push_back(CopyStep{{"/app/"}, "/app/", "build", true});
  } else {
    last.steps.push_back(CopyStep{{"."}, ".", "", true});
  }
  last.steps.push_back(AppUserStep{});
  plan.stages.push_back(std::move(last));
  return Offer(std::move(plan));
}

}  // namespace atlasflow::builder
