#include "cli/stepper.hpp"

#include <algorithm>
#include <clocale>
#include <cstdlib>

#include <curses.h>
#include <unistd.h>

#include "base/assert.hpp"
#include "base/rfc3339.hpp"
#include "cli/format.hpp"
#include "cli/inspect_log.hpp"
#include "storage/readmodel/catalog.hpp"

namespace atlasflow::cli {
namespace {

std::string effect_text(const Effect& effect) {
  const auto json = inspect::json_of(effect);
  std::string text = json.value("key", "");
  for (const auto& [path, value] : inspect::fields_of(json)) {
    if (path == "key" || path == "kind" || value.empty()) continue;
    text.append("  ").append(path).append("=").append(value);
  }
  return printable(text);
}

// Curses for as long as it lives; the terminal is as it was afterwards.
class Screen {
 public:
  Screen() {
    std::setlocale(LC_ALL, "");
    initscr();
    cbreak();
    noecho();
    keypad(stdscr, TRUE);
    curs_set(0);
  }
  Screen(const Screen&) = delete;
  Screen& operator=(const Screen&) = delete;
  ~Screen() { endwin(); }
};

class Stepper {
 public:
  explicit Stepper(const std::vector<inspect::ReplayStep>& steps) : steps_(steps) {}

  void run() {
    const Screen screen;
    while (!done_) {
      draw();
      key(getch());
    }
  }

 private:
  void line(int row, int column, int width, const std::string& text, int attributes = A_NORMAL) {
    if (row >= LINES - 1 || width <= 0) return;
    attron(attributes);
    mvaddstr(row, column, shortened(printable(text), static_cast<std::size_t>(width)).c_str());
    attroff(attributes);
  }

  // Left the events, right what is owed after the chosen one, what it changed, and the whole state.
  void draw() {
    erase();
    const auto& step = steps_[at_];
    const int left = std::max(24, COLS * 2 / 5);
    const int right = COLS - left - 2;
    line(0, 0, COLS,
         "event " + std::to_string(at_ + 1) + " of " + std::to_string(steps_.size()) +
             "  position " + std::to_string(step.record.position.value()) + "  " +
             rfc3339(step.record.recorded_at),
         A_REVERSE);
    const int rows = LINES - 3;
    const auto top = at_ > static_cast<std::size_t>(rows / 2)
                         ? at_ - static_cast<std::size_t>(rows / 2)
                         : std::size_t{0};
    for (int row = 0; row < rows; ++row) {
      const auto index = top + static_cast<std::size_t>(row);
      if (index >= steps_.size()) break;
      const auto& record = steps_[index].record;
      line(row + 1, 0, left,
           std::to_string(record.stream_version.value()) + " " + storage::event_name(record.event),
           index == at_ ? A_REVERSE : A_NORMAL);
    }
    int row = 1;
    const auto section = [&](const std::string& title) {
      line(row++, left + 1, right, title, A_BOLD);
    };
    section("what the world owes now");
    for (const auto& effect : step.outstanding) {
      line(row++, left + 2, right - 1, effect_text(effect));
    }
    section("changed");
    // A third of the rows at most: the first event of a stream changes nearly everything.
    const auto shown = std::min(step.changes.size(), static_cast<std::size_t>(rows) / 3);
    for (std::size_t i = 0; i < shown; ++i) {
      const auto& change = step.changes[i];
      line(row++, left + 2, right - 1,
           change.path + ": " + (change.before.empty() ? "-" : change.before) + " -> " +
               (change.after.empty() ? "-" : change.after));
    }
    if (shown < step.changes.size()) {
      line(row++, left + 2, right - 1,
           "and " + std::to_string(step.changes.size() - shown) + " more fields");
    }
    section("state");
    for (const auto& [path, value] : inspect::fields_of(step.state)) {
      if (value.empty() || value == "false" || value == "0") continue;
      const bool watched = !watch_.empty() && path.find(watch_) != std::string::npos;
      std::string text = path;
      text.append(" = ").append(value);
      line(row++, left + 2, right - 1, text, watched ? A_REVERSE : A_NORMAL);
    }
    line(LINES - 2, 0, COLS,
         message_.empty() ? "arrows: back, forward   g/G: begin, end   t: run to a type   "
                            "w: watch a field   /: search   q: leave"
                          : message_,
         A_BOLD);
    message_.clear();
    refresh();
  }

  void key(int pressed) {
    switch (pressed) {
      case 'q':
      case ERR:
        done_ = true;
        break;
      case KEY_RIGHT:
      case KEY_DOWN:
      case 'j':
      case 'n':
      case ' ':
        move_to(watch_.empty() ? at_ + 1 : next_watched());
        break;
      case KEY_LEFT:
      case KEY_UP:
      case 'k':
      case 'p':
        move_to(at_ == 0 ? 0 : at_ - 1);
        break;
      case 'g':
      case KEY_HOME:
        at_ = 0;
        break;
      case 'G':
      case KEY_END:
        at_ = steps_.size() - 1;
        break;
      case 't':
        run_to(ask("run to type: "));
        break;
      case '/':
        search(ask("search: "));
        break;
      case 'w':
        watch_ = ask("watch field (empty: none): ");
        break;
      default:
        break;
    }
    ATLAS_ASSERT(at_ < steps_.size(), std::to_string(at_));
  }

  void move_to(std::size_t index) {
    if (index >= steps_.size()) {
      message_ = "this is the last event";
      return;
    }
    at_ = index;
  }

  // The next event that changes a watched field, or behind the end.
  [[nodiscard]] std::size_t next_watched() const {
    for (auto i = at_ + 1; i < steps_.size(); ++i) {
      for (const auto& change : steps_[i].changes) {
        if (change.path.find(watch_) != std::string::npos) return i;
      }
    }
    return steps_.size();
  }

  void run_to(const std::string& type) {
    for (auto i = at_ + 1; i < steps_.size(); ++i) {
      if (storage::event_name(steps_[i].record.event) == type) return move_to(i);
    }
    message_ = "no " + type + " behind this event";
  }

  void search(const std::string& text) {
    for (auto i = at_ + 1; i < steps_.size(); ++i) {
      if (step_text(steps_[i]).find(text) != std::string::npos) return move_to(i);
    }
    message_ = "'" + text + "' is in no event behind this one";
  }

  static std::string ask(const char* prompt) {
    constexpr std::size_t k_answer_max = 128;
    move(LINES - 2, 0);
    clrtoeol();
    addstr(prompt);
    echo();
    curs_set(1);
    std::string answer(k_answer_max, '\0');
    getnstr(answer.data(), static_cast<int>(answer.size()) - 1);
    answer.resize(answer.find('\0'));
    noecho();
    curs_set(0);
    return answer;
  }

  const std::vector<inspect::ReplayStep>& steps_;
  std::size_t at_ = 0;
  std::string watch_;
  std::string message_;
  bool done_ = false;
};

}  // namespace

bool is_interactive() {
  return ::isatty(STDIN_FILENO) == 1 && ::isatty(STDOUT_FILENO) == 1 &&
         std::getenv("TERM") != nullptr;
}

std::string step_text(const inspect::ReplayStep& step) {
  std::string text = std::to_string(step.record.position.value()) + "  " +
                     rfc3339(step.record.recorded_at) + "  " + event_text(step.record) + "\n";
  for (const auto& change : step.changes) {
    text += "    " + printable(change.path) + ": " +
            (change.before.empty() ? "-" : printable(change.before)) + " -> " +
            (change.after.empty() ? "-" : printable(change.after)) + "\n";
  }
  for (const auto& effect : step.outstanding) text += "    owes " + effect_text(effect) + "\n";
  return text;
}

int step_through(const std::vector<inspect::ReplayStep>& steps, const Terminal& /*terminal*/) {
  ATLAS_ASSERT(!steps.empty(), "a replay of no event");
  Stepper(steps).run();
  return k_exit_ok;
}

}  // namespace atlasflow::cli
