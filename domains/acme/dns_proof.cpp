#include "domains/acme/dns_proof.hpp"

#include <algorithm>
#include <condition_variable>
#include <map>
#include <mutex>
#include <optional>

#include "base/base64.hpp"
#include "base/digest.hpp"
#include "base/log.hpp"
#include "base/process.hpp"
#include "domains/dns/zone_servers.hpp"

namespace atlasflow::domains {
namespace {

using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;

constexpr std::size_t k_values_told_max = 4;
constexpr std::size_t k_value_chars_told_max = 80;

std::string quoted_list(const std::vector<std::string>& values) {
  std::string text;
  for (std::size_t i = 0; i < values.size() && i < k_values_told_max; ++i) {
    text += (i == 0 ? "\"" : ", \"") + values[i].substr(0, k_value_chars_told_max) + "\"";
  }
  if (values.size() > k_values_told_max) text += " and more";
  return text.empty() ? "none" : text;
}

// Sleeps; false: it was stopped.
bool sleep_for(milliseconds time, const std::stop_token& stop) {
  std::mutex mutex;
  std::condition_variable_any waiting;
  std::unique_lock lock(mutex);
  waiting.wait_for(lock, stop, time, [] { return false; });
  return !stop.stop_requested();
}

// What one name's records are to be, and who is asked for them.
struct Watched {
  std::string name;
  std::vector<std::string> values;
  std::vector<DnsQuestion> questions;
};

// Nothing: at least one server shows all of them, and every other that answers does, too.
std::optional<std::string> what_is_missing(const Watched& watched, const DnsPatience& patience,
                                           const std::stop_token& stop) {
  const auto answers = ask(watched.questions, patience, stop);
  std::string silent;
  bool seen = false;
  for (std::size_t i = 0; i < answers.size(); ++i) {
    const auto& question = watched.questions[i];
    const bool lame = answers[i] && !question.recursive && !answers[i]->authoritative;
    if (!answers[i] || lame) {
      if (silent.empty()) {
        silent =
            lame ? question.server + " does not answer for the zone" : answers[i].error().message;
      }
      continue;
    }
    std::vector<std::string> found;
    for (const auto& each : answers[i]->answers) {
      if (each.type == DnsType::txt) found.push_back(each.value);
    }
    const bool all = std::ranges::all_of(watched.values, [&](const auto& value) {
      return std::ranges::find(found, value) != found.end();
    });
    if (!all) {
      return "the name server " + question.server + " has other TXT records at " + watched.name +
             " than expected: found are " + quoted_list(found) + ", expected are " +
             quoted_list(watched.values);
    }
    seen = true;
  }
  if (seen) return std::nullopt;
  return "no name server tells of the TXT records at " + watched.name + ": " + silent;
}

}  // namespace

TxtProof txt_proof(const std::string& host, std::string_view key_authorization) {
  return {"_acme-challenge." + host, base64url(bytes_of(Sha256().of(key_authorization)))};
}

// ---- the hook -----------------------------------------------------------------------------------

namespace {

// Its output goes nowhere, so what it leaves running in the background keeps nobody waiting.
Result<RunOutcome> run_hook(const SpawnRequest& request, milliseconds deadline,
                            const std::stop_token& stop) {
  constexpr milliseconds k_look = milliseconds(100);  // whether it is wanted no more
  if (stop.stop_requested()) return RunOutcome{RunOutcome::End::cancelled, 0};
  ATLAS_TRY(auto process, spawn_process(request));
  const auto until = std::chrono::steady_clock::now() + deadline;
  while (true) {
    const auto left = std::chrono::ceil<milliseconds>(until - std::chrono::steady_clock::now());
    const auto exit = process.wait(std::clamp(left, milliseconds(0), k_look));
    if (exit) return RunOutcome{RunOutcome::End::exited, exit->code};
    const bool is_stopped = stop.stop_requested();
    if (!is_stopped && left > milliseconds(0)) continue;
    process.kill();
    return RunOutcome{is_stopped ? RunOutcome::End::cancelled : RunOutcome::End::timed_out, 0};
  }
}

}  // namespace

Result<void> HookProvider::run(const char* what, const TxtProof& proof, milliseconds deadline,
                               const std::stop_token& stop) const {
  SpawnRequest request;
  request.argv = {program_, what, proof.name, proof.value};
  request.program = program_;
  request.environment = {"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"};
  const auto call = program_ + " " + what + " " + proof.name + " " + proof.value;
  const auto ran = run_hook(request, deadline, stop);
  if (!ran) {
    return fail(ErrorCode::internal,
                "the DNS hook " + program_ +
                    " can't be run; domains.dns01_hook is to be an "
                    "executable program",
                to_string(ran.error()));
  }
  if (ran->end == RunOutcome::End::cancelled) {
    return fail(ErrorCode::cancelled, "the DNS hook was stopped");
  }
  if (ran->end == RunOutcome::End::timed_out) {
    return fail(ErrorCode::internal,
                "the DNS hook did not end within " +
                    std::to_string(std::chrono::ceil<std::chrono::seconds>(deadline).count()) +
                    " s, and was ended; run it to see why: " + call);
  }
  if (ran->exit_code != 0) {
    return fail(ErrorCode::internal, "the DNS hook ended with exit code " +
                                         std::to_string(ran->exit_code) +
                                         ", expected is 0; run it to see why: " + call);
  }
  return {};
}

Result<void> HookProvider::present(const TxtProof& proof, const std::stop_token& stop) {
  return run("present", proof, deadline_, stop);
}

Result<void> HookProvider::cleanup(const TxtProof& proof, const std::stop_token& stop) {
  return run("cleanup", proof, std::min(deadline_, k_cleanup_deadline), stop);
}

// ---- where the records are ----------------------------------------------------------------------

Result<std::vector<std::string>> DnsProof::resolvers() const {
  std::vector<std::string> servers;
  for (const auto& each : config_.resolvers.empty() ? system_dns_servers() : config_.resolvers) {
    ATLAS_TRY(auto server, parse_dns_server(each));
    servers.push_back(std::move(server));
  }
  return servers;
}

Result<TxtProof> DnsProof::placed(const TxtProof& proof, const std::stop_token& stop) const {
  ATLAS_TRY(const auto asked, resolvers());
  ATLAS_TRY(auto name, end_of_aliases(proof.name, asked, config_.patience, stop));
  return TxtProof{std::move(name), proof.value};
}

Result<void> DnsProof::put(const TxtProof& proof, const std::stop_token& stop) {
  ATLAS_TRY(const auto there, placed(proof, stop));
  ATLAS_TRYV(provider_->present(there, stop));
  log_event("domains", "challenge_record_set", {{"name", there.name}, {"for", proof.name}});
  return {};
}

void DnsProof::remove(const TxtProof& proof) {
  const std::stop_token unstoppable;
  const auto there = placed(proof, unstoppable);
  const auto cleaned =
      there ? provider_->cleanup(*there, unstoppable) : Result<void>(tl::unexpected(there.error()));
  if (!cleaned) {
    log_event(LogLevel::warn, "domains", "challenge_record_not_removed",
              {{"name", proof.name}, {"error", to_string(cleaned.error())}});
  }
}

Result<void> DnsProof::wait_until_seen(const std::vector<TxtProof>& proofs, milliseconds at_most,
                                       const std::stop_token& stop) {
  const auto until = Clock::now() + at_most;
  std::map<std::string, Watched> all;
  for (const auto& proof : proofs) {
    ATLAS_TRY(const auto there, placed(proof, stop));
    auto& watched = all[there.name];
    watched.name = there.name;
    watched.values.push_back(there.value);
  }
  for (auto& [name, watched] : all) {
    ATLAS_TRY(const auto asked, resolvers());
    for (const auto& address : servers_of_zone_with(name, asked, config_.patience, stop)) {
      watched.questions.push_back(
          {server_at(address, config_.zone_server_port), name, DnsType::txt, false});
    }
    if (!watched.questions.empty()) continue;
    for (const auto& resolver : asked) watched.questions.push_back({resolver, name, DnsType::txt});
  }
  std::string missing;
  do {
    missing.clear();
    for (const auto& [name, watched] : all) {
      const auto why = what_is_missing(watched, config_.patience, stop);
      if (why && missing.empty()) missing = *why;
    }
    if (stop.stop_requested()) return fail(ErrorCode::cancelled, "the wait for DNS was stopped");
    if (missing.empty()) return {};
  } while (sleep_for(config_.poll, stop) && Clock::now() < until);
  if (stop.stop_requested()) return fail(ErrorCode::cancelled, "the wait for DNS was stopped");
  return fail(ErrorCode::timed_out,
              "after " + std::to_string(std::chrono::ceil<std::chrono::seconds>(at_most).count()) +
                  " s " + missing + "; the authority was not asked to look");
}

}  // namespace atlasflow::domains
