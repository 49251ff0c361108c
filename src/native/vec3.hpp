// Points and vectors in space, one configuration per lane.
#pragma once

#include "simd.hpp"

namespace timewarp::TIMEWARP_ISA {

template <class V>
struct Vec3 {
  V x, y, z;
};
template <class V>
TW_INLINE Vec3<V> operator-(Vec3<V> a, Vec3<V> b) {
  return {a.x - b.x, a.y - b.y, a.z - b.z};
}
template <class V>
TW_INLINE Vec3<V> operator+(Vec3<V> a, Vec3<V> b) {
  return {a.x + b.x, a.y + b.y, a.z + b.z};
}
template <class V>
TW_INLINE Vec3<V> operator*(Vec3<V> a, V s) {
  return {a.x * s, a.y * s, a.z * s};
}
template <class V>
TW_INLINE V dot(Vec3<V> a, Vec3<V> b) {
  return a.x * b.x + a.y * b.y + a.z * b.z;
}
template <class V>
TW_INLINE Vec3<V> cross(Vec3<V> a, Vec3<V> b) {
  return {a.y * b.z - a.z * b.y, a.z * b.x - a.x * b.z, a.x * b.y - a.y * b.x};
}
template <class V>
TW_INLINE Vec3<V> at(const V* x, int atom) {
  return {x[3 * atom], x[3 * atom + 1], x[3 * atom + 2]};
}


typedef Vec3<VD> Point;

// In [-pi, pi], with the IUPAC sign.
TW_INLINE VD dihedral(Point i, Point j, Point k, Point l) {
  const Point axis = k - j, left = cross(j - i, axis), right = cross(axis, l - k);
  return vatan2(dot(cross(left, right), axis) * rcp(vsqrt(dot(axis, axis))), dot(left, right));
}

}  // namespace timewarp::TIMEWARP_ISA
