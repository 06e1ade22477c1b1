#pragma once

#include <cstddef>
#include <optional>
#include <vector>

namespace trireme::debug {

/// What a norm has been of late, for one parameter.
class GradientHistory {
 public:
  /// The median of the last norms that were finite and not 0; nothing before there are three.
  [[nodiscard]] std::optional<double> median() const;
  void add(double norm);

 private:
  static constexpr size_t kept = 32;
  std::vector<double> norms_;
  size_t next_ = 0;
};

/// Thresholds of what is called vanishing and exploding; norms are those of whole parameters or of
/// this rank's part of them, in the mean gradient.
constexpr double vanishing_share = 1e-7;  ///< of the median over the parameters
constexpr double vanishing_norm = 1e-12;
constexpr double exploding_factor = 1e3;       ///< of the parameter's running median
constexpr double exploding_over_others = 1e6;  ///< of the median over the parameters
constexpr double modest_norm = 1e2;  ///< up to here far above the others means that they vanish

/// What norms are measured by, 0 where there is none: their median over the parameters. Where it
/// has risen above that of `before`, what their norms have been of late, the latter: where most
/// explode, the others have not vanished. Where most have vanished, the largest norm: the others
/// have not exploded. All are finite and not 0.
[[nodiscard]] double typical_norm(const std::vector<double>& norms,
                                  const std::vector<double>& before);

enum class GradientVerdict { ordinary, vanishing, exploding };
/// `others`: the typical norm. A norm of 0 is ordinary: the parameter had no part.
[[nodiscard]] GradientVerdict judge_gradient(double norm, double others,
                                             const GradientHistory& history);

}  // namespace trireme::debug
