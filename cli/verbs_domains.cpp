// Domains of users' own: what to set, where they stand, and their certificates.
#include <nlohmann/json.hpp>

#include "cli/format.hpp"
#include "cli/verbs.hpp"

namespace atlasflow::cli {
namespace {

using nlohmann::json;
using Rows = std::vector<std::vector<std::string>>;

constexpr std::size_t k_history_lines = 10;

int print_json(const json& answer, const Terminal& terminal) {
  terminal.out << answer.dump(2) << "\n";
  return k_exit_ok;
}

std::string path_of(const std::string& domain) { return "/v1/domains/" + encoded(domain); }

// "bücher.example (xn--bcher-kva.example)".
std::string titled(const json& domain) {
  const auto name = text_of(domain, "domain");
  const auto shown = printable(text_of(domain, "display_name"));
  return shown.empty() || shown == name ? name : shown + " (" + name + ")";
}

// Whose it is: the project's name, or the server's own.
std::string owner_of(const json& domain) {
  return domain.value("is_servers", false) ? "(this server)" : text_of(domain, "project");
}

void add_records(const json& records, Rows& rows) {
  for (const auto& record : records) {
    const auto value = text_of(record, "value");
    const bool is_text = text_of(record, "type") == "TXT";
    rows.push_back(
        {text_of(record, "name"), text_of(record, "type"), is_text ? "\"" + value + "\"" : value});
  }
}

// What is to be set, as a zone file's lines are read: name, type, value.
void print_records(const json& domain, const Terminal& terminal) {
  const auto records = domain.value("records", json::object());
  const auto list = [&](const char* key) { return records.value(key, json::array()); };
  Rows rows = {{"NAME", "TYPE", "VALUE"}};
  add_records(list("routing"), rows);
  if (records.value("proof_required", false)) add_records(list("proof"), rows);
  terminal.out << table(rows);
  if (!list("instead").empty()) {
    Rows instead = {{"NAME", "TYPE", "VALUE"}};
    add_records(list("instead"), instead);
    terminal.out << "or, where a CNAME can't be set:\n" << table(instead);
  }
}

std::string certificate_line(const json& domain, TimestampUs now) {
  const auto certificate = domain.value("certificate", json());
  if (!certificate.is_object()) return "none yet";
  const auto end = number_of(certificate, "not_after_us");
  const auto left = end - now;
  const auto source = text_of(certificate, "source");
  const std::string whose = source == "uploaded"   ? "your own, "
                            : source == "released" ? "your own until one is ordered, "
                                                   : "";
  return whose + "by " + printable(text_of(certificate, "issuer")) + ", until " + local_time(end) +
         (left > 0 ? " (" + duration(left) + " left)" : " (expired)");
}

std::string failure_line(const json& domain, TimestampUs now) {
  const auto failure = domain.value("failure", json());
  if (!failure.is_object()) return {};
  const auto pause = number_of(failure, "retry_at_us") - now;
  return printable(text_of(failure, "reason")) + " (" + text_of(failure, "problem") + ", " +
         age(now, number_of(failure, "at_us")) + "; tried again " +
         (pause > 0 ? "in " + duration(pause) : "now") + ")";
}

// What it covers, where that is more than the domain.
void add_names(const json& certificate, Rows& rows) {
  const auto names = certificate.value("names", json::array());
  if (names.size() < 2) return;
  std::string text;
  for (const auto& name : names) text += (text.empty() ? "" : ", ") + name.get<std::string>();
  rows.push_back({"Names", printable(text)});
}

// When its authority wants it renewed, where that says so.
void add_renewal(const json& certificate, Rows& rows) {
  const auto renewal = certificate.value("renewal", json());
  if (!renewal.is_object()) return;
  const auto why = text_of(renewal, "explanation_url");
  rows.push_back({"Renewal", "advised between " + local_time(number_of(renewal, "start_us")) +
                                 " and " + local_time(number_of(renewal, "end_us")) +
                                 (why.empty() ? "" : ": " + printable(why))});
}

// With the authority that is asked, and why it is not the first one.
void add_next_order(const json& domain, Rows& rows, TimestampUs now) {
  if (const auto order = domain.value("order", json()); order.is_object()) {
    const auto why = printable(text_of(order, "fallback_reason"));
    rows.push_back({"Next", "being ordered from " + printable(text_of(order, "directory")) +
                                (why.empty() ? "" : ", as " + why)});
    return;
  }
  const auto due = domain.value("next_order_at_us", json());
  if (!due.is_number_integer()) return;
  const auto at = due.get<TimestampUs>();
  const auto from = printable(text_of(domain, "next_order_from"));
  rows.push_back(
      {"Next order", (at <= now ? "now" : local_time(at) + " (in " + duration(at - now) + ")") +
                         (from.empty() ? "" : ", from " + from)});
  if (const auto why = printable(text_of(domain, "order_held")); !why.empty()) {
    rows.push_back({"Held", why});
  }
}

// "in 6 days: the project brought it, …".
std::string expiry_note(const json& expiry, TimestampUs now) {
  const auto left = number_of(expiry, "not_after_us") - now;
  return (left > 0 ? "in " + duration(left) : "since " + duration(-left)) + ": " +
         printable(text_of(expiry, "reason"));
}

void print_state(const json& domain, const Terminal& terminal) {
  const auto now = wall_clock();
  Rows rows = {{"Domain", titled(domain)},
               {"Project", owner_of(domain)},
               {"Status", text_of(domain, "status")}};
  const auto reason = printable(text_of(domain, "reason"));
  if (!reason.empty()) rows.push_back({"Reason", reason});
  if (const auto to = text_of(domain, "redirect_to"); !to.empty()) {
    rows.push_back({"Redirects to", to});
  }
  rows.push_back({"Certificate", certificate_line(domain, now)});
  if (const auto expiry = domain.value("expiry", json()); expiry.is_object()) {
    rows.push_back({"Expires", expiry_note(expiry, now)});
  }
  if (const auto failure = failure_line(domain, now); !failure.empty()) {
    rows.push_back({"Last error", failure});
  }
  if (const auto checked = number_of(domain, "checked_at_us"); checked != 0) {
    rows.push_back({"Recorded", local_time(checked) + " (" + age(now, checked) + ")"});
  }
  terminal.out << table(rows);
}

void print_observed(const json& domain, const Terminal& terminal) {
  Rows rows = {{"SERVER", "NAME", "TYPE", "VALUE"}};
  for (const auto& answers : domain.value("observed", json::array())) {
    const auto server =
        text_of(answers, "server") + (answers.value("authoritative", false) ? " (the zone's)" : "");
    const auto error = text_of(answers, "error");
    const auto records = answers.value("records", json::array());
    if (!error.empty() || records.empty()) {
      rows.push_back({server, error.empty() ? "no records" : printable(error)});
    }
    for (const auto& record : records) {
      rows.push_back({server, text_of(record, "name"), text_of(record, "type"),
                      printable(text_of(record, "value"))});
    }
  }
  if (rows.size() > 1) terminal.out << "\n" << table(rows);
}

void print_take_over(const json& domain, const Terminal& terminal) {
  const auto take_over = domain.value("take_over", json());
  if (!take_over.is_object()) return;
  Rows rows = {{"NAME", "TYPE", "VALUE"}};
  add_records(json::array({take_over.value("record", json::object())}), rows);
  terminal.out << "Project " << text_of(take_over, "project")
               << " asks for it, and gets it with this record:\n"
               << table(rows);
}

}  // namespace

int run(const DomainAddCommand& command, ApiClient& api, const Terminal& terminal) {
  json body = {{"domain", command.domain}};
  if (command.take_over) body["take_over"] = true;
  if (!command.redirect_to.empty()) body["redirect_to"] = command.redirect_to;
  const auto added = api.post("/v1/projects/" + encoded(command.project) + "/domains", body);
  if (!added) return report(terminal, added.error());
  if (command.json) return print_json(*added, terminal);
  if (added->value("take_over", json()).is_object()) {
    print_take_over(*added, terminal);
    return k_exit_ok;
  }
  terminal.out << "Claimed " << titled(*added) << " for " << text_of(*added, "project")
               << ". Set at its DNS provider:\n";
  print_records(*added, terminal);
  terminal.out << "It is looked at by itself; 'atlasflow domains check "
               << text_of(*added, "domain") << "' looks now\n";
  if (!added->value("orders_certificates", true)) {
    terminal.out << "This server orders no certificates; 'atlasflow domains cert upload "
                 << text_of(*added, "domain") << "' brings one\n";
  }
  return k_exit_ok;
}

int run(const DomainListCommand& command, ApiClient& api, const Terminal& terminal) {
  const auto answer = api.get(
      "/v1/domains" + (command.project.empty() ? "" : "?project=" + encoded(command.project)));
  if (!answer) return report(terminal, answer.error());
  if (command.json) return print_json(*answer, terminal);
  const auto& domains = answer->at("domains");
  if (domains.empty()) {
    terminal.out << "No domains yet; 'atlasflow domains add PROJECT DOMAIN' claims one\n";
    return k_exit_ok;
  }
  const auto now = wall_clock();
  Rows rows = {{"DOMAIN", "PROJECT", "STATUS", "CERTIFICATE", "REASON"}};
  for (const auto& domain : domains) {
    const auto failure = domain.value("failure", json());
    const auto held = text_of(domain, "order_held");
    const auto why = !held.empty()         ? held
                     : failure.is_object() ? text_of(failure, "reason")
                                           : text_of(domain, "reason");
    rows.push_back({titled(domain), owner_of(domain), text_of(domain, "status"),
                    certificate_line(domain, now), printable(why)});
  }
  terminal.out << table(rows);
  return k_exit_ok;
}

int run(const DomainCheckCommand& command, ApiClient& api, const Terminal& terminal) {
  const auto domain = api.post(path_of(command.domain) + "/check", json::object());
  if (!domain) return report(terminal, domain.error());
  if (command.json) return print_json(*domain, terminal);
  print_state(*domain, terminal);
  print_observed(*domain, terminal);
  if (text_of(*domain, "verdict") != "ready" && !domain->value("is_servers", false)) {
    terminal.out << "\nTo be set:\n";
    print_records(*domain, terminal);
  }
  print_take_over(*domain, terminal);
  return k_exit_ok;
}

int run(const DomainCertCommand& command, ApiClient& api, const Terminal& terminal) {
  auto domain = api.get(path_of(command.domain));
  if (!domain) return report(terminal, domain.error());
  const auto history = api.get(path_of(command.domain) + "/certificates");
  if (!history) return report(terminal, history.error());
  if (command.json) {
    (*domain)["history"] = history->at("events");
    return print_json(*domain, terminal);
  }
  const auto now = wall_clock();
  print_state(*domain, terminal);
  const auto certificate = domain->value("certificate", json());
  Rows rows;
  if (certificate.is_object()) {
    rows.push_back({"Fingerprint", text_of(certificate, "fingerprint")});
    rows.push_back({"Serial", text_of(certificate, "serial")});
    rows.push_back({"Not before", local_time(number_of(certificate, "not_before_us"))});
    const auto from = printable(text_of(certificate, "directory"));
    if (!from.empty()) rows.push_back({"Ordered from", from});
    add_names(certificate, rows);
    add_renewal(certificate, rows);
  }
  add_next_order(*domain, rows, now);
  if (!rows.empty()) terminal.out << table(rows);
  const auto& events = history->at("events");
  if (!events.empty()) terminal.out << "\n";
  const auto first = events.size() > k_history_lines ? events.size() - k_history_lines : 0;
  for (std::size_t i = first; i < events.size(); ++i) {
    const auto& event = events[i];
    const auto type = text_of(event, "type");
    const auto detail = event_detail(type, event.value("data", json::object()));
    terminal.out << local_time(number_of(event, "at_us")) << "  " << type
                 << (detail.empty() ? "" : ": ") << detail << "\n";
  }
  return k_exit_ok;
}

int run(const DomainCertUploadCommand& command, ApiClient& api, const Terminal& terminal) {
  if (command.cert_file == "-" && command.key_file == "-") {
    return report(terminal,
                  {ErrorCode::invalid_argument,
                   "--cert and --key can't both be stdin; name a file for one of them", ""});
  }
  const auto chain = read_input(command.cert_file, terminal.in);
  if (!chain) return report(terminal, chain.error());
  const auto key = read_input(command.key_file, terminal.in);
  if (!key) return report(terminal, key.error());
  const auto domain = api.put(path_of(command.domain) + "/certificate",
                              {{"certificate", *chain}, {"private_key", *key}});
  if (!domain) return report(terminal, domain.error());
  if (command.json) return print_json(*domain, terminal);
  const auto status = text_of(*domain, "status");
  // Of a domain that may yet be another's nothing is shown.
  const bool shown = domain->contains("certificate") && !domain->at("certificate").is_null();
  terminal.out
      << "Took the certificate for " << titled(*domain)
      << (shown ? ": " + certificate_line(*domain, wall_clock()) : std::string()) << ".\n"
      << (status == "pending_dns"
              ? "It is shown as soon as the domain's records lead here; 'atlasflow domains "
                "check " +
                    text_of(*domain, "domain") + "' says what to set.\n"
              : "")
      << "Nobody renews it: bring its successor in time. 'atlasflow domains cert remove "
      << text_of(*domain, "domain") << "' goes back to one that is ordered\n";
  return k_exit_ok;
}

int run(const DomainCertRemoveCommand& command, ApiClient& api, const Terminal& terminal) {
  const auto domain = api.remove(path_of(command.domain) + "/certificate");
  if (!domain) return report(terminal, domain.error());
  if (command.json) return print_json(*domain, terminal);
  const bool shown = domain->contains("certificate") && !domain->at("certificate").is_null();
  terminal.out << "A certificate for " << titled(*domain)
               << (shown ? " is ordered; yours is shown until that is there\n"
                         : " is ordered as soon as its records lead here; yours is gone\n");
  return k_exit_ok;
}

int run(const DomainRedirectCommand& command, ApiClient& api, const Terminal& terminal) {
  const auto domain = api.put(path_of(command.domain) + "/redirect", {{"redirect_to", command.to}});
  if (!domain) return report(terminal, domain.error());
  if (command.json) return print_json(*domain, terminal);
  const auto to = text_of(*domain, "redirect_to");
  terminal.out << titled(*domain)
               << (to.empty() ? " serves its project itself\n"
                              : " sends its visitors to " + to + ", once both have certificates\n");
  return k_exit_ok;
}

int run(const DomainRetryCommand& command, ApiClient& api, const Terminal& terminal) {
  const auto domain = api.post(path_of(command.domain) + "/retry", json::object());
  if (!domain) return report(terminal, domain.error());
  if (command.json) return print_json(*domain, terminal);
  const auto name = text_of(*domain, "domain");
  terminal.out << "The name servers of " << name
               << " are asked within seconds, and its certificate is ordered if they say that it "
                  "leads here and no limit over all domains is reached; 'atlasflow domains cert "
               << name << "' shows what comes of it\n";
  return k_exit_ok;
}

int run(const DomainAccountRolloverCommand& command, ApiClient& api, const Terminal& terminal) {
  const auto answer = api.post("/v1/acme-account/key", {{"fallback", command.fallback}});
  if (!answer) return report(terminal, answer.error());
  if (command.json) return print_json(*answer, terminal);
  terminal.out << "The account at the " << (command.fallback ? "second " : "")
               << "certificate authority has another key, of thumbprint "
               << printable(text_of(*answer, "thumbprint"))
               << ". Take a backup: earlier ones have the key before, which counts no more\n";
  return k_exit_ok;
}

int run(const DomainRemoveCommand& command, ApiClient& api, const Terminal& terminal) {
  if (!command.yes) {
    const auto domain = api.get(path_of(command.domain));
    if (!domain) return report(terminal, domain.error());
    terminal.out << "Give up " << titled(*domain) << ", " << text_of(*domain, "status")
                 << "? It is served no more. Type its name to go on: " << std::flush;
    std::string answer;
    std::getline(terminal.in, answer);
    if (answer != command.domain && answer != text_of(*domain, "domain")) {
      terminal.err << "atlasflow: nothing was removed; type the name, or give --yes\n";
      return k_exit_failed;
    }
  }
  const auto removed = api.remove(path_of(command.domain));
  if (!removed) return report(terminal, removed.error());
  if (command.json) return print_json(*removed, terminal);
  terminal.out << "Removed " << titled(*removed) << "\n";
  return k_exit_ok;
}

}  // namespace atlasflow::cli
