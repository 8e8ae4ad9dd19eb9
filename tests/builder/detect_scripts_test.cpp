// Ruby, PHP, Elixir, Deno, Gleam and the shell: what starts them, and on what. Sites whose pages
// end in htm.
#include "tests/builder/detect_fixture.hpp"

namespace atlasflow::builder {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

TEST(StaticSite, its_first_page_may_be_index_htm) {
  const std::pair<Files, const char*> cases[] = {
      {{{"index.htm", ""}}, "index.htm in the root folder"},
      {{{"index.htm", ""}, {"index.html", ""}}, "index.html in the root folder"},
      {{{"dist/index.htm", ""}}, "dist/index.htm in the root folder"},
      {{{"package.json", "{}"}, {"index.js", ""}, {"index.htm", ""}},
       "index.htm, and package.json without a start script"},
      {{{"Staticfile", "root: web\npushstate: enabled\n"}, {"web/index.htm", ""}},
       "Staticfile, whose root is web, index.htm for every path without a file"},
  };
  for (const auto& [files, reason] : cases) {
    const auto stack = detect_files(files);
    ASSERT_TRUE(stack) << reason << ": " << to_string(stack.error());
    EXPECT_EQ(stack->name, "static") << reason;
    EXPECT_EQ(stack->reason, reason);
  }
}

TEST(Ruby, is_rails_rack_or_a_program) {
  struct Case {
    Files files;
    const char* start;
  };
  const Case cases[] = {
      {{{"Gemfile", "gem \"rails\", \"~> 7.1\"\n"}, {"config/application.rb", ""}},
       "exec bundle exec rails server -b 0.0.0.0 -p $PORT"},
      {{{"Gemfile", "gem 'puma'\n"}, {"config.ru", ""}},
       "exec bundle exec puma --bind tcp://0.0.0.0:$PORT --environment production config.ru"},
      {{{"Gemfile", "gem('rack')\n"}, {"config.ru", ""}},
       "exec bundle exec rackup --host 0.0.0.0 --port $PORT --env production config.ru"},
      {{{"config.ru", ""}}, "exec rackup --host 0.0.0.0 --port $PORT --env production config.ru"},
      {{{"Gemfile", "gem \"sinatra\"\n"}, {"app.rb", ""}},
       "exec bundle exec ruby app.rb -o 0.0.0.0 -p $PORT"},
      {{{"Gemfile", ""}, {"main.rb", ""}}, "exec bundle exec ruby main.rb"},
  };
  for (const auto& each : cases) {
    const auto stack = detected(each.files);
    EXPECT_EQ(stack.name, "ruby");
    EXPECT_EQ(start_line(stack), each.start);
  }
}

TEST(Ruby, its_version_is_what_bundler_will_insist_on) {
  const auto with = [](Files files) {
    files["app.rb"] = "";
    files.try_emplace("Gemfile", "");
    return base_of(detected(files));
  };
  EXPECT_EQ(with({}), "ruby:3.4-slim-bookworm");
  EXPECT_EQ(with({{".ruby-version", "ruby-3.2.2\n"}}), "ruby:3.2-slim-bookworm");
  EXPECT_EQ(with({{"Gemfile", "ruby \"3.2.2\"\n"}}), "ruby:3.2.2-slim");
  EXPECT_EQ(with({{"Gemfile", "ruby '~> 3.3.0'\n"}}), "ruby:3.3-slim-bookworm");
  EXPECT_EQ(with({{"Gemfile.lock", "RUBY VERSION\n   ruby 3.1.4p223\n"}}),
            "ruby:3.1-slim-bookworm");
}

TEST(Ruby, gems_are_compiled_in_a_stage_that_is_not_in_the_image) {
  const auto stack = detected({{"Gemfile", "gem \"rails\"\ngem \"pg\"\n"},
                               {"Gemfile.lock", ""},
                               {"config/application.rb", ""},
                               {"app/assets/a.css", ""}});
  const auto last = stack.dockerfile.substr(stack.dockerfile.rfind("FROM "));
  EXPECT_THAT(stack.dockerfile,
              AllOf(HasSubstr("build-essential git pkg-config"), HasSubstr("libpq-dev"),
                    HasSubstr("rails assets:precompile\n"), HasSubstr("BUNDLE_DEPLOYMENT=true")));
  EXPECT_THAT(last, AllOf(HasSubstr("libpq5"), Not(HasSubstr("build-essential"))));
  EXPECT_THAT(detected({{"Gemfile", ""}, {"app.rb", ""}}).dockerfile, Not(HasSubstr("apt-get")));
}

TEST(Ruby, jekyll_is_a_site) {
  const auto stack = detected({{"Gemfile", "gem \"jekyll\"\n"}, {"_config.yml", ""}});
  EXPECT_EQ(stack.name, "static");
  EXPECT_THAT(stack.dockerfile, HasSubstr("jekyll build -d /site\n"));
  EXPECT_TRUE(stack.needs_static_server);
  EXPECT_EQ(detected({{"Gemfile", "gem \"github-pages\"\n"}, {"_config.yml", ""}}).name, "static");
}

TEST(Php, is_served_by_apache_from_where_its_index_is) {
  const std::pair<Files, const char*> cases[] = {
      {{{"index.php", ""}}, "DocumentRoot /app\n"},
      {{{"composer.json", "{}"}, {"public/index.php", ""}}, "DocumentRoot /app/public\n"},
      {{{"composer.json", "{}"}, {"web/index.php", ""}}, "DocumentRoot /app/web\n"},
  };
  for (const auto& [files, folder] : cases) {
    const auto stack = detected(files);
    EXPECT_EQ(stack.name, "php");
    EXPECT_THAT(stack.dockerfile, AllOf(HasSubstr(folder), HasSubstr("Listen 0.0.0.0:${PORT}\n"),
                                        HasSubstr("COPY <<'END_OF_FILE' ")));
    EXPECT_EQ(start_line(stack), "exec apache2 -f /etc/apache2/atlasflow.conf -D FOREGROUND");
  }
  EXPECT_THAT(refused({{"composer.json", "{\n\"a\"\n}"}, {"index.php", ""}}),
              HasSubstr("composer.json, line 3 is not JSON"));
}

TEST(Php, composer_says_version_and_extensions) {
  const auto stack =
      detected({{"index.php", ""},
                {"composer.json",
                 R"({"require": {"php": "^8.1 <8.3", "ext-intl": "*", "ext-json": "*"}})"}});
  EXPECT_EQ(base_of(stack), "php:8.2-apache-bookworm");
  EXPECT_THAT(stack.dockerfile,
              AllOf(HasSubstr("docker-php-ext-install -j2 intl && "), HasSubstr("libicu-dev"),
                    HasSubstr("COPY --from=docker.io/library/composer:2 /usr/bin/composer"),
                    HasSubstr("composer install --no-dev")));
  const auto laravel = detected({{"artisan", ""},
                                 {"public/index.php", ""},
                                 {"composer.json", R"({"require": {"php": "^8.2"}})"},
                                 {"package.json", R"({"scripts": {"build": "vite build"}})"}});
  EXPECT_THAT(laravel.reason, HasSubstr("Laravel"));
  EXPECT_THAT(laravel.dockerfile,
              AllOf(HasSubstr("AS assets\n"), HasSubstr("pdo_mysql pdo_pgsql")));
  EXPECT_THAT(laravel.notices, Contains(HasSubstr("php artisan migrate --force")));
}

TEST(Php, a_vendor_folder_is_left_out_only_where_composer_makes_it_again) {
  const Files committed = {{"index.php", ""}, {"vendor/autoload.php", ""}};
  EXPECT_THAT(detected(committed).ignore, Not(HasSubstr("vendor")));
  auto described = committed;
  described["composer.json"] = R"({"name": "a/b"})";
  EXPECT_THAT(detected(described).ignore, Not(HasSubstr("vendor")));
  auto installed = committed;
  installed["composer.json"] = R"({"require": {"php": "^8.2"}})";
  EXPECT_THAT(detected(installed).ignore, HasSubstr("\nvendor\n"));
}

TEST(Php, what_is_in_a_folder_with_a_dot_is_for_nobody) {
  const auto stack = detected({{"index.php", ""}});
  const auto denied = stack.dockerfile.find(
      "<LocationMatch \"/\\.(?!well-known(/|$))\">\n"
      "  Require all denied\n</LocationMatch>\n");
  EXPECT_NE(denied, std::string::npos) << stack.dockerfile;
}

TEST(Shell, the_first_line_names_the_shell) {
  const std::pair<const char*, const char*> cases[] = {{"#!/bin/bash\n", "bash"},
                                                       {"#!/usr/bin/env bash\n", "bash"},
                                                       {"#!/bin/zsh\n", "zsh"},
                                                       {"#!/bin/sh\n", "sh"},
                                                       {"exec nc\n", "sh"}};
  for (const auto& [text, shell] : cases) {
    const auto stack = detected({{"start.sh", text}});
    EXPECT_EQ(stack.name, "shell");
    EXPECT_THAT(stack.start, ElementsAre(shell, "start.sh"));
    EXPECT_EQ(stack.dockerfile.find("zsh &&") != std::string::npos, std::string(shell) == "zsh");
  }
}

TEST(Elixir, is_a_release_with_phoenix_assets) {
  const auto stack = detected({{"mix.exs",
                                "def project do [app: :shop, elixir: \"~> 1.14\"] end\n"
                                "{:phoenix, \"~> 1.7\"},\n\"assets.deploy\": []\n"}});
  EXPECT_EQ(stack.name, "elixir");
  EXPECT_EQ(base_of(stack), "elixir:1.18-slim");
  EXPECT_EQ(start_line(stack), "exec /app/bin/shop start");
  EXPECT_THAT(stack.dockerfile, AllOf(HasSubstr("mix assets.deploy\n"),
                                      HasSubstr("mix release --overwrite --path /out\n"),
                                      HasSubstr("PHX_SERVER=true")));
  EXPECT_THAT(stack.notices, Contains(HasSubstr("SECRET_KEY_BASE")));
}

TEST(Deno, is_its_start_task_or_a_file) {
  EXPECT_EQ(start_line(detected({{"deno.json", "{\"tasks\": {\"start\": \"x\"}}"}})),
            "exec deno task start");
  const auto stack = detected({{"deno.jsonc", "{} // comment"}, {"main.ts", ""}});
  EXPECT_EQ(stack.name, "deno");
  EXPECT_EQ(start_line(stack), "exec deno run --allow-all main.ts");
  EXPECT_THAT(stack.dockerfile,
              AllOf(HasSubstr("RUN deno cache main.ts\n"), HasSubstr("tcp:0.0.0.0:3000")));
  EXPECT_THAT(refused({{"deno.json", "{"}, {"main.ts", ""}}),
              HasSubstr("deno.json, line 1 is not JSON"));
}

TEST(Gleam, is_a_shipment_for_erlang) {
  const auto stack = detected({{"gleam.toml", "name = \"shop\"\n"}});
  EXPECT_EQ(stack.name, "gleam");
  EXPECT_EQ(start_line(stack), "exec sh /app/entrypoint.sh run");
  EXPECT_THAT(refused({{"gleam.toml", "target = \"javascript\"\n"}}), HasSubstr("JavaScript"));
}

TEST(DetectDeno, a_configuration_may_have_comments_and_a_comma_behind_the_last_entry) {
  const auto stack = detected({{"deno.jsonc",
                                "{ // , }\n  \"tasks\": {\"start\": \"deno run a,}.ts\", "
                                "\"x\": \"\\\",]\", /* ,] */ },\n}\n"}});
  EXPECT_EQ(start_line(stack), "exec deno task start");
  EXPECT_THAT(refused({{"deno.jsonc", "{\n\"tasks\": {,}}\n"}}), HasSubstr("line 2"));
  EXPECT_THAT(refused({{"deno.jsonc", "{\"tasks\": \"never closed, }"}}), HasSubstr("line 1"));
  EXPECT_THAT(refused({{"deno.jsonc", "{\"tasks\": {}, /* never closed"}}), HasSubstr("line 1"));
}

TEST(DetectShell, line_ends_of_windows_are_taken_out_with_a_notice) {
  const auto stack = detected({{"start.sh", "#!/bin/bash\r\necho hi\r\n"}});
  EXPECT_THAT(stack.start, testing::ElementsAre("bash", "start.sh"));
  EXPECT_THAT(stack.dockerfile, HasSubstr("RUN sed -i 's/\\r$//' start.sh\nUSER 65534:65534\n"));
  EXPECT_THAT(stack.notices, testing::Contains(HasSubstr("CRLF")));
  EXPECT_THAT(detected({{"start.sh", "echo hi\n"}}).dockerfile, testing::Not(HasSubstr("sed -i")));
}

}  // namespace
}  // namespace atlasflow::builder
