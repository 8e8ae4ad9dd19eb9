#include "edge/observe/metrics.hpp"

#include <algorithm>
#include <functional>

namespace atlasflow::edge {
namespace {

constexpr std::uint64_t k_us_per_s = 1'000'000;

std::size_t class_of(int status) {
  if (status < 100) return 0;
  return status < 600 ? static_cast<std::size_t>(status / 100)
                      : WorkerMetrics::k_classes.size() - 1;
}

// Microseconds as seconds, exactly.
std::string seconds_text(std::uint64_t us) {
  std::string fraction = std::to_string(us % k_us_per_s);
  fraction.insert(0, 6 - fraction.size(), '0');
  while (!fraction.empty() && fraction.back() == '0') fraction.pop_back();
  return std::to_string(us / k_us_per_s) + (fraction.empty() ? "" : "." + fraction);
}

// The text format's: a backslash, a quote and a line's end.
std::string label_text(std::string_view value) {
  std::string text;
  for (const char c : value) {
    if (c == '\n') {
      text += "\\n";
      continue;
    }
    if (c == '\\' || c == '"') text += '\\';
    text += c;
  }
  return text;
}

std::string label(std::string_view name, std::string_view value) {
  return std::string(name) + "=\"" + label_text(value) + "\"";
}

class Writer {
 public:
  explicit Writer(const EdgeFigures& figures) : figures_(figures) {}

  using Pick = std::function<const Counter&(const WorkerMetrics&)>;
  [[nodiscard]] std::uint64_t sum(const Pick& pick) const {
    std::uint64_t sum = 0;
    for (const WorkerMetrics* worker : figures_.workers) sum += pick(*worker).get();
    return sum;
  }

  void family(std::string_view name, std::string_view type, std::string_view help) {
    name_ = "atlasflow_edge_" + std::string(name);
    text_ += "# HELP " + name_ + " " + std::string(help) + "\n# TYPE " + name_ + " " +
             std::string(type) + "\n";
  }
  void sample(const std::string& labels, const std::string& value, std::string_view suffix = "") {
    text_ += name_;
    text_ += suffix;
    if (!labels.empty()) text_ += "{" + labels + "}";
    text_ += " " + value + "\n";
  }
  void counter(std::string_view name, std::string_view help, const Pick& pick) {
    family(name, "counter", help);
    sample("", std::to_string(sum(pick)));
  }
  void gauge(std::string_view name, std::string_view help, std::uint64_t value) {
    family(name, "gauge", help);
    sample("", std::to_string(value));
  }

  void histogram(std::string_view name, std::string_view help,
                 const std::function<const Histogram&(const WorkerMetrics&)>& pick) {
    family(name, "histogram", help);
    std::uint64_t below = 0;
    for (std::size_t i = 0; i <= k_duration_bounds_us.size(); ++i) {
      below += sum(
          [&](const WorkerMetrics& worker) -> const Counter& { return pick(worker).buckets[i]; });
      const std::string bound =
          i < k_duration_bounds_us.size() ? seconds_text(k_duration_bounds_us[i]) : "+Inf";
      sample(label("le", bound), std::to_string(below), "_bucket");
    }
    sample("", seconds_text(sum([&](const WorkerMetrics& worker) -> const Counter& {
             return pick(worker).us_sum;
           })),
           "_sum");
    sample("", std::to_string(below), "_count");
  }

  [[nodiscard]] std::string take() { return std::move(text_); }

 private:
  const EdgeFigures& figures_;
  std::string name_;
  std::string text_;
};

// Read apart, the end may be counted before the beginning.
std::uint64_t difference(std::uint64_t begun, std::uint64_t ended) {
  return begun > ended ? begun - ended : 0;
}

void write_requests(Writer& out, const EdgeFigures& figures) {
  // Ends first: a request that ends meanwhile is then still under way, and none is counted below 0.
  std::uint64_t ended = 0;
  out.family("requests_total", "counter",
             "Requests that are over, by project and class of status.");
  for (std::size_t project = 0; project < figures.projects.size(); ++project) {
    for (std::size_t kind = 0; kind < WorkerMetrics::k_classes.size(); ++kind) {
      const std::uint64_t count = out.sum([&](const WorkerMetrics& worker) -> const Counter& {
        return worker.requests[project][kind];
      });
      if (count == 0) continue;  // a series begins with its first request
      ended += count;
      out.sample(label("project", figures.projects[project]) + "," +
                     label("status", WorkerMetrics::k_classes[kind]),
                 std::to_string(count));
    }
  }
  out.gauge("requests_in_flight", "Requests that are not over, websockets included.",
            difference(out.sum([](const WorkerMetrics& worker) -> const Counter& {
              return worker.requests_begun;
            }),
                       ended));

  out.histogram("request_duration_seconds", "From a request's head to the end of its answer.",
                [](const WorkerMetrics& worker) -> const Histogram& { return worker.durations; });
  out.histogram("first_byte_seconds",
                "From a request's head to the first byte of its application's answer.",
                [](const WorkerMetrics& worker) -> const Histogram& { return worker.first_bytes; });

  out.family("protocol_requests_total", "counter", "Requests that are over, by protocol.");
  for (std::size_t i = 0; i < k_protocols.size(); ++i) {
    out.sample(label("protocol", k_protocols[i]),
               std::to_string(out.sum([&](const WorkerMetrics& worker) -> const Counter& {
                 return worker.protocols[i];
               })));
  }
  out.family("errors_total", "counter",
             "Requests that the edge answered itself with X-Atlas-Error, or that ended early.");
  for (std::size_t i = 0; i < k_error_codes.size(); ++i) {
    out.sample(label("code", k_error_codes[i]),
               std::to_string(out.sum([&](const WorkerMetrics& worker) -> const Counter& {
                 return worker.errors[i];
               })));
  }
  out.counter("retries_total", "Requests that were sent to an application once more.",
              [](const WorkerMetrics& worker) -> const Counter& { return worker.retries; });
  out.counter("request_body_bytes_total", "Of bodies that clients sent.",
              [](const WorkerMetrics& worker) -> const Counter& { return worker.request_bytes; });
  out.counter("response_body_bytes_total", "Of bodies that applications sent.",
              [](const WorkerMetrics& worker) -> const Counter& { return worker.response_bytes; });
}

void write_connections(Writer& out) {
  constexpr std::array<std::string_view, 2> k_schemes = {"http", "https"};
  std::array<std::uint64_t, 2> closed{};
  std::array<std::uint64_t, 2> accepted{};
  for (std::size_t i = 0; i < 2; ++i) {
    closed[i] = out.sum(
        [&](const WorkerMetrics& worker) -> const Counter& { return worker.clients_closed[i]; });
    accepted[i] = out.sum(
        [&](const WorkerMetrics& worker) -> const Counter& { return worker.clients_accepted[i]; });
  }
  out.family("connections_total", "counter", "Connections that clients opened.");
  for (std::size_t i = 0; i < 2; ++i) {
    out.sample(label("scheme", k_schemes[i]), std::to_string(accepted[i]));
  }
  out.family("connections_open", "gauge", "Connections that clients have open.");
  for (std::size_t i = 0; i < 2; ++i) {
    out.sample(label("scheme", k_schemes[i]), std::to_string(difference(accepted[i], closed[i])));
  }
  out.family("connections_shed_total", "counter",
             "Connections refused to an address that had its share, closed for another one, and "
             "how often none was accepted for want of room.");
  const auto shed = [&](std::string_view reason, const Writer::Pick& pick) {
    out.sample(label("reason", reason), std::to_string(out.sum(pick)));
  };
  shed("address_limit",
       [](const WorkerMetrics& worker) -> const Counter& { return worker.clients_refused; });
  shed("idle_closed",
       [](const WorkerMetrics& worker) -> const Counter& { return worker.clients_shed; });
  shed("accept_paused",
       [](const WorkerMetrics& worker) -> const Counter& { return worker.accept_pauses; });

  out.counter(
      "tls_handshakes_failed_total", "Connections that ended in their handshake.",
      [](const WorkerMetrics& worker) -> const Counter& { return worker.handshakes_failed; });

  const std::uint64_t gone = out.sum(
      [](const WorkerMetrics& worker) -> const Counter& { return worker.upstreams_closed; });
  const std::uint64_t opened = out.sum(
      [](const WorkerMetrics& worker) -> const Counter& { return worker.upstreams_opened; });
  out.gauge("upstream_connections_open", "Connections to applications, idle ones included.",
            difference(opened, gone));
  out.family("upstream_connections_total", "counter", "Connections made to applications.");
  out.sample("", std::to_string(opened));
  out.counter("upstream_connect_failures_total", "Applications that could not be connected to.",
              [](const WorkerMetrics& worker) -> const Counter& {
                return worker.upstream_connect_failures;
              });
}

// A host is no label: there may be thousands.
void write_certificates(Writer& out, const EdgeFigures& figures) {
  constexpr std::int64_t k_day_s = 86'400;
  constexpr std::array<std::pair<const char*, std::int64_t>, 4> k_times = {
      {{"0d", 0}, {"1d", k_day_s}, {"7d", 7 * k_day_s}, {"30d", 30 * k_day_s}}};
  const auto& ends = figures.certificates_end_at_s;
  out.gauge("host_certificates", "Certificates that hosts of users' own are shown with.",
            ends.size());
  out.family("host_certificates_expiring", "gauge",
             "Those of them that end within that time; 0d: that have ended.");
  for (const auto& [name, time] : k_times) {
    const auto count = std::count_if(ends.begin(), ends.end(), [&, within = time](auto end) {
      return end <= figures.now_s + within;
    });
    out.sample(label("within", name), std::to_string(count));
  }
  if (ends.empty()) return;
  out.family("host_certificates_first_expiry_timestamp_seconds", "gauge",
             "When the first of them ends.");
  out.sample("", std::to_string(*std::min_element(ends.begin(), ends.end())));
}

}  // namespace

ProjectNumbers::ProjectNumbers() : names_{"_none", "_other"} {}

std::uint16_t ProjectNumbers::number_of(const std::string& project) {
  const std::lock_guard lock(mutex_);
  if (const auto it = numbers_.find(project); it != numbers_.end()) return it->second;
  if (names_.size() == k_max) return k_other;
  const auto number = static_cast<std::uint16_t>(names_.size());
  numbers_.emplace(project, number);
  names_.push_back(project);
  return number;
}

std::vector<std::string> ProjectNumbers::names() const {
  const std::lock_guard lock(mutex_);
  return names_;
}

void Histogram::add(std::uint64_t us) {
  std::size_t bucket = 0;
  while (bucket < k_duration_bounds_us.size() && us > k_duration_bounds_us[bucket]) ++bucket;
  buckets[bucket].add();
  us_sum.add(us);
}

void WorkerMetrics::count_request(std::uint16_t project, int status, std::uint8_t protocol,
                                  std::uint64_t duration_us, std::string_view error) {
  requests[project][class_of(status)].add();
  protocols[protocol].add();
  if (protocol != k_websocket) durations.add(duration_us);
  if (error.empty()) return;
  const auto known = std::find(k_error_codes.begin(), k_error_codes.end() - 1, error);
  errors[static_cast<std::size_t>(known - k_error_codes.begin())].add();
}

std::string prometheus_text(const EdgeFigures& figures) {
  Writer out(figures);
  write_requests(out, figures);
  write_connections(out);
  out.family("access_log_lines_dropped_total", "counter",
             "Lines that the access log lacks: they came too fast, or could not be written.");
  out.sample("", std::to_string(figures.access_lines_lost));
  out.gauge("route_table_generation", "The route table in force.", figures.generation);
  out.gauge("routed_hosts", "Hosts that it routes.", figures.hosts);
  write_certificates(out, figures);
  return out.take();
}

}  // namespace atlasflow::edge
