// All ways to close a ring of three rigid segments; see timewarp/geometry/closure.py, of which this is the same
// algorithm, one ring after the other.
#pragma once

#include <algorithm>
#include <cmath>

namespace timewarp {

inline constexpr int kMost = 16, kDegree = 8, kSamples = 32, kFirstPieces = 16, kHalvings = 26, kTaylor = 8;
inline constexpr int kMostPieces = 512, kPolishing = 12, kCandidates = 256;
inline constexpr double kNoise = 1e-15, kResidual = 1e-10, kShift = 1e-4, kSame = 1e-6, kNear = 0.05, kPi = 3.14159265358979323846;

inline double wrapped(double angle) { return angle - 2 * kPi * std::floor((angle + kPi) / (2 * kPi)); }

struct Vector {
  double x, y, z;
};
inline Vector operator+(Vector a, Vector b) { return {a.x + b.x, a.y + b.y, a.z + b.z}; }
inline Vector operator-(Vector a, Vector b) { return {a.x - b.x, a.y - b.y, a.z - b.z}; }
inline Vector operator*(double s, Vector a) { return {s * a.x, s * a.y, s * a.z}; }
inline double dot(Vector a, Vector b) { return a.x * b.x + a.y * b.y + a.z * b.z; }
inline Vector cross(Vector a, Vector b) { return {a.y * b.z - a.z * b.y, a.z * b.x - a.x * b.z, a.x * b.y - a.y * b.x}; }

// The angles at which the resultant is evaluated.
struct Circle {
  double cosine[kSamples], sine[kSamples];
  Circle() {
    for (int s = 0; s < kSamples; ++s) {
      cosine[s] = std::cos(2 * kPi * s / kSamples);
      sine[s] = std::sin(2 * kPi * s / kSamples);
    }
  }
};

struct Line {
  double a, b, h;  // a cos + b sin = h
};

// K + A cos rho + B cos tau + C cos tau cos rho + D sin tau sin rho = 0 at each corner.
struct Equations {
  double k[3], a[3], b[3], c[3], d[3], twist[3], log_sides;

  explicit Equations(const double* shape) {
    const double *side = shape, *first = shape + 3, *last = shape + 6, *bend = shape + 12;
    log_sides = std::log(side[0] * side[1] * side[2]);
    for (int i = 0; i < 3; ++i) {
      const int before = (i + 2) % 3, opposite = (i + 1) % 3;
      const double cosine = (side[i] * side[i] + side[before] * side[before] - side[opposite] * side[opposite]) /
                            (2 * side[i] * side[before]);
      const double sine = std::sqrt((1 - cosine) * (1 + cosine));  // NaN without a triangle
      const double cf = std::cos(first[i]), sf = std::sin(first[i]);
      const double cl = std::cos(last[before]), sl = std::sin(last[before]);
      k[i] = cf * cl * cosine - std::cos(bend[i]);
      a[i] = cf * sl * sine;
      b[i] = sf * cl * sine;
      c[i] = -sf * sl * cosine;
      d[i] = sf * sl;
      twist[i] = shape[9 + i];
    }
  }

  // Residuals, and derivatives by tau_i and by tau_(i - 1).
  void evaluate(const double* tau, double* f, double* own, double* before) const {
    for (int i = 0; i < 3; ++i) {
      const int j = (i + 2) % 3;
      const double rho = tau[j] + twist[j], cr = std::cos(rho), sr = std::sin(rho);
      const double ct = std::cos(tau[i]), st = std::sin(tau[i]);
      f[i] = k[i] + a[i] * cr + (b[i] + c[i] * cr) * ct + d[i] * st * sr;
      own[i] = -(b[i] + c[i] * cr) * st + d[i] * ct * sr;
      before[i] = -(a[i] + c[i] * ct) * sr + d[i] * st * cr;
    }
  }

  Line first_line(double angle) const {
    const double rho = angle + twist[2], cr = std::cos(rho);
    return {b[0] + c[0] * cr, d[0] * std::sin(rho), -(k[0] + a[0] * cr)};
  }
  Line third_line(double angle) const {
    const double ct = std::cos(angle);
    return {a[2] + c[2] * ct, d[2] * std::sin(angle), -(k[2] + b[2] * ct)};
  }

  // Equation 2 as a form in (1, cos tau_1, sin tau_1) and (1, cos rho_3, sin rho_3), by rows.
  void bilinear(Vector* rows) const {
    const double c1 = std::cos(twist[0]), s1 = std::sin(twist[0]), c2 = std::cos(twist[1]), s2 = std::sin(twist[1]);
    const Vector top{k[1], b[1] * c2, b[1] * s2};
    const Vector cosine{a[1], c[1] * c2, c[1] * s2}, sine{0, -d[1] * s2, d[1] * c2};
    rows[0] = top;
    rows[1] = c1 * cosine + s1 * sine;
    rows[2] = c1 * sine - s1 * cosine;
  }

  // How far, at worst, the lines are from vanishing: where one does, the resultant is small beyond what rounding leaves.
  double quality(const Circle& circle) const {
    double worst = 1e300;
    const double ct = std::cos(twist[2]), st = std::sin(twist[2]);
    for (int s = 0; s < kSamples; ++s) {
      const double c = circle.cosine[s], cr = c * ct - circle.sine[s] * st, sr = c * st + circle.sine[s] * ct;
      const double a1 = b[0] + this->c[0] * cr, b1 = d[0] * sr, h1 = k[0] + a[0] * cr;
      const double a3 = a[2] + this->c[2] * c, b3 = d[2] * circle.sine[s], h3 = k[2] + b[2] * c;
      worst = std::min(worst, (a1 * a1 + b1 * b1 + h1 * h1) * (a3 * a3 + b3 * b3 + h3 * h3));
    }
    return worst;
  }

  double resultant(double angle, const Vector* rows) const {
    const Line one = first_line(angle), three = third_line(angle);
    const Vector p = rows[0], q = rows[1], r = rows[2];
    const Vector form[3] = {one.h * r + one.b * p, one.a * p + one.h * q, one.a * r - one.b * q};
    const double sign[3] = {1, 1, -1};
    const Vector ell{-three.h, three.a, three.b};
    Vector crossed[3];
    double mixed = 0, quadratic = 0;
    for (int i = 0; i < 3; ++i) {
      const Vector v = crossed[i] = cross(ell, form[i]);
      mixed += sign[i] * (v.y * v.y + v.z * v.z - v.x * v.x);
    }
    for (int i = 0; i < 3; ++i)
      for (int j = i + 1; j < 3; ++j) {
        const double triple = dot(crossed[i], form[j]);
        quadratic += sign[i] * sign[j] * triple * triple;
      }
    return mixed * mixed + 4 * quadratic * (three.a * three.a + three.b * three.b - three.h * three.h);
  }
};

// R(angle) = Re sum_k c_k exp(i k angle).
struct Polynomial {
  double re[kDegree + 1], im[kDegree + 1], size = 0, beyond = 0;

  Polynomial(const Equations& equations, const Circle& circle) {
    Vector rows[3];
    equations.bilinear(rows);
    double value[kSamples];
    for (int s = 0; s < kSamples; ++s) value[s] = equations.resultant(2 * kPi * s / kSamples, rows);
    double factorial = 1;
    for (int m = 2; m <= kTaylor; ++m) factorial *= m;
    for (int k = 0; k <= kDegree; ++k) {
      re[k] = im[k] = 0;
      for (int s = 0; s < kSamples; ++s) {
        re[k] += value[s] * circle.cosine[k * s % kSamples];
        im[k] -= value[s] * circle.sine[k * s % kSamples];
      }
      const double scale = (k ? 2.0 : 1.0) / kSamples;
      re[k] *= scale;
      im[k] *= scale;
      const double length = std::hypot(re[k], im[k]);
      size += length;
      beyond += length * std::pow(double(k), kTaylor) / factorial;
    }
  }

  // The function and its first n - 1 derivatives.
  void evaluate(double angle, int n, double* out) const {
    const double c = std::cos(angle), s = std::sin(angle);
    double x = 1, y = 0;
    for (int m = 0; m < n; ++m) out[m] = 0;
    for (int k = 0; k <= kDegree; ++k) {
      double u = re[k] * x - im[k] * y, v = re[k] * y + im[k] * x;
      for (int m = 0; m < n; ++m) {
        out[m] += u;
        const double next = -k * v;
        v = k * u;
        u = next;
      }
      const double turned = x * c - y * s;
      y = x * s + y * c;
      x = turned;
    }
  }
  double at(double angle) const {
    double value;
    evaluate(angle, 1, &value);
    return value;
  }

  // The root of a piece in which there is one: Newton steps, and halves where these leave it.
  double root(double low, double high) const {
    const bool negative = at(low) < 0;
    double angle = (low + high) / 2;
    for (int step = 0; step < kPolishing; ++step) {
      double value[2];
      evaluate(angle, 2, value);
      ((value[0] < 0) == negative ? low : high) = angle;
      const double next = angle - value[0] / value[1];
      angle = next >= low && next <= high ? next : (low + high) / 2;
    }
    return angle;
  }

  // Angles of the roots and how far off each may be; their number.
  int roots(double* angles, double* widths) const {
    int found = 0;
    if (!(size > 0) || !std::isfinite(size)) return 0;
    auto take = [&](double middle, double half, bool isolated) {
      if (found == kCandidates) return;
      angles[found] = root(middle - half, middle + half);
      widths[found++] = isolated ? 0 : half;
    };
    double half = kPi / kFirstPieces, pieces[2 * kMostPieces], halves[kMostPieces];
    int n = kFirstPieces;
    for (int k = 0; k < n; ++k) pieces[k] = half * (2 * k + 1);
    const double noise = kNoise * size;
    for (int level = 0; n; ++level) {
      double power = 1, last = beyond;
      for (int m = 0; m < kTaylor; ++m) last *= half;
      int open = 0;
      for (int k = 0; k < n; ++k) {
        double term[kTaylor], range = last, bends = kTaylor * last, factor = 1;
        evaluate(pieces[k], kTaylor, term);
        power = 1;
        for (int m = 1; m < kTaylor; ++m) {
          power *= half;
          factor *= m;
          term[m] = std::fabs(term[m]) * power / factor;
          range += term[m];
          if (m > 1) bends += m * term[m];
        }
        const double value = std::fabs(term[0]);
        if (value > range + noise) continue;
        if (term[1] > bends + noise * half) {
          if ((at(pieces[k] - half) < 0) != (at(pieces[k] + half) < 0)) take(pieces[k], half, true);
        } else if (value + range < noise || level == kHalvings) {
          take(pieces[k], half, true);
        } else if (open < kMostPieces) {
          halves[open++] = pieces[k];
        } else {
          return found;
        }
      }
      half /= 2;
      n = 0;
      for (int k = 0; k < open && level < kHalvings; ++k) {
        pieces[n++] = halves[k] - half;
        pieces[n++] = halves[k] + half;
      }
    }
    return found;
  }
};

// Entries that are no closure are left as they are; returns how many are.
inline int solve(const double* given, const Circle& circle, double* tau, double* volume) {
  // Which segment's angle is kept to the last: `first` comes first.
  int first = 0;
  double best = -1, shape[15];
  for (int r = 0; r < 3; ++r) {
    for (int k = 0; k < 15; ++k) shape[k] = given[k / 3 * 3 + (k + r) % 3];
    const double quality = Equations(shape).quality(circle);
    if (quality > best) {
      best = quality;
      first = r;
    }
  }
  for (int k = 0; k < 15; ++k) shape[k] = given[k / 3 * 3 + (k + first) % 3];
  const Equations equations(shape);
  const Polynomial polynomial(equations, circle);
  double angles[kCandidates], widths[kCandidates];
  const int candidates = polynomial.roots(angles, widths);
  int found = 0;
  for (int n = 0; n < candidates; ++n) {
    const Line lines[2] = {equations.first_line(angles[n]), equations.third_line(angles[n])};
    double middle[2], half[2];
    for (int k = 0; k < 2; ++k) {
      middle[k] = std::atan2(lines[k].b, lines[k].a);
      half[k] = std::acos(std::clamp(lines[k].h / std::hypot(lines[k].a, lines[k].b), -1.0, 1.0));
    }
    for (int branch = 0; branch < 4 && found < kMost; ++branch) {
      double x[3] = {middle[0] + (branch & 2 ? half[0] : -half[0]),
                     middle[1] + (branch & 1 ? half[1] : -half[1]) - equations.twist[1], angles[n]};
      double f[3], p[3], q[3], determinant = 0;
      for (int step = 0; step <= kPolishing; ++step) {
        equations.evaluate(x, f, p, q);
        determinant = p[0] * p[1] * p[2] + q[0] * q[1] * q[2];
        if (step == kPolishing || (step == 0 && std::fabs(f[1]) > kNear + 10 * widths[n])) break;
        double moved = 0;
        for (int i = 0; i < 3; ++i) {
          const int j = (i + 1) % 3, l = (i + 2) % 3;
          const double step_i = (p[j] * p[l] * f[i] - q[i] * p[j] * f[l] + q[i] * q[l] * f[j]) / determinant;
          const double limited = std::isfinite(step_i) ? std::clamp(step_i, -0.1, 0.1) : 0.0;
          x[i] -= limited;
          moved = std::max(moved, std::fabs(limited));
        }
        if (moved < 1e-15) step = kPolishing - 1;
      }
      bool good = std::fabs(wrapped(x[2] - angles[n])) < kShift + widths[n];
      for (int i = 0; i < 3; ++i) good = good && std::fabs(f[i]) < kResidual;
      for (int i = 0; i < 3; ++i) x[i] = wrapped(x[i]);
      for (int other = 0; good && other < found; ++other) {
        double off = 0;
        for (int i = 0; i < 3; ++i)
          off = std::max(off, std::fabs(wrapped(x[i] - tau[3 * other + (i + first) % 3])));
        good = off >= kSame;
      }
      if (!good) continue;
      for (int i = 0; i < 3; ++i) tau[3 * found + (i + first) % 3] = x[i];
      volume[found] = equations.log_sides + std::log(std::fabs(determinant));
      ++found;
    }
  }
  return found;
}

}  // namespace timewarp
