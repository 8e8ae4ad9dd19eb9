#include "storage/readmodel/retention.hpp"

#include <functional>
#include <random>

#include <gmock/gmock.h>

#include "events/project_history.hpp"
#include "events/settings.hpp"

namespace atlasflow::storage {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::UnorderedElementsAre;

// A project and its deployments as the read model would have them.
class Kept : public testing::Test {
 protected:
  Kept() {
    project_.state.id = ProjectId("shop0000");
    project_.state.version = StreamVersion{1};
  }

  DeploymentView& add(const std::string& id, DeploymentStatus status, const std::string& image,
                      bool routed = true) {
    DeploymentView view;
    view.state.id = DeploymentId(id);
    view.state.status = status;
    view.state.push.set_environment("production");
    view.state.image = image.empty() ? ImageRef{} : ImageRef{"registry/shop@" + image};
    view.state.image_id = image.empty() ? "" : "id-" + image;
    view.state.routed = routed;
    return *newest_first_.insert(newest_first_.begin(), view);
  }
  void live(const std::string& id) { project_.live = DeploymentId(id); }
  [[nodiscard]] Retention kept(std::size_t rollbacks) const {
    return retention_of(project_, newest_first_, rollbacks);
  }

  ProjectView project_;
  std::vector<DeploymentView> newest_first_;
};

std::vector<std::string> names(const std::set<DeploymentId>& ids) {
  std::vector<std::string> names;
  for (const auto& id : ids) names.push_back(id.str());
  return names;
}

TEST_F(Kept, are_the_live_image_and_the_newest_ones_before_it) {
  for (const char* id : {"a", "b", "c", "d"}) add(id, DeploymentStatus::retired, id);
  add("e", DeploymentStatus::live, "e");
  live("e");
  EXPECT_THAT(names(kept(2).deployments), ElementsAre("c", "d", "e"));
  EXPECT_THAT(kept(2).image_references,
              UnorderedElementsAre(ImageRef{"registry/shop@c"}, ImageRef{"registry/shop@d"},
                                   ImageRef{"registry/shop@e"}));
  EXPECT_THAT(kept(2).image_ids, UnorderedElementsAre("id-c", "id-d", "id-e"));
  EXPECT_THAT(names(kept(0).deployments), ElementsAre("e"));
  EXPECT_THAT(names(kept(9).deployments), ElementsAre("a", "b", "c", "d", "e"));
}

TEST_F(Kept, counts_images_and_not_deployments) {
  add("a", DeploymentStatus::retired, "one");
  add("b", DeploymentStatus::retired, "two");
  add("c", DeploymentStatus::retired, "two");  // its settings changed only
  add("d", DeploymentStatus::live, "three");
  live("d");
  EXPECT_THAT(names(kept(1).deployments), ElementsAre("b", "c", "d"));
  EXPECT_THAT(names(kept(2).deployments), ElementsAre("a", "b", "c", "d"));
}

TEST_F(Kept, is_the_live_image_however_many_newer_ones_there_were) {
  add("a", DeploymentStatus::live, "a");
  for (const char* id : {"b", "c", "d"}) add(id, DeploymentStatus::retired, id);
  live("a");
  EXPECT_THAT(names(kept(1).deployments), ElementsAre("a", "d"));
}

TEST_F(Kept, without_a_live_one_are_as_many_images_as_with_one) {
  for (const char* id : {"a", "b", "c"}) add(id, DeploymentStatus::retired, id);
  EXPECT_THAT(names(kept(1).deployments), ElementsAre("b", "c"));
}

TEST_F(Kept, is_nothing_that_never_served_in_production) {
  add("a", DeploymentStatus::failed, "a", false);
  add("b", DeploymentStatus::retired, "b").state.push.set_environment("preview/topic");
  add("c", DeploymentStatus::superseded, "");
  EXPECT_THAT(names(kept(5).deployments), IsEmpty());
}

TEST_F(Kept, is_all_that_has_not_ended_whatever_its_environment_or_step) {
  add("a", DeploymentStatus::building, "", false).state.earlier.emplace_back().set_image_id("o");
  add("b", DeploymentStatus::live, "b").state.push.set_environment("preview/topic");
  add("c", DeploymentStatus::retiring, "c");
  add("d", DeploymentStatus::queued, "", false);
  EXPECT_THAT(names(kept(0).unfinished), ElementsAre("a", "b", "c", "d"));
  EXPECT_THAT(kept(0).image_ids, UnorderedElementsAre("id-b", "id-c", "o"));
}

TEST_F(Kept, of_a_deleted_project_is_only_what_has_not_ended) {
  add("a", DeploymentStatus::retired, "a");
  add("b", DeploymentStatus::retiring, "b");
  EXPECT_THAT(kept(5).projects, ElementsAre(project_.state.name));
  project_.state.deleted = true;
  EXPECT_THAT(names(kept(5).deployments), ElementsAre("b"));
  EXPECT_TRUE(kept(5).projects.empty());
}

// ---- over a catalog ----

class CatalogKeeps : public testing::Test {
 protected:
  void append(const StreamId& stream, const pb::Event& event) {
    Record record;
    record.position = catalog_.position().next();
    record.stream = stream;
    record.stream_version = StreamVersion{++versions_[stream]};
    record.recorded_at = 1;
    record.event = event;
    catalog_.apply(record);
  }
  void create_project() {
    pb::Event event;
    event.mutable_project_created()->set_name("shop");
    append(project_stream(ProjectId("shop0000")), event);
  }
  void push(const std::string& id) {
    pb::Event event;
    event.mutable_push_received()->set_project_id("shop0000");
    event.mutable_push_received()->set_environment("production");
    append(deployment_stream(DeploymentId(id)), event);
  }
  void fail(const std::string& id) {
    pb::Event event;
    event.mutable_deployment_failed()->set_reason("no");
    append(deployment_stream(DeploymentId(id)), event);
  }
  void delete_project() {
    pb::Event event;
    event.mutable_project_deleted();
    append(project_stream(ProjectId("shop0000")), event);
  }

  std::map<StreamId, std::uint64_t> versions_;
  Catalog catalog_;
};

TEST_F(CatalogKeeps, what_a_deleted_project_still_runs) {
  create_project();
  push("aaaaaaaa");
  push("bbbbbbbb");
  fail("bbbbbbbb");
  delete_project();
  EXPECT_THAT(names(retention_of(catalog_, 5)->deployments), ElementsAre("aaaaaaaa"));
  EXPECT_TRUE(is_retained(catalog_, DeploymentId("aaaaaaaa"), 5).value());
  EXPECT_FALSE(is_retained(catalog_, DeploymentId("bbbbbbbb"), 5).value());
  EXPECT_FALSE(is_retained(catalog_, DeploymentId("unknown0"), 5).value());
}

TEST_F(CatalogKeeps, the_logs_of_the_newest_failures_of_a_project_that_exists) {
  create_project();
  for (int i = 0; i < 25; ++i) {
    const std::string id = "failed" + std::to_string(10 + i);
    push(id);
    fail(id);
  }
  const auto kept = deployments_with_kept_logs(catalog_, 5).value();
  EXPECT_EQ(kept.size(), 20U);
  EXPECT_FALSE(kept.contains(DeploymentId("failed14")));
  EXPECT_TRUE(kept.contains(DeploymentId("failed15")));
  delete_project();
  EXPECT_THAT(deployments_with_kept_logs(catalog_, 5).value(), IsEmpty());
}

// ---- against what can be rolled back to ----

constexpr std::size_t k_rollbacks_max = 4;

// One log, folded both by the read model and as the project's actor folds it.
class Reach : public testing::Test {
 protected:
  Reach() { history_.project.id = ProjectId("shop0000"); }

  void record(const DeploymentId& id, const pb::Event& event) {
    Record record;
    record.position = catalog_.position().next();
    record.stream = deployment_stream(id);
    record.stream_version = StreamVersion{++versions_[record.stream]};
    record.event = event;
    catalog_.apply(record);
    evolve(history_, id, event, 1);
  }
  void create_project() {
    Record record;
    record.position = catalog_.position().next();
    record.stream = project_stream(history_.project.id);
    record.stream_version = StreamVersion{1};
    record.event.mutable_project_created()->set_name("shop");
    catalog_.apply(record);
    evolve(history_, record.event);
  }

  // What the deployment decides, as its actor would record it.
  void command(const DeploymentId& id, const DeploymentCommand& command_for) {
    DeploymentState fresh;
    fresh.id = id;
    const auto* known = history_.find(id);
    const auto events = decide(known == nullptr ? fresh : *known, command_for,
                               {1, catalog_.position().value(), "x.test"});
    ASSERT_TRUE(events) << events.error().message;
    for (const auto& event : *events) record(id, event);
  }
  void outcome(const DeploymentId& id, const std::function<void(pb::Event&)>& fill) {
    const auto& state = *history_.find(id);
    Succeeded succeeded;
    fill(succeeded.outcome);
    if (state.intent) {
      succeeded.effect = state.intent->effect;
    } else {
      const auto& instance = *state.first_instance();
      const bool by_vm = succeeded.outcome.has_healthy() || succeeded.outcome.has_drained();
      succeeded.effect = by_vm ? effect_of(instance.vm_id()) : instance.effect();
      if (succeeded.outcome.has_vm_started()) {
        succeeded.outcome.mutable_vm_started()->set_vm_id(instance.vm_id().str());
      }
      if (succeeded.outcome.has_vm_stopped()) {
        succeeded.outcome.mutable_vm_stopped()->set_vm_id(instance.vm_id().str());
      }
    }
    command(id, succeeded);
  }
  [[nodiscard]] DeploymentId next_id() {
    return DeploymentId("deploy" + std::to_string(++deployments_));
  }
  DeploymentId push(const std::string& environment) {
    const auto id = next_id();
    ReceivePush receive;
    receive.push.set_project_id("shop0000");
    receive.push.set_project_name("shop");
    receive.push.set_environment(environment);
    receive.push.set_after(std::string(40, 'a'));
    receive.push.set_trigger(pb::TRIGGER_WEBHOOK);
    receive.push.set_settings_version(history_.project.version.value());
    *receive.push.mutable_settings() = default_settings();
    command(id, receive);
    return id;
  }
  void go_live(const DeploymentId& id, const std::string& image) {
    command(id, Start{});
    outcome(id, [](auto& e) { e.mutable_cloned(); });
    outcome(id, [&](auto& e) { e.mutable_built()->set_image_id("id-" + image); });
    outcome(id, [&](auto& e) { e.mutable_image_pushed()->set_reference("registry/" + image); });
    start_vm(id);
  }
  void start_vm(const DeploymentId& id) {
    outcome(id, [](auto& e) { e.mutable_vm_placed()->set_host("local"); });
    outcome(id, [](auto& e) { e.mutable_vm_started(); });
    outcome(id, [](auto& e) { e.mutable_healthy()->set_status(200); });
    outcome(id, [](auto& e) { e.mutable_routed(); });
  }
  void roll_back_to(const DeploymentId& target) {
    const auto id = next_id();
    command(id, *rollback_of(*history_.find(target), Principal::user()));
    command(id, Start{});
    start_vm(id);
  }
  // Those in production that serve, or that drain, oldest first.
  [[nodiscard]] std::vector<DeploymentId> of_production(bool that_serve) const {
    std::vector<DeploymentId> ids;
    const auto found = history_.environments.find("production");
    if (found == history_.environments.end()) return ids;
    for (const auto& id : found->second.order) {
      if (is_serving(found->second.deployments.at(id).status) == that_serve) ids.push_back(id);
    }
    return ids;
  }
  void end_drain(const DeploymentId& id) {
    outcome(id, [](auto& e) { e.mutable_drained(); });
    outcome(id, [](auto& e) { e.mutable_vm_stopped(); });
    EXPECT_TRUE(is_terminal(catalog_.deployment(id)->state.status));
  }

  // An event of the project's own stream.
  void record_of_project(const pb::Event& event) {
    Record record;
    record.position = catalog_.position().next();
    record.stream = project_stream(history_.project.id);
    record.stream_version = history_.project.version.next();
    record.event = event;
    catalog_.apply(record);
    evolve(history_, event);
  }
  void set_variable(const std::string& name) {
    pb::Event event;
    event.mutable_env_set()->set_name(name);
    event.mutable_env_set()->set_sealed_ref("value" + std::to_string(++values_));
    record_of_project(event);
    env_at_[history_.project.version] = history_.project.env;
  }
  void unset_variable(const std::string& name) {
    pb::Event event;
    event.mutable_env_unset()->set_name(name);
    record_of_project(event);
    env_at_[history_.project.version] = history_.project.env;
  }
  // The refs that a deployment's VMs are started with.
  [[nodiscard]] std::set<std::string> values_of(const DeploymentState& state) const {
    std::set<std::string> refs;
    const auto after = env_at_.upper_bound(StreamVersion{state.push.settings_version()});
    if (after == env_at_.begin()) return refs;
    for (const auto& [name, entry] : std::prev(after)->second) refs.insert(entry.sealed_ref);
    return refs;
  }
  // Those that a janitor would have removed by now stay removed: nothing may need them again. (With
  // fewer rollbacks kept than the history makes something may.)
  void expect_never_needed_again(const SealedValues& values) {
    for (const auto& ref : values.needed) EXPECT_FALSE(removed_.contains(ref)) << ref;
    for (const auto& ref : values.named) {
      if (!values.needed.contains(ref)) removed_.insert(ref);
    }
  }
  void expect_values_kept(std::size_t rollbacks) {
    const auto values = sealed_values_of(catalog_, rollbacks).value();
    if (rollbacks == k_rollbacks_max) expect_never_needed_again(values);
    const auto expect_kept = [&](const DeploymentState& state) {
      for (const auto& ref : values_of(state)) {
        EXPECT_TRUE(values.needed.contains(ref)) << ref << " of " << state.id.str();
      }
    };
    for (const auto* target : rollback_targets(history_, rollbacks)) expect_kept(*target);
    const auto all = catalog_.deployments_of(history_.project.id, 1'000'000);
    for (const auto& view : *all) {
      if (!is_terminal(view.state.status) || is_within_reach(history_, view.state.id, rollbacks)) {
        expect_kept(view.state);
      }
    }
  }

  // Returns how many images it found that only rollbacks keep.
  std::size_t expect_targets_kept() {
    std::size_t only_rollbacks = 0;
    for (std::size_t rollbacks = 0; rollbacks <= k_rollbacks_max; ++rollbacks) {
      expect_values_kept(rollbacks);
      const auto kept = retention_of(catalog_, rollbacks).value();
      for (const auto* target : rollback_targets(history_, rollbacks)) {
        EXPECT_TRUE(kept.deployments.contains(target->id)) << target->id.str();
        EXPECT_TRUE(kept.image_references.contains(target->image)) << target->image.str();
        EXPECT_TRUE(kept.image_ids.contains(target->image_id)) << target->image_id;
        only_rollbacks += kept.unfinished.contains(target->id) ? 0 : 1;
      }
      EXPECT_LE(kept.image_references.size(), rollbacks + 1 + kept.unfinished.size());
    }
    return only_rollbacks;
  }

  Catalog catalog_;
  ProjectHistory history_;
  std::map<StreamId, std::uint64_t> versions_;
  std::map<StreamVersion, std::map<std::string, EnvEntry>> env_at_;  // as it changed
  std::set<std::string> removed_;                                    // refs
  int deployments_ = 0;
  int values_ = 0;
};

// The one that was made first ends last: it is offered first then.
TEST_F(Reach, is_by_the_order_of_ends_and_not_of_beginnings) {
  create_project();
  for (const char* image : {"a", "b", "c"}) go_live(push("production"), image);
  command(DeploymentId("deploy1"),
          Retire{Principal::system("project"), DeploymentId{"x"}, "newer"});
  command(DeploymentId("deploy2"),
          Retire{Principal::system("project"), DeploymentId{"x"}, "newer"});
  end_drain(DeploymentId("deploy2"));
  expect_targets_kept();
  end_drain(DeploymentId("deploy1"));
  ASSERT_EQ(rollback_targets(history_, 1).front()->id.str(), "deploy1");
  expect_targets_kept();
  EXPECT_THAT(names(retention_of(catalog_, 1)->deployments), ElementsAre("deploy1", "deploy3"));
}

// Its deployment may be tried again until it has an image; then nobody asks for the value, whatever
// can be rolled back to.
TEST_F(Reach, of_a_build_secret_is_the_build) {
  create_project();
  const auto set = [&](const std::string& ref) {
    pb::Event event;
    event.mutable_build_secret_set()->set_name("NPM");
    event.mutable_build_secret_set()->set_sealed_ref(ref);
    record_of_project(event);
  };
  const auto is_needed = [&](const std::string& ref) {
    const auto values = sealed_values_of(catalog_, k_rollbacks_max).value();
    EXPECT_TRUE(values.named.contains(ref));
    return values.needed.contains(ref);
  };
  set("first");
  const auto waiting = push("production");
  set("second");
  EXPECT_TRUE(is_needed("first") && is_needed("second")) << "what waits, and what is next";
  go_live(waiting, "image1");
  EXPECT_FALSE(is_needed("first"));
  pb::Event unset;
  unset.mutable_build_secret_unset()->set_name("NPM");
  record_of_project(unset);
  EXPECT_FALSE(is_needed("second"));
  // A variable of that name is another value.
  set_variable("NPM");
  set("third");
  EXPECT_TRUE(is_needed("value1") && is_needed("third"));
}

// Pain 12, "cleanup too eager": whatever a rollback may ask for has its image, and the values of
// its variables.
TEST_F(Reach, of_rollbacks_is_kept_after_every_event_of_any_history) {
  create_project();
  std::mt19937 random(7);
  const auto below = [&random](std::size_t limit) { return random() % limit; };
  std::size_t only_rollbacks = 0;
  for (int step = 0; step < 600; ++step) {
    const auto targets = rollback_targets(history_, k_rollbacks_max);
    const auto draining = of_production(false);
    if (below(3) == 0) set_variable("KEY" + std::to_string(below(3)));
    if (below(9) == 0 && !history_.project.env.empty()) {
      unset_variable(history_.project.env.begin()->first);
    }
    switch (below(7)) {
      case 0:
      case 1:
        go_live(push("production"), "image" + std::to_string(below(9)));
        break;
      case 2:
        if (!targets.empty()) roll_back_to(targets[below(targets.size())]->id);
        break;
      case 3:
      case 4:
        if (!draining.empty()) end_drain(draining[below(draining.size())]);
        break;
      case 5:  // never live
        command(push("production"), Supersede{DeploymentId("another0")});
        break;
      default:  // another environment has images of its own
        go_live(push("preview/topic"), "preview" + std::to_string(step));
        break;
    }
    only_rollbacks += expect_targets_kept();
    auto serving = of_production(true);
    if (!serving.empty() && below(20) != 0) serving.pop_back();  // else nothing is live for a while
    for (const auto& id : serving)
      command(id, Retire{Principal::system("project"), DeploymentId{"x"}, "newer"});
    while (of_production(false).size() > 3) {
      end_drain(of_production(false)[below(4)]);
    }
    only_rollbacks += expect_targets_kept();
    if (HasFatalFailure() || HasNonfatalFailure()) FAIL() << "after step " << step;
  }
  EXPECT_GT(only_rollbacks, 1'000U);  // else nothing was put to the test
  EXPECT_GT(removed_.size(), 20U);
}

}  // namespace
}  // namespace atlasflow::storage
