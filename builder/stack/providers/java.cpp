// Java and what else Maven or Gradle builds: a jar with a Main-Class; Spring Boot, Quarkus,
// Micronaut.
#include <algorithm>

#include "builder/stack/base_image.hpp"
#include "builder/stack/recipe.hpp"
#include "builder/stack/source_text.hpp"
#include "builder/stack/version_files.hpp"

namespace atlasflow::builder {
namespace {

// "1.8" is Java 8.
std::string major_of(std::string version) {
  if (version.starts_with("1.")) version.erase(0, 2);
  version.resize(std::min(version.find('.'), version.size()));
  return version;
}

struct JavaBuild {
  bool is_maven = false;
  std::string file;     // "pom.xml", "build.gradle.kts"
  std::string text;     // of it
  std::string command;  // for sh
  std::string tool;     // "Maven's wrapper"
};

// Git on Windows may have given it line ends that no shell here reads.
std::string run_wrapper(const ProviderInput& input, const std::string& name) {
  const bool has_returns = text_or_nothing(input.tree, name).find("\r\n") != std::string::npos;
  return (has_returns ? "sed -i 's/\\r$//' " + name + " && " : "") + "sh ./" + name;
}

Result<JavaBuild> find_build(const ProviderInput& input) {
  JavaBuild build;
  build.is_maven = input.has("pom.xml");
  // With Gradle the root may have settings alone, and its projects what there is to build.
  for (const char* name :
       {"pom.xml", "build.gradle.kts", "build.gradle", "settings.gradle.kts", "settings.gradle"}) {
    ATLAS_TRY(const auto text, read_text(input.tree, name));
    if (!text) continue;
    build.file = name;
    build.text = *text;
    break;
  }
  if (build.file.starts_with("settings.")) {
    for (const char* name : {"app/build.gradle.kts", "app/build.gradle"}) {
      build.text += text_or_nothing(input.tree, name);
    }
  }
  if (build.is_maven) {
    if (build.text.find("<project") == std::string::npos) {
      return fail(ErrorCode::user_error, "pom.xml, line 1: there is no element <project>");
    }
    const bool is_wrapped =
        input.has("mvnw") && input.tree.has_file(".mvn/wrapper/maven-wrapper.properties");
    build.tool = is_wrapped ? "Maven's wrapper" : "Maven";
    build.command = (is_wrapped ? run_wrapper(input, "mvnw") : "mvn") +
                    " --batch-mode -Dmaven.test.skip=true package";
  } else {
    const bool is_wrapped = input.has("gradlew");
    build.tool = is_wrapped ? "Gradle's wrapper" : "Gradle";
    const bool is_spring = build.text.find("org.springframework.boot") != std::string::npos;
    build.command = (is_wrapped ? run_wrapper(input, "gradlew") : "gradle") + " --no-daemon " +
                    (is_spring ? "bootJar" : "build -x test");
  }
  return build;
}

std::string version_of_build(const JavaBuild& build) {
  if (build.is_maven) {
    return major_of(first_match(
        build.text, R"(<(?:maven\.compiler\.release|java\.version|release|maven\.compiler\.target|)"
                    R"(maven\.compiler\.source)>\s*([0-9.]+)\s*<)"));
  }
  return major_of(first_match(
      build.text, R"(JavaLanguageVersion\.of\(['"]?([0-9]+)|jvmToolchain\(([0-9]+)|)"
                  R"((?:source|target)Compatibility\s*=?\s*['"]?(?:JavaVersion\.VERSION_)?)"
                  R"(([0-9.]+))"));
}

std::vector<VersionWish> find_wishes(const ProviderInput& input, const JavaBuild& build) {
  auto wishes = wishes_of_files(input.tree, {{".java-version"}, {"java"}});
  const auto properties = text_or_nothing(input.tree, "system.properties");
  const auto sdkman = text_or_nothing(input.tree, ".sdkmanrc");
  if (wishes.empty()) {
    if (const auto v = first_match(properties, R"(^java\.runtime\.version\s*=\s*([0-9.]+))");
        !v.empty()) {
      wishes.push_back({v, "system.properties"});
    } else if (const auto s = first_match(sdkman, R"(^java\s*=\s*([0-9.]+))"); !s.empty()) {
      wishes.push_back({s, ".sdkmanrc"});
    }
  }
  // Any later patch of it does.
  for (auto& wish : wishes) wish.range = major_of(wish.range);
  if (const auto version = version_of_build(build); !version.empty()) {
    if (wishes.empty()) wishes.push_back({version, build.file});
    wishes.push_back({">=" + version, build.file, true});
  }
  return wishes;
}

// The one jar of target, build/libs or a module's that can be run.
std::string gather_jar() {
  return "for j in target/quarkus-app/quarkus-run.jar build/quarkus-app/quarkus-run.jar "
         "target/*.jar build/libs/*.jar target/*.war */target/*.jar */build/libs/*.jar; do "
         "test -f \"$j\" || continue; "
         "case \"$j\" in *-sources.jar|*-javadoc.jar|*-plain.jar|*-tests.jar|*/original-*) "
         "continue;; esac; "
         "(cd /tmp && jar xf \"/app/$j\" META-INF/MANIFEST.MF && "
         "grep -q ^Main-Class META-INF/MANIFEST.MF) || continue; "
         "echo \"the program is $j\"; mkdir -p /out; "
         "case \"$j\" in *quarkus-run.jar) cp -R \"${j%/*}/.\" /out && "
         "mv /out/quarkus-run.jar /out/app.jar;; *) cp \"$j\" /out/app.jar;; esac; exit 0; done; "
         "echo \"the build made no jar with a Main-Class in target or build/libs\"; exit 1";
}

std::string start_of(const JavaBuild& build) {
  std::string command = "java $JAVA_OPTS";
  if (build.text.find("org.springframework.boot") != std::string::npos) {
    command += " -Dserver.port=$PORT";
  } else if (build.text.find("quarkus") != std::string::npos) {
    command += " -Dquarkus.http.host=0.0.0.0 -Dquarkus.http.port=$PORT";
  } else if (build.text.find("micronaut") != std::string::npos) {
    command += " -Dmicronaut.server.port=$PORT";
  }
  return command + " -jar app.jar";
}

}  // namespace

Result<Offer> plan_java(const ProviderInput& input, const std::string& seen) {
  ATLAS_TRY(const auto java, find_build(input));
  if (java.file.empty()) {
    return Offer(
        CannotStart{"there is no pom.xml, build.gradle(.kts) or settings.gradle(.kts) beside it"});
  }
  Plan plan;
  plan.provider = "java";
  plan.reason = input.in_place(seen) + ", built by " + java.tool;
  const auto wishes = find_wishes(input, java);
  const bool is_wrapped = java.tool.ends_with("wrapper");
  ATLAS_TRY(const auto base, take_base(plan, input,
                                       is_wrapped      ? "java"
                                       : java.is_maven ? "maven"
                                                       : "gradle",
                                       wishes));
  plan.versions.back().tool = "java";
  // What runs it is of the version that compiled it: an older one would refuse its classes.
  std::vector<VersionWish> same;
  if (!base.version.empty()) {
    same.push_back({base.version, "the version that it is built with"});
    same.push_back({">=" + base.version, "the version that it is built with", true});
  }
  Plan unnoted;
  ATLAS_TRY(const auto runtime, take_base(unnoted, input, "java-runtime", same));
  // What builds it can run it as well, and does where only that is here and no registry answers.
  const auto is_here = [&](const std::string& image) {
    return input.bases.present.contains(full_image_name(image));
  };
  const bool can_run_on_base = is_here(base.image) && !is_here(runtime.image);
  plan.has_fallback = plan.has_fallback || can_run_on_base;
  const bool runs_on_base = can_run_on_base && (base.is_own || !input.bases.may_pull);
  const std::string run_on = runs_on_base ? base.image : runtime.image;

  PlanStage build = build_stage(input, base.image);
  // Debian's Maven has its plugins in a repository of its own, which another would hide.
  const bool is_debians_maven = base.is_own && java.is_maven && !is_wrapped;
  if (is_debians_maven) {
    plan.notices.push_back(
        "Debian's Maven is offline: it has its plugins and Debian's libraries, and downloads none; "
        "Maven's wrapper (mvnw) in the repository, or a public image of Maven, downloads");
  } else {
    build.steps.push_back(EnvStep{{{"MAVEN_OPTS", "-Dmaven.repo.local=/cache/maven"},
                                   {"GRADLE_USER_HOME", "/cache/gradle"}}});
  }
  build.ca_variables.clear();
  build.steps.push_back(CopyStep{{"."}, ".", "", false});
  add_install(build, input, cached_run("", {"/cache"}));
  add_build(build, input, cached_run(java.command, {"/cache"}));
  if (!input.start) build.steps.push_back(RunStep{gather_jar(), {}});
  plan.ignored = {".git"};
  plan.always_ignored = {"target", "build", ".gradle"};
  plan.stages.push_back(std::move(build));
  // Java knows no limit but the machine's memory, of which it takes a quarter by itself.
  PlanStage last = app_stage(run_on, {{"JAVA_TOOL_OPTIONS", "-XX:MaxRAMPercentage=75"}});
  // A Procfile names the jar where the build has put it.
  last.steps.push_back(CopyStep{{input.start ? "/app/" : "/out/"}, "/app/", "build", true});
  last.steps.push_back(AppUserStep{});
  plan.stages.push_back(std::move(last));
  if (!set_start(plan, input, start_of(java), "")) return Offer(CannotStart{});
  return Offer(std::move(plan));
}

}  // namespace atlasflow::builder
