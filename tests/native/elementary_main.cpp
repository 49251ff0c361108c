// Largest error of each elementary function against the C library, for instruction sets that Python cannot run here.
// Prints: precision function error.
#include <cmath>
#include <cstdio>
#include <vector>

#include "../../src/native/kernels.hpp"

namespace timewarp::baseline {
extern const ElementaryKernels elementary_kernels;
}
using timewarp::baseline::elementary_kernels;

static double exact(int f, double x, double y) {
  const double turn = 2 * M_PI * (x - std::round(x));
  switch (f) {
    case 0: return std::sqrt(x);
    case 1: return 1 / std::sqrt(x);
    case 2: return 1 / x;
    case 3: return std::exp(x);
    case 4: return std::log(x);
    case 5: return std::atan2(x, y);
    case 6: return std::sin(turn);
    case 7: return std::cos(turn);
    default: return std::tanh(x);
  }
}

template <class T, class Apply>
static void check(const char* precision, Apply apply) {
  const int n = 10001;
  for (int f = 0; f < 9; ++f) {
    std::vector<T> x(n), y(n, T(0.7)), out(n);
    for (int k = 0; k < n; ++k) {
      const double u = double(k) / (n - 1);
      x[k] = T(f == 3 ? 174 * u - 87 : f >= 5 ? 20 * u - 10 : std::exp(40 * u - 20));
    }
    apply(f, x.data(), y.data(), out.data(), n);
    double worst = 0;
    for (int k = 0; k < n; ++k) {
      const double e = exact(f, x[k], y[k]);
      const double scale = f >= 4 ? std::fmax(1.0, std::fabs(e)) : std::fabs(e);
      worst = std::fmax(worst, std::fabs(out[k] - e) / scale);
    }
    std::printf("%s %d %.3g\n", precision, f, worst);
  }
}

int main() {
  check<float>("float32", elementary_kernels.apply_f32);
  check<double>("float64", elementary_kernels.apply_f64);
}
