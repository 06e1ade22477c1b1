#include <trireme/report/progress_line.h>
#include <trireme/report/top_screen.h>

#include "report/top_line.h"

#include <algorithm>
#include <array>
#include <cmath>

#include <fmt/format.h>

namespace trireme::report {
namespace {

struct PhaseLook {
  std::string_view name;
  char letter;
  Ink ink;
};
constexpr std::array<PhaseLook, 8> phase_looks{{{"data", 'd', Ink::yellow},
                                                {"forward", 'f', Ink::green},
                                                {"backward", 'b', Ink::cyan},
                                                {"comm_exposed", 'c', Ink::red},
                                                {"optimizer", 'o', Ink::blue},
                                                {"graph", 'g', Ink::green},
                                                {"checkpoint", 's', Ink::magenta},
                                                {"other", '.', Ink::faint}}};

PhaseLook look_of(std::string_view name) {
  const auto found = std::find_if(phase_looks.begin(), phase_looks.end(),
                                  [name](const PhaseLook& look) { return look.name == name; });
  return found != phase_looks.end() ? *found : PhaseLook{name, '?', Ink::plain};
}

Ink ink_of(TopRun::State state) {
  switch (state) {
    case TopRun::State::running:
    case TopRun::State::finished:
      return Ink::green;
    case TopRun::State::stopped:
      return Ink::yellow;
    case TopRun::State::failed:
    case TopRun::State::lost:
      return Ink::red;
    case TopRun::State::empty:
      break;
  }
  return Ink::faint;
}

std::string on_rank(const TopRun::Spread& spread) {
  if (spread.max_rank < 0) return {};
  return fmt::format("rank {}{}", spread.max_rank,
                     spread.max_host.empty() ? "" : " on " + spread.max_host);
}

class Screen {
 public:
  Screen(const TopRun& run, const TopStyle& style) : run_(run), style_(style) {}

  std::vector<std::string> draw() && {
    heading();
    if (run_.record_age >= 0) {
      progress();
      numbers();
      losses();
      phases();
      if (!style_.compact) {
        memory();
        sensors();
      }
    }
    const size_t few = style_.compact ? 1 : 4;
    list("trouble", run_.troubles, few, Ink::yellow);
    if (!style_.compact) list("switched on", run_.switches, 16, Ink::cyan);
    std::vector<std::string> events;
    for (const TopRun::Event& event : run_.events)
      events.push_back(event.time.size() >= 19 ? event.time.substr(11, 8) + "  " + event.text
                                               : event.text);
    if (!style_.compact) list("event", events, few, Ink::plain);
    list("finding", run_.findings, few, Ink::yellow);
    if (!run_.verdict.empty()) put(line().add("  verdict: ", Ink::faint).add(run_.verdict));
    return std::move(lines_);
  }

 private:
  void put(const TopLine& line) { lines_.push_back(line.text()); }
  [[nodiscard]] TopLine line() const { return TopLine(style_); }

  void heading() {
    TopLine first = line();
    first.add(name_of(run_.state), ink_of(run_.state)).add("  ").add(run_.path, Ink::strong);
    if (run_.attempt > 1) first.add(fmt::format("  attempt {}", run_.attempt));
    if (run_.ranks > 0)
      first.add(fmt::format("  {} rank{}", run_.ranks, run_.ranks == 1 ? "" : "s"));
    if (!run_.holder.empty()) first.add("  " + run_.holder, Ink::faint);
    put(first);
    if (!run_.message.empty()) put(line().add("  ").add(run_.message, ink_of(run_.state)));
    if (!run_.hint.empty()) put(line().add("  hint: " + run_.hint));
  }

  void progress() {
    TopLine text = line();
    text.add(fmt::format("  step {}", run_.step));
    if (run_.total > 0) {
      const double part =
          std::clamp(static_cast<double>(run_.step) / static_cast<double>(run_.total), 0.0, 1.0);
      constexpr int cells = 20;
      const int done = static_cast<int>(part * cells);
      text.add(fmt::format("/{}  [", run_.total))
          .add(std::string(static_cast<size_t>(done), '#'), Ink::green)
          .add(std::string(static_cast<size_t>(cells - done), '.'), Ink::faint)
          .add(fmt::format("] {:.0f} %", std::floor(100 * part)));
    }
    if (run_.seconds_left) text.add("  eta " + short_time(*run_.seconds_left));
    text.add(fmt::format("  last record {} ago", short_time(run_.record_age)), Ink::faint);
    put(text);
  }

  void numbers() {
    TopLine text = line();
    text.add("  loss ").add(fmt::format("{:.4f}", run_.loss),
                            std::isfinite(run_.loss) ? Ink::strong : Ink::red);
    text.add(fmt::format("  lr {:.2e}  grad norm {:.3g}", run_.lr, run_.grad_norm));
    if (run_.tokens_per_second > 0)
      text.add(fmt::format("  {} tokens/s", short_number(run_.tokens_per_second)));
    if (run_.samples_per_second > 0)
      text.add(fmt::format("  {} samples/s", short_number(run_.samples_per_second)));
    if (run_.mfu > 0) text.add(fmt::format("  mfu {:.0f} %", 100 * run_.mfu));
    if (run_.goodput > 0) text.add(fmt::format("  goodput {:.0f} %", 100 * run_.goodput));
    if (run_.skipped > 0) text.add(fmt::format("  {} skipped", run_.skipped), Ink::yellow);
    put(text);
    if (!run_.evaluation || style_.compact) return;
    std::string results = fmt::format("  evaluation at step {}: loss {:.4f}", run_.evaluation->step,
                                      run_.evaluation->loss);
    for (const auto& [name, value] : run_.evaluation->metrics)
      results += fmt::format(", {} {:.4g}", name, value);
    put(line().add(results));
  }

  void losses() {
    if (run_.losses.size() < 2) return;
    constexpr int around = 30;  // what else stands in the line
    const auto most = static_cast<size_t>(std::clamp(style_.width - around, 1, 60));
    const std::span<const double> all(run_.losses);
    const auto shown = all.last(std::min(most, all.size()));
    put(line()
            .add("  loss ")
            .add(sparkline(shown, style_.unicode), Ink::cyan)
            .add(fmt::format("  {:.4g} .. {:.4g}", shown.front(), shown.back())));
  }

  void phases() {
    std::vector<double> means;
    for (const TopRun::Spread& phase : run_.phases) means.push_back(phase.mean);
    const std::vector<int> cells = share_cells(means, std::clamp(style_.width - 24, 8, 60));
    TopLine bar = line();
    bar.add("  [");
    for (size_t i = 0; i < cells.size(); ++i) {
      const PhaseLook look = look_of(run_.phases[i].name);
      bar.add(std::string(static_cast<size_t>(cells[i]), look.letter), look.ink);
    }
    bar.add("] ").add(short_seconds(run_.step_seconds) + " a step");
    if (!run_.phases.empty()) put(bar);
    if (style_.compact) return;
    double sum = 0;
    for (const double mean : means) sum += mean;
    for (const TopRun::Spread& phase : run_.phases) {
      if (!(phase.max >= 1e-6)) continue;
      const PhaseLook look = look_of(phase.name);
      put(line()
              .add(fmt::format("   {} ", look.letter), look.ink)
              .add(fmt::format("{:<13}{:>8} {:>4.0f} %   most {:>8}  {}", phase.name,
                               short_seconds(phase.mean), sum > 0 ? 100 * phase.mean / sum : 0,
                               short_seconds(phase.max), on_rank(phase))));
    }
  }

  void memory() {
    for (const TopRun::Spread& item : run_.memory)
      if (item.max > 0)
        put(line().add(fmt::format("   m {:<13}{:>8}          most {:>8}  {}", item.name,
                                   short_bytes(item.mean), short_bytes(item.max), on_rank(item))));
  }

  void sensors() {
    TopLine text = line();
    text.add("  device");
    for (const TopRun::Spread& sensor : run_.sensors)
      text.add(fmt::format("  {} {:.3g}", sensor.name, sensor.mean))
          .add(fmt::format(" (most {:.3g}, {})", sensor.max, on_rank(sensor)), Ink::faint);
    if (!run_.sensors.empty()) put(text);
  }

  /// The last `most` of them.
  void list(std::string_view title, const std::vector<std::string>& texts, size_t most, Ink ink) {
    for (size_t i = texts.size() - std::min(most, texts.size()); i < texts.size(); ++i)
      put(line().add(fmt::format("  {}: ", title), Ink::faint).add(texts[i], ink));
  }

  const TopRun& run_;
  const TopStyle& style_;
  std::vector<std::string> lines_;
};

}  // namespace

std::string_view name_of(TopRun::State state) {
  constexpr std::array<std::string_view, 6> names{"empty",   "running", "finished",
                                                  "stopped", "failed",  "lost"};
  return names[static_cast<size_t>(state)];
}

std::vector<std::string> top_screen(const TopRun& run, const TopStyle& style) {
  return Screen(run, style).draw();
}

}  // namespace trireme::report
