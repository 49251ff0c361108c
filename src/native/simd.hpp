// Vectors with one configuration per lane, and the elementary functions on them.
//
// Written with the vector extensions that GCC and Clang share, so that one source serves every instruction set. Each
// file that includes this is compiled once per instruction set, inside the namespace TIMEWARP_ISA; such files use no
// inline functions of the standard library, because the linker would keep one copy of them for all, whichever it meets.
//
// Errors (largest found by tests/native/test_elementary_functions.py, relative unless said otherwise):
//   float:  rsqrt, rcp 2e-7; exp 2e-7; log 2e-7 (absolute near 1); atan2 2e-7 rad; sin, cos 2e-7 absolute
//   double: 1e-15 each.
#pragma once

#include <cstdint>
#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#ifndef TIMEWARP_ISA
#error "compile with -DTIMEWARP_ISA=<name>: see CMakeLists.txt"
#endif

#define TW_INLINE inline __attribute__((always_inline))

namespace timewarp::TIMEWARP_ISA {

#if defined(__AVX512F__)
constexpr int kBytes = 64;
#elif defined(__AVX2__)
constexpr int kBytes = 32;
#else
constexpr int kBytes = 16;
#endif

template <class T>
struct Simd;
template <>
struct Simd<float> {
  typedef float V __attribute__((vector_size(kBytes)));
  typedef std::int32_t I __attribute__((vector_size(kBytes)));
  typedef std::uint32_t U __attribute__((vector_size(kBytes)));
  static constexpr int lanes = kBytes / 4;
};
template <>
struct Simd<double> {
  typedef double V __attribute__((vector_size(kBytes)));
  typedef std::int64_t I __attribute__((vector_size(kBytes)));
  typedef std::uint64_t U __attribute__((vector_size(kBytes)));
  static constexpr int lanes = kBytes / 8;
};
template <class T>
using Vec = typename Simd<T>::V;
template <class T>
using Int = typename Simd<T>::I;
template <class T>
constexpr int kLanes = Simd<T>::lanes;

using VF = Vec<float>;
using VD = Vec<double>;
using IF = Int<float>;
using ID = Int<double>;

// Minus zero becomes plus zero.
template <class T>
TW_INLINE Vec<T> splat(T s) {
  return Vec<T>{} + s;
}

// The scalar type of a vector.
template <class V>
struct ScalarOf;
template <>
struct ScalarOf<VF> {
  typedef float type;
};
template <>
struct ScalarOf<VD> {
  typedef double type;
};
template <class V>
using Scalar = typename ScalarOf<V>::type;

// max and min that give b where a is not a number; where only b is none, they give b as well.
template <class V>
TW_INLINE V vmax(V a, V b) {
  return a > b ? a : b;
}
template <class V>
TW_INLINE V vmin(V a, V b) {
  return a < b ? a : b;
}
TW_INLINE VF vabs(VF a) { return (VF)((IF)a & 0x7fffffff); }
TW_INLINE VD vabs(VD a) { return (VD)((ID)a & 0x7fffffffffffffffLL); }

// --- square root and reciprocals ------------------------------------------------------------------------------------

TW_INLINE VF vsqrt(VF a) {
#if defined(__AVX512F__)
  return (VF)_mm512_sqrt_ps((__m512)a);
#elif defined(__AVX2__)
  return (VF)_mm256_sqrt_ps((__m256)a);
#elif defined(__x86_64__)
  return (VF)_mm_sqrt_ps((__m128)a);
#elif defined(__aarch64__)
  return (VF)vsqrtq_f32((float32x4_t)a);
#else
  for (int l = 0; l < kLanes<float>; ++l) a[l] = __builtin_sqrtf(a[l]);
  return a;
#endif
}

TW_INLINE VD vsqrt(VD a) {
#if defined(__AVX512F__)
  return (VD)_mm512_sqrt_pd((__m512d)a);
#elif defined(__AVX2__)
  return (VD)_mm256_sqrt_pd((__m256d)a);
#elif defined(__x86_64__)
  return (VD)_mm_sqrt_pd((__m128d)a);
#elif defined(__aarch64__)
  return (VD)vsqrtq_f64((float64x2_t)a);
#else
  for (int l = 0; l < kLanes<double>; ++l) a[l] = __builtin_sqrt(a[l]);
  return a;
#endif
}

// 1/sqrt(a) for positive normal a: the instruction's estimate and one Newton step where there is an estimate that is
// good enough for it.
TW_INLINE VF rsqrt(VF a) {
#if defined(__AVX512F__)
  VF y = (VF)_mm512_rsqrt14_ps((__m512)a);
  VF h = y * -0.5f * a;
  return y * (h * y + 1.5f);
#elif defined(__AVX2__)
  VF y = (VF)_mm256_rsqrt_ps((__m256)a);
  VF h = y * -0.5f * a;
  return y * (h * y + 1.5f);
#else
  return 1.0f / vsqrt(a);
#endif
}
TW_INLINE VD rsqrt(VD a) { return 1.0 / vsqrt(a); }

// 1/a for normal a.
TW_INLINE VF rcp(VF a) {
#if defined(__AVX512F__)
  VF y = (VF)_mm512_rcp14_ps((__m512)a);
  return y * (2.0f - a * y);
#elif defined(__AVX2__)
  VF y = (VF)_mm256_rcp_ps((__m256)a);
  return y * (2.0f - a * y);
#else
  return 1.0f / a;
#endif
}
TW_INLINE VD rcp(VD a) { return 1.0 / a; }

// --- exponential ----------------------------------------------------------------------------------------------------

// exp(x); x is brought into [-87, 88] first (double: [-708, 709]). NaN stays NaN.
TW_INLINE VF vexp(VF x) {
  x = x < -87.0f ? splat(-87.0f) : x;
  x = x > 88.0f ? splat(88.0f) : x;
  const VF magic = splat(12582912.0f);  // 1.5 * 2^23: adding it rounds to an integer and leaves that in the low bits
  VF t = x * 1.44269504088896341f + magic;
  IF n = (IF)t - (IF)magic;
  t -= magic;
  VF r = x - t * 0.693359375f;
  r = r - t * -2.12194440e-4f;
  VF p = splat(1.9875691500e-4f);  // Cephes, expf
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * (r * r) + r + 1.0f;
  return p * (VF)((n + 127) << 23);
}

TW_INLINE VD vexp(VD x) {
  x = x < -708.0 ? splat(-708.0) : x;
  x = x > 709.0 ? splat(709.0) : x;
  const VD magic = splat(6755399441055744.0);
  VD t = x * 1.4426950408889634074 + magic;
  ID n = (ID)t - (ID)magic;
  t -= magic;
  VD r = x - t * 6.93145751953125e-1;
  r = r - t * 1.42860682030941723212e-6;
  // Taylor series to the 13th power: |r| is at most 0.347.
  VD p = splat(1.0 / 6227020800.0);
  p = p * r + 1.0 / 479001600.0;
  p = p * r + 1.0 / 39916800.0;
  p = p * r + 1.0 / 3628800.0;
  p = p * r + 1.0 / 362880.0;
  p = p * r + 1.0 / 40320.0;
  p = p * r + 1.0 / 5040.0;
  p = p * r + 1.0 / 720.0;
  p = p * r + 1.0 / 120.0;
  p = p * r + 1.0 / 24.0;
  p = p * r + 1.0 / 6.0;
  p = p * r + 0.5;
  p = p * r + 1.0;
  p = p * r + 1.0;
  return p * (VD)((n + 1023) << 52);
}

// --- logarithm ------------------------------------------------------------------------------------------------------

// log(x) for positive normal x; NaN stays NaN, infinity gives NaN.
// x = 2^e m with m in [sqrt(1/2), sqrt(2)); log m = 2 artanh s, s = (m - 1)/(m + 1).
TW_INLINE VF vlog(VF x) {
  IF i = (IF)x - 0x3f3504f3;
  IF e = i >> 23;
  VF m = (VF)((IF)x - (e << 23));
  VF s = (m - 1.0f) * rcp(m + 1.0f);
  VF z = s * s;
  VF p = splat(0.22222222f);
  p = p * z + 0.28571429f;
  p = p * z + 0.4f;
  p = p * z + 0.66666667f;
  VF n = __builtin_convertvector(e, VF);
  VF tail = p * z * s + n * -2.12194440e-4f;
  return n * 0.693359375f + (tail + 2.0f * s) + x * 0.0f;
}

TW_INLINE VD vlog(VD x) {
  ID i = (ID)x - 0x3fe6a09e667f3bcdLL;
  // There is no arithmetic shift of 64-bit lanes before AVX-512: shift the offset number, then take the offset off.
  ID e = (ID)((typename Simd<double>::U)(i + (1024LL << 52)) >> 52) - 1024;
  VD m = (VD)((ID)x - (e << 52));
  VD s = (m - 1.0) / (m + 1.0);
  VD z = s * s;
  VD p = splat(2.0 / 23);
  p = p * z + 2.0 / 21;
  p = p * z + 2.0 / 19;
  p = p * z + 2.0 / 17;
  p = p * z + 2.0 / 15;
  p = p * z + 2.0 / 13;
  p = p * z + 2.0 / 11;
  p = p * z + 2.0 / 9;
  p = p * z + 2.0 / 7;
  p = p * z + 2.0 / 5;
  p = p * z + 2.0 / 3;
  VD n = __builtin_convertvector(e, VD);
  VD tail = p * z * s + n * 1.42860682030941723212e-6;
  return n * 6.93145751953125e-1 + (tail + 2.0 * s) + x * 0.0;
}

// --- angles ---------------------------------------------------------------------------------------------------------

// The angle of the point (x, y), in [-pi, pi]; Cephes' atanf and atan after one reduction.
TW_INLINE VF vatan2(VF y, VF x) {
  VF ay = vabs(y), ax = vabs(x);
  VF low = vmin(ay, ax), high = vmax(ay, ax);
  IF far = low > 0.4142135623f * high;
  VF t = (far ? low - high : low) / (far ? low + high : high);
  VF z = t * t;
  VF p = splat(8.05374449538e-2f);
  p = p * z - 1.38776856032e-1f;
  p = p * z + 1.99777106478e-1f;
  p = p * z - 3.33329491539e-1f;
  VF a = p * z * t + t;
  a = far ? a + 0.785398163397448f : a;
  a = ay > ax ? 1.57079632679489662f - a : a;
  a = x < 0.0f ? 3.14159265358979324f - a : a;
  return (VF)(((IF)y & (1 << 31)) ^ (IF)a);
}

TW_INLINE VD vatan2(VD y, VD x) {
  VD ay = vabs(y), ax = vabs(x);
  VD low = vmin(ay, ax), high = vmax(ay, ax);
  ID far = low > 0.66 * high;
  VD t = (far ? low - high : low) / (far ? low + high : high);
  VD z = t * t;
  VD p = splat(-8.750608600031904122785e-1);
  p = p * z - 1.615753718733365076637e1;
  p = p * z - 7.500855792314704667340e1;
  p = p * z - 1.228866684490136173410e2;
  p = p * z - 6.485021904942025371773e1;
  VD q = z + 2.485846490142306297962e1;
  q = q * z + 1.650270098316988542046e2;
  q = q * z + 4.328810604912902668951e2;
  q = q * z + 4.853903996359136964868e2;
  q = q * z + 1.945506571482613964425e2;
  VD a = t * z * p / q + t;
  a = far ? a + 0.78539816339744830962 : a;
  a = ay > ax ? 1.57079632679489661923 - a : a;
  a = x < 0.0 ? 3.14159265358979323846 - a : a;
  return (VD)(((ID)y & (1LL << 63)) ^ (ID)a);
}

// sin and cos of 2 pi turns, |turns| below 2^20.
TW_INLINE void sincos_turns(VF turns, VF& sine, VF& cosine) {
  const VF magic = splat(12582912.0f);
  VF t = turns * 4.0f + magic;
  IF q = (IF)t;
  VF x = (turns - (t - magic) * 0.25f) * 6.28318530717958648f;
  VF z = x * x;
  VF s = splat(-1.9515295891e-4f);
  s = s * z + 8.3321608736e-3f;
  s = s * z - 1.6666654611e-1f;
  s = s * z * x + x;
  VF c = splat(2.443315711809948e-5f);
  c = c * z - 1.388731625493765e-3f;
  c = c * z + 4.166664568298827e-2f;
  c = c * (z * z) - 0.5f * z + 1.0f;
  IF swap = (q & 1) != 0;
  VF a = swap ? c : s, b = swap ? s : c;
  sine = (VF)((IF)a ^ ((q & 2) << 30));
  cosine = (VF)((IF)b ^ (((q + 1) & 2) << 30));
}

TW_INLINE void sincos_turns(VD turns, VD& sine, VD& cosine) {
  const VD magic = splat(6755399441055744.0);
  VD t = turns * 4.0 + magic;
  ID q = (ID)t;
  VD x = (turns - (t - magic) * 0.25) * 6.28318530717958647693;
  VD z = x * x;
  VD s = splat(1.58962301576546568060e-10);
  s = s * z - 2.50507477628578072866e-8;
  s = s * z + 2.75573136213857245213e-6;
  s = s * z - 1.98412698295895385996e-4;
  s = s * z + 8.33333333332211858878e-3;
  s = s * z - 1.66666666666666307295e-1;
  s = s * z * x + x;
  VD c = splat(-1.13585365213876817300e-11);
  c = c * z + 2.08757008419747316778e-9;
  c = c * z - 2.75573141792967388112e-7;
  c = c * z + 2.48015872888517045348e-5;
  c = c * z - 1.38888888888730564116e-3;
  c = c * z + 4.16666666666665929218e-2;
  c = c * (z * z) - 0.5 * z + 1.0;
  ID swap = (q & 1) != 0;
  VD a = swap ? c : s, b = swap ? s : c;
  sine = (VD)((ID)a ^ ((q & 2) << 62));
  cosine = (VD)((ID)b ^ (((q + 1) & 2) << 62));
}

// tanh(x) = 1 - 2/(exp(2x) + 1); absolute error of a few units in the last place of 1.
template <class V>
TW_INLINE V vtanh(V x) {
  typedef Scalar<V> T;
  return T(1) - T(2) / (vexp(T(2) * x) + T(1));
}

// --- loading --------------------------------------------------------------------------------------------------------

template <class V>
TW_INLINE bool any(V mask) {
  bool found = false;
  for (unsigned l = 0; l < sizeof(V) / sizeof(mask[0]); ++l) found |= mask[l] != 0;
  return found;
}

}  // namespace timewarp::TIMEWARP_ISA
