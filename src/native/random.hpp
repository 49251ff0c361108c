// Random numbers that are a function of (seed, replica, step, index, purpose) alone: Philox4x32-10 (Salmon, Moraes, Dror
// & Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011), one replica per lane. There is no state to store: how
// replicas are batched, on how many threads, and where a run was interrupted cannot change a trajectory.
#pragma once

#include "simd.hpp"

namespace timewarp::TIMEWARP_ISA {

// One 32-bit word for each lane of single precision. Double precision uses the first half of them, so that both
// precisions see the same noise.
typedef Simd<float>::U Words;

// The 64-bit product of each lane with a constant, by halves.
TW_INLINE void multiply(Words a, std::uint32_t by, Words& high, Words& low) {
#if defined(__x86_64__)
  typedef Simd<double>::U Wide;  // products of the even lanes, and of the odd ones
#if defined(__AVX512F__)
  const __m512i factor = _mm512_set1_epi32(int(by));
  Wide even = (Wide)_mm512_mul_epu32((__m512i)a, factor);
  Wide odd = (Wide)_mm512_mul_epu32((__m512i)((Wide)a >> 32), factor);
#elif defined(__AVX2__)
  const __m256i factor = _mm256_set1_epi32(int(by));
  Wide even = (Wide)_mm256_mul_epu32((__m256i)a, factor);
  Wide odd = (Wide)_mm256_mul_epu32((__m256i)((Wide)a >> 32), factor);
#else
  const __m128i factor = _mm_set1_epi32(int(by));
  Wide even = (Wide)_mm_mul_epu32((__m128i)a, factor);
  Wide odd = (Wide)_mm_mul_epu32((__m128i)((Wide)a >> 32), factor);
#endif
  high = (Words)((even >> 32) | (odd & 0xffffffff00000000ULL));
  low = (Words)((even & 0xffffffffULL) | (odd << 32));
#else
  for (int l = 0; l < kLanes<float>; ++l) {
    const std::uint64_t product = std::uint64_t(a[l]) * by;
    high[l] = std::uint32_t(product >> 32);
    low[l] = std::uint32_t(product);
  }
#endif
}

// Encrypts the counter c[0] ... c[3] in place.
TW_INLINE void philox(Words* c, std::uint32_t key0, std::uint32_t key1) {
  for (int round = 0; round < 10; ++round) {
    Words high0, low0, high1, low1;
    multiply(c[0], 0xD2511F53u, high0, low0);
    multiply(c[2], 0xCD9E8D57u, high1, low1);
    c[0] = high1 ^ c[1] ^ key0;
    c[1] = low1;
    c[2] = high0 ^ c[3] ^ key1;
    c[3] = low0;
    key0 += 0x9E3779B9u;
    key1 += 0xBB67AE85u;
  }
}

// What the numbers are for: the same step must never give the same number twice.
constexpr std::uint32_t kNoise = 0, kWhichTorsion = 1, kTurn = 2;  // 3: the first velocities (simulation/langevin.py)
constexpr std::uint32_t kBurnIn = 8;                               // is added to these during the burn-in

// Streams of one block of replicas.
struct Streams {
  std::uint32_t key0, key1, phase;  // phase: 0 or kBurnIn
  Words replica;

  TW_INLINE void words(std::uint64_t step, std::uint32_t index, std::uint32_t purpose, Words* out) const {
    const Words zero{};
    out[0] = zero + (index | (purpose | phase) << 24);
    out[1] = zero + std::uint32_t(step);
    out[2] = zero + std::uint32_t(step >> 32);
    out[3] = replica;
    philox(out, key0, key1);
  }
};

template <class T>
TW_INLINE Vec<T> as_real(Words w);  // as signed integers
template <>
TW_INLINE VF as_real<float>(Words w) {
  return __builtin_convertvector((IF)w, VF);
}
template <>
TW_INLINE VD as_real<double>(Words w) {
  VD out;
  for (int l = 0; l < kLanes<double>; ++l) out[l] = double(std::int32_t(w[l]));
  return out;
}

// Uniform in (0, 1], never zero; 31 bits.
template <class T>
TW_INLINE Vec<T> uniform(Words w) {
  return as_real<T>(w >> 1) * T(1.0 / 2147483648.0) + T(1.0 / 4294967296.0);
}

// Uniform in [-1/2, 1/2); 32 bits.
template <class T>
TW_INLINE Vec<T> turns(Words w) {
  return as_real<T>(w) * T(1.0 / 4294967296.0);
}

// Four standard normals from the four words of a counter (Box & Muller 1958); the largest is 6.7.
template <class T>
TW_INLINE void normals(const Words* w, Vec<T>* out) {
  for (int k = 0; k < 4; k += 2) {
    Vec<T> sine, cosine, radius = vsqrt(vlog(uniform<T>(w[k])) * T(-2));
    sincos_turns(turns<T>(w[k + 1]), sine, cosine);
    out[k] = radius * cosine;
    out[k + 1] = radius * sine;
  }
}

}  // namespace timewarp::TIMEWARP_ISA
